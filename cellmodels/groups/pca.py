"""Principal components of cells, sparse or dense: the same on every machine and number of threads."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.groups.variable_genes import moments, variable_genes
from genetext.errors import CellsError

Floats = NDArray[np.float64]
_CLIP = 10.0
_ROWS = 8192
_RANK = 1e-10
"""Directions with less than this share of the largest variance are rounding."""
_EPS = 1e-13


@dataclass(frozen=True, eq=False)
class PCA:
    """A linear space of few dimensions that rows are projected to.

    scikit-learn's `PCA` gives the same components. By `covariance_eigh` it takes 1.5 to 6 times as long, as it finds
    all eigenvectors; by `arpack` it is as fast, but refuses as many components as rows, and rows that are alike.

    Attributes
    ----------
    loadings
        `(n_columns, d)`, orthonormal columns, that of the largest variance first; the largest entry of each is
        positive.
    mean
        `(n_columns,)`: subtracted before projecting; zeros where nothing is.
    variances
        `(d,) float64`: of the rows along each direction, in descending order.
    """

    loadings: NDArray[Any]
    mean: NDArray[Any]
    variances: Floats

    @classmethod
    def fit(cls, matrix: Any, n: int, *, centred: bool = True, dtype: type[np.floating] = np.float64) -> Self:
        """Find the directions of greatest variance.

        Parameters
        ----------
        matrix
            `(n_rows, n_columns)`, sparse or dense; never copied as a dense matrix where it is sparse.
        n
            How many directions; fewer where the rows span fewer.
        centred
            Whether the mean of the rows is taken off. False: directions of the greatest mean square.
        dtype
            Of the loadings and the mean; the decomposition itself is of float64.
        """
        n_rows, n_columns = matrix.shape
        mean = np.asarray(matrix.mean(axis=0, dtype=np.float64)).ravel() if centred else np.zeros(n_columns)
        if n_rows >= n_columns:
            gram = gram_of_columns(matrix)
            size = gram.trace()
            values, vectors = leading_eigenvectors(gram - n_rows * np.outer(mean, mean), n)
        else:  # the products of the rows have the same eigenvalues, and are fewer
            along = np.asarray(matrix @ mean, np.float64)
            gram = gram_of_columns(matrix.T)
            size = gram.trace()
            values, of_rows = leading_eigenvectors(gram - along[:, None] - along + mean @ mean, n)
            vectors = matrix.T @ of_rows - np.outer(mean, of_rows.sum(axis=0))
            vectors /= np.sqrt(np.maximum(values, np.finfo(np.float64).tiny))
        # What taking off the mean leaves of rows that are all alike is rounding too.
        spanned = values > max(_RANK * values.max(initial=0.0), _EPS * size)
        loadings = _largest_positive(vectors[:, spanned])
        return cls(loadings.astype(dtype), mean.astype(dtype), values[spanned] / n_rows)

    def transform(self, matrix: Any) -> NDArray[np.float32]:
        """Project rows `(n_rows, n_columns)`, sparse or dense, to `(n_rows, d) float32`."""
        return np.asarray(matrix @ self.loadings - self.mean @ self.loadings, np.float32)


def principal_components(
    matrix: sparse.csr_matrix, n: int = 50, *, n_genes: int = 2000, fitted_on: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Return the principal components of cells, from the genes that vary most, each scaled to unit variance.

    Values above ten standard deviations are cut. The matrix is never made dense: the covariance of the genes is.

    Parameters
    ----------
    matrix
        `(n_cells, n_genes)`, log-normalised.
    n
        How many components; fewer where the cells span fewer.
    n_genes
        How many genes to use, at most.
    fitted_on
        Rows that choose the genes, their scale and the components. Default: all cells.

    Returns
    -------
    `(n_cells, d) float32`; the sign of each component makes its largest loading positive.

    Raises
    ------
    CellsError
        Fewer than two cells, or no gene that varies.
    """
    fitted = matrix if fitted_on is None else matrix[fitted_on]
    genes = variable_genes(fitted, n_genes)
    if fitted.shape[0] < 2 or not len(genes):
        raise CellsError(
            f"principal components need two cells and a gene that varies: {fitted.shape[0]} cells, {len(genes)} genes"
        )
    _, deviation = moments(fitted[:, genes].astype(np.float64))

    def scaled(cells: sparse.csr_matrix) -> sparse.csr_matrix:
        chosen = cells[:, genes].astype(np.float64).tocsr()
        chosen.data = np.minimum(chosen.data / deviation[chosen.indices], _CLIP)
        return chosen

    features = scaled(fitted)
    pca = PCA.fit(features, min(n, fitted.shape[0] - 1))
    return pca.transform(features if fitted_on is None else scaled(matrix))


def gram_of_columns(matrix: Any) -> Floats:
    """Return `X^T X` in float64, of a sparse or dense `(n, d)`; dense `(d, d)`."""
    gram = np.zeros((matrix.shape[1], matrix.shape[1]))
    rows = matrix.tocsr() if sparse.issparse(matrix) else matrix
    for start in range(0, rows.shape[0], _ROWS):
        block = rows[start : start + _ROWS].astype(np.float64)
        product = block.T @ block
        gram += product.toarray() if sparse.issparse(product) else product
    return gram


def leading_eigenvectors(gram: Floats, n: int) -> tuple[Floats, Floats]:
    """Return the largest eigenvalues of a symmetric matrix, in descending order, and their eigenvectors.

    Parameters
    ----------
    gram
        `(d, d) float64`, symmetric; overwritten.
    n
        How many; all where there are fewer.

    Returns
    -------
    values
        `(min(n, d),)`.
    vectors
        `(d, min(n, d))`, of length one; the sign of each makes its largest loading positive.
    """
    from scipy.linalg import eigh
    from threadpoolctl import threadpool_limits

    d = len(gram)
    n = min(n, d)
    if n < 1:
        return np.zeros(0), np.zeros((d, 0))
    # On one thread: others change the last bits, and on a busy machine make it tens of times slower.
    with threadpool_limits(1):
        values, vectors = eigh(gram, subset_by_index=[d - n, d - 1], overwrite_a=True)
    return values[::-1], _largest_positive(vectors[:, ::-1])


def _largest_positive(vectors: Floats) -> Floats:
    """Turn columns so that the largest entry of each is positive."""
    if not vectors.size:
        return vectors
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
