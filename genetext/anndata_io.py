"""AnnData files: one way to open, read and write them, and one set of errors for what is in the way.

What others wrote is checked here, once: that it is an AnnData file at all, that shapes agree, that a sparse matrix
points nowhere but into itself. What comes out of this module can be multiplied.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext import disk, hdf5
from genetext.errors import CellsError, GenetextError, first_ten

log = logging.getLogger("genetext")

H5AD, ZARR = ".h5ad", ".zarr"
_OLD, _TENX = "old", "10x"
_CONVERT = {
    ".gz": ("is compressed with gzip", "gunzip --keep {name}"),
    ".mtx": ("is a Matrix Market file", "scanpy.read_10x_mtx({folder!r}).write_h5ad({new!r})"),
    ".loom": ("is a loom file", "anndata.io.read_loom({name!r}).write_h5ad({new!r})"),
    ".h5mu": ("is a MuData file", "mudata.read({name!r}).mod['rna'].write_h5ad({new!r})"),
    ".rds": ("is an R object", "zellkonverter::writeH5AD(readRDS({name!r}), {new!r})"),
    _TENX: ("is a matrix of 10x Genomics' Cell Ranger", "scanpy.read_10x_h5({name!r}).write_h5ad({new!r})"),
    _OLD: ("was written by anndata before 0.7", "anndata.read_h5ad({name!r}).write_h5ad({new!r})"),
}
"""What files of cells are that are no AnnData files, and the line that converts one."""


def other_format(path: Path) -> str:
    """Say what a file of cells is that is no AnnData file of today, and how it is converted; empty: nothing known.

    The name is looked at first, then the first bytes.
    """
    kind = next((kind for kind in (".mtx", ".loom", ".h5mu", ".rds", ".gz") if kind in path.suffixes[-2:]), "")
    if not kind and path.is_file():
        with path.open("rb") as handle:
            start = handle.read(16)
        if start.startswith(b"\x1f\x8b"):
            kind = ".gz"
        elif start.startswith(b"%%MatrixMarket"):
            kind = ".mtx"
        elif start.startswith(b"\x89HDF"):
            kind = _kind_of_hdf5(path)
    if not kind:
        return ""
    what, line = _CONVERT[kind]
    new = f"{path.name.split('.')[0] or 'cells'}{'_new' if kind == _OLD else ''}.h5ad"
    return f"{path} {what}: convert it first, {line.format(name=path.name, folder=str(path.parent), new=new)}"


def _kind_of_hdf5(path: Path) -> str:
    import h5py

    with saying_what(path), h5py.File(path, "r") as file:
        if {"obs", "var"} <= set(file):
            return _OLD if any(hasattr(file[name], "dtype") for name in ("obs", "var")) else ""
        if {"matrix", "row_attrs", "col_attrs"} <= set(file):
            return ".loom"
        if "mod" in file:
            return ".h5mu"
        return _TENX if any("barcodes" in group for group in file.values() if not hasattr(group, "dtype")) else ""


def require(path: Path, *, suffixes: tuple[str, ...] = (H5AD, ZARR)) -> None:
    """Raise `CellsError` unless there is a file or folder with one of these suffixes; say what it is instead."""
    if path.suffix not in suffixes:
        raise CellsError(other_format(path) or f"{path} is not {' or '.join(suffixes)}: name a file of this format")
    if not path.exists():
        raise CellsError(f"{path} is no file: there is nothing of that name")


@contextmanager
def saying_what(path: Path) -> Iterator[None]:
    """Turn whatever anndata, h5py and zarr raise at a file that is not as they expect into a `CellsError`."""
    try:
        yield
    except GenetextError:
        raise
    except Exception as error:  # their own errors have no common base, and come as many builtin ones
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise CellsError(f"{path} is no {path.suffix} file as anndata writes them: {reason}") from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an AnnData file for reading, as a group of h5py or zarr.

    Raises
    ------
    CellsError
        It is absent, of another format (the message says which, and how to convert it), of anndata before 0.7, or
        `obs` and `var` are not as anndata writes them.
    """
    require(path)
    if path.is_file() and (other := other_format(path)):
        raise CellsError(other)
    with saying_what(path):
        group = _group(path, path.suffix)
    try:
        with saying_what(path):
            _check_frames(group, path)
        yield group
    finally:
        _close(group)


