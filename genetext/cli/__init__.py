"""The command line: one thin module per command, no logic.

Data go to stdout, progress and reports to stderr. Exit status 0: done; 1: failed, with one clear sentence; 2: wrong
usage, found before any work starts.
"""

import signal
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from genetext import __version__
from genetext.cli import (
    annotate,
    bench,
    bench_cells,
    build,
    cache,
    embed_cells,
    encoders,
    export,
    fetch,
    fit,
    inspect,
    match,
    search,
    sources,
)

_TERMINATED = 143  # what a shell reports of a process that SIGTERM ended

app = typer.Typer(
    name="genetext",
    help="What is written about genes, as vectors that single-cell models can use.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for module in (
    fetch,
    build,
    search,
    inspect,
    export,
    match,
    embed_cells,
    fit,
    annotate,
    bench,
    sources,
    encoders,
    cache,
):
    module.register(app)
bench_cells.register(bench.group)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"genetext {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    """Options that stand before the command."""


def main() -> None:
    """Run the command line; print an error as one sentence and leave with its exit status."""
    from genetext.cli import console

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names that the terminal's encoding lacks are written out
            stream.reconfigure(errors="backslashreplace")
    terminated = False

    def stop(*_: object) -> None:
        """End as Ctrl-C does: schedulers send SIGTERM when a job's time is up."""
        nonlocal terminated
        terminated = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the clean-up
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    status = console.run(app, debug="--debug" in sys.argv)
    sys.exit(_TERMINATED if terminated else status)
