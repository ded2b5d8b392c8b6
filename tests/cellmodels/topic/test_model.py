"""The topic model: it tells groups of cells apart, uses priors and views, comes back from disk, refuses bad input."""

from dataclasses import replace

import anndata
import numpy as np
import pytest
import torch

from cellmodels import Trainer, load_model
from cellmodels.eval import metrics
from cellmodels.topic import TopicModel
from cellmodels.topic.external_view import cell_view
from cellmodels.topic.network import TopicConfig
from genetext.errors import CellsError, GenesMissing, ModelError
from genetext.priors import GenePriors
from tests.cellmodels.toy import cells

CPU = Trainer(device="cpu")
SMALL = {"n_topics": 6, "epochs": 8, "batch_size": 32, "n_hidden": 20, "n_embedding": 8, "n_neighbors": 6}


def gene_priors(n=27, *, groups=3, dim=12, seed=0):
    """Vectors of 27 of the 30 toy genes: genes of one group of cells lie near each other."""
    rng = np.random.default_rng(seed)
    centres = 2 * rng.normal(size=(groups, dim))
    return GenePriors.from_arrays(
        [f"GENE{i}" for i in range(n)], np.array([centres[i % groups] + rng.normal(size=dim) for i in range(n)])
    )


def fit(adata, priors=None, *, view="prior", trainer=CPU, checkpoints=None, progress=None, oracle=None, **changes):
    model = TopicModel(**{**SMALL, **changes})
    return model.fit(
        adata, priors, view=view, trainer=trainer, checkpoints=checkpoints, progress=progress, oracle=oracle
    )


@pytest.fixture(scope="module")
def adata():
    return cells(120)


@pytest.fixture(scope="module")
def fitted(adata):
    return fit(adata, gene_priors().align(adata), epochs=60, lr_step=None, lr=5e-3)


def test_it_finds_the_groups_and_its_losses_fall(fitted, adata):
    embedding = fitted.embed(adata)
    assert (embedding.shape, embedding.dtype) == ((120, 6), np.float32)
    assert metrics.knn_accuracy(embedding, adata.obs["group"]) > 0.95
    for loss in ("loss", "reconstruction", "ecr", "distillation"):
        assert fitted.history[loss].iloc[-1] < fitted.history[loss].iloc[0]


def test_theta_is_a_distribution_and_latent_is_not(fitted, adata):
    theta, latent = fitted.theta(adata), fitted.latent(adata)
    np.testing.assert_allclose(theta.sum(axis=1), 1, atol=1e-6)
    assert (latent < 0).any()
    exponent = np.exp(latent.astype(np.float64))
    np.testing.assert_allclose(theta, exponent / exponent.sum(axis=1, keepdims=True), atol=1e-6)
    assert np.array_equal(fitted.embed(adata), latent)
    shares = fit(adata, epochs=1, embedding="theta")
    assert np.array_equal(shares.embed(adata), shares.theta(adata))


@pytest.mark.parametrize("likelihood", ["log", "counts"])
@pytest.mark.parametrize("sparse_rows", [True, False])
def test_half_precision_comes_near(adata, likelihood, sparse_rows):
    thinned = adata.copy()
    if sparse_rows:
        thinned.X = thinned.X.multiply(np.random.default_rng(0).random(thinned.shape) < 0.2).tocsr()
    exact, half = (
        fit(thinned, epochs=2, likelihood=likelihood, held_out=0.2, trainer=Trainer(device="cpu", precision=precision))
        for precision in ("32-true", "bf16-mixed")
    )
    assert half.history["loss"].to_numpy() == pytest.approx(exact.history["loss"].to_numpy(), rel=0.05)
    assert half.history["held_out"].to_numpy() == pytest.approx(exact.history["held_out"].to_numpy(), rel=0.05)


