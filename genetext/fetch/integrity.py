"""Whether a file is what was asked for: a packed table, whole to the last byte; and if not, what it is."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genetext import disk
from genetext.errors import FetchError
from genetext.fetch.limits import Limits, exceeded

GZIP, ZIP = b"\x1f\x8b", b"PK"
BOM = b"\xef\xbb\xbf"
_PACKED, _UNPACKED = 1 << 18, 1 << 20
_SMALL = 64 << 20  # bytes: what unpacks to less is read whatever its ratio


class BadContent(Exception):
    """There are bytes, but they are not the file; says what they are, to follow `it is`."""


@dataclass(frozen=True)
class Shape:
    """What a file has to be.

    Attributes
    ----------
    packing
        `gzip`, `zip` with one table in it, or `plain`.
    header
        How the first line of what it holds begins.
    table
        What it is called in messages.
    """

    packing: Literal["gzip", "zip", "plain"] = "gzip"
    header: bytes = b"#"
    table: str = "a table of NCBI Gene"

    @property
    def magic(self) -> bytes:
        """What the file begins with."""
        return {"gzip": GZIP, "zip": ZIP, "plain": b""}[self.packing]


NCBI_TABLE = Shape()


def check_gzip(path: Path, name: str, *, limits: Limits | None = None) -> str:
    """Read a gzipped table to its end and return the sha256 of its bytes.

    Every member's CRC and length are checked; memory stays at a few MB whatever the size.

    Raises
    ------
    FetchError
        The file is empty, not gzip, truncated, damaged, or holds something else than a table with a `#` header, or
        more than `limits` (default: those of the environment) allow.
    """
    try:
        return read_through(path, limits or Limits.from_environment())
    except BadContent as error:
        raise FetchError(f"{name} is {error}") from None


def read_through(path: Path, limits: Limits, shape: Shape = NCBI_TABLE) -> str:
    """Do as `check_gzip` does for a file of any shape, and raise `BadContent` with what it is instead."""
    digest = hashlib.sha256()
    head = b""
    for block in unpack(path, limits, packed=digest.update) if shape.packing == "gzip" else unpacked(path, limits):
        head = head or block[:512]
    if not head.removeprefix(BOM).startswith(shape.header) or is_html(head):
        due = f" (no header line with {shape.header.decode()})" if shape.header else ""
        raise BadContent(f"not {shape.table}{due}: {describe(head)}")
    return digest.hexdigest() if shape.packing == "gzip" else disk.sha256_file(path)


def unpacked(path: Path, limits: Limits) -> Iterator[bytes]:
    """Yield what a file holds, block by block, whether it is gzipped, zipped or plain.

    Raises
    ------
    BadContent
        The file is empty, damaged, or holds more than `limits` allow.
    """
    with path.open("rb") as handle:
        magic = handle.read(2)
    if magic == GZIP:
        yield from unpack(path, limits)
    elif magic == ZIP:
        yield from unzip(path, limits)
    else:
        size = 0
        with path.open("rb") as handle:
            while block := handle.read(_UNPACKED):
                size += len(block)
                if size > limits.file:
                    raise BadContent(f"too large: it has {exceeded('file', limits.file)}")
                yield block
        if not size:
            raise BadContent("empty (0 bytes)")


def unzip(path: Path, limits: Limits) -> Iterator[bytes]:
    """Yield the one table in a zip archive, block by block.

    Raises
    ------
    BadContent
        It is no such archive, damaged, locked by a password, has several files, or holds more than `limits` allow.
    """
    size, packed = 0, path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            tables = [
                entry for entry in archive.infolist() if not entry.is_dir() and not entry.filename.startswith("__")
            ]
            if len(tables) != 1:
                raise BadContent(f"a zip archive of {len(tables):,} files where one table is due")
            with archive.open(tables[0]) as table:
                while block := table.read(_UNPACKED):
                    size += len(block)
                    if size > limits.file:
                        raise BadContent(f"too large: it unpacks to {exceeded('file', limits.file)}")
                    if size > max(_SMALL, limits.ratio * packed):
                        raise BadContent(f"too large: it unpacks to {exceeded('ratio', limits.ratio)}")
                    yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadContent(f"no zip archive that can be read ({error})") from None
    if not size:
        raise BadContent("empty (a zip archive of 0 bytes)")


def unpack(path: Path, limits: Limits, *, packed: Callable[[bytes], object] | None = None) -> Iterator[bytes]:
    """Yield what a gzipped file holds, block by block, and `packed` the blocks of the file itself.

    Raises
    ------
    BadContent
        The file is empty, not gzip, truncated, damaged, or holds more than `limits` allow.
    """
    inflater, ended, read, size = zlib.decompressobj(wbits=31), True, 0, 0
    with path.open("rb") as handle:
        while block := handle.read(_PACKED):
            if not read and not block.startswith(GZIP):
                raise BadContent(f"not gzip: {describe(block)}")
            read += len(block)
            if packed is not None:
                packed(block)
            while block:
                if ended:
                    block = block.lstrip(b"\0")  # padding after the last member is allowed
                    if not block:
                        break
                    inflater, ended = zlib.decompressobj(wbits=31), False
                try:
                    text = inflater.decompress(block, _UNPACKED)
                except zlib.error as error:
                    raise BadContent(f"damaged after {size:,} unpacked bytes ({error})") from None
                size += len(text)
                if size > limits.file:
                    raise BadContent(f"too large: it unpacks to {exceeded('file', limits.file)}")
                if size > max(_SMALL, limits.ratio * read):
                    raise BadContent(f"too large: it unpacks to {exceeded('ratio', limits.ratio)}")
                if text:
                    yield text
                ended = inflater.eof
                block = inflater.unused_data if ended else inflater.unconsumed_tail
    if not read:
        raise BadContent("empty (0 bytes)")
    if not ended:
        raise BadContent(f"truncated: the gzip stream breaks off after {read:,} bytes, {size:,} unpacked")
    if not size:
        raise BadContent("empty (gzip of 0 bytes)")


class LongLine(Exception):
    """A line has more bytes than are read of one; `number` says which, counted from 1."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def whole_lines(blocks: Iterable[bytes], limits: Limits) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines, many at once and without the last line's end, each time with the number of the first.

    Raises
    ------
    LongLine
        What may still become one line has more than `limits.line`.
    """
    number, tail = 1, b""
    for block in blocks:
        whole, newline, rest = block.rpartition(b"\n")
        if newline:
            yield number, tail + whole
            number += whole.count(b"\n") + 1
            tail = rest
        else:
            tail += block
        if len(tail) > limits.line:
            raise LongLine(number)
    yield number, tail


def describe(head: bytes) -> str:
    """Say what the first bytes of a wrong file look like."""
    text = " ".join(head[:512].decode("utf-8", "replace").split())
    lowered = text.lower()
    if is_html(head):
        start, end = lowered.find("<title>"), lowered.find("</title>")
        title = f" titled {text[start + 7 : end].strip()!r}" if 0 <= start < end else ""
        return f"it is an HTML page{title}"
    return f"it begins with {text[:60]!r}"


def is_html(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a web page."""
    lowered = head[:512].lower()
    return b"<html" in lowered or b"<!doctype html" in lowered
