"""Which of several texts on one gene say what another says already."""

import re
from collections import Counter
from collections.abc import Sequence
from math import ceil

_WORD = re.compile(r"[^\W_]+")
_SHARED = 0.8
"""Texts whose words are shared to this part (Jaccard index) say nearly the same."""


def without(rows: Sequence[tuple[str, str, int]], *, near: bool = False) -> list[int]:
    """Return the numbers of the rows to keep, in their order.

    Parameters
    ----------
    rows
        Date, text and number of each row of one gene and section.
    near
        Whether texts that say nearly the same go, too; of such the newest stays, of equally old ones the first.
    """
    first: dict[str, tuple[str, str, int]] = {}
    for row in rows:
        first.setdefault(row[1].casefold(), row)
    distinct = list(first.values())
    if near and len(distinct) > 1:
        distinct = _without_near(distinct)
    return [number for *_, number in distinct]


def _without_near(rows: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """Leave out rows that share most words with a newer one.

    Only texts that share one of their rarest words are compared: two sets with a Jaccard index of at least t share one
    of the first `n - ceil(t n) + 1` of their n words in any fixed order (prefix filter of Chaudhuri, Ganti & Kaushik,
    "A primitive operator for similarity joins in data cleaning", 2006).
    """
    words = [frozenset(_WORD.findall(text.casefold())) for _, text, _ in rows]
    frequency = Counter(word for several in words for word in several)
    by_word: dict[str, list[int]] = {}
    kept = set()
    for at in sorted(range(len(rows)), key=lambda row: rows[row][0], reverse=True):
        rarest = sorted(words[at], key=lambda word: (frequency[word], word))
        prefix = rarest[: len(rarest) - ceil(_SHARED * len(rarest)) + 1]
        others = {other for word in prefix for other in by_word.get(word, ())}
        if any(len(words[at] & words[other]) >= _SHARED * len(words[at] | words[other]) for other in others):
            continue
        kept.add(at)
        for word in prefix:
            by_word.setdefault(word, []).append(at)
    return [row for at, row in enumerate(rows) if at in kept]
