"""The same work on Dask arrays: one task per block of rows, on whichever scheduler is at hand.

Sums over cells are folded two by two in the order of the blocks, so that no worker holds those of all blocks, and one
division into blocks gives one result.
"""

import importlib
from operator import add, attrgetter
from typing import Any

import numpy as np

from genetext.cells.expression import ExpressionMatrix
from genetext.cells.job import Job
from genetext.cells.product import TILE, CellVectors, Plan, Scale, check, measure
from genetext.cells.tiles import Rows
from genetext.cells.weighting import Background
from genetext.errors import CellsError


def embed(job: Job, *, compute: bool) -> Any:
    """Do a job whose matrix is a Dask array.

    Returns
    -------
    CellVectors, or with `compute=False` a Dask array `(n_obs, dim) float32` with the blocks of the matrix. A background
    is measured at once in both cases.
    """
    dask, da = importlib.import_module("dask"), importlib.import_module("dask.array")

    measured = background(job.expression, job.scale) if job.lacks_background else None
    # One task holds the plan, so that a worker gets the vectors once, not with every block.
    plan = dask.delayed(job.plan(measured), pure=True)
    heights = np.asarray(job.expression.rows.matrix.chunks[0], float)
    if np.isnan(heights).any():
        raise CellsError("the Dask array does not know how many cells its blocks hold: call compute_chunk_sizes()")
    starts = np.concatenate([[0], np.cumsum(heights)[:-1]]).astype(int)
    where, whole = job.expression.label, job.expression.kind == "counts"
    tasks = [
        dask.delayed(_embed)(parts, plan, int(start), where, whole=whole)
        for parts, start in zip(_row_blocks(job.expression), starts, strict=True)
    ]
    if compute:
        return CellVectors.concatenated(dask.compute(*tasks))
    vectors = dask.delayed(attrgetter("vectors"))
    blocks = [
        da.from_delayed(vectors(task), (int(height), job.priors.dim), np.float32)
        for task, height in zip(tasks, heights, strict=True)
    ]
    return da.concatenate(blocks)


def background(matrix: ExpressionMatrix, scale: Scale) -> Background:
    """Measure the background of a Dask array of cells by genes."""
    dask = importlib.import_module("dask")
    whole = matrix.kind == "counts"
    partial = [dask.delayed(_measure)(parts, scale, matrix.label, whole=whole) for parts in _row_blocks(matrix)]
    while len(partial) > 1:
        pairs = [partial[first : first + 2] for first in range(0, len(partial), 2)]
        partial = [dask.delayed(add)(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    measured = partial[0].compute()
    if not isinstance(measured, Background):
        raise CellsError(f"Dask gave {type(measured).__name__} for the sums over cells")
    return measured


def _row_blocks(matrix: ExpressionMatrix) -> list[list[Any]]:
    """Return, for each block of rows, its delayed blocks from left to right."""
    return [list(row) for row in matrix.rows.matrix.to_delayed()]


def _csr(parts: list[Any], where: str) -> Any:
    from scipy import sparse

    blocks = [Rows.of(part, where) for part in parts]
    rows = [block.read(0, block.shape[0]) for block in blocks]
    return rows[0] if len(rows) == 1 else sparse.hstack(rows, format="csr")


def _embed(parts: list[Any], plan: Plan, start: int, where: str, *, whole: bool) -> CellVectors:
    block = _csr(parts, where)
    done = []
    for first in range(0, max(block.shape[0], 1), TILE):
        tile = block[first : first + TILE]
        check(tile, start=start + first, where=where, whole=whole)
        done.append(plan.embed(tile))
    return CellVectors.concatenated(done)


def _measure(parts: list[Any], scale: Scale, where: str, *, whole: bool) -> Background:
    block = _csr(parts, where)
    total = Background.empty(block.shape[1])
    for first in range(0, block.shape[0], TILE):
        tile = block[first : first + TILE]
        check(tile, start=first, where=f"a block of {where}", whole=whole)
        total = total + measure(tile, scale)
    return total
