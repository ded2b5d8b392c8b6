"""Dask: the same numbers on any scheduler, a cluster of processes included."""

import anndata
import dask
import dask.array as da
import h5py
import numpy as np
import pytest
from scipy import sparse

from genetext.cells import embed_cells, measure_background
from genetext.errors import CellsError
from tests.cells import reference

pytestmark = pytest.mark.filterwarnings("ignore:.*zarr:UserWarning")

N_CELLS, N_GENES = 130, 20
KINDS = [("mean", None), ("top", 5), ("contrast", None), ("zscore", None), ("tfidf", 4)]


@pytest.fixture
def x():
    x = reference.counts(N_CELLS, N_GENES, seed=8)
    x[70] = 0
    return x


@pytest.fixture
def priors():
    return reference.priors([f"GENE{j}" for j in range(N_GENES)], missing=[2, 3])


def lazy(x, *, chunks=(40, -1), form=sparse.csr_matrix):
    adata = reference.data(x)
    array = da.from_array(x, chunks=chunks)
    adata.X = array.map_blocks(form) if form is not np.asarray else array
    return adata


@pytest.mark.parametrize(("weighting", "top_n"), KINDS)
@pytest.mark.parametrize("form", [sparse.csr_matrix, np.asarray])
def test_same_numbers_as_in_memory(x, priors, weighting, top_n, form):
    memory, distant = reference.data(x), lazy(x, form=form)
    embed_cells(memory, priors, weighting=weighting, top_n=top_n)
    with dask.config.set(scheduler="threads"):
        embed_cells(distant, priors, weighting=weighting, top_n=top_n)
    got, wanted = distant.obsm["X_genetext"], memory.obsm["X_genetext"]
    if weighting in ("mean", "top"):
        assert np.array_equal(got, wanted, equal_nan=True)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    assert distant.obs.equals(memory.obs)


def test_blocks_in_both_directions(x, priors):
    memory, distant = reference.data(x), lazy(x, chunks=(50, 7))
    embed_cells(memory, priors)
    embed_cells(distant, priors)
    assert np.array_equal(distant.obsm["X_genetext"], memory.obsm["X_genetext"], equal_nan=True)


def test_left_lazy(x, priors):
    memory, distant = reference.data(x), lazy(x)
    embed_cells(memory, priors, weighting="contrast")
    embed_cells(distant, priors, weighting="contrast", compute=False)
    left = distant.obsm["X_genetext"]
    assert isinstance(left, da.Array)
    assert left.shape == (N_CELLS, 6)
    assert left.chunks == ((40, 40, 40, 10), (6,))
    assert "genetext_status" not in distant.obs
    np.testing.assert_allclose(left.compute(), memory.obsm["X_genetext"], rtol=1e-6, atol=1e-6)


def test_background(x):
    wanted, got = measure_background(reference.data(x)), measure_background(lazy(x))
    assert got.n_cells == wanted.n_cells == N_CELLS - 1
    np.testing.assert_allclose(got.mean, wanted.mean, rtol=1e-12)
    np.testing.assert_allclose(got.sd, wanted.sd, rtol=1e-9)
    assert np.array_equal(got.expressed, wanted.expressed)


def test_bad_values_name_their_rows(x, priors):
    x[129, 4] = -1
    x[100, 4] = np.nan
    with pytest.raises(CellsError, match="NaN"), dask.config.set(scheduler="synchronous"):
        embed_cells(lazy(x), priors)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_a_cluster_of_processes_reads_a_file_on_disk(tmp_path, x, priors):
    distributed = pytest.importorskip("distributed")
    memory = reference.data(x)
    path = tmp_path / "in.h5ad"
    memory.write_h5ad(path)
    with (
        h5py.File(path) as file,
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        distant = anndata.AnnData(
            X=anndata.experimental.read_elem_lazy(file["X"], chunks=(33, N_GENES)), obs=memory.obs, var=memory.var
        )
        for weighting, top_n in KINDS:
            embed_cells(memory, priors, weighting=weighting, top_n=top_n)
            embed_cells(distant, priors, weighting=weighting, top_n=top_n)
            got, wanted = distant.obsm["X_genetext"], memory.obsm["X_genetext"]
            np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
