"""`genetext match` and `genetext priors` as a user runs them."""

import io
import json

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from genetext.cli import match
from genetext.priors import GenePriors
from tests.cli.run import run_alone
from tests.priors.conftest import in_this_world, world  # noqa: F401

NAMES = ["TP53", "OPN4", "SEPT2", "RP11-1A1.1", "AIM1"]


def run(*arguments: object) -> tuple[int, str, str]:
    return run_alone(match.register, *arguments)


@pytest.fixture
def h5ad(tmp_path):
    adata = anndata.AnnData(
        scipy.sparse.csr_matrix(np.arange(10, dtype=np.float32).reshape(2, 5)),
        var=pd.DataFrame({"gene_ids": ["ENSG00000141510", "x", "x", "x", "x"]}, index=NAMES),
        uns={"kept": "as it was"},
    )
    adata.varm["other"] = np.ones((5, 2))
    path = tmp_path / "data.h5ad"
    adata.write_h5ad(path)
    return path


def test_match_says_where_the_names_are_and_what_became_of_them(h5ad):
    status, out, err = run("match", h5ad, "--species", "human")
    assert status == 0, err
    assert "names from var_names (matched by other columns: var['gene_ids'] 1)" in out
    assert "5 names of human: 3 matched (60.0 %), 3 genes" in out
    assert "AIM1 (AURKB or SLC45A2)" in out


def test_match_json_is_alone_on_stdout(h5ad):
    status, out, err = run("match", h5ad, "--species", "human", "--json")
    told = json.loads(out)
    assert status == 0
    assert (told["column"], told["names"], told["matched"]) == ("var_names", 5, 3)
    assert "3 matched" in err
    assert run("match", h5ad, "--species", "human", "--json", "--quiet")[2] == ""


def test_match_tsv_has_a_line_for_each_name(h5ad):
    _, out, _ = run("match", h5ad, "--species", "human", "--tsv")
    frame = pd.read_csv(io.StringIO(out), sep="\t")
    assert frame["name"].tolist() == NAMES
    assert frame["status"].tolist() == ["symbol", "symbol", "synonym", "unknown", "ambiguous"]


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_match_reads_a_list_of_names_and_zarr(tmp_path, h5ad):
    text = tmp_path / "names.txt"
    text.write_text("TP53\tfirst\nOPN4\n\n")
    assert json.loads(run("match", text, "--json", "-s", "human")[1])["matched"] == 2
    zarr = tmp_path / "data.zarr"
    anndata.read_h5ad(h5ad).write_zarr(zarr)
    assert json.loads(run("match", zarr, "--json", "-s", "human")[1])["matched"] == 3


def test_too_few_matched_is_exit_1_and_the_report_comes_out(h5ad):
    status, out, err = run("match", h5ad, "--species", "human", "--min-match", "0.9", "--tsv")
    assert status == 1
    assert err.startswith("Error: 3 of 5 names have a gene, and at least 90%")
    assert len(out.splitlines()) == 6
    status, out, _ = run("match", h5ad, "--species", "human", "--min-match", "0.9", "--json")
    assert status == 1
    assert json.loads(out) == json.loads(run("match", h5ad, "--species", "human", "--json")[1])
    assert json.loads(out)["considered"] == {"var_names": 3, "var['gene_ids']": 1}
    assert run("match", h5ad, "--species", "human", "--min-match", "0.6")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["match", "absent.h5ad"], 1, "there is no absent.h5ad"),
        (["match", "{h5ad}", "--json", "--tsv"], 2, "--json and --tsv"),
        (["match", "{h5ad}", "--species", "hmuan"], 2, "did you mean human"),
        (["match", "{h5ad}", "--column", "ids"], 1, "no column 'ids'"),
        (["match", "{h5ad}", "--min-match", "50"], 2, "less than or equal to 1"),
        (["priors", "{h5ad}", "-o", "x.pkl"], 2, "cannot tell the form"),
        (["priors", "names.txt", "-o", "x.h5ad"], 2, "written from an .h5ad"),
        (["priors", "{h5ad}", "-o", "x.h5ad", "--control", "shuffled"], 2, "permuted:SEED"),
        (["priors", "{h5ad}", "-o", "x.h5ad", "--missing", "drop"], 2, "mask, zero, mean or error"),
        (["priors", "{h5ad}", "-o", "x.h5ad", "-i", "human/none"], 1, "no index 'human/none'"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_status(h5ad, arguments, status, message):
    found, out, err = run(*(argument.format(h5ad=h5ad) for argument in arguments))
    assert found == status
    assert message in " ".join(err.replace("│", " ").split())
    assert out == ""
    assert "Traceback" not in err


def test_a_file_that_is_no_anndata(tmp_path):
    path = tmp_path / "page.h5ad"
    path.write_text("<html>404</html>")
    status, _, err = run("match", path)
    assert status == 1
    assert "is no .h5ad file as anndata writes them" in err


def test_priors_into_a_copy_of_the_h5ad(h5ad, tmp_path):
    output = tmp_path / "out.h5ad"
    status, out, err = run(
        "priors", h5ad, "-i", "human/test", "-s", "human", "-o", output, "--post", "center", "--control", "random:3"
    )
    assert status == 0, err
    assert out.strip() == str(output)
    assert "3 of 5 human genes (60.0 %) have a vector in human/test" in err
    before, after = anndata.read_h5ad(h5ad), anndata.read_h5ad(output)
    expected = GenePriors.open("human/test").align(before, species="human").center().random(3)
    written = GenePriors.from_anndata(after)
    assert np.array_equal(written.vectors, expected.vectors)
    assert written.description == expected.description
    assert (after.X != before.X).nnz == 0
    assert after.uns["kept"] == "as it was"
    assert np.array_equal(after.varm["other"], before.varm["other"])
    assert after.var["gene_ids"].tolist() == before.var["gene_ids"].tolist()
    again, link = tmp_path / "again.h5ad", tmp_path / "link.h5ad"
    assert run("priors", output, "-i", "human/test", "-s", "human", "-o", again)[0] == 0
    assert GenePriors.from_anndata(anndata.read_h5ad(again)).control == ""
    link.symlink_to(output)
    for same in (output, link):
        status, _, err = run("priors", output, "-i", "human/test", "-s", "human", "-o", same)
        assert (status, "is the input" in " ".join(err.split())) == (2, True)


def test_an_h5ad_that_never_had_a_varm(h5ad, tmp_path):
    with h5py.File(h5ad, "r+") as file:
        del file["varm"]
    output = tmp_path / "out.h5ad"
    assert run("priors", h5ad, "-i", "human/test", "-s", "human", "-o", output)[0] == 0
    assert GenePriors.from_anndata(anndata.read_h5ad(output)).n_matched == 3


@pytest.mark.parametrize("suffix", ["safetensors", "parquet"])
def test_priors_into_files_with_the_report_as_json(h5ad, tmp_path, suffix):
    output = tmp_path / f"out.{suffix}"
    status, out, _ = run("priors", h5ad, "-i", "human/test", "-s", "human", "-o", output, "--json")
    told = json.loads(out)
    assert status == 0
    assert told["matched"] == 3
    assert {lost["name"]: lost["status"] for lost in told["unmatched"]} == {
        "AIM1": "ambiguous",
        "RP11-1A1.1": "unknown",
    }
    assert GenePriors.load(told["files"][0]).n_matched == 3
