"""Sparse graphs of cells: nearest neighbours, Laplacians, and what must hold of a graph."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genetext.errors import CellsError

Floats = NDArray[np.float64]
LaplacianKind = Literal["unnormalised", "normalised"]
_EXACT_LIMIT = 20_000
"""Up to this many cells neighbours are searched one against all; beyond it through an HNSW graph."""


def knn_graph(
    points: NDArray[Any], k: int = 15, *, exact: bool | None = None, threads: int | None = None
) -> sparse.csr_matrix:
    """Link each point to its `k` nearest by Euclidean distance.

    Parameters
    ----------
    points
        `(n, d)`, finite: principal components, or any embedding of cells.
    k
        Neighbours per point, not counting itself.
    exact
        Search one against all. Default: up to 20,000 points; beyond, an HNSW graph of FAISS finds about all of them.
        An HNSW graph depends on the order of the points; the exact search does not.
    threads
        Threads of the search. Default: one per core.

    Returns
    -------
    scipy.sparse.csr_matrix
        `(n, n) float64`, symmetric, zero diagonal: 1 where both are neighbours of each other, 0.5 where one is of the
        other. `2 n k` entries at most.

    Raises
    ------
    CellsError
        There are fewer than two points, not more points than `k`, or values that are not finite.
    """
    cells = _points(points)
    n = len(cells)
    if k < 1:
        raise CellsError(f"k is {k}: ask for one neighbour at least")
    if n < 2:
        raise CellsError(f"a neighbour graph needs two cells, here is {n}")
    if k >= n:
        raise CellsError(
            f"k is {k} and there are {n:,} cells: each has only {n - 1:,} others, ask for fewer neighbours"
        )
    targets = _nearest(cells, k, exact=n <= _EXACT_LIMIT if exact is None else exact, threads=threads)
    linked = sparse.csr_matrix((np.full(n * k, 0.5), targets.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    graph = (linked + linked.T).tocsr()
    graph.sort_indices()
    return graph


def nearest(
    reference: NDArray[Any], points: NDArray[Any] | None, k: int, *, threads: int | None = None
) -> NDArray[np.int64]:
    """Find the nearest rows of a reference by Euclidean distance, one against all.

    Parameters
    ----------
    reference
        `(n, d)`, finite.
    points
        `(m, d)`, finite. None: the reference itself, each row of which is left out for itself (copies of it are not).
    k
        How many; `n`, or `n - 1` of the reference itself, at most.
    threads
        Of the search. Default: one per core.

    Returns
    -------
    `(m, k) int64`: positions in the reference, nearest first.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k, n_jobs=threads if threads is not None else -1).fit(reference)
    positions: NDArray[np.int64] = search.kneighbors(points, return_distance=False).astype(np.int64)
    return positions


def check_graph(graph: Any) -> sparse.csr_matrix:
    """Return a graph as CSR float64 without diagonal, or say why it is none.

    Parameters
    ----------
    graph
        `(n, n)` sparse or dense: symmetric, finite, no negative weights. What stands on the diagonal is ignored: it has
        no part in a Laplacian.

    Raises
    ------
    CellsError
        It is not square, not symmetric, or has a weight that is negative or not finite.
    """
    adjacency = sparse.csr_matrix(graph, dtype=np.float64, copy=True)
    if adjacency.shape[0] != adjacency.shape[1]:
        raise CellsError(f"a graph of cells is square, this one is {adjacency.shape[0]:,} x {adjacency.shape[1]:,}")
    if not np.isfinite(adjacency.data).all():
        raise CellsError("the graph has weights that are NaN or infinite")
    if (adjacency.data < 0).any():
        raise CellsError(
            f"the graph has negative weights (down to {adjacency.data.min():g}): smoothing along them diverges"
        )
    adjacency = (adjacency - sparse.diags(adjacency.diagonal())).tocsr()
    adjacency.eliminate_zeros()
    skew = abs(adjacency - adjacency.T)
    if skew.nnz and skew.max() > 1e-6 * adjacency.data.max():
        raise CellsError("the graph is not symmetric: give (graph + graph.T) / 2")
    # Halves that differ in the last bits would make the solver's matrix asymmetric.
    return ((adjacency + adjacency.T) / 2).tocsr() if skew.nnz else adjacency


def degrees(graph: sparse.csr_matrix) -> Floats:
    """Return the sums of the weights of each row, `(n,) float64`."""
    return np.asarray(graph.sum(axis=1), np.float64).ravel()


def laplacian(graph: Any, *, kind: LaplacianKind = "unnormalised") -> sparse.csr_matrix:
    """Return the Laplacian of a graph.

    Parameters
    ----------
    graph
        As `check_graph` takes it.
    kind
        `unnormalised`: `D - A`, whose rows add up to 0. `normalised`: `I - D^-1/2 A D^-1/2`, whose eigenvalues lie in
        [0, 2]; the row of a cell without neighbours is 0 in both.

    Returns
    -------
    scipy.sparse.csr_matrix
        `(n, n) float64`, symmetric and positive semi-definite.
    """
    adjacency = check_graph(graph)
    degree = degrees(adjacency)
    if kind == "unnormalised":
        return (sparse.diags(degree) - adjacency).tocsr()
    if kind == "normalised":
        linked = degree > 0
        scale = sparse.diags(np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=linked))
        return (sparse.diags(linked.astype(np.float64)) - scale @ adjacency @ scale).tocsr()
    raise CellsError(f"unknown Laplacian {kind!r}: unnormalised or normalised")


def _points(points: NDArray[Any]) -> NDArray[np.float32]:
    cells = np.ascontiguousarray(points, np.float32)
    if cells.ndim != 2 or not cells.shape[1]:
        raise CellsError(f"points have shape {cells.shape}: one row of coordinates per cell is needed")
    bad = np.flatnonzero(~np.isfinite(cells).all(axis=1))
    if len(bad):
        raise CellsError(f"{len(bad):,} cells have coordinates that are NaN or infinite, the first in row {bad[0]}")
    return cells


def _nearest(cells: NDArray[np.float32], k: int, *, exact: bool, threads: int | None) -> NDArray[np.int64]:
    """Return the positions of the `k` nearest others of each row, `(n, k) int64`."""
    if exact:
        return nearest(cells, None, k, threads=threads)
    import faiss
    from threadpoolctl import threadpool_limits

    searcher = faiss.IndexHNSWFlat(cells.shape[1], 32)
    searcher.hnsw.efConstruction, searcher.hnsw.efSearch = 100, max(64, 2 * (k + 1))
    with threadpool_limits(limits=threads):
        searcher.add(cells)
        _, matches = searcher.search(cells, k + 1)
    return _without_self(matches.astype(np.int64), k)


def _without_self(matches: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Drop each row's own position, or, where copies crowd it out, the last match."""
    itself = matches == np.arange(len(matches))[:, None]
    itself[~itself.any(axis=1), -1] = True
    others: NDArray[np.int64] = matches[~itself].reshape(len(matches), k)
    missing = others < 0
    if missing.any():  # an HNSW graph may find fewer than asked for: link to the nearest one again, a weight of its own
        others[missing] = np.broadcast_to(others[:, :1], others.shape)[missing]
    return others
