"""What the cache holds, and removing what nothing needs any more."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from genetext import disk
from genetext.encoders import registry
from genetext.encoding.store import Holding, VectorStore
from genetext.errors import EncoderError, GeneIndexError, GenetextError
from genetext.index import GeneIndex, list_indices
from genetext.text.snapshot import Snapshot
from genetext.verify import list_snapshots

FOLDERS = ("downloads", "entrez", "snapshots", "vectors", "indices", "journals", "batches", "bench", "runtimes")


@dataclass(frozen=True)
class Entry:
    """One thing in the cache.

    Attributes
    ----------
    kind
        `download`, `snapshot`, `vectors`, `index` or `damaged index`.
    name
        Its name below that folder; for vectors, the encoder.
    size
        Bytes on disk.
    path
        Where it is.
    used_by
        Names of the indices that were made from it.
    """

    kind: str
    name: str
    size: int
    path: Path
    used_by: tuple[str, ...] = ()


def entries(*, root: Path | None = None) -> list[Entry]:
    """Return everything in the cache: downloads, snapshots, vectors by encoder, indices."""
    root = root or disk.cache_dir()
    indices, damaged = _indices(root)
    by_snapshot: dict[str, list[str]] = {}
    by_encoder: dict[str, list[str]] = {}
    for name, index in indices.items():
        by_snapshot.setdefault(index.manifest["snapshot"]["digest"], []).append(name)
        for encoder in index.embedding_spec.encoders:
            by_encoder.setdefault(encoder.fingerprint, []).append(name)
    found = [
        Entry("download", path.name, _size(path), path)
        for path in sorted((root / "downloads").glob("*"))
        if path.is_dir()
    ]
    for path in list_snapshots(root=root):
        used = tuple(by_snapshot.get(Snapshot.open(path).digest, ()))
        found.append(Entry("snapshot", f"{path.parent.name}/{path.name}", _size(path), path, used))
    if (root / "vectors").is_dir():
        with VectorStore(root / "vectors") as store:
            for fingerprint, kept in store.fingerprints().items():
                used = tuple(by_encoder.get(fingerprint, ()))
                found.append(
                    Entry("vectors", _label(fingerprint, kept), kept.size, store.directory / fingerprint, used)
                )
    found += [Entry("index", name, _size(index.path), index.path) for name, index in indices.items()]
    return found + [Entry("damaged index", f"{path.parent.name}/{path.name}", _size(path), path) for path in damaged]


def prune(*, root: Path | None = None, dry_run: bool = False) -> list[str]:
    """Remove snapshots and vectors that no index was made from, plans and leftovers of killed runs.

    Vectors of paid encoders are kept unless the whole cache is cleared: they cost money to make again.

    Returns
    -------
    One line for each thing that was (or with `dry_run` would be) removed.

    Raises
    ------
    DiskError
        A build or a fetch is using the cache.
    """
    root = root or disk.cache_dir()
    doomed: list[tuple[str, Path]] = []
    used: set[str] = set()
    with disk.cache_alone(root):
        for entry in entries(root=root):
            if entry.kind == "snapshot" and not entry.used_by:
                doomed.append((f"snapshot {entry.name} ({entry.size / 1e6:.1f} MB)", entry.path))
            if entry.kind == "vectors" and entry.used_by:
                used.add(entry.path.name)  # the store names a folder by the encoder's fingerprint
        for pattern in ("journals/*.json", "*/*.tmp-*", "*/*/*.tmp-*"):
            doomed += [(path.relative_to(root).as_posix(), path) for path in sorted(root.glob(pattern))]
        if not dry_run:
            for _, path in doomed:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return [line for line, _ in doomed] + _prune_vectors(root, used, dry_run=dry_run)


def clear(*, root: Path | None = None) -> None:
    """Remove everything genetext keeps in the cache; other files in that folder stay.

    Raises
    ------
    DiskError
        A build or a fetch is using the cache.
    """
    root = root or disk.cache_dir()
    with disk.cache_alone(root):
        for folder in FOLDERS:
            if (root / folder).exists():
                shutil.rmtree(root / folder)
    shutil.rmtree(root / "locks", ignore_errors=True)


def _prune_vectors(root: Path, used: set[str], *, dry_run: bool) -> list[str]:
    if not (root / "vectors").is_dir():
        return []
    removed = []
    with VectorStore(root / "vectors") as store:
        for fingerprint, kept in store.fingerprints().items():
            if fingerprint not in used and not _was_paid(kept):
                removed.append(f"{_label(fingerprint, kept)} ({kept.size / 1e6:.1f} MB)")
                if not dry_run:
                    store.remove(fingerprint)
    return removed


def _indices(root: Path) -> tuple[dict[str, GeneIndex], list[Path]]:
    """Open the indices of the cache; return those that open by name, and the paths of those that do not."""
    opened, damaged = {}, []
    for path in list_indices(root=root):
        try:
            opened[f"{path.parent.name}/{path.name}"] = GeneIndex.open(path)
        except GeneIndexError:
            damaged.append(path)
    return opened, damaged


def _label(fingerprint: str, kept: Holding) -> str:
    model = (kept.note or {}).get("model", fingerprint[:12])
    return f"{kept.vectors:,} vectors of {model}"


def _was_paid(kept: Holding) -> bool:
    """Whether vectors cost money; where nobody knows of what encoder they are, that is assumed."""
    try:
        return registry.encoder_class(str((kept.note or {}).get("kind"))).paid
    except EncoderError:
        return True


def _size(path: Path) -> int:
    if not path.exists():
        raise GenetextError(f"{path} vanished while the cache was listed")
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
