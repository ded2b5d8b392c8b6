"""From h5ad to Zarr and back, slice by slice: no matrix, and no column of a frame, is in memory as a whole.

What AnnData stores as a group of arrays (sparse matrices, frames, categories, nullable columns) is walked into, and
each of its arrays is copied in slices with its attributes. What is left (single values, old encodings, and whatever
comes to be) goes through AnnData itself, one element at a time.
"""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from genetext.anndata_io import attribute
from genetext.progress import Progress

log = logging.getLogger("genetext")

SLICE = 1 << 22
"""Numbers that are copied at once."""
STRINGS = 1 << 16
"""Strings that are copied at once."""

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


class Copied:
    """How much of a copy is done, told as it grows.

    Parameters
    ----------
    total
        Bytes in all.
    progress
        Told `("copy", bytes done, total)`.
    """

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, n_bytes: int) -> None:
        """Count bytes that were copied."""
        self._done += n_bytes
        if self._progress is not None:
            self._progress("copy", self._done, self._total)


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
    _copy_group(group, target, Copied(_size(group), progress))


def _copy_group(source: Any, target: Any, copied: Copied) -> None:
    from anndata.io import read_elem, write_elem

    _copy_attributes(source, target)
    for name in list(source):
        child = source[name]
        encoding = attribute(child, "encoding-type"), attribute(child, "encoding-version")
        if not hasattr(child, "dtype"):
            # A group without an encoding is AnnData's oldest dict.
            if encoding in _WALKED:
                _copy_group(child, target.create_group(name), copied)
                continue
        elif child.shape and encoding[0] in ("array", None) and np.dtype(child.dtype).kind in "biuf":
            _copy_array(child, target, name, copied)
            continue
        elif len(child.shape) == 1 and encoding[0] == "string-array" and child.shape[0]:
            _copy_strings(child, target, name, copied)
            continue
        try:
            element = read_elem(child)
        except Exception as error:
            if type(error).__name__ != "IORegistryError":  # anndata keeps this class to itself
                raise
            log.warning("left out, since anndata does not know how it is encoded: %s", child.name.strip("/"))
        else:
            write_elem(target, name, element)
        copied.add(_size(child))


def _copy_array(source: Any, target: Any, name: str, copied: Copied) -> None:
    per_row = int(np.prod(source.shape[1:], dtype=np.int64))
    step = max(SLICE // max(per_row, 1), 1)
    # Nothing cannot be cut into chunks.
    chunks = {} if 0 in source.shape else {"chunks": (max(min(step // 4, source.shape[0]), 1), *source.shape[1:])}
    create = getattr(target, "create_array", None) or target.create_dataset
    array = create(name, shape=source.shape, dtype=source.dtype, **chunks)
    _copy_attributes(source, array)
    for rows in _slices(source, step):
        array[rows] = source[rows]
        copied.add((rows.stop - rows.start) * per_row * source.dtype.itemsize)


def _copy_strings(source: Any, target: Any, name: str, copied: Copied) -> None:
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
        copied.add(len(part) * source.dtype.itemsize)


def _slices(array: Any, step: int) -> Iterator[slice]:
    """Yield slices of at most `step` rows."""
    for start in range(0, array.shape[0], step):
        yield slice(start, min(start + step, array.shape[0]))


def _size(node: Any) -> int:
    """Return the bytes of all arrays in a group, or of an array, as they are in memory."""
    if hasattr(node, "dtype"):
        return int(np.prod(node.shape, dtype=np.int64)) * int(node.dtype.itemsize)
    return sum(_size(node[name]) for name in list(node))


def _copy_attributes(source: Any, target: Any) -> None:
    # h5py holds its global lock while attributes are iterated over. Writing to Zarr meanwhile waits for Zarr's own
    # thread, which waits for that lock as soon as it collects an h5py object: read all of them first.
    for key, value in {key: attribute(source, key) for key in list(source.attrs)}.items():
        target.attrs[key] = value
