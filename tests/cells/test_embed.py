"""embed_cells against the reference, and what must not change its numbers."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from genetext.cells import WEIGHTINGS, embed_cells, measure_background
from genetext.cells.product import TILE
from genetext.errors import CellsError
from tests.cells import reference

ALL = [(name, top_n) for name in WEIGHTINGS for top_n in (None, 5) if not (name == "top" and top_n is None)]
CLOSE = {"rtol": 2e-5, "atol": 2e-5}


def embedded(adata, priors, **options):
    out = embed_cells(adata, priors, copy=True, **options)
    return out.obsm["X_genetext"]


@pytest.fixture
def x():
    x = reference.counts()
    x[7] = 0  # empty
    x[9] = 0
    x[9, [2, 5]] = 3  # expresses nothing but genes without a vector
    x[:, 11] = 4  # in every cell
    x[7, 11] = x[9, 11] = 0
    return x


@pytest.fixture
def priors(x):
    return reference.priors([f"GENE{j}" for j in range(x.shape[1])], missing=[2, 5, 17])


@pytest.mark.parametrize(("weighting", "top_n"), ALL)
@pytest.mark.parametrize("expression", ["counts", "log"])
def test_each_weighting_is_what_its_definition_says(x, priors, weighting, top_n, expression):
    given = np.log1p(x) if expression == "log" else x
    got = embedded(reference.data(given), priors, weighting=weighting, top_n=top_n, expression=expression)
    wanted = reference.embed(given, priors.vectors, priors.mask, weighting, top_n=top_n, expression=expression)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, **CLOSE)


@pytest.mark.parametrize(("weighting", "top_n"), ALL)
def test_forms_of_a_matrix_give_the_same_bits(x, priors, weighting, top_n):
    options = {"weighting": weighting, "top_n": top_n}
    wanted = embedded(reference.data(x), priors, **options)
    twice = sparse.csr_matrix(x)
    twice = sparse.csr_matrix(
        (np.repeat(twice.data, 2) / 2, np.repeat(twice.indices, 2), twice.indptr * 2), shape=x.shape
    )  # every entry stored in two halves
    for form in (np.asarray, sparse.csc_matrix, sparse.csr_array, sparse.csc_array, lambda _: twice):
        assert np.array_equal(embedded(reference.data(x, form=form), priors, **options), wanted, equal_nan=True)
    as_int = embedded(reference.data(x.astype(np.uint16)), priors, **options)
    assert np.array_equal(as_int, wanted, equal_nan=True)
    stored_zeros = sparse.csr_matrix(np.where(x == 0, -1, x))
    stored_zeros.data[stored_zeros.data < 0] = 0
    assert np.array_equal(embedded(reference.data(stored_zeros), priors, **options), wanted, equal_nan=True)


@pytest.mark.parametrize(("weighting", "top_n"), ALL)
def test_blocks_and_threads_change_no_bit(weighting, top_n):
    x = reference.counts(3 * TILE + 17, 25, seed=4)
    adata, priors = reference.data(x), reference.priors([f"GENE{j}" for j in range(25)], missing=[0, 3])
    wanted = embedded(adata, priors, weighting=weighting, top_n=top_n, threads=1)
    for block_size, threads in ((1, 2), (TILE, 3), (TILE + 1, 1), (10**6, 2)):
        got = embedded(adata, priors, weighting=weighting, top_n=top_n, block_size=block_size, threads=threads)
        assert np.array_equal(got, wanted, equal_nan=True)


def test_wide_vectors_are_the_same_as_their_parts():
    x = reference.counts(30, 20)
    wide = reference.priors([f"GENE{j}" for j in range(20)], dim=1100)
    got = embedded(reference.data(x), wide)
    np.testing.assert_allclose(got, reference.embed(x, wide.vectors, wide.mask, "mean"), **CLOSE)


def test_missing_genes_leave_the_denominator(x, priors):
    """One matched gene among many unmatched ones gives that gene's own vector, not a fraction of it."""
    lone = np.zeros((1, x.shape[1]), np.float32)
    lone[0, [2, 4, 5, 17]] = [500, 1, 300, 200]
    adata = reference.data(lone)
    for weighting in ("mean", "top"):
        got = embedded(adata, priors, weighting=weighting, top_n=3)
        np.testing.assert_allclose(got[0], priors.vectors[4], rtol=1e-6)
    out = embed_cells(adata, priors, copy=True)
    assert out.obs["genetext_share"].iloc[0] == pytest.approx(1 / 1001)


