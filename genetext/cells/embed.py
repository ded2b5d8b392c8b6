"""embed_cells: expression times gene vectors, one vector per cell."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.cells import expression as expressions
from genetext.cells import weighting as weightings
from genetext.cells.product import STATUSES, CellVectors, Plan, Scale, check, measure
from genetext.cells.stream import Rows, over_tiles
from genetext.cells.weighting import Background, GeneTerms, Weighting, digest_of
from genetext.errors import CellsError, first_ten
from genetext.keys import Keys
from genetext.progress import Progress

if TYPE_CHECKING:
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors

log = logging.getLogger("genetext")


@dataclass(frozen=True)
class Options:
    """What decides the numbers: everything else (blocks, threads, where the matrix lies) must not.

    Attributes
    ----------
    weighting, top_n
        As in `genetext.cells.weighting`.
    expression, layer, target_sum
        What the matrix holds, where it is, and the sum that cells are scaled to.
    pca
        Project the gene vectors to this many directions first; None: do not.
    unit
        Scale cell vectors to unit length.
    """

    weighting: str = "mean"
    top_n: int | None = None
    expression: str = "counts"
    layer: str | None = None
    target_sum: float = 1e4
    pca: int | None = None
    unit: bool = False

    def __post_init__(self) -> None:
        weightings.find(self.weighting, self.top_n)
        expressions.scale(self.expression, self.target_sum)

    @property
    def kind(self) -> Weighting:
        """The weighting."""
        return weightings.find(self.weighting, self.top_n)

    @property
    def whole(self) -> bool:
        """Whether nothing but whole numbers may stand in the matrix."""
        return expressions.is_whole(self.expression)

    @property
    def scale(self) -> Scale:
        """How expression becomes `w`."""
        return expressions.scale(self.expression, self.target_sum)


@dataclass(frozen=True)
class Job:
    """Priors, options and matrix that were found to fit together; what is left is work.

    Attributes
    ----------
    options
        What decides the numbers.
    priors
        Aligned to the genes of the data, projected.
    found
        The expression matrix.
    n_duplicated
        Columns whose name stands more than once in `var_names`. Each weighs for itself.
    """

    options: Options
    priors: "GenePriors"
    found: expressions.Found
    n_duplicated: int = 0
    background: Background | None = field(default=None, repr=False)

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
        found = expressions.find(adata, expression=options.expression, layer=options.layer)
        if background is not None and len(background) != len(found.columns):
            raise CellsError(
                f"the background is of {len(background):,} genes, {found.label} has {len(found.columns):,}: measure it "
                f"on cells with the same genes"
            )
        if background is not None and background.genes and background.genes != digest_of(found.names):
            raise CellsError(
                f"the background is of other genes than those of {found.label}, or of another order of them: measure "
                f"it on cells whose genes stand in the same order, for example measure_background(train[:, "
                f"data.var_names])"
            )
        return cls(options, fitted, found, n_duplicated, background)

    def plan(self, background: Background | None) -> Plan:
        """Return what turns tiles into vectors, given the background of the matrix's columns (None: not needed)."""
        mask = self.priors.mask
        rank = np.full(len(mask) + 1, -1, np.int32)  # one more, so that column -1 (no such gene) finds -1
        rank[:-1][mask] = np.arange(mask.sum(), dtype=np.int32)
        position = rank[self.found.columns]
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
            self.options.scale,
            self.options.top_n,
            self.options.unit,
        )

    def facts(self) -> dict[str, Any]:
        """Return what is recorded in `uns`, as JSON values that an AnnData file can hold."""
        chosen = {key: value for key, value in vars(self.options).items() if value is not None}
        return {
            **chosen,
            "matrix": self.found.label,
            "n_matched": self.priors.n_matched,
            "n_genes": len(self.priors),
            "n_duplicated": self.n_duplicated,
            "priors": self.priors.description,
            "fingerprint": self.priors.fingerprint,
        }


