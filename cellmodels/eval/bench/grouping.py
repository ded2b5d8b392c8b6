"""Clusters of the labelled cells: into as many as there are types, and into as many as the cells themselves tell."""

import numpy as np

from cellmodels.eval import metrics
from cellmodels.eval.bench.protocol import Protocol
from cellmodels.eval.bench.task import BenchTask, Embedding, Score, Truth
from cellmodels.groups.clusters import cluster

GIVEN, FOUND = "K given", "K found"
_K = 15


def grouping(embedding: Embedding, truth: Truth, protocol: Protocol, seed: int) -> list[Score]:
    """Score clusters of the labelled cells; with groups, of those that were held out for this seed."""
    assert isinstance(embedding, np.ndarray)
    known = np.array([label is not None for label in truth.labels])
    if truth.groups is not None:
        known &= ~np.isin(np.arange(len(known)), truth.fitted_on(protocol, seed))
    labels, points = truth.labels[known].astype(str), embedding[known]
    n_types = len(set(labels))
    scores: list[Score] = []
    if n_types < 2:
        return scores
    numbers: dict[str, int | None] = {GIVEN: min(n_types, len(np.unique(points, axis=0)))}
    if protocol.found_clusters and len(points) > _K * 2:
        numbers[FOUND] = None
    for at, number in numbers.items():
        clusters = cluster(points, number, seed=seed, k=_K, threads=1)
        scores += [(name, at, getattr(metrics, name)(labels, clusters.labels)) for name in ("ari", "nmi", "ami")]
        scores.append(("n_clusters", at, float(clusters.n_clusters)))
    return scores


GROUPING = BenchTask(
    name="grouping",
    score=grouping,
    measure="ari",
    at=GIVEN,
    measure_name="ARI",
    places=lambda _: {GIVEN: "as many as types", FOUND: "number found"},
    axis=("", "ARI of clusters"),
)
