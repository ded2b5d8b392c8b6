"""One term, one set of vectors: an area under the ROC curve of genes that no choice has seen.

The classifier is scikit-learn's `SVC` with its defaults (RBF kernel, `gamma="scale"`) and balanced class weights. `C`
is the one of a few values with the best mean AUROC over folds of the training genes (the smallest of equals); the
classifier is then fitted to all training genes and scored on the others.

`gamma="scale"` depends on the genes that are fitted, so that no kernel serves two folds. What serves all of them, and
all values of `C`, are the squared distances: they are computed once per term, each fold takes `exp(-gamma d^2)` of its
part, and `SVC(kernel="precomputed")` solves the same problem as `SVC(kernel="rbf")` would, up to rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genetext.bench.tasks import Task
from genetext.errors import BenchError
from genetext.gene_sets import HOLDOUT

C_VALUES = (0.1, 1.0, 10.0, 100.0, 1000.0)
_Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a term is scored.

    Attributes
    ----------
    c_values
        Penalties to choose from, ascending.
    folds, repeats
        Outer stratified k-fold and how often it is drawn anew, for tasks without given splits.
    inner_folds
        Stratified folds of the training genes on which `C` is chosen, for tasks without given splits.
    seed
        Of the folds that are drawn.
    missing
        What becomes of genes that some method has no vector of. `drop` leaves them out of every method, `mean` gives
        them the mean vector in the methods that lack them.
    """

    c_values: tuple[float, ...] = C_VALUES
    folds: int = 5
    repeats: int = 1
    inner_folds: int = 3
    seed: int = 0
    missing: Literal["drop", "mean"] = "drop"

    def __post_init__(self) -> None:
        if not self.c_values or min(self.c_values) <= 0:
            raise BenchError(f"C has to be positive, and at least one value is needed: got {self.c_values}")
        for name in ("folds", "inner_folds"):
            if getattr(self, name) < 2:
                raise BenchError(f"{name} is {getattr(self, name)}: cross-validation takes two folds or more")
        if self.repeats < 1:
            raise BenchError(f"repeats is {self.repeats}: it has to be 1 or more")
        if self.missing not in ("drop", "mean"):
            raise BenchError(f"missing is drop or mean, not {self.missing!r}")
        object.__setattr__(self, "c_values", tuple(sorted(map(float, self.c_values))))

    def to_json(self, *, given_splits: bool) -> dict[str, Any]:
        """Return what decides a score; drawn folds count only where they are drawn."""
        drawn = {"folds": self.folds, "repeats": self.repeats, "inner_folds": self.inner_folds, "seed": self.seed}
        return {"c_values": list(self.c_values), "missing": self.missing, **({} if given_splits else drawn)}


@dataclass(frozen=True)
class Score:
    """What came out for one term.

    Attributes
    ----------
    auroc
        On the held-out genes; the mean over the outer folds where these were drawn.
    fold_auroc
        Mean over the inner folds at the chosen `C`: the number to choose methods by, since no held-out gene is in it.
    c
        The chosen `C`, one per outer fold.
    """

    auroc: float
    fold_auroc: float
    c: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the score as a JSON object."""
        return {"auroc": self.auroc, "fold_auroc": self.fold_auroc, "c": list(self.c)}

    @classmethod
    def from_json(cls, value: Any) -> "Score":
        """Read what `to_json` wrote."""
        return cls(float(value["auroc"]), float(value["fold_auroc"]), tuple(map(float, value["c"])))


def score(task: Task, vectors: NDArray[np.float32], protocol: Protocol) -> Score:
    """Score the vectors of a task's genes.

    Parameters
    ----------
    task
        Which genes belong to the term, and which are held out.
    vectors
        `(n, dim)`, a row for each of `task.gene_ids`, finite.
    protocol
        How.
    """
    from threadpoolctl import threadpool_limits

    if vectors.ndim != 2 or len(vectors) != len(task.labels):
        raise BenchError(f"{task.term}: {len(task.labels):,} genes and vectors of shape {vectors.shape}")
    # One thread, so that the sums, and with them the ranks, do not depend on how many a machine has.
    with threadpool_limits(1):
        points = np.asarray(vectors, np.float64)
        squared = _squared_distances(points)
        parts = [
            _choose_and_test(points, squared, task.labels, inner, test, protocol.c_values)
            for inner, test in _divisions(task, protocol)
        ]
    return Score(
        float(np.mean([part[0] for part in parts])),
        float(np.mean([part[1] for part in parts])),
        tuple(part[2] for part in parts),
    )


def auroc(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the probability that a gene of the term scores above another, ties counting half."""
    from scipy.stats import rankdata

    positive = int(labels.sum())
    negative = len(labels) - positive
    above = float(rankdata(scores)[labels].sum()) - positive * (positive + 1) / 2
    return above / (positive * negative)


