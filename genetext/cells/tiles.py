"""Expression in blocks of rows, from wherever it lies, and work on its tiles by several threads, in order."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genetext.cells.product import TILE
from genetext.errors import CellsError
from genetext.matrices import StoredMatrix, check_sparse, real_numbers
from genetext.progress import Progress

BLOCK_BYTES = 48e6
"""About how much of a matrix is read at once. Two blocks are in memory: one is read while the other is worked on."""

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Rows:
    """An expression matrix that gives blocks of rows: in memory or on disk, sparse or dense.

    Attributes
    ----------
    matrix
        Anything with `shape` that a slice of rows can be taken of.
    label
        Where it was found, for messages: `X`, `layers['counts']`, `raw.X`.
    kept
        Its columns that are genes, in their order; None: all.
    """

    matrix: Any
    label: str = "the matrix"
    kept: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, matrix: Any, label: str = "the matrix") -> "Rows":
        """Wrap a matrix, turning what cannot give rows into what can.

        Parameters
        ----------
        matrix
            NumPy array (`(n,)` counts as one cell), scipy sparse matrix or array, a `StoredMatrix`, an AnnData sparse
            data set on disk, an HDF5 data set, a Zarr array or a Dask array.
        label
            Where it was found.

        Raises
        ------
        CellsError
            It is no such matrix, not of real numbers, or a sparse matrix that points outside itself.
        """
        if isinstance(matrix, np.ndarray):
            matrix = np.atleast_2d(np.asarray(matrix))
        elif sparse.issparse(matrix):
            matrix = matrix if matrix.format in ("csr", "csc") else matrix.tocsr()
            matrix = check_sparse(matrix, label).tocsr()  # of CSC, one copy: its columns would be searched each time
        elif not isinstance(matrix, StoredMatrix) and not hasattr(matrix, "dask"):
            node = getattr(matrix, "group", matrix) if hasattr(matrix, "format") else matrix
            if hasattr(node, "shape") or hasattr(node, "attrs"):
                matrix = StoredMatrix(node, Path(str(getattr(getattr(node, "file", None), "filename", ""))))
        if len(getattr(matrix, "shape", ())) != 2:
            raise CellsError(f"{label} is a {type(matrix).__name__}, not a matrix of cells by genes")
        if np.dtype(matrix.dtype).kind not in "biuf":
            raise CellsError(f"{label} holds {matrix.dtype}, and expression is real numbers")
        if isinstance(matrix, StoredMatrix) and matrix.format == "csc":
            matrix = matrix.read().tocsr()  # on disk gene by gene: there are no rows to read
        return cls(matrix, label)

    def only(self, columns: NDArray[np.int64]) -> "Rows":
        """Return the rows without the other columns."""
        if hasattr(self.matrix, "dask"):
            return replace(self, matrix=self.matrix[:, columns])
        return replace(self, kept=columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        n_cells, n_genes = self.matrix.shape
        return int(n_cells), int(n_genes) if self.kept is None else len(self.kept)

    @property
    def block_size(self) -> int:
        """Rows that take about `BLOCK_BYTES` as CSR, a multiple of the tile."""
        if isinstance(self.matrix, np.ndarray) or getattr(self.matrix, "format", "") == "dense":
            per_row = 8.0 * self.matrix.shape[1]
        else:
            probe = self.read(0, min(self.shape[0], 64))
            per_row = 12.0 * max(probe.nnz, 1) / max(probe.shape[0], 1)
        return int(np.clip(BLOCK_BYTES / max(per_row, 1) // TILE, 1, 256)) * TILE

    def read(self, start: int, stop: int) -> Any:
        """Return rows as canonical CSR: sorted or not, but each gene at most once per cell."""
        block = self.matrix[start:stop]
        if hasattr(block, "dask"):
            block = block.compute()
            block = check_sparse(block.tocsr(), self.label) if sparse.issparse(block) else block
        if not sparse.issparse(block):
            block = sparse.csr_array(real_numbers(np.asarray(block).reshape(-1, self.matrix.shape[1])))
        block = block.tocsr()
        if block.dtype == bool:
            block = block.astype(np.uint8)
        if not block.has_canonical_format:
            block = block.copy()
            block.sum_duplicates()
        return block if self.kept is None else block[:, self.kept]


def over_tiles(
    rows: Rows,
    work: Callable[[int, Any], Result],
    *,
    block_size: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    stage: str = "cells",
) -> Iterator[tuple[int, Result]]:
    """Yield `(first row, work(first row, tile))` for all tiles, in order, computed by several threads.

    Parameters
    ----------
    rows
        The matrix.
    work
        Called with the first row and the CSR tile of at most `TILE` cells. Tiles start at multiples of `TILE`.
    block_size
        Rows to read at once, rounded up to a multiple of `TILE`. Default: by the size of a row.
    threads
        Default: one per core that this process may use.
    progress, stage
        Told `(stage, cells done, cells in all)` after each tile.
    """
    n_cells = rows.shape[0]
    if block_size is not None and block_size < 1:
        raise CellsError(f"block_size is {block_size}: read one cell at a time at least")
    size = rows.block_size if block_size is None else -(-block_size // TILE) * TILE
    pool = ThreadPoolExecutor(threads or usable_cores())
    try:
        waiting: list[tuple[int, Future[Result]]] = []
        for start in range(0, n_cells, size):
            block = rows.read(start, min(start + size, n_cells))
            # The block before is worked on while this one is read; two are in memory at most.
            yield from _finish(waiting, n_cells, progress, stage)
            waiting = [(start + at, pool.submit(_cut, work, block, start, at)) for at in range(0, block.shape[0], TILE)]
            del block
        yield from _finish(waiting, n_cells, progress, stage)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cut(work: Callable[[int, Any], Result], block: Any, start: int, at: int) -> Result:
    return work(start + at, block[at : at + TILE])


def _finish(
    waiting: list[tuple[int, Future[Result]]], n_cells: int, progress: Progress | None, stage: str
) -> Iterator[tuple[int, Result]]:
    while waiting:
        start, future = waiting.pop(0)
        yield start, future.result()
        if progress is not None:
            progress(stage, min(start + TILE, n_cells), n_cells)
