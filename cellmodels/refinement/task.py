"""Cells as the network of RefinementModel reads them, and mini-batches made of cells that are near each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from cellmodels.data.batches import split
from cellmodels.data.inputs import Rows
from cellmodels.nn.sparse_product import Cells, Smoothed, SparseMatrix, is_sparse_enough
from cellmodels.refinement import gene_graphs
from cellmodels.refinement.config import RefinementConfig
from cellmodels.refinement.losses import CellLinks, sampled
from genetext.errors import ModelError

_PART = 64
"""Cells of a part: those of a mini-batch come in parts of neighbours, so that links fall within it."""


@dataclass(frozen=True, eq=False)
class Views:
    """Cells as the network reads them.

    `first` and `second` are `features` `(n, G)` smoothed along the graph, CSR or dense: of the first view, and of the
    second view smoothed once more, since the first graph convolution reads the mean over neighbours. `hops` is how
    often either was. `smooth` is the filter of the second convolution, `near` the graph with a unit diagonal.
    """

    features: sparse.csr_matrix
    hops: tuple[int, int]
    first: Any
    second: Any
    smooth: sparse.csr_matrix
    near: sparse.csr_matrix

    @classmethod
    def of(cls, features: sparse.csr_matrix, graph: sparse.csr_matrix, hops: tuple[int, int]) -> Self:
        """Smooth the features `(n, G)` of cells along their graph, as often as `hops` says for either view."""
        smooth = gene_graphs.smoother(graph)
        near = (graph + sparse.identity(graph.shape[0])).tocsr().astype(np.float32)
        near.sort_indices()
        first = gene_graphs.filtered(features, smooth, hops[0])
        start, done = (first, hops[0]) if hops[0] <= hops[1] + 1 else (features, 0)
        second = gene_graphs.filtered(start, smooth, hops[1] + 1 - done)
        return cls(features, (hops[0], hops[1] + 1), first, second, smooth.astype(np.float32), near)

    def inputs(self, rows: Rows, *, as_sparse: bool) -> tuple[Cells, Cells]:
        """Return the features of both views for some cells; with `as_sparse`, of all, sparse where that is faster."""
        if as_sparse and is_sparse_enough(self.features, self.smooth.nnz * max(self.hops)):
            features, smooth = SparseMatrix.of(self.features), SparseMatrix.of(self.smooth, symmetric=True)
            return Smoothed(smooth, self.hops[0], features), Smoothed(smooth, self.hops[1], features)
        return self.take(self.first, rows), self.take(self.second, rows)

    @staticmethod
    def take(features: Any, rows: Rows, device: torch.device | None = None) -> torch.Tensor:
        """Return the features of some cells, dense."""
        part = features[rows]
        dense = torch.from_numpy(part.toarray() if sparse.issparse(part) else part)
        return dense if device is None else dense.to(device)


@dataclass(eq=False)
class RefinementTask:
    """Batches: all cells, or parts of cells that are near to each other, put together at random."""

    views: Views
    points: NDArray[np.float32]
    config: RefinementConfig
    half: bool = False
    """Whether products run in half precision, in which dense ones are faster than sparse ones."""
    module: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self._train, self._held = split(len(self.points), self.config.held_out, self.config.seed)
        if len(self._train) < 2 or len(self._held) == 1:
            raise ModelError(
                f"held_out={self.config.held_out:g} leaves {len(self._train):,} of {len(self.points):,} cells to train "
                f"on and {len(self._held):,} held out: a cell alone has no other to be apart from"
            )
        self._last: tuple[Rows, dict[str, Any]] | None = None

    def batches(self, rng: np.random.Generator) -> Sequence[Rows]:
        """Return the cells of each mini-batch of one epoch."""
        return self._batches(self._train, rng)

    def held_out(self) -> Sequence[Rows]:
        """Return the mini-batches of cells kept from training: made as those of training, the same each time."""
        return self._batches(self._held, np.random.default_rng([self.config.seed, 7])) if len(self._held) else []

    def _batches(self, rows: Rows, rng: np.random.Generator) -> Sequence[Rows]:
        n_batches = _n_batches(len(rows), self.config.batch_size)
        if n_batches == 1:
            return [rows]
        parts = near_parts(self.points, rows, min(_PART, max(1, self.config.batch_size // 8)), rng)
        order = rng.permutation(len(parts))
        return [np.sort(np.concatenate([parts[at] for at in part])) for part in np.array_split(order, n_batches)]

    def batch(self, rows: Rows, rng: np.random.Generator) -> dict[str, Any]:  # noqa: ARG002
        """Return what the network takes for these cells."""
        if self._last is not None and np.array_equal(self._last[0], rows):
            return self._last[1]
        whole = len(rows) == len(self.points)
        x1, x2 = self.views.inputs(rows, as_sparse=whole and not self.half)
        made = {
            "x1": x1,
            "x2": x2,
            "smooth": SparseMatrix.of(sampled(self.views.smooth, rows), symmetric=whole),
            "near": CellLinks.of(sampled(self.views.near, rows), len(self.points)),
        }
        self._last = (rows, made)
        return made


def near_parts(points: NDArray[Any], rows: Rows, size: int, rng: np.random.Generator) -> list[Rows]:
    """Cut cells into parts of about `size` that are near to each other: by halves, each along a random direction.

    The directions are drawn anew each time, so that links cut in one epoch are whole in another.

    Returns
    -------
    Positions, each of `rows` in one part; parts differ in size by one.
    """
    parts = [rows]
    while max(map(len, parts)) > size:
        halved = []
        for part in parts:
            # One direction for each part, whether or not it is split, keeps the draws in step.
            along = points[part] @ rng.standard_normal((points.shape[1],)).astype(points.dtype)
            order = part[np.argsort(along, kind="stable")]
            halved += [order[: len(order) // 2], order[len(order) // 2 :]] if len(part) > 1 else [order]
        parts = halved
    return parts


def _n_batches(n: int, size: int) -> int:
    """How many batches of at most about `size`, none of a single cell: one has no other cell to be apart from."""
    return max(1, min(-(-n // size), n // 2))
