"""What all models share, shown by the smallest real one: fitting, embedding, facts, and data that are odd."""

import random
import re
from dataclasses import FrozenInstanceError

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from cellmodels.eval import metrics
from cellmodels.groups.clusters import cluster
from genetext.errors import CellsError, GenesMissing, ModelError, PriorsError
from genetext.priors import GenePriors
from tests.cellmodels.toy import ToyModel, cells


def vectors(adata, dim=6, *, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(adata.n_vars, dim))
    return GenePriors.from_arrays(adata.var_names.tolist(), drawn, source="drawn")


def test_hyper_parameters_are_frozen_named_and_checked():
    model = ToyModel(n_latent=3)
    with pytest.raises(FrozenInstanceError):
        model.config.n_latent = 4
    with pytest.raises(ModelError, match=r"no hyper-parameter n_latents: it has batch_size, .*n_latent"):
        ToyModel(n_latents=3)
    with pytest.raises(ModelError, match="epochs=0: it has to be a whole number of at least 1"):
        ToyModel(epochs=0)
    with pytest.raises(TypeError):
        ToyModel(ToyModel().config, 3)


def test_presets_are_taken_by_name_and_can_be_changed():
    assert ToyModel.preset("small").config.n_latent == 2
    assert ToyModel.preset("small", n_latent=5, seed=3).config.n_latent == 5
    with pytest.raises(ModelError, match="no preset 'large': it has small"):
        ToyModel.preset("large")


def test_fit_returns_itself_and_embeds_the_cells():
    adata = cells()
    model = ToyModel()
    assert not model.is_fitted
    assert model.fit(adata) is model
    embedding = model.embed(adata)
    assert embedding.shape == (60, 4)
    assert embedding.dtype == np.float32
    assert model.history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert model.history["loss"].is_monotonic_decreasing
    assert model.facts["epoch"] == 5
    assert not model.module.training


def test_fitting_finds_the_groups():
    adata = cells(150, 60)
    embedding = ToyModel(epochs=30, lr=0.01).fit(adata).embed(adata)
    assert metrics.ari(adata.obs["group"], cluster(embedding, 3).labels) > 0.95


