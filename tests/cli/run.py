"""Run a command of the command line in this process, as `genetext.cli.main` would in one of its own."""

import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest


@dataclass
class Ran:
    returncode: int
    stdout: str
    stderr: str


class _Input(StringIO):
    def isatty(self):
        return False


def genetext(place: Path, *arguments: str, columns: str = "200", answer: str = "", **variables: str) -> Ran:
    """Run `genetext *arguments` with the cache `place / "cache"`, and `answer` on standard input."""
    from genetext import cli
    from genetext.cli import console

    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in {"GENETEXT_CACHE": str(place / "cache"), "COLUMNS": columns, **variables}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["genetext", *arguments])
        patch.setattr(sys, "stdin", _Input(answer))
        patch.chdir(place)
        try:
            status = console.run(cli.app, debug="--debug" in arguments)
        except Exception:
            err.write(traceback.format_exc())
            status = 1
    return Ran(status, out.getvalue(), err.getvalue())


def run_alone(register, *arguments: object) -> tuple[int, str, str]:
    """Run the one command that `register` adds, as its own program; return its status, stdout and stderr."""
    import typer

    from genetext.cli import console

    app = typer.Typer(pretty_exceptions_enable=False)
    register(app)
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["genetext", *map(str, arguments)])
        status = console.run(app, debug=False)
    return status, out.getvalue(), err.getvalue()
