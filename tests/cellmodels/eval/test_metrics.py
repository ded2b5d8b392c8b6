"""Metrics on labels whose agreement can be told by hand."""

import itertools

import numpy as np
import pytest

from cellmodels.eval import metrics
from genetext.errors import CellsError

TRUE = np.array(["a", "a", "a", "b", "b", "c"])
SAME = np.array([2, 2, 2, 0, 0, 1])


@pytest.mark.parametrize("score", [metrics.ari, metrics.nmi, metrics.ami, metrics.matched_accuracy])
def test_the_same_partition_under_other_names_is_perfect(score):
    assert score(TRUE, SAME) == pytest.approx(1)
    assert score(TRUE, np.array([0, 1, 2, 0, 1, 2])) < 1


def test_chance_corrected_scores_are_about_zero_by_chance():
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 5, (2, 4000))
    assert abs(metrics.ari(left, right)) < 0.01
    assert abs(metrics.ami(left, right)) < 0.01


def test_matching_is_the_best_of_all_assignments():
    rng = np.random.default_rng(1)
    for _ in range(20):
        true, clusters = rng.integers(0, 4, (2, 30))
        best = max(np.mean(np.array(order)[clusters] == true) for order in itertools.permutations(range(4)))
        assert metrics.matched_accuracy(true, clusters) == pytest.approx(best)


def test_a_cluster_too_many_has_no_type():
    clusters = np.array([0, 0, 3, 1, 1, 2])
    assert metrics.match_clusters(TRUE, clusters) == {0: "a", 1: "b", 2: "c"}
    assert metrics.matched_accuracy(TRUE, clusters) == pytest.approx(5 / 6)


def test_accuracies_and_f1_by_hand():
    predicted = np.array(["a", "a", "b", "b", "b", "a"])
    assert metrics.accuracy(TRUE, predicted) == pytest.approx(4 / 6)
    assert metrics.balanced_accuracy(TRUE, predicted) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics.macro_f1(TRUE, predicted) == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)


def test_a_label_that_is_no_type_is_wrong_and_has_no_f1():
    predicted = np.array(["a", "a", "a", "b", "b", "z"])
    assert metrics.accuracy(TRUE, predicted) == pytest.approx(5 / 6)
    assert metrics.macro_f1(TRUE, predicted) == pytest.approx(2 / 3)


def test_f1_of_each_type_by_hand():
    predicted = np.array(["a", "a", "b", "b", "b", "a"])
    table = metrics.f1_by_type(TRUE, predicted).set_index("type")
    assert table.index.tolist() == ["c", "b", "a"]  # the rarest first
    assert table["n_cells"].tolist() == [1, 2, 3]
    assert table["precision"].tolist() == pytest.approx([0, 2 / 3, 2 / 3])
    assert table["recall"].tolist() == pytest.approx([0, 1, 2 / 3])
    assert table["f1"].tolist() == pytest.approx([0, 4 / 5, 2 / 3])
    assert metrics.weighted_f1(TRUE, predicted) == pytest.approx((3 * 2 / 3 + 2 * 4 / 5 + 0) / 6)
    assert metrics.macro_f1(TRUE, predicted) == pytest.approx(table["f1"].mean())


def test_f1_of_clusters_is_that_of_the_types_they_are_matched_to():
    assert metrics.matched_macro_f1(TRUE, SAME) == 1
    clusters = np.array([0, 0, 3, 1, 1, 2])
    assert metrics.matched_macro_f1(TRUE, clusters) == pytest.approx((4 / 5 + 1 + 1) / 3)
    assert metrics.matched_macro_f1(TRUE, np.zeros(6, int)) == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_calibration_by_hand():
    true = np.array(["a"] * 10)
    predicted = np.array(["a", "a", "a", "b", "b", "a", "a", "a", "a", "b"])
    confidence = np.array([0.5] * 5 + [0.9] * 5)  # right: 0.6 and 0.8
    assert metrics.calibration_error(true, predicted, confidence) == pytest.approx((0.1 + 0.1) / 2)
    assert metrics.calibration_error(true, predicted, confidence, bins=1) == pytest.approx(0)
    table = metrics.reliability(true, predicted, confidence, bins=10)
    assert table["n_cells"].tolist() == [5, 5]
    assert table["accuracy"].tolist() == pytest.approx([0.6, 0.8])
    assert table["confidence"].tolist() == pytest.approx([0.5, 0.9])
    assert metrics.calibration_error(true, np.array(["a"] * 5 + ["b"] * 5), np.repeat([1.0, 0.0], 5)) == 0
    assert metrics.calibration_error(true, np.array(["b"] * 10), np.ones(10)) == 1


