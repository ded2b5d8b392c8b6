"""Copies of AnnData files, to be written to: no matrix, and no column of a frame, is in memory as a whole.

From h5ad to Zarr and back, what AnnData stores as a group of arrays (sparse matrices, frames, categories, nullable
columns) is walked into, and each of its arrays is copied in slices with its attributes. What is left (single values,
old encodings, and whatever comes to be) goes through AnnData itself, one element at a time.
"""

import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from genetext import disk, hdf5
from genetext.anndata_io import check_written
from genetext.cell_formats import H5AD, ZARR, attribute, is_unknown_encoding
from genetext.keys import Keys
from genetext.matrices import real_numbers
from genetext.progress import Progress

log = logging.getLogger("genetext")

SLICE = 1 << 22
"""Numbers that are copied at once."""
STRINGS = 1 << 16
"""Strings that are copied at once."""
_ROWS = 256

_WALKED = {
    ("anndata", "0.1.0"),
    ("raw", "0.1.0"),
    ("dict", "0.1.0"),
    ("csr_matrix", "0.1.0"),
    ("csc_matrix", "0.1.0"),
    ("dataframe", "0.2.0"),  # 0.1.0 keeps categories elsewhere, and points to them in a way that Zarr has not
    ("categorical", "0.2.0"),
    ("nullable-integer", "0.1.0"),
    ("nullable-boolean", "0.1.0"),
    ("nullable-string-array", "0.1.0"),
}


def _counted(total: int, progress: Progress | None, target: Any = None) -> Callable[[int], None]:
    """Return what adds bytes to those that are done, tells `progress`, and raises what the disk refused `target`."""
    done = 0

    def add(n_bytes: int) -> None:
        nonlocal done
        done += n_bytes
        hdf5.check(target)
        if progress is not None:
            progress("copy", done, total)

    return add


def convert(group: Any, target: Any, progress: Progress | None = None) -> None:
    """Copy an open AnnData file into the other format.

    Parameters
    ----------
    group
        A group of h5py or zarr.
    target
        An empty group of the other library, open for writing.
    progress
        Told of the stage `copy`, in bytes of the arrays as they are in memory.
    """
    _copy_group(group, target, _counted(_size(group), progress, target))


def is_plain(group: Any) -> bool:
    """Whether anndata reads all of an open file: no half precision, foreign byte order or unknown encoding."""
    from anndata.io import read_elem

    for name in group:
        child = group[name]
        if hasattr(child, "dtype"):
            dtype = np.dtype(child.dtype)
            if dtype.kind in "biuf" and real_numbers(np.empty(0, dtype)).dtype != dtype:
                return False
        elif _encoding(child) in _WALKED:
            if not is_plain(child):
                return False
        else:
            try:
                read_elem(child)
            except Exception as error:
                if not is_unknown_encoding(error):
                    raise
                return False
    return True


def _encoding(node: Any) -> tuple[Any, Any]:
    return attribute(node, "encoding-type"), attribute(node, "encoding-version")


def _copy_group(source: Any, target: Any, copied: Callable[[int], None]) -> None:
    from anndata.io import read_elem, write_elem

    _copy_attributes(source, target)
    for name in list(source):
        child = source[name]
        encoding = _encoding(child)
        if not hasattr(child, "dtype"):
            # A group without an encoding is AnnData's oldest dict.
            if encoding in _WALKED:
                _copy_group(child, target.create_group(name), copied)
                continue
        elif child.shape and encoding[0] in ("array", None) and np.dtype(child.dtype).kind in "biuf":
            _copy_array(child, target, name, copied)
            continue
        elif child.shape is not None and len(child.shape) == 1 and encoding[0] == "string-array" and child.shape[0]:
            _copy_strings(child, target, name, copied)
            continue
        try:
            element = read_elem(child)
        except Exception as error:
            if not is_unknown_encoding(error):
                raise
            log.warning("left out, since anndata does not know how it is encoded: %s", child.name.strip("/"))
        else:
            write_elem(target, name, element)
        copied(_size(child))


