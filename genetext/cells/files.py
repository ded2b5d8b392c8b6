"""embed_file: from an h5ad or Zarr file to another, in one step, with memory that does not grow with the cells.

The input is opened read-only. The output is made beside its final name: a copy of the input (byte by byte where both
have one format, else slice by slice: `genetext.cells.convert`), to which the cell vectors are written as they come.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from genetext import disk, hdf5
from genetext.anndata_io import H5AD, ZARR, OnDisk, attribute, check_written, opened, require
from genetext.cells.convert import Copied, convert
from genetext.cells.job import Job, Options
from genetext.cells.product import TILE, CellVectors
from genetext.errors import CellsError
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
    _check(source, output)
    keys = Keys(key_added)
    with opened(source) as group:
        data = OnDisk.of(group, source)
        job = Job.of(data, priors, options or Options(), **(align or {}))
        with _made(source, group, output, progress) as made:
            parts = job.stream(block_size=block_size, threads=threads, progress=progress)
            facts = _write(made, job, keys, parts, n_cells=data.n_obs)
    return Embedded(output, data.n_obs, job.priors.dim, job.priors.report, facts)


def _check(source: Path, output: Path) -> None:
    require(source)
    if output.suffix not in (H5AD, ZARR):
        raise CellsError(f"{output} is neither .h5ad nor .zarr: name a file of one of these formats")
    if output.exists() and output.resolve() == source.resolve():
        raise CellsError(f"input and output are both {source}: the input is never changed, name another output")
    if output.suffix == ZARR and output.exists() and not any((output / name).exists() for name in _ZARR_MARKS):
        raise CellsError(f"{output} exists and is no Zarr store: name another output, or remove it")
    if output.suffix == H5AD and output.is_dir():
        raise CellsError(f"{output} is a folder: name a file")


_ZARR_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")


@contextmanager
def _made(source: Path, group: Any, output: Path, progress: Progress | None) -> Iterator[Any]:
    """Yield the output, writable, with everything that the input holds; it gets its name when all went well."""
    if output.suffix == H5AD:
        with disk.atomic_file(output) as handle:
            path = Path(handle.name)
            if source.suffix == H5AD:
                _copy_bytes(source, handle, progress)
            else:
                with hdf5.file(handle, "w") as made:
                    convert(group, made, progress)
            with hdf5.file(handle, "r+") as made:
                yield made
            check_written(path, output.suffix, output)
    else:
        import zarr

        with disk.atomic_directory(output) as path:
            if source.suffix == ZARR:
                _copy_tree(source, path, progress)
            else:
                convert(group, zarr.open_group(path, mode="w"), progress)
            made = zarr.open_group(path, mode="r+", use_consolidated=False)
            yield made
            # Metadata that were consolidated before the new arrays came would hide them.
            if made.metadata.consolidated_metadata is not None or (path / ".zmetadata").exists():
                _consolidate(path)
            check_written(path, output.suffix, output)


def _consolidate(path: Path) -> None:
    import warnings

    import zarr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr warns that version 3 has no standard for it yet
        zarr.consolidate_metadata(path)


def _copy_bytes(source: Path, handle: Any, progress: Progress | None) -> None:
    copied = Copied(source.stat().st_size, progress)
    with source.open("rb") as original:
        while piece := original.read(1 << 24):
            handle.write(piece)
            copied.add(len(piece))


def _copy_tree(source: Path, path: Path, progress: Progress | None) -> None:
    copied = Copied(sum(file.stat().st_size for file in source.rglob("*") if file.is_file()), progress)

    def copy(original: str, target: str) -> None:
        shutil.copy2(original, target)
        copied.add(Path(target).stat().st_size)

    shutil.copytree(source, path, dirs_exist_ok=True, copy_function=copy)


def _write(
    made: Any, job: Job, keys: Keys, parts: Iterator[tuple[int, CellVectors]], *, n_cells: int
) -> dict[str, Any]:
    from anndata.io import read_elem, write_elem

    from genetext.priors import anndata as priors_in

    stored = _empty_array(made, "obsm", keys.cells, (n_cells, job.priors.dim))
    status, share = np.empty(n_cells, np.int8), np.empty(n_cells, np.float32)
    for start, part in parts:
        rows = slice(start, start + len(part.status))
        stored[rows] = part.vectors
        status[rows], share[rows] = part.status, part.share
    cells = CellVectors(np.empty((0, 0), np.float32), status, share)
    _add_columns(made, "obs", cells.columns(keys))
    _add_columns(made, "var", {name: values.array for name, values in priors_in.var_columns(job.priors, keys).items()})
    facts = {**job.facts(), **cells.counts}
    if "uns" not in made:
        write_elem(made, "uns", {})
    holder = SimpleNamespace(uns={keys.uns: read_elem(made["uns"][keys.uns])} if keys.uns in made["uns"] else {})
    keys.record(holder, priors_in.PART, priors_in.facts(job.priors))
    keys.record(holder, "cells", facts)
    if keys.uns in made["uns"]:
        del made["uns"][keys.uns]
    write_elem(made["uns"], keys.uns, holder.uns[keys.uns])
    cells.warn()
    return facts


def _empty_array(group: Any, parent: str, name: str, shape: tuple[int, int]) -> Any:
    """Create an array of float32 in AnnData's encoding, in chunks of whole tiles."""
    from anndata.io import write_elem

    if parent not in group:
        write_elem(group, parent, {})
    if name in group[parent]:
        del group[parent][name]
    create = getattr(group[parent], "create_array", None) or group[parent].create_dataset
    # Nothing cannot be cut into chunks.
    chunks = {"chunks": (min(TILE, shape[0]), shape[1])} if 0 not in shape else {}
    array = create(name, shape=shape, dtype=np.float32, **chunks)
    array.attrs["encoding-type"] = "array"
    array.attrs["encoding-version"] = "0.2.0"
    return array


def _add_columns(group: Any, name: str, columns: Mapping[str, Any]) -> None:
    """Add columns to a data frame on disk, leaving its other columns unread."""
    from anndata.io import write_elem

    frame = group[name]
    order = [str(column) for column in attribute(frame, "column-order")]
    for column, values in columns.items():
        if column in frame:
            del frame[column]
        write_elem(frame, column, values)
    frame.attrs["column-order"] = [*order, *(column for column in columns if column not in order)]
