"""What two views of the same cells lose by disagreeing: three losses that never make a cells x cells matrix.

Views are rows of embeddings `a_i` and `b_i`, with distributions `p_i = softmax(a_i / t)` and `q_j = softmax(b_j / t)`.
All divergences here are symmetric, KL(p||q) + KL(q||p), and for softmax distributions that is

    D_ij = (p_i - q_j) . (a_i - b_j) / t

because the normalising constants cancel against sum(p) = sum(q). It has no logarithm and no difference of large
entropies, and it is bilinear: a sum over any set of `j` needs only the sums of `b_j`, `q_j` and `q_j . b_j` over the
set. Over all cells these are three totals; over the neighbours of every cell three products with the sparse graph.
So a full batch of `n` cells with `m` links and width `h` costs `O((n + m) h)`, exactly, gradients included.

A mini-batch uses the same functions on its own cells and the links among them, weighted by `sampled` so that each
cell's neighbours count as much as all of them do. With all cells in the batch that is the full form.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from cellmodels.nn.sparse_product import SparseMatrix

_TINY = 1e-30


class CellLinks:
    """The links of the cells of a batch, and of each cell to itself.

    Parameters
    ----------
    links
        `(n, n)`: 1 on the diagonal; elsewhere 1 for a neighbour, more where not all neighbours are in the batch.
    totals
        `(n, 1)`: row sums of `links`: the number of a cell's neighbours in all the data, and one for itself.
    n_cells
        Cells in all the data.
    """

    # No dataclass: Fabric would take it apart to convert the tensors in it, and must not round sums over links.
    def __init__(self, links: SparseMatrix, totals: Tensor, n_cells: int) -> None:
        self.links, self.totals, self.n_cells = links, totals, n_cells

    @classmethod
    def of(cls, graph: Any, n_cells: int | None = None, *, dtype: torch.dtype = torch.float32) -> "CellLinks":
        """Take a graph with unit diagonal: all the data's, or what `sampled` made of it for a batch."""
        rows = sparse.csr_matrix(graph)
        totals = np.asarray(rows.sum(axis=1), np.float64)
        whole = n_cells is None or n_cells == rows.shape[0]
        return cls(
            SparseMatrix.of(rows, symmetric=whole, dtype=dtype),
            torch.from_numpy(totals).to(dtype),
            rows.shape[0] if n_cells is None else n_cells,
        )

    def to(self, device: Any) -> "CellLinks":
        """Return them on another device."""
        return CellLinks(self.links.to(device), self.totals.to(device), self.n_cells)


def sampled(graph: sparse.csr_matrix, rows: NDArray[np.int64]) -> sparse.csr_matrix:
    """Return the part of a graph among some cells, what is off its diagonal made up for what is left out.

    Each row's entries off the diagonal are multiplied by (links of the cell in all the data) / (links in the part), so
    that their mean weight stands for the neighbours that are not there. A cell none of whose neighbours is there keeps
    its diagonal alone.

    Parameters
    ----------
    graph
        `(n, n)`, with a diagonal.
    rows
        `(m,)`: the cells, each once.

    Returns
    -------
    scipy.sparse.csr_matrix
        `(m, m)`, in the order of `rows`; no longer symmetric, unless it is the whole graph.
    """
    if len(rows) == graph.shape[0] and np.array_equal(rows, np.arange(len(rows))):
        return graph
    part = graph[rows][:, rows].tocsr()
    all_links = np.diff(graph.indptr)[rows] - 1
    present = np.diff(part.indptr) - 1
    factor = np.divide(all_links, present, out=np.ones(len(rows)), where=present > 0)
    of_row = np.repeat(np.arange(len(rows)), np.diff(part.indptr))
    part.data = part.data * np.where(part.indices == of_row, 1.0, factor[of_row]).astype(part.data.dtype)
    return part


def distribution_alignment(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Return how far the two views' distributions are apart, over everything and cell by cell (L_EDA).

    The symmetric divergence of the softmax over all entries of a view, plus half the mean symmetric divergence of each
    cell's own softmax. Zero for equal views.

    Parameters
    ----------
    a, b
        `(n, h)`: the views.
    t
        Temperature.
    """
    a, b = _wide(a), _wide(b)
    difference = (a - b) / t
    whole = (torch.softmax(a.flatten() / t, 0) - torch.softmax(b.flatten() / t, 0)) @ difference.flatten()
    each = ((torch.softmax(a / t, 1) - torch.softmax(b / t, 1)) * difference).sum() / len(a)
    return whole + 0.5 * each


def neighbourhood_alignment(a: Tensor, b: Tensor, near: CellLinks, t: float) -> Tensor:
    """Return how near neighbours are beside all other cells, across the views (L_NCA).

    For each cell the mean divergence to its neighbours and itself, by the mean divergence to every cell but itself;
    averaged over the cells. About one where the graph says nothing of the views, less where it does. Where all cells
    of both views are the same point, it is zero.

    Parameters
    ----------
    a, b
        `(n, h)`: the views.
    near
        Neighbours of the cells.
    t
        Temperature.
    """
    a, b = _wide(a), _wide(b)
    n = len(a)
    p, q = torch.softmax(a / t, 1), torch.softmax(b / t, 1)
    # A shift of all points, or of all distributions, changes no D_ij. About the mean of the second view, the sums over
    # all its cells vanish, and nothing small is left as the difference of two large numbers.
    centre, middle = b.mean(0), q.mean(0)
    a, b, p, q = a - centre, b - centre, p - middle, q - middle
    itself = (q * b).sum(1, keepdim=True)
    mean_b, mean_q, mean_itself = ((near.links @ x) / near.totals for x in (b, q, itself))
    of_neighbours = ((p - mean_q) * (a - mean_b) - mean_q * mean_b).sum(1, keepdim=True) + mean_itself
    of_all = (p * a).sum(1, keepdim=True) + itself.mean()
    of_self = ((p - q) * (a - b)).sum(1, keepdim=True)
    of_others = (n * of_all - of_self) / max(n - 1, 1)
    # Divided by t both: it cancels.
    return (of_neighbours / of_others.clamp_min(_TINY)).mean()


def cross_view_consistency(z1: Tensor, z2: Tensor, near: CellLinks) -> Tensor:
    """Return how far cosines across the views are from the graph, as a mean over all pairs of cells (L_CVC).

    mean_ij (z1_i . z2_j - link_ij)^2 with a link of 1 to neighbours and itself. The squares are the inner product of
    two `(o, o)` Gram matrices; the rest is a sum over links.

    Parameters
    ----------
    z1, z2
        `(n, o)`: the refined views, rows of unit length.
    near
        Neighbours of the cells.
    """
    z1, z2 = _wide(z1), _wide(z2)
    n = len(z1)
    squares = ((z1.T @ z1 / n) * (z2.T @ z2 / n)).sum()
    along = (z1 * (near.links @ z2)).sum() / n
    return squares + (near.totals.mean() - 2 * along) / near.n_cells


def _wide(x: Tensor) -> Tensor:
    """Losses are sums over many cells of small differences: half precision would lose them."""
    return x if x.dtype == torch.float64 else x.float()
