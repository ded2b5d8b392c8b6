"""Curves over the number of training cells: nested draws, one test set, groups kept apart."""

import numpy as np
import pytest

from cellmodels.eval.low_sample import draws, low_sample_curve
from genetext.errors import ModelError

SIZES = {"a": 200, "b": 60, "c": 9, "d": 1}


def labels():
    names = np.concatenate([[name] * size for name, size in SIZES.items()] + [[None] * 5]).astype(object)
    return np.random.default_rng(0).permutation(names)


def count(names, rows):
    return {kind: int((names[rows] == kind).sum()) for kind in SIZES}


def test_draws_give_what_was_asked_and_keep_half_of_small_classes_for_the_test():
    names = labels()
    for draw in draws(names, m=(1, 5, 50), seeds=[3]):
        train, test = count(names, draw.train), count(names, draw.test)
        assert train == {"a": draw.m, "b": min(draw.m, 30), "c": min(draw.m, 4), "d": 0}
        assert test == {"a": 150, "b": 30, "c": 5, "d": 0}
        assert draw.n_left_out == 1
        assert not np.isin(draw.train, draw.test).any()
        assert all(names[row] is not None for row in np.concatenate([draw.train, draw.test]))


def test_draws_of_a_seed_are_nested_and_tested_on_the_same_cells():
    made = list(draws(labels(), m=(1, 2, 10), seeds=[1, 2]))
    for few, more in ((0, 1), (1, 2), (3, 4), (4, 5)):
        assert np.isin(made[few].train, made[more].train).all()
        assert np.array_equal(made[few].test, made[more].test)
    assert not np.array_equal(made[0].test, made[3].test)
    again = list(draws(labels(), m=(1, 2, 10), seeds=[1, 2]))
    assert all(np.array_equal(a.train, b.train) for a, b in zip(made, again, strict=True))


def test_groups_are_left_out_whole_and_in_turn():
    names = labels()
    donor = np.random.default_rng(1).choice(["x", "y", "z"], len(names))
    seen = []
    for draw in draws(names, m=(2, 5), seeds=range(3), groups=donor):
        assert set(donor[draw.test]) == {draw.group}
        assert draw.group not in donor[draw.train]
        seen.append(draw.group)
    assert seen == ["x", "x", "y", "y", "z", "z"]


def test_a_type_that_only_the_test_group_has_is_left_out():
    names = np.array(["a", "b", "a", "b", "c"] * 4, object)
    donor = np.where(names == "c", "x", np.tile(np.repeat(["x", "y"], 5), 2))
    (draw,) = draws(names, m=(2,), seeds=[0], groups=donor)
    assert draw.group == "x"
    assert "c" not in names[draw.test]
    assert draw.n_left_out == 4


def test_curve_rises_with_cells_where_there_is_something_to_learn_and_only_there():
    rng = np.random.default_rng(0)
    names = np.array([f"t{i % 4}" for i in range(800)], object)
    signal = (rng.normal(size=(4, 8))[np.arange(800) % 4] + rng.normal(size=(800, 8)) * 0.9).astype(np.float32)
    noise = rng.normal(size=(800, 8)).astype(np.float32)
    predictions = low_sample_curve(signal, names, m=(1, 20), seeds=range(4)).groupby("m").accuracy.mean()
    chance = low_sample_curve(noise, names, m=(1, 20), seeds=range(4)).groupby("m").accuracy.mean()
    assert predictions[20] > predictions[1] + 0.1
    assert chance.tolist() == pytest.approx([0.25, 0.25], abs=0.06)


def test_a_factory_sees_the_labels_of_training_cells_alone():
    names = labels()
    points = np.random.default_rng(1).normal(size=(len(names), 3)).astype(np.float32)
    seen = []

    def make(train, known, seed):
        assert [row for row, name in enumerate(known) if name is not None] == train.tolist()
        seen.append((len(train), seed))
        return points

    made = low_sample_curve(make, names, m=(1, 2), seeds=[7, 8])
    fixed = low_sample_curve(points, names, m=(1, 2), seeds=[7, 8])
    assert seen == [(3, 7), (6, 7), (3, 8), (6, 8)]
    assert made.equals(fixed)


def test_rows_per_class_make_up_the_mean():
    names = labels()
    points = np.random.default_rng(1).normal(size=(len(names), 3)).astype(np.float32)
    predictions = low_sample_curve(points, names, m=(5,), seeds=[0], per_class=True)
    assert predictions["label"].tolist() == ["", "a", "b", "c"]
    assert predictions["f1"][1:].mean() == pytest.approx(predictions["macro_f1"][0])
    assert predictions["n_test"][1:].sum() == predictions["n_test"][0]


def test_cells_that_an_embedding_gives_up_count_as_wrong():
    names = np.array(["a", "b"] * 20, object)
    points = np.eye(2, dtype=np.float32)[np.arange(40) % 2]
    (draw,) = draws(names, m=(2,), seeds=[0])
    points[draw.test[:9]] = 0
    predictions = low_sample_curve(points, names, m=(2,), seeds=[0])
    assert predictions["accuracy"][0] == pytest.approx(1 - 9 / len(draw.test))


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["a"] * 9, {}, "1 classes"),
        (["a", "b"], {}, "0 classes"),
        (["a", "b"] * 9, {"m": ()}, "1 at least"),
        (["a", "b"] * 9, {"m": (0,)}, "1 at least"),
        (["a", "b"] * 9, {"groups": ["x"] * 18}, "1 group"),
    ],
)
def test_labels_that_cannot_be_drawn_from_are_refused(names, options, message):
    with pytest.raises(ModelError, match=message):
        list(draws(names, seeds=[0], **options))
