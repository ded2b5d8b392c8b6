"""Writing that survives being killed: whole files, whole directories.

A reader never sees half a file. Everything is written to a temporary sibling, flushed to the disk, then renamed.
A full disk, a read-only folder or a missing permission becomes one `DiskError` that names the path, whichever library
was writing. What a killed writer left behind is removed by the next one that writes to the same place.
"""

import ctypes
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import platformdirs

from genetext.errors import DamagedFile, DiskError

_TEMPORARY, _ASIDE = ".tmp-", ".old-"
_DAY = 86_400.0
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
# Libraries in C and Rust (safetensors, HDF5 while it closes a file) tell the system's error in their message alone.
_ERRNO = re.compile(r"(?:os error |errno = |\[Errno )(\d+)")
_SHORT = re.compile(r"\d+ requested and \d+ written")  # NumPy's `tofile`
_LIVE: set[str] = set()
"""Names of the temporaries that this process is writing."""


def cache_dir() -> Path:
    """Return the cache root: `$GENETEXT_CACHE`, else the platform's user cache directory."""
    chosen = os.environ.get("GENETEXT_CACHE")
    return expanded(chosen) if chosen else Path(platformdirs.user_cache_dir("genetext"))


def expanded(path: str | Path) -> Path:
    """Return a path with `~` and `~user` replaced by the home directory.

    Raises
    ------
    DiskError
        There is no such user, or nobody knows where the home directory is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DiskError(f"{path}: the home directory of that user is not known here; write the path in full") from error


# -- writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def writing(path: Path, *, temporary: Path | None = None) -> Iterator[None]:
    """Turn refusals of the operating system (full, read-only, not permitted) into a `DiskError` naming `path`.

    Parameters
    ----------
    path
        What is being written, as the user knows it.
    temporary
        The file or folder in which it is written, if that is another.

    Raises
    ------
    DiskError
        The disk refused; the message holds the reason and how much was written. Errors about other
        files, such as one that is read meanwhile, pass as they are.
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        reason = _REASONS.get(_errno(error))
        if reason is None or not _is_about(error, path, temporary or path):
            raise
        raise DiskError(
            f"cannot write {path}: {reason}{_written(error, temporary)}. What was finished before is kept; free some "
            f"room or point GENETEXT_CACHE (or --output) at a folder that can be written, and run the same command "
            f"again."
        ) from error


@contextmanager
def _in_place(path: Path) -> Iterator[None]:
    """Say what it means where a folder cannot be made, or the temporary is not there."""
    try:
        yield
    except FileNotFoundError as error:
        raise DiskError(
            f"cannot write {path}: {error.filename} is not there and cannot be made, or another process removed it. "
            f"Name another place (GENETEXT_CACHE, or --output), or run the same command again."
        ) from error


