"""Files of cells as others write, damage and misname them: one sentence, or the right result; never a crash."""

import gzip
import logging

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from cellmodels.data.inputs import read_cells
from genetext import anndata_io
from genetext.cell_formats import require
from genetext.cells import embed_cells, embed_file
from genetext.errors import CellsError, ResolveError
from genetext.names.columns import read as read_names
from tests.cells import reference

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

N_CELLS, N_GENES = 30, 12


def cells(form=sparse.csr_matrix):
    adata = reference.data(reference.counts(N_CELLS, N_GENES), form=form)
    adata.obs["t"] = pd.Categorical(["a", "b", "c"] * (N_CELLS // 3))
    adata.obs["number"] = np.arange(N_CELLS)
    adata.uns["title"] = "cells"
    return adata


def priors():
    return reference.priors([f"GENE{j}" for j in range(N_GENES)], missing=[1])


def replaced(group, name, values, **attributes):
    """Put other values into the place of a data set."""
    kept = dict(group[name].attrs)
    del group[name]
    made = group.create_dataset(name, data=values)
    made.attrs.update({**kept, **attributes})


# -- files that are right, though others wrote them -----------------------------------------------------------------


def fixed_bytes(file):
    file["obs"].attrs["column-order"] = np.array([b"t", b"number"])
    file["obs"].attrs["_index"] = np.bytes_(b"_index")
    file["var"].attrs["column-order"] = np.array([], "S1")
    for name in ("X", "obs", "var", "uns"):
        for attribute in ("encoding-type", "encoding-version"):
            file[name].attrs[attribute] = np.bytes_(file[name].attrs[attribute].encode())


def half(file):
    replaced(file["X"], "data", file["X/data"][:].astype("f2"))


def big_endian(file):
    for name, dtype in (("data", ">f4"), ("indices", ">i4"), ("indptr", ">i8")):
        replaced(file["X"], name, file[f"X/{name}"][:].astype(dtype))


def unknown_encoding(file):
    group = file.create_group("uns/future")
    group.attrs.update({"encoding-type": "of-tomorrow", "encoding-version": "9.0.0"})


def twice(file):
    """Store every entry in two halves, and the genes of a cell in falling order."""
    matrix = sparse.csr_matrix((file["X/data"][:], file["X/indices"][:], file["X/indptr"][:]))
    replaced(file["X"], "data", np.repeat(matrix.data, 2) / 2)
    replaced(file["X"], "indices", np.repeat(matrix.indices, 2))
    replaced(file["X"], "indptr", matrix.indptr * 2)


def as_booleans(file):
    replaced(file["X"], "data", file["X/data"][:] > 0)


RIGHT = [fixed_bytes, half, big_endian, unknown_encoding, twice]


@pytest.mark.parametrize("change", RIGHT)
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_what_others_write_gives_the_same_numbers_and_a_file_that_can_be_read(tmp_path, change, suffix, caplog):
    path = tmp_path / "in.h5ad"
    cells().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        change(file)
    expected = cells()
    embed_cells(expected, priors())
    done = embed_file(path, tmp_path / f"out{suffix}", priors())
    streamed = anndata_io.read(done.path)
    assert np.array_equal(streamed.obsm["X_genetext"], expected.obsm["X_genetext"], equal_nan=True)
    assert list(streamed.obs) == ["t", "number", "genetext_status", "genetext_share"]
    assert streamed.obs["t"].tolist() == expected.obs["t"].tolist()
    with caplog.at_level(logging.WARNING, "genetext"):
        in_memory = anndata_io.read(path)
    assert ("uns/future" in caplog.text) == (change is unknown_encoding)
    embed_cells(in_memory, priors())
    assert np.array_equal(in_memory.obsm["X_genetext"], expected.obsm["X_genetext"], equal_nan=True)
    assert np.array_equal(read_cells(in_memory, needs="counts").matrix.toarray(), expected.X.toarray())
    anndata_io.write(in_memory, tmp_path / "again.h5ad")
    assert anndata_io.read(tmp_path / "again.h5ad").uns["title"] == "cells"


@pytest.mark.parametrize("form", [sparse.csr_matrix, np.asarray])
def test_no_cells_at_all(tmp_path, form):
    cells(form)[:0].copy().write_h5ad(tmp_path / "none.h5ad")
    for output in ("out.h5ad", "out.zarr"):
        assert embed_file(tmp_path / "none.h5ad", tmp_path / output, priors()).n_cells == 0
    assert anndata_io.read(tmp_path / "out.h5ad").obsm["X_genetext"].shape == (0, 6)
    with pytest.raises(CellsError, match="0 cells and 12 genes"):
        read_cells(anndata_io.read(tmp_path / "none.h5ad"), needs="counts")


# -- files that are damaged -----------------------------------------------------------------------------------------


def put(name, place, value):
    def change(file):
        values = file[name][:]
        values[place] = value
        replaced(file[name].parent, name.rsplit("/", 1)[-1], values)

    change.__name__ = f"{name} {place} {value}"
    return change


def shape(n_cells, n_genes):
    def change(file):
        file["X"].attrs["shape"] = [n_cells, n_genes]

    change.__name__ = f"shape {n_cells} {n_genes}"
    return change


def dtype(kind):
    def change(file):
        replaced(file["X"], "data", np.arange(len(file["X/data"])).astype(kind))

    change.__name__ = f"X is {kind}"
    return change


def without(name, attribute=None):
    def change(file):
        if attribute is None:
            del file[name]
        else:
            del file[name].attrs[attribute]

    change.__name__ = f"without {name} {attribute}"
    return change


DAMAGED = [
    *(put("X/indptr", 1, 10**9), put("X/indptr", 0, 1), put("X/indptr", -1, 5), put("X/indptr", 3, -1)),
    *(put("X/indices", 3, 10**8), put("X/indices", 3, -1), put("X/indices", -1, N_GENES)),
    *(shape(N_CELLS, N_GENES - 1), shape(N_CELLS + 1, N_GENES), shape(10**12, 10**12), shape(-1, N_GENES)),
    *(dtype("c8"), dtype("S3")),
    *(without("obs", "_index"), without("var", "column-order"), without("obs/number"), without("var/_index")),
    *(without("X/indices"), without("X", "encoding-type"), without("X", "shape")),
]
IN_OBS = [put("obs/t/codes", 4, 100), put("obs/t/codes", 4, -7)]


@pytest.mark.parametrize("change", DAMAGED, ids=lambda change: change.__name__)
def test_a_damaged_file_is_one_error_streamed_and_in_memory(tmp_path, change):
    path = tmp_path / "in.h5ad"
    cells().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(CellsError, match=r"in\.h5ad|X (has|holds)"):
        embed_file(path, tmp_path / "out.h5ad", priors())
    assert [file.name for file in tmp_path.iterdir()] == ["in.h5ad"]
    with pytest.raises(CellsError, match=r"in\.h5ad|X (has|holds)"):
        read_cells(anndata_io.read(path), needs="counts")


@pytest.mark.parametrize("change", IN_OBS, ids=lambda change: change.__name__)
def test_codes_that_name_no_category(tmp_path, change):
    path = tmp_path / "in.h5ad"
    cells().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(CellsError, match=r"in\.h5ad"):
        anndata_io.read(path)
    with pytest.raises(CellsError, match=r"in\.h5ad"):
        embed_file(path, tmp_path / "out.h5ad", priors())


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize(("part", "place", "value"), [("indptr", 1, 10**9), ("indices", 3, 10**8), ("indices", 3, -1)])
def test_a_damaged_matrix_in_memory_is_refused_too(form, part, place, value):
    adata = cells(form)
    getattr(adata.X, part)[place] = value
    with pytest.raises(CellsError, match="X is a damaged sparse matrix"):
        embed_cells(adata, priors())
    with pytest.raises(CellsError, match="X is a damaged sparse matrix"):
        read_cells(adata, needs="counts")


NUMBERS = st.one_of(st.integers(-3, 40), st.sampled_from([2**31 - 1, -(2**31), 10**9, 10**6]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(st.sampled_from(["indptr", "indices", "data", "shape"]), st.integers(0, 10**6), NUMBERS),
        min_size=1,
        max_size=3,
    ),
    csc=st.booleans(),
)
def test_any_numbers_in_a_sparse_matrix_give_an_error_or_what_they_say(tmp_path, edits, csc):
    path = tmp_path / "in.h5ad"
    cells(sparse.csc_matrix if csc else sparse.csr_matrix).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name, place, value in edits:
            if name == "shape":
                given_shape = list(file["X"].attrs["shape"])
                given_shape[place % 2] = value
                file["X"].attrs["shape"] = given_shape
            else:
                file["X"][name][place % len(file["X"][name])] = value
        stored = {name: file["X"][name][:] for name in ("data", "indices", "indptr")}
        stored_shape = tuple(file["X"].attrs["shape"])
    try:
        streamed = embed_file(path, tmp_path / "out.h5ad", priors()).path
    except CellsError:
        with pytest.raises(CellsError):
            embed_cells(anndata_io.read(path), priors())
        return
    assert stored_shape == (N_CELLS, N_GENES)
    dense = np.zeros(stored_shape)
    for line, (start, stop) in enumerate(zip(stored["indptr"][:-1], stored["indptr"][1:], strict=True)):
        for entry in range(start, stop):
            other = stored["indices"][entry]
            dense[(other, line) if csc else (line, other)] += stored["data"][entry]
    expected = reference.embed(dense, priors().vectors, priors().mask, "mean")
    for adata in (anndata_io.read(streamed), anndata_io.read(path)):
        if "X_genetext" not in adata.obsm:
            embed_cells(adata, priors())
        np.testing.assert_allclose(adata.obsm["X_genetext"], expected, rtol=2e-5, atol=2e-5)


# -- files of another kind ------------------------------------------------------------------------------------------


def tenx(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("matrix/barcodes", data=[b"AAAC-1"])


def loom(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("matrix", data=[[1]])
        file.create_group("row_attrs")
        file.create_group("col_attrs")


def compressed(path):
    path.write_bytes(gzip.compress(b"anything"))


def old(path):
    with h5py.File(path, "w") as file:
        for name in ("obs", "var"):
            file[name] = np.rec.fromarrays([np.array([b"a", b"b"]), np.arange(2.0)], names=["index", "score"])


def market(path):
    path.write_text("%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 1\n")


OTHERS = [
    (tenx, "10x Genomics' Cell Ranger", "scanpy.read_10x_h5('in.h5ad')"),
    (loom, "loom file", "anndata.io.read_loom('in.h5ad')"),
    (compressed, "compressed with gzip", "gunzip --keep in.h5ad"),
    (old, "anndata before 0.7", "anndata.read_h5ad('in.h5ad').write_h5ad('in_new.h5ad')"),
    (market, "Matrix Market", "scanpy.read_10x_mtx("),
]


@pytest.mark.parametrize(("make", "kind", "line"), OTHERS)
def test_another_format_is_called_what_it_is_with_the_line_that_converts_it(tmp_path, make, kind, line):
    path = tmp_path / "in.h5ad"
    make(path)
    for read in (anndata_io.read, read_names, lambda path: embed_file(path, tmp_path / "out.h5ad", priors())):
        with pytest.raises(CellsError, match=kind) as caught:
            read(path)
        assert line in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.loom", "loom"),
        ("matrix.mtx.gz", "Matrix Market"),
        ("x.h5ad.gz", "gzip"),
        ("x.h5mu", "MuData"),
        ("x.rds", "R obj"),
    ],
)
def test_a_name_says_what_it_is(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(CellsError, match=kind):
        require(tmp_path / name)
    with pytest.raises(ResolveError, match=kind):
        read_names(tmp_path / name)
