"""Files: streamed from disk to disk, with the numbers of memory, and nothing else changed."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata.tests.helpers import assert_equal
from scipy import sparse

from genetext import anndata_copy
from genetext.cells import Options, embed_cells, embed_file
from genetext.cells.product import TILE
from genetext.errors import CellsError, DiskError
from tests.cells import reference
from tests.small_disk import small_disk

pytestmark = [
    pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer be the default:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*zarr:UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

N_GENES = 25


def rich(*, n_cells=2 * TILE + 9, form=sparse.csr_matrix):
    """An AnnData with something in every drawer."""
    x = reference.counts(n_cells, N_GENES, seed=3)
    x[5] = 0
    adata = reference.data(x, form=form)
    rng = np.random.default_rng(0)
    adata.obs["batch"] = pd.Categorical(np.where(rng.random(n_cells) < 0.5, "a", "b"))
    adata.obs["score"] = rng.random(n_cells)
    adata.var["long_name"] = [f"name of gene {j}" for j in range(N_GENES)]
    adata.layers["log"] = sparse.csc_matrix(np.log1p(x))
    adata.layers["dense"] = np.log1p(x)
    adata.obsm["X_pca"] = rng.standard_normal((n_cells, 3))
    adata.obsm["frame"] = pd.DataFrame({"u": rng.random(n_cells)}, index=adata.obs_names)
    adata.obsp["links"] = sparse.random(n_cells, n_cells, 0.001, format="csr", random_state=0)
    adata.varm["loadings"] = rng.standard_normal((N_GENES, 3))
    adata.uns["title"] = "a title"
    adata.uns["nested"] = {"numbers": np.arange(3), "words": np.array(["x", "y"], object), "flag": True}
    adata.raw = adata[:, ::-1].copy()
    return adata


def write(adata, path):
    adata.write_zarr(path) if path.suffix == ".zarr" else adata.write_h5ad(path)
    return path


def read(path):
    return anndata.read_zarr(path) if path.suffix == ".zarr" else anndata.read_h5ad(path)


def fingerprint(path):
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(one): (one.read_bytes(), one.stat().st_mtime_ns) for one in found if one.is_file()}


@pytest.fixture
def priors():
    return reference.priors([f"GENE{j}" for j in range(N_GENES)], missing=[0, 7])


@pytest.mark.parametrize("source", [".h5ad", ".zarr"])
@pytest.mark.parametrize("output", [".h5ad", ".zarr"])
@pytest.mark.parametrize("weighting", ["mean", "zscore"])
def test_a_file_holds_what_memory_gives_and_all_it_held_before(tmp_path, priors, source, output, weighting):
    adata = rich()
    given = write(adata, tmp_path / f"in{source}")
    before = fingerprint(given)
    done = embed_file(given, tmp_path / f"out{output}", priors, Options(weighting=weighting), block_size=TILE)
    assert fingerprint(given) == before
    assert (done.n_cells, done.dim) == (adata.n_obs, 6)
    assert done.facts["n_empty"] == (adata.X.sum(axis=1) == 0).sum() > 0
    got = read(done.path)
    embed_cells(adata, priors, weighting=weighting)
    assert np.array_equal(got.obsm["X_genetext"], adata.obsm["X_genetext"], equal_nan=True)
    assert list(got.obs.columns) == ["batch", "score", "genetext_status", "genetext_share"]
    pd.testing.assert_series_equal(got.obs["genetext_status"], adata.obs["genetext_status"])
    assert got.var["genetext_id"].isna().sum() == 0
    assert (got.var["genetext_status"] == "unknown").sum() == 2
    assert got.uns["genetext"]["cells"]["weighting"] == weighting
    assert got.uns["genetext"]["priors"]["n_matched"] == N_GENES - 2

    del got.obsm["X_genetext"], adata.obsm["X_genetext"]
    del got.uns["genetext"], adata.uns["genetext"]
    got.obs = got.obs[["batch", "score"]]
    adata.obs = adata.obs[["batch", "score"]]
    got.var = got.var[["long_name"]]
    assert_equal(got, adata)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({given.name, done.path.name})


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize("weighting", ["mean", "contrast"])
def test_every_form_on_disk_gives_the_same_bits(tmp_path, priors, form, suffix, weighting):
    adata = rich(form=form)
    given = write(adata, tmp_path / f"in{suffix}")
    embed_cells(adata, priors, weighting=weighting)
    got = read(embed_file(given, tmp_path / f"out{suffix}", priors, Options(weighting=weighting)).path)
    assert np.array_equal(got.obsm["X_genetext"], adata.obsm["X_genetext"], equal_nan=True)


@pytest.mark.parametrize("layer", ["log", "dense"])
def test_layers_on_disk(tmp_path, priors, layer):
    adata = rich()
    given = write(adata, tmp_path / "in.h5ad")
    got = read(embed_file(given, tmp_path / "out.h5ad", priors, Options(layer=layer, expression="log")).path)
    embed_cells(adata, priors, layer=layer, expression="log")
    assert np.array_equal(got.obsm["X_genetext"], adata.obsm["X_genetext"], equal_nan=True)


def test_backed_anndata_in_memory_and_raw(tmp_path, priors):
    adata = rich()
    adata.X = np.log1p(adata.X)  # counts are in .raw alone, its genes in another order
    given = write(adata, tmp_path / "in.h5ad")
    embed_cells(adata, priors, weighting="tfidf")
    assert adata.uns["genetext"]["cells"]["matrix"] == "raw.X"
    backed = anndata.read_h5ad(given, backed="r")
    before = fingerprint(given)
    embed_cells(backed, priors, weighting="tfidf", block_size=TILE)
    backed.file.close()
    assert fingerprint(given) == before
    assert np.array_equal(backed.obsm["X_genetext"], adata.obsm["X_genetext"], equal_nan=True)
    done = embed_file(given, tmp_path / "out.zarr", priors, Options(weighting="tfidf"))
    assert np.array_equal(read(done.path).obsm["X_genetext"], adata.obsm["X_genetext"], equal_nan=True)


def test_a_second_run_on_its_own_output_replaces_what_the_first_wrote(tmp_path, priors):
    given = write(rich(), tmp_path / "in.h5ad")
    first = embed_file(given, tmp_path / "first.h5ad", priors).path
    second = embed_file(first, tmp_path / "second.h5ad", priors.pca(2), Options(weighting="contrast")).path
    got = read(second)
    assert got.obsm["X_genetext"].shape[1] == 2
    assert list(got.obs.columns).count("genetext_status") == 1
    assert got.uns["genetext"]["cells"]["weighting"] == "contrast"
    third = embed_file(second, tmp_path / "third.h5ad", priors, key_added="control").path
    assert {"X_genetext", "X_control", "X_pca"} <= set(read(third).obsm)


def test_a_failure_half_way_leaves_neither_output_nor_leftovers(tmp_path, priors):
    late = reference.counts(3000, N_GENES)
    late[1000, 3] = np.nan  # where no probe looks
    adata = reference.data(late)
    given = write(adata, tmp_path / "in.h5ad")
    kept = tmp_path / "out.h5ad"
    kept.write_text("what was there before")
    with pytest.raises(CellsError, match=r"NaN .*cell1000"):
        embed_file(given, kept, priors)
    assert kept.read_text() == "what was there before"
    with pytest.raises(CellsError, match="NaN"):
        embed_file(given, tmp_path / "out.zarr", priors)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5ad", "out.h5ad"]


def test_consolidated_zarr_shows_what_is_new(tmp_path, priors):
    given = write(rich(), tmp_path / "in.zarr")
    zarr.consolidate_metadata(given)
    done = embed_file(given, tmp_path / "out.zarr", priors)
    assert "X_genetext" in read(done.path).obsm
    assert "X_genetext" in zarr.open_consolidated(done.path)["obsm"]


def test_wrong_paths(tmp_path, priors):
    given = write(rich(), tmp_path / "in.h5ad")
    with pytest.raises(CellsError, match=r"is not \.h5ad or \.zarr"):
        embed_file(given, tmp_path / "out.csv", priors)
    with pytest.raises(CellsError, match="the input is never changed"):
        embed_file(given, given, priors)
    with pytest.raises(CellsError, match="there is no"):
        embed_file(tmp_path / "none.h5ad", tmp_path / "out.h5ad", priors)
    (tmp_path / "text.h5ad").write_text("no HDF5")
    with pytest.raises(CellsError, match="is no .h5ad file"):
        embed_file(tmp_path / "text.h5ad", tmp_path / "out.h5ad", priors)
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file.create_dataset("matrix", data=[1, 2])
    with pytest.raises(CellsError, match=r"no AnnData file: it holds \['matrix'\]"):
        embed_file(tmp_path / "other.h5ad", tmp_path / "out.h5ad", priors)
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(CellsError, match="as a store of AnnData it is none"):
        embed_file(given, tmp_path / "mine.zarr", priors)
    for name in ("obs", "var"):
        (tmp_path / "mine.zarr" / name).mkdir()
    with pytest.raises(CellsError, match=r"it holds thesis.txt, which are no parts of one"):
        embed_file(given, tmp_path / "mine.zarr", priors)
    assert (tmp_path / "mine.zarr" / "thesis.txt").exists()


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_work_on_a_full_disk_ends_at_the_first_refusal(tmp_path, suffix):
    adata = reference.data(reference.counts(20_000, N_GENES, seed=3, density=0.1))
    given, steps = write(adata, tmp_path / f"in{suffix}"), []
    wide = reference.priors(list(adata.var_names), dim=256)
    with small_disk(tmp_path / "small", kilobytes=2_200) as folder:
        with pytest.raises(DiskError, match="no space is left"):
            embed_file(given, folder / "out.h5ad", wide, progress=lambda *step: steps.append(step))
        assert list(folder.iterdir()) == []
    assert 0 < steps[-1][1] < steps[-1][2]


def test_progress_tells_bytes_and_cells(tmp_path, priors):
    given = write(rich(), tmp_path / "in.h5ad")
    told = {}
    options = Options(weighting="contrast")
    embed_file(given, tmp_path / "out.h5ad", priors, options, progress=lambda *step: told.update({step[0]: step}))
    n_cells = 2 * TILE + 9
    assert told == {
        "copy": ("copy", given.stat().st_size, given.stat().st_size),
        "background": ("background", n_cells, n_cells),
        "cells": ("cells", n_cells, n_cells),
    }


def test_conversion_slices_large_arrays(tmp_path, monkeypatch, priors):
    monkeypatch.setattr(anndata_copy, "SLICE", 100)
    monkeypatch.setattr(anndata_copy, "STRINGS", 7)
    adata = many_columns(rich(n_cells=60))
    there = embed_file(write(adata, tmp_path / "in.h5ad"), tmp_path / "out.zarr", priors).path
    back = embed_file(there, tmp_path / "back.h5ad", priors).path
    for path in (there, back):
        got = read(path)
        del got.obsm["X_genetext"], got.uns["genetext"]
        got.obs, got.var = got.obs[adata.obs.columns], got.var[adata.var.columns]
        assert_equal(got, read(tmp_path / "in.h5ad"))


def many_columns(adata):
    """Give `obs` a column of each kind."""
    n = adata.n_obs
    adata.obs["text"] = [f"cell {i} \u03b2" * (i % 3) for i in range(n)]
    adata.obs["ordered"] = pd.Categorical(["low", "high"] * (n // 2), categories=["low", "high"], ordered=True)
    adata.obs["missing"] = pd.Categorical([None, "x"] * (n // 2))
    adata.obs["maybe"] = pd.array([1, None] * (n // 2), dtype="Int64")
    adata.obs["perhaps"] = pd.array([True, None] * (n // 2), dtype="boolean")
    adata.obs["flag"] = [True, False] * (n // 2)
    return adata


@pytest.mark.parametrize("source", [".h5ad", ".zarr"])
def test_no_column_is_read_whole_between_formats(tmp_path, monkeypatch, priors, source):
    """A frame of a million cells is as large as the memory that streaming saves."""
    import anndata.io

    given = write(many_columns(rich(n_cells=60)), tmp_path / f"in{source}")
    read_whole = []
    original = anndata.io.read_elem
    monkeypatch.setattr(anndata.io, "read_elem", lambda one: read_whole.append(one.name) or original(one))
    embed_file(given, tmp_path / ("out.zarr" if source == ".h5ad" else "out.h5ad"), priors)
    assert "/var" in read_whole  # what is needed
    assert [name for name in read_whole if name.startswith(("/obs", "/layers", "/X"))] == []


@pytest.mark.parametrize("source", [".h5ad", ".zarr"])
@pytest.mark.parametrize("output", [".h5ad", ".zarr"])
def test_the_copy_is_told_between_all_formats(tmp_path, priors, source, output):
    given = write(many_columns(rich(n_cells=60)), tmp_path / f"in{source}")
    told = []
    embed_file(given, tmp_path / f"out{output}", priors, progress=lambda *it: told.append(it))
    copies = [(done, total) for stage, done, total in told if stage == "copy"]
    assert copies == sorted(copies)
    assert copies[-1][0] == copies[-1][1] > 0
    assert len({total for _, total in copies}) == 1


@pytest.mark.parametrize("output", ["out.h5ad", "out.zarr"])
def test_a_file_of_old_anndata_is_refused_with_what_to_do(tmp_path, priors, output):
    given = write(rich(n_cells=60), tmp_path / "old.h5ad")
    with h5py.File(given, "r+") as file:
        names = np.array([f"cell{i}".encode() for i in range(60)])
        del file["obs"]
        file["obs"] = np.rec.fromarrays([names, np.arange(60.0)], names=["index", "score"])
    with pytest.raises(CellsError, match=r"before 0.7.*read_h5ad\('old.h5ad'\).write_h5ad"):
        embed_file(given, tmp_path / output, priors)
    assert not (tmp_path / output).exists()
