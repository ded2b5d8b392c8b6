"""Expression as annotation needs it: log-normalised, its principal components, groups of like cells, their profiles."""

import importlib
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.groups.directions import leading_directions
from cellmodels.groups.graphs import Floats
from genetext.cells import expression as expressions
from genetext.errors import CellsError

_CLIP = 10.0
_MIN_CELLS = 3


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


def moments(matrix: sparse.csr_matrix) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each gene over cells, `(n_genes,) float64`."""
    n = matrix.shape[0]
    square = matrix.copy()
    square.data = square.data**2
    mean = np.asarray(matrix.sum(axis=0, dtype=np.float64)).ravel() / n
    second = np.asarray(square.sum(axis=0, dtype=np.float64)).ravel() / n
    return mean, np.sqrt(np.maximum(second - mean**2, 0))


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
    which = rank * bins // len(usable)
    score = np.empty(len(usable))
    for one in range(bins):
        own = which == one
        if own.any():
            centre = np.median(dispersion[own])
            spread = dispersion[own].std() if own.sum() > 1 else 1.0
            score[own] = (dispersion[own] - centre) / (spread or 1.0)
    return np.sort(usable[np.argsort(-score, kind="stable")[:n]])


def principal_components(matrix: sparse.csr_matrix, n: int = 50, *, n_genes: int = 2000) -> NDArray[np.float32]:
    """Return the principal components of cells, from the genes that vary most, each scaled to unit variance.

    Values above ten standard deviations are cut. The matrix is never made dense: the covariance of the genes is.

    Returns
    -------
    `(n_cells, min(n, n_genes, n_cells - 1)) float32`; the sign of each makes its largest loading positive.

    Raises
    ------
    CellsError
        Fewer than two cells, or no gene that varies.
    """
    n_cells = matrix.shape[0]
    genes = variable_genes(matrix, n_genes)
    if n_cells < 2 or not len(genes):
        raise CellsError(
            f"principal components need two cells and a gene that varies: {n_cells} cells, {len(genes)} genes"
        )
    chosen = matrix[:, genes].astype(np.float64).tocsr()
    _, sd = moments(chosen)
    chosen.data = np.minimum(chosen.data / sd[chosen.indices], _CLIP)
    mean = np.asarray(chosen.mean(axis=0)).ravel()
    covariance = np.asarray((chosen.T @ chosen).todense()) / n_cells - np.outer(mean, mean)
    _, loadings = leading_directions(covariance, min(n, len(genes), n_cells - 1))
    components: NDArray[np.float32] = (chosen @ loadings - mean @ loadings).astype(np.float32)
    return components


def communities(graph: sparse.csr_matrix, *, resolution: float = 1.0, seed: int = 0) -> NDArray[np.int64]:
    """Cut a graph of cells into groups by the Leiden method (modularity), `(n,) int64`, the largest group first.

    Labels play no part. The result depends on the seed and on the order of the cells.

    Raises
    ------
    CellsError
        The package igraph is not installed, or `resolution` is not positive.
    """
    if not resolution > 0:
        raise CellsError(f"resolution is {resolution}: give a positive number, such as 1")
    try:
        igraph: Any = importlib.import_module("igraph")
    except ImportError as error:
        raise CellsError(
            "grouping cells by the Leiden method needs the package igraph: pip install 'genetext[annotate]', or give "
            "groups="
        ) from error
    upper = sparse.triu(graph, k=1).tocoo()
    links = igraph.Graph(n=graph.shape[0], edges=np.column_stack([upper.row, upper.col]).astype(np.int64))
    igraph.set_random_number_generator(random.Random(seed))
    try:
        cut = links.community_leiden("modularity", weights=upper.data.tolist(), resolution=resolution, n_iterations=5)
    finally:
        igraph.set_random_number_generator(random)
    member = np.asarray(cut.membership, np.int64)
    _, first, size = np.unique(member, return_index=True, return_counts=True)
    order = np.lexsort((first, -size))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    renamed: NDArray[np.int64] = rank[member]
    return renamed


@dataclass(frozen=True)
class Profiles:
    """What groups of cells express beside the other cells.

    Attributes
    ----------
    sizes
        `(n_groups,) int64`: cells of each group.
    mean
        `(n_groups, n_genes) float64`: mean log-normalised expression.
    contrast
        `(n_groups, n_genes) float64`: the mean's distance to that of all cells, in standard deviations of a cell.
    fold
        `(n_groups, n_genes) float64`: log2 ratio of the mean on the linear scale to that of all groups, each group
        weighing the same.
    expressed
        `(n_genes,) bool`: genes found in ten cells, or in one of a hundred where there are fewer than a thousand.
    """

    sizes: NDArray[np.int64]
    mean: Floats
    contrast: Floats
    fold: Floats
    expressed: NDArray[np.bool_]

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, groups: NDArray[np.int64]) -> "Profiles":
        """Measure the groups `(n_cells,)`, numbered from 0."""
        n_cells = matrix.shape[0]
        sizes = np.bincount(groups)
        member = sparse.csr_matrix((np.ones(n_cells), (groups, np.arange(n_cells))), shape=(len(sizes), n_cells))
        mean = np.asarray((member @ matrix).todense(), np.float64) / sizes[:, None]
        overall, sd = moments(matrix)
        linear = np.expm1(mean)
        # A floor on the spread, and half a count of ten thousand, keep genes of a few molecules from deciding.
        contrast = (mean - overall) / (sd + 0.1)
        fold = np.log2((linear + 0.5) / (linear.mean(axis=0) + 0.5))
        seen = np.bincount(matrix.indices[matrix.data != 0], minlength=matrix.shape[1])
        return cls(sizes, mean, contrast, fold, seen >= max(1, min(10, n_cells // 100)))
