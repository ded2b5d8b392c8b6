"""How the sections of a text are written: `symbol,name,summary/facts:120,uniprot.function:60,markers`.

Sections stand in the order in which they are named. A `/` parts alternatives, of which the first is taken that a gene
has; a number after `:` is how many words there may be; `ortholog.` before a section's name means that of the gene's
one-to-one human ortholog. A source's name alone means all its sections.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from genetext.errors import TextError

ORTHOLOG = "ortholog."
OF_THE_SNAPSHOT = ("symbol", "name", "summary", "facts", "designations")
"""Sections whose text is in every snapshot; others are those of sources (`genetext.sources`)."""
DEFAULT = ("symbol", "name", "summary/ortholog.summary/facts/ortholog.facts")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class Section:
    """One place in a text.

    Attributes
    ----------
    alternatives
        Names of sections, of which the first that a gene has is taken.
    words
        How many words it may have; None: as many as there are.
    """

    alternatives: tuple[str, ...]
    words: int | None = None

    @classmethod
    def parse(cls, written: str) -> "Section":
        """Read one section.

        Raises
        ------
        TextError
            It is not written as sections are.
        """
        names, colon, words = written.strip().partition(":")
        alternatives = tuple(name.strip() for name in names.split("/"))
        wrong = [name for name in alternatives if not _NAME.fullmatch(name)]
        if wrong or (colon and not (words.isascii() and words.isdecimal() and 0 < int(words) < 10**6)):
            raise TextError(
                f"{written!r} is no section of a text: write a name (summary, uniprot.function), several with / "
                f"between them, of which the first counts that a gene has, and after a : how many words "
                f"(summary/facts:120)"
            )
        full = tuple("ortholog.summary" if name == "ortholog" else name for name in alternatives)
        return cls(tuple(dict.fromkeys(full)), int(words) if colon else None)

    def __str__(self) -> str:
        names = "/".join(self.alternatives)
        return names if self.words is None else f"{names}:{self.words}"


def parse(written: Iterable[str]) -> tuple[Section, ...]:
    """Read the sections of a text; one that begins with `+` is put behind those of the default text.

    Raises
    ------
    TextError
        One is not written as sections are, or two name the same section.
    """
    given = [text.strip() for text in written]
    if any(text.startswith("+") for text in given):
        if not all(text.startswith("+") for text in given):
            raise TextError("either all sections begin with + (beside the default text) or none does")
        given = [*DEFAULT, *(text[1:] for text in given)]
    sections = tuple(map(Section.parse, given))
    names = [name for section in sections for name in section.alternatives]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not sections:
        raise TextError(f"sections are named more than once: {', '.join(twice)}" if twice else "no section is named")
    return sections


def own_name(name: str) -> tuple[str, bool]:
    """Return a section's name without `ortholog.`, and whether it is that of the human ortholog."""
    return name.removeprefix(ORTHOLOG), name.startswith(ORTHOLOG)
