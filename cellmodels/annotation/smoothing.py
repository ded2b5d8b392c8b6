"""Smooth the logits of cells along a graph, by solving one sparse system for all classes.

The smoothed logits minimise how far they go from the given ones and how much they vary along the links:

    min_P |P - P0|_F^2 + lam tr(P^T L P)    <=>    (I + lam L) P = P0

(graph-regularised logits, arXiv 2508.04747). The matrix is symmetric and positive definite for every lam >= 0. It is
never inverted: conjugate gradients with its diagonal as preconditioner run for all classes side by side, one product
with the graph per step, and a class leaves the run when its own residual is small enough. As the diagonal is
`1 + lam degree`, a graph of k neighbours and any lam gives a condition number of about `2 (1 + lam k)` at the most:
tens of steps. (An incomplete Cholesky factor would save a third of them and need as much memory again as the graph.)
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.groups.graphs import Floats, LaplacianKind, laplacian
from genetext.errors import CellsError

log = logging.getLogger("genetext")
Real = TypeVar("Real", bound=np.floating[Any])
_WORK_VALUES = 8_000_000
"""Values of one working array: classes are solved in groups so that four of these arrays are all that is needed."""
_BASIS_VALUES = 128_000_000
"""Most values of what `refine_blocks` keeps of several sets."""
_STIFF = 1e3
"""With a larger entry on the diagonal than that, float32 has no digits to spare."""


def refine_logits(
    logits: Any,
    graph: Any,
    lam: float = 1.0,
    *,
    kind: LaplacianKind = "unnormalised",
    tol: float = 1e-6,
    max_steps: int = 1000,
) -> Floats:
    """Return `(I + lam L)^-1 P0`: logits smoothed along the links of a graph.

    Parameters
    ----------
    logits
        `P0 (n, c)`, finite: any scores of cells for classes, logits or probabilities.
    graph
        `(n, n)`, symmetric weights of links, none negative (`graphs.knn_graph`). It may fall apart: each part is
        smoothed for itself, and a cell without links keeps its logits.
    lam
        Strength, 0 or more. 0 changes nothing; as it grows, each part goes towards its mean (for the normalised
        Laplacian towards the mean by root of degree).
    kind
        `unnormalised`: `L = D - A`, which keeps column sums, and row sums where all rows add up to the same.
        `normalised`: `L = I - D^-1/2 A D^-1/2`: the same lam means the same on graphs of different degrees.
    tol
        A class is done when its residual is below `tol` times the norm of its logits.
    max_steps
        Stop with an error where a class is not done after so many steps.

    Returns
    -------
    `(n, c) float64`.

    Raises
    ------
    CellsError
        Shapes do not fit, values are not finite, `lam` or `tol` makes no sense, or the solver did not converge.
    """
    start = np.array(logits, np.float64)
    if start.ndim != 2 or not start.shape[1]:
        raise CellsError(f"logits have shape {start.shape}: one row per cell and one column per class are needed")
    if not np.isfinite(start).all():
        bad = np.flatnonzero(~np.isfinite(start).all(axis=1))
        raise CellsError(f"{len(bad):,} cells have logits that are NaN or infinite, the first in row {bad[0]}")
    if not (np.isfinite(lam) and lam >= 0):
        raise CellsError(f"lam is {lam}: give a number that is 0 or greater")
    if not 0 < tol < 1:
        raise CellsError(f"tol is {tol}: give a relative residual between 0 and 1")
    if getattr(graph, "shape", None) != (len(start), len(start)):
        raise CellsError(f"logits of {len(start):,} cells need a graph of as many, this one is {np.shape(graph)}")
    return solve(_system(graph, lam, kind), start, tol=tol, max_steps=max_steps)


def refine_blocks(
    sets: Sequence[Floats], block: NDArray[np.int64], graph: Any, lam: float, *, kind: LaplacianKind
) -> Iterator[Floats]:
    """Smooth several sets of logits that cells of a block share, to about five digits.

    Smoothing is linear, so that sets of rank `r` together need `r` solutions, not one for each of their columns.

    Parameters
    ----------
    sets
        `(n_blocks, c)` each, finite.
    block
        `(n,)`: the row that each cell has in them.
    graph, lam, kind
        As in `refine_logits`.

    Yields
    ------
    `(n, c)` for each set.
    """
    if not sets:
        return
    system = _system(graph, lam, kind)
    exact: type[np.floating[Any]] = np.float64 if system.diagonal().max(initial=0) > _STIFF else np.float32
    system = system.astype(exact)
    left, size, right = np.linalg.svd(np.hstack(sets), full_matrices=False)
    rank = int((size > 1e-7 * size[:1]).sum())
    basis, shares = (left * size)[:, :rank].astype(exact), right[:rank].astype(exact)
    if rank * len(block) > _BASIS_VALUES:
        for each in sets:
            yield solve(system, each[block].astype(exact), tol=1e-5).astype(np.float64)
        return
    smoothed = solve(system, basis[block], tol=1e-5)
    for columns in np.split(shares, len(sets), axis=1):
        yield (smoothed @ columns).astype(np.float64)


def _system(graph: Any, lam: float, kind: LaplacianKind) -> sparse.csr_matrix:
    lap = laplacian(graph, kind=kind)
    return (sparse.identity(lap.shape[0], format="csr") + lam * lap).tocsr()


def solve(
    system: sparse.csr_matrix, right: NDArray[Real], *, tol: float = 1e-6, max_steps: int = 1000
) -> NDArray[Real]:
    """Solve a symmetric positive definite system for several right sides by preconditioned conjugate gradients.

    Parameters
    ----------
    system
        `(n, n)` of floats.
    right
        `(n, c)` of the same floats, where the search starts; overwritten with the solution.
    tol
        Residual relative to the norm of each column.
    max_steps
        Most steps.

    Returns
    -------
    `right`. A column's solution does not depend on which others are solved with it.
    """
    group = max(1, _WORK_VALUES // max(len(right), 1))
    for first in range(0, right.shape[1], group):
        columns = slice(first, first + group)
        right[:, columns] = _solve(system, right[:, columns], tol=tol, max_steps=max_steps)
    return right


def _solve(system: sparse.csr_matrix, right: NDArray[Real], *, tol: float, max_steps: int) -> NDArray[Real]:
    inverse = (1 / system.diagonal())[:, None]
    solution = right.copy()
    residual = right - system @ solution
    goal = tol * np.linalg.norm(right, axis=0)
    active = np.flatnonzero(np.linalg.norm(residual, axis=0) > goal)
    residual = np.ascontiguousarray(residual[:, active])
    direction = inverse * residual
    inner = np.einsum("ij,ij->j", residual, direction)
    for step in range(max_steps + 1):
        if not len(active):
            log.debug("smoothed %d classes in %d steps", right.shape[1], step)
            return solution
        pushed = system @ direction
        length = inner / np.einsum("ij,ij->j", direction, pushed)
        solution[:, active] += length * direction
        residual -= length * pushed
        going = np.linalg.norm(residual, axis=0) > goal[active]
        if not going.all():
            active, inner = active[going], inner[going]
            residual, direction = residual[:, going].copy(), direction[:, going].copy()
        preconditioned = inverse * residual
        updated = np.einsum("ij,ij->j", residual, preconditioned)
        direction *= updated / inner
        direction += preconditioned
        inner = updated
    raise CellsError(
        f"smoothing did not converge in {max_steps:,} steps for {len(active)} of {right.shape[1]} classes: allow more "
        f"steps or a larger tol"
    )
