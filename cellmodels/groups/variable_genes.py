"""Genes that vary most between cells for how much they are expressed."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.data.inputs import CellMatrix
from genetext.errors import CellsError

Floats = NDArray[np.float64]
_MIN_CELLS = 3


def moments(matrix: sparse.csr_matrix) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each gene over cells, `(n_genes,) float64`."""
    n = matrix.shape[0]
    square = matrix.copy()
    square.data = square.data**2
    mean = np.asarray(matrix.sum(axis=0, dtype=np.float64)).ravel() / n
    second = np.asarray(square.sum(axis=0, dtype=np.float64)).ravel() / n
    return mean, np.sqrt(np.maximum(second - mean**2, 0))


def choose_genes(cells: CellMatrix, n_genes: int | None) -> NDArray[np.int64]:
    """Return the columns of the genes to model: those that vary most, or with None all that vary.

    Raises
    ------
    CellsError
        Fewer than two cells, or no gene that varies.
    """
    if cells.n_cells < 2:
        raise CellsError(f"there is {cells.n_cells} cell: a model is fitted to two at least")
    columns = variable_genes(cells.log().matrix, cells.n_genes if n_genes is None else n_genes)
    if not len(columns):
        raise CellsError(f"none of the {cells.n_genes:,} genes varies between the {cells.n_cells:,} cells")
    return columns


def variable_genes(matrix: sparse.csr_matrix, n: int = 2000, *, bins: int = 20) -> NDArray[np.int64]:
    """Return the genes that vary most for their mean, at most `n`, in the order of `var`.

    Dispersion (variance by mean, on the linear scale) is compared within bins of genes of like mean; a gene in fewer
    than three cells is left out.
    """
    linear = matrix.copy()
    linear.data = np.expm1(linear.data)
    mean, sd = moments(linear)
    seen = np.bincount(matrix.indices[matrix.data != 0], minlength=matrix.shape[1])
    usable = np.flatnonzero((seen >= min(_MIN_CELLS, matrix.shape[0])) & (sd > 0))
    if len(usable) <= n:
        return usable
    dispersion = np.log(sd[usable] ** 2 / mean[usable])
    rank = np.argsort(np.argsort(mean[usable], kind="stable"), kind="stable")
    bin_of_gene = rank * bins // len(usable)
    score = np.empty(len(usable))
    for number in np.unique(bin_of_gene):
        mask = bin_of_gene == number
        spread = dispersion[mask].std() or 1.0
        score[mask] = (dispersion[mask] - np.median(dispersion[mask])) / spread
    return np.sort(usable[np.argsort(-score, kind="stable")[:n]])