@pytest.mark.parametrize("equal", [False, True])
def test_confidence_that_says_how_often_it_is_right(equal):
    rng = np.random.default_rng(7)
    confidence = rng.beta(5, 2, 20_000)
    true, predicted = np.zeros(20_000, int), (rng.random(20_000) > confidence).astype(int)
    assert metrics.calibration_error(true, predicted, confidence, equal=equal) < 0.015
    assert metrics.calibration_error(true, predicted, confidence**3, equal=equal) > 0.2
    table = metrics.reliability(true, predicted, confidence, bins=8, equal=equal)
    assert table["n_cells"].sum() == 20_000
    assert (np.ptp(table["n_cells"]) <= 1) == equal
    assert (table["low"].to_numpy()[1:] > table["high"].to_numpy()[:-1]).all()
    order = rng.permutation(20_000)
    assert metrics.calibration_error(true[order], predicted[order], confidence[order]) == pytest.approx(
        metrics.calibration_error(true, predicted, confidence)
    )


@pytest.fixture
def blobs():
    rng = np.random.default_rng(2)
    kinds = np.repeat(["x", "y"], 40)
    return rng.normal(size=(80, 3)) + 20 * (kinds == "y")[:, None], kinds


def test_embeddings_that_separate_and_that_do_not(blobs):
    points, kinds = blobs
    mixed = np.random.default_rng(3).permutation(kinds)
    assert metrics.silhouette(points, kinds) > 0.8 > 0.1 > metrics.silhouette(points, mixed)
    assert metrics.knn_accuracy(points, kinds, k=5) == 1
    assert metrics.knn_accuracy(points, mixed, k=5) < 0.75
    assert metrics.silhouette(points, kinds, sample=40, seed=1) == metrics.silhouette(points, kinds, sample=40, seed=1)


def test_a_class_of_one_cell_is_judged_and_never_right(blobs):
    points, kinds = blobs
    kinds = kinds.astype(object)
    kinds[0] = "alone"
    assert metrics.knn_accuracy(points, kinds, k=3) == pytest.approx(79 / 80)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: metrics.ari(TRUE, SAME[:3]), "one each"),
        (lambda: metrics.nmi([], []), "one each"),
        (lambda: metrics.accuracy(TRUE, np.array(["a", None, "a", "b", "b", "c"], object)), "1 cells have no label"),
        (lambda: metrics.silhouette(np.zeros((6, 2)), ["a"] * 6), "two labels"),
        (lambda: metrics.silhouette(np.zeros((6, 2)), list("abcdef")), "fewer labels than cells"),
        (lambda: metrics.knn_accuracy(np.zeros((6, 2)), TRUE, k=6), "k is 6"),
        (lambda: metrics.knn_accuracy(np.zeros((6, 2)), TRUE, folds=1), "folds"),
        (lambda: metrics.knn_accuracy(np.full((6, 2), np.nan), TRUE), "NaN"),
        (lambda: metrics.knn_accuracy(np.zeros((5, 2)), TRUE), "n labels"),
        (lambda: metrics.accuracy(TRUE, SAME), "names with numbers"),
        (lambda: metrics.weighted_f1(TRUE, SAME), "names with numbers"),
        (lambda: metrics.calibration_error(TRUE, TRUE, np.ones(5)), "confidence is needed"),
        (lambda: metrics.calibration_error(TRUE, TRUE, np.full(6, np.nan)), "0 to 1"),
        (lambda: metrics.calibration_error(TRUE, TRUE, np.full(6, 1.5)), "0 to 1"),
        (lambda: metrics.calibration_error(TRUE, TRUE, np.ones(6), bins=0), "0 bins"),
    ],
)
def test_what_cannot_be_scored(call, says):
    with pytest.raises(CellsError, match=says):
        call()
