"""What an embedding is put to: the truth about cells, and what a task is.

A new task is a module with a `BenchTask` and its line in `registry.TASKS`. The report claims a benefit, and the figure
has a row of panels, for each task by its headline.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellmodels.eval.bench.protocol import Protocol
from cellmodels.eval.low_sample import draws

Score = tuple[str, str, float]
"""Measure, at what (`5` cells of each type, `K given`, `K found`), value."""
MEAN = "mean"
"""Stands where a number of cells would: the mean over all of them."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The types of cells, and the groups that they come from.

    Attributes
    ----------
    labels
        `(n_cells,) object`: None where a cell has none.
    groups
        `(n_cells,) object`: donors or batches; None: there are none.
    """

    labels: NDArray[np.object_]
    groups: NDArray[np.object_] | None = None

    def tested(self, protocol: Protocol, seed: int) -> NDArray[np.int64]:
        """Return the cells that labels are asked of for this seed; with groups, all of one group."""
        tested: NDArray[np.int64] = next(draws(self.labels, m=protocol.m, seeds=[seed], groups=self.groups)).test
        return tested

    def fitted_on(self, protocol: Protocol, seed: int) -> NDArray[np.int64]:
        """Return the cells to fit to: all, or with groups those of the other groups."""
        every = np.arange(len(self.labels))
        if self.groups is None:
            return every
        held_out = self.groups[self.tested(protocol, seed)[0]]
        others: NDArray[np.int64] = every[self.groups != held_out]
        return others


Embedding = NDArray[Any] | Callable[..., NDArray[Any]]
"""`(n_cells, d)`, or a function `(training cells, label of each cell or None, seed) -> (n_cells, d)`."""


@dataclass(frozen=True)
class BenchTask:
    """A task.

    Attributes
    ----------
    name
        As reports have it.
    score
        From an embedding, the truth, the protocol and a seed to scores.
    measure, at
        Which score the benefit of a prior is claimed by.
    measure_name
        The measure in words.
    places
        From `about` of a report to the `at` of a figure's horizontal axis and what is written there.
    axis
        What is written below and beside that axis.
    line
        Whether a figure joins the points of one method.
    averaged
        Measures whose mean over all `at` is a score too, at `mean`.
    fits
        Whether `score` takes a function for an embedding, so that models can be fitted to the few labels themselves.
    detail
        From `about` to an `at` that the report tells beside the headline, and words for it; None: it tells none.
    """

    name: str
    score: Callable[[Embedding, Truth, Protocol, int], list[Score]]
    measure: str
    at: str
    measure_name: str
    places: Callable[[Mapping[str, Any]], Mapping[str, str]]
    axis: tuple[str, str]
    line: bool = False
    averaged: tuple[str, ...] = ()
    fits: bool = False
    detail: Callable[[Mapping[str, Any]], tuple[str, str]] | None = None
