"""Reading NCBI's tab-separated, gzipped tables as a stream: one block in memory, rows of other species never decoded.

Everything that is not the expected table (a web page, an empty or cut-off file, another header, a row with too few
fields) is a `FetchError` that names the file and says what was found.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from genetext.errors import FetchError, first_ten

_BLOCK = 1 << 20
_LONGEST_LINE = 1 << 24
_GZIP_MAGIC = b"\x1f\x8b"


def rows(
    path: Path, *, columns: Sequence[str], tax_ids: Sequence[int], tax_columns: Sequence[str] = ("tax_id",)
) -> Iterator[tuple[bytes, ...]]:
    """Yield the fields `columns` of every row that has one of `tax_ids` in one of `tax_columns`, in the file's order.

    Parameters
    ----------
    path
        A gzipped table whose first line names its columns; a `#` before the first name does not count.
    columns
        The columns to yield, by name; other columns may be there, in any order.
    tax_ids
        Taxonomy ids of the species that are wanted.
    tax_columns
        The columns in which they are looked for.

    Raises
    ------
    FetchError
        The file is not such a table, or has no row but its header. (No row of the wanted species is for the
        caller to judge.)
    """
    blocks = _blocks(path)
    header, block = _first_line(path, blocks)
    names = [name.strip() for name in _readable(header).lstrip("\ufeff#").split("\t")]
    missing = [name for name in dict.fromkeys((*tax_columns, *columns)) if name not in names]
    if missing:
        raise FetchError(
            f"{path} has another header than NCBI's: it lacks {', '.join(missing)}; expected the columns "
            f"{', '.join(columns)}, found {_excerpt(header)}. The format may have changed, or this is another file"
        )
    places = [names.index(name) for name in columns]
    tax_places = [names.index(name) for name in tax_columns]
    wanted = {str(tax_id).encode() for tax_id in tax_ids}
    # The files are sorted by species, so that most blocks hold none of the wanted rows: one search skips them.
    if tax_places == [0]:
        needles = [b"\n" + tax_id + b"\t" for tax_id in sorted(wanted)]
    else:
        needles = [before + tax_id for tax_id in sorted(wanted) for before in (b"\n", b"\t")]
    starts = tuple(tax_id + b"\t" for tax_id in sorted(wanted)) if tax_places == [0] else ()
    last = max(*places, *tax_places)
    empty = True
    tail = b""
    for piece in _chain(block, blocks):
        whole, newline, rest = piece.rpartition(b"\n")
        if not newline:
            tail += piece
            if len(tail) > _LONGEST_LINE:
                raise _too_long(path)
            continue
        whole, tail = b"\n" + tail + whole + b"\n", rest
        empty = empty and not whole.strip()
        if any(needle in whole for needle in needles):
            yield from _matching(path, whole, starts, wanted, places, tax_places, last)
    empty = empty and not tail.strip()
    yield from _matching(path, tail, starts, wanted, places, tax_places, last)
    if empty:
        raise FetchError(f"{path} has a header and no rows: the file is incomplete, fetch it again")


def integer(path: Path, value: bytes, column: str) -> int:
    """Return a field as a number of at most 63 bits, or raise a `FetchError` naming the column."""
    if not value.isdigit() or len(value) > 18:
        raise FetchError(f"{path} holds {_excerpt(value)} where a number is due, in the column {column}")
    return int(value)


def text(value: bytes) -> str:
    """Return a field as text, `-` as the empty string. Bytes that are not UTF-8 are taken as Latin-1."""
    return "" if value == b"-" else _readable(value).strip()


def listed(value: bytes) -> list[str]:
    """Return a `|` list as unique names in their order."""
    return list(dict.fromkeys(name for part in value.split(b"|") if (name := text(part))))


def no_rows(path: Path, tax_ids: Sequence[int]) -> FetchError:
    """Return the error for a table that has no row of the species that is wanted."""
    return FetchError(
        f"{path} has no row of taxonomy id {first_ten(tax_ids)}: it belongs to another species, or is incomplete"
    )


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the unpacked content block by block; say in a `FetchError` what else than gzip was found."""
    try:
        with path.open("rb") as handle:
            start = handle.read(200)
            if not start:
                raise FetchError(f"{path} is empty (0 bytes): fetch it again")
            if not start.startswith(_GZIP_MAGIC):
                what = "a web page" if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else "something else"
                raise FetchError(f"{path} is not gzip but {what}, which begins with {_excerpt(start)}")
            handle.seek(0)
            size = 0
            with gzip.GzipFile(fileobj=handle) as unpacked:
                while block := unpacked.read(_BLOCK):
                    size += len(block)
                    yield block
        if not size:
            raise FetchError(f"{path} is the gzip of an empty file: fetch it again")
    except EOFError:
        raise FetchError(f"{path} is cut off after {size:,} unpacked bytes: fetch it again") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise FetchError(f"{path} is damaged after {size:,} unpacked bytes ({error}): fetch it again") from error
    except OSError as error:
        raise FetchError(f"{path} cannot be read: {error.strerror or error}") from error


def _first_line(path: Path, blocks: Iterator[bytes]) -> tuple[bytes, bytes]:
    """Return the first line, and what follows it in its last block."""
    pieces: list[bytes] = []
    size = 0
    for block in blocks:
        line, newline, rest = block.partition(b"\n")
        pieces.append(line)
        size += len(line)
        if newline:
            return b"".join(pieces), rest
        if size > _LONGEST_LINE:
            raise _too_long(path)
    return b"".join(pieces), b""


def _too_long(path: Path) -> FetchError:
    return FetchError(f"{path} holds a line of more than {_LONGEST_LINE:,} bytes: it is not NCBI's table")


def _chain(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _matching(
    path: Path,
    lines: bytes,
    starts: tuple[bytes, ...],
    wanted: set[bytes],
    places: list[int],
    tax_places: list[int],
    last: int,
) -> Iterator[tuple[bytes, ...]]:
    for line in lines.split(b"\n"):
        if not (line.startswith(starts) if starts else any(tax_id in line for tax_id in wanted)):
            continue
        fields = line.rstrip(b"\r").split(b"\t")
        if not any(place < len(fields) and fields[place] in wanted for place in tax_places):
            continue
        if len(fields) <= last:
            raise FetchError(
                f"{path} holds a row of {len(fields)} fields where at least {last + 1} are due: {_excerpt(line)}"
            )
        yield tuple(fields[place] for place in places)


def _readable(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _excerpt(value: bytes) -> str:
    shown = _readable(value[:160])
    return repr(shown) + ("..." if len(value) > 160 else "")
