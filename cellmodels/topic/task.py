"""What the topic model is trained on: mini-batches of cells, each with a neighbour in either view."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellmodels.data.batches import fixed, shuffled, split
from cellmodels.data.inputs import CellMatrix, Rows
from cellmodels.groups.pca import principal_components
from cellmodels.nn.sparse_product import SparseMatrix, is_sparse_enough
from cellmodels.topic.config import TopicConfig
from cellmodels.topic.neighbor_lists import NeighborLists, neighbor_lists
from cellmodels.topic.network import TopicNetwork
from genetext.errors import ModelError


class TopicTask:
    """Mini-batches of cells, each with a neighbour in either view."""

    def __init__(
        self,
        module: TopicNetwork,
        data: CellMatrix,
        config: TopicConfig,
        *,
        target: CellMatrix | None,
        view: NDArray[np.float32] | None,
    ) -> None:
        self.module: nn.Module = module
        self._data, self._config, self._target, self._view = data, config, target, view
        self._train, self._held = split(data.n_cells, config.held_out, config.seed)
        if len(self._train) < 2:
            raise ModelError(f"{len(self._train)} cell is left to train on: hold out fewer cells (held_out), or none")
        self._sparse = is_sparse_enough(data.matrix)
        self._near: tuple[NeighborLists, NeighborLists] | None = None
        if view is not None:
            matrix, n = data.matrix, config.n_components
            points = data.dense(slice(None)) if n is None else principal_components(matrix, n, n_genes=data.n_genes)
            self._near = neighbor_lists(points, config.n_neighbors), neighbor_lists(view, config.n_neighbors)

    def batches(self, rng: np.random.Generator) -> Sequence[Rows]:
        """Return the cells of each mini-batch of one epoch."""
        batches = shuffled(self._train, self._config.batch_size, rng)
        if len(batches) > 1 and len(batches[-1]) == 1:  # three cells in batches of two
            batches[-2:] = [np.concatenate(batches[-2:])]
        return batches

    def held_out(self) -> Sequence[Rows]:
        """Return the mini-batches of cells that are kept from training."""
        return fixed(self._held, self._config.batch_size, self._config.seed)

    def batch(self, rows: Rows, rng: np.random.Generator) -> dict[str, Any]:
        """Return what the network takes for these cells, and draw a neighbour of each."""
        x = self._rows(self._data, rows)
        made: dict[str, Any] = {"x": x, "target": x if self._target is None else self._rows(self._target, rows)}
        if self._near is not None and self._view is not None:
            in_expression, in_view = (lists.draw(rows, rng) for lists in self._near)
            made["neighbor"] = self._rows(self._data, in_expression)
            made["view"] = torch.from_numpy(self._view[rows])
            made["view_neighbor"] = torch.from_numpy(self._view[in_view])
        return made

    def _rows(self, cells: CellMatrix, rows: Rows) -> Tensor | SparseMatrix:
        """Return the expression of some cells in the form that is faster."""
        if self._sparse and self.module.topics.device.type == "cpu":
            return SparseMatrix.of(cells.matrix[rows])
        return torch.from_numpy(cells.dense(rows))
