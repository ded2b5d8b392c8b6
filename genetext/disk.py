"""Writing that survives being killed: whole files, whole directories, one lock per name.

A reader never sees half a file. Everything is written to a temporary sibling, flushed to the disk, then renamed.
A full disk, a read-only folder or a missing permission becomes one `DiskError` that names the path.
"""

import ctypes
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import platformdirs
from filelock import FileLock, Timeout

from genetext.errors import DiskError

_TEMPORARY, _ASIDE, _USER = ".tmp-", ".old-", "user-"
_REASONS = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EFBIG: "the file would be larger than is allowed here",
    errno.EIO: "the disk reports an input/output error",
    errno.EEXIST: "a file of that name is in the way",
    errno.ENOTDIR: "a part of that path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


def cache_dir() -> Path:
    """Return the cache root: `$GENETEXT_CACHE`, else the platform's user cache directory."""
    chosen = os.environ.get("GENETEXT_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("genetext"))


@contextmanager
def saying_where(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals (full, read-only, not permitted) into a `DiskError` naming `path`."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        if reason is None:
            raise
        raise DiskError(
            f"cannot write {path}: {reason}. What was finished before is kept; free some room or point "
            f"GENETEXT_CACHE (or --output) at a folder that can be written, and run the same command again."
        ) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary sibling of `path` for writing; on success flush it and rename it over `path`."""
    temporary = path.with_name(f"{path.name}{_TEMPORARY}{secrets.token_hex(6)}")
    with saying_where(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
            sync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as canonical, human-readable JSON (sorted keys, UTF-8, one trailing newline), atomically."""
    with atomic_file(path) as handle:
        handle.write(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling of `path`; on success it takes the place of `path` in one step.

    An existing directory at `path` is exchanged (Linux: one system call; elsewhere: two renames) and then removed,
    so that readers see the old one or the new one, whole. On failure `path` is as it was.
    """
    temporary = path.with_name(f"{path.name}{_TEMPORARY}{secrets.token_hex(6)}")
    with saying_where(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        try:
            temporary.mkdir()
            yield temporary
            # Some libraries write files that only their owner may read; whoever may read the directory may read these.
            readable = temporary.stat().st_mode & 0o666
            for child in sorted(temporary.rglob("*")):
                if child.is_file():
                    child.chmod(readable)
                    _sync_file(child)
                else:
                    sync_directory(child)
            sync_directory(temporary)
            if path.exists():
                _exchange(temporary, path)
            else:
                temporary.rename(path)
            sync_directory(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` left beside it. Call it while holding the lock that guards `path`.

    A directory that was set aside for a new one which never took its place is put back.
    """
    for aside in sorted(path.parent.glob(f"{path.name}{_ASIDE}*")):
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(path)
    for leftover in path.parent.glob(f"{path.name}{_TEMPORARY}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether `path` is the unfinished work of a writer that runs, or was killed."""
    return _TEMPORARY in path.name or _ASIDE in path.name


@contextmanager
def lock(name: str, *, root: Path | None = None, timeout: float = -1) -> Iterator[bool]:
    """Hold the lock file `<root>/locks/<name>.lock`; yield whether another process had to be waited for.

    Parameters
    ----------
    name
        What is guarded; slashes become dashes.
    root
        The cache root. Default: `cache_dir()`.
    timeout
        Seconds to wait, -1 for ever, 0 not at all.

    Raises
    ------
    DiskError
        The lock is held by another process past `timeout`, or cannot be created.
    """
    path = (root or cache_dir()) / "locks" / f"{name.replace('/', '-')}.lock"
    with saying_where(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        guard = FileLock(path)
        waited = False
        try:
            guard.acquire(timeout=0)
        except Timeout:
            waited = True
            try:
                guard.acquire(timeout=timeout)
            except Timeout as error:
                raise DiskError(f"another process holds {path}; wait for it, or end it, and run again") from error
    try:
        yield waited
    finally:
        guard.release()


@contextmanager
def cache_in_use(root: Path | None = None) -> Iterator[None]:
    """Keep the cache from being cleaned up meanwhile; any number of processes may do so at once."""
    folder = (root or cache_dir()) / "locks"
    mine = FileLock(folder / f"{_USER}{os.getpid()}-{secrets.token_hex(4)}.lock")
    with lock("cleaning", root=root):
        mine.acquire()
    try:
        yield
    finally:
        mine.release()
        Path(mine.lock_file).unlink(missing_ok=True)


@contextmanager
def cache_alone(root: Path | None = None) -> Iterator[None]:
    """Hold the cache for cleaning it up; nobody begins to use it meanwhile.

    Raises
    ------
    DiskError
        A build or a fetch is using it.
    """
    with lock("cleaning", root=root):
        for path in sorted(((root or cache_dir()) / "locks").glob(f"{_USER}*.lock")):
            user = FileLock(path)
            try:
                user.acquire(timeout=0)
            except Timeout:
                raise DiskError(
                    f"{root or cache_dir()} is in use by another process ({path.stem.removeprefix(_USER)}); wait for "
                    "its end, and run again"
                ) from None
            user.release()
            path.unlink(missing_ok=True)
        yield


def sha256_file(path: Path) -> str:
    """Return the hexadecimal sha256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the hexadecimal sha256 of `value` as canonical JSON (sorted keys, no spaces, ASCII)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to the disk, where the platform lets a directory be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _exchange(new: Path, old: Path) -> None:
    """Swap two directories: `renameat2(RENAME_EXCHANGE)` where the kernel and file system have it, else two renames."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        renameat2 = None
    at_fdcwd, exchange = -100, 2
    if renameat2 is not None and renameat2(at_fdcwd, os.fsencode(new), at_fdcwd, os.fsencode(old), exchange) == 0:
        return
    aside = old.with_name(f"{old.name}{_ASIDE}{secrets.token_hex(6)}")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    shutil.rmtree(aside, ignore_errors=True)
