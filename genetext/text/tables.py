"""Reading NCBI's tab-separated, gzipped tables as a stream: one block in memory, rows of other species never decoded.

Everything that is not the expected table (a web page, an empty or cut-off file, another header, a row with a field too
few or too many, a word where a number is due) is a `FetchError` that names the file, the line and what was found there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from genetext.errors import FetchError, first_ten
from genetext.fetch.integrity import BadContent, LongLine, unpack, whole_lines
from genetext.fetch.limits import Limits, exceeded

Read = Callable[[bytes], Any]
"""Makes a value of a field, or raises a `ValueError` that says what is due."""


def rows(
    path: Path,
    *,
    columns: Mapping[str, Read],
    tax_ids: Sequence[int],
    tax_columns: Sequence[str] = ("tax_id",),
    gene_column: str = "GeneID",
    limits: Limits | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Yield the fields `columns` of every row that has one of `tax_ids` in one of `tax_columns`, in the file's order.

    Parameters
    ----------
    path
        A gzipped table whose first line names its columns; a `#` before the first name does not count.
    columns
        The columns to yield, and how each is read: `number`, `text`, `listed`, or `bytes` for the field as it is. Other
        columns may be there, in any order.
    tax_ids
        Taxonomy ids of the species that are wanted.
    tax_columns
        The columns in which they are looked for.
    gene_column
        Whose rows are counted against the limit of one gene.
    limits
        How much to read. Default: `Limits.from_environment()`.

    Raises
    ------
    FetchError
        The file is not such a table, or has no row but its header. (No row of the wanted species is for the
        caller to judge.)
    """
    limits = limits or Limits.from_environment()
    chunks = _chunks(path, limits)
    _, first = next(chunks)
    header, _, first = first.partition(b"\n")
    if len(header) > limits.line:
        raise too_long(path, 1, limits)
    names = [name.strip() for name in readable(header).lstrip("\ufeff#").split("\t")]
    missing = [name for name in dict.fromkeys((*tax_columns, *columns)) if name not in names]
    if missing:
        raise FetchError(
            f"{path} has another header than NCBI's: it lacks {', '.join(missing)}; expected the columns "
            f"{', '.join(columns)}, found {_excerpt(header)}. The format may have changed, or this is another file"
        )
    readers = [(names.index(name), read) for name, read in columns.items()]
    tax_places = [names.index(name) for name in tax_columns]
    gene_place = names.index(gene_column) if gene_column in names else None
    wanted = {str(tax_id).encode() for tax_id in tax_ids}
    # The files are sorted by species, so that most chunks hold none of the wanted rows: one search skips them.
    leads = tax_places == [0]
    starts = tuple(tax_id + b"\t" if leads else tax_id for tax_id in sorted(wanted))
    needles = [before + start for start in starts for before in ((b"\n",) if leads else (b"\n", b"\t"))]
    of_gene: dict[bytes, int] = {}
    empty = True
    for number, chunk in chain([(2, first)], chunks):
        empty = empty and not chunk.strip()
        if not chunk.startswith(starts) and not any(needle in chunk for needle in needles):
            continue
        for at, line in enumerate(chunk.split(b"\n"), number):
            if not (line.startswith(starts) if leads else any(tax_id in line for tax_id in wanted)):
                continue
            fields = line.rstrip(b"\r").split(b"\t")
            if not any(place < len(fields) and fields[place] in wanted for place in tax_places):
                continue
            if len(line) > limits.line:
                raise too_long(path, at, limits)
            if len(fields) != len(names):
                raise FetchError(
                    f"{path}, line {at:,}: a row of {len(fields)} fields where {len(names)} are due: {_excerpt(line)}"
                )
            if gene_place is not None:
                gene = fields[gene_place]
                of_gene[gene] = size = of_gene.get(gene, 0) + len(line)
                if size > limits.gene:
                    raise FetchError(
                        f"{path}, line {at:,}: the rows of GeneID {_excerpt(gene)} have {exceeded('gene', limits.gene)}"
                    )
            try:
                row = tuple([read(fields[place]) for place, read in readers])
            except ValueError:
                raise _unreadable(path, at, fields, names, readers) from None
            yield row
    if empty:
        raise FetchError(f"{path} has a header and no rows: the file is incomplete, fetch it again")


def number(value: bytes) -> int:
    """Return a field as a number of at most 18 digits."""
    if not value.isdigit() or len(value) > 18:
        raise ValueError("a number")
    return int(value)


def text(value: bytes) -> str:
    """Return a field as text, `-` as the empty string. Bytes that are not UTF-8 are taken as Latin-1."""
    return "" if value == b"-" else readable(value).strip()


def listed(value: bytes) -> list[str]:
    """Return a `|` list as unique names in their order."""
    return list(dict.fromkeys(name for part in value.split(b"|") if (name := text(part))))


def no_rows(path: Path, tax_ids: Sequence[int]) -> FetchError:
    """Return the error for a table that has no row of the species that is wanted."""
    return FetchError(
        f"{path} has no row of taxonomy id {first_ten(tax_ids)}: it belongs to another species, or is incomplete"
    )


def _chunks(path: Path, limits: Limits) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines, many at once and without the last line's end, each time with the number of the first."""
    try:
        yield from whole_lines(unpack(path, limits), limits)
    except LongLine as error:
        raise too_long(path, error.number, limits) from None
    except BadContent as error:
        raise FetchError(f"{path} is {error}; fetch it again") from None
    except OSError as error:
        raise FetchError(f"{path} cannot be read: {error.strerror or error}") from error


def too_long(path: Path, number: int, limits: Limits) -> FetchError:
    """Return the error for a line of more bytes than are read of one."""
    return FetchError(f"{path}, line {number:,}: it has {exceeded('line', limits.line)}")


def _unreadable(
    path: Path, number: int, fields: list[bytes], names: list[str], readers: list[tuple[int, Read]]
) -> FetchError:
    """Say which of a row's fields cannot be read."""
    for place, read in readers:
        try:
            read(fields[place])
        except ValueError as error:
            return FetchError(
                f"{path}, line {number:,}: {_excerpt(fields[place])} where {error} is due, in the column {names[place]}"
            )
    raise AssertionError("the row can be read")


def readable(value: bytes) -> str:
    """Return bytes as text; those that are not UTF-8 are taken as Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _excerpt(value: bytes) -> str:
    shown = readable(value[:160])
    return repr(shown) + ("..." if len(value) > 160 else "")
