"""Matrices of cells by genes as files have them, checked as they are read: what comes out can be multiplied."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext.cell_formats import attribute, saying_what
from genetext.errors import CellsError, first_ten

_ENTRIES = 1 << 22
"""Positions that are checked at once."""


def real_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as SciPy can hold them: half precision as float32, longer than double as float64, native bytes."""
    dtype = values.dtype
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return values.astype(np.float32 if dtype.itemsize < 4 else np.float64)
    return values if dtype.isnative else values.astype(dtype.newbyteorder("="))


def whole_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return positions that were written as floating-point numbers, as R does, as integers; others as they are."""
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        return values.astype(np.int64)
    return values


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
            if self.node.shape is None:
                raise CellsError(f"{self.where} holds nothing: a matrix is needed")
            return tuple(self.node.shape)
        shape = attribute(self.node, "shape") or attribute(self.node, "h5sparse_shape")
        if not isinstance(shape, list) or len(shape) != 2 or not all(n >= 0 and n == int(n) for n in shape):
            raise CellsError(f"{self.where} is a sparse matrix that does not say its shape ({shape})")
        return tuple(map(int, shape))

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
        indptr = whole_numbers(np.asarray(self.node["indptr"][...]))
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
            indices = whole_numbers(np.asarray(self.node["indices"][entries]))
            check_indices(indices, self.shape[1], self.where)
            data = real_numbers(np.asarray(self.node["data"][entries]))
            indptr = self.indptr[start : stop + 1] - entries.start
            return sparse.csr_matrix((data, indices, indptr), shape=(stop - start, self.shape[1]))

    def check(self) -> None:
        """Raise `CellsError` where a sparse matrix points outside itself; its values are not read."""
        if self.format == "dense":
            return
        n_columns = self.shape[self.format == "csr"]
        for start in range(0, int(self.indptr[-1]), _ENTRIES):
            entries = self.node["indices"][start : min(start + _ENTRIES, int(self.indptr[-1]))]
            check_indices(whole_numbers(np.asarray(entries)), n_columns, self.where)

    def read(self) -> Any:
        """Read all of it: an array, a CSR or a CSC matrix."""
        from scipy import sparse

        if self.format != "csc":
            return self[:]
        with saying_what(self.path):
            indices = whole_numbers(np.asarray(self.node["indices"][...]))
            check_indices(indices, self.shape[0], self.where)
            return sparse.csc_matrix(
                (real_numbers(np.asarray(self.node["data"][...])), indices, self.indptr), shape=self.shape
            )
