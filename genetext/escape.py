"""Text from data made fit to be shown: for a terminal, for a table that somebody opens in a spreadsheet, for HTML.

Names of genes, cell types, files and servers' words come from elsewhere. What a terminal would obey (escape sequences,
carriage returns), what turns the direction of writing, and what a spreadsheet would compute is shown letter by letter.
JSON needs none of this: there every such character has its own escape.
"""

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# C0 and C1 controls, format characters (bidirectional overrides, zero width, tags), separators of lines, surrogates.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # parts of words in several scripts, and of emoji
_ASCII = re.compile(r"[ -~\n\t]*")
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d[\d,]*\.?\d*|\.\d+)(e[+-]?\d+)?%?|[+-]?(inf|nan)|[+-]", re.IGNORECASE)


def printable(text: str, *, keep: str = "\n\t") -> str:
    r"""Return text whose invisible and control characters are written out: `\x1b`, `\u202e`.

    Parameters
    ----------
    text
        Any text.
    keep
        Control characters that stay.
    """
    if _ASCII.fullmatch(text) and keep == "\n\t":
        return text
    return "".join(_shown(letter, keep) for letter in text)


def cell(value: object) -> str:
    r"""Return a value as a cell of a tab-separated table: one line, no tab, and no formula.

    A text that a spreadsheet would compute (`=`, `+`, `-` or `@` first, and not a number) gets an apostrophe before it,
    which spreadsheets take for "this is text".
    """
    text = printable(str(value), keep="")
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def tsv(frame: "pd.DataFrame", *, float_format: str | None = None) -> str:
    """Return a frame as tab-separated lines with a header, every text in it as `cell` writes it."""
    safe = frame.map(lambda value: cell(value) if isinstance(value, str) else value).rename(columns=cell)
    text: str = safe.to_csv(sep="\t", index=False, lineterminator="\n", float_format=float_format)
    return text


def plot_text(value: object) -> str:
    """Return a value as matplotlib draws it letter by letter, what stands between dollar signs too."""
    return printable(str(value), keep="\n").replace("$", r"\$")


def json_text(text: str) -> str:
    r"""Return JSON whose invisible characters are written as JSON's own escapes: the same values, safe to look at."""
    if _ASCII.fullmatch(text):
        return text
    return "".join(letter if letter == "\n" or not _is_unseen(letter) else _json_escape(letter) for letter in text)


def _is_unseen(letter: str) -> bool:
    return letter not in _JOINERS and unicodedata.category(letter) in _UNSEEN


def _shown(letter: str, keep: str) -> str:
    if letter in keep or not _is_unseen(letter):
        return letter
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def _json_escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[start : start + 2]):04x}" for start in range(0, len(units), 2))
