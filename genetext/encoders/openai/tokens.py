"""Counting the tokens of API models, exactly where their table can be loaded, else by a bound that is never too low.

The OpenAI embedding models share one byte-level vocabulary, `cl100k_base`. Its merge table is a download (1.7 MB, once;
`TIKTOKEN_CACHE_DIR` says where it is kept). Every token of such a vocabulary stands for at least one byte, so a text
never has more tokens than UTF-8 bytes: enough to know that a text is within a limit of 8,191, which nearly all gene
texts are, and to fill requests. Only a text with more bytes than that needs the table.
"""

import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from genetext.errors import EncoderError

VOCABULARY = "cl100k_base"


class Table(Protocol):
    """What is used of `tiktoken.Encoding`."""

    def encode_ordinary(self, text: str) -> list[int]:
        """Return token ids; special tokens in the text are read as text."""

    def decode_with_offsets(self, tokens: Sequence[int]) -> tuple[str, list[int]]:
        """Return the text, and for each token the character at which it starts."""


def bound(text: str) -> int:
    """Return a number of tokens that `text` never exceeds: its UTF-8 bytes."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise EncoderError(f"a text is not valid Unicode ({error.reason} at character {error.start})") from None


def load(*, patience: float = 15.0) -> Table | None:
    """Load the table of `cl100k_base`; None where tiktoken is not installed or the table cannot be had.

    Parameters
    ----------
    patience
        Seconds that its download may take. tiktoken's own has no limit, and a machine behind a firewall would hang.
    """
    try:
        import tiktoken
    except ImportError:
        return None
    tables: list[Table] = []

    def fetch() -> None:
        try:
            tables.append(tiktoken.get_encoding(VOCABULARY))
        except Exception:
            # Many kinds: no route, refused, a wrong hash, a folder that cannot be written. All mean: no table.
            return

    worker = threading.Thread(target=fetch, daemon=True, name="genetext-token-table")
    worker.start()
    worker.join(patience)
    return tables[0] if tables else None


def windows(text: str, limit: int, table: Table) -> list[tuple[str, int]]:
    """Divide a text into consecutive windows of nearly equal length, each of at most `limit` tokens.

    Returns
    -------
    list[tuple[str, int]]
        The windows, which joined are the text, and how many tokens each has.
    """
    tokens = table.encode_ordinary(text)
    share = -(-len(tokens) // -(-len(tokens) // limit))  # as few windows as there can be, and no tiny one at the end
    starts = [*table.decode_with_offsets(tokens)[1], len(text)]
    pieces = []
    first = 0
    while first < len(tokens):
        piece, count = _window(text, starts, first, min(first + share, len(tokens)), limit, table)
        pieces.append((piece, count))
        first = bisect_left(starts, starts[first] + len(piece))
    return pieces


def head(text: str, limit: int, table: Table) -> tuple[str, int]:
    """Return the longest beginning of `text`, up to whole tokens and characters, of at most `limit` tokens; its count.

    A beginning may divide into other tokens than it does within the whole, so what is returned was counted itself.
    """
    tokens = table.encode_ordinary(text)
    if len(tokens) <= limit:
        return text, len(tokens)
    return _window(text, [*table.decode_with_offsets(tokens)[1], len(text)], 0, limit, limit, table)


def _window(text: str, starts: list[int], first: int, last: int, limit: int, table: Table) -> tuple[str, int]:
    """Return the text from token `first` to before `last`, or fewer where cutting it out makes more tokens of it."""
    for end in range(last, first, -1):
        piece = text[starts[first] : starts[end]]
        count = len(table.encode_ordinary(piece))
        if piece and count <= limit:
            return piece, count
    raise EncoderError(f"a window of {limit} tokens is less than one character of a text")
