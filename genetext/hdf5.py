"""HDF5 files that a full disk cannot crash.

The HDF5 library ends the process by SIGSEGV when what it holds cannot be flushed as a file is closed. So it writes
through a file object that takes everything: the first refusal is noted and raised when the file is closed, and
what comes after it is kept in memory, for the library to finish with.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

_SMALL, _KEPT = 1 << 16, 1 << 26
"""Bytes of a piece that is always kept once the disk is full, and of all that are."""


@contextmanager
def file(handle: IO[bytes], mode: str) -> Iterator[Any]:
    """Open the file that `genetext.disk.atomic_file` yields as an HDF5 file for writing.

    Parameters
    ----------
    handle
        A file on the disk that is open for writing; what it buffers is flushed first.
    mode
        `w`: an empty file; `r+`: the HDF5 file that was copied there.

    Yields
    ------
    An `h5py.File`. Long work calls `check` on it now and then, to stop at the first refusal.

    Raises
    ------
    OSError
        A write was refused, such as on a full disk; `atomic_file` turns it into a `DiskError`.
    """
    import h5py

    handle.flush()
    with _Patient(handle.name) as patient:
        try:
            with h5py.File(patient, mode) as opened:
                opened.patient = patient
                yield opened
        except Exception:
            patient.check()  # what followed from a refusal is not what has to be told
            raise
        patient.check()


def check(opened: Any) -> None:
    """Raise the refusal that an HDF5 file opened by `file` has met, if any; other groups pass."""
    patient = getattr(opened, "patient", None)
    if patient is not None:
        patient.check()


class _Patient(io.RawIOBase):
    """A file whose writes and truncations succeed for whoever calls; `check` raises the first refusal.

    From the first refusal on the disk is left as it is, and what is written is kept in memory to be read back: HDF5
    crashes where it does not find its own metadata again. Large pieces, which are data, are dropped beyond `_KEPT`.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR)
        self._position = 0
        self._refusal: OSError | None = None
        self._pieces: dict[int, bytes] = {}
        self._n_kept = self._size = 0

    def check(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        self._position = offset + (self._length() if start is None else start)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        start = self._position
        n_read = os.preadv(self._descriptor, [view], start)
        if self._refusal is not None:
            wanted = max(0, min(len(view), self._size - start))
            view[n_read:wanted] = bytes(max(0, wanted - n_read))
            n_read = wanted
            for at, piece in self._pieces.items():  # the latest last
                low, high = max(at, start), min(at + len(piece), start + n_read)
                if low < high:
                    view[low - start : high - start] = piece[low - at : high - at]
        self._position += n_read
        return n_read

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        n_bytes = len(rest)
        while rest and self._refusal is None:
            try:
                n_written = os.pwrite(self._descriptor, rest, self._position)
            except OSError as error:
                self._refuse(error)
            else:
                self._position += n_written
                rest = rest[n_written:]
        if rest:
            if len(rest) <= _SMALL or self._n_kept + len(rest) <= _KEPT:
                self._n_kept += len(rest) - len(self._pieces.pop(self._position, b""))
                self._pieces[self._position] = bytes(rest)
            self._position += len(rest)
            self._size = max(self._size, self._position)
        return n_bytes

    def truncate(self, size: int | None = None) -> int:
        size = self._position if size is None else size
        if self.closed:  # HDF5 tries again what failed as it closed
            return size
        if self._refusal is None:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as error:
                self._refuse(error)
        self._size = size
        return size

    def _length(self) -> int:
        return os.fstat(self._descriptor).st_size if self._refusal is None else self._size

    def _refuse(self, error: OSError) -> None:
        self._size = os.fstat(self._descriptor).st_size
        error.n_written = self._size  # type: ignore[attr-defined]
        self._refusal = error

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
