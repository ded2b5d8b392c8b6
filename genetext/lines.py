"""Lines of text files that people bring: plain or gzipped, in UTF-8, and no larger than can be meant."""

import gzip
import io
import zlib
from pathlib import Path

from genetext.errors import GenetextError

MAX_BYTES = 2**30
"""Of a file, unpacked. All of MSigDB has a twentieth."""
_MAGIC = b"\x1f\x8b"


def read_lines(path: Path, *, error: type[GenetextError], refusal: str, max_bytes: int = MAX_BYTES) -> list[str]:
    """Return the lines of a text file that are not blank, without their ends.

    Parameters
    ----------
    path
        Plain or gzipped, whatever its name.
    error, refusal
        What to raise, and how its sentence begins: `no gene sets can be read from FILE`.
    max_bytes
        Refuse a file that is larger when unpacked.

    Raises
    ------
    error
        The file is absent, damaged, too large, or not UTF-8.
    """
    try:
        with path.open("rb") as packed:
            gzipped = packed.read(2) == _MAGIC
            packed.seek(0)
            with gzip.open(packed) if gzipped else packed as unpacked:
                content = unpacked.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise error(f"{refusal}: it has more than {max_bytes:,} bytes when unpacked; take what is needed out of it")
        text = content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as cause:
        raise error(f"{refusal}: {getattr(cause, 'strerror', None) or cause}") from cause
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        raise error(f"{refusal}: line {line:,} is not UTF-8: save the file as UTF-8") from cause
    return [line for line in io.StringIO(text, newline=None).read().split("\n") if line.strip()]
