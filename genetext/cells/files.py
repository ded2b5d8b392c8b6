"""embed_file: from an h5ad or Zarr file to another, in one step, with memory that does not grow with the cells.

The input is opened read-only. The output is made beside its final name: a copy of the input (byte by byte where both
have one format, else slice by slice: `genetext.cells.convert`), to which the cell vectors are written as they come.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genetext import disk
from genetext.cells import embed
from genetext.cells.convert import Copied, convert
from genetext.cells.embed import Job, Options
from genetext.cells.product import TILE, CellVectors
from genetext.errors import CellsError
from genetext.keys import Keys
from genetext.progress import Progress

H5AD, ZARR = ".h5ad", ".zarr"


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
    *,
    weighting: str = "mean",
    top_n: int | None = None,
    expression: str = "counts",
    layer: str | None = None,
    target_sum: float = 1e4,
    pca: int | None = None,
    unit: bool = False,
    key_added: str = "genetext",
    species: str | None = None,
    column: str | None = None,
    orthologs: bool = True,
    min_match: float | None = None,
    made_unique: bool = False,
    r_names: bool = False,
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
    weighting, top_n, expression, layer, target_sum, pca, unit, block_size, threads
        As in `embed_cells`.
    key_added
        Base of the keys that are written.
    species, column, orthologs, min_match, made_unique, r_names
        How an index is aligned to the file's genes (`GenePriors.align`).
    progress
        Told `(stage, done, in all)`: `copy` in bytes (of the files, or of the arrays where the formats differ),
        `background` and `cells` in cells.

    Raises
    ------
    CellsError
        As in `embed_cells`; or a path is no file of these formats, is of anndata before 0.7, or both are one file.
    TooFewMatched
        Fewer genes than `min_match` have a vector.
    """
    _check(source, output)
    options = Options(weighting, top_n, expression, layer, target_sum, pca, unit)
    keys = Keys(key_added)
    with opened(source) as group:
        data = OnDisk.of(group)
        align: dict[str, Any] = {"species": species, "column": column, "orthologs": orthologs, "min_match": min_match}
        align |= {"made_unique": made_unique, "r_names": r_names}
        job = Job.of(data, priors, options, **align)
        parts = embed.stream(job, names=data.obs_names, block_size=block_size, threads=threads, progress=progress)
        with _made(source, group, output, progress) as made:
            facts = _write(made, job, keys, parts, n_cells=data.n_obs)
    return Embedded(output, data.n_obs, job.priors.dim, job.priors.report, facts)


@contextmanager
def opened(path: Path, mode: str = "r") -> Iterator[Any]:
    """Open an AnnData file as a group of h5py or zarr."""
    try:
        if path.suffix == ZARR:
            import zarr

            group: Any = zarr.open_group(path, mode=mode)  # type: ignore[arg-type]
        else:
            import h5py

            group = h5py.File(path, mode)
    except (OSError, ValueError, KeyError) as error:
        raise CellsError(f"{path} is no {path.suffix} file: {error}") from error
    try:
        if not {"obs", "var"} <= set(group):
            raise CellsError(f"{path} is no AnnData file: it holds {sorted(group) or 'nothing'}, not obs and var")
        if old := [name for name in ("obs", "var") if hasattr(group[name], "dtype")]:
            raise CellsError(
                f"{path} holds {' and '.join(old)} as anndata before 0.7 wrote them: convert it first, "
                f"anndata.read_h5ad({path.name!r}).write_h5ad('new.h5ad')"
            )
        yield group
    finally:
        if path.suffix == H5AD:
            group.close()


@dataclass(frozen=True)
class OnDisk:
    """An AnnData file, of which only `var` was read."""

    X: Any
    layers: Mapping[str, Any]
    raw: "OnDisk | None"
    var: pd.DataFrame
    obs_names: Any
    n_obs: int

    @property
    def var_names(self) -> pd.Index:
        """Names of the genes."""
        return self.var.index

    @property
    def n_vars(self) -> int:
        """Number of genes."""
        return len(self.var)

    @classmethod
    def of(cls, group: Any) -> "OnDisk":
        """Read `var`, and leave the matrices where they are."""
        from anndata.io import read_elem

        layers = {name: _matrix(group["layers"][name]) for name in group["layers"]} if "layers" in group else {}
        names = _Names(group)
        raw = None
        if "raw" in group and {"X", "var"} <= set(group["raw"]):
            raw = cls(_matrix(group["raw"]["X"]), {}, None, read_elem(group["raw"]["var"]), names, len(names))
        matrix = _matrix(group["X"]) if "X" in group else None
        return cls(matrix, layers, raw, read_elem(group["var"]), names, len(names))


