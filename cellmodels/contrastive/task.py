"""What the contrastive model is trained on: inputs of its towers, and mini-batches of cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellmodels.contrastive.config import ContrastiveConfig
from cellmodels.contrastive.losses import BalancedBatches
from cellmodels.contrastive.views import Bags
from cellmodels.data.batches import in_order, shuffled
from cellmodels.data.inputs import CellMatrix, Rows
from genetext.errors import ModelError


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the towers take of each cell; None for a tower that there is not."""

    bags: Bags | None
    expression: CellMatrix | None

    def take(self, rows: Rows) -> dict[str, Tensor]:
        """Return the inputs of some cells."""
        inputs = {} if self.bags is None else self.bags.take(rows)
        if self.expression is not None:
            inputs["expression"] = torch.from_numpy(self.expression.dense(rows))
        return inputs


class ContrastiveTask:
    """Mini-batches of usable cells: balanced over classes, shuffled, or half and half.

    Parameters
    ----------
    inputs
        What the module is given.
    codes
        `(n_cells,)`: class of each cell, -1: none.
    usable
        Cells that some tower sees something of.
    config
        Hyper-parameters.
    loss
        Which one, decided.

    Raises
    ------
    ModelError
        The loss contrasts classes, and fewer than two are left to train on.
    """

    module: nn.Module

    def __init__(
        self,
        inputs: Inputs,
        codes: NDArray[np.int64],
        usable: Rows,
        config: ContrastiveConfig,
        loss: str,
    ) -> None:
        self._inputs, self._codes = inputs, codes
        self._size, self._loss, self._seed = config.batch_size, loss, config.seed
        if loss == "supervised":
            usable = usable[codes[usable] >= 0]
        self._train, self.held = _hold_out(usable, codes[usable], config)
        if len(self._train) < 2:
            raise ModelError(
                f"{len(self._train)} cells are left to train on, and cells are contrasted with others: lower held_out, "
                f"or label cells that express something"
            )
        self.labelled = self._train[codes[self._train] >= 0]
        if loss != "self-supervised" and len(np.unique(codes[self.labelled])) < 2:
            raise ModelError(
                "fewer than two classes are left among the cells to train on: lower held_out, or label more cells"
            )

    def batches(self, rng: np.random.Generator) -> Sequence[Rows]:
        """Return the cells of each mini-batch of one epoch."""
        if self._loss == "self-supervised":
            return shuffled(self._train, self._size, rng)
        if self._loss == "supervised":
            return self._balanced(self._size).draw(rng)
        # Half of a batch has labels, however few cells have.
        others = shuffled(self._train, max(self._size // 2, 1), rng)
        balanced = self._balanced(max(self._size // 2, 2)).draw(rng, len(others))
        return [_joined(first, second) for first, second in zip(balanced, others, strict=True)]

    def held_out(self) -> Sequence[Rows]:
        """Return the mini-batches of cells that are kept from training: the same each time, classes spread over all.

        The losses contrast a cell with its batch. In the order of a sorted file a batch would hold one class.
        """
        codes = self._codes[self.held]
        place = np.empty(len(codes))
        for code in np.unique(codes):
            members = np.flatnonzero(codes == code)
            rng = np.random.default_rng([self._seed, 7, code + 1])
            place[rng.permutation(members)] = (np.arange(len(members)) + rng.random()) / len(members)
        return in_order(self.held[np.argsort(place, kind="stable")], self._size)

    def batch(self, rows: Rows, rng: np.random.Generator) -> dict[str, Any]:
        """Return what the module takes for these cells."""
        del rng  # views are drawn by the module, where the genes are
        return {
            "codes": torch.from_numpy(self._codes[rows]),
            "cells": torch.from_numpy(rows),
            **self._inputs.take(rows),
        }

    def _balanced(self, size: int) -> BalancedBatches:
        return BalancedBatches(self.labelled, self._codes[self.labelled], size)


def _hold_out(rows: Rows, codes: NDArray[np.int64], config: ContrastiveConfig) -> tuple[Rows, Rows]:
    """Hold out the share of each class, and of the cells without, rounded down: classes of a few cells lose none."""
    held_out = []
    for number, code in enumerate(np.unique(codes)):
        order = np.random.default_rng([config.seed, 1, number]).permutation(rows[codes == code])
        held_out.append(order[: int(config.held_out * len(order))])
    held = np.sort(np.concatenate([rows[:0], *held_out]))
    return np.setdiff1d(rows, held), held


def _joined(balanced: Rows, others: Rows) -> Rows:
    """Join two parts of a batch; of the second, what the first has not."""
    return np.concatenate([balanced, others[~np.isin(others, balanced)]])


def lost_cells(cells: CellMatrix, bags: Bags | None, *, read_expression: bool) -> NDArray[np.bool_]:
    """Mark cells of which no tower sees anything."""
    silent = np.ones(cells.n_cells, bool)
    if read_expression:
        silent = np.asarray(cells.matrix.sum(axis=1)).ravel() == 0
    lost: NDArray[np.bool_] = silent if bags is None else silent & bags.lost
    return lost
