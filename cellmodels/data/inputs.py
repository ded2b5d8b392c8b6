"""Expression as models take it: counts or log values, sparse, in the order of `var`, dense a mini-batch at a time."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genetext.cells import expression as expressions
from genetext.errors import CellsError

Needs = Literal["counts", "log"]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CellMatrix:
    """Cells by genes.

    Attributes
    ----------
    matrix
        `(n_cells, n_genes) float32`, CSR.
    totals
        `(n_cells,) float64`: the sum of each cell's expression over all genes of the data, also of those left out of
        `matrix`; of log values the sum of `expm1`.
    kind
        `counts`; `linear`, amounts that are not whole; or `log` for `log1p(10000 * count / total)`.
    label
        Where it was found: `X`, `layers['counts']`, `raw.X`.
    """

    matrix: sparse.csr_matrix
    totals: NDArray[np.float64]
    kind: str
    label: str

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.matrix.shape[0])

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return int(self.matrix.shape[1])

    def cells(self, rows: Rows) -> "CellMatrix":
        """Return some cells, in this order."""
        return replace(self, matrix=self.matrix[rows], totals=self.totals[rows])

    def genes(self, columns: NDArray[np.int64]) -> "CellMatrix":
        """Return some genes, in this order; column -1 is a gene that nobody measured, all zeros."""
        measured = np.flatnonzero(columns >= 0)
        if len(measured) == len(columns):
            return replace(self, matrix=self.matrix[:, columns].tocsr())
        place = sparse.csr_matrix(
            (np.ones(len(measured), np.float32), (columns[measured], measured)), shape=(self.n_genes, len(columns))
        )
        return replace(self, matrix=(self.matrix @ place).tocsr())

    def log(self, target_sum: float = 1e4) -> "CellMatrix":
        """Return `log1p(target_sum * x / total)`; log values as they are. A cell without expression is zeros."""
        if self.kind == "log":
            return self
        matrix = self.matrix.copy()
        factor = np.divide(target_sum, self.totals, out=np.zeros_like(self.totals), where=self.totals > 0)
        matrix.data *= np.repeat(factor, np.diff(matrix.indptr)).astype(np.float32)
        np.log1p(matrix.data, out=matrix.data)
        return replace(self, matrix=matrix, kind="log")

    def dense(self, rows: Rows | slice) -> NDArray[np.float32]:
        """Return some cells as a dense `(len(rows), n_genes) float32`."""
        dense: NDArray[np.float32] = self.matrix[rows].toarray()
        return dense


def read_cells(adata: Any, *, needs: Needs, expression: str = "auto", layer: str | None = None) -> CellMatrix:
    """Find the expression that a model needs.

    Parameters
    ----------
    adata
        AnnData, in memory or backed.
    needs
        `counts`: counts and nothing else. `log`: log-normalised values, made of counts where there are any, else
        taken as they are.
    expression
        For `needs="log"`: say what the data hold, as in `genetext.cells.expression.find`.
    layer
        Take this layer (`"raw"`: `.raw`) and nothing else.

    Returns
    -------
    CellMatrix
        All genes of `adata.var`, in its order; columns that are no genes (`genetext.features`) are zeros.

    Raises
    ------
    CellsError
        There is no such matrix, no cell, or it holds values that are negative or not finite; cells are named.
    """
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise CellsError(f"the data have {adata.n_obs:,} cells and {adata.n_vars:,} genes: there is nothing to model")
    try:
        given = expressions.find(adata, expression="counts" if needs == "counts" else expression, layer=layer)
    except CellsError as error:
        what = "counts" if needs == "counts" else "counts or log-normalised values"
        places = str(error).partition(". Pass layer=")[0]
        raise CellsError(
            f"this model needs {what}: {places}. Name a layer that has them; a model of log values also takes "
            f"amounts that are not whole, such as TPM, if told: expression='linear'"
        ) from error
    block = given.rows.read(0, adata.n_obs)
    given.check(block, cells=adata.obs_names)
    matrix = sparse.csr_matrix(block, dtype=np.float32)
    values = matrix
    if given.kind == "log":
        values = matrix.copy()
        np.expm1(values.data, out=values.data)
    totals = np.asarray(values.sum(axis=1, dtype=np.float64)).ravel()
    cells = CellMatrix(matrix, totals, given.kind, given.label)
    columns = np.full(adata.n_vars, -1, np.int64)
    known = np.flatnonzero(given.columns >= 0)
    columns[given.columns[known]] = known
    whole = len(given.columns) == adata.n_vars and np.array_equal(columns, np.arange(adata.n_vars))
    cells = cells if whole else cells.genes(columns)
    return cells.log() if needs == "log" else cells
