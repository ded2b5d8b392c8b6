"""`genetext annotate` as a user runs it."""

import json

import anndata
import numpy as np
import pytest

from genetext.cli import annotate
from tests.cellmodels.annotation.test_annotate import PLACES, TYPES, in_this_world, index, make_cells  # noqa: F401
from tests.cli.run import run_alone


def run(*arguments: object) -> tuple[int, str, str]:
    return run_alone(annotate.register, *arguments)


@pytest.fixture
def files(tmp_path):
    cells = make_cells()
    cells.write_h5ad(tmp_path / "in.h5ad")
    (tmp_path / "types.txt").write_text("".join(f"{name}\t{text}\n" for name, text in TYPES.items()))
    return tmp_path / "in.h5ad", tmp_path / "types.txt", tmp_path / "out.h5ad"


def test_a_file_comes_out_and_its_path_is_alone_on_stdout(files):
    data, labels, output = files
    before = data.read_bytes()
    status, out, err = run(data, "--labels", labels, "-o", output, "--index", "human/lexical")
    assert status == 0, err
    assert out == f"{output}\n"
    assert "150 cells, in obs[annotation]" in err
    assert "60 retina  (EXTRA" in err
    got = anndata.read_h5ad(output)
    assert (got.obs["annotation"].astype(str) == got.obs["kind"].astype(str)).mean() > 0.95
    assert data.read_bytes() == before
    assert [path.name for path in output.parent.glob("out*")] == ["out.h5ad"]


def test_json_and_quiet(files):
    data, labels, output = files
    status, out, err = run(data, "-l", labels, "-o", output, "-i", "human/lexical", "--json", "-q", "--key-added", "t")
    assert (status, err) == (0, "")
    message = json.loads(out)
    assert list(message["counts"]) == list(PLACES)
    assert message["n_cells"] == sum(message["counts"].values()) + message["abstained"] == 150
    assert len(message["genes"]["retina"]) == 10
    assert "t_confidence" in anndata.read_h5ad(output).obs


def test_logits_need_no_index(files):
    data, labels, output = files
    cells = anndata.read_h5ad(data)
    cells.obsm["theirs"] = np.eye(3)[np.arange(150) % 3]
    cells.write_h5ad(data)
    status, _, err = run(data, "-l", labels, "-o", output, "--logits", "theirs", "--lam", "0", "-i", "human/absent")
    assert status == 0, err
    assert anndata.read_h5ad(output).obs["annotation"].astype(str).tolist() == [PLACES[i % 3] for i in range(150)]


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"data": "in.csv"}, 2, "is not .h5ad"),
        ({"data": "absent.h5ad"}, 2, "is no file"),
        ({"labels": "absent.txt"}, 2, "is no file"),
        ({"output": "out.csv"}, 2, "is not .h5ad"),
        ({"output": "in.h5ad"}, 2, "the input is never changed"),
        ({"output": "."}, 2, "is not .h5ad"),
        ({"more": ["--method", "guess"]}, 2, "choose markers, vectors"),
        ({"more": ["--min-confidence", "2"]}, 2, "min-confidence"),
        ({"more": ["-k", "400"]}, 1, "ask for fewer neighbours"),
        ({"more": ["-i", "human/absent"]}, 1, "human/absent"),
        ({"more": ["--ontology", "types.txt"]}, 1, "as JSON"),
    ],
)
def test_wrong_usage_is_told_before_work_and_leaves_no_file(files, monkeypatch, change, status, says):
    data, labels, output = files
    monkeypatch.chdir(data.parent)
    given = {"data": data, "labels": labels, "output": output} | change
    more = change.get("more", [])
    named = [] if "-i" in more else ["-i", "human/lexical"]
    got, out, err = run(given["data"], "-l", given["labels"], "-o", given["output"], *named, *more)
    assert (got, out) == (status, "")
    assert says in err
    assert not list(data.parent.glob("out*"))


def test_a_file_that_is_no_h5ad(files):
    data, labels, output = files
    data.write_text("no")
    status, _, err = run(data, "-l", labels, "-o", output, "-i", "human/lexical")
    assert status == 1
    assert "is no .h5ad file" in err
