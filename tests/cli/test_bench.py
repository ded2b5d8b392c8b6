"""`genetext bench genes` as a user runs it."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest
import typer

from genetext.cli import bench, console
from tests.bench.conftest import cache, themes, world  # noqa: F401

FEW = ("--folds", 2, "--min-genes", 10, "--every", 3, "--control-seeds", 1, "-j", 1)


def run(*arguments: object) -> tuple[int, str, str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    bench.register(app)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["genetext", *map(str, arguments)])
        patch.setenv("COLUMNS", "200")
        status = console.run(app, debug=False)
    return status, out.getvalue(), err.getvalue()


def test_a_table_a_file_and_a_figure(cache, themes, tmp_path):  # noqa: F811
    pytest.importorskip("matplotlib")
    tsv, figure = tmp_path / "scores.tsv", tmp_path / "table.svg"
    status, out, err = run("bench", "genes", themes, *FEW, "--tsv", tsv, "--figure", figure)
    assert status == 0, err
    header, first, *rest = out.splitlines()
    assert header.split("\t")[:4] == ["method", "dim", "auroc", "sd"]
    assert first.split("\t")[0].endswith("human/lexical")
    assert [row.split("\t")[0] for row in rest][:3] == ["permuted vectors", "random vectors", "text length and kind"]
    assert "themes.gmt: 2 terms" in err
    assert len(tsv.read_text().splitlines()) == 1 + 2 * 9
    assert b"<svg" in figure.read_bytes()


def test_json_and_quiet(cache, themes):  # noqa: F811
    status, out, err = run("bench", "genes", themes, *FEW, "-i", "human/lexical", "--json", "-q")
    told = json.loads(out)
    assert (status, err) == (0, "")
    assert told["table"][0]["method"] == "human/lexical"
    assert told["n_terms"] == 2
    assert told["given_splits"] is False


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("none.gmt",), 2, "does not exist"),
        (("{themes}", "--missing", "zero"), 2, "drop or mean"),
        (("{themes}", "-j", "0"), 2, "--jobs 0"),
        (("{themes}", "--every", "0"), 2, "--every"),
        (("{themes}", "--figure", "x.gif"), 1, "tell the form of x.gif"),
        (("{themes}", "-i", "a++"), 1, "cannot read the method"),
        (("{themes}", "-i", "human/none"), 1, "human/none"),
        (("{themes}", "--term", "DARK"), 1, "no term DARK"),
    ],
)
def test_what_fails_says_so_in_one_sentence(cache, themes, arguments, status, message):  # noqa: F811
    found, out, err = run("bench", "genes", *(one.format(themes=themes) for one in arguments))
    assert (found, out) == (status, "")
    assert message in " ".join(err.split())
    assert "Traceback" not in err


def test_help_says_what_is_measured():
    status, out, _ = run("bench", "genes", "--help")
    assert status == 0
    assert "--index" in out
    assert "control" in out
