"""RefinementModel: embedding of training cells and of new ones, graphs, priors, batches, disk, bad input."""

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from cellmodels import RefinementModel, load_model
from cellmodels.eval.metrics import knn_accuracy
from cellmodels.groups.graphs import knn_graph
from cellmodels.nn.sparse_product import Smoothed
from cellmodels.refinement.task import Views, near_parts
from cellmodels.refinement.training_cells import digests, graph_points
from cellmodels.train.loop import Trainer
from genetext.errors import CellsError, GenesMissing, ModelError
from genetext.priors import GenePriors
from tests.cellmodels.toy import cells

SMALL = {"epochs": 30, "n_hidden": 24, "n_latent": 6, "n_components": 10, "n_gene_features": 12, "n_neighbors": 6}
CPU = Trainer(device="cpu")


def fitted(adata, priors=None, **changes):
    return RefinementModel(**{**SMALL, **changes}).fit(adata, priors, trainer=CPU)


def own_priors(adata, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(adata.n_vars - 2, 6)).astype(np.float32)
    return GenePriors.from_arrays(list(adata.var_names[2:]), vectors).align(adata)


@pytest.fixture(scope="module")
def data():
    return cells(120, 40)


@pytest.fixture(scope="module")
def model(data):
    return fitted(data)


def test_groups_come_apart(data, model):
    embedding = model.embed(data)
    assert embedding.shape == (120, 12)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedding[:, :6], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedding[:, 6:], axis=1), 1, atol=1e-5)
    assert knn_accuracy(embedding, data.obs["group"].to_numpy()) > 0.9
    assert model.history["loss"].iloc[-1] < model.history["loss"].iloc[0]


def test_training_cells_get_their_training_embedding_in_any_company(data, model):
    whole = model.embed(data)
    subset = np.random.default_rng(0).permutation(120)[:17]
    assert np.array_equal(model.embed(data[subset]), whole[subset])


def test_values_that_were_normalised_elsewhere_are_the_same_cells(data, model):
    counts = np.asarray(data.X.toarray(), np.float64)
    rounded = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
    elsewhere = anndata.AnnData(sparse.csr_matrix(rounded), obs=data.obs, var=data.var)
    elsewhere.X.data *= np.float32(1 + 1e-6)
    assert (digests(model.cells(elsewhere).matrix) != model.state.training_cells.digest).all()
    assert np.array_equal(model.embed(elsewhere), model.embed(data))


