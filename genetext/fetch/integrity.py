"""Whether a file is what NCBI's bulk files are: a gzipped table, whole to the last byte; and if not, what it is."""

import hashlib
import zlib
from pathlib import Path

from genetext.errors import FetchError

GZIP = b"\x1f\x8b"
_BLOCK = 1 << 18


class BadContent(Exception):
    """There are bytes, but they are not the file; says what they are, to follow `it is`."""


def check_gzip(path: Path, name: str) -> str:
    """Read a gzipped table to its end and return the sha256 of its bytes.

    Every member's CRC and length are checked; memory stays at a few MB whatever the size.

    Raises
    ------
    FetchError
        The file is empty, not gzip, truncated, damaged, or holds something else than a table with a `#` header.
    """
    try:
        return read_through(path)
    except BadContent as error:
        raise FetchError(f"{name} is {error}") from None


def read_through(path: Path) -> str:
    """Do as `check_gzip` does, and raise `BadContent` with what the file is instead of a table."""
    digest = hashlib.sha256()
    inflater, ended, head = zlib.decompressobj(wbits=31), True, b""
    with path.open("rb") as handle:
        block = handle.read(_BLOCK)
        if not block:
            raise BadContent("empty (0 bytes)")
        if not block.startswith(GZIP):
            raise BadContent(f"not gzip: {describe(block)}")
        while block:
            digest.update(block)
            while block:
                if ended:
                    block = block.lstrip(b"\0")  # padding after the last member is allowed
                    if not block:
                        break
                    inflater, ended = zlib.decompressobj(wbits=31), False
                try:
                    text = inflater.decompress(block, _BLOCK)
                except zlib.error as error:
                    raise BadContent(f"damaged: {error}") from None
                head = head if len(head) > 256 else head + text[:512]
                if inflater.eof:
                    block, ended = inflater.unused_data, True
                else:
                    block = inflater.unconsumed_tail
            block = handle.read(_BLOCK)
    if not ended:
        raise BadContent(f"truncated: the gzip stream breaks off after {path.stat().st_size:,} bytes")
    if not head:
        raise BadContent("empty (gzip of 0 bytes)")
    if not head.startswith(b"#"):
        raise BadContent(f"not a table of NCBI Gene (no header line with #): {describe(head)}")
    return digest.hexdigest()


def describe(head: bytes) -> str:
    """Say what the first bytes of a wrong file look like."""
    text = " ".join(head[:512].decode("utf-8", "replace").split())
    lowered = text.lower()
    if "<html" in lowered or "<!doctype html" in lowered:
        start, end = lowered.find("<title>"), lowered.find("</title>")
        title = f" titled {text[start + 7 : end].strip()!r}" if 0 <= start < end else ""
        return f"it is an HTML page{title}"
    return f"it begins with {text[:60]!r}"
