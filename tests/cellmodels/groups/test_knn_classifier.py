"""Votes of the nearest labelled cells: the formula, ties, calibration, cells without a direction."""

import numpy as np
import pytest

from cellmodels.eval.metrics import calibration_error
from cellmodels.groups.knn_classifier import KNNClassifier
from genetext.errors import ModelError


def blobs(n=120, d=5, noise=0.6, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(size=(classes, d))
    return (centres[kind] + rng.normal(size=(n, d)) * noise).astype(np.float32), np.array([f"t{i}" for i in kind])


def by_hand(reference, labels, classes, query, k):
    unit = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    cosine = unit @ (query / np.linalg.norm(query))
    order = np.lexsort((np.arange(len(cosine)), -np.round(cosine, 6)))[:k]
    distance = 1 - cosine[order]
    weight = np.exp(-distance / distance.max())
    votes = np.array([weight[labels[order] == single].sum() for single in classes]) / weight.sum()
    q = votes + 1 / (2 * k * len(classes))
    return q / q.sum()


def test_votes_are_the_formula():
    points, labels = blobs()
    test, _ = blobs(20, seed=1)
    classifier = KNNClassifier.fit(points, labels, k=7, calibrate="none")
    predictions = classifier.predict_proba(test)
    for row, query in zip(predictions, test.astype(float), strict=True):
        assert row == pytest.approx(by_hand(points.astype(float), labels, classifier.classes, query, 7), abs=1e-4)
    assert predictions.sum(axis=1) == pytest.approx(1)


def test_scale_order_and_names_change_nothing():
    points, labels = blobs()
    test, _ = blobs(30, seed=1)
    base = KNNClassifier.fit(points, labels).predict(test)
    scaled = KNNClassifier.fit(points * 1e-20, labels).predict(test * 37)
    order = np.random.default_rng(0).permutation(len(points))
    shuffled = KNNClassifier.fit(points[order], labels[order]).predict(test)
    renamed = KNNClassifier.fit(points, [single.replace("t", "kind ") for single in labels]).predict(test)
    alone = [KNNClassifier.fit(points, labels).predict(test[i : i + 1]).iloc[0] for i in range(30)]
    for changed in (scaled, shuffled):
        assert (changed["label"] == base["label"]).all()
        assert np.allclose(changed["confidence"], base["confidence"], atol=1e-5)
    assert [str(label).replace("kind ", "t") for label in renamed["label"]] == list(base["label"])
    assert [single["label"] for single in alone] == list(base["label"])
    assert np.allclose([single["confidence"] for single in alone], base["confidence"], atol=1e-5)


def test_k_above_the_reference_asks_all_of_it():
    points, labels = blobs(6)
    few = KNNClassifier.fit(points, labels, k=50)
    assert few.n_calibrated == 0
    assert few.temperature == 1
    assert few.predict_proba(points).shape == (6, 3)
    single = KNNClassifier.fit(points[:1], labels[:1]).predict(points)
    assert list(single["label"]) == ["t0"] * 6
    assert list(single["confidence"]) == [1.0] * 6
    assert single["runner_up"].isna().all()


def test_equal_votes_go_to_the_nearer_class_then_to_the_first_by_name():
    reference = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    classifier = KNNClassifier.fit(reference[:2], ["b", "a"], k=2, votes="uniform", calibrate="none")
    assert list(classifier.predict(np.array([[1, 0.1]], np.float32))["label"]) == ["b"]
    both = KNNClassifier.fit(reference[[0, 2]], ["b", "a"], k=2, votes="uniform", calibrate="none")
    predictions = both.predict(np.array([[1, 1]], np.float32))
    assert list(predictions["label"]) == ["a"]
    assert list(predictions["runner_up"]) == ["b"]


def test_reference_cells_at_one_distance_are_asked_from_the_first():
    same = np.ones((5, 2), np.float32)
    classifier = KNNClassifier.fit(same, ["a", "a", "b", "b", "b"], k=2, calibrate="none")
    assert list(classifier.predict(same[:1])["label"]) == ["a"]


def test_cells_without_a_direction_have_neither_label_nor_confidence():
    points, labels = blobs()
    test = points[:4].copy()
    test[1], test[2, 0] = 0, np.nan
    predictions = KNNClassifier.fit(points, labels).predict(test)
    assert predictions["label"].isna().tolist() == [False, True, True, False]
    assert predictions["confidence"].isna().tolist() == [False, True, True, False]
    assert predictions["runner_up"].isna().tolist() == [False, True, True, False]


def test_reference_cells_without_direction_or_label_are_left_out():
    points, labels = blobs()
    labels = labels.astype(object)
    labels[3] = None
    points[5] = 0
    classifier = KNNClassifier.fit(points, labels)
    assert len(classifier.codes) == len(points) - 2
    with pytest.raises(ModelError, match="nothing to vote"):
        KNNClassifier.fit(np.zeros((2, 3)), ["a", "b"])


def test_abstains_below_the_confidence_asked():
    points, labels = blobs(noise=1.5)
    test, _ = blobs(200, noise=1.5, seed=1)
    classifier = KNNClassifier.fit(points, labels)
    every, confident = classifier.predict(test), classifier.predict(test, min_confidence=0.7)
    kept = every["confidence"] >= 0.7
    assert 0 < kept.sum() < 200
    assert (confident["label"].notna() == kept).all()
    assert (confident["label"][kept] == every["label"][kept]).all()
    assert (confident["confidence"] == every["confidence"]).all()


@pytest.mark.parametrize("noise", [0.5, 1.2, 2.5])
def test_calibration_brings_confidence_to_accuracy(noise):
    points, labels = blobs(900, noise=noise)
    test, truth = blobs(900, noise=noise, seed=1)

    def error(how):
        predictions = KNNClassifier.fit(points, labels, calibrate=how).predict(test)
        return calibration_error(truth, predictions["label"].to_numpy(), predictions["confidence"].to_numpy(), bins=10)

    plain, temperature, isotonic = (error(how) for how in ("none", "temperature", "isotonic"))
    assert temperature < max(0.06, plain)
    assert isotonic < 0.06


def test_calibration_does_not_change_which_class_comes_first():
    points, labels = blobs(400, noise=2)
    test, _ = blobs(200, noise=2, seed=1)
    plain = KNNClassifier.fit(points, labels, calibrate="none").predict(test)
    for how in ("temperature", "isotonic"):
        classifier = KNNClassifier.fit(points, labels, calibrate=how)
        predictions = classifier.predict(test)
        assert (predictions["label"] == plain["label"]).all()
        probability = classifier.predict_proba(test)
        assert probability.sum(axis=1) == pytest.approx(1)
        assert probability.max(axis=1) == pytest.approx(predictions["confidence"].to_numpy())


def test_labels_of_chance_get_the_confidence_of_chance():
    points, labels = blobs(600)
    labels = np.random.default_rng(5).permutation(labels)
    predictions = KNNClassifier.fit(points, labels).predict(blobs(300, seed=1)[0])
    assert predictions["confidence"].mean() == pytest.approx(1 / 3, abs=0.08)


def test_calibration_asks_only_the_cells_it_is_told_to():
    points, labels = blobs(300, noise=1.0)
    # The first half is fitted to: it lies where its class lies.
    fitted = points.copy()
    fitted[:150] = blobs(150, noise=0.01)[0]
    over = KNNClassifier.fit(fitted, labels, calibrate_on=np.arange(150))
    fair = KNNClassifier.fit(fitted, labels, calibrate_on=np.arange(150, 300))
    assert fair.n_calibrated == 150
    assert over.temperature < fair.temperature


def test_a_rare_class_outvoted_by_a_common_one_wins_when_votes_are_balanced():
    reference = np.array([[1, 0.1 * i] for i in range(10)] + [[0.95, 0.4]], np.float32)
    labels = ["common"] * 10 + ["rare"]
    query = np.array([[0.95, 0.4]], np.float32)
    plain = KNNClassifier.fit(reference, labels, k=5).predict(query)
    balanced = KNNClassifier.fit(reference, labels, k=5, balanced=True).predict(query)
    assert list(plain["label"]) == ["common"]
    assert list(balanced["label"]) == ["rare"]


def test_bad_options_are_refused():
    points, labels = blobs()
    with pytest.raises(ModelError, match="k of 1"):
        KNNClassifier.fit(points, labels, k=0)
    with pytest.raises(ModelError, match="labels for"):
        KNNClassifier.fit(points, labels[:3])
    with pytest.raises(ModelError, match="coordinates"):
        KNNClassifier.fit(points, labels).predict(points[:, :2])
    with pytest.raises(ModelError, match="probability"):
        KNNClassifier.fit(points, labels).predict(points, min_confidence=2)
    with pytest.raises(ModelError, match="one row per cell"):
        KNNClassifier.fit(points[0], labels)