def _copy_array(source: Any, target: Any, name: str, copied: Callable[[int], None]) -> None:
    per_row = int(np.prod(source.shape[1:], dtype=np.int64))
    step = max(SLICE // max(per_row, 1), 1)
    # Nothing cannot be cut into chunks.
    chunks = {} if 0 in source.shape else {"chunks": (max(min(step // 4, source.shape[0]), 1), *source.shape[1:])}
    create = getattr(target, "create_array", None) or target.create_dataset
    dtype = real_numbers(np.empty(0, source.dtype)).dtype
    array = create(name, shape=source.shape, dtype=dtype, **chunks)
    _copy_attributes(source, array)
    for rows in _slices(source, step):
        array[rows] = source[rows]
        copied((rows.stop - rows.start) * per_row * source.dtype.itemsize)


def _copy_strings(source: Any, target: Any, name: str, copied: Callable[[int], None]) -> None:
    from anndata.io import write_elem

    strings = source.asstr() if hasattr(source, "asstr") else source
    slices = list(_slices(source, STRINGS))
    for number, rows in enumerate(slices):
        part = np.asarray(strings[rows]).astype(object)
        if number == 0:
            # AnnData knows how each version of either format keeps strings; the array then grows to its length.
            grows = {"maxshape": (None,), "chunks": (STRINGS,)} if len(slices) > 1 and hasattr(target, "file") else {}
            write_elem(target, name, part, dataset_kwargs=grows)
            if len(slices) > 1:
                target[name].resize(source.shape)
        else:
            target[name][rows] = part
        copied(len(part) * source.dtype.itemsize)


def _slices(array: Any, step: int) -> Iterator[slice]:
    """Yield slices of at most `step` rows."""
    for start in range(0, array.shape[0], step):
        yield slice(start, min(start + step, array.shape[0]))


def _size(node: Any) -> int:
    """Return the bytes of all arrays in a group, or of an array, as they are in memory."""
    if hasattr(node, "dtype"):
        return 0 if node.shape is None else int(np.prod(node.shape, dtype=np.int64)) * int(node.dtype.itemsize)
    return sum(_size(node[name]) for name in list(node))


def _copy_attributes(source: Any, target: Any) -> None:
    # h5py holds its global lock while attributes are iterated over. Writing to Zarr meanwhile waits for Zarr's own
    # thread, which waits for that lock as soon as it collects an h5py object: read all of them first.
    for key, value in {key: attribute(source, key) for key in list(source.attrs)}.items():
        target.attrs[key] = value


@contextmanager
def copied(source: Path, group: Any, output: Path, progress: Progress | None = None) -> Iterator[Any]:
    """Yield a writable copy of an open AnnData file, which gets its name when all went well and it can be opened.

    Parameters
    ----------
    source, group
        The file, and what `genetext.anndata_io.opened` gives for it.
    output
        `.h5ad` or `.zarr`. Of one format with the source it is copied byte by byte, else, and where that would
        leave what anndata cannot read (`is_plain`), slice by slice.
    progress
        Told of the stage `copy`, in bytes.
    """
    if output.suffix == H5AD:
        with disk.atomic_file(output) as handle:
            path = Path(handle.name)
            if source.suffix == H5AD and is_plain(group):
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
            if source.suffix == ZARR and is_plain(group):
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
    import zarr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr warns that version 3 has no standard for it yet
        zarr.consolidate_metadata(path)


def _copy_bytes(source: Path, handle: Any, progress: Progress | None) -> None:
    done = _counted(source.stat().st_size, progress)
    with source.open("rb") as original:
        while piece := original.read(1 << 24):
            handle.write(piece)
            done(len(piece))


def _copy_tree(source: Path, path: Path, progress: Progress | None) -> None:
    done = _counted(sum(file.stat().st_size for file in source.rglob("*") if file.is_file()), progress)

    def copy(original: str, target: str) -> None:
        shutil.copy2(original, target)
        done(Path(target).stat().st_size)

    shutil.copytree(source, path, dirs_exist_ok=True, copy_function=copy)


def put(group: Any, parent: str, name: str, value: Any) -> None:
    """Write `group[parent][name]` by anndata, in place of what is there."""
    from anndata.io import write_elem

    write_elem(_parent_without(group, parent, name), name, value)


def _parent_without(group: Any, parent: str, name: str) -> Any:
    """Return `group[parent]`, made where there is none, without an element of that name."""
    from anndata.io import write_elem

    if parent not in group:
        write_elem(group, parent, {})
    if name in group[parent]:
        del group[parent][name]
    return group[parent]


def empty_array(group: Any, parent: str, name: str, shape: tuple[int, int]) -> Any:
    """Create an array of float32 in AnnData's encoding, in chunks of some rows."""
    holder = _parent_without(group, parent, name)
    create = getattr(holder, "create_array", None) or holder.create_dataset
    # Nothing cannot be cut into chunks.
    chunks = {"chunks": (min(_ROWS, shape[0]), shape[1])} if 0 not in shape else {}
    array = create(name, shape=shape, dtype=np.float32, **chunks)
    array.attrs["encoding-type"] = "array"
    array.attrs["encoding-version"] = "0.2.0"
    return array


def add_columns(group: Any, name: str, columns: Mapping[str, Any]) -> None:
    """Add columns to a data frame on disk, leaving its other columns unread."""
    frame = group[name]
    order = [str(column) for column in attribute(frame, "column-order")]
    for column, values in columns.items():
        put(group, name, column, values)
    frame.attrs["column-order"] = [*order, *(column for column in columns if column not in order)]


def stored_record(group: Any, keys: Keys) -> dict[str, Any]:
    """Return the `uns` of a file as far as these keys have a part in it."""
    from anndata.io import read_elem

    return {keys.uns: read_elem(group["uns"][keys.uns])} if keys.uns in group.get("uns", {}) else {}
