"""How the commands speak: progress and reports on stderr, data on stdout, errors as one sentence."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]

_COUNTED = {
    "encode": "texts",
    "batch": "texts",
    "E-utilities": "genes",
    "cells": "cells",
    "epochs": "epochs",
    "bench": "scores",
    "fits": "fits",
}  # everything else is counted in bytes
_INTERRUPTED = 130  # what a shell reports of a process that Ctrl-C ended; Typer leaves with it too
_STOPPED = "Stopped. What was finished, if anything, is kept: run the same command again to go on from there."
_WRONG_USAGE = ("SpeciesError", "TextError")


def run(app: typer.Typer, *, debug: bool) -> int:
    """Run `app`; return 0, or 1 after an error, or 2 after wrong usage."""
    from genetext.errors import GenetextError

    try:
        app(standalone_mode=True)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
        if status == _INTERRUPTED:
            _say(_STOPPED)
        return status
    except GenetextError as error:
        if debug:
            raise
        _say(f"Error: {error}")
        return 2 if type(error).__name__ in _WRONG_USAGE else 1
    except KeyboardInterrupt:
        _say(_STOPPED)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug:
            raise
        _say(f"Error: {error.strerror or error}: {error.filename}" if error.filename else f"Error: {error}")
        return 1
    return 0


def emit(value: Any) -> None:
    """Print a JSON value on stdout."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=_plain))


def table(frame: "pd.DataFrame", columns: dict[str, Callable[[Any], str]]) -> None:
    """Print some columns of a frame on stdout: a table for people on a terminal, tab-separated lines for programs."""
    rows = [[show(row[column]) for column, show in columns.items()] for _, row in frame.iterrows()]
    if not sys.stdout.isatty():
        typer.echo("\t".join(columns))
        for row in rows:
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    Console().print(drawn)


def note(text: str, *, quiet: bool = False) -> None:
    """Say something on stderr, unless quiet."""
    if not quiet:
        _say(text)


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Yield a progress callback that draws one bar per file or stage on stderr; None when quiet.

    Warnings of the library are shown meanwhile as lines of their own, and what it notes of a stage (a log record with
    `extra={"stage": ...}`, such as the loss of an epoch) beside the stage's bar.
    """
    with _logging(quiet=quiet):
        if quiet:
            yield None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        if not console.is_terminal:
            yield _lines()
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bars:
            tasks: dict[str, TaskID] = {}

            def report(name: str, done: int, total: int | None) -> None:
                if name not in tasks:
                    tasks[name] = bars.add_task(name, total=total, completed=done, rate="")
                bars.update(tasks[name], completed=done, total=total)
                speed = bars.tasks[tasks[name]].speed or 0.0
                bars.update(tasks[name], rate=_rate(name, done, total, speed))

            def note_beside(name: str, text: str) -> None:
                if name in tasks:
                    bars.update(tasks[name], description=f"{name}, {text}")

            with _beside(note_beside):
                yield report


def _lines(every: float = 30.0) -> Callable[[str, int, int | None], None]:
    """Return a progress callback for log files: a line now and then instead of a bar."""
    from time import monotonic

    last: dict[str, tuple[float, int]] = {}

    def report(name: str, done: int, total: int | None) -> None:
        now = monotonic()
        then, before = last.setdefault(name, (now, done))
        if now - then >= every:
            _say(f"{name}: {_rate(name, done, total, (done - before) / (now - then))}")
            last[name] = now, done

    return report


def _rate(name: str, done: int, total: int | None, speed: float) -> str:
    things = _COUNTED.get(name)
    if things is not None:
        return f"{done:,}/{total or 0:,} {things}, {speed:,.{0 if speed >= 10 else 1}f}/s"
    of = f"/{total / 1e6:,.1f}" if total else ""
    return f"{done / 1e6:,.1f}{of} MB, {speed / 1e6:,.1f} MB/s"


@contextmanager
def _beside(show: Callable[[str, str], None]) -> Iterator[None]:
    class Beside(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (stage := getattr(record, "stage", None)) is not None:
                show(stage, record.getMessage())

    log = logging.getLogger("genetext")
    handler, level = Beside(), log.level
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextmanager
def _logging(*, quiet: bool) -> Iterator[None]:
    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _say(record.getMessage())

    log = logging.getLogger("genetext")
    handler, level = Lines(), log.level
    log.setLevel(logging.ERROR if quiet else logging.INFO)
    handler.setLevel(log.level)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a NumPy scalar or a path."""
    return value.item() if hasattr(value, "item") else str(value)
