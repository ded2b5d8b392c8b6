"""Every command that takes a file of cells, on files as others write, damage and misname them.

It works, or it is exit 1 with one sentence, and nothing is left.
"""

import shutil

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.io import write_elem
from scipy import sparse

from cellmodels import ContrastiveModel, Trainer
from genetext.cli import annotate, bench_cells, embed_cells, fit, match
from tests import test_anndata_io as odd
from tests.cellmodels.toy import cells
from tests.cli.run import run_alone
from tests.priors.conftest import in_this_world, world  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

INDEX = ["-i", "human/test", "-s", "human"]
SMALL = {"n_hidden": 8, "n_latent": 4, "epochs": 1}
SET = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
BENCH = ["--labels", "t", "--priors", "human/test", "--models", "topic", "--seeds", "1", "--permutations", "1"]


def bench(app):
    bench_cells.register(app)
    app.command("other")(lambda: None)  # with one command alone Typer would leave its name out


VERBS = {
    "match": (match.register, ["match", "in.h5ad"]),
    "priors": (match.register, ["priors", "in.h5ad", "-o", "out.h5ad", *INDEX]),
    "priors to parquet": (match.register, ["priors", "in.h5ad", "-o", "out.parquet", *INDEX]),
    "embed-cells": (embed_cells.register, ["in.h5ad", "-o", "out.h5ad", *INDEX]),
    "embed-cells to Zarr": (embed_cells.register, ["in.h5ad", "-o", "out.zarr", *INDEX]),
    "annotate": (annotate.register, ["in.h5ad", "-l", "types.txt", "-o", "out.h5ad", "--logits", "given", "-k", "3"]),
    "apply": (fit.register, ["apply", "model", "in.h5ad", "-o", "out.h5ad"]),
    "fit": (fit.register, ["fit", "contrastive", "in.h5ad", "-o", "out.h5ad", "--clusters", "2", *SET]),
    "bench cells": (bench, ["cells", "in.h5ad", *BENCH]),
}
READ_NO_MATRIX = ("match", "priors", "priors to parquet")


def dangling(file):
    del file["X"]
    file["X"] = h5py.SoftLink("/nowhere")


def latin(file):
    odd.replaced(file["obs"], "note", np.array([b"\xfc"] * odd.N_CELLS, h5py.string_dtype()))


def twice(file):
    odd.replaced(file["obs/t"], "categories", np.array(["a", "a", "c"], h5py.string_dtype()))


def short(file):
    file["obsm"].create_dataset("short", data=np.zeros((3, 2)))


def old_codes(file):
    """Store a column as anndata 0.7 did, with a code that names no category."""
    del file["obs/t"]
    categories = file.create_dataset("obs/__categories/t", data=np.array(["a", "b", "c"], h5py.string_dtype()))
    file["obs"].create_dataset("t", data=np.full(odd.N_CELLS, 9, "i1")).attrs["categories"] = categories.ref


def empty(file):
    del file["X"]
    file["X"] = h5py.Empty("f4")


def array_for_uns(file):
    del file["uns"]
    file["uns"] = np.zeros(3)


def layer_of_nothing(file):
    file.create_group("layers/nothing")


def codes_of_floats(file):
    odd.replaced(file["obs/t"], "codes", np.full(odd.N_CELLS, np.nan))


def circle(file):
    file["uns/circle"] = file["uns"]


def link_to_elsewhere(file):
    file["uns/x"] = h5py.ExternalLink("/etc/passwd", "/")


def graph_that_points_outside(file):
    write_elem(file["obsp"], "graph", sparse.eye(odd.N_CELLS, format="csr"))
    file["obsp/graph/indices"][3] = 10**8


def names_in_categories(file):
    names = pd.Categorical([f"EXTRA{gene}" for gene in range(odd.N_GENES)])
    del file["var/_index"]
    write_elem(file["var"], "_index", names)


def doubles(file):
    """Write positions and the shape as R does."""
    for name in ("indptr", "indices"):
        odd.replaced(file["X"], name, file["X"][name][:].astype("f8"))
    file["X"].attrs["shape"] = np.array([odd.N_CELLS, odd.N_GENES], float)


def record_of_another(file):
    write_elem(file["uns"], "genetext", {"cells": "mine", "priors": np.array([1, 2])})


