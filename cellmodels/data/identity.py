"""Cells known again by what they hold: a number for the expression of each, whatever its name."""

from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def digests(matrix: sparse.csr_matrix) -> NDArray[np.int64]:
    """Return a number for each row, the same for the same values; two others agree by chance in one of 2^64 cases.

    Parameters
    ----------
    matrix
        `(n_cells, n_genes)`, compared as float32; stored zeros and the order of entries do not matter.
    """
    rows = sparse.csr_matrix(matrix, dtype=np.float32, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    rows.sort_indices()
    indices = rows.indices.astype(np.int32)
    numbers = np.empty(rows.shape[0], np.int64)
    for row, (start, stop) in enumerate(pairwise(rows.indptr)):
        digest = blake2b(indices[start:stop].tobytes(), digest_size=8)
        digest.update(rows.data[start:stop].tobytes())
        numbers[row] = int.from_bytes(digest.digest(), "little", signed=True)
    return numbers


def positions(asked: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each number is among those known, the first place of several; -1 where it is not."""
    order = np.argsort(known, kind="stable")
    place = order[np.minimum(np.searchsorted(known, asked, sorter=order), len(known) - 1)]
    matches: NDArray[np.int64] = np.where(known[place] == asked, place, -1)
    return matches
