"""The vector store: *(encoder fingerprint, text digest) -> vector*, kept for ever: what is in it is not encoded again.

Each encoder has a database of its own, `<root>/vectors/<fingerprint>/cache.db`, see `database`. One write
costs some milliseconds however small it is: write a few hundred vectors at a time where they come quickly.

A value is `magic, dimension, tokens, cut, float32 little endian ..., crc32`. The checksum covers the fingerprint and
the digest too, so that a vector that stands at the wrong key is found like one with a flipped bit. A damaged vector is
never returned: it counts as not found, with a warning in the log, and so is encoded again and overwritten.
"""

import json
import logging
import re
import shutil
import sqlite3
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import diskcache
import numpy as np
from numpy.typing import ArrayLike, NDArray

from genetext import disk
from genetext.encoders.base import Encoded
from genetext.encoding import database
from genetext.errors import StoreError, first_ten

_log = logging.getLogger("genetext")

_FILE = "cache.db"  # diskcache's name for it
_HEADER = [("magic", "S4"), ("dimension", "<u4"), ("n_tokens", "<i4"), ("cut", "u1"), ("padding", "V3")]
_MAGIC = b"GTv1"
_VECTOR = "text/"  # keys: text/<digest>, and the two below
_DIMENSION = "dimension"
_NOTE = "note"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # a fingerprint names a directory


@dataclass(frozen=True)
class StoredVectors(Encoded):
    """What the store has of some texts, row by row as they were asked for; vectors are `(n, 0)` where it has none.

    Attributes
    ----------
    mask
        `(n,) bool`: which texts have a vector; the rows of the others are zeros.
    """

    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Holding:
    """What the store has of one encoder.

    Attributes
    ----------
    vectors
        How many vectors.
    size
        Bytes on the disk.
    dimension
        Length of a vector, None where there is none yet.
    note
        What was noted about the encoder (its spec), or None.
    """

    vectors: int
    size: int
    dimension: int | None
    note: Mapping[str, Any] | None


