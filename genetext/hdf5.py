"""HDF5 files that a full disk cannot crash.

The HDF5 library ends the process by SIGSEGV when what it holds cannot be flushed as a file is closed. So it writes
through a file object that takes everything: the first refusal is noted and raised when the file is closed, and
what was written until then gives its room back, for the library to finish in.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any


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
        with h5py.File(patient, mode) as opened:
            opened.patient = patient
            yield opened
        patient.check()


def check(opened: Any) -> None:
    """Raise the refusal that an HDF5 file opened by `file` has met, if any; other groups pass."""
    patient = getattr(opened, "patient", None)
    if patient is not None:
        patient.check()


class _Patient(io.RawIOBase):
    """A file whose writes and truncations succeed for whoever calls; `check` raises the first refusal."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR)
        self._position = 0
        self._refusal: OSError | None = None

    def check(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        self._position = offset + (os.fstat(self._descriptor).st_size if start is None else start)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        n_read = os.preadv(self._descriptor, [buffer], self._position)
        self._position += n_read
        return n_read

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        n_bytes = len(rest)
        while rest:
            n_written = self._taken(rest)
            self._position += n_written
            rest = rest[n_written:]
        return n_bytes

    def _taken(self, data: memoryview) -> int:
        try:
            return os.pwrite(self._descriptor, data, self._position)
        except OSError as error:
            self._refuse(error)
        try:  # once more, in the room that everything before gives back
            os.ftruncate(self._descriptor, 0)
            return os.pwrite(self._descriptor, data, self._position)
        except OSError:
            return len(data)

    def truncate(self, size: int | None = None) -> int:
        size = self._position if size is None else size
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            self._refuse(error)
        return size

    def _refuse(self, error: OSError) -> None:
        if self._refusal is None:
            error.n_written = os.fstat(self._descriptor).st_size  # type: ignore[attr-defined]
            self._refusal = error

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
