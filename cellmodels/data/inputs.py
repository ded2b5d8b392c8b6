"""Expression as models take it: counts or log values, sparse, in the order of `var`, dense a mini-batch at a time."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genetext.cells import expression as expressions
from genetext.errors import CellsError, ModelError, first_ten

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
        `(n_cells,) float64`: the sum of each cell's counts over all genes of the data, also of those left out of
        `matrix`; of log values the sum of `expm1`.
    kind
        `counts`, or `log` for `log1p(10000 * count / total)`.
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
        there = np.flatnonzero(columns >= 0)
        if len(there) == len(columns):
            return replace(self, matrix=self.matrix[:, columns].tocsr())
        place = sparse.csr_matrix(
            (np.ones(len(there), np.float32), (columns[there], there)), shape=(self.n_genes, len(columns))
        )
        return replace(self, matrix=(self.matrix @ place).tocsr())

    def log(self, target_sum: float = 1e4) -> "CellMatrix":
        """Return `log1p(target_sum * x / total)`; log values as they are. A cell without counts is zeros."""
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


def read_cells(adata: Any, *, needs: Needs, layer: str | None = None) -> CellMatrix:
    """Find the expression that a model needs.

    Parameters
    ----------
    adata
        AnnData, in memory or backed.
    needs
        `counts`: counts, from `layers["counts"]`, `X` or `raw.X`. `log`: log-normalised values, made from counts
        where there are any, else taken from `X` or `raw.X` as they are.
    layer
        Take this layer (`"raw"`: `.raw`) and nothing else.

    Returns
    -------
    CellMatrix
        All genes of `adata.var`, in its order.

    Raises
    ------
    CellsError
        There is no such matrix, no cell, or it holds values that are negative or not finite; cells are named.
    """
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise CellsError(f"the data have {adata.n_obs:,} cells and {adata.n_vars:,} genes: there is nothing to model")
    try:
        counts = _read(adata, "counts", layer)
    except CellsError as no_counts:
        if needs == "counts":
            raise CellsError(f"this model needs counts: {no_counts}") from no_counts
        if (layer or "counts") == "counts" and "counts" in adata.layers:
            # Whoever keeps counts means them: another matrix in their place would hide what is wrong with them.
            raise CellsError(f"layers['counts'] does not hold counts: {no_counts}") from no_counts
        try:
            return _read(adata, "log", layer)
        except CellsError as no_log:
            raise CellsError(
                f"this model needs counts or log-normalised values. Counts: {no_counts}. Log values: {no_log}"
            ) from no_log
    return counts if needs == "counts" else counts.log()


def labels_of(adata: Any, labels: Any, *, what: str = "labels") -> NDArray[np.object_]:
    """Return one label per cell, `(n_cells,) object`; None where it is missing.

    Parameters
    ----------
    adata
        The data.
    labels
        A column of `obs`, or one value per cell.
    what
        What to call them in messages.

    Raises
    ------
    ModelError
        There is no such column, or the number of values is not that of the cells.
    """
    import pandas as pd

    if isinstance(labels, str):
        if labels not in adata.obs:
            raise ModelError(f"{what}={labels!r} is no column of obs: there are {first_ten(list(adata.obs)) or 'none'}")
        labels = adata.obs[labels]
    values = pd.Series(np.asarray(labels, dtype=object))
    if len(values) != adata.n_obs:
        raise ModelError(f"{what}: {len(values):,} values for {adata.n_obs:,} cells")
    known = values.notna().to_numpy()
    out = np.full(len(values), None, dtype=object)
    out[known] = values[known].astype(str)
    return out


def _read(adata: Any, kind: Needs, layer: str | None) -> CellMatrix:
    found = expressions.find(adata, expression=kind, layer=layer)
    matrix = sparse.csr_matrix(found.matrix[:], dtype=np.float32)
    bad = ~np.isfinite(matrix.data) | (matrix.data < 0)
    if kind == "counts":
        bad |= matrix.data != np.floor(matrix.data)
    if bad.any():
        rows = np.unique(np.searchsorted(matrix.indptr, np.flatnonzero(bad), side="right") - 1)
        raise CellsError(
            f"{found.label} has values that are no {kind} (NaN, infinite, negative or not whole) in {len(rows):,} "
            f"cells: {first_ten([str(name) for name in adata.obs_names[rows]])}"
        )
    matrix.sum_duplicates()
    values = matrix
    if kind == "log":
        values = matrix.copy()
        np.expm1(values.data, out=values.data)
    totals = np.asarray(values.sum(axis=1, dtype=np.float64)).ravel()
    cells = CellMatrix(matrix, totals, kind, found.label)
    columns = np.full(adata.n_vars, -1, np.int64)
    known = np.flatnonzero(found.columns >= 0)
    columns[found.columns[known]] = known
    whole = len(found.columns) == adata.n_vars and np.array_equal(columns, np.arange(adata.n_vars))
    return cells if whole else cells.genes(columns)
