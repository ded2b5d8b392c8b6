"""ContrastiveModel: forms and losses, the same vectors as embed_cells, labels for other cells, and bad input."""

import anndata
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from cellmodels import ContrastiveModel, load_model
from cellmodels.contrastive.config import ContrastiveConfig
from cellmodels.contrastive.network import principal_axes
from cellmodels.contrastive.task import ContrastiveTask, Inputs
from cellmodels.contrastive.views import Averaging, MeanOfGenes
from cellmodels.data.inputs import read_cells
from cellmodels.train.loop import Trainer
from genetext.cells import embed_cells, measure_background
from genetext.errors import CellsError, GenesMissing, ModelError
from genetext.priors import GenePriors
from tests.cellmodels.toy import cells

SMALL = {"epochs": 3, "n_hidden": 16, "n_latent": 4, "batch_size": 32, "top_n": 8}
FORMS = ["prior", "expression", "two-tower"]


def priors(n_genes=30, dim=6, known=25, groups=3, seed=0):
    """Vectors that say which group a gene is of; of the last genes nothing is known."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, dim)) * 2
    vectors = centres[np.arange(known) % groups] + rng.normal(size=(known, dim))
    return GenePriors.from_arrays([f"GENE{i}" for i in range(known)], vectors.astype(np.float32))


def fitted(data=None, *, labels="group", prior=None, **changes):
    return ContrastiveModel(**{**SMALL, **changes}).fit(
        cells() if data is None else data, priors() if prior is None else prior, labels=labels
    )


# -- embeddings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("labels", ["group", None])
def test_embeds_cells_as_unit_vectors_and_tells_its_losses(form, labels):
    model = fitted(form=form, labels=labels)
    embedding = model.embed(cells(20, seed=5))
    assert embedding.dtype == np.float32
    assert embedding.shape == (20, 8 if form == "two-tower" else 4)
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(1, abs=1e-5)
    expected = {"supervised" if labels else "self_supervised", *(["alignment"] if form == "two-tower" else [])}
    assert expected < set(model.history.columns)
    assert np.isfinite(model.history.to_numpy()).all()
    assert model.facts["form"] == form


@pytest.mark.parametrize("form", FORMS)
def test_training_separates_the_classes(form):
    data, new = cells(300), cells(120, seed=9)
    untrained, options = {"epochs": 1, "lr": 1e-8}, {"form": form, "n_components": None}
    before = ContrastiveModel(**{**SMALL, **untrained}, **options).fit(data, priors(), labels="group")
    after = ContrastiveModel(**{**SMALL, "epochs": 20}, **options).fit(data, priors(), labels="group")

    def gap(model):
        embedding, group = model.embed(new), new.obs["group"].cat.codes.to_numpy()
        cosine, same = embedding @ embedding.T, group[:, None] == group[None, :]
        return cosine[same].mean() - cosine[~same].mean()

    assert gap(after) > gap(before) + 0.2
    assert (after.predict(new)["label"] == new.obs["group"].astype(str)).mean() > 0.9


def test_starts_as_principal_components():
    data = cells(80)
    model = fitted(data, form="expression", epochs=1, lr=1e-8, n_components=3, held_out=0.0)
    log = read_cells(data, needs="log").matrix.toarray().astype(float)
    standard = np.clip((log - log.mean(axis=0)) / log.std(axis=0), -10, 10)
    scores = np.linalg.svd(standard, full_matrices=False)
    expected = scores[0][:, :3] * scores[1][:3]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    told = model.embed(data)
    assert np.allclose(np.abs(told[:, :3]), np.abs(expected), atol=1e-3)
    assert np.allclose(told[:, 3], 0, atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_principal_axes_of_tall_and_wide_rows(shape):
    x = np.random.default_rng(0).normal(size=shape) + 3
    axes = principal_axes(torch.tensor(x), 4)
    centred = x - x.mean(axis=0)
    expected = np.linalg.svd(centred, full_matrices=False)[2][:4]
    unit = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    assert np.allclose(np.abs((unit * expected).sum(axis=1)), 1, atol=1e-8)
    assert ((centred @ axes.T) ** 2).sum(axis=1).mean() == pytest.approx(1)
    assert principal_axes(torch.ones(5, 3), 2).shape == (0, 3)
    assert len(principal_axes(torch.tensor(x[:3]), 10)) == 2


@pytest.mark.parametrize("form", FORMS)
def test_neither_order_nor_company_of_cells_changes_an_embedding(form):
    model, new = fitted(form=form), cells(50, seed=2)
    whole = model.embed(new)
    order = np.random.default_rng(0).permutation(50)
    assert np.allclose(model.embed(new[order].copy()), whole[order], atol=1e-6)
    assert np.allclose(model.embed(new[7:8].copy()), whole[7:8], atol=1e-6)
    genes = np.random.default_rng(1).permutation(new.n_vars)
    assert np.allclose(model.embed(new[:, genes].copy()), whole, atol=1e-6)


def test_depth_does_not_matter():
    model, new = fitted(form="two-tower"), cells(20, seed=2)
    deeper = new.copy()
    deeper.X = deeper.X * 3
    assert np.allclose(model.embed(deeper), model.embed(new), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_same_seed_same_result_and_another_seed_another(form):
    one, two, other = (fitted(form=form, seed=seed).embed(cells(9, seed=3)) for seed in (4, 4, 5))
    assert np.array_equal(one, two)
    assert not np.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("top_n", [None, 5])
@pytest.mark.parametrize("weighting", ["mean", "top", "contrast", "centred", "zscore", "tfidf"])
def test_averages_are_those_of_embed_cells_with_the_background_of_the_training_cells(weighting, top_n):
    if weighting == "top" and top_n is None:
        pytest.skip("top is top_n genes")
    train, new = cells(40), cells(25, seed=8)
    own = priors().align(train)
    known = np.flatnonzero(own.mask)
    averaging = Averaging.measured(read_cells(train, needs="log"), known, own.vectors[known], weighting, top_n)
    bags = averaging.bags(read_cells(new, needs="log"))
    told = averaging.means(bags, np.arange(25))
    embed_cells(new, own, weighting=weighting, top_n=top_n, background=measure_background(train))
    expected = new.obsm["X_genetext"]
    lost = np.isnan(expected).any(axis=1)
    assert np.array_equal(bags.lost, lost)
    assert np.allclose(told[~lost], expected[~lost], atol=2e-5)
    assert (told[lost] == 0).all()


@pytest.mark.parametrize("weighting", ["mean", "zscore"])
def test_a_gene_left_out_is_in_neither_sum(weighting):
    data = cells(6)
    own = priors().align(data)
    known = np.flatnonzero(own.mask)
    log = read_cells(data, needs="log")
    averaging = Averaging.measured(log, known, own.vectors[known], weighting, None)
    bags = averaging.bags(log)
    torch.manual_seed(0)
    told = MeanOfGenes(averaging)(**bags.take(np.arange(6)), drop=0.4).double().numpy()
    torch.manual_seed(0)
    kept = (torch.rand(len(bags.weights)) >= 0.4).numpy()
    mean, sd = (np.asarray(one).ravel() for one in (log.matrix.mean(axis=0), log.matrix.toarray().std(axis=0, ddof=1)))
    for cell in range(6):
        w = log.matrix[cell].toarray().ravel().astype(float)
        a = w if weighting == "mean" else np.minimum((w - mean) / sd, 10)
        a = a[known]
        at = slice(bags.starts[cell], bags.starts[cell + 1])
        a[bags.genes[at][~kept[at]]] = 0
        expected = a @ own.vectors[known] / np.abs(a).sum()
        assert told[cell] == pytest.approx(expected, abs=1e-4)


def test_views_differ_and_evaluation_does_not():
    model = fitted(form="prior")
    some, state = model.cells(cells()), model.state
    inputs = Inputs(state.prior.averaging.bags(some), None).take(np.arange(5))
    net = model.module
    first, second, plain, again = (net.see(inputs, drop)[0] for drop in (0.5, 0.5, 0.0, 0.0))
    assert not torch.allclose(first, second)
    assert torch.equal(plain, again)


def test_background_stays_that_of_the_training_cells():
    model = fitted(form="prior", weighting="contrast")
    group = cells(60, seed=6)
    one = group[(group.obs["group"] == "g0").to_numpy()].copy()
    whole = model.embed(group)[(group.obs["group"] == "g0").to_numpy()]
    assert np.allclose(model.embed(one), whole, atol=1e-6)


# -- priors and their absence -----------------------------------------------------------------------------------------


def test_without_a_prior_the_expression_tower_is_left():
    for prior in (None, priors().align(cells()).without()):
        model = ContrastiveModel(**SMALL).fit(cells(), prior, labels="group")
        assert model.facts["form"] == "expression"
        for form in ("prior", "two-tower"):
            with pytest.raises(ModelError, match="there are none"):
                ContrastiveModel(**SMALL, form=form).fit(cells(), prior)
    assert fitted().facts["form"] == "two-tower"


def test_form_expression_takes_no_notice_of_the_vectors_given():
    one = fitted(form="expression", prior=priors())
    other = fitted(form="expression", prior=priors().permuted(3))
    assert np.array_equal(one.embed(cells(9, seed=1)), other.embed(cells(9, seed=1)))


def test_controls_are_recorded_and_change_the_embedding():
    prior = priors().align(cells())
    model, control = fitted(prior=prior, form="prior"), fitted(prior=prior.permuted(1), form="prior")
    assert control.facts["control"] == "permuted(seed=1)"
    assert not np.allclose(model.embed(cells(9)), control.embed(cells(9)), atol=1e-3)


def test_only_variable_genes_may_be_averaged():
    few = fitted(form="prior", prior_genes="variable", n_genes=6)
    assert len(few.genes) <= 6
    assert set(few.genes.names) <= {f"GENE{i}" for i in range(25)}
    assert len(fitted(form="prior", prior_genes="all", n_genes=6).genes) == 25


# -- labels -----------------------------------------------------------------------------------------------------------


def test_predicts_labels_with_confidence_for_cells_it_was_not_fitted_on():
    model, new = fitted(cells(300), epochs=15), cells(90, seed=4)
    told = model.predict(new)
    assert list(told.columns) == ["label", "confidence", "runner_up", "similarity"]
    assert list(told.index) == list(new.obs_names)
    assert (told["label"] == new.obs["group"].astype(str)).mean() > 0.9
    probability = model.predict_proba(new)
    assert list(probability.columns) == ["g0", "g1", "g2"]
    assert np.allclose(probability.sum(axis=1), 1)
    assert np.allclose(probability.max(axis=1), told["confidence"])
    assert model.predict(new, min_confidence=1.0)["label"].isna().all()


def test_names_of_labels_play_no_part():
    data = cells()
    other = [{"g0": "z", "g1": "y", "g2": "x"}[one] for one in data.obs["group"]]
    one, two = fitted(data), fitted(data, labels=other)
    new = cells(30, seed=3)
    assert np.array_equal(one.embed(new)[0], one.embed(new)[0])
    assert two.predict(new)["label"].map({"z": "g0", "y": "g1", "x": "g2"}).eq(one.predict(new)["label"]).mean() > 0.8


def test_cells_without_a_label_take_no_part_in_the_supervised_loss():
    data = cells(90)
    labels = data.obs["group"].astype(object).to_numpy()
    labels[::2] = None
    some = fitted(data, labels=labels, loss="supervised", form="expression", held_out=0.0)
    assert len(some.classifier.reference) == 45
    assert some.facts["n_labelled"] == 45
    assert fitted(data, labels=labels).facts["loss"] == "supervised"
    both = fitted(data, labels=labels, loss="both")
    assert both.facts["loss"] == "both"
    assert {"supervised", "self_supervised", "alignment"} < set(both.history.columns)


def test_a_model_fitted_without_labels_takes_a_reference_later():
    model = fitted(cells(200), labels=None, epochs=10)
    with pytest.raises(ModelError, match="no labelled cells"):
        model.predict(cells())
    model.fit_classifier(cells(200), "group")
    new = cells(60, seed=7)
    first = model.predict(new)
    assert (first["label"] == new.obs["group"].astype(str)).mean() > 0.8
    model.fit_classifier(cells(50), ["only"] * 50)
    assert set(model.predict(new)["label"]) == {"only"}


def test_held_out_labels_calibrate_and_rare_classes_lose_no_cell():
    model = fitted(cells(300), held_out=0.2)
    assert model.facts["classifier"]["n_calibrated"] == 60
    assert "held_out" in model.history
    assert fitted(cells(300), held_out=0.0).facts["classifier"]["n_calibrated"] == 0
    assert "held_out" not in fitted(cells(24), held_out=0.1).history


def test_early_stop_keeps_the_best_epoch():
    model = fitted(cells(120), epochs=40, lr=0.05, patience=2, selection="loss", held_out=0.3)
    best = model.history.loc[model.history["held_out"].idxmin(), "epoch"]
    assert model.facts["epoch"] == best
    assert len(model.history) == min(best + 2, 40)


def test_writes_embedding_labels_and_facts_that_a_file_holds(tmp_path):
    model, data = fitted(), cells()
    model.to_anndata(data)
    data.write_h5ad(tmp_path / "out.h5ad")
    back = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert np.array_equal(back.obsm["X_contrastive"], model.embed(cells()))
    assert list(back.obs["contrastive_label"]) == list(model.predict(cells())["label"])
    assert back.obs["contrastive_confidence"].between(0, 1).all()
    assert back.uns["genetext"]["contrastive"]["form"] == "two-tower"
    unlabelled = cells()
    fitted(labels=None).to_anndata(unlabelled)
    assert "contrastive_label" not in unlabelled.obs


# -- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["group", None])
def test_a_run_taken_up_from_a_checkpoint_ends_where_the_other_did(tmp_path, labels):
    whole = fitted(labels=labels, epochs=4)

    class Stop(Exception):
        pass

    def stop(stage, done, total):
        if done == 2:
            raise Stop

    half = ContrastiveModel(**{**SMALL, "epochs": 4})
    options = {"labels": labels, "checkpoints": tmp_path, "trainer": Trainer(checkpoint_every=1)}
    with pytest.raises(Stop):
        half.fit(cells(), priors(), progress=stop, **options)
    again = ContrastiveModel(**{**SMALL, "epochs": 4}).fit(cells(), priors(), **options)
    assert np.array_equal(again.embed(cells()), whole.embed(cells()))
    other = ["a", "b"] * 30 if labels else None
    with pytest.raises(ModelError, match="another run"):
        ContrastiveModel(**{**SMALL, "epochs": 4}).fit(
            cells(), priors() if other else priors().permuted(0), **{**options, "labels": other}
        )


def test_presets_are_complete_and_say_what_the_reconstruction_says():
    paper = ContrastiveModel.preset("paper").config
    assert (paper.form, paper.weighting, paper.top_n, paper.temperature) == ("prior", "mean", 100, 0.1)
    assert (paper.n_hidden, paper.n_latent, paper.batch_size, paper.lr, paper.epochs) == (512, 128, 256, 1e-3, 100)
    for name in ContrastiveModel.presets:
        model = ContrastiveModel.preset(name, epochs=2).fit(cells(), priors(), labels="group")
        assert np.isfinite(model.embed(cells())).all()


def test_loaded_model_is_of_its_class(tmp_path):
    fitted().save(tmp_path / "m")
    assert isinstance(load_model(tmp_path / "m"), ContrastiveModel)


# -- other data -------------------------------------------------------------------------------------------------------


def test_other_data_must_have_the_genes_or_accept_zeros():
    model, new = fitted(), cells(10, seed=3)
    part = new[:, new.var_names != "GENE3"].copy()
    with pytest.raises(GenesMissing, match="GENE3"):
        model.predict(part)
    zeroed = new.copy()
    zeroed.X = sparse.csr_matrix(zeroed.X.toarray() * (zeroed.var_names != "GENE3"))
    assert np.allclose(model.embed(part, min_covered=0.9), model.embed(zeroed), atol=1e-6)
    assert len(model.predict(part, min_covered=0.9)) == 10


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_cells_that_express_nothing_are_zeros_without_label(form):
    data = cells(60)
    dense = data.X.toarray()
    dense[[3, 40]], dense[:, 5] = 0, 0
    data.X = sparse.csr_matrix(dense)
    model = fitted(data, form=form)
    embedding, told = model.embed(data), model.predict(data)
    assert (embedding[[3, 40]] == 0).all()
    assert np.isfinite(embedding).all()
    assert np.flatnonzero(told["label"].isna()).tolist() == [3, 40]
    assert np.flatnonzero(told["confidence"].isna()).tolist() == [3, 40]
    assert len(model.classifier.reference) == 58
    data.obs["group"] = data.obs["group"].astype(str)
    model.to_anndata(data)
    assert data.obs["contrastive_label"].isna().sum() == 2


def test_cells_whose_genes_have_no_vector_are_lost_to_the_prior_and_not_to_expression():
    data = cells(60)
    dense = data.X.toarray()
    dense[3, :25], dense[3, 27] = 0, 4
    data.X = sparse.csr_matrix(dense)
    assert (fitted(data, form="prior").embed(data)[3] == 0).all()
    both = fitted(data, form="two-tower").embed(data)
    assert np.linalg.norm(both[3]) == pytest.approx(1, abs=1e-5)


def test_too_few_cells_classes_or_genes_are_one_error():
    with pytest.raises(CellsError, match="1 cell"):
        fitted(cells(1))
    with pytest.raises(ModelError, match="are of 1"):
        fitted(labels=["same"] * 60)
    with pytest.raises(CellsError, match="has a label"):
        fitted(labels=[None] * 60, loss="supervised")
    with pytest.raises(CellsError, match="no column"):
        fitted(labels="absent")
    with pytest.raises(CellsError, match="59 values"):
        fitted(labels=["a"] * 59)
    empty = cells()
    empty.X = sparse.csr_matrix(empty.shape, dtype=np.float32)
    with pytest.raises(CellsError):
        fitted(empty)
    broken = cells()
    broken.X.data[7] = np.nan
    with pytest.raises(CellsError, match="NaN"):
        fitted(broken)


def test_one_class_is_no_matter_without_the_supervised_loss():
    model = fitted(labels=["same"] * 60, loss="self-supervised")
    assert set(model.predict(cells(5))["label"]) == {"same"}


@pytest.mark.parametrize("gene_dropout", [0.0, 0.25])
def test_a_class_with_one_cell_is_learned_and_found(gene_dropout):
    data = cells(61)
    labels = data.obs["group"].astype(str).to_numpy(object)
    labels[7] = "rare"
    model = fitted(data, labels=labels, gene_dropout=gene_dropout)
    assert "rare" in model.facts["classifier"]["classes"]
    assert model.predict_proba(data).shape == (61, 4)


@pytest.mark.parametrize("labels", ["group", None])
def test_small_batches_and_two_cells_in_all(labels):
    with pytest.raises(ModelError, match="batch_size=1"):
        fitted(batch_size=1, labels=labels)  # one cell is contrasted with nothing
    assert np.isfinite(fitted(batch_size=4, epochs=1, labels=labels).embed(cells())).all()
    two = cells(2)
    assert np.isfinite(fitted(two, labels=labels, batch_size=4, held_out=0).embed(two)).all()


def test_a_cell_that_is_left_alone_to_train_on_is_an_error():
    with pytest.raises(ModelError, match="1 cells are left to train on"):
        fitted(cells(2), labels=None, held_out=0.5)


def test_more_neighbours_than_cells():
    assert len(fitted(cells(6), n_neighbors=100).predict(cells(9))) == 9


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "tower"},
        {"loss": "contrast"},
        {"gene_dropout": 1.0},
        {"temperature": 0},
        {"n_neighbors": 0},
        {"n_latent": 0},
        {"fusion": "sum"},
        {"prior_genes": "some"},
        {"alignment_weight": -1},
    ],
)
def test_hyper_parameters_that_mean_nothing_are_refused(changes):
    with pytest.raises(ModelError, match=next(iter(changes))):
        ContrastiveModel(**changes)
    with pytest.raises(ModelError, match="no weighting"):
        ContrastiveModel(weighting="best")


def test_views_need_dropout_to_differ():
    with pytest.raises(ModelError, match="above 0"):
        fitted(labels=None, gene_dropout=0.0)


@pytest.mark.real
def test_labels_pbmc_from_half_of_it(real_data):
    data = anndata.read_h5ad(real_data / "cells" / "pbmc3k_counts_labelled.h5ad")
    order = np.random.default_rng(0).permutation(data.n_obs)
    train, test = data[order[:800]].copy(), data[order[800:1600]].copy()
    model = ContrastiveModel(epochs=4, n_genes=1000).fit(train, labels="cell_type")
    told = model.predict(test)
    assert (told["label"] == test.obs["cell_type"].astype(str)).mean() > 0.85


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (lambda n: [None] * n, "none of the 30 cells has a label"),
        (lambda n: [f"cell{i}" for i in range(n)], "as many labels"),
    ],
)
def test_labels_that_tell_no_types_are_refused(labels, told):
    adata = cells(30, 20)
    with pytest.raises((CellsError, ModelError), match=told):
        ContrastiveModel(epochs=1).fit(adata, labels=labels(30))


# -- held-out loss and labels of labelled cells -----------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(codes=st.lists(st.integers(-1, 3), min_size=12, max_size=120), size=st.integers(4, 40), data=st.data())
def test_held_out_batches_hold_every_cell_once_and_every_class_in_proportion(codes, size, data):
    codes = np.array(codes)
    config = ContrastiveConfig(batch_size=size, held_out=0.5, seed=data.draw(st.integers(0, 3)))
    task = ContrastiveTask(Inputs(None, None), codes, np.arange(len(codes)), config, "self-supervised")
    batches = task.held_out()
    assert np.array_equal(np.sort(np.concatenate(batches)) if batches else [], task.held)
    assert all(np.array_equal(a, b) for a, b in zip(batches, task.held_out(), strict=True)), "the same each time"
    for code in np.unique(codes[task.held]):
        counts = np.array([(codes[batch] == code).sum() for batch in batches])
        expected = (codes[task.held] == code).sum() * np.array([len(batch) for batch in batches]) / len(task.held)
        assert (np.abs(counts - expected) <= len(np.unique(codes)) + 1).all()


def test_the_held_out_loss_does_not_depend_on_the_order_of_the_file():
    data = cells(400)
    ordered = data[np.argsort(data.obs["group"], kind="stable")].copy()
    options = {"epochs": 1, "lr": 1e-9, "held_out": 0.5, "form": "expression", "batch_size": 32}
    one, other = (fitted(of, **options).history["held_out"].iloc[-1] for of in (data, ordered))
    assert one == pytest.approx(other, rel=0.05)


@pytest.mark.parametrize("loss", ["supervised", "self-supervised"])
def test_labels_of_noise_are_at_chance_on_the_cells_that_have_them(tmp_path, loss):
    data = cells(300)
    data.obs["noise"] = np.random.default_rng(0).choice(["a", "b", "c"], data.n_obs)
    model = fitted(data, labels="noise", loss=loss, form="expression", n_latent=16, n_hidden=64, epochs=15, lr=0.01)

    def agreement(labels, of=data):
        return (np.asarray(labels, object) == of.obs["noise"].to_numpy(object)).mean()

    assert agreement(model.classifier.predict(model.embed(data))["label"]) > 0.7, "cells that vote for themselves"
    predicted = model.predict(data)
    assert abs(agreement(predicted["label"]) - 1 / 3) < 0.12
    model.to_anndata(data)
    assert data.obs["contrastive_label"].tolist() == predicted["label"].tolist()
    model.save(tmp_path / "m")
    some = data[np.random.default_rng(1).permutation(data.n_obs)[:100]].copy()
    again = load_model(tmp_path / "m").predict(some)
    assert again["label"].tolist() == predicted.loc[some.obs_names, "label"].tolist(), "known again in any order"
    probability = model.predict_proba(data)
    assert (probability.idxmax(axis=1) == predicted["label"]).mean() > 0.95
    renamed = some.copy()
    renamed.obs_names = [f"other-{name}" for name in some.obs_names]
    assert model.predict(renamed)["label"].tolist() == again["label"].tolist(), "known again under other names"
    model.fit_classifier(some, "noise")
    assert abs(agreement(model.predict(some)["label"], some) - 1 / 3) < 0.2


def test_a_reference_of_one_cell_does_not_label_itself():
    data = cells(60)
    model = fitted(data, labels=None)
    one = data[:1].copy()
    model.fit_classifier(one, "group")
    label = model.predict(data)
    assert label["label"].iloc[0] is None
    assert np.isnan(label["confidence"].iloc[0])
    assert set(label["label"].iloc[1:]) == {data.obs["group"].iloc[0]}


def test_cells_are_embedded_once_to_be_written_with_their_labels(monkeypatch):
    model, data, calls = fitted(), cells(20, seed=3), []
    embed = ContrastiveModel._embed
    monkeypatch.setattr(ContrastiveModel, "_embed", lambda *args: calls.append(1) or embed(*args))
    labels = model.to_anndata(data, min_confidence=0.5)
    assert len(calls) == 1
    assert data.obs["contrastive_label"].isna().tolist() == labels["label"].isna().tolist()
    expected = model.predict(data, min_confidence=0.5)
    assert labels["confidence"].tolist() == pytest.approx(expected["confidence"].tolist())