class VectorStore:
    """Vectors by encoder fingerprint and text digest; safe to use from several threads and processes at once.

    Parameters
    ----------
    directory
        Where the databases are. Default: `vectors` in the cache root. It is made when something is first written.

    Raises
    ------
    StoreError
        From every method: a database that is damaged as a whole, or that holds what this class never writes (pickles).
    DiskError
        From every method: no room, no permission, or a lock held by another process for a minute.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = disk.cache_dir() / "vectors" if directory is None else Path(directory)
        self._open: dict[str, diskcache.Cache] = {}
        self._opening = threading.Lock()

    def __enter__(self) -> "VectorStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VectorStore({str(self.directory)!r})"

    def close(self) -> None:
        """Close the databases. The store may be used again: they are opened anew."""
        for cache in self._open.values():
            cache.close()
        self._open.clear()

    def read(self, fingerprint: str, digests: Sequence[str]) -> StoredVectors:
        """Read the vectors of `digests`, in their order; repeated digests are allowed."""
        position = {digest: row for row, digest in enumerate(dict.fromkeys(digests))}
        n_tokens, cut = np.zeros(len(position), np.int32), np.zeros(len(position), np.int8)
        mask = np.zeros(len(position), np.bool_)
        vectors = np.zeros((len(position), 0), np.float32)
        damaged: list[str] = []
        if self._exists(fingerprint):
            with self._database(fingerprint) as cache:
                dim = _dimension(cache) or 0
                vectors = np.zeros((len(position), dim), np.float32)
                for blobs in database.values(cache, _VECTOR, list(position)):
                    records, intact = _unpack(blobs, fingerprint, dim)
                    damaged += [digest for digest, whole in zip(blobs, intact.tolist(), strict=True) if not whole]
                    rows = np.array([position[digest] for digest in blobs], np.int64)[intact]
                    records = records[intact]
                    vectors[rows], n_tokens[rows], cut[rows] = records["vector"], records["n_tokens"], records["cut"]
                    mask[rows] = True
        if damaged:
            _log.warning(
                "%d vectors in %s are damaged and count as not found, so they are encoded again: %s",
                len(damaged),
                self._path(fingerprint),
                first_ten(damaged),
            )
        if not mask.any():
            vectors = vectors[:, :0]
        if len(position) < len(digests):
            rows = np.array([position[digest] for digest in digests], np.int64)
            vectors, n_tokens, cut, mask = vectors[rows], n_tokens[rows], cut[rows], mask[rows]
        return StoredVectors(vectors, n_tokens, cut, mask)

    def write(
        self, fingerprint: str, digests: Sequence[str], vectors: ArrayLike, n_tokens: ArrayLike, cut: ArrayLike
    ) -> None:
        """Write vectors: all of one call or none. They are on the disk when this returns.

        Parameters
        ----------
        fingerprint
            Of the encoder.
        digests
            Of the texts, n of them; what is there already is overwritten.
        vectors
            `(n, dim)`, finite, stored as float32.
        n_tokens, cut
            `(n,)` integers.

        Raises
        ------
        StoreError
            Shapes that do not fit together, vectors that are not finite, or another dimension than what is stored.
        DiskError
            No room or no permission. Nothing of this call is kept, and everything written before is.
        """
        rows = np.ascontiguousarray(vectors, dtype="<f4")
        counts, cuts = np.asarray(n_tokens), np.asarray(cut)
        n = len(digests)
        if rows.ndim != 2 or rows.shape[0] != n or counts.shape != (n,) or cuts.shape != (n,):
            raise StoreError(
                f"{n} digests need vectors ({n}, dim), n_tokens ({n},) and cut ({n},); "
                f"got {rows.shape}, {counts.shape} and {cuts.shape}"
            )
        if n == 0:
            return
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size or rows.shape[1] == 0:
            named = first_ten([digests[row] for row in bad.tolist()])
            raise StoreError(f"vectors that are empty or not finite are not stored: {named or 'all, of 0 dimensions'}")
        with self._database(fingerprint) as cache, cache.transact():
            stored = _dimension(cache)
            if stored is None:
                cache.set(_DIMENSION, json.dumps(rows.shape[1]).encode())
            elif stored != rows.shape[1]:
                raise StoreError(
                    f"{self._path(fingerprint)} holds vectors of {stored} dimensions, these have {rows.shape[1]}: "
                    "the encoder's fingerprint does not say all that decides its vectors"
                )
            for digest, blob in zip(digests, _pack(rows, counts, cuts, fingerprint, digests), strict=True):
                cache.set(_VECTOR + digest, blob)

    def contains(self, fingerprint: str, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Return `(n,) bool`: which digests have a vector (whether it is whole, `read` and `verify` see)."""
        if not self._exists(fingerprint):
            return np.zeros(len(digests), np.bool_)
        with self._database(fingerprint) as cache:
            stored = {digest for blobs in database.values(cache, _VECTOR, digests, column="x''") for digest in blobs}
        return np.fromiter((digest in stored for digest in digests), np.bool_, len(digests))

    def note(self, fingerprint: str, value: Mapping[str, Any]) -> None:
        """Keep a JSON object beside an encoder's vectors, so that a listing can say whose fingerprint this is."""
        blob = json.dumps(value, sort_keys=True).encode()
        with self._database(fingerprint) as cache:
            if cache.get(_NOTE) != blob:
                cache.set(_NOTE, blob)

    def fingerprints(self) -> dict[str, Holding]:
        """Return what the store has of each encoder; those whose vectors were removed or are damaged are left out."""
        holdings = {}
        for fingerprint in self._all():
            try:
                with self._database(fingerprint) as cache:
                    note, dimension = cache.get(_NOTE), _dimension(cache)
                    count = len(cache) - (note is not None) - (dimension is not None)
            except StoreError as error:
                _log.warning("left out: %s", error)
                continue
            if count or note is not None:
                size = sum(file.stat().st_size for file in self._path(fingerprint).iterdir() if file.is_file())
                holdings[fingerprint] = Holding(vectors=count, size=size, dimension=dimension, note=_read_note(note))
        return holdings

    def remove(self, fingerprint: str) -> None:
        """Remove everything of one encoder, and give its room back to the disk; nothing to do if it is not there.

        The (then tiny) database stays, since another process may be about to write to it; one that is damaged as a
        whole is deleted.
        """
        if not self._exists(fingerprint):
            return
        try:
            with self._database(fingerprint) as cache:
                cache.clear()
        except StoreError:
            with disk.writing(self._path(fingerprint)):
                shutil.rmtree(self._path(fingerprint))

    def verify(self) -> list[str]:
        """Check every byte; return one sentence for each thing that is wrong (empty: all is well)."""
        problems: list[str] = []
        for fingerprint in self._all():
            try:
                with self._database(fingerprint) as cache:
                    problems += self._verify(fingerprint, cache)
            except StoreError as error:
                problems.append(str(error))
        return problems

    def _verify(self, fingerprint: str, cache: diskcache.Cache) -> Iterator[str]:
        path = self._path(fingerprint)
        with warnings.catch_warnings():
            warnings.simplefilter("always")  # diskcache collects its findings as warnings
            try:
                findings = [str(warning.message) for warning in cache.check()]
            except (TypeError, ValueError) as error:  # rows that make no sense to it
                findings = [f"its rows cannot be read ({error})"]
        yield from (f"{path}: {finding}" for finding in findings)
        dimension = _dimension(cache) or 0
        for key in cache.iterkeys():
            if not key.startswith(_VECTOR):
                if key not in (_DIMENSION, _NOTE):
                    yield f"{path}: the key {key!r} is not one of the store's"
                continue
            digest = key.removeprefix(_VECTOR)
            try:
                blob = cache.get(key)
            except StoreError as error:
                yield str(error)
                continue
            if blob is not None and not _unpack({digest: blob}, fingerprint, dimension)[1][0]:
                yield f"{path}: the vector of text {digest} is damaged; it is encoded again when it is next needed"

    def _path(self, fingerprint: str) -> Path:
        if not _NAME.fullmatch(fingerprint):
            raise StoreError(f"{fingerprint!r} is not an encoder's fingerprint")
        return self.directory / fingerprint

    def _exists(self, fingerprint: str) -> bool:
        return (self._path(fingerprint) / _FILE).is_file()

    def _all(self) -> list[str]:
        if not self.directory.is_dir():
            return []
        return sorted(path.parent.name for path in self.directory.glob(f"*/{_FILE}"))

    @contextmanager
    def _database(self, fingerprint: str) -> Iterator[diskcache.Cache]:
        """Yield an encoder's open database; what SQLite says becomes a `StoreError` or a `DiskError`."""
        path = self._path(fingerprint)
        try:
            with disk.writing(path):
                with self._opening:
                    if fingerprint not in self._open:
                        self._open[fingerprint] = database.connect(path)
                    cache = self._open[fingerprint]
                yield cache
        except (sqlite3.Error, diskcache.Timeout, UnicodeDecodeError) as error:
            # diskcache may have failed to end its transaction: closing ends it, and the next use opens anew.
            broken = self._open.pop(fingerprint, None)
            if broken is not None:
                broken.close()
            raise database.explained(error, path) from error


