"""Names that a terminal, a table or a spreadsheet would obey, through the commands' own output."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import unicodedata
import warnings
from contextlib import redirect_stderr, redirect_stdout

import anndata
import numpy as np
import pandas as pd
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genetext.cli import console, match
from genetext.errors import ResolveError
from tests.cli.run import run_alone
from tests.priors.conftest import in_this_world, world  # noqa: F401

ANY_TEXT = st.text(st.characters(codec=None)) | st.sampled_from(
    ["[/bold]", "[acyl-carrier-protein]", "[link=http://x]y"]
)
HOSTILE = [
    "[/bold]",
    "[red]x",
    "[link=file:///etc/passwd]TP53[/link]",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "a\u202eb",
    "=1+1",
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(function, *arguments, terminal):
    out, err = (Terminal() if terminal else io.StringIO() for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("COLUMNS", "10000")
        patch.setenv("NO_COLOR", "1")
        function(*arguments)
    return out.getvalue() + err.getvalue()


def is_safe(text):
    return all(
        letter in "\n\t\u200c\u200d" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        for letter in text
    )


@pytest.mark.parametrize("terminal", [True, False])
@given(names=st.lists(ANY_TEXT, min_size=1, max_size=5))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tables_notes_and_json_of_any_names(terminal, names):
    frame = pd.DataFrame({"symbol": names, "score": -0.5})
    columns = {"symbol": str, "score": console.number}
    shown = printed(console.table, frame, columns, terminal=terminal)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)  # the bold of the header
    assert is_safe(plain)
    assert plain.count("-0.500") == len(names)
    for text in names:
        assert is_safe(printed(console.note, text, terminal=terminal))
        assert is_safe(printed(console.line, text, terminal=terminal))
    emitted = printed(console.emit, names, terminal=terminal)
    assert is_safe(emitted)
    assert json.loads(emitted) == names


def test_markup_is_shown_letter_by_letter_on_a_terminal():
    names = HOSTILE[:3]
    shown = printed(console.table, pd.DataFrame({"symbol": names}), {"symbol": str}, terminal=True)
    for name in names:
        assert name in shown
    assert "\x1b]8" not in shown


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_bars_and_log_lines(terminal, name):
    def work():
        with console.progress() as report:
            report(name, 0, 10)
            logging.getLogger("genetext").warning("no gene is called %s", name)
            logging.getLogger("genetext").info("loss of %s", name, extra={"stage": name})
            report(name, 10, 10)

    shown = printed(work, terminal=terminal)
    without_bar = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown)
    assert is_safe(without_bar)
    assert "\x1b[2J" not in shown
    assert "no gene is called" in shown


@pytest.mark.parametrize("name", HOSTILE)
def test_errors_and_wrong_usage(name):
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def command(text: str, usage: bool = False) -> None:
        raise typer.BadParameter(f"what is {text}") if usage else ResolveError(f"nobody knows {text}")

    def run(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["genetext", *arguments])
            return console.run(app, debug=False)

    for arguments, status in ((["--", name], 1), (["--usage", "--", name], 2), ([f"--{name}"], 2)):
        statuses = []
        shown = printed(lambda arguments=arguments, statuses=statuses: statuses.append(run(*arguments)), terminal=False)
        assert statuses == [status]
        assert is_safe(shown)


def test_match_of_hostile_names(tmp_path):
    names = [*HOSTILE, "TP53"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    for option in ([], ["--tsv"], ["--json"]):
        status, out, err = run_alone(match.register, "match", tmp_path / "names.txt", "--species", "human", *option)
        assert status == 0, err
        assert is_safe(out + err)
        assert not any(line.startswith(("=", "@")) for line in out.splitlines())


# -- streams that cannot be written ---------------------------------------------------------------------------------

PRINT = "import sys; sys.argv = ['genetext', 'encoders']\nfrom genetext.cli import main\nmain()"


def test_a_reader_that_has_seen_enough_is_no_error():
    process = subprocess.Popen([sys.executable, "-c", PRINT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    error = process.stderr.read()
    assert (process.wait(), error) == (0, "")
    process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_below_stdout_is_one_sentence():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ran = subprocess.run([sys.executable, "-c", PRINT], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "No space left on device" in ran.stderr


def test_names_that_the_encoding_of_the_terminal_lacks_are_written_out():
    code = "import sys; sys.argv = ['genetext', 'info', '\u03bb']\nfrom genetext.cli import main\nmain()"
    variables = {**os.environ, "PYTHONIOENCODING": "latin-1", "GENETEXT_CACHE": "/nonexistent"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, env=variables, check=False)
    assert ran.returncode == 1
    assert b"Traceback" not in ran.stderr
    assert b"\\u03bb" in ran.stderr


@pytest.mark.parametrize("quiet", [[], ["-q"]])
@pytest.mark.parametrize("command", ["match", "priors"])
def test_words_of_a_file_in_warnings_are_escaped_or_kept_quiet(tmp_path, command, quiet):
    adata = anndata.AnnData(np.ones((2, 3), np.float32), var=pd.DataFrame(index=["PAX6", "TP53", "hto"]))
    adata.var["feature_types"] = ["Gene Expression"] * 2 + ["\x1b[31mEVIL\x1b]0;title\x07"]
    adata.write_h5ad(tmp_path / "in.h5ad")
    more = ["-o", tmp_path / "out.h5ad", "-i", "human/test"] if command == "priors" else []
    status, _, err = run_alone(match.register, command, tmp_path / "in.h5ad", "-s", "human", *more, *quiet)
    assert status == 0, err
    assert ("EVIL" in err) is not bool(quiet)
    assert is_safe(err)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_warnings_of_other_libraries_are_one_line_each(quiet):
    def register(app):
        @app.command()
        def warn(quiet: console.Quiet = False) -> None:
            warnings.warn("names \x1b[2J stand twice\nand more", UserWarning, stacklevel=1)
            warnings.warn("soon gone", FutureWarning, stacklevel=1)
            with console.progress(quiet=quiet):
                logging.getLogger("genetext").warning("of the library")

    status, _, err = run_alone(register, *quiet)
    assert status == 0
    assert err == ("" if quiet else "names \\x1b[2J stand twice\nof the library\n")
    assert logging.getLogger("genetext").handlers == []
