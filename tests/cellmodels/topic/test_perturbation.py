"""Perturbation of topics: the decoder written out in NumPy, what must hold of it, and interferon in real blood."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax

from cellmodels import Trainer
from cellmodels.data.inputs import read_cells
from cellmodels.topic import TopicModel
from cellmodels.topic.perturbation import differing_topics, scaled
from genetext.errors import ModelError
from tests.cellmodels.toy import cells

SMALL = {"n_topics": 6, "batch_size": 32, "n_hidden": 20, "n_embedding": 8}


@pytest.fixture(scope="module")
def adata():
    return cells(120)


@pytest.fixture(scope="module")
def model(adata):
    return TopicModel(**SMALL, epochs=60, lr=5e-3, lr_step=None).fit(adata, trainer=Trainer(device="cpu"))


@pytest.fixture(scope="module")
def groups(adata):
    return [adata[(adata.obs["group"] == f"g{item}").to_numpy()].copy() for item in range(3)]


def decoded(model, latent, depth):
    """Shares of topics, beta, normalisation by the running moments, softmax: in float64."""
    norm = model.module.decode_norm
    parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    weight, bias, mean, var = (item.detach().numpy().astype(np.float64) for item in parts)
    theta = np.exp(latent - latent.max(1, keepdims=True))
    theta /= theta.sum(1, keepdims=True)
    logits = (theta @ model.beta.astype(np.float64) - mean) / np.sqrt(var + norm.eps) * weight + bias
    share = np.exp(logits - logits.max(1, keepdims=True))
    return (depth[:, None] * share / share.sum(1, keepdims=True)).mean(0)


@pytest.mark.parametrize("how", ["mean", "shift", "scale"])
def test_it_is_what_the_equations_say(model, groups, how):
    source, target = groups[0], groups[1]
    given = {"scale": 0.3} if how == "scale" else {"how": how}
    moved_cells = model.perturb(source, [1, 4], towards=target, n_random=0, **given)
    before, goal = (model.latent(item).astype(np.float64) for item in (source, target))
    logs = [read_cells(item, needs="log").dense(slice(None)).astype(np.float64) for item in (source, target)]
    moved = before.copy()
    if how == "scale":
        moved[:, [1, 4]] += np.log(0.3)
    elif how == "mean":
        moved[:, [1, 4]] = goal[:, [1, 4]].mean(0)
    else:
        moved[:, [1, 4]] += goal[:, [1, 4]].mean(0) - before[:, [1, 4]].mean(0)
    depth = logs[0].sum(1)
    expected = decoded(model, moved, depth) - decoded(model, before, depth)
    np.testing.assert_allclose(moved_cells.predicted, expected, atol=1e-5)
    true = logs[1].mean(0) - logs[0].mean(0)
    np.testing.assert_allclose(moved_cells.true, true, atol=1e-5)
    cosine = expected @ true / np.linalg.norm(expected) / np.linalg.norm(true)
    assert moved_cells.cosine == pytest.approx(cosine, abs=1e-4)
    assert moved_cells.along == pytest.approx(expected @ true / (true @ true), abs=1e-4)


@given(
    latent=hnp.arrays(np.float64, (7, 5), elements=st.floats(-20, 20)),
    topics=st.sets(st.integers(0, 4), min_size=1, max_size=4).map(sorted),
    scale=st.one_of(st.just(0.0), st.floats(1e-6, 50)),
)
def test_scaling_multiplies_shares_and_leaves_the_others_in_proportion(latent, topics, scale):
    before, after = softmax(latent, axis=1), softmax(scaled(latent, topics, scale), axis=1)
    others = np.setdiff1d(np.arange(5), topics)
    factor = 1 + (scale - 1) * before[:, topics].sum(1, keepdims=True)
    np.testing.assert_allclose(after * factor, np.where(np.isin(np.arange(5), topics), scale, 1) * before, atol=1e-9)
    if scale < 1:  # below 1 the share falls in every cell, whatever the other topics are
        assert (after[:, topics].sum(1) <= before[:, topics].sum(1) + 1e-12).all()
    if scale == 0:
        assert not after[:, topics].any()
        np.testing.assert_allclose(after[:, others].sum(1), 1)


def test_a_topic_that_is_removed_has_no_share_in_any_cell(model, adata):
    """Also in cells whose latent value is below 0, where a product with 0 would have raised it."""
    latent = model.latent(adata)
    for topic in range(6):
        shares = softmax(scaled(latent, [topic], 0), axis=1)
        assert not shares[:, topic].any()
        assert (np.delete(shares, topic, 1) >= np.delete(model.theta(adata), topic, 1) - 1e-6).all()
    whole, nearly = (model.perturb(adata, 2, scale=scale).predicted for scale in (0, 1e-9))
    np.testing.assert_allclose(whole, nearly, atol=1e-6)
    assert np.abs(whole).max() > 1e-3


def test_r2_is_that_of_the_genes_that_changed_most(model, groups):
    moved_cells = model.perturb(groups[0], None, towards=groups[1], n_top=7, n_random=0)
    top = np.argsort(-np.abs(moved_cells.true))[:7]
    mean = read_cells(groups[0], needs="log").dense(slice(None)).mean(0)[top]
    goal = mean + moved_cells.true[top]
    around = ((goal - goal.mean()) ** 2).sum()
    assert moved_cells.r2 == pytest.approx(
        1 - ((moved_cells.true - moved_cells.predicted)[top] ** 2).sum() / around, abs=1e-5
    )
    assert moved_cells.r2_unmoved == pytest.approx(1 - (moved_cells.true[top] ** 2).sum() / around, abs=1e-5)


def test_moving_a_group_s_topics_moves_its_genes(model, groups):
    moved_cells = model.perturb(groups[0], None, towards=groups[1])
    assert moved_cells.cosine > 0.6
    assert moved_cells.r2 > moved_cells.r2_unmoved
    assert {int(gene[4:]) % 3 for gene in moved_cells.moved(5)["gene"]} == {1}
    assert {int(gene[4:]) % 3 for gene in moved_cells.moved(5, up=False)["gene"]} == {0}
    assert moved_cells.random.groupby("kind").size().to_dict() == {"dealt": 100, "towards": 100}
    assert moved_cells.p_random("along", kind="dealt") < 0.1


def test_moving_nothing_changes_nothing(model, groups):
    assert not model.perturb(groups[0], 2, scale=1.0).predicted.any()
    same = model.perturb(groups[0], [0, 1], towards=groups[0], how="shift", n_random=2)
    np.testing.assert_allclose(same.predicted, 0, atol=1e-6)


def test_without_target_cells_there_is_nothing_to_compare_with(model, groups):
    moved_cells = model.perturb(groups[0], [2], scale=0)
    assert moved_cells.true is None
    assert np.isnan(moved_cells.cosine)
    assert moved_cells.random.empty
    assert np.isnan(moved_cells.p_random())
    assert np.isnan(moved_cells.moved(3)["true"]).all()


def test_what_cannot_be_moved(model, groups):
    with pytest.raises(ModelError, match="no topic 6: topics are numbered 0 to 5"):
        model.perturb(groups[0], [1, 6], scale=0)
    with pytest.raises(ModelError, match="towards=, the cells to move towards, or scale="):
        model.perturb(groups[0], [1])
    with pytest.raises(ModelError, match="name the topics"):
        model.perturb(groups[0], scale=0)
    for factor in (-1, np.nan, np.inf):
        with pytest.raises(ModelError, match="give a factor of 0"):
            model.perturb(groups[0], [1], scale=factor)
    with pytest.raises(ModelError, match="remove all 6 topics"):
        model.perturb(groups[0], range(6), scale=0)
    with pytest.raises(ModelError, match="mean or shift"):
        model.perturb(groups[0], [1], towards=groups[1], how="swap")


def test_topics_that_differ(model, groups):
    rng = np.random.default_rng(0)
    item, target_latent = rng.normal(size=(50, 4)), rng.normal(size=(60, 4)) + np.array([0, 3, -2, 0.1])
    table = differing_topics(item, target_latent)
    assert table["topic"].tolist()[:2] == [1, 2]
    assert table["differs"].tolist() == [True, True, False, False]
    assert table["difference"].iloc[0] == pytest.approx(target_latent[:, 1].mean() - item[:, 1].mean())
    assert model.compare(groups[0], groups[1])["differs"].any()


@pytest.mark.real
@pytest.mark.slow
def test_topics_of_stimulated_blood_recover_the_interferon_response(real_data):
    """Kang et al.: resting PBMCs moved towards those that got interferon beta. No prior, no label in the fit."""
    import anndata

    from cellmodels.eval.enrichment import over_representation

    adata = anndata.read_h5ad(real_data / "cells" / "kang_pbmc_ifnb_labelled.h5ad")
    condition = adata.obs["condition"].to_numpy()
    source, target = adata[condition == "ctrl"], adata[condition == "stim"]
    model = TopicModel(n_topics=20, n_genes=1000, epochs=60, lr_step=15).fit(adata, trainer=Trainer(device="cpu"))
    moved_cells = model.perturb(source, None, towards=target)
    assert moved_cells.cosine > 0.5  # 0.58 to 0.86 over seeds
    assert moved_cells.r2 > moved_cells.r2_unmoved + 0.05
    assert moved_cells.p_random("along", kind="towards") < 0.05
    assert moved_cells.p_random("along", kind="dealt") < 0.05
    hallmarks = real_data / "genesets" / "h.all.v2025.1.Hs.symbols.gmt.gz"
    sets = over_representation([moved_cells.moved(50)["gene"]], list(moved_cells.genes), hallmarks)
    best = sets.iloc[0]
    assert best["term"] in ("HALLMARK_INTERFERON_ALPHA_RESPONSE", "HALLMARK_INTERFERON_GAMMA_RESPONSE")
    assert best["fdr"] < 1e-10
    assert best["overlap"] >= 15
