"""Compare what is in the cache with its manifests, byte by byte."""

from collections.abc import Sequence
from pathlib import Path

from genetext import disk, manifest
from genetext.encoding.store import VectorStore
from genetext.errors import GeneIndexError
from genetext.fetch.download import problem_with
from genetext.index import FORMAT as INDEX_FORMAT
from genetext.index import FORMAT_VERSION as INDEX_VERSION
from genetext.index import list_indices
from genetext.text.snapshot import FORMAT as SNAPSHOT_FORMAT
from genetext.text.snapshot import FORMAT_VERSION as SNAPSHOT_VERSION

_VERSIONS = {INDEX_FORMAT: INDEX_VERSION, SNAPSHOT_FORMAT: SNAPSHOT_VERSION}


def verify(targets: Sequence[Path] | None = None, *, root: Path | None = None) -> tuple[int, list[str]]:
    """Check directories with a manifest, or everything in the cache, the vector store included.

    Parameters
    ----------
    targets
        Index or snapshot directories. Default: all of the cache.
    root
        The cache root. Default: `genetext.disk.cache_dir()`.

    Returns
    -------
    How many places were checked, and one sentence for each problem.
    """
    root = root or disk.cache_dir()
    if targets is not None:
        return len(targets), [problem for target in targets for problem in verify_directory(target)]
    places = [*list_indices(root=root), *list_snapshots(root=root)]
    problems = [problem for place in places for problem in verify_directory(place)]
    checked = len(places)
    downloads = sorted((root / "downloads").rglob("*.gz"))
    problems += [problem for path in downloads if (problem := problem_with(path))]
    checked += len(downloads)
    if (root / "vectors").is_dir():
        with VectorStore(root / "vectors") as store:
            problems += store.verify()
        checked += 1
    return checked, problems


def verify_directory(path: Path) -> list[str]:
    """Check one directory that has a manifest; return one sentence for each problem."""
    try:
        kind = manifest.kind(path)
        if kind not in _VERSIONS:
            return [f"{path} is a {kind}, which genetext does not verify"]
        recorded = manifest.read(path, format=kind, format_version=_VERSIONS[kind], error=GeneIndexError)
    except GeneIndexError as error:
        return [str(error)]
    return manifest.verify(path, recorded)


def list_snapshots(*, root: Path | None = None) -> list[Path]:
    """Return the directories of all snapshots in the cache, sorted."""
    base = (root or disk.cache_dir()) / "snapshots"
    found = (path.parent for path in base.glob(f"*/*/{manifest.FILE}"))
    return sorted(path for path in found if not disk.is_temporary(path))
