"""embed_file: from an h5ad or Zarr file to another, in one step, with memory that does not grow with the cells.

The input is opened read-only. The output is made beside its final name: a copy of the input
(`genetext.anndata_copy`), to which the cell vectors are written as they come.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from genetext import hdf5
from genetext.anndata_copy import add_columns, copied, empty_array, put, stored_record
from genetext.anndata_io import OnDisk, opened
from genetext.cell_formats import require, require_output
from genetext.cells.job import Job, Options
from genetext.cells.product import CellVectors
from genetext.keys import Keys
from genetext.progress import Progress


@dataclass(frozen=True)
class Embedded:
    """What `embed_file` did.

    Attributes
    ----------
    path
        The file that was written.
    n_cells, dim
        Shape of the cell vectors.
    report
        What became of the genes; None where the priors were aligned before.
    facts
        What is recorded in `uns[key]["cells"]`: matrix, options, cells per status.
    """

    path: Path
    n_cells: int
    dim: int
    report: Any = field(repr=False)
    facts: Mapping[str, Any]


def embed_file(
    source: Path,
    output: Path,
    priors: Any,
    options: Options | None = None,
    *,
    key_added: str = "genetext",
    align: Mapping[str, Any] | None = None,
    block_size: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Embed the cells of a file and write everything it holds, and their vectors, to another file.

    The numbers are those of `embed_cells`, to the bit. Added are `obsm["X_genetext"]`, `obs["genetext_status"]`,
    `obs["genetext_share"]`, `var["genetext_id"]`, `var["genetext_status"]` and `uns["genetext"]`.

    Parameters
    ----------
    source, output
        `.h5ad` or `.zarr`, in any combination; not the same file. An existing output is replaced when all is done.
    priors
        As in `embed_cells`: priors aligned to the file's genes, or an index, its name or folder.
    options
        Weighting, expression and the like. Default: those of `embed_cells`.
    key_added, block_size, threads
        As in `embed_cells`.
    align
        How an index is aligned to the file's genes: options of `GenePriors.align`.
    progress
        Told `(stage, done, in all)`: `copy` in bytes (of the files, or of the arrays where the formats differ),
        `background` and `cells` in cells.

    Raises
    ------
    CellsError
        As in `embed_cells`; or a path is no file of these formats or damaged, or both are one file.
    TooFewMatched
        Fewer genes than `min_match` have a vector.
    """
    require(source)
    require_output(output, source)
    keys = Keys(key_added)
    with opened(source, whole=True) as group:
        data = OnDisk.of(group, source)
        job = Job.of(data, priors, options or Options(), **(align or {}))
        with copied(source, group, output, progress) as made:
            parts = job.stream(block_size=block_size, threads=threads, progress=progress)
            facts = _write(made, job, keys, parts, n_cells=data.n_obs)
    return Embedded(output, data.n_obs, job.priors.dim, job.priors.report, facts)


def _write(
    made: Any, job: Job, keys: Keys, parts: Iterator[tuple[int, CellVectors]], *, n_cells: int
) -> dict[str, Any]:
    from genetext.priors import anndata as priors_in

    stored = empty_array(made, "obsm", keys.cells, (n_cells, job.priors.dim))
    status, share = np.empty(n_cells, np.int8), np.empty(n_cells, np.float32)
    for start, part in parts:
        rows = slice(start, start + len(part.status))
        stored[rows] = part.vectors
        hdf5.check(made)
        status[rows], share[rows] = part.status, part.share
    cells = CellVectors(np.empty((0, 0), np.float32), status, share)
    add_columns(made, "obs", cells.columns(keys))
    add_columns(made, "var", {name: values.array for name, values in priors_in.var_columns(job.priors, keys).items()})
    facts = {**job.facts(), **cells.counts}
    holder = SimpleNamespace(uns=stored_record(made, keys))
    keys.record(holder, priors_in.PART, priors_in.facts(job.priors))
    keys.record(holder, "cells", facts)
    put(made, "uns", keys.uns, holder.uns[keys.uns])
    cells.warn()
    return facts