def embed_cells(
    adata: Any,
    priors: "GenePriors | GeneIndex | str | Path",
    *,
    weighting: str = "mean",
    top_n: int | None = None,
    expression: str = "counts",
    layer: str | None = None,
    target_sum: float = 1e4,
    pca: int | None = None,
    unit: bool = False,
    background: Background | None = None,
    key_added: str = "genetext",
    copy: bool = False,
    block_size: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    compute: bool = True,
) -> Any:
    """Give each cell the weighted mean of the vectors of the genes it expresses.

    The weight `a_ij` of gene j in cell i is defined in `genetext.cells.weighting`; a cell's vector is
    `sum_M a_ij v_j / sum_M |a_ij|` over the genes M that have a vector. The matrix is read in blocks of rows and is
    never made dense. Results do not depend, to the bit, on `block_size`, `threads`, nor on whether the matrix lies in
    memory, in an HDF5 or in a Zarr file. On Dask arrays `mean` and `top` give the same bits; weightings with a
    background add up its sums by chunk, and agree to about 1e-6 of a vector's length.

    Parameters
    ----------
    adata
        AnnData with cells in rows: in memory, backed, or on Dask arrays (any scheduler).
    priors
        Gene vectors aligned to `adata` (`GenePriors.open("human/minilm").align(adata)`). An index, or its name, is
        opened and aligned here with the defaults.
    weighting
        `mean`, `top`, `contrast`, `centred`, `zscore` or `tfidf`.
    top_n
        Keep only the genes of largest weight in each cell. Ties go to the gene that stands first in `var`.
    expression
        `counts` (whole numbers, which is checked in every cell), `linear` (CPM, TPM, corrected counts) or `log`
        (log-normalised: taken as it is).
    layer
        Where it is: a layer, or `"raw"`. Default: for counts `layers["counts"]`, `X`, `raw.X`, the first that holds
        counts; for others `X`, `raw.X`. With `raw.X` all its genes count for the depth of a cell.
    target_sum
        Counts that cells are scaled to before the logarithm.
    pca
        Project the gene vectors to this many principal directions first (`priors.pca`).
    unit
        Scale cell vectors to unit length.
    background
        Compare with these cells (`measure_background`) rather than with those of `adata`.
    key_added
        Base of the keys that are written.
    copy
        Write into a copy and return it.
    block_size
        Rows to read at once. Default: about 48 MB.
    threads
        Threads that multiply. Default: one per core.
    progress
        Told the stage (`background` or `cells`), cells done, and cells in all.
    compute
        For Dask arrays: False leaves `obsm` a Dask array, to be computed (or written) block by block later; then the
        columns of `obs` are not written, and cells without a vector show by their NaN alone.

    Returns
    -------
    The copy, or None. Written are `obsm["X_genetext"]` `(n_obs, dim) float32`; `obs["genetext_status"]`: `ok`, `empty`
    (no expression), `unmatched` (no gene it expresses has a vector) or `flat` (all weights are 0), the last three with
    a vector of NaN; `obs["genetext_share"]`: the share of the cell's expression on genes with a vector;
    `uns["genetext"]["cells"]`: what was done.

    Raises
    ------
    CellsError
        The matrix does not hold what `expression` says, has negative or non-finite values, the priors are aligned to
        other genes, or no gene has a vector.
    """
    options = Options(weighting, top_n, expression, layer, target_sum, pca, unit)
    keys = Keys(key_added)
    if copy and getattr(adata, "isbacked", False):
        raise CellsError(
            "copy=True cannot copy a backed AnnData: leave copy out, or use embed_file, which writes a file"
        )
    job = Job.of(adata, priors, options, background=background)
    if hasattr(job.found.matrix, "dask"):
        from genetext.cells import lazy

        cells = lazy.embed(job, compute=compute)
    else:
        cells = embed(job, names=adata.obs_names, block_size=block_size, threads=threads, progress=progress)
    target = adata.copy() if copy else adata  # not before: what is refused has cost no memory
    if isinstance(cells, CellVectors):
        target.obsm[keys.cells] = cells.vectors
        for column, values in columns(keys, cells).items():
            target.obs[column] = pd.Series(values, index=target.obs_names)
        keys.record(target, "cells", {**job.facts(), **counts_of(cells.status)})
        tell(cells.status)
    else:
        target.obsm[keys.cells] = cells
        keys.record(target, "cells", job.facts())
    return target if copy else None