def test_cells_without_a_vector_are_nan_and_named(x, priors, caplog):
    x[12] = 0
    x[12, 11] = 4  # only a gene that every cell has
    with caplog.at_level(logging.WARNING, "genetext"):
        out = embed_cells(reference.data(x), priors, weighting="tfidf", copy=True)
    status = out.obs["genetext_status"]
    assert status["cell7"] == "empty"
    assert status["cell9"] == "unmatched"
    assert list(status.cat.categories) == ["ok", "empty", "unmatched", "flat"]
    lost = np.isnan(out.obsm["X_genetext"]).any(axis=1)
    assert np.array_equal(lost, status != "ok")
    assert np.isnan(out.obsm["X_genetext"][lost]).all()
    assert "have no vector (1 empty, 1 unmatched" in caplog.text
    recorded = out.uns["genetext"]["cells"]
    assert (recorded["n_empty"], recorded["n_unmatched"]) == (1, 1)


def test_a_cell_with_nothing_above_the_mean_is_flat():
    x = np.full((4, 3), 5, np.float32)
    out = embed_cells(reference.data(x), reference.priors(["GENE0", "GENE1", "GENE2"]), weighting="contrast", copy=True)
    assert set(out.obs["genetext_status"]) == {"flat"}
    out = embed_cells(reference.data(x), reference.priors(["GENE0", "GENE1", "GENE2"]), weighting="zscore", copy=True)
    assert set(out.obs["genetext_status"]) == {"flat"}


def test_in_place_copy_and_keys(x, priors):
    adata = reference.data(x)
    before = adata.X.copy()
    out = embed_cells(adata, priors, key_added="text", copy=True)
    assert "X_text" not in adata.obsm
    assert out.obsm["X_text"].shape == (40, 6)
    assert {"text_status", "text_share"} <= set(out.obs)
    assert embed_cells(adata, priors) is None
    assert "X_genetext" in adata.obsm
    assert np.array_equal(adata.X.toarray(), before.toarray())
    embed_cells(adata, priors.permuted(3), weighting="contrast", key_added="control")
    assert adata.uns["genetext"]["cells"]["weighting"] == "mean"
    assert "permuted" in adata.uns["control"]["cells"]["priors"]


def test_pca_and_unit(x, priors):
    got = embedded(reference.data(x), priors, pca=3)
    wanted = reference.embed(x, priors.pca(3).vectors, priors.mask, "mean")
    np.testing.assert_allclose(got, wanted, **CLOSE)
    norms = np.linalg.norm(embedded(reference.data(x), priors, unit=True), axis=1)
    np.testing.assert_allclose(norms[~np.isnan(norms)], 1, rtol=1e-6)


def test_counts_are_found_where_people_keep_them(x, priors):
    wanted = embedded(reference.data(x), priors)
    logged = reference.data(np.log1p(x))
    logged.layers["counts"] = sparse.csr_matrix(x)
    out = embed_cells(logged, priors, copy=True)
    assert out.uns["genetext"]["cells"]["matrix"] == "layers['counts']"
    assert np.array_equal(out.obsm["X_genetext"], wanted, equal_nan=True)

    more = np.hstack([x, np.zeros_like(x[:, :2])])  # .raw has more genes, in another order
    order = np.random.default_rng(0).permutation(more.shape[1])
    full = reference.data(more)[:, order].copy()
    small = reference.data(np.log1p(x))
    small.raw = full
    out = embed_cells(small, priors, copy=True)
    assert out.uns["genetext"]["cells"]["matrix"] == "raw.X"
    np.testing.assert_allclose(out.obsm["X_genetext"], wanted, rtol=1e-5, atol=1e-6)
    out = embed_cells(small, priors, copy=True, weighting="zscore", layer="raw")
    np.testing.assert_allclose(out.obsm["X_genetext"], embedded(reference.data(x), priors, weighting="zscore"), **CLOSE)


