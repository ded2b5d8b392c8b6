"""`genetext embed-cells` as a user runs it."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from genetext.cells import WEIGHTINGS
from genetext.cells import embed_cells as in_memory
from genetext.cli import embed_cells
from genetext.priors import GenePriors
from tests.cli.run import run_alone
from tests.priors.conftest import in_this_world, world  # noqa: F401

NAMES = ["TP53", "OPN4", "PAX6", "RHO", "GAPDH", "RP11-1A1.1"]


def run(*arguments: object) -> tuple[int, str, str]:
    return run_alone(embed_cells.register, *arguments)


@pytest.fixture
def adata():
    x = np.random.default_rng(0).poisson(2, (9, len(NAMES))).astype(np.float32)
    x[4] = 0
    return anndata.AnnData(sparse.csr_matrix(x), var=pd.DataFrame(index=NAMES))


@pytest.fixture
def h5ad(tmp_path, adata):
    path = tmp_path / "data.h5ad"
    adata.write_h5ad(path)
    return path


def test_a_file_comes_out_and_its_path_is_alone_on_stdout(tmp_path, h5ad, adata):
    made = tmp_path / "out.h5ad"
    status, out, err = run(h5ad, "-o", made, "--index", "human/test", "--species", "human", "-w", "contrast")
    assert status == 0, err
    assert out == f"{made}\n"
    assert "5 of 6 human genes (83.3 %) have a vector in human/test" in err
    assert "9 cells x 12 (1 empty: NaN) by contrast of X, in obsm[X_genetext]" in err
    got = anndata.read_h5ad(made)
    in_memory(adata, GenePriors.open("human/test").align(adata, species="human"), weighting="contrast")
    assert np.array_equal(got.obsm["X_genetext"], adata.obsm["X_genetext"], equal_nan=True)
    assert got.obs["genetext_status"].tolist() == adata.obs["genetext_status"].tolist()
    assert got.var["genetext_status"]["RP11-1A1.1"] == "unknown"


@pytest.mark.parametrize("control", ["permuted:1", "random:2"])
def test_transforms_and_controls_are_an_option_away(tmp_path, h5ad, adata, control):
    made = tmp_path / "out.h5ad"
    how = ("--index", "human/test", "--species", "human", "--post", "center,unit", "--control", control)
    status, _, err = run(h5ad, "-o", made, *how)
    assert status == 0, err
    name, seed = control.split(":")
    whole = GenePriors.open("human/test").transform("center,unit")
    in_memory(adata, getattr(whole, name)(int(seed)).align(adata, species="human"))
    got = anndata.read_h5ad(made)
    assert np.allclose(got.obsm["X_genetext"], adata.obsm["X_genetext"], equal_nan=True)
    assert name in json.dumps(got.uns["genetext"], default=str)
    status, _, err = run(h5ad, "-o", made, "--control", "shuffled:1")
    assert (status, "permuted:SEED or random:SEED" in err) == (2, True)


def test_names_made_unique_count_as_what_they_were(tmp_path, adata):
    adata.var_names = [*NAMES[:-1], "PAX6-1"]
    adata.write_h5ad(tmp_path / "data.h5ad")
    asked = (tmp_path / "data.h5ad", "-i", "human/test", "-s", "human", "--json", "-q", "-o", tmp_path / "out.h5ad")
    assert json.loads(run(*asked)[1])["cells"]["n_matched"] == 5
    assert json.loads(run(*asked, "--made-unique")[1])["cells"]["n_matched"] == 6


def test_names_as_r_writes_them_count_as_what_they_were(tmp_path, adata):
    adata.var_names = [*NAMES[:-1], "hsa.mir.21"]  # R's way to write hsa-mir-21
    adata.write_h5ad(tmp_path / "data.h5ad")
    made = tmp_path / "out.h5ad"
    asked = (tmp_path / "data.h5ad", "-i", "human/test", "-s", "human", "-q", "-o", made)
    assert run(*asked)[0] == 0
    assert anndata.read_h5ad(made).var["genetext_status"]["hsa.mir.21"] == "unknown"
    assert run(*asked, "--r-names")[0] == 0
    assert anndata.read_h5ad(made).var["genetext_id"]["hsa.mir.21"] == 406991


def test_json_and_quiet(tmp_path, h5ad):
    status, out, err = run(
        h5ad, "-o", tmp_path / "o.h5ad", "-i", "human/test", "-w", "top", "--top-n", 2, "--json", "-q"
    )
    told = json.loads(out)
    assert (status, err) == (0, "")
    assert (told["n_cells"], told["dim"]) == (9, 12)
    assert told["cells"]["top_n"] == 2
    assert told["cells"]["n_empty"] == 1
    assert told["genes"]["column"] == "var_names"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "out.csv"], "out.csv is not .h5ad or .zarr"),
        (["-o", "out.h5ad", "-w", "mode"], "choose mean, top, contrast"),
        (["-o", "out.h5ad", "-w", "top"], "needs --top-n"),
        (["-o", "out.h5ad", "--expression", "tpm"], "choose auto, counts, linear, log"),
        (["-o", "out.h5ad", "--top-n", "0"], "greater than or equal to 1"),
    ],
)
def test_wrong_usage_is_found_before_any_work(tmp_path, h5ad, arguments, words):
    given = [str(tmp_path / one) if one.startswith("out.") else one for one in arguments]
    status, out, err = run(h5ad, *given)
    assert (status, out) == (2, "")
    assert words in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "out.h5ad").exists()


@pytest.mark.parametrize("option", [["--top-n", str(10**20)], ["--key-added", "a/b"], ["--key-added", "_index"]])
def test_what_no_file_can_hold_is_one_sentence_before_any_work(tmp_path, h5ad, option):
    status, out, err = run(h5ad, "-o", tmp_path / "out.h5ad", "-i", "human/test", *option)
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["data.h5ad"]


def test_the_command_knows_every_weighting():
    assert set(embed_cells._WEIGHTINGS) == set(WEIGHTINGS)


def test_too_few_genes_and_log_data_are_exit_1_with_one_sentence(tmp_path, h5ad, adata):
    made = tmp_path / "out.h5ad"
    status, _, err = run(h5ad, "-o", made, "-i", "human/test", "-s", "human", "--min-match", "0.9")
    assert status == 1
    assert "Traceback" not in err
    adata.X = sparse.csr_matrix(np.log1p(adata.X.toarray()))
    adata.write_h5ad(tmp_path / "log.h5ad")
    asked = (tmp_path / "log.h5ad", "-o", made, "-i", "human/test", "-s", "human")
    status, _, err = run(*asked, "--expression", "counts")
    assert status == 1
    assert "no counts found: X holds what looks like log-normalised values" in err
    assert not made.exists()
    status, _, err = run(*asked)
    assert (status, "by mean of log values in X" in err) == (0, True)
