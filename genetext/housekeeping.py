"""What the cache holds, and removing what nothing needs any more."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from genetext import disk
from genetext.errors import GenetextError
from genetext.index import GeneIndex, list_indices
from genetext.store import Holding, VectorStore
from genetext.text.snapshot import Snapshot
from genetext.verify import list_snapshots

FOLDERS = ("downloads", "snapshots", "vectors", "indices", "journals", "batches")


@dataclass(frozen=True)
class Entry:
    """One thing in the cache.

    Attributes
    ----------
    kind
        `download`, `snapshot`, `vectors` or `index`.
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
    indices = {f"{path.parent.name}/{path.name}": GeneIndex.open(path) for path in list_indices(root=root)}
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
    return found


def prune(*, root: Path | None = None, dry_run: bool = False) -> list[str]:
    """Remove snapshots and vectors that no index was made from, plans and leftovers of killed runs.

    Vectors of paid encoders are kept unless the whole cache is cleared: they cost money to make again.

    Returns
    -------
    One line for each thing that was (or with `dry_run` would be) removed.
    """
    root = root or disk.cache_dir()
    removed = []
    with disk.lock("prune", root=root):
        for entry in entries(root=root):
            if entry.kind == "snapshot" and not entry.used_by:
                removed.append(f"snapshot {entry.name} ({entry.size / 1e6:.1f} MB)")
                if not dry_run:
                    shutil.rmtree(entry.path)
        for pattern in ("journals/*.json", "*/*.tmp-*", "*/*/*.tmp-*"):
            for path in sorted(root.glob(pattern)):
                removed.append(path.relative_to(root).as_posix())
                if not dry_run:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if (root / "vectors").is_dir():
            used = {
                spec.fingerprint
                for path in list_indices(root=root)
                for spec in GeneIndex.open(path).embedding_spec.encoders
            }
            with VectorStore(root / "vectors") as store:
                for fingerprint, kept in store.fingerprints().items():
                    if fingerprint not in used and not _was_paid(kept):
                        removed.append(f"{_label(fingerprint, kept)} ({kept.size / 1e6:.1f} MB)")
                        if not dry_run:
                            store.remove(fingerprint)
    return removed


def clear(*, root: Path | None = None) -> None:
    """Remove everything genetext keeps in the cache; other files in that folder stay."""
    root = root or disk.cache_dir()
    for folder in FOLDERS:
        if (root / folder).exists():
            shutil.rmtree(root / folder)
    if (root / "locks").exists() and not any((root / folder).exists() for folder in FOLDERS):
        shutil.rmtree(root / "locks")


def _label(fingerprint: str, kept: Holding) -> str:
    model = (kept.note or {}).get("model", fingerprint[:12])
    return f"{kept.vectors:,} vectors of {model}"


def _was_paid(kept: Holding) -> bool:
    # Without a note nobody knows what these vectors cost.
    return kept.note is None or kept.note.get("kind") == "openai"


def _size(path: Path) -> int:
    if not path.exists():
        raise GenetextError(f"{path} vanished while the cache was listed")
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