def test_depth_counts_the_genes_of_raw_that_var_has_not(x, priors):
    full = reference.data(x)
    keep = np.arange(x.shape[1]) % 2 == 0
    small = reference.data(np.log1p(x))[:, keep].copy()
    small.raw = full
    got = embedded(small, priors.take(keep))
    wanted = reference.embed(x, priors.vectors, priors.mask & keep, "mean")
    np.testing.assert_allclose(got, wanted, **CLOSE)


def test_background_of_other_cells(x, priors):
    adata = reference.data(x)
    train, held_out = adata[:25], adata[25:]
    known = measure_background(train)
    both = embedded(adata, priors, weighting="contrast", background=known)
    assert np.array_equal(both[25:], embedded(held_out, priors, weighting="contrast", background=known), equal_nan=True)
    own = embedded(train, priors, weighting="contrast")
    assert np.array_equal(own, both[:25], equal_nan=True)
    with pytest.raises(CellsError, match="background is of 30 genes, X has 29"):
        embed_cells(adata[:, :29].copy(), priors.take(slice(29)), weighting="contrast", background=known)
    turned = adata[:, ::-1].copy()
    with pytest.raises(CellsError, match="background is of other genes than those of X, or of another order"):
        embed_cells(turned, priors.take(np.arange(30)[::-1]), weighting="contrast", background=known)
    with pytest.raises(CellsError, match="another order"):
        known + measure_background(turned)
    parts = measure_background(adata[:9]) + measure_background(adata[9:25])
    np.testing.assert_allclose(embedded(held_out, priors, weighting="contrast", background=parts), both[25:], **CLOSE)


# -- what must not change the numbers ------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), which=st.sampled_from(ALL))
def test_order_of_cells_and_genes_and_depth(seed, which):
    weighting, top_n = which
    rng = np.random.default_rng(seed)
    x = reference.counts(30, 18, seed=seed)
    x += rng.random(x.shape) * (x > 0) * 0.5
    # No ties: those go by the order of genes.
    x = np.where(x > 0, np.round(x * 1000) * 18 + rng.permutation(18), 0).astype(np.float32)
    adata = reference.data(x)
    priors = reference.priors(list(adata.var_names), missing=rng.choice(18, 4, replace=False))
    options = {"weighting": weighting, "top_n": top_n}
    wanted = embedded(adata, priors, **options)
    cells, genes = rng.permutation(30), rng.permutation(18)
    shuffled = embedded(adata[cells][:, genes].copy(), priors.take(genes), **options)
    np.testing.assert_allclose(shuffled, wanted[cells], **CLOSE)
    deeper = reference.data(x * rng.integers(1, 9, (30, 1)))
    np.testing.assert_allclose(embedded(deeper, priors, **options), wanted, **CLOSE)
    twice = embedded(reference.data(np.vstack([x, x])), priors, weighting="mean")
    alone = embedded(adata, priors, weighting="mean")
    assert np.array_equal(twice, np.vstack([alone, alone]), equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), which=st.sampled_from(ALL))
def test_junk_genes_change_nothing_for_the_others(seed, which):
    """Genes that nobody expresses, with or without a vector, leave every number as it is."""
    weighting, top_n = which
    rng = np.random.default_rng(seed)
    x = reference.counts(25, 12, seed=seed)
    names = [f"GENE{j}" for j in range(12)]
    priors = reference.priors(names, missing=[1])
    options = {"weighting": weighting, "top_n": top_n}
    wanted = embedded(reference.data(x), priors, **options)
    at = rng.integers(0, 13, 4)
    wider = reference.data(np.insert(x, at, 0, axis=1))
    known = np.insert(priors.mask, at, rng.random(4) < 0.5)
    vectors = np.insert(priors.vectors, at, 7, axis=0)
    junk = reference.priors(list(wider.var_names), missing=np.flatnonzero(~known))
    junk.vectors[:] = vectors
    np.testing.assert_allclose(embedded(wider, junk, **options), wanted, rtol=1e-6, atol=1e-6)


