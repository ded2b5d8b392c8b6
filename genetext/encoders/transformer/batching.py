"""From token ids to rectangular batches: windows for long texts, batches of near-equal length, padding counted."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.integer]


def windows(tokens: Tokens, capacity: int) -> list[Tokens]:
    """Cut a long text into windows of exactly `capacity` tokens that overlap by at least a quarter.

    The windows are spread evenly, so that all are equally long and each of a text's windows has the same weight in
    the mean: no window is a short tail with little context.

    Parameters
    ----------
    tokens
        `(n,)` token ids without special tokens.
    capacity
        Tokens of a window, special tokens not counted.
    """
    length = len(tokens)
    if length <= capacity:
        return [tokens]
    overlap = capacity // 4
    count = -(-(length - overlap) // (capacity - overlap))
    starts = np.round(np.linspace(0, length - capacity, count)).astype(int)
    return [tokens[start : start + capacity] for start in starts]


def by_budget(lengths: NDArray[np.int64], *, budget: int, padding: float, rows: int) -> list[NDArray[np.int64]]:
    """Sort by length and divide into batches of at most `budget` padded tokens.

    Parameters
    ----------
    lengths
        `(n,)` tokens of each text.
    budget
        Padded tokens that a batch may have (one text may exceed it alone).
    padding
        Share of padding at which a batch is closed early, once it holds a quarter of the budget.
    rows
        Texts that a batch may have.

    Returns
    -------
    list of arrays
        Positions, each once; longest texts first, so that memory peaks in the first batch and not in the last.
    """
    order = np.lexsort((np.arange(len(lengths)), -lengths))
    batches: list[NDArray[np.int64]] = []
    first, total, longest = 0, 0, 0
    for place, position in enumerate(order):
        length = int(lengths[position])
        count = place - first
        if count:
            area = longest * (count + 1)
            wasteful = area - total - length > padding * area and longest * count >= budget // 4
            if area > budget or count == rows or wasteful:
                batches.append(order[first:place])
                first, total, count = place, 0, 0
        if not count:
            longest = length
        total += length
    if len(order):
        batches.append(order[first:])
    return batches


def groups(batches: Sequence[NDArray[np.int64]], at_once: int) -> Iterator[list[NDArray[np.int64]]]:
    """Join neighbouring batches of a plan, `at_once` at a time, for devices that need more work to be busy."""
    for start in range(0, len(batches), at_once):
        yield list(batches[start : start + at_once])


def pad(sequences: Sequence[Tokens], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stack sequences, filled up on the right: ids and attention mask, both `(n, longest) int64`."""
    lengths = np.array([len(sequence) for sequence in sequences])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = np.concatenate(sequences)
    return ids, mask.astype(np.int64)
