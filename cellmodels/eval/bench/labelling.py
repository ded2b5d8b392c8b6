"""Labels of test cells, by their nearest neighbours among a few cells of each type."""

from collections.abc import Mapping
from typing import Any

from cellmodels.eval.bench.protocol import Protocol
from cellmodels.eval.bench.task import MEAN, BenchTask, Embedding, Score, Truth
from cellmodels.eval.low_sample import low_sample_curve

_MEASURES = ("macro_f1", "accuracy")


def labelling(embedding: Embedding, truth: Truth, protocol: Protocol, seed: int) -> list[Score]:
    """Score labels at each number of cells `m` of each type."""
    curve = low_sample_curve(
        embedding, truth.labels, m=protocol.m, seeds=[seed], groups=truth.groups, k=protocol.neighbors
    )
    return [(measure, str(row.m), float(getattr(row, measure))) for row in curve.itertuples() for measure in _MEASURES]


def _near_five(about: Mapping[str, Any]) -> tuple[str, str]:
    m = min(about["protocol"]["m"], key=lambda m: abs(m - 5))
    return str(m), f"At {m} {'cell' if m == 1 else 'cells'} per type"


LABELLING = BenchTask(
    name="labelling",
    score=labelling,
    measure="macro_f1",
    at=MEAN,
    measure_name="macro-F1",
    places=lambda about: {str(m): str(m) for m in about["protocol"]["m"]},
    axis=("cells of each type", "macro-F1 of labels"),
    line=True,
    averaged=_MEASURES,
    fits=True,
    detail=_near_five,
)
