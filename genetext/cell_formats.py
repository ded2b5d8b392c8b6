"""Which files of cells there are, and one set of errors for what is in the way of reading one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genetext.errors import CellsError, GenetextError, first_ten

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


_ANNDATA = frozenset(
    {
        *("zarr.json", ".zgroup", ".zattrs", ".zmetadata", "X", "obs", "var", "layers", "obsm", "varm", "obsp", "varp"),
        *("uns", "raw"),
    }
)
"""What lies in a Zarr store that anndata wrote."""


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


def require_output(output: Path, source: Path, *, suffixes: tuple[str, ...] = (H5AD, ZARR)) -> None:
    """Raise `CellsError` unless what `output` names can be written, and is not the input."""
    if output.suffix not in suffixes:
        raise CellsError(f"output {output} is not {' or '.join(suffixes)}: name a file of this format")
    if output.suffix != ZARR and output.is_dir():
        raise CellsError(f"output {output} is a folder: name a file")
    if output.exists() and source.exists() and output.samefile(source):
        raise CellsError(f"input and output are both {source}: the input is never changed, name another output")
    if output.suffix == ZARR and output.exists():
        names = {path.name for path in output.iterdir()} if output.is_dir() else set()
        if not {"obs", "var"} <= names or (others := sorted(names - _ANNDATA)):
            what = f"holds {first_ten(others)}, which are no parts of one" if {"obs", "var"} <= names else "is none"
            raise CellsError(f"{output} exists, and as a store of AnnData it {what}: name another output, or remove it")


@contextmanager
def saying_what(
    path: Path, what: str = "is no {path.suffix} file as anndata writes them", *passed: type[Exception]
) -> Iterator[None]:
    """Turn whatever anndata, h5py and zarr raise at a file that is not as they expect into a `CellsError`.

    Errors of this package, a lack of memory and those `passed` stay what they are.
    """
    kept: tuple[type[BaseException], ...] = (GenetextError, MemoryError, *passed)
    try:
        yield
    except kept:
        raise
    except Exception as error:  # their own errors have no common base, and come as many builtin ones
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise CellsError(f"{path} {what.format(path=path)}: {reason}") from error


def is_unknown_encoding(error: Exception) -> bool:
    """Whether anndata raised this since it does not know how an element is encoded; it keeps the class to itself."""
    return type(error).__name__ == "IORegistryError"


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Read an attribute, strings as `str` and arrays as lists; R and Julia write bytes where Python writes strings."""
    value = node.attrs.get(name, default)
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return [entry.decode() if isinstance(entry, bytes) else entry for entry in value]
    return value.decode() if isinstance(value, bytes) else value
