"""embed_cells: expression times gene vectors, one vector per cell."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from genetext.cells import expression as expressions
from genetext.cells.job import Job, Options, background_of
from genetext.cells.product import CellVectors
from genetext.cells.weighting import Background, digest_of
from genetext.errors import CellsError
from genetext.keys import Keys
from genetext.progress import Progress

if TYPE_CHECKING:
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors


def embed_cells(
    adata: Any,
    priors: "GenePriors | GeneIndex | str | Path",
    *,
    weighting: str = "mean",
    top_n: int | None = None,
    expression: str = "auto",
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
        AnnData with cells in rows: in memory, backed, or on Dask arrays (any scheduler). Columns that are no genes by
        `var["feature_types"]` (antibodies, hashtags, peaks) are left out, and it is said.
    priors
        Gene vectors aligned to `adata` (`GenePriors.open("human/minilm").align(adata)`). An index, or its name, is
        opened and aligned here with the defaults.
    weighting
        `mean`, `top`, `contrast`, `centred`, `zscore` or `tfidf`.
    top_n
        Keep only the genes of largest weight in each cell. Ties go to the gene that stands first in `var`.
    expression
        `auto`: counts where there are any, else log values. `counts` (whole numbers, which is checked in every cell),
        `linear` (CPM, TPM, corrected counts) or `log` (log-normalised: taken as it is) ask for these alone.
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
    if hasattr(job.expression.rows.matrix, "dask"):
        from genetext.cells import dask

        cells = dask.embed(job, compute=compute)
    else:
        cells = job.embed(block_size=block_size, threads=threads, progress=progress)
    target = adata.copy() if copy else adata  # not before: what is refused has cost no memory
    if isinstance(cells, CellVectors):
        target.obsm[keys.cells] = cells.vectors
        for column, values in cells.columns(keys).items():
            target.obs[column] = pd.Series(values, index=target.obs_names)
        keys.record(target, "cells", {**job.facts(), **cells.counts})
        cells.warn()
    else:
        target.obsm[keys.cells] = cells
        keys.record(target, "cells", job.facts())
    return target if copy else None


def measure_background(
    adata: Any,
    *,
    expression: str = "auto",
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
    options = Options(expression=expression, layer=layer, target_sum=target_sum)
    matrix = expressions.find(adata, expression=options.expression, layer=options.layer)
    scale = matrix.scale(options.target_sum)
    if hasattr(matrix.rows.matrix, "dask"):
        from genetext.cells import dask

        measured = dask.background(matrix, scale)
    else:
        how: dict[str, Any] = {"block_size": block_size, "threads": threads, "progress": progress}
        measured = background_of(matrix, scale, cells=adata.obs_names, **how)
    return replace(measured, genes=digest_of(matrix.names))