def measure_background(
    adata: Any,
    *,
    expression: str = "counts",
    layer: str | None = None,
    target_sum: float = 1e4,
    block_size: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Background:
    """Measure mean, spread and frequency of each gene over some cells, to compare others with.

    Parameters are those of `embed_cells`. The result is of the columns of the matrix that is found there, so that the
    cells to be compared need the same genes in the same order.
    """
    found = expressions.find(adata, expression=expression, layer=layer)
    whole = expressions.is_whole(expression)
    scale = expressions.scale(expression, target_sum)
    if hasattr(found.matrix, "dask"):
        from genetext.cells import lazy

        measured = lazy.background(found.matrix, scale, whole=whole)
    else:
        how: dict[str, Any] = {"block_size": block_size, "threads": threads, "progress": progress}
        rows = Rows.of(found.matrix, found.label)
        measured = _background(rows, scale, names=adata.obs_names, whole=whole, **how)
    return replace(measured, genes=digest_of(found.names))


def embed(
    job: Job,
    *,
    names: Any = None,
    block_size: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CellVectors:
    """Do a job whose matrix is in memory or on disk, into arrays in memory."""
    n_cells = int(job.found.matrix.shape[0])
    dim = job.priors.dim
    out = CellVectors(np.empty((n_cells, dim), np.float32), np.empty(n_cells, np.int8), np.empty(n_cells, np.float32))
    for start, part in stream(job, names=names, block_size=block_size, threads=threads, progress=progress):
        at = slice(start, start + len(part.status))
        out.vectors[at], out.status[at], out.share[at] = part.vectors, part.status, part.share
    return out


def stream(
    job: Job,
    *,
    names: Any = None,
    block_size: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[int, CellVectors]]:
    """Yield `(first row, vectors of the cells from there on)`, in order; the memory in use does not grow with cells."""
    how: dict[str, Any] = {"block_size": block_size, "threads": threads, "progress": progress}
    rows, plan = prepare(job, names=names, **how)

    def work(start: int, tile: Any) -> CellVectors:
        check(tile, start=start, names=names, where=rows.label, whole=job.options.whole)
        return plan.embed(tile)

    yield from over_tiles(rows, work, **how)


def prepare(job: Job, *, names: Any, **how: Any) -> tuple[Rows, Plan]:
    """Return the rows of a job's matrix and what to do with them; measure the background where it is needed."""
    rows = Rows.of(job.found.matrix, job.found.label)
    background = job.background
    if job.options.kind.needs_background and background is None:
        background = _background(rows, job.options.scale, names=names, whole=job.options.whole, **how)
    return rows, job.plan(background)


def columns(keys: Keys, cells: CellVectors) -> dict[str, Any]:
    """Return the columns of `obs` that tell what became of each cell."""
    return {
        keys.cell_status: pd.Categorical.from_codes(cells.status, pd.Index(STATUSES)),
        f"{keys.base}_share": cells.share,
    }


def counts_of(status: NDArray[np.int8]) -> dict[str, int]:
    """Count the cells of each status, for the record."""
    return {f"n_{name}": int((status == code).sum()) for code, name in enumerate(STATUSES)}


def tell(status: NDArray[np.int8]) -> None:
    """Warn of cells that got no vector."""
    lost = {name: int((status == code).sum()) for code, name in enumerate(STATUSES) if code}
    if any(lost.values()):
        told = ", ".join(f"{count:,} {name}" for name, count in lost.items() if count)
        log.warning("%d of %d cells have no vector (%s): their rows are NaN", sum(lost.values()), len(status), told)


def aligned(priors: Any, adata: Any, **align: Any) -> "GenePriors":
    """Return priors whose rows are the genes of `adata`: as given, or aligned, where they are a whole index's."""
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors

    if isinstance(priors, str | Path | GeneIndex):
        return GenePriors.open(priors).align(adata, **align)
    owner = priors.names if priors.var_names is None else priors.var_names
    if len(owner) == adata.n_vars and np.array_equal(np.asarray(owner, object), np.asarray(adata.var_names, object)):
        return priors  # type: ignore[no-any-return]
    if align and priors.report is None and priors.manifest:
        return priors.align(adata, **align)  # type: ignore[no-any-return]
    if priors.report is None and len(owner) != adata.n_vars:
        raise CellsError(
            f"the priors are of {len(owner):,} genes and the data have {adata.n_vars:,}: align them first, "
            f"priors.align(adata)"
        )
    differing = [str(name) for name, own in zip(adata.var_names, owner, strict=False) if name != own]
    raise CellsError(
        f"the priors are aligned to other genes than these, or to another order ({len(owner):,} and {adata.n_vars:,}; "
        f"differing: {first_ten(differing) or 'none of those in both'}): align again, priors.align(adata)"
    )


def _background(rows: Rows, scale: Scale, *, names: Any, whole: bool, **how: Any) -> Background:
    def work(start: int, tile: Any) -> Background:
        check(tile, start=start, names=names, where=rows.label, whole=whole)
        return measure(tile, scale)

    total = Background.empty(rows.shape[1])
    for _, part in over_tiles(rows, work, stage="background", **how):
        total = total + part
    return total


def _of_genes(background: Background, columns: NDArray[np.intp]) -> Background:
    """Return the background of genes that stand in these columns; genes in none (-1) have the background of no cell."""
    picked = background[columns]
    absent = columns < 0
    for array in (picked.total, picked.squares, picked.expressed):
        array[absent] = 0
    return picked
