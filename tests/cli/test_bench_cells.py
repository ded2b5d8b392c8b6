"""`genetext bench cells` as a user runs it."""

import json
import shutil

import pytest

from genetext.cli import bench_cells
from tests.cellmodels.planted import faint_cells
from tests.cli.run import run_alone
from tests.priors.conftest import in_this_world, world  # noqa: F401

TINY = ["--models", "topic", "--seeds", 2, "--permutations", 2, "--m", "2,5", "--no-found-clusters", "-j", 1]
TINY += ["--set", "topic.n_topics=4", "--set", "topic.n_hidden=8", "--set", "topic.n_embedding=8"]
TINY += ["--set", "topic.epochs=1"]
PRIOR = ["--priors", "human/test", "--species", "human", "--post", "center"]


@pytest.fixture(autouse=True)
def own_scores(world, monkeypatch, tmp_path):  # noqa: F811
    """Keep the scores of a test to itself."""
    for name in ("indices", "snapshots"):
        (tmp_path / "cache").mkdir(exist_ok=True)
        (tmp_path / "cache" / name).symlink_to(world / name)
    monkeypatch.setenv("GENETEXT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def h5ad(tmp_path):
    adata = faint_cells(60, 50)
    adata.var_names = [f"EXTRA{i}" for i in range(50)]
    adata.write_h5ad(tmp_path / "in.h5ad")
    return tmp_path / "in.h5ad"


def run(*arguments):
    def register(app):
        bench_cells.register(app)
        app.command("other")(lambda: None)  # with one command alone Typer would leave its name out

    return run_alone(register, "cells", *arguments)


def plain(text):
    return " ".join(text.replace("│", " ").split())


def test_a_table_a_verdict_a_file_and_a_figure(tmp_path, h5ad):
    pytest.importorskip("matplotlib")
    tsv, figure = tmp_path / "scores.tsv", tmp_path / "curves.svg"
    asked = [h5ad, "--labels", "cell_type", *PRIOR, *TINY, "--groups", "donor", "-j", 2]  # aligned priors travel
    status, out, err = run(*asked, "--tsv", tsv, "--figure", figure)
    assert status == 0, err
    header, *rows = (line.split("\t") for line in out.splitlines())
    assert header == ["method", "control", "measure", "at", "mean", "sd", "low", "high"]
    assert {(row[0], row[1]) for row in rows} == {
        ("expression", "none"),
        *(("priors", control) for control in ("prior", "permuted", "random")),
        *(("topic", control) for control in ("prior", "permuted", "random", "none")),
    }
    assert "in.h5ad: 60 cells, 4 types of cell_type, each donor held out in turn; 2 seeds" in err
    assert "topic, labelling: macro-F1" in err
    assert "On these cells no benefit of the text is shown." in err
    assert tsv.read_text().startswith("method\tcontrol\tseed\tdraw\tmeasure\tat\tvalue\n")
    assert b"<svg" in figure.read_bytes()


def test_json_is_the_same_by_two_processes_and_the_second_time_costs_no_fit(tmp_path, h5ad):
    asked = [h5ad, "-l", "cell_type", *PRIOR, *TINY, "--json", "-q"]
    status, out, err = run(*asked)
    assert (status, err) == (0, "")
    shutil.rmtree(tmp_path / "cache" / "bench")
    assert run(*asked, "-j", 2) == (0, out, "")
    told = json.loads(out)
    assert told["protocol"]["m"] == [2, 5]
    assert told["models"]["topic"]["n_topics"] == 4
    assert {row["verdict"] for row in told["claims"]} <= {"not shown", "harms", "any vectors help"}
    status, again, err = run(*asked[:-1])
    assert again == out
    assert "16 of 16 embeddings were scored before" in err


def test_without_a_prior_models_are_measured_and_nothing_is_said_of_one(h5ad):
    status, out, err = run(h5ad, "-l", "cell_type", *TINY)
    assert status == 0, err
    assert {line.split("\t")[1] for line in out.splitlines()[1:]} == {"none"}
    assert "No prior was given: there is nothing to say about one." in err


def test_quick_takes_small_models_few_seeds_and_few_cells(h5ad):
    epoch = ["--models", "refinement", "--set", "refinement.epochs=1", "-j", 1]
    status, out, err = run(h5ad, "-l", "cell_type", "--quick", *epoch, "--json", "-q")
    assert status == 0, err
    told = json.loads(out)
    assert (told["protocol"]["seeds"], told["protocol"]["m"], told["quick"]) == (3, [1, 5, 20], True)
    assert told["models"]["refinement"]["n_hidden"] == 128
    assert told["models"]["refinement"]["epochs"] == 1
    assert {row["at"] for row in told["scores"]} == {"1", "5", "20", "K given"}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["none.h5ad", "-l", "cell_type"], 2, "is no file"),
        (["{in}"], 2, "--labels"),
        (["{in}", "-l", "cell_type", "--m", "1,few"], 2, "whole numbers with commas between"),
        (["{in}", "-l", "cell_type", "--models", "topics"], 2, "--models topics: choose contrastive"),
        (["{in}", "-l", "cell_type", "--models", ""], 2, "choose contrastive"),
        (["{in}", "-l", "cell_type", "--set", "n_topics=3"], 2, "MODEL.NAME=VALUE"),
        (["{in}", "-l", "cell_type", "--set", "topic.n_topic=3"], 2, "no hyper-parameter 'n_topic'"),
        (["{in}", "-l", "cell_type", "--set", "topic.lr=-3"], 2, "lr=-3: it has to be a number above 0"),
        (["{in}", "-l", "cell_type", "-j", "0"], 2, "--jobs 0"),
        (["{in}", "-l", "cell_type", "--post", "center"], 2, "name it with --priors"),
        (["{in}", "-l", "kind"], 1, "there is no column 'kind' in obs: there are cell_type, donor"),
        (["{in}", "-l", "cell_type", "-p", "human/none"], 1, "human/none"),
        (["{in}", "-l", "cell_type", "--m", "5,5"], 1, "each once"),
        (["{in}", "-l", "cell_type", "--figure", "x.gif"], 1, "tell the form of x.gif"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(tmp_path, h5ad, monkeypatch, arguments, status, words):
    monkeypatch.chdir(tmp_path)
    found, out, err = run(*(one.format(**{"in": h5ad}) for one in arguments))
    assert (found, out) == (status, "")
    assert words in plain(err)
    assert "Traceback" not in err