def test_beta_and_lift(fitted, adata):
    np.testing.assert_allclose(fitted.beta.sum(axis=0), 1, atol=1e-5)
    # The lift is how the decoder's logits answer to a topic: from the mean share towards one topic alone.
    network, share = fitted.module, torch.from_numpy(fitted.state.share)
    with torch.no_grad():
        present, expected = network.decode(share[None]), network.decode(torch.eye(6))
    np.testing.assert_allclose(fitted.lift, (expected - present).numpy(), atol=1e-3)


def test_a_seed_gives_one_result_and_another_seed_another(adata):
    priors = gene_priors().align(adata)
    first, same, second = (fit(adata, priors, epochs=3, seed=seed).embed(adata) for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.allclose(first, second)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(adata, tmp_path):
    priors = gene_priors().align(adata)
    often = Trainer(device="cpu", checkpoint_every=1)

    def kill(stage, done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(adata, priors, trainer=often, checkpoints=tmp_path / "run", progress=kill)
    resumed = fit(adata, priors, trainer=often, checkpoints=tmp_path / "run")
    straight = fit(adata, priors)
    assert np.array_equal(resumed.embed(adata), straight.embed(adata))
    assert resumed.history.equals(straight.history)


def test_another_view_is_another_run(adata, tmp_path):
    fit(adata, view=np.random.default_rng(0).normal(size=(120, 4)), epochs=2, checkpoints=tmp_path / "run")
    with pytest.raises(ModelError, match="another run"):
        fit(adata, view=np.random.default_rng(1).normal(size=(120, 4)), epochs=2, checkpoints=tmp_path / "run")


@pytest.mark.parametrize("gene_prior", ["init", "pull", "frozen", "none"])
def test_saved_and_loaded(adata, tmp_path, gene_prior):
    model = fit(adata, gene_priors().align(adata), epochs=2, gene_prior=gene_prior)
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert np.array_equal(again.embed(adata), model.embed(adata))
    assert again.topics(5).equals(model.topics(5))
    assert again.config == model.config


def test_new_cells_need_no_view_and_their_genes_may_stand_anywhere(fitted, adata):
    new = cells(20, seed=9)
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_allclose(fitted.embed(new[:, order].copy()), fitted.embed(new), atol=1e-6)
    with pytest.raises(GenesMissing, match="lack 10 of the 30 genes"):
        fitted.embed(new[:, :20].copy())


def test_it_writes_to_anndata_and_that_survives_a_file(fitted, adata, tmp_path):
    copy = adata.copy()
    fitted.to_anndata(copy)
    copy.write_h5ad(tmp_path / "out.h5ad")
    back = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(back.obsm["X_topic"], fitted.embed(adata))
    assert back.uns["genetext"]["topic"]["view"].startswith("contrast of arrays")
    assert back.uns["genetext"]["topic"]["n_with_prior"] == 27


# -- priors and views --------------------------------------------------------------------------------------------------


def test_gene_embeddings_start_from_the_priors_stay_or_are_drawn_back(adata):
    priors = gene_priors().align(adata)
    moved = {}
    for kind, weight in (("init", 0.0), ("pull", 1e4), ("frozen", 0.0)):
        model = fit(adata, priors, gene_prior=kind, pull_weight=weight, epochs=20, lr=1e-2)
        start, end = model.state.prior, model.module.genes().detach().numpy()
        np.testing.assert_allclose(np.linalg.norm(start, axis=1), 1, atol=1e-5)
        moved[kind] = np.linalg.norm(end[:27] - start, axis=1).mean()
        assert end[27:].any(axis=1).all()  # without a prior: vectors of their own, not zeros
    assert moved["frozen"] == 0
    assert moved["pull"] < 0.2 * moved["init"]


def test_text_neighbours_are_neighbours_in_the_space_of_the_embeddings(adata):
    priors = gene_priors().align(adata)
    start = fit(adata, priors, epochs=1).state.prior
    group = np.arange(27) % 3
    like = start @ start.T
    alike = group[:, None] == group[None]
    assert like[alike].mean() > like[~alike].mean() + 0.5


def test_no_prior_is_the_same_said_in_three_ways(adata):
    priors = gene_priors().align(adata)
    plain = fit(adata, epochs=2)
    without = fit(adata, priors.without(), epochs=2)
    unused = fit(adata, priors, view=None, gene_prior="none", epochs=2)
    assert np.array_equal(plain.embed(adata), without.embed(adata))
    assert np.array_equal(plain.embed(adata), unused.embed(adata))
    assert (plain.facts["priors"], plain.facts["view"]) == ("none", "none")


def test_controls_are_told_apart_in_the_facts(adata):
    model = fit(adata, gene_priors().align(adata).permuted(3), epochs=1)
    assert model.facts["control"] == "permuted(seed=3)"
    assert "permuted(seed=3)" in model.facts["view"]


def test_any_key_of_obsm_is_a_view_and_topics_follow_it(adata):
    """A view that splits cells otherwise than their expression does: topics come to agree with it."""
    copy = adata.copy()
    half = np.random.default_rng(0).integers(2, size=120)
    copy.obsm["X_other"] = np.random.default_rng(1).normal(size=(120, 5)) + 6 * half[:, None]
    seen = fit(copy, view="X_other", epochs=40, lr=5e-3, distill_weight=20.0, consistency_weight=20.0)
    blind = fit(copy, view=None, epochs=40, lr=5e-3)
    assert seen.facts["view"] == "obsm['X_other']"
    assert metrics.knn_accuracy(seen.embed(copy), half) > metrics.knn_accuracy(blind.embed(copy), half) + 0.05


def test_the_view_of_the_priors_is_the_cell_embedding(adata):
    """Cells that express genes of like text lie near each other in it."""
    from cellmodels.data.inputs import read_cells

    priors = gene_priors().align(adata)
    view, _ = cell_view(adata, read_cells(adata, needs="log"), priors, "prior", TopicConfig(view_components=None))
    assert view.shape == (120, 12)
    np.testing.assert_allclose(view.mean(axis=0), 0, atol=1e-5)
    assert metrics.knn_accuracy(view, adata.obs["group"]) > 0.9
    few, _ = cell_view(adata, read_cells(adata, needs="log"), priors, "prior", TopicConfig(view_components=11))
    kept = np.linalg.eigvalsh(view.T @ view)
    np.testing.assert_allclose((few**2).sum(), kept[1:].sum(), rtol=1e-4)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ("X_scGPT", "no key of obsm"),
        (np.zeros((119, 3)), r"shape \(119, 3\) for 120 cells"),
        (np.zeros(120), "one row each"),
        (np.full((120, 2), np.nan), "NaN or infinite values in 120 cells: c0, c1"),
        (np.ones((120, 2)), "the same for all cells"),
    ],
)
def test_views_that_do_not_fit(adata, view, message):
    with pytest.raises(ModelError, match=message):
        fit(adata, view=view)


