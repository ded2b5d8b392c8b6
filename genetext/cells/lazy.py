"""The same work on Dask arrays: one task per block of rows, on whichever scheduler is at hand.

Sums over cells are folded two by two in the order of the blocks, so that no worker holds those of all blocks, and one
division into blocks gives one result.
"""

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from genetext.cells.product import TILE, CellVectors, Plan, Scale, check, measure
from genetext.cells.weighting import Background
from genetext.errors import CellsError

if TYPE_CHECKING:
    from genetext.cells.embed import Job


def embed(job: "Job", *, compute: bool) -> Any:
    """Do a job whose matrix is a Dask array.

    Returns
    -------
    CellVectors, or with `compute=False` a Dask array `(n_obs, dim) float32` with the blocks of the matrix. A background
    is measured at once in both cases.
    """
    dask, da = importlib.import_module("dask"), importlib.import_module("dask.array")

    matrix = job.found.matrix
    known = job.background
    if job.options.kind.needs_background and known is None:
        known = background(matrix, job.options.scale, whole=job.options.whole)
    # One task holds the plan, so that a worker gets the vectors once, not with every block.
    plan = dask.delayed(job.plan(known), pure=True)
    heights = _heights(matrix)
    starts = np.concatenate([[0], np.cumsum(heights)[:-1]]).astype(int)
    tasks = [
        dask.delayed(_embed)(parts, plan, int(start), job.found.label, whole=job.options.whole)
        for parts, start in zip(_row_blocks(matrix), starts, strict=True)
    ]
    if compute:
        done = dask.compute(*tasks)
        return CellVectors(*(np.concatenate(arrays) for arrays in zip(*map(_fields, done), strict=True)))
    dim = job.priors.dim
    return da.concatenate(
        [
            da.from_delayed(dask.delayed(_vectors)(task), (int(height), dim), np.float32)
            for task, height in zip(tasks, heights, strict=True)
        ]
    )


def background(matrix: Any, scale: Scale, *, whole: bool) -> Background:
    """Measure the background of a Dask array of cells by genes."""
    dask = importlib.import_module("dask")
    partial = [dask.delayed(_measure)(parts, scale, whole=whole) for parts in _row_blocks(matrix)]
    while len(partial) > 1:
        pairs = [partial[at : at + 2] for at in range(0, len(partial), 2)]
        partial = [dask.delayed(_fold)(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    measured = partial[0].compute()
    if not isinstance(measured, Background):
        raise CellsError(f"Dask gave {type(measured).__name__} for the sums over cells")
    return measured


def _row_blocks(matrix: Any) -> list[list[Any]]:
    """Return, for each block of rows, its delayed blocks from left to right."""
    return [list(row) for row in matrix.to_delayed()]


def _heights(matrix: Any) -> Any:
    heights = np.asarray(matrix.chunks[0], float)
    if np.isnan(heights).any():
        raise CellsError("the Dask array does not know how many cells its blocks hold: call compute_chunk_sizes()")
    return heights.astype(int)


def _csr(parts: list[Any]) -> Any:
    from scipy import sparse

    from genetext.cells.stream import Rows

    blocks = [Rows.of(part) for part in parts]
    rows = [block.read(0, block.shape[0]) for block in blocks]
    return rows[0] if len(rows) == 1 else sparse.hstack(rows, format="csr")


def _embed(parts: list[Any], plan: Plan, start: int, where: str, *, whole: bool) -> CellVectors:
    block = _csr(parts)
    done = []
    for at in range(0, max(block.shape[0], 1), TILE):
        tile = block[at : at + TILE]
        check(tile, start=start + at, where=where, whole=whole)
        done.append(plan.embed(tile))
    return CellVectors(*(np.concatenate(arrays) for arrays in zip(*map(_fields, done), strict=True)))


def _measure(parts: list[Any], scale: Scale, *, whole: bool) -> Background:
    block = _csr(parts)
    total = Background.empty(block.shape[1])
    for at in range(0, block.shape[0], TILE):
        tile = block[at : at + TILE]
        check(tile, start=at, where="a block of the Dask array", whole=whole)
        total = total + measure(tile, scale)
    return total


def _fold(one: Background, other: Background) -> Background:
    return one + other


def _fields(cells: CellVectors) -> tuple[Any, Any, Any]:
    return cells.vectors, cells.status, cells.share


def _vectors(cells: CellVectors) -> Any:
    return cells.vectors
