"""How the commands speak: progress and reports on stderr, data on stdout, errors as one sentence."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genetext import escape
from genetext.escape import json_text, printable

if TYPE_CHECKING:
    import pandas as pd

    from genetext.encoders import Cost

log = logging.getLogger("genetext")


class _Shown(logging.Handler):
    """Shows what the library logs as lines of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(record.getMessage())


def _hush(quiet: bool) -> bool:
    if quiet:
        for handler in log.handlers:
            if isinstance(handler, _Shown):
                handler.setLevel(logging.ERROR)
    return quiet


Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.", callback=_hush)]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before paid calls.")]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", help="Stop before paid calls that would cost more, in USD.")
]

_COUNTED = {
    "encode": "texts",
    "batch": "texts",
    "E-utilities": "genes",
    "cells": "cells",
    "epochs": "epochs",
    "bench": "scores",
    "fits": "fits",
}  # everything else is counted in bytes
# Typer has a Click of its own in some versions: its errors are known by what Typer exports.
_ClickError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_INTERRUPTED = 130  # what a shell reports of a process that Ctrl-C ended; Typer leaves with it too
_STOPPED = "Stopped. What was finished, if anything, is kept: run the same command again to go on from there."
_TOO_MUCH = (
    "Error: the memory of this machine, or what is allowed of it, is used up: work on a part of the input, or where "
    "there is more memory; --debug shows where it happened",
    "Error: something in the input is nested too deeply to be read; --debug shows where it happened",
)
_WRONG_USAGE = ("SpeciesError", "TextError")


def run(app: typer.Typer, *, debug: bool) -> int:
    """Run `app`; return its exit status: 0, or 1 after an error, or 2 after wrong usage, each told in one sentence."""
    with warnings.catch_warnings(), _shown(logging.WARNING):
        warnings.showwarning = _note_warning
        status = _run(app, debug=debug)
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard_stdout()
        if not isinstance(error, BrokenPipeError):
            _say(f"Error: cannot write to standard output: {error.strerror}")
            status = status or 1
    return status


