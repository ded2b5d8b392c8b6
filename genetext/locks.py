"""Locks between processes: one writer per name, and a cache that is not cleaned up while somebody uses it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from genetext import disk
from genetext.errors import DiskError

_USER = "user-"


@contextmanager
def lock(name: str, *, root: Path | None = None, timeout: float = -1) -> Iterator[bool]:
    """Hold the lock file `<root>/locks/<name>.lock`; yield whether another process had to be waited for.

    Parameters
    ----------
    name
        What is guarded; slashes become dashes.
    root
        The cache root. Default: `disk.cache_dir()`.
    timeout
        Seconds to wait, -1 for ever, 0 not at all.

    Raises
    ------
    DiskError
        The lock is held by another process past `timeout`, or cannot be created.
    """
    path = (root or disk.cache_dir()) / "locks" / f"{name.replace('/', '-')}.lock"
    guard = FileLock(path)
    with disk.writing(path):
        waited = not _acquired(guard, timeout=0)
        if waited and not _acquired(guard, timeout=timeout):
            raise DiskError(f"another process holds {path}; wait for it, or end it, and run again")
    try:
        yield waited
    finally:
        guard.release()


def _acquired(guard: FileLock, *, timeout: float) -> bool:
    """Take a lock, or return False after `timeout` seconds; its folder is made, and again if a cleaner removes it."""
    folder = Path(guard.lock_file).parent
    for _ in range(10):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            guard.acquire(timeout=timeout)
        except Timeout:
            return False
        except (FileNotFoundError, FileExistsError):  # gone between two steps
            if folder.exists() and not folder.is_dir():
                raise
            continue
        return True
    if not folder.parent.is_dir():
        raise DiskError(f"{folder} cannot be made: name another place (GENETEXT_CACHE, or --output)")
    raise DiskError(f"{folder} is removed again and again: wait for the process that cleans the cache up")


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Be the only process that writes to `path`, a file or folder of the user's.

    The lock lies beside it, as `.<name>.lock`, and goes when the work is done.

    Raises
    ------
    DiskError
        Another process is writing to it.
    """
    guard = FileLock(path.with_name(f".{path.name}.lock"))
    with disk.writing(path):
        if not _acquired(guard, timeout=0):
            raise DiskError(f"another process is writing to {path}: wait for its end, or name another output")
    try:
        yield
    finally:
        Path(guard.lock_file).unlink(missing_ok=True)  # before the release: who waits for it sees that it is gone
        guard.release()


@contextmanager
def cache_in_use(root: Path | None = None) -> Iterator[None]:
    """Keep the cache from being cleaned up meanwhile; any number of processes may do so at once."""
    guard = FileLock((root or disk.cache_dir()) / "locks" / f"{_USER}{os.getpid()}-{secrets.token_hex(4)}.lock")
    with lock("cleaning", root=root), disk.writing(Path(guard.lock_file)):
        _acquired(guard, timeout=-1)
    try:
        yield
    finally:
        Path(guard.lock_file).unlink(missing_ok=True)
        guard.release()


@contextmanager
def cache_alone(root: Path | None = None) -> Iterator[None]:
    """Hold the cache for cleaning it up; nobody begins to use it meanwhile.

    Raises
    ------
    DiskError
        A build or a fetch is using it.
    """
    root = root or disk.cache_dir()
    with lock("cleaning", root=root):
        for path in sorted((root / "locks").glob(f"{_USER}*.lock")):
            if not _removed(path):
                user = path.stem.removeprefix(_USER)
                raise DiskError(f"{root} is in use by another process ({user}); wait for its end, and run again")
        yield


def remove_unheld(root: Path) -> None:
    """Remove the lock files that nobody holds, and their folder where none is left. Call it in `cache_alone`."""
    folder = root / "locks"
    for path in folder.glob("*.lock"):
        if path.name == "cleaning.lock":
            path.unlink(missing_ok=True)  # held by `cache_alone`: who waits for it finds it gone, and makes it anew
        else:
            _removed(path)
    with suppress(OSError):  # somebody holds, or has just made, one of them
        folder.rmdir()


def _removed(path: Path) -> bool:
    """Remove a lock file, and return True, unless another process holds it."""
    guard = FileLock(path)
    try:
        guard.acquire(timeout=0)
    except Timeout:
        return False
    path.unlink(missing_ok=True)
    guard.release()
    return True
