"""Whether a file is what NCBI's bulk files are: a gzipped table, whole to the last byte; and if not, what it is."""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from genetext.errors import FetchError
from genetext.fetch.limits import Limits, exceeded

GZIP = b"\x1f\x8b"
_PACKED, _UNPACKED = 1 << 18, 1 << 20
_SMALL = 64 << 20  # bytes: what unpacks to less is read whatever its ratio


class BadContent(Exception):
    """There are bytes, but they are not the file; says what they are, to follow `it is`."""


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


def read_through(path: Path, limits: Limits) -> str:
    """Do as `check_gzip` does, and raise `BadContent` with what the file is instead of a table."""
    digest = hashlib.sha256()
    head = b""
    for block in unpack(path, limits, packed=digest.update):
        head = head or block[:512]
    if not head.startswith(b"#"):
        raise BadContent(f"not a table of NCBI Gene (no header line with #): {describe(head)}")
    return digest.hexdigest()


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


def describe(head: bytes) -> str:
    """Say what the first bytes of a wrong file look like."""
    text = " ".join(head[:512].decode("utf-8", "replace").split())
    lowered = text.lower()
    if "<html" in lowered or "<!doctype html" in lowered:
        start, end = lowered.find("<title>"), lowered.find("</title>")
        title = f" titled {text[start + 7 : end].strip()!r}" if 0 <= start < end else ""
        return f"it is an HTML page{title}"
    return f"it begins with {text[:60]!r}"