def _dimension(cache: diskcache.Cache) -> int | None:
    blob = cache.get(_DIMENSION)
    if blob is None:
        return None
    try:
        return int(json.loads(blob))
    except ValueError:
        raise StoreError(
            f"{cache.directory} does not say its dimension: {blob!r}; delete it and encode again"
        ) from None


def _read_note(blob: bytes | None) -> Mapping[str, Any] | None:
    try:
        value = None if blob is None else json.loads(blob)
    except ValueError:
        return None  # a listing goes on without it; the next `note` writes it again
    return value if isinstance(value, dict) else None


def _layout(dim: int) -> np.dtype[np.void]:
    return np.dtype([*_HEADER, ("vector", "<f4", (dim,)), ("checksum", "<u4")])


def _checksums(blobs: Sequence[bytes], fingerprint: str, digests: Sequence[str]) -> NDArray[np.uint32]:
    """Return the checksum of each value, whatever stands in its last four bytes."""
    start = zlib.crc32(f"{fingerprint}/".encode())
    pairs = zip(blobs, digests, strict=True)
    sums = (zlib.crc32(memoryview(blob)[:-4], zlib.crc32(digest.encode(), start)) for blob, digest in pairs)
    return np.fromiter(sums, np.uint32, len(blobs))


def _pack(
    vectors: NDArray[np.float32], n_tokens: NDArray[Any], cut: NDArray[Any], fingerprint: str, digests: Sequence[str]
) -> list[bytes]:
    records = np.zeros(len(vectors), _layout(vectors.shape[1]))
    records["magic"], records["dimension"] = _MAGIC, vectors.shape[1]
    records["vector"], records["n_tokens"], records["cut"] = vectors, n_tokens, cut
    records["checksum"] = _checksums([record.tobytes() for record in records], fingerprint, digests)
    return [record.tobytes() for record in records]


def _unpack(blobs: Mapping[str, bytes], fingerprint: str, dim: int) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
    """Read values by digest as records; and which of them are intact, `(n,) bool`."""
    layout = _layout(dim)
    values = [blob if len(blob) == layout.itemsize else bytes(layout.itemsize) for blob in blobs.values()]
    records = np.frombuffer(b"".join(values), layout)
    intact = (records["magic"] == _MAGIC) & (records["dimension"] == dim)
    return records, intact & (records["checksum"] == _checksums(values, fingerprint, list(blobs)))
