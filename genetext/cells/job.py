"""What is to be done with some cells, checked before any work; and the work on matrices in memory and on disk."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genetext.cells import expression as expressions
from genetext.cells import weighting as weightings
from genetext.cells.expression import ExpressionMatrix
from genetext.cells.product import CellVectors, Plan, Scale, measure
from genetext.cells.tiles import over_tiles
from genetext.cells.weighting import Background, GeneTerms, Weighting, digest_of
from genetext.errors import CellsError, first_ten

if TYPE_CHECKING:
    from genetext.priors import GenePriors

log = logging.getLogger("genetext")


@dataclass(frozen=True)
class Options:
    """What decides the numbers: everything else (blocks, threads, where the matrix lies) must not.

    Attributes
    ----------
    weighting, top_n
        As in `genetext.cells.weighting`.
    expression, layer
        What the matrix holds and where it is, as in `genetext.cells.expression.find`.
    target_sum
        The sum that cells are scaled to before the logarithm.
    pca
        Project the gene vectors to this many directions first; None: do not.
    unit
        Scale cell vectors to unit length.
    """

    weighting: str = "mean"
    top_n: int | None = None
    expression: str = "auto"
    layer: str | None = None
    target_sum: float = 1e4
    pca: int | None = None
    unit: bool = False

    def __post_init__(self) -> None:
        weightings.find(self.weighting, self.top_n)
        if self.expression not in expressions.EXPRESSIONS:
            raise CellsError(f"expression is {self.expression!r}: choose {expressions.CHOICES}")
        if not 1e-6 <= self.target_sum <= 1e15:
            raise CellsError(f"target_sum is {self.target_sum}: scale cells to 1e-6 to 1e15 counts, such as 10000")

    @property
    def kind(self) -> Weighting:
        """The weighting."""
        return weightings.find(self.weighting, self.top_n)


@dataclass(frozen=True, eq=False)
class Job:
    """Priors, options and matrix that fit together; what is left is work.

    Attributes
    ----------
    options
        What decides the numbers.
    priors
        Aligned to the genes of the data, projected.
    expression
        The expression matrix.
    n_duplicated
        Columns whose name stands more than once in `var_names`. Each weighs for itself.
    background
        Of other cells, for the columns of the matrix; None: measured on these.
    cells
        Names of the cells, for messages.
    """

    options: Options
    priors: "GenePriors"
    expression: ExpressionMatrix
    n_duplicated: int = 0
    background: Background | None = field(default=None, repr=False)
    cells: Any = field(default=None, repr=False)

    @classmethod
    def of(
        cls, adata: Any, priors: Any, options: Options, *, background: Background | None = None, **align: Any
    ) -> "Job":
        """Align the priors, find the matrix, and refuse what cannot be embedded.

        Raises
        ------
        CellsError
            The priors are aligned to other genes, no gene has a vector, or the expression is not what was said.
        """
        fitted = aligned(priors, adata, **align)
        if options.pca is not None:
            fitted = fitted.pca(options.pca)
        known = fitted.vectors[fitted.mask]
        if not known.size:
            raise CellsError(
                f"none of the {len(fitted):,} genes has a vector in {fitted.description}: there is nothing to average"
            )
        if not np.isfinite(known).all():
            raise CellsError(f"{fitted.description} holds NaN or infinite values in the vectors of matched genes")
        n_duplicated = int(adata.var_names.duplicated(keep=False).sum())
        if n_duplicated:
            log.warning("%d columns share their var_names with another: each weighs for itself", n_duplicated)
        matrix = expressions.find(adata, expression=options.expression, layer=options.layer)
        if background is not None and len(background) != len(matrix.columns):
            raise CellsError(
                f"the background is of {len(background):,} genes, {matrix.label} has {len(matrix.columns):,}: measure "
                f"it on cells with the same genes"
            )
        if background is not None and background.genes and background.genes != digest_of(matrix.names):
            raise CellsError(
                f"the background is of other genes than those of {matrix.label}, or of another order of them: measure "
                f"it on cells whose genes stand in the same order, for example measure_background(train[:, "
                f"data.var_names])"
            )
        return cls(options, fitted, matrix, n_duplicated, background, adata.obs_names)

    @property
    def scale(self) -> Scale:
        """How expression becomes `w`."""
        return self.expression.scale(self.options.target_sum)

    @property
    def lacks_background(self) -> bool:
        """Whether the background has to be measured first."""
        return self.options.kind.needs_background and self.background is None

    def plan(self, background: Background | None = None) -> Plan:
        """Return what turns tiles into vectors.

        Parameters
        ----------
        background
            Of the matrix's columns. Default: the job's own, where the weighting needs one.
        """
        background = background or self.background
        mask = self.priors.mask
        rank = np.full(len(mask) + 1, -1, np.int32)  # one more, so that column -1 (no such gene) finds -1
        rank[:-1][mask] = np.arange(mask.sum(), dtype=np.int32)
        position = rank[self.expression.columns]
        n_known = int(mask.sum())
        of_known = None
        if self.options.kind.needs_background and background is not None:
            columns = np.full(n_known, -1)
            columns[position[position >= 0]] = np.flatnonzero(position >= 0)
            of_known = _of_genes(background, columns)
        return Plan(
            GeneTerms.of(self.options.kind, n_known, of_known),
            np.ascontiguousarray(self.priors.vectors[mask], np.float32),
            position,
            self.scale,
            self.options.top_n,
            self.options.unit,
        )

    def over_cells(self, work: Callable[[Plan, int, Any], Any], **how: Any) -> tuple[Plan, Iterator[tuple[int, Any]]]:
        """Measure the background where it is lacking; then do `work(plan, first row, tile)` on all tiles, checked.

        `how` is `block_size`, `threads` and `progress` of `genetext.cells.tiles.over_tiles`.

        Returns
        -------
        The plan, and `(first row, what work returned)` of each tile, in order.
        """
        background = None
        if self.lacks_background:
            background = background_of(self.expression, self.scale, cells=self.cells, **how)
        plan = self.plan(background)

        def checked(start: int, tile: Any) -> Any:
            self.expression.check(tile, start=start, cells=self.cells)
            return work(plan, start, tile)

        return plan, over_tiles(self.expression.rows, checked, **how)

    def stream(self, **how: Any) -> Iterator[tuple[int, CellVectors]]:
        """Yield `(first row, vectors of the cells from there on)`, in order; memory does not grow with the cells."""
        return self.over_cells(lambda plan, _, tile: plan.embed(tile), **how)[1]

    def embed(self, **how: Any) -> CellVectors:
        """Do the job, into arrays in memory."""
        n_cells = self.expression.rows.shape[0]
        out = CellVectors(
            np.empty((n_cells, self.priors.dim), np.float32), np.empty(n_cells, np.int8), np.empty(n_cells, np.float32)
        )
        for start, part in self.stream(**how):
            rows = slice(start, start + len(part.status))
            out.vectors[rows], out.status[rows], out.share[rows] = part.vectors, part.status, part.share
        return out

    def facts(self) -> dict[str, Any]:
        """Return what is recorded in `uns`, as JSON values that an AnnData file can hold."""
        chosen = {key: value for key, value in vars(self.options).items() if value is not None}
        return {
            **chosen,
            "expression": self.expression.kind,
            "matrix": self.expression.label,
            "n_matched": self.priors.n_matched,
            "n_genes": len(self.priors),
            "n_duplicated": self.n_duplicated,
            "priors": self.priors.description,
            "fingerprint": self.priors.fingerprint,
        }


def background_of(matrix: ExpressionMatrix, scale: Scale, *, cells: Any, **how: Any) -> Background:
    """Measure the background of the columns of a matrix in memory or on disk."""

    def work(start: int, tile: Any) -> Background:
        matrix.check(tile, start=start, cells=cells)
        return measure(tile, scale)

    total = Background.empty(len(matrix.columns))
    for _, part in over_tiles(matrix.rows, work, stage="background", **how):
        total = total + part
    return total


def aligned(priors: Any, adata: Any, **align: Any) -> "GenePriors":
    """Return priors whose rows are the genes of `adata`: as given, or aligned, where they are a whole index's."""
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors

    if isinstance(priors, str | Path | GeneIndex):
        return GenePriors.open(priors).align(adata, **align)
    names = priors.owner_names
    if len(names) == adata.n_vars and np.array_equal(np.asarray(names, object), np.asarray(adata.var_names, object)):
        return priors  # type: ignore[no-any-return]
    if align and priors.report is None and priors.manifest:
        return priors.align(adata, **align)  # type: ignore[no-any-return]
    if priors.report is None and len(names) != adata.n_vars:
        raise CellsError(
            f"the priors are of {len(names):,} genes and the data have {adata.n_vars:,}: align them first, "
            f"priors.align(adata)"
        )
    differing = [str(name) for name, other in zip(adata.var_names, names, strict=False) if name != other]
    raise CellsError(
        f"the priors are aligned to other genes than these, or to another order ({len(names):,} and {adata.n_vars:,}; "
        f"differing: {first_ten(differing) or 'none of those in both'}): align again, priors.align(adata)"
    )


def _of_genes(background: Background, columns: NDArray[np.intp]) -> Background:
    """Return the background of genes that stand in these columns; genes in none (-1) have the background of no cell."""
    picked = background[columns]
    absent = columns < 0
    for array in (picked.total, picked.squares, picked.expressed):
        array[absent] = 0
    return picked