# -- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bad", "words"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (-1, "negative")])
@pytest.mark.parametrize("at", [0, 2000])
def test_what_expression_cannot_be(bad, words, at):
    x = reference.counts(3000, 10)
    x[at, 3] = bad
    adata = reference.data(x)
    with pytest.raises(CellsError, match=words) as caught:
        embed_cells(adata, reference.priors(list(adata.var_names)))
    if at:
        assert "cell2000" in str(caught.value)


def test_log_data_where_counts_are_expected(x, priors):
    adata = reference.data(np.log1p(x))
    with pytest.raises(CellsError, match=r"no counts found: X holds what looks like log-normalised.*expression='log'"):
        embed_cells(adata, priors, expression="counts")
    adata.raw = adata
    with pytest.raises(CellsError, match="raw.X holds what looks like"):
        embed_cells(adata, priors, expression="counts")
    scaled = reference.data(x - x.mean(axis=0))
    with pytest.raises(CellsError, match="X holds negative values"):
        embed_cells(scaled, priors)


@pytest.mark.parametrize("weighting", ["mean", "contrast"])
def test_one_value_that_is_not_whole_is_found_where_no_probe_looks(weighting):
    x = reference.counts(3000, 10)
    x[2000, 3] = 1.5
    adata = reference.data(x)
    own = reference.priors(list(adata.var_names))
    with pytest.raises(CellsError, match=r"not whole in cell2000 .*expression='linear'"):
        embed_cells(adata, own, weighting=weighting)
    if weighting == "contrast":
        with pytest.raises(CellsError, match="not whole in cell2000"):
            measure_background(adata)
    embed_cells(adata, own, weighting=weighting, expression="linear")
    assert (adata.obs["genetext_status"] == "ok").any()


def test_what_is_refused_was_not_copied_first(priors, x, monkeypatch):
    adata = reference.data(np.log1p(x))
    copies = []
    monkeypatch.setattr(type(adata), "copy", lambda self: copies.append(self))
    with pytest.raises(CellsError, match="no counts found"):
        embed_cells(adata, priors, copy=True, expression="counts")
    assert copies == []


def test_a_backed_copy_is_refused_before_any_work(tmp_path, priors, x):
    reference.data(x).write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    told = []
    with pytest.raises(CellsError, match="cannot copy a backed AnnData"):
        embed_cells(backed, priors, copy=True, progress=lambda *it: told.append(it))
    assert told == []
    backed.file.close()


def test_counts_where_log_data_are_expected(x, priors):
    with pytest.raises(CellsError, match=r"no log-normalised values found: X holds counts \(up to"):
        embed_cells(reference.data(x * 50), priors, expression="log")


def test_amounts_that_are_not_whole_need_a_word(x, priors):
    cpm = reference.data((x / np.maximum(x.sum(axis=1, keepdims=True), 1) * 1e6).astype(np.float32))
    with pytest.raises(CellsError, match="expression='linear'"):
        embed_cells(cpm, priors)
    np.testing.assert_allclose(
        embedded(cpm, priors, expression="linear"), embedded(reference.data(x), priors), rtol=1e-4, atol=1e-5
    )


def test_one_dense_row(priors, x):
    one = reference.data(x[:1], form=np.asarray)
    np.testing.assert_allclose(
        embedded(one, priors), reference.embed(x[:1], priors.vectors, priors.mask, "mean"), **CLOSE
    )


def test_no_cells_at_all(x, priors):
    none = reference.data(x[:0])
    out = embed_cells(none, priors, weighting="contrast", copy=True)
    assert out.obsm["X_genetext"].shape == (0, 6)


