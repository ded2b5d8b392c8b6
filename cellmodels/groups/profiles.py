"""Expression as annotation needs it: log-normalised."""

from typing import Any

import numpy as np
from scipy import sparse

from genetext.cells import expression as expressions
from genetext.errors import CellsError


def log_normalised(
    adata: Any, *, expression: str = "counts", layer: str | None = None, target_sum: float = 1e4
) -> sparse.csr_matrix:
    """Return `log1p(target_sum * x / total)` of each cell and gene, or log values as they are.

    Parameters
    ----------
    adata
        AnnData in memory.
    expression, layer, target_sum
        As in `genetext.cells.embed_cells`: what the matrix holds, where it is, and the sum cells are scaled to.

    Returns
    -------
    `(n_obs, n_vars) float32` in the order of `var`; genes that only `.raw` has are left out. An empty cell is zeros.

    Raises
    ------
    CellsError
        There is no such matrix, or it has values that are negative or not finite.
    """
    scale = expressions.scale(expression, target_sum)
    found = expressions.find(adata, expression=expression, layer=layer)
    matrix = sparse.csr_matrix(found.matrix[:], dtype=np.float32, copy=True)
    if not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
        raise CellsError(
            f"{found.label} has values that are negative, NaN or infinite: give {expression} that have none"
        )
    if not scale.log:
        total = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
        factor = np.divide(scale.target_sum, total, out=np.zeros_like(total), where=total > 0)
        matrix.data *= np.repeat(factor, np.diff(matrix.indptr)).astype(np.float32)
        np.log1p(matrix.data, out=matrix.data)
    known = np.flatnonzero(found.columns >= 0)
    if len(known) == adata.n_vars and (found.columns == np.arange(adata.n_vars)).all():
        return matrix
    place = sparse.csr_matrix(
        (np.ones(len(known), np.float32), (known, found.columns[known])), shape=(matrix.shape[1], adata.n_vars)
    )
    return (matrix @ place).tocsr()
