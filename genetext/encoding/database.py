"""The SQLite database of the vector store, through diskcache: strings to bytes, nothing lost, nothing run.

What diskcache does by default is turned off where it could lose or run what it should not: nothing is ever evicted
(vectors may have been paid for), values are bytes in the database itself (diskcache does not flush the files it would
write), and nothing is pickled or unpickled: a row that holds a pickle is an error, met before it is looked into.

A rollback journal is used rather than a write-ahead log. That one would be about four times as fast for small writes,
but needs memory shared between all processes, which the network file systems where clusters keep home directories do
not have. `synchronous=FULL` makes a transaction end when its rows are on the disk.
"""

import errno
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import diskcache

from genetext import disk
from genetext.errors import DiskError, StoreError

# What SQLite's primary result codes mean for a user, as the operating system would have said it.
_ERRNO = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_KEYS_AT_ONCE = 500  # SQLite once took at most 999 values in a statement
_WAIT = 60.0  # seconds to wait for another process that is writing


class _Bytes(diskcache.Disk):  # type: ignore[misc]
    """Keys are strings and values bytes, both in the database; anything else is refused and never looked into."""

    def __init__(self, directory: str, **_: object) -> None:
        super().__init__(directory)

    def put(self, key: object) -> tuple[str, bool]:
        if not isinstance(key, str):
            raise StoreError(f"keys of the vector store are strings, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: bool) -> str:
        if not raw or not isinstance(key, str):
            raise self._refusal("a key")
        return key

    def store(self, value: object, read: bool, key: object = None) -> tuple[int, int, None, bytes]:
        if read or not isinstance(value, bytes):
            raise StoreError(f"values of the vector store are bytes, not {type(value).__name__} ({key})")
        return 0, diskcache.core.MODE_RAW, None, value

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> bytes:
        if mode != diskcache.core.MODE_RAW or filename is not None or read or not isinstance(value, bytes):
            raise self._refusal("a pickled value" if mode == diskcache.core.MODE_PICKLE else "a value")
        return value

    def remove(self, file_path: str) -> None:
        # Rows of this store have no files, and a foreign row must not choose what is deleted.
        raise self._refusal(f"a file ({file_path})")

    def _refusal(self, what: str) -> StoreError:
        return StoreError(
            f"{self._directory} holds {what} that genetext did not write, and that it does not open: move this folder "
            "away, or delete it, and encode again"
        )


_SETTINGS: Mapping[str, Any] = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    "statistics": 0,
    "tag_index": 0,
    "sqlite_journal_mode": "persist",  # a commit overwrites the journal's head: no directory entry to be flushed
    "sqlite_synchronous": 2,  # FULL
    "sqlite_auto_vacuum": 1,  # FULL: removed vectors give their room back
}


def connect(directory: Path) -> diskcache.Cache:
    """Open the database of a folder; diskcache does not wait for a process that is writing just then, so wait here."""
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            return diskcache.Cache(str(directory), timeout=_WAIT, disk=_Bytes, **_SETTINGS)
        except sqlite3.OperationalError as error:
            if _primary_code(error) not in _BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        except (ValueError, TypeError, KeyError) as error:  # settings that make no sense
            raise explained(error, directory) from error


def values(
    cache: diskcache.Cache, prefix: str, names: Sequence[str], *, column: str = "value"
) -> Iterator[dict[str, bytes]]:
    """Give what is stored at the keys `prefix + name` that have anything, by name, some hundreds at a time.

    Read by diskcache's own connection but not by its `get`, which locks and unlocks the database for every key: that
    took four times as long. What is no value of this store is refused as there.
    """
    for start in range(0, len(names), _KEYS_AT_ONCE):
        keys = dict.fromkeys(prefix + name for name in names[start : start + _KEYS_AT_ONCE])
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, mode, filename, {column} FROM Cache WHERE raw = 1 AND key IN ({marks})"
        yield {
            key.removeprefix(prefix): cache.disk.fetch(mode, filename, value, False)
            for key, mode, filename, value in cache._sql(query, list(keys))
            if key in keys  # else the index of a damaged database leads to another row
        }


def _primary_code(error: BaseException) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def explained(error: BaseException, path: Path) -> StoreError | DiskError:
    """Say in a user's words what SQLite said, which diskcache may have covered with errors of its own."""
    said = error
    link: BaseException | None = error
    while link is not None:  # the first refusal stands deepest in the chain
        if isinstance(link, sqlite3.Error):
            said = link
        link = link.__context__
    primary = _primary_code(said)
    if primary in _ERRNO:
        try:
            with disk.writing(path):
                raise OSError(_ERRNO[primary], str(said))
        except DiskError as refusal:
            return refusal
    if primary in _BUSY:
        return DiskError(f"another process has been writing to {path} for {_WAIT:.0f} seconds; wait for it, or end it")
    return StoreError(
        f"{path} cannot be read as a vector store ({said}): if `genetext cache verify` says the same, "
        "delete this folder and encode again"
    )
