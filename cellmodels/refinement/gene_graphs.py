"""Graphs that features are smoothed along: of genes, from expression or from text, and filters for cells and genes."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.groups.pca import gram_of_columns

if TYPE_CHECKING:
    from genetext.priors import GenePriors

GeneMetric = Literal["euclidean", "cosine"]
_BLOCK = 256
_SPARSE_BELOW = 0.4
"""Share of non-zeros below which a CSR matrix is smaller than a dense one (8 bytes an entry to 4), with a margin."""


def expression_graph(matrix: Any, k: int, *, metric: GeneMetric = "cosine") -> sparse.csr_matrix:
    """Link each gene to the `k` genes whose expression over the cells is nearest.

    Parameters
    ----------
    matrix
        `(n_cells, n_genes)`: features of the cells.
    k
        Neighbours of a gene, from 1, not counting itself; all others where there are fewer.
    metric
        `cosine` of the centred profiles, that is their correlation, which a gene's level does not decide; or
        `euclidean` distance, by which genes that are hardly expressed are all near to each other.

    Returns
    -------
    scipy.sparse.csr_matrix
        `(n_genes, n_genes) float64`: row i is 1 at the neighbours of gene i. Equal distances: the earlier gene.
    """
    n_cells, n_genes = matrix.shape
    gram = gram_of_columns(matrix)
    if metric == "cosine":
        mean = np.asarray(matrix.mean(axis=0, dtype=np.float64)).ravel()
        gram -= n_cells * np.outer(mean, mean)
        variance = gram.diagonal()
        # A gene that does not vary has no direction: what is left of its variance are last bits.
        varies = variance > 1e-12 * (variance + n_cells * mean**2)
        length = np.sqrt(np.where(varies, variance, np.inf))
        nearness = gram / length[:, None] / length[None]
    else:
        square = gram.diagonal()
        nearness = 2 * gram - square[:, None] - square[None]
    np.fill_diagonal(nearness, -np.inf)
    k = min(k, n_genes - 1)
    if k == 0:
        return sparse.csr_matrix((n_genes, n_genes))
    # Distances that are equal in exact arithmetic must not be told apart by the last bits of a sum.
    near = np.argsort(-np.round(nearness, 9), axis=1, kind="stable")[:, :k]
    return sparse.csr_matrix(
        (np.ones(n_genes * k), np.sort(near, 1).ravel(), np.arange(0, n_genes * k + 1, k)), (n_genes, n_genes)
    )


def text_graph(priors: "GenePriors", k: int) -> sparse.csr_matrix:
    """Link each gene to the `k` genes whose prior vectors are nearest by cosine.

    Returns
    -------
    scipy.sparse.csr_matrix
        `(n_genes, n_genes) float64`, as `expression_graph`; a gene without a prior has no links.
    """
    graph = sparse.csr_matrix(priors.gene_graph(k, mode="directed"), dtype=np.float64)
    graph.data[:] = 1
    return graph


def blended(expression: sparse.csr_matrix, text: sparse.csr_matrix, weight: float) -> sparse.csr_matrix:
    """Return `(1 - weight) expression + weight text`; a gene without links in the text keeps those of expression."""
    share = np.where(np.diff(text.indptr) > 0, weight, 0.0)
    mixed = (sparse.diags(1 - share) @ expression + sparse.diags(share) @ text).tocsr()
    mixed.eliminate_zeros()
    return mixed


def smoother(graph: Any, *, directed: bool = False) -> sparse.csr_matrix:
    """Return `D^-1/2 (A + I) D^-1/2`, the filter of a graph convolution (Kipf and Welling 2017).

    Parameters
    ----------
    graph
        `(n, n)`: row i holds the links of node i; what is on the diagonal is left out.
    directed
        False: nodes are linked if either links to the other, with the larger weight. True: a node receives from those
        that link to it, as a list of edges (from, to) is read by PyTorch Geometric, and degrees count what is received.

    Returns
    -------
    scipy.sparse.csr_matrix
        `(n, n) float64`; row i holds what node i takes from each.
    """
    links = sparse.csr_matrix(graph, dtype=np.float64)
    links = links - sparse.diags(links.diagonal())
    received = links.T if directed else links.maximum(links.T)
    received = (received + sparse.identity(links.shape[0])).tocsr()
    received.eliminate_zeros()
    scale = sparse.diags(1 / np.sqrt(np.asarray(received.sum(axis=1)).ravel()))
    smooth = (scale @ received @ scale).tocsr()
    smooth.sort_indices()
    return smooth


def filtered(features: Any, smooth: sparse.csr_matrix, hops: int) -> Any:
    """Return `S^hops X`: features averaged over the neighbours so many times.

    Parameters
    ----------
    features
        `(n, d) float32`, CSR or dense.
    smooth
        `(n, n)`: `S`, as `smoother` gives it.
    hops
        How often; 0: the features as they are.

    Returns
    -------
    `(n, d) float32`: CSR as long as that is the smaller, else dense, made a block of columns at a time.
    """
    current, weights = features, smooth.astype(np.float32)
    for _ in range(hops):
        if not sparse.issparse(current):
            current = _by_columns(weights, current)
        elif _density(weights, current) < _SPARSE_BELOW:
            current = (weights @ current).tocsr()
        else:
            current = _by_columns(weights, current.tocsc())
    return current


def _density(weights: sparse.csr_matrix, features: sparse.csr_matrix) -> float:
    """Estimate how full a product will be, from a hundred of its rows."""
    rows = np.unique(np.linspace(0, weights.shape[0] - 1, 100).astype(np.int64))
    part = weights[rows] @ features
    return float(part.nnz / max(part.shape[0] * part.shape[1], 1))


def _by_columns(weights: sparse.csr_matrix, features: Any) -> NDArray[np.float32]:
    out = np.empty(features.shape, np.float32)
    for start in range(0, features.shape[1], _BLOCK):
        block = features[:, start : start + _BLOCK]
        out[:, start : start + _BLOCK] = weights @ (block.toarray() if sparse.issparse(block) else block)
    return out
