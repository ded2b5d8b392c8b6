"""Write and read back a species' worth of vectors: the store beside a plain file and a bare SQLite table.

Run: python benchmarks/store.py [--texts 20000] [--dim 768] [--batch 512]
"""

import argparse
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genetext.encoding.store import VectorStore

Timing = tuple[str, float, float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--batch", type=int, default=512, help="vectors in one durable write")
    parser.add_argument("--directory", type=Path, help="where to write (default: the system's temporary folder)")
    options = parser.parse_args()
    rows = np.random.default_rng(0).standard_normal((options.texts, options.dim), dtype=np.float32)
    digests = [f"{number:064x}" for number in range(options.texts)]
    mebibytes = rows.nbytes / 2**20
    print(f"{options.texts:,} x {options.dim} float32, {mebibytes:.0f} MiB, written {options.batch:,} at a time\n")
    print(f"{'':<34}{'write s':>9}{'MiB/s':>8}{'read s':>9}{'MiB/s':>8}{'on disk MiB':>13}")
    for measure in (_store, _sqlite, _file):
        with tempfile.TemporaryDirectory(dir=options.directory) as folder:
            name, write, read, size = measure(Path(folder), digests, rows, options.batch)
        print(f"{name:<34}{write:>9.2f}{mebibytes / write:>8.0f}{read:>9.2f}{mebibytes / read:>8.0f}{size:>13.0f}")


def _store(folder: Path, digests: list[str], rows: NDArray[np.float32], batch: int) -> Timing:
    fingerprint = "f" * 64
    zeros = np.zeros(len(rows), np.int32)

    def write() -> None:
        with VectorStore(folder) as store:
            for start in range(0, len(rows), batch):
                part = slice(start, start + batch)
                store.write(fingerprint, digests[part], rows[part], zeros[part], zeros[part])

    def read() -> NDArray[np.float32]:
        with VectorStore(folder) as store:
            return store.read(fingerprint, digests).vectors

    return ("VectorStore (durable, checksums)", *_timed(write, read, rows), _size(folder))


def _sqlite(folder: Path, digests: list[str], rows: NDArray[np.float32], batch: int) -> Timing:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def write() -> None:
        connection = connect()
        connection.execute("CREATE TABLE vectors (digest TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        for start in range(0, len(rows), batch):
            part = slice(start, start + batch)
            connection.execute("BEGIN IMMEDIATE")
            pairs = ((digest, row.tobytes()) for digest, row in zip(digests[part], rows[part], strict=True))
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", pairs)
            connection.execute("COMMIT")
        connection.close()

    def read() -> NDArray[np.float32]:
        connection = connect()
        blobs = dict(connection.execute("SELECT digest, vector FROM vectors"))
        connection.close()
        return np.stack([np.frombuffer(blobs[digest], np.float32) for digest in digests])

    return ("sqlite3 (durable, whole table)", *_timed(write, read, rows), _size(folder))


def _file(folder: Path, _digests: list[str], rows: NDArray[np.float32], _batch: int) -> Timing:
    def write() -> None:
        with (folder / "vectors.npy").open("wb") as handle:
            np.save(handle, rows)
            handle.flush()
            os.fsync(handle.fileno())

    def read() -> NDArray[np.float32]:
        return np.asarray(np.load(folder / "vectors.npy", allow_pickle=False))

    return ("np.save (one file, no keys, fsync)", *_timed(write, read, rows), _size(folder))


def _timed(
    write: Callable[[], None], read: Callable[[], NDArray[np.float32]], rows: NDArray[np.float32]
) -> tuple[float, float]:
    start = time.perf_counter()
    write()
    between = time.perf_counter()
    reads = []
    for _ in range(3):  # the best of three: other work on the machine only adds
        begin = time.perf_counter()
        got = read()
        reads.append(time.perf_counter() - begin)
    if not np.array_equal(got, rows):
        raise SystemExit("what was read is not what was written")
    return between - start, min(reads)


def _size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


if __name__ == "__main__":
    main()