def check_written(path: Path, suffix: str, name: Path) -> None:
    """Open what was written to `path`, before it is called `name`, and raise `CellsError` if it cannot be read."""
    with saying_what(name):
        group = _group(path, suffix)
        try:
            _check_frames(group, name)
        finally:
            _close(group)


def write(adata: Any, path: Path) -> None:
    """Write an AnnData as h5ad; the file gets its name when it is whole and was opened once."""
    from anndata.io import write_elem

    adata.strings_to_categoricals()  # as `write_h5ad` does, which takes no file that is open
    if adata.raw is not None:
        adata.strings_to_categoricals(adata.raw.var)
    with disk.atomic_file(path) as handle:
        with hdf5.file(handle, "w") as file:
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
                if type(error).__name__ != "IORegistryError":  # anndata keeps this class to itself
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


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Read an attribute, strings as `str` and arrays as lists; R and Julia write bytes where Python writes strings."""
    value = node.attrs.get(name, default)
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return [entry.decode() if isinstance(entry, bytes) else entry for entry in value]
    return value.decode() if isinstance(value, bytes) else value


def index_of(frame: Any) -> Any:
    """Return the array of a stored data frame that holds its row names."""
    return frame[attribute(frame, "_index")]


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
        n_rows = index_of(frame).shape[0]
        lengths = {column: _length(frame[column]) for column in columns}
        for column in columns:
            _check_codes(frame[column], f"{name}[{column!r}] of {path}")
        if wrong := [f"{column} ({n:,})" for column, n in lengths.items() if n not in (n_rows, None)]:
            raise CellsError(f"{path}: columns of {name} are not as long as its {n_rows:,} names: {first_ten(wrong)}")


def _length(column: Any) -> int | None:
    if hasattr(column, "dtype"):
        return int(column.shape[0]) if column.shape else None
    parts = [column[part] for part in ("codes", "values") if part in column]
    return int(parts[0].shape[0]) if parts else None


def _check_codes(column: Any, where: str) -> None:
    if hasattr(column, "dtype") or not {"codes", "categories"} <= set(column):
        return
    codes = np.asarray(column["codes"][...])
    n_categories = _length(column["categories"]) or 0
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
        return StoredMatrix(self.group["X"], self.path) if "X" in self.group else None

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


# -- matrices -------------------------------------------------------------------------------------------------------


def real_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as SciPy can hold them: half precision as float32, longer than double as float64, native bytes."""
    dtype = values.dtype
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return values.astype(np.float32 if dtype.itemsize < 4 else np.float64)
    return values if dtype.isnative else values.astype(dtype.newbyteorder("="))


def check_indptr(indptr: NDArray[Any], n_rows: int, n_stored: int, where: str) -> None:
    """Raise `CellsError` unless `indptr` cuts `n_stored` entries into `n_rows` rows (or columns, of CSC)."""
    whole = len(indptr) == n_rows + 1 and indptr.dtype.kind in "iu"
    if whole and indptr[0] == 0 and indptr[-1] == n_stored and (indptr[1:] >= indptr[:-1]).all():
        return
    raise CellsError(
        f"{where} is a damaged sparse matrix: its indptr does not cut {n_stored:,} entries into {n_rows:,} parts. Make "
        f"the file again from its source"
    )


def check_indices(indices: NDArray[Any], n_columns: int, where: str) -> None:
    """Raise `CellsError` where an index points outside the columns (or rows, of CSC)."""
    if indices.dtype.kind in "iu" and (not len(indices) or (indices.min() >= 0 and indices.max() < n_columns)):
        return
    outside = np.unique(indices[(indices < 0) | (indices >= n_columns)]).tolist()
    raise CellsError(
        f"{where} is a damaged sparse matrix: its indices have to be whole numbers from 0 to {n_columns - 1:,}, and "
        f"there are {first_ten(outside) or indices.dtype}. Make the file again from its source"
    )


