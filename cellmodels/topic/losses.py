"""Two views of cells: who is whose neighbour in each, and the losses that make assignments in the two agree.

The losses are those of scE2TM (arXiv 2507.08355), which has them from image clustering with text (TAC): the columns of
two assignment matrices, one a topic each, are contrasted with each other as SimCLR contrasts images.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from torch import Tensor
from torch.nn import functional

from cellmodels.groups.graphs import knn_graph

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class NeighbourLists:
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
        found: Rows = self.cells[self.indptr[cell] : self.indptr[cell + 1]]
        return found

    def draw(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """Draw one entry of the list of each of some cells; each entry has the same chance, the cell itself too."""
        first = self.indptr[rows]
        drawn: Rows = self.cells[first + rng.integers(self.indptr[rows + 1] - first)]
        return drawn


def neighbour_lists(points: NDArray[Any], k: int = 15) -> NeighbourLists:
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
    near = knn_graph(cells, max(1, min(k, n) - 1)).tocoo()
    once = near.row < near.col
    one, other, mutual = near.row[once], near.col[once], near.data[once] == 1
    length = _distances(cells, one, other)
    kept = mutual | _bridges(n, one, other, length, mutual)
    start = np.concatenate([np.arange(n), one[kept], other[kept]])
    end = np.concatenate([np.arange(n), other[kept], one[kept]])
    # Below every distance: the cell itself comes first, also where another has the same coordinates.
    away = np.concatenate([np.full(n, -1.0), length[kept], length[kept]])
    order = np.lexsort((end, away, start))
    start, end = start[order], end[order]
    begins = np.searchsorted(start, np.arange(n + 1))
    listed = np.arange(len(start)) - begins[start] < k
    indptr = np.concatenate([[0], np.cumsum(np.bincount(start[listed], minlength=n))])
    return NeighbourLists(indptr.astype(np.int64), end[listed].astype(np.int64))


def distillation(one: Tensor, other: Tensor, *, temperature: float = 0.5) -> Tensor:
    """Contrast topics of two assignment matrices: a topic should be like itself in the other view, and no other.

    Parameters
    ----------
    one, other
        `(n_cells, K)`, rows sum to 1.
    temperature
        Divides the cosines.

    Returns
    -------
    Scalar: of all `2 K` columns the mean cross-entropy of finding the same topic of the other matrix among the
    `2 K - 1` other columns.
    """
    columns = functional.normalize(torch.cat([one, other], dim=1).T, dim=1)
    like = columns @ columns.T / temperature
    like = like.masked_fill(torch.eye(len(like), dtype=torch.bool, device=like.device), -math.inf)
    k = one.shape[1]
    same = torch.arange(2 * k, device=like.device).roll(k)
    return functional.cross_entropy(like, same)


def consistency(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean over cells of `-log <one_c, other_c>`: how far a cell's assignments in two views disagree."""
    return -(one * other).sum(dim=1).clamp_min(torch.finfo(one.dtype).tiny).log().mean()


def balance(assigned: Tensor) -> Tensor:
    """Return the entropy of the mean assignment; `log K` if all topics are used alike."""
    mean = assigned.mean(dim=0).clamp_min(1e-9)
    return -(mean * mean.log()).sum()


def _distances(cells: NDArray[np.float32], one: Rows, other: Rows) -> NDArray[np.float64]:
    blocks = np.array_split(np.arange(len(one)), max(1, len(one) * cells.shape[1] // 4_000_000))
    parts = [np.linalg.norm(cells[one[b]].astype(np.float64) - cells[other[b]], axis=1) for b in blocks]
    return np.concatenate(parts)


def _bridges(n: int, one: Rows, other: Rows, length: NDArray[np.float64], linked: NDArray[np.bool_]) -> Any:
    """Return which links join the parts that `linked` leaves, `(n_links,) bool`: a spanning tree of the parts."""
    graph = sparse.csr_matrix((np.ones(linked.sum()), (one[linked], other[linked])), shape=(n, n))
    n_parts, part = connected_components(graph, directed=False)
    bridges = np.zeros(len(one), bool)
    between = np.flatnonzero(part[one] != part[other])
    if n_parts == 1 or not len(between):
        return bridges
    ends = np.sort(np.column_stack([part[one[between]], part[other[between]]]), axis=1)
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