# -- input -------------------------------------------------------------------------------------------------------------


def test_one_cell(adata):
    with pytest.raises(CellsError, match="two at least"):
        fit(adata[:1])


def test_two_and_three_cells_have_a_result(adata):
    for n, batch in ((2, 32), (3, 2), (5, 2)):  # three in batches of two would leave one alone
        model = fit(adata[:n].copy(), gene_priors().align(adata), epochs=2, batch_size=batch)
        assert np.isfinite(model.embed(adata)).all()


def test_no_cell_is_left_alone_by_what_is_held_out(adata):
    with pytest.raises(ModelError, match="1 cell is left to train on"):
        fit(adata[:2].copy(), held_out=0.5)


def test_nan_is_refused_and_names_the_cells(adata):
    bad = adata.copy()
    bad.X = bad.X.toarray()
    bad.X[5, 3] = np.nan
    with pytest.raises(CellsError, match="c5|NaN"):
        fit(bad)


def test_cells_and_genes_of_zeros(adata):
    copy = adata.copy()
    dense = copy.X.toarray()
    dense[7] = 0
    dense[:, 4] = 0
    copy.X = dense
    model = fit(copy, gene_priors().align(copy), epochs=2)
    assert "GENE4" not in model.genes.names
    assert np.isfinite(model.embed(copy)).all()
    assert model.facts["n_empty"] == 1


