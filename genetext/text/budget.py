"""A text of no more words than its section may have."""

from collections.abc import Sequence

from genetext.text import sentences


def within(passages: Sequence[str], words: int | None) -> tuple[str, int]:
    """Join passages to one text of at most so many words, and return it with the number of words left out.

    Whole passages first; of the one that no longer fits as many whole sentences as do, and of a first sentence that is
    itself too long its beginning, so that a section is never lost to its budget.

    Parameters
    ----------
    passages
        In the order of their worth.
    words
        The budget; None: none.
    """
    passages = [passage for passage in passages if passage]
    whole = joined(passages)
    total = len(whole.split())
    if words is None or total <= words:
        return whole, 0
    kept: list[str] = []
    left = words
    every = [sentence for passage in passages for sentence in sentences.split(passage)]
    for sentence in every:
        length = len(sentence.split())
        if length > left:
            break
        kept.append(sentence)
        left -= length
    if not kept:
        kept, left = [f"{' '.join(every[0].split()[:words]).rstrip(',;:.')}."], 0
    return joined(kept), total - (words - left)


def joined(parts: Sequence[str]) -> str:
    """Join texts, each but the last one ended with a stop."""
    *before, last = parts or ("",)
    return " ".join([*(part if part.endswith((".", "!", "?")) else f"{part}." for part in before), last])