def check_sparse(matrix: Any, where: str) -> Any:
    """Return a CSR or CSC matrix in memory that points nowhere but into itself, or raise `CellsError`."""
    major, minor = matrix.shape if matrix.format == "csr" else matrix.shape[::-1]
    if len(matrix.data) != len(matrix.indices):
        raise CellsError(f"{where} is a damaged sparse matrix: as many indices as values are needed")
    check_indptr(matrix.indptr, major, min(int(matrix.indptr[-1]), len(matrix.indices)), where)
    check_indices(matrix.indices[: matrix.indptr[-1]], minor, where)
    data = real_numbers(matrix.data)
    if data is matrix.data:
        return matrix
    return type(matrix)((data, matrix.indices, matrix.indptr), shape=matrix.shape)


@dataclass(frozen=True, eq=False)
class StoredMatrix:
    """A matrix in a file, dense or sparse, that is checked as it is read.

    Attributes
    ----------
    node
        The array, or the group of a sparse matrix.
    path
        The file, for messages.
    """

    node: Any = field(repr=False)
    path: Path

    @property
    def where(self) -> str:
        """What to call it in messages."""
        return f"{self.node.name.strip('/')} of {self.path}"

    @cached_property
    def format(self) -> str:
        """`dense`, `csr` or `csc`."""
        if hasattr(self.node, "dtype"):
            return "dense"
        kind = str(attribute(self.node, "encoding-type") or attribute(self.node, "h5sparse_format") or "")[:3]
        if kind not in ("csr", "csc") or not {"data", "indices", "indptr"} <= set(self.node):
            raise CellsError(f"{self.where} is neither an array nor a sparse matrix as anndata writes them")
        return kind

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        if self.format == "dense":
            return tuple(self.node.shape)
        shape = attribute(self.node, "shape") or attribute(self.node, "h5sparse_shape")
        if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise CellsError(f"{self.where} is a sparse matrix that does not say its shape ({shape})")
        return tuple(shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        dtype: np.dtype[Any] = np.dtype((self.node if self.format == "dense" else self.node["data"]).dtype)
        return dtype

    @cached_property
    def indptr(self) -> NDArray[np.int64]:
        """Where rows (columns, of CSC) start among the entries."""
        n_stored = int(self.node["data"].shape[0])
        if self.node["indices"].shape != (n_stored,):
            raise CellsError(f"{self.where} is a damaged sparse matrix: as many indices as values are needed")
        indptr: NDArray[Any] = np.asarray(self.node["indptr"][...])
        check_indptr(indptr, self.shape[self.format == "csc"], n_stored, self.where)
        return indptr.astype(np.int64)

    def __getitem__(self, rows: slice) -> Any:
        """Read rows: a dense array, or CSR; of CSC the whole has to be read."""
        from scipy import sparse

        if self.format == "csc":
            return self.read()[rows]
        with saying_what(self.path):
            if self.format == "dense":
                return real_numbers(np.asarray(self.node[rows]))
            start, stop, _ = rows.indices(self.shape[0])
            entries = slice(int(self.indptr[start]), int(self.indptr[stop]))
            indices = np.asarray(self.node["indices"][entries])
            check_indices(indices, self.shape[1], self.where)
            data = real_numbers(np.asarray(self.node["data"][entries]))
            indptr = self.indptr[start : stop + 1] - entries.start
            return sparse.csr_matrix((data, indices, indptr), shape=(stop - start, self.shape[1]))

    def read(self) -> Any:
        """Read all of it: an array, a CSR or a CSC matrix."""
        from scipy import sparse

        if self.format != "csc":
            return self[:]
        with saying_what(self.path):
            indices = np.asarray(self.node["indices"][...])
            check_indices(indices, self.shape[0], self.where)
            return sparse.csc_matrix(
                (real_numbers(np.asarray(self.node["data"][...])), indices, self.indptr), shape=self.shape
            )