def test_the_same_seed_gives_the_same_and_another_seed_another():
    adata = cells()
    first, again, other = (ToyModel(seed=seed).fit(adata).embed(adata) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_model_can_be_fitted_again():
    adata = cells()
    model = ToyModel().fit(cells(40, 20, seed=5))
    assert np.array_equal(model.fit(adata).embed(adata), ToyModel().fit(adata).embed(adata))


def test_the_callers_random_state_and_data_are_left_alone():
    adata = cells()
    before = adata.copy()

    def state():
        return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # noqa: NPY002

    now = state()
    ToyModel(selection="oracle").fit(adata, oracle="group").embed(adata)
    assert state() == now
    assert not torch.are_deterministic_algorithms_enabled()
    assert (adata.X != before.X).nnz == 0
    assert adata.obs.equals(before.obs)
    assert not adata.obsm
    assert not adata.uns


def test_the_order_of_genes_in_new_data_does_not_matter():
    adata = cells()
    model = ToyModel().fit(adata)
    order = np.random.default_rng(0).permutation(adata.n_vars)
    assert np.allclose(model.embed(adata[:, order].copy()), model.embed(adata), atol=1e-6)


def test_cells_not_seen_are_embedded_each_for_itself():
    adata, new = cells(), cells(9, seed=3)
    model = ToyModel().fit(adata)
    whole = model.embed(new)
    assert whole.shape == (9, 4)
    assert np.allclose(np.concatenate([model.embed(new[i].copy()) for i in range(9)]), whole, atol=1e-6)


def test_what_was_fitted_is_written_to_anndata_and_survives_a_file(tmp_path):
    adata = cells()
    model = ToyModel(lr_step=None).fit(adata, vectors(adata).permuted(3))
    model.to_anndata(adata)
    adata.write_h5ad(tmp_path / "x.h5ad")
    there = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert np.array_equal(there.obsm["X_toy"], model.embed(adata))
    facts = there.uns["genetext"]["toy"]
    assert facts["model"] == "ToyModel"
    assert facts["config"]["lr_step"] == "none"
    assert facts["control"] == "permuted(seed=3)"
    assert facts["n_with_prior"] == 30
    assert facts["selection"] == "last"
    model.to_anndata(adata, key_added="mine")
    assert set(adata.obsm) == {"X_toy", "X_mine"}
    assert set(adata.uns["genetext"]) == {"toy", "mine"}


def test_priors_are_aligned_where_they_are_not_yet_and_refused_where_they_are_of_other_genes():
    adata = cells()
    shuffled = vectors(adata[:, ::-1])
    assert ToyModel().fit(adata, shuffled).facts["n_with_prior"] == 30
    assert ToyModel().fit(adata, shuffled.align(adata)).facts["n_with_prior"] == 30
    assert ToyModel().fit(adata, shuffled.align(adata).without()).facts["control"] == "without"
    with pytest.raises((CellsError, PriorsError), match="gene"):
        ToyModel().fit(adata, shuffled.align(adata[:, :12]))


def test_genes_missing_are_refused_with_a_report_or_count_as_zeros():
    adata = cells()
    model = ToyModel().fit(adata)
    part = adata[:, 3:].copy()
    with pytest.raises(
        GenesMissing, match=r"GENE0, GENE1, GENE2\nthe data lack 3 of the 30 .*--min-covered 0.9"
    ) as caught:
        model.embed(part)
    assert caught.value.report.missing == ["GENE0", "GENE1", "GENE2"]
    zeroed = adata.copy()
    zeroed.X = sparse.csr_matrix(np.where(np.arange(30) < 3, 0, adata.X.toarray()))
    assert np.allclose(model.embed(part, min_covered=0.9), model.embed(zeroed), atol=1e-6)
    with pytest.raises(ModelError, match="min_covered is 0"):
        model.embed(part, min_covered=0)


def test_without_fitting_there_is_nothing_to_embed_or_save(tmp_path):
    for use in (lambda: ToyModel().embed(cells()), lambda: ToyModel().save(tmp_path / "x")):
        with pytest.raises(ModelError, match="was not fitted"):
            use()
    assert repr(ToyModel()) == "ToyModel(not fitted)"
    assert repr(ToyModel(epochs=2).fit(cells())) == "ToyModel(30 genes, 2 epochs)"


def test_oracle_selection_is_said_and_needs_labels():
    adata = cells()
    model = ToyModel(selection="oracle").fit(adata, oracle="group")
    assert "oracle: true labels" in model.facts["selection"]
    assert model.facts["epoch"] == 1 + model.history["oracle"].to_numpy().argmax()
    with pytest.raises(ModelError, match="oracle labels go together"):
        ToyModel(selection="oracle").fit(adata)
    with pytest.raises(ModelError, match="oracle labels go together"):
        ToyModel().fit(adata, oracle="group")
    with pytest.raises(CellsError, match="oracle='kind' is no column of obs: there are group"):
        ToyModel(selection="oracle").fit(adata, oracle="kind")


def test_one_cell_and_genes_that_do_not_vary():
    with pytest.raises(CellsError, match="there is 1 cell"):
        ToyModel().fit(cells(1))
    flat = anndata.AnnData(np.full((5, 4), 3, np.float32))
    with pytest.raises(CellsError, match="none of the 4 genes varies between the 5 cells"):
        ToyModel().fit(flat)
    with pytest.raises(CellsError, match="nothing to model"):
        ToyModel().fit(anndata.AnnData(np.zeros((0, 4), np.float32)))
    one = cells(1)
    assert ToyModel().fit(cells()).embed(one).shape == (1, 4)


def test_empty_cells_and_genes_have_a_defined_result():
    adata = cells()
    x = adata.X.toarray()
    x[[4, 9]] = 0
    x[:, [1, 2]] = 0
    adata.X = sparse.csr_matrix(x)
    model = ToyModel().fit(adata)
    embedding = model.embed(adata)
    assert np.isfinite(embedding).all()
    assert np.array_equal(embedding[4], embedding[9])
    assert model.facts["n_empty"] == 2
    assert len(model.genes) == 28


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_values_that_are_no_expression_are_refused_in_fit_and_embed(value):
    adata = cells()
    model = ToyModel(epochs=1).fit(adata)
    x = adata.X.toarray()
    x[7, 3] = value
    adata.X = sparse.csr_matrix(x)
    with pytest.raises(CellsError, match="c7|negative"):
        ToyModel().fit(adata)
    with pytest.raises(CellsError, match="c7|negative"):
        model.embed(adata)


def test_batches_of_one_cell_are_an_error_of_the_layer_that_cannot_take_them_and_leave_no_model():
    model = ToyModel(batch_size=1)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model.fit(cells())
    assert not model.is_fitted


def test_names_that_stand_twice_among_the_genes_are_refused():
    adata = cells()
    adata.var_names = ["GENE1", *adata.var_names[1:]]
    with pytest.raises(ModelError, match=r"1 names stand more than once in var_names \(GENE1\)"):
        ToyModel().fit(adata)


def test_dense_and_sparse_counts_are_the_same():
    adata = cells()
    dense = anndata.AnnData(adata.X.toarray(), obs=adata.obs, var=adata.var)
    column = anndata.AnnData(sparse.csc_matrix(adata.X), obs=adata.obs, var=adata.var)
    expected = ToyModel().fit(adata).embed(adata)
    for other in (dense, column):
        assert np.array_equal(ToyModel().fit(other).embed(other), expected)


def test_amounts_that_are_not_whole_are_fitted_where_that_is_said(tmp_path):
    adata, other = cells(), cells(20, seed=3)
    amounts = [anndata.AnnData(data.X.toarray() * 3.7, obs=data.obs, var=data.var) for data in (adata, other)]
    with pytest.raises(CellsError, match="expression='linear'"):
        ToyModel().fit(amounts[0])
    model = ToyModel(expression="linear").fit(amounts[0])
    model.save(tmp_path / "model")
    expected = ToyModel().fit(adata).embed(other)
    assert np.allclose(ToyModel.load(tmp_path / "model").embed(amounts[1]), expected, atol=0.02)


def test_labels_of_cells_are_never_asked_for(monkeypatch):
    adata = cells()
    expected = ToyModel().fit(adata).embed(adata)
    adata.obs["group"] = pd.Categorical(np.random.default_rng(0).permutation(adata.obs["group"]))
    assert np.array_equal(ToyModel().fit(adata).embed(adata), expected)


def test_a_fit_that_fails_leaves_a_model_that_is_not_fitted(tmp_path):
    model = ToyModel(epochs=1).fit(cells())
    with pytest.raises(CellsError, match="no column of obs"):
        ToyModel.fit(model, cells(), oracle="nope")
    assert not model.is_fitted
    with pytest.raises(ModelError, match="was not fitted"):
        model.save(tmp_path / "model")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 2.5}, "epochs=2.5: it has to be a whole number"),
        ({"seed": "x"}, "seed='x': it has to be a whole number"),
        ({"lr": "fast"}, "lr='fast': it has to be a number above 0"),
        ({"max_grad_norm": "no"}, "max_grad_norm='no': it has to be a number above 0 or none"),
        ({"n_latent": 10**20}, "it has to be a whole number of at least 1, and of at most 4,294,967,295"),
        ({"epochs": True}, "epochs=True: it has to be a whole number"),
    ],
)
def test_values_of_another_kind_are_refused(changes, told):
    with pytest.raises(ModelError, match=re.escape(told)):
        ToyModel(**changes)
    assert ToyModel(epochs=2, lr=1, max_grad_norm=None).config.epochs == 2


def test_a_model_takes_its_own_configuration_only():
    with pytest.raises(ModelError, match="ToyModel takes a .* by name, not 30"):
        ToyModel(30)
