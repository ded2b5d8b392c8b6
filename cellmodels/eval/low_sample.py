"""How well cells are labelled from a few cells of each type: curves over the number of training cells."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellmodels.data.inputs import Rows
from cellmodels.eval import metrics
from cellmodels.groups.knn_classifier import KNNClassifier
from genetext.errors import ModelError
from genetext.labels import complete_labels, known_labels

Labels = NDArray[np.object_]
Make = Callable[[Rows, Labels, int], NDArray[Any]]
"""`(training cells, label of each cell of the data or None, seed)` -> an embedding of all cells of the data."""


@dataclass(frozen=True, eq=False)
class Draw:
    """Training and test cells of one seed and one `m`.

    Attributes
    ----------
    m
        Training cells asked of each class.
    seed
        Of the draw.
    train, test
        Positions of the cells, in order. The test cells of a seed are the same at every `m`, and the training cells
        of a smaller `m` are among those of a larger one: a curve shows what more training cells add.
    group
        The group that the test cells are of; empty without groups.
    n_left_out
        Cells with a label that are neither: their class has one cell only, or none outside the test group.
    """

    m: int
    seed: int
    train: Rows
    test: Rows
    group: str
    n_left_out: int


def draws(
    labels: Any,
    *,
    m: Sequence[int] = (1, 2, 5, 10, 20, 50),
    seeds: Sequence[int] = range(5),
    groups: Any = None,
) -> Iterator[Draw]:
    """Draw training and test cells.

    A class gives `m` cells to training, and all that no `m` takes to the test. A class of fewer than twice the largest
    `m` cells keeps half of them (rounded up) for the test, and gives what it has to larger `m`; a class of one cell is
    left out. With groups, the test cells are all those of one group, a different one for each seed as far as there are
    groups, and training cells are drawn from all cells of the others.

    Parameters
    ----------
    labels
        `(n,)`; a cell without one (null, `Unknown`: `genetext.labels`) is never drawn.
    m
        Training cells per class.
    seeds
        One draw for each.
    groups
        `(n,)`: donor, batch, condition. Default: none.

    Raises
    ------
    ModelError
        `m` is empty or below 1, fewer than two classes, or groups, can be drawn from, or a cell has no group.
    """
    names = known_labels(labels)
    if not len(m) or min(m) < 1:
        raise ModelError(f"m={tuple(m)}: give numbers of training cells per class, 1 at least")
    known = np.array([name is not None for name in names])
    kinds = sorted(set(names[known]))
    of_group = None if groups is None else complete_labels(groups, what="group", error=ModelError)
    for seed in seeds:
        rng = np.random.default_rng([seed, 11])
        group = "" if of_group is None else _group(of_group, known, seed)
        pools, test = [], []
        for kind in kinds:
            rows = rng.permutation(np.flatnonzero(names == kind))
            if of_group is None:
                n_train = min(max(m), len(rows) // 2)
                pool, rest = rows[:n_train], rows[n_train:]
            else:
                outside = of_group[rows] != group
                pool, rest = rows[outside], rows[~outside]
            if len(pool):
                pools.append(pool)
                test.append(rest)
        if len(pools) < 2 or not sum(map(len, test)):
            raise ModelError(
                f"seed {seed}: {len(pools)} classes have cells to train on{f' outside {group}' if group else ''}, and "
                f"{sum(map(len, test))} cells are left to test: two classes and a cell are needed"
            )
        tested = np.sort(np.concatenate(test))
        pooled = sum(map(len, pools))
        for size in m:
            train = np.sort(np.concatenate([pool[:size] for pool in pools]))
            yield Draw(size, seed, train, tested, group, int(known.sum()) - pooled - len(tested))


def low_sample_curve(
    make: NDArray[Any] | Make,
    labels: Any,
    *,
    m: Sequence[int] = (1, 2, 5, 10, 20, 50),
    seeds: Sequence[int] = range(5),
    groups: Any = None,
    k: int = 5,
    per_class: bool = False,
) -> pd.DataFrame:
    """Label test cells by their nearest training cells, for `m` training cells of each class.

    Parameters
    ----------
    make
        An embedding `(n, d)` that is the same at every draw; or a function `(train, known, seed) -> (n, d)` that is
        given the positions of the training cells and `known`, a label for these and None for all others, so that it
        can fit a model and cannot see the labels of the test.
    labels, m, seeds, groups
        As in `draws`.
    k
        Neighbours that vote, `min(k, m)` of them: with fewer cells of a class the others would outvote it.
    per_class
        Add a row for each class, with its `f1` and its test cells.

    Returns
    -------
    One row per draw: `m`, `seed`, `group`, `n_train`, `n_test`, `n_classes`, `accuracy`, `balanced_accuracy`,
    `macro_f1`, `weighted_f1`, and `ece`, the error of the confidence. Means are over the classes of the test cells.
    With `per_class` rows of classes too, which have `label`, `n_test` and `f1` (`label` is empty in the others).
    """
    names = known_labels(labels)
    rows: list[dict[str, Any]] = []
    for draw in draws(names, m=m, seeds=seeds, groups=groups):
        known = np.full(len(names), None, dtype=object)
        known[draw.train] = names[draw.train]
        embedding = make if isinstance(make, np.ndarray) else make(draw.train, known.copy(), draw.seed)
        if len(embedding) != len(names):
            raise ModelError(f"the embedding has {len(embedding):,} rows for {len(names):,} cells")
        voters = KNNClassifier.fit(embedding[draw.train], names[draw.train], k=min(k, draw.m))
        rows += _score(draw, names[draw.test], voters.predict(embedding[draw.test]), per_class)
    return pd.DataFrame(rows)


def _score(draw: Draw, true: Labels, predictions: pd.DataFrame, per_class: bool) -> Iterator[dict[str, Any]]:
    # A cell without a label is wrong: an embedding that gives up on hard cells is not better.
    predicted = predictions["label"].map(lambda label: "" if label is None else label).to_numpy(object).astype(str)
    true = true.astype(str)
    by_class = metrics.f1_by_type(true, predicted).sort_values("type")
    head = {"m": draw.m, "seed": draw.seed, "group": draw.group}
    scores = {
        "n_train": len(draw.train),
        "n_test": len(draw.test),
        "n_left_out": draw.n_left_out,
        "n_classes": len(by_class),
        "accuracy": metrics.accuracy(true, predicted),
        "balanced_accuracy": float(by_class["recall"].mean()),
        "macro_f1": float(by_class["f1"].mean()),
        "weighted_f1": metrics.weighted_f1(true, predicted),
        "ece": metrics.calibration_error(true, predicted, predictions["confidence"].fillna(0.0).to_numpy(), bins=10),
    }
    yield {**head, **({"label": ""} if per_class else {}), **scores}
    if per_class:
        for kind, n_test, f1 in zip(by_class["type"], by_class["n_cells"], by_class["f1"], strict=True):
            yield {**head, "label": str(kind), "n_test": int(n_test), "f1": float(f1)}


def _group(of_group: Labels, known: NDArray[np.bool_], seed: int) -> str:
    kinds = sorted(set(of_group[known]))
    if len(kinds) < 2:
        raise ModelError(f"the labelled cells are of {len(kinds)} group: leave one out of two at least, or pass none")
    return str(kinds[seed % len(kinds)])
