"""Compare what is in the cache with its manifests, byte by byte."""

from collections.abc import Callable, Sequence
from pathlib import Path

from genetext import disk, index, manifest
from genetext.encoding.store import VectorStore
from genetext.errors import GenetextError
from genetext.fetch.download import problem_with
from genetext.indices import list_indices
from genetext.text import layer, snapshot

VERSIONS = {
    index.FORMAT: index.FORMAT_VERSION,
    snapshot.FORMAT: snapshot.FORMAT_VERSION,
    layer.FORMAT: layer.FORMAT_VERSION,
    "genetext-cellmodel": 2,
    "genetext-checkpoint": 2,
}
"""The formats of folders that genetext writes, and the version of each that it reads."""

_OPENED_BY: dict[str, Callable[[Path], object]] = {
    index.FORMAT: index.GeneIndex.open,
    snapshot.FORMAT: snapshot.Snapshot.open,
    layer.FORMAT: layer.TextLayer.open,
}


def verify(targets: Sequence[Path] | None = None, *, root: Path | None = None) -> tuple[int, list[str]]:
    """Check directories with a manifest, or everything in the cache, the vector store included.

    Parameters
    ----------
    targets
        Directories that genetext wrote (indices, snapshots, models, checkpoints), or files of priors. Default: all of
        the cache.
    root
        The cache root. Default: `genetext.disk.cache_dir()`.

    Returns
    -------
    How many places were checked, and one sentence for each problem.
    """
    root = root or disk.cache_dir()
    if targets is not None:
        return len(targets), [problem for target in targets for problem in verify_one(target)]
    places = [*list_indices(root=root), *text_folders(root=root)]
    problems = [problem for place in places for problem in verify_one(place)]
    checked = len(places)
    recorded = sorted((root / "downloads").rglob("*.json"))
    downloads = [file for path in recorded if (file := path.with_suffix("")).suffix != ".part" and file.is_file()]
    problems += [problem for path in downloads if (problem := problem_with(path))]
    checked += len(downloads)
    if (root / "vectors").is_dir():
        with VectorStore(root / "vectors") as store:
            problems += store.verify()
        checked += 1
    return checked, problems


def verify_one(path: Path) -> list[str]:
    """Check one directory that has a manifest, or one file of priors; return one sentence for each problem."""
    try:
        if path.is_file():
            from genetext.priors.files import load

            load(path)
            return []
        kind = manifest.kind(path)
        if kind not in VERSIONS:
            return [f"{path} is a {kind}; genetext verifies {', '.join(VERSIONS)} and files of priors"]
        recorded = manifest.read(path, format=kind, format_version=VERSIONS[kind], error=GenetextError, sampled=False)
        problems = manifest.verify(path, recorded)
        problems += [f"{path / name} is in no manifest" for name in manifest.unlisted(path, recorded)]
        if not problems and kind in _OPENED_BY:
            _OPENED_BY[kind](path)
    except GenetextError as error:
        return [str(error)]
    return problems


def text_folders(*, root: Path | None = None) -> list[Path]:
    """Return the directories of all snapshots and layers of text in the cache, sorted."""
    root = root or disk.cache_dir()
    folders = (path.parent for kind in ("snapshots", layer.FOLDER) for path in root.glob(f"{kind}/*/*/{manifest.FILE}"))
    return sorted(path for path in folders if not disk.is_temporary(path))
