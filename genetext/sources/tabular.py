"""Reading the tables of providers and users as a stream of rows, whatever they are packed in."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from genetext.errors import FetchError
from genetext.fetch.integrity import BOM, BadContent, LongLine, describe, unpacked, whole_lines
from genetext.fetch.limits import Limits
from genetext.text import tables


def lines(path: Path, limits: Limits) -> Iterator[str]:
    """Yield the lines of a text, gzipped, zipped or plain, without their ends.

    UTF-8 (with or without a mark at the beginning) or UTF-16 by its mark; bytes that are neither are taken as Latin-1.

    Raises
    ------
    FetchError
        The file cannot be read, is binary, or holds more than `limits` allow.
    """
    try:
        blocks = unpacked(path, limits)
        head = next(blocks)
        if b"\0" in head[:4096] and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BadContent(f"no text: {describe(head)}")
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # what a spreadsheet calls Unicode text; it is small
            head, blocks = b"".join([head, *blocks]).decode("utf-16", "replace").encode(), iter(())
        for number, chunk in whole_lines(chain([head], blocks), limits):
            for at, line in enumerate(chunk.split(b"\n"), number):
                if len(line) > limits.line:
                    raise LongLine(at)
                yield tables.readable((line.removeprefix(BOM) if at == 1 else line).removesuffix(b"\r"))
    except LongLine as error:
        raise tables.too_long(path, error.number, limits) from None
    except BadContent as error:
        raise FetchError(f"{path} is {error}") from None
    except OSError as error:
        raise FetchError(f"{path} cannot be read: {error.strerror or error}") from error


def records(
    path: Path,
    columns: Mapping[str, Sequence[str]],
    limits: Limits,
    *,
    optional: Sequence[str] = (),
    quoted: bool = False,
    separator: str | None = "\t",
    provider: str = "",
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a table with a header: the number of the line, and the fields by the caller's own names.

    Parameters
    ----------
    path
        The table. Lines that begin with `#` before the header are passed over, and a `#` before the header itself.
    columns
        For each name the headings that it may have in the file, any letter case.
    limits
        How much to read.
    optional
        Names that the file may lack; their fields are empty then.
    quoted
        Whether fields may stand in quotation marks, as spreadsheets write them.
    separator
        Between fields. Default: a tab; None: whichever of tab, comma and semicolon the header has most.
    provider
        Whose table it should be, for messages.

    Raises
    ------
    FetchError
        The header lacks a column, a row has another number of fields than the header, or there are no rows.
    """
    stream = enumerate(lines(path, limits), 1)
    header_line, header = _header(path, stream, columns)
    separator = separator or max("\t,;", key=header.count)
    titles = [_plain(title.strip().strip('"')) for title in header.lstrip("#").split(separator)]
    places: dict[str, int] = {}
    for name, headings in columns.items():
        place = next((titles.index(plain) for heading in headings if (plain := _plain(heading)) in titles), None)
        if place is not None:
            places[name] = place
        elif name not in optional:
            raise FetchError(
                f"{path} has no column {' or '.join(headings)}: it is no table of {provider or 'this kind'}, or its "
                f"format has changed. Its header is {header[:160]!r}"
            )
    empty = True
    for number, fields in _parsed(path, stream, separator, quoted=quoted, first=header_line):
        if not any(fields):
            continue
        if len(fields) != len(titles):
            raise FetchError(
                f"{path}, line {number:,}: a row of {len(fields)} fields where {len(titles)} are due: "
                f"{separator.join(fields)[:160]!r}"
            )
        empty = False
        yield number, {name: fields[places[name]].strip() if name in places else "" for name in columns}
    if empty:
        raise FetchError(f"{path} has a header and no rows: the file is incomplete")


def unexpected(path: Path, number: int, line: str, due: str) -> FetchError:
    """Return the error for a line that is not what a provider's file has."""
    return FetchError(
        f"{path}, line {number:,}: {line[:160]!r} where {due} is due: this is another file, or its format has changed"
    )


def _header(path: Path, stream: Iterator[tuple[int, str]], columns: Mapping[str, Sequence[str]]) -> tuple[int, str]:
    """Return the first line that is no comment, or the last comment where that one names the columns."""
    comment = ""
    wanted = {_plain(heading) for headings in columns.values() for heading in headings}
    for number, line in stream:
        if not line.strip():
            continue
        if line.startswith("#"):
            comment = line
            if wanted & {_plain(title) for title in line.lstrip("#").split("\t")}:
                return number, line
            continue
        if line.lstrip().lower().startswith(("<!doctype", "<html", "<?xml")):
            raise FetchError(f"{path} is no table: {describe(line.encode())}")
        return number, line
    raise FetchError(f"{path} has no rows{f': its last line is {comment[:160]!r}' if comment else ''}")


def _plain(title: str) -> str:
    """Return a heading as it is compared: in small letters, with _ for spaces and points."""
    return re.sub(r"[\s._]+", "_", title.strip().lower())


def _parsed(
    path: Path, stream: Iterator[tuple[int, str]], separator: str, *, quoted: bool, first: int
) -> Iterator[tuple[int, list[str]]]:
    if not quoted:
        for number, line in stream:
            yield number, line.split(separator) if line else []
        return
    reader = csv.reader((line + "\n" for _, line in stream), delimiter=separator, strict=False)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            at = first + reader.line_num
            raise FetchError(f"{path}, line {at:,}: it cannot be read as a table ({error}): is a quote open?") from None
        yield first + reader.line_num, fields