def test_duplicated_var_names_weigh_each_for_itself_and_are_reported(x, caplog):
    adata = reference.data(x)
    wanted = embedded(adata, reference.priors(list(adata.var_names)))
    names = list(adata.var_names)
    names[3] = names[4]
    with pytest.warns(UserWarning, match="not unique"):
        adata.var_names = names
        with caplog.at_level(logging.WARNING, "genetext"):
            out = embed_cells(adata, reference.priors(names), copy=True)
    assert out.uns["genetext"]["cells"]["n_duplicated"] == 2
    assert "2 columns share their var_names" in caplog.text
    assert np.array_equal(out.obsm["X_genetext"], wanted, equal_nan=True)


def test_priors_of_other_genes_are_refused(x, priors):
    adata = reference.data(x)
    order = np.arange(x.shape[1])[::-1]
    with pytest.raises(CellsError, match="another order"):
        embed_cells(adata, priors.take(order))
    with pytest.raises(CellsError, match="align"):
        embed_cells(adata, priors.take(slice(10)))


def test_nothing_to_average(x, priors):
    with pytest.raises(CellsError, match=r"none of the 30 genes has a vector in test \| without"):
        embed_cells(reference.data(x), priors.without())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weighting": "mode"}, "choose one of mean, top, contrast"),
        ({"weighting": "top"}, "needs top_n="),
        ({"top_n": 0}, "top_n is 0"),
        ({"expression": "tpm"}, "choose auto, counts, linear or log"),
        ({"layer": "spliced"}, "no layer 'spliced': there are none"),
        ({"target_sum": 0}, "target_sum is 0"),
        ({"target_sum": 1e-320}, "target_sum is 1e-320"),
        ({"target_sum": float("nan")}, "target_sum is nan"),
        ({"block_size": 0}, "block_size is 0"),
    ],
)
def test_options_that_make_no_sense(x, priors, options, words):
    with pytest.raises(CellsError, match=words):
        embed_cells(reference.data(x), priors, **options)


def test_progress_is_told_for_both_passes():
    x = reference.counts(TILE + 5, 8)
    told = []
    adata = reference.data(x)
    embed_cells(
        adata, reference.priors(list(adata.var_names)), weighting="contrast", progress=lambda *it: told.append(it)
    )
    assert told == [(stage, done, TILE + 5) for stage in ("background", "cells") for done in (TILE, TILE + 5)]


def test_obs_of_a_view(x, priors):
    adata = reference.data(x)
    out = embed_cells(adata[5:15], priors, copy=True)
    assert np.array_equal(out.obsm["X_genetext"], embedded(adata, priors)[5:15], equal_nan=True)
    assert isinstance(out.obs["genetext_share"], pd.Series)


def test_counts_are_taken_where_there_are_any_else_log_values(x, priors, caplog):
    logged = reference.data(np.log1p(x))
    with caplog.at_level(logging.INFO, "genetext"):
        out = embed_cells(logged, priors, copy=True)
    assert out.uns["genetext"]["cells"]["expression"] == "log"
    assert "expression: log-normalised values in X" in caplog.text
    logged.layers["counts"] = sparse.csr_matrix(x)
    out = embed_cells(logged, priors, copy=True)
    assert (out.uns["genetext"]["cells"]["expression"], out.uns["genetext"]["cells"]["matrix"]) == (
        "counts",
        "layers['counts']",
    )
    logged.layers["counts"] = sparse.csr_matrix(np.log1p(x))
    with pytest.raises(CellsError, match=r"layers\['counts'\] holds what looks like log-normalised.*no counts"):
        embed_cells(logged, priors)


def test_small_whole_numbers_are_counts_unless_the_caller_says_log(caplog):
    small = reference.counts(3000, 10) % 9
    adata = reference.data(small)
    known = reference.priors(list(adata.var_names))
    assert embed_cells(adata, known, copy=True).uns["genetext"]["cells"]["expression"] == "counts"
    with caplog.at_level(logging.WARNING, "genetext"):
        out = embed_cells(adata, known, copy=True, expression="log")
    assert out.uns["genetext"]["cells"]["expression"] == "log"
    assert "whole numbers alone, as counts are" in caplog.text
    small[2000, 3] = 1.5  # where no probe looks
    with pytest.raises(CellsError, match="not whole in cell2000"):
        embed_cells(reference.data(small), known)
