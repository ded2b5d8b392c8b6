"""How well an embedding shows the types: groups of cells, and labels learned from a few of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellmodels.eval import metrics
from cellmodels.eval.bench.protocol import Protocol
from cellmodels.eval.low_sample import draws, low_sample_curve
from cellmodels.groups.clusters import cluster

Score = tuple[str, str, float]
"""Measure, where (`5` cells of each type, `K given`, `K found`), value."""
GIVEN, FOUND = "K given", "K found"
_K = 15


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
        held = self.groups[self.tested(protocol, seed)[0]]
        others: NDArray[np.int64] = every[self.groups != held]
        return others


def labelling(
    embedding: NDArray[Any] | Callable[..., NDArray[Any]], truth: Truth, protocol: Protocol, seed: int
) -> list[Score]:
    """Score labels of test cells by their nearest neighbours among a few cells of each type."""
    curve = low_sample_curve(
        embedding, truth.labels, m=protocol.m, seeds=[seed], groups=truth.groups, k=protocol.neighbors
    )
    return [
        (measure, str(row.m), float(getattr(row, measure)))
        for row in curve.itertuples()
        for measure in ("macro_f1", "accuracy")
    ]


def grouping(embedding: NDArray[Any], truth: Truth, protocol: Protocol, seed: int) -> list[Score]:
    """Score clusters of the labelled cells; with groups, of those that were held out for this seed."""
    known = np.array([label is not None for label in truth.labels])
    if truth.groups is not None:
        known &= ~np.isin(np.arange(len(known)), truth.fitted_on(protocol, seed))
    labels, points = truth.labels[known].astype(str), embedding[known]
    n_types = len(set(labels))
    found: list[Score] = []
    if n_types < 2:
        return found
    ways: list[tuple[str, int | None]] = [(GIVEN, min(n_types, len(np.unique(points, axis=0))))]
    if protocol.found_clusters and len(points) > _K * 2:
        ways.append((FOUND, None))
    for where, number in ways:
        groups = cluster(points, number, seed=seed, k=_K, threads=1)
        scored = {name: getattr(metrics, name)(labels, groups.labels) for name in ("ari", "nmi", "ami")}
        found += [(name, where, value) for name, value in scored.items()]
        found.append(("n_clusters", where, float(groups.n_clusters)))
    return found