def deep(n=150, n_genes=400, seed=0):
    """Cells with counts as deep as those of a droplet, most of their values zero."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(0.2, 100, n_genes) * np.exp(rng.normal(0, 1, (3, n_genes)) * (rng.random((3, n_genes)) < 0.2))
    positions = rng.integers(0, 3, n)
    counts = rng.poisson(rates[positions] * (rng.random((n, n_genes)) < 0.12)).astype(np.float32)
    obs = pd.DataFrame({"group": positions.astype(str)}, index=[f"d{i}" for i in range(n)])
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)])
    return anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)


def test_a_cell_with_one_more_count_is_another_cell():
    adata = deep()
    model = fitted(adata, epochs=2)
    unseen = adata.copy()
    rng = np.random.default_rng(1)
    changed = sparse.lil_matrix(unseen.X)
    for cell in range(unseen.n_obs):
        changed[cell, rng.integers(unseen.n_vars)] += 1
    unseen.X = changed.tocsr()
    kept, cells_ = model.state.training_cells, model.cells(unseen)
    points = graph_points(cells_.log().matrix, kept.space)
    assert (kept.find_near(points, model._features(cells_, model.state.scale) @ kept.basis) == -1).all()


def test_sparse_features_give_the_full_form_that_dense_ones_do():
    """Which of the two is faster decides, and must decide nothing else."""
    adata = deep()
    model = fitted(adata, epochs=3)
    views = Views.of(model._features(model.cells(adata), model.state.scale), knn_graph(model.embed(adata), 6), (2, 1))
    weight = torch.randn(views.features.shape[1], 5, generator=torch.Generator().manual_seed(0))
    every = np.arange(adata.n_obs)
    for subset, dense in zip(views.inputs(every, as_sparse=True), (views.first, views.second), strict=True):
        assert isinstance(subset, Smoothed)
        torch.testing.assert_close(subset @ weight, views.take(dense, every) @ weight, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(model.embed(adata, graph="own"), model.embed(adata), atol=1e-5)


def test_the_graph_of_the_cells_themselves_gives_the_training_embedding(data, model):
    np.testing.assert_allclose(model.embed(data, graph="own"), model.embed(data), atol=1e-6)


def test_the_embedding_is_that_of_the_network_on_all_cells(data, model):
    """The blockwise embedding, against the forward pass that training makes, in evaluation mode."""
    views = {}

    class Watched(RefinementModel):
        def _through(self, made, device):
            views.setdefault("made", made)
            return super()._through(made, device)

    again = Watched(**SMALL).fit(data, trainer=CPU)
    made, net = views["made"], again.module
    with torch.no_grad():
        x1, x2 = made.take(made.first, slice(None)), made.take(made.second, slice(None))
        h1 = torch.relu(x1 @ net.mlp.weight.T + net.mlp.bias)
        smooth = torch.tensor(made.smooth.toarray())
        leaky = torch.nn.functional.leaky_relu
        inner = leaky(x2 @ net.first.weight + net.first.bias)
        h2 = leaky(net.third(leaky(smooth @ inner @ net.second.weight + net.second.bias)))
        z = [(net.projector(h) @ net.gene_embedding) for h in (h1, h2)]
        expected = torch.cat([v / v.norm(dim=1, keepdim=True) for v in z], dim=1).numpy()
    np.testing.assert_allclose(again.embed(data), expected, atol=1e-5)


def test_same_seed_same_embedding_and_another_seed_another(data, model):
    assert np.array_equal(fitted(data).embed(data), model.embed(data))
    assert not np.allclose(fitted(data, seed=1).embed(data), model.embed(data), atol=1e-3)


def test_the_order_of_cells_and_genes_changes_nothing(data):
    options = {"dropout": 0.0, "epochs": 3}
    before = fitted(data, **options).embed(data)
    order, genes = np.random.default_rng(1).permutation(120), np.random.default_rng(2).permutation(40)
    moved = data[order][:, genes].copy()
    np.testing.assert_allclose(fitted(moved, **options).embed(moved), before[order], atol=1e-3)


def test_new_cells_fall_among_cells_of_their_group():
    both = cells(240, 40)
    train, new = both[:120].copy(), both[120:].copy()
    model = fitted(train, epochs=20)
    embedding = model.embed(new)
    kept = model.embed(train)
    nearest = np.argmax(embedding @ kept.T, axis=1)
    labels = train.obs["group"].to_numpy()
    assert np.mean(labels[nearest] == new.obs["group"].to_numpy()) > 0.95


def test_a_new_cell_is_embedded_alike_in_any_company():
    both = cells(160, 40)
    model = fitted(both[:120].copy())
    np.testing.assert_allclose(model.embed(both[120:]), model.embed(both)[120:], atol=1e-6)


@pytest.mark.parametrize("hops", [(0, 0), (2, 1)])
def test_a_training_cell_taken_for_a_new_one_comes_near_its_training_embedding(hops):
    """Its neighbours are kept in few dimensions, and it does not link back: near, not equal."""
    adata = cells(200, 40)
    model = fitted(adata, epochs=20, hops=hops)
    before = model.embed(adata)
    kept, again = model.state.training_cells, model.cells(adata)
    points = graph_points(again.log().matrix, kept.space)
    after = model._attached(model._features(again, model.state.scale), points, kept, torch.device("cpu"))
    cosine = (before * after).sum(axis=1) / 2
    assert np.median(cosine) > 0.97


def test_history_and_summary_are_read_back(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.history.equals(model.history)
    assert loaded.summary() == model.summary()


@pytest.mark.parametrize("batch_size", [4096, 48])
def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(data, tmp_path, batch_size):
    whole = fitted(data, epochs=6, batch_size=batch_size)

    def stop(_, done, total):
        if done == 4:
            raise KeyboardInterrupt

    every = Trainer(device="cpu", checkpoint_every=2)
    options = {**SMALL, "epochs": 6, "batch_size": batch_size}
    with pytest.raises(KeyboardInterrupt):
        RefinementModel(**options).fit(data, trainer=every, checkpoints=tmp_path, progress=stop)
    resumed = RefinementModel(**options).fit(data, trainer=every, checkpoints=tmp_path)
    assert resumed.history.equals(whole.history)
    assert np.array_equal(resumed.embed(data), whole.embed(data))


def test_one_batch_of_all_cells_is_the_full_form(data, model):
    """A batch size of just the number of cells, and any above it: the same numbers."""
    assert np.array_equal(fitted(data, batch_size=120).embed(data), model.embed(data))


def test_mini_batches_separate_the_groups_too(data):
    embedding = fitted(data, batch_size=32).embed(data)
    assert knn_accuracy(embedding, data.obs["group"].to_numpy()) > 0.9


def test_parts_hold_each_cell_once_and_more_links_than_chance():
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(20, 5))[np.arange(1000) % 20] + 0.1 * rng.normal(size=(1000, 5))).astype(np.float32)
    parts = near_parts(points, np.arange(1000), 64, np.random.default_rng(1))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    assert max(map(len, parts)) <= 64
    graph = knn_graph(points, 10)
    inside = sum(graph[part][:, part].nnz for part in parts) / graph.nnz
    assert inside > 5 * 64 / 1000


@pytest.mark.parametrize("size", [2, 3, 50, 119])
def test_no_batch_is_a_single_cell(data, size):
    from cellmodels.refinement.task import RefinementTask  # what the loop sees

    seen = []

    class Watched(RefinementTask):
        def batches(self, rng):
            made = super().batches(rng)
            seen.extend(map(len, made))
            return made

    import cellmodels.refinement.model as module

    original, module.RefinementTask = module.RefinementTask, Watched
    try:
        fitted(data, batch_size=size, epochs=1)
    finally:
        module.RefinementTask = original
    assert min(seen) >= 2
    assert sum(seen) == 120


def test_half_precision_comes_near(data, model):
    half = RefinementModel(**SMALL).fit(data, trainer=Trainer(device="cpu", precision="bf16-mixed"))
    assert half.history["loss"].iloc[-1] == pytest.approx(model.history["loss"].iloc[-1], rel=0.2)
    assert knn_accuracy(half.embed(data), data.obs["group"].to_numpy()) > 0.9


def test_cells_may_be_held_out_and_training_stop_without_labels(data):
    model = fitted(data, held_out=0.2, patience=2, epochs=40, lr=0.05, selection="loss")
    assert "held_out" in model.history
    best = int(model.history["held_out"].argmin()) + 1
    assert model.facts["epoch"] == best
    assert model.embed(data).shape == (120, 12)


# -- graphs and priors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["expression", "text", "blend", None])
def test_the_graph_of_genes_can_come_from_text(data, kind):
    model = fitted(data, own_priors(data), gene_graph=kind, epochs=2)
    assert model.facts["gene_graph"] == (kind or "blend")
    assert np.isfinite(model.embed(data)).all()


def test_each_prior_and_control_is_a_graph_of_its_own(data):
    priors = own_priors(data)
    embedded = [
        fitted(data, p, gene_graph="text", epochs=2).embed(data)
        for p in (priors, priors.permuted(0), priors.permuted(1), priors.random(0), priors.without())
    ]
    for i, left in enumerate(embedded):
        for right in embedded[i + 1 :]:
            assert not np.allclose(left, right, atol=1e-4)


def test_without_a_prior_every_gene_keeps_to_itself(data):
    model = fitted(data, own_priors(data).without(), gene_graph="text", epochs=1)
    assert model.facts["n_gene_links"] == 0
    assert model.facts["control"] == "without"


def test_text_needs_priors(data):
    with pytest.raises(ModelError, match="needs priors"):
        fitted(data, gene_graph="text")


def test_positions_make_the_graph(data):
    spatial = data.copy()
    spatial.obsm["spatial"] = np.random.default_rng(0).random((120, 2))
    model = fitted(spatial, graph="spatial", n_neighbors=4)
    embedding = model.embed(spatial)
    assert not np.allclose(embedding, fitted(data, n_neighbors=4).embed(data), atol=1e-3)
    moved = spatial.copy()
    moved.obsm["spatial"] = moved.obsm["spatial"][::-1]
    assert not np.allclose(model.embed(moved), embedding, atol=1e-3)
    with pytest.raises(ModelError, match="obsm has no 'spatial'"):
        model.embed(data)
    with pytest.raises(ModelError, match="need one of their own"):
        model.embed(spatial, graph="references")


def test_a_graph_of_the_user(data):
    by_own_graph = data.copy()
    by_own_graph.obsp["mine"] = knn_graph(np.random.default_rng(0).random((120, 3)), 5)
    model = fitted(by_own_graph, graph="mine")
    assert model.facts["n_cell_links"] == by_own_graph.obsp["mine"].nnz // 2
    assert np.isfinite(model.embed(by_own_graph)).all()
    with pytest.raises(ModelError, match="no key of obsp"):
        fitted(data, graph="mine")


@pytest.mark.parametrize("features", ["log", "scaled", "counts"])
def test_features(data, features):
    model = fitted(data, features=features, epochs=2)
    assert np.isfinite(model.embed(cells(150, 40))).all()


def test_log_values_suffice_unless_counts_are_asked_for(data):
    log = data.copy()
    log.X = sparse.csr_matrix(np.log1p(data.X.toarray() / data.X.toarray().sum(1, keepdims=True) * 1e4))
    assert np.isfinite(fitted(log).embed(log)).all()
    with pytest.raises(CellsError, match="needs counts"):
        fitted(log, features="counts")


@pytest.mark.parametrize("preset", list(RefinementModel.presets))
def test_presets_are_valid(preset):
    assert RefinementModel.preset(preset).config.n_hidden == 1500


def test_the_form_of_the_paper_fits_and_estimates_the_number_of_clusters(data):
    model = RefinementModel.preset("paper", n_hidden=24, epochs=3, lr=1e-3).fit(data, trainer=CPU)
    assert model.facts["n_latent"] == 3
    assert model.module.genes.weight.shape == (120, 3)
    np.testing.assert_allclose(model.embed(data, graph="own"), model.embed(data), atol=1e-5)


def test_labels_choose_the_epoch_only_when_asked(data):
    model = RefinementModel(**SMALL, selection="oracle").fit(data, oracle="group", trainer=CPU)
    assert "true labels" in model.facts["selection"]
    assert model.history["oracle"].between(0, 1).all()


# -- bad input ----------------------------------------------------------------------------------------------------


def test_one_cell_is_refused(data):
    with pytest.raises(CellsError, match="1 cell"):
        fitted(data[:1].copy())


def test_two_cells_and_more_neighbours_than_cells_are_defined(data):
    few = data[:2].copy()
    assert np.isfinite(fitted(few).embed(few)).all()
    subset = data[:5].copy()
    assert fitted(subset, n_neighbors=30).facts["n_cell_links"] == 10


def test_empty_cells_and_genes_are_defined(data):
    holes = data.copy()
    x = holes.X.toarray()
    x[:3] = 0
    x[:, :2] = 0
    holes.X = sparse.csr_matrix(x)
    model = fitted(holes)
    assert model.facts["n_empty"] == 3
    assert len(model.genes) == 38
    assert np.isfinite(model.embed(holes)).all()


def test_cells_that_are_all_alike_are_defined(data):
    alike = data[:10].copy()
    alike.X = sparse.csr_matrix(np.tile(data.X[0].toarray(), (10, 1)))
    assert np.isfinite(fitted(alike).embed(alike)).all()
    copies = data[:40].copy()
    copies.X = data.X[np.arange(40) % 4]
    assert np.isfinite(fitted(copies).embed(copies)).all()


def test_values_that_are_no_expression_are_refused(data):
    bad = data.copy()
    x = bad.X.toarray()
    x[4, 7] = np.nan
    bad.X = x
    with pytest.raises(CellsError, match="c4"):
        fitted(bad)


def test_genes_that_are_absent_are_told(data, model):
    with pytest.raises(GenesMissing, match="GENE0"):
        model.embed(data[:, 1:])
    assert model.embed(data[:, 1:], min_covered=0.9).shape == (120, 12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 1},
        {"n_latent": 1},
        {"n_neighbors": 0},
        {"dropout": 1.0},
        {"temperature": 0.0},
        {"text_share": 2.0},
        {"hops": (1,)},
        {"features": "rank"},
        {"gene_graph": "protein"},
    ],
)
def test_hyper_parameters_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ModelError, match=next(iter(wrong))):
        RefinementModel(**wrong)


def test_an_unfitted_model_says_so(data):
    with pytest.raises(ModelError, match="not fitted"):
        RefinementModel().embed(data)
