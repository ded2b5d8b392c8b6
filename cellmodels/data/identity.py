"""Cells known again by what they hold: a number for the expression of each, whatever its name; data sets likewise."""

from collections.abc import Mapping
from hashlib import blake2b, sha256
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
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


def data_digest(adata: Any) -> str:
    """Return the sha256 of all that an AnnData holds, the same for equal contents, in memory or read anew."""
    named = [getattr(adata, name) for name in ("layers", "obsm", "varm", "obsp", "varp", "uns")]
    raw = None if adata.raw is None else [adata.raw.X, adata.raw.var]
    return digest_of(adata.X, adata.obs, adata.var, *named, raw)


def digest_of(*values: Any) -> str:
    """Return the sha256 of values: arrays, sparse matrices, frames, and mappings and sequences of these or of JSON."""
    digest = sha256()
    _add(digest, values)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Add a value to a digest: numbers by their bytes, all else by what is written in it."""
    if sparse.issparse(value):
        rows = value.tocsr()
        value = [rows.shape, rows.indptr, rows.indices, rows.data]
    elif isinstance(value, Mapping):
        value = sorted(([str(name), value[name]] for name in value), key=lambda item: str(item[0]))
    elif isinstance(value, pd.DataFrame):
        value = [list(map(str, value.columns)), pd.util.hash_pandas_object(value.astype(str)).to_numpy()]
    elif isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
        value = [value.shape, value.tolist()]
    if isinstance(value, np.ndarray):
        digest.update(repr((value.shape, value.dtype.str)).encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)}[".encode())
        for item in value:
            _add(digest, item)
    else:
        digest.update(f"{value!r};".encode())