def test_cells_all_alike(adata):
    flat = adata.copy()
    flat.X = np.ones((120, 30), np.float32)
    with pytest.raises(CellsError, match="none of the 30 genes varies"):
        fit(flat)


def test_counts_for_the_likelihood_of_counts(adata):
    model = fit(adata, likelihood="counts", epochs=2)
    assert model.history["reconstruction"].iloc[0] > fit(adata, epochs=2).history["reconstruction"].iloc[0] / 10
    logs = adata.copy()
    logs.X = np.log1p(adata.X.toarray() / 3.3)
    with pytest.raises(CellsError, match="counts"):
        fit(logs, likelihood="counts")


def test_held_out_cells_stop_it_and_choose_the_epoch(adata):
    model = fit(adata, held_out=0.25, patience=2, selection="loss", epochs=200, lr=0.05)
    assert model.facts["stopped"] == "patience"
    assert model.facts["epoch"] == model.history["held_out"].idxmin() + 1


def test_labels_choose_only_where_they_are_asked_for(adata):
    assert "true labels" in fit(adata, selection="oracle", oracle="group", epochs=2).facts["selection"]
    with pytest.raises(ModelError, match="oracle"):
        fit(adata, selection="oracle", epochs=2)


def test_an_unfitted_model_says_so(adata):
    for call in (lambda m: m.embed(adata), lambda m: m.beta, lambda m: m.topics(), lambda m: m.dead):
        with pytest.raises(ModelError, match="not fitted"):
            call(TopicModel())


def test_the_paper_s_values():
    config = TopicModel.preset("paper").config
    assert (config.n_topics, config.epochs, config.batch_size, config.lr, config.lr_step) == (100, 500, 512, 1e-3, 125)
    assert (config.optimizer, config.lr_gamma, config.ecr_weight, config.ecr_epsilon) == ("rmsprop", 0.5, 100, 0.05)
    assert (config.temperature, config.n_embedding, config.n_hidden, config.n_neighbors) == (0.2, 200, 200, 15)
    assert (config.n_genes, config.n_components, config.view_components, config.gene_prior) == (
        None,
        None,
        None,
        "none",
    )


# -- topics ------------------------------------------------------------------------------------------------------------


def test_topics_are_named_by_their_genes_texts_and_sets(fitted):
    sets = {f"group {g}": [f"GENE{i}" for i in range(g, 30, 3)] for g in range(3)}
    table = fitted.topics(5, gene_sets=sets, n_named=8, n_words=2)
    assert list(table["topic"]) == list(range(6))
    lead = table.sort_values("leads").iloc[-1]
    genes = lead["specific"].split("; ")
    groups = [int(name[4:]) % 3 for name in genes]
    assert len(genes) == 5
    assert len(set(groups)) == 1  # the toy's groups have genes of their own
    assert lead["sets"] == f"group {groups[0]}"
    assert lead["near_sets"].split("; ")[0] == f"group {groups[0]}"
    assert all(int(name[4:]) % 3 == groups[0] for name in lead["texts"].split("; "))
    assert lead["text_z"] > 3
    assert table["share"].sum() == pytest.approx(1, abs=1e-5)
    assert table["leads"].sum() == 120


def test_without_texts_there_are_no_words(adata):
    table = fit(adata, epochs=1).topics(4)
    assert "texts" not in table
    with pytest.raises(ModelError, match="one at least"):
        fit(adata, epochs=1).topics(0)


def test_dead_topics(fitted, adata):
    model = fit(adata, epochs=1)
    share = np.array([0.5, 0.45, 0.02, 0.01, 0.01, 0.01], np.float32)
    model.state = replace(model.state, share=share, leads=np.array([60, 59, 0, 1, 0, 0]))
    assert model.dead.tolist() == [False, False, False, False, True, True]
    assert fitted.facts["dead_topics"] == np.flatnonzero(fitted.dead).tolist()
