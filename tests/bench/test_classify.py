"""Scores of vectors on one term: planted signals, chance, and what the choice of C may see."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from genetext.bench.classify import C_VALUES, Protocol, Score, auroc, score
from genetext.bench.tasks import Task
from genetext.errors import BenchError
from genetext.gene_sets import HOLDOUT
from tests.bench.worlds import signal, task


def by_the_book(one, vectors):
    """The protocol in scikit-learn's own terms: RBF kernels, one classifier at a time."""
    x, y = vectors.astype(float), one.labels

    def fitted(train, c):
        return SVC(kernel="rbf", gamma="scale", class_weight="balanced", C=c).fit(x[train], y[train])

    folds = [fold for fold in np.unique(one.splits) if fold != HOLDOUT]
    means = []
    for c in C_VALUES:
        found = []
        for fold in folds:
            train = (one.splits != fold) & (one.splits != HOLDOUT)
            test = one.splits == fold
            found.append(roc_auc_score(y[test], fitted(train, c).decision_function(x[test])))
        means.append(np.mean(found))
    c = C_VALUES[int(np.argmax(means))]
    held = one.splits == HOLDOUT
    return roc_auc_score(y[held], fitted(~held, c).decision_function(x[held])), max(means), c


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_shared_distances_give_what_the_rbf_kernel_gives(seed, offset):
    one = task(seed=seed)
    # An offset is part of the variance that gamma="scale" divides by, when dimensions differ in it.
    vectors = signal(one.labels, strength=1.0, seed=seed) + np.float32(offset) * np.arange(16, dtype=np.float32)
    held_out, fold_mean, c = by_the_book(one, vectors)
    found = score(one, vectors, Protocol())
    assert found.c == (c,)
    assert found.auroc == pytest.approx(held_out, abs=1e-3)
    assert found.fold_auroc == pytest.approx(fold_mean, abs=1e-3)


def test_a_planted_signal_is_found_and_noise_is_not():
    one = task(600)
    assert score(one, signal(one.labels, strength=4), Protocol()).auroc > 0.97
    chance = [score(task(240, seed=s), signal(np.zeros(240, bool), seed=s), Protocol()).auroc for s in range(12)]
    assert np.mean(chance) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("given", [True, False])
def test_a_score_is_the_same_every_time(given):
    one = task(given=given)
    vectors = signal(one.labels)
    assert score(one, vectors, Protocol()) == score(one, vectors, Protocol())


def test_other_seeds_draw_other_folds_where_none_are_given():
    one = task(given=False)
    vectors = signal(one.labels, strength=0.5)
    assert score(one, vectors, Protocol(seed=1)) != score(one, vectors, Protocol(seed=2))
    given = task()
    assert score(given, vectors, Protocol(seed=1)) == score(given, vectors, Protocol(seed=2))


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_of_c_never_sees_the_holdout(seed):
    one = task(seed=seed)
    vectors = signal(one.labels, strength=0.7, seed=seed)
    held = one.splits == HOLDOUT
    honest = score(one, vectors, Protocol())

    turned = Task(one.term, one.gene_ids, np.where(held, ~one.labels, one.labels), one.splits)
    corrupted = score(turned, vectors, Protocol())
    assert (corrupted.c, corrupted.fold_auroc) == (honest.c, honest.fold_auroc)
    assert corrupted.auroc == pytest.approx(1 - honest.auroc)

    # Nor do its vectors: folds are scored as if they were not there.
    moved = vectors.copy()
    moved[held] = 100
    elsewhere = score(one, moved, Protocol())
    assert elsewhere.c == honest.c
    assert elsewhere.fold_auroc == pytest.approx(honest.fold_auroc, abs=1e-9)


def test_labels_of_a_fold_matter_to_the_choice():
    """The test above could not fail if nothing mattered."""
    one = task()
    vectors = signal(one.labels)
    turned = Task(one.term, one.gene_ids, np.where(one.splits == 0, ~one.labels, one.labels), one.splits)
    assert score(turned, vectors, Protocol()).fold_auroc < score(one, vectors, Protocol()).fold_auroc


def test_drawn_folds_hold_their_genes_out():
    """A gene's own label is in its vector alone: with it in training AUROC would be 1."""
    one = task(120, given=False)
    identity = np.eye(120, dtype=np.float32)
    assert score(one, identity, Protocol(repeats=3)).auroc < 0.65


def test_repeats_are_averaged():
    one = task(given=False)
    found = score(one, signal(one.labels), Protocol(folds=4, repeats=2))
    assert len(found.c) == 8


def test_auroc_counts_ties_half():
    labels = np.array([True, False, True, False, False])
    scores = np.array([1.0, 1.0, 3.0, 0.0, 3.0])
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert auroc(labels, np.zeros(5)) == 0.5


def test_vectors_that_are_all_the_same_score_by_chance():
    one = task()
    assert score(one, np.ones((240, 3), np.float32), Protocol()).auroc == 0.5


def test_scores_survive_json():
    found = Score(0.75, 0.5, (0.1, 10.0))
    assert Score.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c_values": ()}, "at least one value"),
        ({"c_values": (1, -1)}, "positive"),
        ({"folds": 1}, "two folds"),
        ({"inner_folds": 1}, "two folds"),
        ({"repeats": 0}, "1 or more"),
    ],
)
def test_protocols_that_make_no_sense_are_refused(options, message):
    with pytest.raises(BenchError, match=message):
        Protocol(**options)


def test_vectors_of_other_genes_are_refused():
    with pytest.raises(BenchError, match="240 genes and vectors of shape"):
        score(task(), np.zeros((3, 2), np.float32), Protocol())
