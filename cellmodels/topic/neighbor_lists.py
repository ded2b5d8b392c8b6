"""Mutual neighbours of cells, in a graph that hangs together: from these the topic model draws."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from cellmodels.groups.graphs import knn_graph

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class NeighborLists:
    """For each cell itself and its nearest neighbours, nearest first.

    Attributes
    ----------
    indptr
        `(n_cells + 1,) int64`: where the list of each cell begins in `cells`.
    cells
        `(n_listed,) int64`: positions of cells.
    """

    indptr: NDArray[np.int64]
    cells: NDArray[np.int64]

    def of(self, cell: int) -> Rows:
        """Return the list of one cell."""
        return self.cells[self.indptr[cell] : self.indptr[cell + 1]]

    def draw(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """Draw an entry of the list of each of these cells; each entry has the same chance, the cell itself too."""
        first = self.indptr[rows]
        drawn: Rows = self.cells[first + rng.integers(self.indptr[rows + 1] - first)]
        return drawn


def neighbor_lists(points: NDArray[Any], k: int = 15) -> NeighborLists:
    """List the mutual neighbours of each cell in a graph that hangs together.

    Two cells are linked if each is among the `k - 1` nearest others of the other. Parts without a link between them are
    joined by the shortest links of the nearest-neighbour graph that a minimum spanning tree needs. A cell's list is
    itself and the cells linked to it, nearest first, `k` at most.

    Parameters
    ----------
    points
        `(n_cells, d)`, finite; two cells at least.
    k
        Entries per list, the cell itself included; where there are fewer cells, as many as there are.

    Raises
    ------
    CellsError
        There are fewer than two cells, or a value that is not finite.
    """
    cells = np.ascontiguousarray(points, np.float32)
    n = len(cells)
    links = sparse.triu(knn_graph(cells, max(1, min(k, n) - 1)), k=1).tocoo()
    mutual = links.data == 1
    length = _distances(cells, links.row, links.col)
    kept = mutual | _bridges(n, links.row, links.col, length, mutual)
    left, right = links.row[kept], links.col[kept]
    start, end = np.concatenate([np.arange(n), left, right]), np.concatenate([np.arange(n), right, left])
    # Below every distance: the cell itself comes first, also where another has the same coordinates.
    distance = np.concatenate([np.full(n, -1.0), length[kept], length[kept]])
    order = np.lexsort((end, distance, start))
    start, end = start[order], end[order]
    begins = np.searchsorted(start, np.arange(n + 1))
    listed = np.arange(len(start)) - begins[start] < k
    indptr = np.concatenate([[0], np.cumsum(np.bincount(start[listed], minlength=n))])
    return NeighborLists(indptr.astype(np.int64), end[listed].astype(np.int64))


def _distances(cells: NDArray[np.float32], left: Rows, right: Rows) -> NDArray[np.float64]:
    blocks = np.array_split(np.arange(len(left)), max(1, len(left) * cells.shape[1] // 4_000_000))
    parts = [np.linalg.norm(cells[left[block]].astype(np.float64) - cells[right[block]], axis=1) for block in blocks]
    return np.concatenate(parts)


def _bridges(n: int, left: Rows, right: Rows, length: NDArray[np.float64], linked: NDArray[np.bool_]) -> Any:
    """Return which links join the parts that `linked` leaves, `(n_links,) bool`: a spanning tree of the parts."""
    graph = sparse.csr_matrix((np.ones(linked.sum()), (left[linked], right[linked])), shape=(n, n))
    n_parts, part = connected_components(graph, directed=False)
    bridges = np.zeros(len(left), bool)
    between = np.flatnonzero(part[left] != part[right])
    if n_parts == 1 or not len(between):
        return bridges
    ends = np.sort(np.column_stack([part[left[between]], part[right[between]]]), axis=1)
    # Of the links between two parts the shortest; ranks in place of lengths, as SciPy takes a weight of 0 for no link.
    order = np.argsort(length[between], kind="stable")
    _, first = np.unique(ends[order], axis=0, return_index=True)
    rank = np.sort(first)
    chosen = ends[order][rank]
    tree = minimum_spanning_tree(
        sparse.csr_matrix((rank + 1.0, (chosen[:, 0], chosen[:, 1])), shape=(n_parts, n_parts))
    )
    bridges[between[order[tree.data.astype(np.int64) - 1]]] = True
    return bridges
