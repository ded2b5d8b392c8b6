"""Transforms touch genes with a vector only; controls keep what they should and change what they must."""

import numpy as np
import pytest

from genetext.errors import EncoderError, PriorsError
from genetext.priors import GenePriors

NAMES = ["TP53", "junk", *(f"EXTRA{i}" for i in range(50)), "C9orf152", "OPN4", "TP53"]


@pytest.fixture
def priors(human):
    return human.align(NAMES, species="human")


def norms(vectors):
    return np.linalg.norm(vectors.astype(np.float64), axis=1)


def test_center_takes_the_mean_of_distinct_genes_away(priors):
    done = priors.center()
    rows = done.distinct[0]
    assert len(rows) == 52  # TP53 stands twice
    assert np.allclose(done.vectors[rows].mean(axis=0), 0, atol=1e-6)
    assert np.allclose(done.vectors[0] - priors.vectors[0], -priors.vectors[rows].mean(axis=0), atol=1e-6)


def test_whiten_pca_and_unit_do_what_they_say(priors):
    rows = priors.distinct[0]
    white = priors.whiten().vectors[rows]
    assert np.allclose(white.T @ white / len(rows), np.eye(priors.dim), atol=1e-3)
    small = priors.pca(4)
    assert small.dim == 4
    variances = small.vectors[rows].var(axis=0)
    exact = np.linalg.svd(priors.vectors[rows] - priors.vectors[rows].mean(axis=0), compute_uv=False) ** 2 / len(rows)
    assert np.allclose(variances, exact[:4], rtol=1e-4)
    assert np.allclose(norms(priors.center().unit().vectors[rows]), 1, atol=1e-6)


@pytest.mark.parametrize("policy", ["mask", "mean"])
def test_missing_genes_stay_missing_through_every_step(human, policy):
    priors = human.align(NAMES, species="human", missing=policy)
    for done in (
        priors.center(),
        priors.transform("center,abtt:1,pca:5,unit"),
        priors.center().permuted(1),
        priors.random(1),
    ):
        assert np.array_equal(done.mask, priors.mask)
        assert done.dim == done.vectors.shape[1]
        expected = done.vectors[done.distinct[0]].mean(axis=0, dtype=np.float64) if policy == "mean" else 0
        assert np.allclose(done.vectors[~done.mask], expected, atol=1e-6)


def test_a_step_returns_new_priors_and_says_what_was_done(priors):
    before = priors.vectors.copy()
    done = priors.center().pca(5).permuted(7)
    assert np.array_equal(priors.vectors, before)
    assert done.steps == ("align(names, missing=mask)", "center", "pca:5", "permuted(seed=7)")
    assert done.description == "human/test | align(names, missing=mask) | center | pca:5 | permuted(seed=7)"
    assert done.control == "permuted(seed=7)"
    assert not priors.control
    assert done.fingerprint == priors.fingerprint


def test_unknown_steps_and_too_many_dimensions_are_refused(priors):
    with pytest.raises(EncoderError, match="unknown post-processing"):
        priors.transform("centre")
    with pytest.raises(EncoderError, match="pca:500"):
        priors.pca(500)


def test_permuted_deals_out_the_same_vectors(priors):
    done = priors.permuted(3)
    rows = priors.distinct[0]
    assert sorted(map(tuple, done.vectors[rows])) == sorted(map(tuple, priors.vectors[rows]))
    moved = (done.vectors[rows] != priors.vectors[rows]).any(axis=1)
    assert moved.mean() > 0.8
    assert np.array_equal(done.vectors[0], done.vectors[-1])  # one gene, two rows, one vector


def test_random_keeps_each_norm_and_no_direction(priors):
    scaled = GenePriors.from_arrays(
        [f"G{i}" for i in range(300)], np.random.default_rng(0).normal(size=(300, 64)) * np.arange(1, 301)[:, None]
    )
    done = scaled.random(5)
    assert np.allclose(norms(done.vectors), norms(scaled.vectors), rtol=1e-5)
    cosine = (done.vectors * scaled.vectors).sum(axis=1) / norms(scaled.vectors) ** 2
    assert abs(cosine.mean()) < 4 / np.sqrt(300 * 64)
    assert np.abs(cosine).max() < 0.7
    assert priors.random(5).control == "random(seed=5)"


@pytest.mark.parametrize("control", ["permuted", "random"])
def test_a_seed_decides_a_control(priors, control):
    one, same, other = (getattr(priors, control)(seed).vectors for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_controls_are_the_same_on_every_platform():
    # Written down once: a result that names "random(seed=0)" must mean the same vectors wherever it is run again.
    own = GenePriors.from_arrays(["A", "B", "C", "D"], np.arange(1, 5)[:, None] * np.ones((1, 3)))
    assert own.permuted(0).vectors[:, 0].tolist() == [3, 1, 2, 4]
    expected = [[-0.2547, 1.1862, 1.2362], [-1.6636, -2.2049, -2.0907]]
    assert np.allclose(own.random(0).vectors[:2], expected, atol=1e-4)


def test_a_genes_random_direction_is_its_own_in_every_data_set(human):
    one = human.align(["TP53", "OPN4", "RHO"], species="human").random(4)
    other = human.align(["ENSG00000141510", "junk"], species="human").random(4)
    assert np.array_equal(one.vectors[0], other.vectors[0])


def test_without_is_no_prior_and_every_step_takes_it(priors):
    none = priors.without()
    assert none.vectors.shape == (len(priors), 0)
    assert (none.dim, none.n_matched, none.control) == (0, 0, "without")
    after = none.center().pca(64).unit().permuted(1).random(2)
    assert after.vectors.shape == (len(priors), 0)
    assert none.gene_graph(5).nnz == 0
    assert np.array_equal(none.kernel(), np.eye(len(priors)))
    assert none.description.endswith("without")


def test_nothing_to_fit_is_an_error(human):
    empty = human.align(["TP53", "junk"], species="human").take([1])
    with pytest.raises(PriorsError, match="none of 1 genes has a vector"):
        empty.center()


@pytest.mark.parametrize("which", [[3, 0, 1], slice(0, 5), np.arange(len(NAMES)) % 2 == 0])
def test_take_some_genes(priors, which):
    some = priors.take(which)
    assert some.names.tolist() == np.array(NAMES, object)[which].tolist()
    assert np.array_equal(some.vectors, priors.vectors[which])
    assert np.array_equal(some.mask, priors.mask[which])
    assert np.array_equal(some.gene_ids, priors.gene_ids[which])


@pytest.mark.parametrize("control", ["permuted", "random"])
@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_a_seed_that_is_none_is_refused(priors, control, seed):
    with pytest.raises(PriorsError, match="whole number, 0 or greater"):
        getattr(priors, control)(seed)