def _errno(error: BaseException) -> int:
    """Return the operating system's number of an error, which libraries may tell in the message alone; 0 for none."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if isinstance(error, OSError) and _SHORT.search(str(error)):
        return errno.ENOSPC
    if isinstance(error, OSError | RuntimeError) or type(error).__name__ == "SafetensorError":
        match = _ERRNO.search(str(error))
        return int(match.group(1)) if match else 0
    return 0


def _is_about(error: BaseException, *places: Path) -> bool:
    """Whether an error names one of the places, a file in them, a folder that leads to them, or no file at all."""
    name = getattr(error, "filename", None)
    if not isinstance(name, str | bytes):
        return True
    path = Path(os.fsdecode(name)).absolute()
    targets = [place.absolute() for place in places]
    return any(path == target or target in path.parents or path in target.parents for target in targets)


def _written(error: BaseException, temporary: Path | None) -> str:
    """Say in brackets how many bytes the disk had taken."""
    n_bytes = getattr(error, "n_written", 0)
    if not n_bytes and temporary is not None:
        with suppress(OSError):
            files = [temporary, *temporary.rglob("*")]
            n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    return f" (after {n_bytes:,} bytes)" if n_bytes else ""


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary sibling of `path` for writing; on success flush it and rename it over `path`.

    Raises
    ------
    DiskError
        The disk refused; nothing is left over, and an older file at `path` is as it was.
    """
    with _temporary(path) as temporary, writing(path, temporary=temporary):
        with temporary.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        with _in_place(path):
            temporary.replace(path)
        sync_directory(path.parent)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling of `path`; on success it takes the place of `path` in one step.

    An existing directory at `path` is exchanged (Linux: one system call; elsewhere: two renames) and then removed,
    so that readers see the old one or the new one, whole.

    Raises
    ------
    DiskError
        The disk refused; nothing is left over, and an older directory at `path` is as it was.
    """
    with _temporary(path) as temporary, writing(path, temporary=temporary):
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
        with _in_place(path):
            if path.exists():
                _exchange(temporary, path)
            else:
                temporary.rename(path)
        sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as canonical, human-readable JSON (sorted keys, UTF-8, one trailing newline), atomically."""
    with atomic_file(path) as handle:
        handle.write(json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return `value` as `write_json` writes it."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


@contextmanager
def atomic_pair(path: Path, sidecar: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open two files that belong together as `atomic_file` does; neither gets its name unless both are whole."""
    with atomic_file(path) as handle, atomic_file(sidecar) as notes:
        yield handle, notes
        handle.flush()
        os.fsync(handle.fileno())


# -- what is damaged, and what was left over -------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    FileNotFoundError
        It is absent.
    DamagedFile
        It cannot be read, or holds no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is damaged and cannot be read ({_brief(error)})") from error


def _brief(error: BaseException) -> str:
    """Say in a few words what is wrong with a file."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)[:200]


def is_temporary(path: Path) -> bool:
    """Whether `path` is the unfinished work of a writer that runs, or was killed."""
    return _TEMPORARY in path.name or _ASIDE in path.name


def is_abandoned(path: Path) -> bool:
    """Whether `path` is the unfinished work of a writer that runs no more.

    A temporary bears what its writer is known by: the machine as it sees it, the process id, and when that began. One
    of another machine or container, whose processes are not seen from here, counts as abandoned a day after it was
    last changed.
    """
    if not is_temporary(path):
        return False
    _, _, tail = path.name.rpartition(_TEMPORARY if _TEMPORARY in path.name else _ASIDE)
    parts = tail.split("-")
    if len(parts) == 4 and parts[0] == _host() and parts[1].isdecimal():
        process, began = int(parts[1]), parts[2]
        if process == os.getpid() and began == _began(process):
            return path.name not in _LIVE
        return not _runs(process, began)
    try:
        return time.time() - path.stat().st_mtime > _DAY
    except OSError:
        return False


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` left beside it.

    A directory that was set aside for a new one which never took its place is put back.
    """
    marks = tuple(f"{path.name}{mark}" for mark in (_TEMPORARY, _ASIDE))
    with os.scandir(path.parent) as entries:
        leftovers = sorted(Path(entry.path) for entry in entries if entry.name.startswith(marks))
    for leftover in filter(is_abandoned, leftovers):
        if _ASIDE in leftover.name and not path.exists():
            leftover.rename(path)
        else:
            remove(leftover)


def remove(path: Path) -> None:
    """Remove a file or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield a name for a temporary sibling of `path`, removed in the end; those of killed writers are swept away."""
    temporary = path.with_name(f"{path.name}{_TEMPORARY}{_signature()}")
    with writing(path), _in_place(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
    _LIVE.add(temporary.name)
    try:
        yield temporary
    finally:
        remove(temporary)
        _LIVE.discard(temporary.name)


def _host() -> str:
    """Return what tells apart the places that see the same processes: containers may share the name of their host."""
    known = [socket.gethostname()]
    with suppress(OSError):
        known += [str(Path("/proc/self/ns/pid").readlink()), Path("/proc/sys/kernel/random/boot_id").read_text()]
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:8]


def _began(process: int) -> str:
    """Return when a process began, in ticks since the machine did; empty where that is not told."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _signature() -> str:
    return f"{_host()}-{os.getpid()}-{_began(os.getpid())}-{secrets.token_hex(4)}"


def _runs(process: int, began: str) -> bool:
    """Whether a process that began then still runs: its number may be that of another one by now."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return _began(process) in (began, "")


# -- digests ---------------------------------------------------------------------------------------------------------


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
    aside = old.with_name(f"{old.name}{_ASIDE}{_signature()}")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    shutil.rmtree(aside, ignore_errors=True)