OWN = [dangling, latin, twice, short, old_codes, empty, array_for_uns, layer_of_nothing, codes_of_floats, circle]
OWN += [link_to_elsewhere, graph_that_points_outside, names_in_categories]
RIGHT = {change.__name__: change for change in [*odd.RIGHT, record_of_another] if change is not odd.twice}
OTHERS = {make.__name__: make for make, _, _ in odd.OTHERS}
BROKEN = {change.__name__: change for change in [*odd.DAMAGED, *odd.IN_OBS, *OWN]}
BROKEN = {name: change for name, change in BROKEN.items() if "X/ind" not in name or "1" in name}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a file that is right, a model of it and names of types."""
    folder = tmp_path_factory.mktemp("odd")
    adata = cells(odd.N_CELLS, odd.N_GENES)
    adata.var_names = [*(f"EXTRA{gene}" for gene in range(odd.N_GENES - 1)), "PAX6"]
    adata.obs = pd.DataFrame(
        {"t": pd.Categorical(list("abc") * 10), "number": np.arange(odd.N_CELLS), "note": [f"n{i}" for i in range(30)]},
        index=adata.obs_names,
    )
    adata.obsm["given"] = np.random.default_rng(0).normal(size=(odd.N_CELLS, 2))
    ContrastiveModel(**SMALL).fit(adata, trainer=Trainer(device="cpu")).save(folder / "model")
    adata.uns["title"] = "cells"
    adata.strings_to_categoricals(adata.var)
    with h5py.File(folder / "in.h5ad", "w") as file:
        write_elem(file, "/", adata)
    adata[:0].copy().write_h5ad(folder / "none.h5ad")
    return folder


@pytest.fixture
def run(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "types.txt").write_text("retina\nliver\n")
    (tmp_path / "model").symlink_to(made / "model")

    def ran(verb):
        register, arguments = VERBS[verb]
        before = sorted(tmp_path.iterdir())
        status, _, err = run_alone(register, *arguments)
        if status:
            assert status == 1, err
            assert err.count("Error: ") == 1
            assert "Traceback" not in err
            assert sorted(tmp_path.iterdir()) == before
        elif (output := tmp_path / arguments[arguments.index("-o") + 1] if "-o" in arguments else None) is not None:
            assert output.exists()
            if output.suffix != ".parquet":
                {".h5ad": anndata.read_h5ad, ".zarr": anndata.read_zarr}[output.suffix](output)
        return status, err

    return ran


def changed(made, tmp_path, change):
    shutil.copy(made / "in.h5ad", tmp_path / "in.h5ad")
    with h5py.File(tmp_path / "in.h5ad", "r+") as file:
        change(file)


@pytest.mark.parametrize("change", RIGHT)
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "bench cells"])
def test_what_others_write_is_read(made, tmp_path, run, verb, change):
    changed(made, tmp_path, RIGHT[change])
    status, err = run(verb)
    assert status == 0, err


FEW = ("X/indices 3 -1", "without obs _index", "dangling", "X is c8", "old_codes")
COPY = ("priors", "embed-cells to Zarr")


@pytest.mark.parametrize(
    ("verb", "change"), [(verb, change) for verb in VERBS for change in (BROKEN if verb in COPY else FEW)]
)
def test_a_damaged_file_is_one_sentence(made, tmp_path, run, verb, change):
    changed(made, tmp_path, BROKEN[change])
    status, err = run(verb)
    assert status == 1 or verb in READ_NO_MATRIX
    assert "in.h5ad" in err or "X " in err or status == 0


def test_positions_that_r_wrote_as_doubles(made, tmp_path, run):
    changed(made, tmp_path, doubles)
    run("embed-cells to Zarr")
    shutil.copy(made / "in.h5ad", tmp_path / "in.h5ad")
    expected = tmp_path / "expected.zarr"
    (tmp_path / "out.zarr").rename(expected)
    run("embed-cells to Zarr")
    first, second = anndata.read_zarr(expected), anndata.read_zarr(tmp_path / "out.zarr")
    assert np.array_equal(first.obsm["X_genetext"], second.obsm["X_genetext"], equal_nan=True)


@pytest.mark.parametrize("make", OTHERS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_file_of_another_format_is_called_what_it_is(tmp_path, run, verb, make):
    OTHERS[make](tmp_path / "in.h5ad")
    status, err = run(verb)
    assert status == 1
    assert "convert it first" in err


@pytest.mark.parametrize("verb", VERBS)
def test_no_cells_at_all(made, tmp_path, run, verb):
    shutil.copy(made / "none.h5ad", tmp_path / "in.h5ad")
    run(verb)
