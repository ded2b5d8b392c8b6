"""What the cache holds, and removing what nothing needs any more."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from genetext import disk, locks
from genetext.encoders import registry
from genetext.encoding.store import Holding, VectorStore
from genetext.errors import DiskError, EncoderError, GeneIndexError, SnapshotError, first_ten
from genetext.index import GeneIndex
from genetext.indices import list_indices
from genetext.names import snapshots
from genetext.text.layer import FOLDER, TextLayer
from genetext.text.snapshot import Snapshot
from genetext.verify import text_folders

FOLDERS = (
    "downloads",
    "entrez",
    "snapshots",
    "texts",
    "vectors",
    "indices",
    "journals",
    "batches",
    "bench",
    "runtimes",
)


@dataclass(frozen=True)
class Entry:
    """One thing in the cache.

    Attributes
    ----------
    kind
        `download`, `snapshot`, `text` (a layer over one), `vectors`, `index`, or one of the latter `damaged`.
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
    """Return everything in the cache: downloads, snapshots, vectors by encoder, indices; what is damaged, as such."""
    root = root or disk.cache_dir()
    indices: list[Entry] = []
    by_digest: dict[str, list[str]] = {}
    by_encoder: dict[str, list[str]] = {}
    for path in list_indices(root=root):
        name = f"{path.parent.name}/{path.name}"
        try:
            index = GeneIndex.open(path)
        except GeneIndexError:
            indices.append(Entry("damaged index", name, _size(path), path))
            continue
        indices.append(Entry("index", name, _size(path), path))
        for made_of in (index.manifest["snapshot"], *index.manifest.get("layers", ())):
            by_digest.setdefault(made_of["digest"], []).append(name)
        for encoder in index.embedding_spec.encoders:
            by_encoder.setdefault(encoder.fingerprint, []).append(name)
    folders = [path for path in sorted((root / "downloads").glob("*")) if path.is_dir()]
    listed = [Entry("download", path.name, _size(path), path) for path in folders]
    for path in text_folders(root=root):
        name, is_layer = f"{path.parent.name}/{path.name}", path.parent.parent.name == FOLDER
        kind = "text" if is_layer else "snapshot"
        try:
            digest = (TextLayer if is_layer else Snapshot).open(path).digest
            listed.append(Entry(kind, name, _size(path), path, tuple(by_digest.get(digest, ()))))
        except SnapshotError:
            listed.append(Entry(f"damaged {kind}", name, _size(path), path))
    if (root / "vectors").is_dir():
        with VectorStore(root / "vectors") as store:
            for fingerprint, kept in store.fingerprints().items():
                used_by = tuple(by_encoder.get(fingerprint, ()))
                path = store.directory / fingerprint
                listed.append(Entry("vectors", _label(fingerprint, kept), kept.size, path, used_by))
    return listed + sorted(indices, key=lambda entry: entry.kind == "damaged index")


def prune(*, root: Path | None = None, dry_run: bool = False) -> list[str]:
    """Remove snapshots, texts and vectors that nothing needs, plans and leftovers of killed runs.

    Snapshots and texts that an index was made from are kept, and of each species the snapshot that names are resolved
    by. Vectors of paid encoders are kept unless the whole cache is cleared: they cost money to make again. Damaged
    snapshots and texts go; damaged indices stay, and the next build replaces them.

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
    with locks.cache_alone(root):
        named_by = {snapshot.path for snapshot in snapshots.one_of_each(root=root)}
        for entry in entries(root=root):
            is_text = entry.kind.removeprefix("damaged ") in {"snapshot", "text"}
            needed = entry.used_by or entry.path in named_by
            if is_text and (entry.kind.startswith("damaged") or not needed):
                doomed.append((f"{entry.kind} {entry.name} ({entry.size / 1e6:.1f} MB)", entry.path))
            if entry.kind == "vectors" and entry.used_by:
                used.add(entry.path.name)  # the store names a folder by the encoder's fingerprint
        leftovers = {*root.glob("journals/*.json"), *(path for path in root.rglob("*") if disk.is_abandoned(path))}
        doomed += [(path.relative_to(root).as_posix(), path) for path in sorted(leftovers)]
        if not dry_run:
            for _, path in doomed:
                disk.remove(path)
        return [line for line, _ in doomed] + _prune_vectors(root, used, dry_run=dry_run)


def clear(*, root: Path | None = None) -> None:
    """Remove everything genetext keeps in the cache; other files in that folder stay.

    A folder that is a link to another place stays one, and is emptied.

    Raises
    ------
    DiskError
        A build or a fetch is using the cache, or something cannot be removed: all else is.
    """
    root = root or disk.cache_dir()
    with locks.cache_alone(root):
        left = [path for folder in FOLDERS for path in _contents(root / folder) if not _removed(path)]
        locks.remove_unheld(root)
    if left:
        raise DiskError(f"{len(left):,} things cannot be removed: {first_ten(list(map(str, left)))}. Who owns them can")


def _contents(folder: Path) -> list[Path]:
    """Return what is to be removed of a folder: what is in it where it is a link, else the folder."""
    if folder.is_symlink() and folder.is_dir():
        return sorted(folder.iterdir())
    return [folder] if folder.exists() or folder.is_symlink() else []


def _removed(path: Path) -> bool:
    with suppress(OSError):
        disk.remove(path)
    return not (path.exists() or path.is_symlink())


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
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
