"""`genetext fit` and `genetext apply` as a user runs them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pytest
import typer

from cellmodels import ContrastiveModel, TopicModel, load_model
from genetext import anndata_io, cache, locks
from genetext.cli import fit
from genetext.priors import GenePriors
from tests.cellmodels.toy import cells
from tests.cli.run import run_alone
from tests.factory import HUMAN
from tests.priors.conftest import in_this_world, world  # noqa: F401

ROOT = Path(__file__).parents[2]
QUICK = {
    "contrastive": ["--set", "n_hidden=8", "--set", "n_latent=4", "--epochs", 2],
    "topic": ["--set", "n_topics=4", "--set", "n_hidden=8", "--set", "n_embedding=8", "--epochs", 2],
    "refinement": ["--set", "n_hidden=8", "--set", "n_latent=4", "--set", "n_gene_features=8", "--epochs", 2],
}
PRIOR = ["--priors", "human/test", "--species", "human"]


def run(*arguments: object) -> tuple[int, str, str]:
    return run_alone(fit.register, *arguments)


def plain(text):
    return " ".join(text.replace("│", " ").split())


@pytest.fixture
def h5ad(tmp_path):
    adata = cells(80, 40)
    adata.var_names = [f"EXTRA{i}" for i in range(38)] + ["PAX6", "RP11-1A1.1"]
    adata.write_h5ad(tmp_path / "in.h5ad")
    return tmp_path / "in.h5ad"


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("prior", [True, False])
def test_a_file_and_a_model_come_out(tmp_path, h5ad, name, prior):
    before = h5ad.read_bytes()
    out = tmp_path / "out.h5ad"
    status, printed, err = run("fit", name, h5ad, "-o", out, *(PRIOR if prior else []), *QUICK[name], "--clusters", 3)
    assert status == 0, err
    assert printed == f"{out}\n"
    assert ("39 of 40 human genes (97.5 %) have a vector in human/test" in err) is prior
    assert f"80 cells in obsm[X_{name}], 3 clusters (kmeans) in obs[{name}_cluster], the model in " in err
    got, model = anndata.read_h5ad(out), load_model(tmp_path / f"out.{name}")
    assert np.allclose(got.obsm[f"X_{name}"], model.embed(got), atol=1e-6)
    assert got.obs[f"{name}_cluster"].nunique() == 3
    facts = got.uns["genetext"][name]
    assert (facts["epoch"], facts["selection"], facts["stopped"]) == (2, "last", "epochs")
    assert facts["priors"].split(" | ")[0] == ("human/test" if prior else "none")
    assert facts["clusters"]["n_clusters"] == 3
    assert not facts["clusters"]["estimated"]
    assert h5ad.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("out")} == {"out.h5ad", f"out.{name}"}


def test_a_few_cells_are_fitted_and_grouped_too(tmp_path):
    cells(12, 40).write_h5ad(tmp_path / "few.h5ad")
    out = tmp_path / "out.h5ad"
    status, _, err = run("fit", "contrastive", tmp_path / "few.h5ad", "-o", out, *QUICK["contrastive"])
    assert status == 0, err
    assert len(anndata.read_h5ad(out).obs["contrastive_cluster"]) == 12


def test_more_clusters_than_cells_are_refused_before_the_fit(tmp_path, h5ad):
    status, _, err = run("fit", "topic", h5ad, "-o", tmp_path / "out.h5ad", *QUICK["topic"], "--clusters", 81)
    assert status == 1
    assert "--clusters 81 for 80 cells" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5ad"]


def test_the_command_does_what_the_class_does(tmp_path, h5ad):
    out = tmp_path / "out.h5ad"
    how = ["--seed", 3, "--n-genes", 30, "--batch-size", 20, "--set", "lr=0.01", "--set", "lr_step=none"]
    how += ["--post", "center,unit", "--control", "permuted:5", "--set", "held-out=0.2", "--selection", "loss"]
    status, _, err = run("fit", "topic", h5ad, "-o", out, *PRIOR, *QUICK["topic"], *how, "--model", tmp_path / "m")
    assert status == 0, err
    adata = anndata.read_h5ad(h5ad)
    priors = GenePriors.open("human/test").transform("center,unit").permuted(5).align(adata, species="human")
    small = {"n_topics": 4, "n_hidden": 8, "n_embedding": 8, "epochs": 2, "seed": 3, "n_genes": 30, "batch_size": 20}
    model = TopicModel(**small, lr=0.01, lr_step=None, held_out=0.2, selection="loss").fit(adata, priors)
    there = load_model(tmp_path / "m")
    assert there.config == model.config
    assert np.array_equal(anndata.read_h5ad(out).obsm["X_topic"], model.embed(adata))
    assert there.facts["control"] == "permuted(seed=5)"


def test_no_prior_as_a_control_keeps_the_genes_known(tmp_path, h5ad):
    out = tmp_path / "out.h5ad"
    status, _, err = run("fit", "topic", h5ad, "-o", out, *PRIOR, "--control", "none", *QUICK["topic"])
    assert status == 0, err
    model = load_model(tmp_path / "out.topic")
    assert (model.facts["control"], model.facts["n_with_prior"]) == ("without", 0)
    assert model.genes.gene_ids.any()


def test_labels_are_learned_and_given_to_other_cells_under_other_names(tmp_path, h5ad):
    out = tmp_path / "out.h5ad"
    asked = [*PRIOR, *QUICK["contrastive"], "--labels", "group", "--epochs", 20, "--json", "-q"]
    status, printed, err = run("fit", "contrastive", h5ad, "-o", out, *asked)
    assert (status, err) == (0, "")
    told = json.loads(printed)
    assert told["clusters"]["estimated"] is True
    assert told["facts"]["n_labelled"] == 80
    assert told["genes"]["column"] == "var_names"
    ensembl = {gene[1]: gene[3] for gene in HUMAN}
    other = cells(30, 40, seed=9)
    other.var_names = [*(f"EXTRA{i}" for i in range(38)), ensembl["PAX6"], "RP11-1A1.1"]
    other.write_h5ad(tmp_path / "other.h5ad")
    made = tmp_path / "labelled.h5ad"
    status, printed, err = run("apply", tmp_path / "out.contrastive", tmp_path / "other.h5ad", "-o", made)
    assert status == 0, err
    assert printed == f"{made}\n"
    assert "by NCBI GeneID" in err
    got = anndata.read_h5ad(made)
    assert (got.obs["contrastive_label"].astype(str) == got.obs["group"].astype(str)).mean() > 0.9
    assert got.obs["contrastive_confidence"].between(0, 1).all()
    model = ContrastiveModel.load(tmp_path / "out.contrastive")
    assert np.array_equal(got.obsm["X_contrastive"], model.embed(other))
    asked = [tmp_path / "out.contrastive", tmp_path / "other.h5ad", "-o", made, "--min-confidence", 1, "--json", "-q"]
    told = json.loads(run("apply", *asked)[1])
    assert told["n_without"] + sum(told["labels"].values()) == 30


def test_genes_that_other_data_lack_are_refused_or_zeros(tmp_path, h5ad):
    out = tmp_path / "out.h5ad"
    assert run("fit", "topic", h5ad, "-o", out, *QUICK["topic"], "-k", 2)[0] == 0
    part = anndata.read_h5ad(h5ad)[:, 4:].copy()
    part.write_h5ad(tmp_path / "part.h5ad")
    asked = ["apply", tmp_path / "out.topic", tmp_path / "part.h5ad", "-o", tmp_path / "made.h5ad"]
    status, _, err = run(*asked)
    assert status == 1
    assert "the data lack 4 of the 40 genes" in err
    assert not (tmp_path / "made.h5ad").exists()
    status, _, err = run(*asked, "--min-covered", 0.9, "--key-added", "mine")
    assert status == 0, err
    assert "36 of the model's 40 genes found by var_names; absent: EXTRA0" in err
    got = anndata.read_h5ad(tmp_path / "made.h5ad")
    assert got.obsm["X_mine"].shape == (80, 4)
    assert got.uns["genetext"]["mine"]["n_genes_found"] == 36


def test_oracle_labels_are_said_to_have_chosen(tmp_path, h5ad):
    out = tmp_path / "out.h5ad"
    oracle = ["--selection", "oracle", "--oracle-labels", "group"]
    status, _, err = run("fit", "topic", h5ad, "-o", out, *QUICK["topic"], *oracle, "-k", 2)
    assert status == 0, err
    assert "oracle: true labels chose the epoch" in err
    assert "oracle" in anndata.read_h5ad(out).uns["genetext"]["topic"]["selection"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["topic"], "give the data (.h5ad) and --output"),
        (["topic", "{in}"], "give the data (.h5ad) and --output"),
        (["topic", "{in}", "-o", "out.csv"], "output out.csv is not .h5ad"),
        (["topic", "none.h5ad", "-o", "out.h5ad"], "none.h5ad is no file"),
        (["topic", "{in}", "-o", "{in}"], "the input is never changed, name another output"),
        (
            ["topic", "{in}", "-o", "out.h5ad", "--set", "n_topic=3"],
            "no hyper-parameter 'n_topic': there are ba",
        ),
        (
            ["topic", "{in}", "-o", "out.h5ad", "--set", "n_topics=few"],
            "n_topics=few: it has to be a whole number of at least 2",
        ),
        (["topic", "{in}", "-o", "out.h5ad", "--set", "n_topics"], "no name=value"),
        (["topic", "{in}", "-o", "out.h5ad", "--set", "lr=1", "--set", "lr=2"], "lr is given twice"),
        (["topic", "{in}", "-o", "out.h5ad", "--set", "seed=1"], "seed has an option of its own"),
        (["topic", "{in}", "-o", "out.h5ad", "--set", "lr=-1"], "lr=-1: it has to be a number above 0"),
        (["topic", "{in}", "-o", "out.h5ad", "--preset", "best"], "no preset 'best': it has paper"),
        (["topic", "{in}", "-o", "out.h5ad", "--labels", "group"], "No such option: --labels"),
        (["contrastive", "{in}", "-o", "out.h5ad", "--view", "X_pca"], "No such option: --view"),
        (["topic", "{in}", "-o", "out.h5ad", "--selection", "best"], "choose last, loss, oracle"),
        (["topic", "{in}", "-o", "out.h5ad", "--selection", "oracle"], "go together"),
        (["topic", "{in}", "-o", "out.h5ad", "--control", "permuted:1"], "name it with --priors"),
        (["topic", "{in}", "-o", "out.h5ad", *PRIOR, "--control", "odd"], "permuted:SEED or random:SEED"),
        (["topic", "{in}", "-o", "out.h5ad", "--epochs", "0"], "--epochs"),
        (["topic", "{in}", "-o", "out.h5ad", "--model", "out.h5ad"], "--output and --model are both"),
        (["topic", "{in}", "-o", "out.h5ad", "--checkpoints", "{in}"], "the input and --checkpoints are both"),
        (["contrastive", "{in}", "-o", "out.h5ad", "--labels", ""], "--labels: give a value, or leave it out"),
    ],
)
def test_wrong_usage_is_found_before_any_work(tmp_path, h5ad, monkeypatch, arguments, words):
    monkeypatch.setattr(anndata_io, "read", lambda path: pytest.fail("work had begun"))
    monkeypatch.chdir(tmp_path)
    status, out, err = run("fit", *(one.format(**{"in": h5ad}) for one in arguments))
    assert (status, out) == (2, "")
    assert words in plain(err)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "human/none"], "human/none"),
        (["--labels", "kind"], "no column of obs"),
        ([*PRIOR, "--min-match", "1"], "97.5 %"),
        (["--set", "form=prior"], "averages gene vectors, and there are none"),
        (["--device", "abacus"], "cannot train on device='abacus'"),
    ],
)
def test_what_fails_later_says_so_in_one_sentence_and_leaves_nothing(tmp_path, h5ad, arguments, words):
    status, out, err = run("fit", "contrastive", h5ad, "-o", tmp_path / "out.h5ad", *QUICK["contrastive"], *arguments)
    assert (status, out) == (1, "")
    assert words in plain(err)
    assert "Traceback" not in err
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "taken"], "taken is there already and is no genetext-cellmodel"),
        (["--checkpoints", "taken"], "taken is there already and is no genetext-checkpoint"),
        (["--checkpoints", "note.txt"], "note.txt is a file: name a folder"),
        (["--device", "abacus"], "cannot train on device='abacus'"),
        (["--precision", "8"], "precision='8'"),
    ],
)
def test_what_stands_in_the_way_is_refused_before_any_work(tmp_path, h5ad, monkeypatch, arguments, words):
    monkeypatch.setattr(anndata_io, "read", lambda path: pytest.fail("work had begun"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "taken" / "mine.txt", tmp_path / "note.txt"):
        path.write_text("mine")
    status, out, err = run("fit", "topic", h5ad, "-o", "out.h5ad", *QUICK["topic"], *arguments)
    assert (status, out) == (1, "")
    assert words in plain(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5ad", "note.txt", "taken"]


def test_a_fit_that_fails_before_it_begins_leaves_no_folder(tmp_path, h5ad):
    status, _, err = run("fit", "topic", h5ad, "-o", tmp_path / "new" / "x.h5ad", "-p", "human/none", *QUICK["topic"])
    assert (status, "human/none" in err) == (1, True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none", "{in}", "-o", "out.h5ad"], "none is no folder"),
        ([".", "{in}", "-o", "{in}"], "the input is never changed"),
        ([".", "{in}", "-o", "out.h5ad", "--min-covered", "0"], "give a share above 0"),
    ],
)
def test_wrong_usage_of_apply(tmp_path, h5ad, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, _, err = run("apply", *(one.format(**{"in": h5ad}) for one in arguments))
    assert (status, words in plain(err)) == (2, True)
    status, _, err = run("apply", tmp_path, h5ad, "-o", tmp_path / "out.h5ad")
    assert status == 1
    assert "is not a genetext-cellmodel" in err


@pytest.mark.parametrize("name", QUICK)
def test_hyper_parameters_are_listed_with_defaults_and_presets(name):
    status, out, _ = run("fit", name, "--show-config")
    assert status == 0
    header, *rows = (line.split("\t") for line in out.splitlines())
    assert header[:3] == ["name", "type", "default"]
    assert "paper" in header
    shown = {row[0]: row[2] for row in rows}
    told = json.loads(run("fit", name, "--show-config", "--json")[1])
    assert set(shown) == set(told["default"])
    assert told["default"]["epochs"] == int(shown["epochs"])


def test_a_run_that_was_stopped_says_how_to_go_on(tmp_path, h5ad, monkeypatch):
    out = tmp_path / "out.h5ad"
    asked = ["fit", "topic", h5ad, "-o", out, *QUICK["topic"], "--epochs", 25, "-k", 2]

    def stop(self, name, done, total):
        if done == 12:
            raise KeyboardInterrupt

    class Progress:
        def __enter__(self):
            return lambda *what: stop(self, *what)

        def __exit__(self, *error):
            return None

    with monkeypatch.context() as patch:
        patch.setattr(fit.console, "progress", lambda *, quiet: Progress())
        status, printed, err = run(*asked)
    assert (status, printed) == (130, "")
    assert f"The epochs up to the last checkpoint are in {tmp_path / 'out.topic.checkpoint'}" in plain(err)
    assert "run the same command again to go on" in err
    assert not out.exists()
    status, _, err = run(*asked)
    assert status == 0, err
    assert "going on after epoch 10" in err
    assert not (tmp_path / "out.topic.checkpoint").exists()
    whole = tmp_path / "whole.h5ad"
    assert run(*asked[:4], whole, *asked[5:])[0] == 0
    assert out.read_bytes() == whole.read_bytes()
    for path in (tmp_path / "out.topic").iterdir():
        assert path.read_bytes() == (tmp_path / "whole.topic" / path.name).read_bytes()


def test_a_terminal_is_shown_epochs_and_losses(tmp_path, h5ad, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    monkeypatch.setenv("COLUMNS", "120")
    asked = ["fit", "topic", h5ad, "-o", tmp_path / "out.h5ad", *QUICK["topic"], "--epochs", 3, "-k", 2]
    status, _, err = run(*asked, "--set", "held_out=0.2")
    assert status == 0
    last = anndata.read_h5ad(tmp_path / "out.h5ad").uns["genetext"]["topic"]["losses"]
    assert f"epochs, loss {last['loss']:.4g}, held_out {last['held_out']:.4g}" in err
    assert "3/3 epochs" in err
    assert "loss" not in run(*asked, "-q")[2]


def test_a_second_fit_to_an_output_is_refused(tmp_path, h5ad):
    asked = ["fit", "topic", h5ad, "-o", tmp_path / "out.h5ad", *QUICK["topic"], "-k", 2]
    assert run(*asked)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for taken in ("out.h5ad", "out.topic", "out.topic.checkpoint"):
        with locks.sole_writer(tmp_path / taken):
            status, printed, err = run(*asked)
        assert (status, printed) == (1, "")
        assert f"another process is writing to {tmp_path / taken}" in plain(err)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert run(*asked)[0] == 0


def command(*arguments):
    return [sys.executable, "-m", "genetext", *map(str, arguments)]


@pytest.fixture
def cache_of_its_own(world, tmp_path, monkeypatch):  # noqa: F811
    shutil.copytree(world, tmp_path / "cache")
    monkeypatch.setenv("GENETEXT_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_while_a_fit_runs_others_leave_its_output_alone_and_the_cache_may_go(tmp_path, h5ad, cache_of_its_own):
    out, whole = tmp_path / "out.h5ad", tmp_path / "whole.h5ad"
    how = [*PRIOR, *QUICK["topic"], "--epochs", 15, "-k", 2, "-q"]
    assert run("fit", "topic", h5ad, "-o", whole, *how)[0] == 0
    with subprocess.Popen(command("fit", "topic", h5ad, "-o", out, *how), cwd=ROOT) as first:
        try:
            until = time.monotonic() + 120
            while not (tmp_path / "out.topic.checkpoint" / "manifest.json").exists() and time.monotonic() < until:
                time.sleep(0.005)
            first.send_signal(signal.SIGSTOP)
            assert not out.exists(), "the first fit was over before the others began"
            for verb in (["fit", "topic"], ["apply", tmp_path / "whole.topic"]):
                status, printed, err = run(*verb, h5ad, "-o", out, *(how if verb[0] == "fit" else []))
                assert (status, printed) == (1, "")
                assert f"another process is writing to {out}: wait for its end" in plain(err)
            cache.clear()
        finally:
            first.send_signal(signal.SIGCONT)
    assert first.returncode == 0
    assert out.read_bytes() == whole.read_bytes()
    for path in (tmp_path / "out.topic").iterdir():
        assert path.read_bytes() == (tmp_path / "whole.topic" / path.name).read_bytes()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"in.h5ad", "cache", "out.h5ad", "out.topic", "whole.h5ad", "whole.topic"}


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_bytes(tmp_path, h5ad):
    out, kept = tmp_path / "out.h5ad", tmp_path / "kept"
    asked = ["fit", "topic", h5ad, "-o", out, *QUICK["topic"], "--epochs", 150, "-k", 2, "--checkpoints", kept, "-q"]
    started = subprocess.Popen(command(*asked), cwd=ROOT)
    until = time.monotonic() + 120
    while not (kept / "manifest.json").exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    assert not out.exists()
    epoch = json.loads((kept / "manifest.json").read_text())["epoch"]
    assert 10 <= epoch < 150
    assert run(*asked)[0] == 0
    whole = tmp_path / "whole.h5ad"
    assert run(*asked[:4], whole, *asked[5:-3], "-q")[0] == 0
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_two_processes_fit_together_and_one_writes(tmp_path, h5ad):
    out = tmp_path / "out.h5ad"
    asked = ["fit", "contrastive", h5ad, "-o", out, *PRIOR, *QUICK["contrastive"], "--epochs", 15, "-k", 3]
    asked += ["--batch-size", 20, "--set", "lr=0.01", "--selection", "loss", "--set", "patience=10"]
    ran = subprocess.run(
        command(*asked, "--devices", 2, "--device", "cpu", "--strategy", "ddp"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert (ran.returncode, ran.stdout) == (0, f"{out}\n"), ran.stderr
    assert ran.stderr.count("80 cells in obsm[X_contrastive]") == 1
    from cellmodels.eval import metrics

    got = anndata.read_h5ad(out)
    assert metrics.ari(got.obs["group"].astype(str), got.obs["contrastive_cluster"].astype(str)) > 0.8


def test_help_is_told_for_each():
    app = typer.Typer()
    fit.register(app)
    for name in QUICK:
        status, out, _ = run("fit", name, "--help")
        assert status == 0
        for option in ("--priors", "--control", "--checkpoints", "--set", "--clusters"):
            assert option in out
