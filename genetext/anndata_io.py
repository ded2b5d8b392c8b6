"""AnnData files: one way to open, read and write them, and one set of errors for what is in the way.

What others wrote is checked here, once: that it is an AnnData file at all, that shapes agree, that a sparse matrix
points nowhere but into itself. What comes out of this module can be multiplied.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genetext import disk, hdf5
from genetext.cell_formats import H5AD, ZARR, attribute, is_unknown_encoding, other_format, require, saying_what
from genetext.errors import CellsError, first_ten
from genetext.matrices import StoredMatrix, real_numbers

log = logging.getLogger("genetext")

_AXES = {
    "X": ("obs", "var"),
    "layers": ("obs", "var"),
    "obsm": ("obs",),
    "varm": ("var",),
    "obsp": ("obs", "obs"),
    "varp": ("var", "var"),
}
"""What the first axes of matrices are."""
_STRINGS = 1 << 16
_DEEPEST = 50  # groups within groups; AnnData files have some five


@contextmanager
def opened(path: Path, *, whole: bool = False) -> Iterator[Any]:
    """Open an AnnData file for reading, as a group of h5py or zarr.

    Parameters
    ----------
    path
        `.h5ad` or `.zarr`.
    whole
        Whether all of it has to be sound (what will be copied unread), not `obs` and `var` alone.

    Raises
    ------
    CellsError
        It is absent, of another format (the message says which, and how to convert it), of anndata before 0.7, or
        not as anndata writes them.
    """
    require(path)
    if path.is_file() and (other := other_format(path)):
        raise CellsError(other)
    with saying_what(path):
        group = _group(path, path.suffix)
    try:
        with saying_what(path):
            _check_depth(group, path)
            _check_frames(group, path)
            if whole:
                _check_parts(group, path)
        yield group
    finally:
        _close(group)


def check_written(path: Path, suffix: str, name: Path) -> None:
    """Open what was written to `path`, before it is called `name`, and raise `CellsError` if it cannot be read."""
    with saying_what(name):
        group = _group(path, suffix)
        try:
            _check_depth(group, name)
            _check_frames(group, name)
            _check_parts(group, name)
        finally:
            _close(group)


def write(adata: Any, path: Path) -> None:
    """Write an AnnData as h5ad; the file gets its name when it is whole and was opened once.

    Raises
    ------
    CellsError
        AnnData has no way to write a part of it.
    DiskError
        The disk refused it.
    """
    from anndata.io import write_elem

    adata.strings_to_categoricals()  # as `write_h5ad` does, which takes no file that is open
    if adata.raw is not None:
        adata.strings_to_categoricals(adata.raw.var)
    with disk.atomic_file(path) as handle:
        with hdf5.file(handle, "w") as file, saying_what(path, "cannot be written by anndata", OSError):
            write_elem(file, "/", adata)
            if adata.raw is None and "raw" in file:
                del file["raw"]  # a null that older readers do not know
        check_written(Path(handle.name), H5AD, path)


def read(path: Path) -> Any:
    """Read an AnnData file into memory.

    Elements of `uns`, `obsm`, `varm`, `obsp` and `varp` whose encoding anndata does not know are left out with a
    warning. Matrices of half precision or foreign byte order become float32 or native.

    Raises
    ------
    CellsError
        As `opened`; or a matrix is damaged, or shapes do not agree.
    """
    import anndata

    unknown: list[str] = []
    with opened(path) as group, saying_what(path):
        parts: dict[str, Any] = {}
        for name in set(group) & {"X", "obs", "var"}:
            parts[name] = _element(group[name], path, None)
        for name in set(group) & {"layers", "uns", "obsm", "varm", "obsp", "varp"}:
            parts[name] = _element(group[name], path, unknown)
        if hasattr(group.get("raw"), "keys") and "X" in group["raw"]:
            parts["raw"] = {name: _element(group["raw"][name], path, unknown) for name in group["raw"]}
        for name in ("X", "layers", "raw"):
            parts.update({name: _matrices(parts[name])} if name in parts else {})
        adata = anndata.AnnData(**parts)
    if unknown:
        log.warning("%s: left out, since anndata does not know how they are encoded: %s", path, first_ten(unknown))
    return adata


def _element(node: Any, path: Path, unknown: list[str] | None) -> Any:
    """Read an element through anndata, its sparse matrices checked; note in `unknown` what cannot be read."""
    from anndata.experimental import read_dispatched

    def callback(function: Any, _: str, node: Any, iospec: Any) -> Any:
        if iospec.encoding_type in ("csr_matrix", "csc_matrix"):
            return StoredMatrix(node, path).read()
        if unknown is None or iospec.encoding_type not in ("dict", "") or hasattr(node, "dtype"):
            return function(node)
        entries = {}
        for key in node:
            try:
                entries[key] = read_dispatched(node[key], callback)
            except Exception as error:
                if not is_unknown_encoding(error):
                    raise
                unknown.append(str(node[key].name).strip("/"))
        return entries

    return read_dispatched(node, callback)


def _matrices(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _matrices(value) for name, value in part.items()}
    return real_numbers(part) if isinstance(part, np.ndarray) else part


# -- groups, attributes, frames -------------------------------------------------------------------------------------


def _group(path: Path, suffix: str) -> Any:
    if suffix == ZARR:
        import zarr

        return zarr.open_group(path, mode="r")
    import h5py

    return h5py.File(path, "r")


def _close(group: Any) -> None:
    if hasattr(group, "close"):
        group.close()


def index_of(frame: Any) -> Any:
    """Return the array of a stored data frame that holds its row names."""
    return frame[attribute(frame, "_index")]


def _check_depth(group: Any, path: Path) -> None:
    """Raise an error where groups lie too deep, or one holds itself, before a reader goes down.

    A reader that runs out of stack inside h5py leaves its lock behind, and every other thread waits for it for ever.
    """
    to_visit: list[tuple[Any, tuple[object, ...]]] = [(group, ())]
    visited = set()
    while to_visit:
        node, above = to_visit.pop()
        place = _place(node)
        if place in above or len(above) > _DEEPEST:
            why = "holds itself" if place in above else f"lies more than {_DEEPEST} groups deep"
            raise CellsError(f"{path}: a group of it {why}: write it again with anndata")
        if place in visited:
            continue
        visited.add(place)
        for name in node:
            with suppress(KeyError, OSError):  # a link that leads nowhere
                child = node[name]
                if not hasattr(child, "dtype"):
                    to_visit.append((child, (*above, place)))


def _place(group: Any) -> object:
    """Return what tells a group from others, whatever it is called: of HDF5 its address, of Zarr its path."""
    if not hasattr(group, "id"):
        return group.path
    from h5py import h5o

    about = h5o.get_info(group.id)
    return about.fileno, about.addr


def _check_frames(group: Any, path: Path) -> None:
    names = sorted(group)
    if not {"obs", "var"} <= set(names):
        raise CellsError(f"{path} is no AnnData file: it holds {names[:10] or 'nothing'}, not obs and var")
    for name in ("obs", "var"):
        frame = group[name]
        for key in ("_index", "column-order"):
            if attribute(frame, key) is None:
                raise CellsError(
                    f"{path}: {name} lacks the attribute {key!r}, by which a data frame is read: write the file again "
                    f"with anndata, or with zellkonverter from R"
                )
        columns = [attribute(frame, "_index"), *attribute(frame, "column-order")]
        if absent := [column for column in columns if column not in frame]:
            raise CellsError(f"{path}: {name} lacks columns that it lists: {first_ten(absent)}")
        if not hasattr(index_of(frame), "dtype"):
            kind = attribute(index_of(frame), "encoding-type")
            raise CellsError(f"{path}: the names of {name} are stored as {kind}: store them as strings")
        n_rows = index_of(frame).shape[0]
        lengths = {column: _length(frame[column]) for column in columns}
        for column in columns:
            _check_codes(frame[column], f"{name}[{column!r}] of {path}")
        if wrong := [f"{column} ({n:,})" for column, n in lengths.items() if n not in (n_rows, None)]:
            raise CellsError(f"{path}: columns of {name} are not as long as its {n_rows:,} names: {first_ten(wrong)}")


def _check_parts(group: Any, path: Path) -> None:
    """Raise an error where what is beside `obs` and `var` does not fit them or cannot be read; no matrix is read."""
    n_rows = {name: int(index_of(group[name]).shape[0]) for name in ("obs", "var")}
    if wrong := [name for name in ("uns", *_AXES) if name != "X" and hasattr(group.get(name), "dtype")]:
        raise CellsError(f"{path}: an array stands where a group of elements should be: {first_ten(wrong)}")
    for name in set(group) & set(_AXES):  # of a link that leads nowhere, `in group` knows nothing
        nodes = {name: group[name]} if name == "X" else {f"{name}/{key}": group[name][key] for key in group[name]}
        expected = tuple(n_rows[axis] for axis in _AXES[name])
        for label, node in nodes.items():
            shape = _shape(node, path)
            if shape is not None and (
                shape[: len(expected)] != expected or (len(shape) > 2 and name in ("X", "layers"))
            ):
                raise CellsError(f"{path}: {label} has the shape {shape}, and {name} needs {expected} first")
            if attribute(node, "encoding-type") in ("csr_matrix", "csc_matrix"):
                matrix = StoredMatrix(node, path)
                if matrix.dtype.kind not in "biufc":
                    raise CellsError(f"{path}: {label} holds {matrix.dtype}, no numbers")
                if name != "X":  # which is checked by whoever reads it
                    matrix.check()
    for name in ("obs", "var"):
        for column in group[name]:
            _check_strings(group[name][column], f"{name}[{column!r}] of {path}")
    if "uns" in group:
        _element(group["uns"], path, [])


def _shape(node: Any, path: Path) -> tuple[int, ...] | None:
    """Return the shape of a stored array, sparse matrix or data frame; None where anndata has others of its own."""
    kind = attribute(node, "encoding-type")
    if not hasattr(node, "dtype") and kind in (None, "dict"):
        return StoredMatrix(node, path).shape  # says what is wrong
    if kind == "dataframe":
        return (int(index_of(node).shape[0]),)
    if hasattr(node, "dtype") or kind in ("csr_matrix", "csc_matrix"):
        return StoredMatrix(node, path).shape
    return None


def _check_strings(column: Any, where: str) -> None:
    """Raise an error where strings of a column are no UTF-8, or categories stand more than once."""
    if hasattr(column, "dtype"):
        if hasattr(column, "asstr") and column.dtype.kind == "O" and len(column.shape) == 1:
            for start in range(0, column.shape[0], _STRINGS):
                column.asstr()[start : start + _STRINGS]
    elif "categories" in column and len(np.unique(column["categories"][...])) < column["categories"].shape[0]:
        raise CellsError(f"{where} has categories that stand more than once: make the file again from its source")


def _length(column: Any) -> int | None:
    if hasattr(column, "dtype"):
        return int(column.shape[0]) if column.shape else None
    parts = [column[part] for part in ("codes", "values") if part in column]
    return int(parts[0].shape[0]) if parts else None


def _check_codes(column: Any, where: str) -> None:
    if hasattr(column, "dtype"):  # before anndata 0.8 the codes pointed to their categories
        if not (reference := column.attrs.get("categories")) or not hasattr(column, "file"):
            return
        categories, codes = column.file[reference], np.asarray(column[...])
    elif {"codes", "categories"} <= set(column):
        categories, codes = column["categories"], np.asarray(column["codes"][...])
    else:
        return
    n_categories = _length(categories) or 0
    if codes.dtype.kind not in "iu":
        raise CellsError(f"{where} is a damaged column: its codes are {codes.dtype}, no whole numbers")
    outside = np.unique(codes[(codes < -1) | (codes >= n_categories)]).tolist()
    if outside:
        raise CellsError(
            f"{where} is a damaged column: its codes have to be -1 to {n_categories - 1:,}, and there are "
            f"{first_ten(outside)}. Make the file again from its source"
        )


@dataclass(frozen=True)
class Names:
    """Names of cells in a file, read one at a time, when an error has to tell them."""

    stored: Any

    def __getitem__(self, cell: int) -> str:
        name = self.stored[int(cell)]
        return name.decode() if isinstance(name, bytes) else str(name)

    def __len__(self) -> int:
        return int(self.stored.shape[0])


@dataclass(frozen=True, eq=False)
class OnDisk:
    """An open AnnData file, of which only `var` is read; what asks for `X` or `layers` gets a `StoredMatrix`."""

    group: Any = field(repr=False)
    path: Path
    n_obs: int
    root: Any = field(repr=False)

    @classmethod
    def of(cls, group: Any, path: Path) -> "OnDisk":
        """Wrap a file that `opened` has opened."""
        return cls(group, path, int(index_of(group["obs"]).shape[0]), group)

    @cached_property
    def var(self) -> pd.DataFrame:
        """The genes."""
        from anndata.io import read_elem

        with saying_what(self.path):
            frame: pd.DataFrame = read_elem(self.group["var"])
        return frame

    @property
    def var_names(self) -> pd.Index:
        """Names of the genes."""
        return self.var.index

    @property
    def obs_names(self) -> Names:
        """Names of the cells."""
        return Names(index_of(self.root["obs"]))

    @property
    def n_vars(self) -> int:
        """Number of genes."""
        return len(self.var)

    @property
    def X(self) -> "StoredMatrix | None":
        """The matrix, unread."""
        with saying_what(self.path):
            return StoredMatrix(self.group["X"], self.path) if "X" in set(self.group) else None

    @property
    def layers(self) -> "dict[str, StoredMatrix]":
        """The layers, unread."""
        layers = self.group.get("layers", {})
        return {name: StoredMatrix(layers[name], self.path) for name in layers}

    @property
    def raw(self) -> "OnDisk | None":
        """What is in `.raw`; its cells are those of the file."""
        if not hasattr(self.group.get("raw"), "keys") or "var" not in self.group["raw"]:
            return None
        return OnDisk(self.group["raw"], self.path, self.n_obs, self.root)