def _divisions(task: Task, protocol: Protocol) -> Iterator[tuple[list[_Rows], _Rows]]:
    """Yield the inner folds (which together are the training genes) and the held-out genes."""
    if task.splits is not None:
        folds = [np.flatnonzero(task.splits == fold) for fold in np.unique(task.splits) if fold != HOLDOUT]
        yield folds, np.flatnonzero(task.splits == HOLDOUT)
        return
    from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedKFold

    outer = RepeatedStratifiedKFold(n_splits=protocol.folds, n_repeats=protocol.repeats, random_state=protocol.seed)
    for number, (train, test) in enumerate(outer.split(task.labels, task.labels)):
        drawn = StratifiedKFold(protocol.inner_folds, shuffle=True, random_state=protocol.seed + number)
        yield [train[fold] for _, fold in drawn.split(train, task.labels[train])], test


def _choose_and_test(
    points: NDArray[np.float64],
    squared: NDArray[np.float64],
    labels: NDArray[np.bool_],
    inner: Sequence[_Rows],
    test: _Rows,
    c_values: Sequence[float],
) -> tuple[float, float, float]:
    """Return the AUROC of the held-out genes, the mean AUROC of the folds, and the `C` that was chosen on these."""
    of_fold = np.array(
        [
            _aurocs(points, squared, labels, np.concatenate([*inner[:out], *inner[out + 1 :]]), fold, c_values)
            for out, fold in enumerate(inner)
        ]
    )
    mean = of_fold.mean(axis=0)
    best = int(np.argmax(mean))
    (held_out,) = _aurocs(points, squared, labels, np.concatenate(inner), test, [c_values[best]])
    return held_out, float(mean[best]), float(c_values[best])


def _aurocs(
    points: NDArray[np.float64],
    squared: NDArray[np.float64],
    labels: NDArray[np.bool_],
    train: _Rows,
    test: _Rows,
    c_values: Sequence[float],
) -> list[float]:
    """Fit to `train` once for each `C`, and return the AUROC of `test`."""
    from sklearn.svm import SVC

    gamma = _gamma_scale(points[train])
    among, across = (np.exp(-gamma * squared[np.ix_(rows, train)]) for rows in (train, test))
    aurocs = []
    for c in c_values:
        model = SVC(kernel="precomputed", C=c, class_weight="balanced").fit(among, labels[train])
        aurocs.append(auroc(labels[test], model.decision_function(across)))
    return aurocs


def _gamma_scale(points: NDArray[np.float64]) -> float:
    """Return what scikit-learn means by `gamma="scale"`."""
    variance = float(points.var())
    return 1.0 / (points.shape[1] * variance) if variance else 1.0


def _squared_distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    # Distances do not see the mean; without it less is lost to cancellation.
    centred = points - points.mean(axis=0)
    lengths = np.einsum("ij,ij->i", centred, centred)
    squared: NDArray[np.float64] = np.maximum(lengths[:, None] + lengths - 2 * (centred @ centred.T), 0)
    np.fill_diagonal(squared, 0)
    return squared