@dataclass(frozen=True)
class _Names:
    """Names of cells, read one by one when an error has to name them."""

    group: Any

    def _stored(self) -> Any:
        obs = self.group["obs"]
        return obs[obs.attrs.get("_index", "_index")]

    def __getitem__(self, cell: int) -> str:
        name = self._stored()[int(cell)]
        return name.decode() if isinstance(name, bytes) else str(name)

    def __len__(self) -> int:
        return int(self._stored().shape[0])


def _matrix(stored: Any) -> Any:
    from anndata.io import sparse_dataset

    return stored if hasattr(stored, "dtype") else sparse_dataset(stored)


def _check(source: Path, output: Path) -> None:
    for path in (source, output):
        if path.suffix not in (H5AD, ZARR):
            raise CellsError(f"{path} is neither .h5ad nor .zarr: name a file of one of these formats")
    if not source.exists():
        raise CellsError(f"there is no {source}")
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
                handle.flush()
            else:
                convert(group, path, progress)
            yield from _writable(path, H5AD)
    else:
        with disk.atomic_directory(output) as path:
            if source.suffix == ZARR:
                _copy_tree(source, path, progress)
            else:
                convert(group, path, progress)
            yield from _writable(path, ZARR)


def _writable(path: Path, suffix: str) -> Iterator[Any]:
    if suffix == H5AD:
        import h5py

        with h5py.File(path, "r+") as file:
            yield file
    else:
        import zarr

        made = zarr.open_group(path, mode="r+", use_consolidated=False)
        yield made
        # Metadata that were consolidated before the new arrays came would hide them.
        if made.metadata.consolidated_metadata is not None or (path / ".zmetadata").exists():
            _consolidate(path)


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
    copied = Copied(sum(one.stat().st_size for one in source.rglob("*") if one.is_file()), progress)

    def copy(one: str, other: str) -> None:
        shutil.copy2(one, other)
        copied.add(Path(other).stat().st_size)

    shutil.copytree(source, path, dirs_exist_ok=True, copy_function=copy)


def _write(
    made: Any, job: Job, keys: Keys, parts: Iterator[tuple[int, CellVectors]], *, n_cells: int
) -> dict[str, Any]:
    from anndata.io import read_elem, write_elem

    from genetext.priors import anndata as priors_in

    stored = _empty_array(made, f"obsm/{keys.cells}", (n_cells, job.priors.dim), np.float32)
    status, share = np.empty(n_cells, np.int8), np.empty(n_cells, np.float32)
    for start, cells in parts:
        at = slice(start, start + len(cells.status))
        stored[at] = cells.vectors
        status[at], share[at] = cells.status, cells.share
    whole = CellVectors(np.empty((0, 0), np.float32), status, share)
    _add_columns(made, "obs", embed.columns(keys, whole))
    _add_columns(made, "var", {name: values.array for name, values in priors_in.var_columns(job.priors, keys).items()})
    facts = {**job.facts(), **embed.counts_of(status)}
    there = read_elem(made["uns"]) if "uns" in made else {}
    holder = _Uns(there)
    keys.record(holder, priors_in.PART, priors_in.facts(job.priors))
    keys.record(holder, "cells", facts)
    if "uns" not in made:
        write_elem(made, "uns", {})
    if keys.uns in made["uns"]:
        del made["uns"][keys.uns]
    write_elem(made["uns"], keys.uns, holder.uns[keys.uns])
    embed.tell(status)
    return facts


@dataclass(frozen=True)
class _Uns:
    uns: dict[str, Any]


def _empty_array(group: Any, path: str, shape: tuple[int, int], dtype: Any) -> Any:
    """Create an array of AnnData's encoding, in chunks of whole tiles."""
    from anndata.io import write_elem

    parent, name = path.split("/")
    if parent not in group:
        write_elem(group, parent, {})
    if name in group[parent]:
        del group[parent][name]
    create = getattr(group[parent], "create_array", None) or group[parent].create_dataset
    array = create(name, shape=shape, dtype=dtype, chunks=(max(min(TILE, shape[0]), 1), max(shape[1], 1)))
    array.attrs["encoding-type"] = "array"
    array.attrs["encoding-version"] = "0.2.0"
    return array


def _add_columns(group: Any, frame: str, columns: Mapping[str, Any]) -> None:
    """Add columns to a data frame on disk, leaving its other columns unread."""
    from anndata.io import write_elem

    stored = group[frame]
    order = [str(name) for name in stored.attrs["column-order"]]
    for name, values in columns.items():
        if name in stored:
            del stored[name]
        write_elem(stored, name, values)
        if name not in order:
            order.append(name)
    stored.attrs["column-order"] = order