def _run(app: typer.Typer, *, debug: bool) -> int:
    from genetext.errors import GenetextError

    try:
        status = app(standalone_mode=False)
    except _ClickError as error:
        error.message = printable(str(error.message))
        error.show()
        return int(error.exit_code)
    except GenetextError as error:
        if debug:
            raise
        _say(f"Error: {error}")
        return 2 if type(error).__name__ in _WRONG_USAGE else 1
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except (MemoryError, RecursionError) as error:
        if debug:
            raise
        _discard_stdout()
        _say(_TOO_MUCH[type(error) is RecursionError])
        return 1
    except (OSError, SystemExit) as error:
        # Typer turns a broken pipe into an exit.
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if isinstance(cause, BrokenPipeError):
            _discard_stdout()  # its reader (head, less) has seen enough
            return 0
        if debug or isinstance(error, SystemExit):
            raise
        _say(f"Error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return 1
    if status == _INTERRUPTED:
        _say(_STOPPED)
    return status if isinstance(status, int) else 0


def emit(value: Any) -> None:
    """Print a JSON value on stdout."""
    typer.echo(json_text(json.dumps(value, indent=1, ensure_ascii=False, default=_plain)))


def line(value: object) -> None:
    """Print a path or a sentence on stdout; a path that a program reads is printed as it is."""
    as_is = isinstance(value, Path) and not sys.stdout.isatty()
    typer.echo(str(value) if as_is else printable(str(value)))


def tsv(frame: "pd.DataFrame") -> None:
    """Print a frame on stdout as tab-separated lines with a header."""
    typer.echo(escape.tsv(frame), nl=False)


def table(frame: "pd.DataFrame", columns: Mapping[str, Callable[[Any], str]]) -> None:
    """Print some columns of a frame on stdout: a table for people on a terminal, tab-separated lines for programs."""
    rows = [[show(row[column]) for column, show in columns.items()] for _, row in frame.iterrows()]
    if not sys.stdout.isatty():
        for row in [list(columns), *rows]:
            typer.echo("\t".join(map(escape.cell, row)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        drawn.add_column(Text(column), overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(printable(value)) for value in row))
    Console().print(drawn)


def number(value: float, form: str = ".3f") -> str:
    """Return a number for a table; nothing for NaN."""
    return "" if value != value else format(value, form)


def note(text: object, *, quiet: bool = False) -> None:
    """Say something on stderr, unless quiet."""
    if not quiet:
        _say(str(text))


def confirm_cost(*, yes: bool) -> "Callable[[Cost], bool]":
    """Return a function that shows what a paid encoder would cost, and asks unless `yes`; no answer means no."""

    def confirm(cost: "Cost") -> bool:
        from genetext.errors import CostLimit

        _say(str(cost))
        if cost.under_way:
            _say("--batch-api waits for the batch that is under way")
        try:
            agreed = yes or typer.confirm("Go on?", err=True)
        except typer.Abort:
            agreed = False
        if not agreed:
            raise CostLimit("nothing was sent; pass --yes to go on without the question")
        return True

    return confirm


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Yield a progress callback that draws one bar per file or stage on stderr; None when quiet.

    Warnings of the library are shown meanwhile as lines of their own, and what it notes of a stage (a log record with
    `extra={"stage": ...}`, such as the loss of an epoch) beside the stage's bar.
    """
    with _shown(logging.ERROR if quiet else logging.INFO):
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
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bars:
            tasks: dict[str, TaskID] = {}

            def report(name: str, done: int, total: int | None) -> None:
                if name not in tasks:
                    tasks[name] = bars.add_task(printable(name), total=total, completed=done, rate="")
                bars.update(tasks[name], completed=done, total=total)
                speed = bars.tasks[tasks[name]].speed or 0.0
                bars.update(tasks[name], rate=_rate(name, done, total, speed))

            class Beside(logging.Handler):
                def emit(self, record: logging.LogRecord) -> None:
                    if (stage := getattr(record, "stage", None)) in tasks:
                        bars.update(tasks[stage], description=printable(f"{stage}, {record.getMessage()}"))

            with _listening(Beside(), logging.DEBUG):
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
def _shown(level: int) -> Iterator[None]:
    """Show what the library logs, from a level on; within another such block this level counts."""
    outer = [handler for handler in log.handlers if isinstance(handler, _Shown)]
    levels = [handler.level for handler in outer]
    for handler in outer:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        with _listening(_Shown(), level):
            yield
    finally:
        for handler, before in zip(outer, levels, strict=True):
            handler.setLevel(before)


@contextmanager
def _listening(handler: logging.Handler, level: int) -> Iterator[None]:
    """Give a handler what the library logs, from a level on."""
    before = log.level
    handler.setLevel(level)
    log.setLevel(level)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _note_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Log a warning of another library as one line; what it says to programmers is no news to users."""
    level = logging.WARNING if category is UserWarning or category is RuntimeWarning else logging.DEBUG
    log.log(level, "%s", str(message).strip().partition("\n")[0])


def _say(text: str) -> None:
    typer.echo(printable(text), err=True)


def _discard_stdout() -> None:
    """Let what is still to be written to stdout go nowhere, so that Python does not fail on it when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a NumPy scalar or a path."""
    return value.item() if hasattr(value, "item") else str(value)


def require_apart(data: Path, *outputs: Path | None) -> None:
    """Refuse an output that is a folder, the input by whichever name, or another output: wrong usage."""
    places = [data.resolve()]
    for output in outputs:
        if output is None:
            continue
        if output.is_dir():
            raise typer.BadParameter(f"output {output} is a folder: name a file")
        if output.resolve() in places or (output.exists() and data.exists() and output.samefile(data)):
            raise typer.BadParameter(f"output {output} is the input, or another output: name another file")
        places.append(output.resolve())


def require_cells(path: Path, *suffixes: str, output: Path | None = None) -> None:
    """Refuse an input that is no file of cells, saying what it is, and an output that is the input or a folder."""
    from genetext import cell_formats
    from genetext.errors import CellsError

    suffixes = suffixes or (cell_formats.H5AD,)
    try:
        cell_formats.require(path, suffixes=suffixes)
        if output is not None:
            cell_formats.require_output(output, path, suffixes=suffixes)
    except CellsError as error:
        raise typer.BadParameter(str(error)) from error


def of_layer(layer: Mapping[str, Any]) -> str:
    """Say in a line what a source gave, under which licence, and which of its keys are no genes."""
    from genetext.errors import first_ten
    from genetext.sources.base import Licence

    source, counts, unmatched = layer["source"], layer["counts"], layer["unmatched"]
    line = f"{source['name']}: {counts['genes']:,} genes of {layer['species']['name']}, {source['licence']['name']}"
    if terms := Licence(**source["licence"]).warning:
        line += f" ({terms})"
    if unmatched["names"]:
        more = unmatched["names"] - len(unmatched["first"])
        rest = f" and {more:,} more" if more else ""
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in unmatched["reasons"].items())
        line += f"; {unmatched['names']:,} keys are no gene ({reasons}): {first_ten(unmatched['first'])}{rest}"
    return line
