"""Which indices there are in the cache, and where one of a name is."""

from pathlib import Path

from genetext import disk, manifest
from genetext.errors import GeneIndexError, first_ten


def locate(name: str | Path, *, root: Path | None = None) -> Path:
    """Return the directory of an index named `species/name`, `species`, or by its path."""
    as_path = disk.expanded(name)
    if (as_path / manifest.FILE).is_file():
        return as_path
    base = (root or disk.cache_dir()) / "indices"
    below = base / str(name)
    if (below / manifest.FILE).is_file():
        return below
    if as_path.is_dir() and as_path.is_absolute():
        raise GeneIndexError(f"{as_path} is no index: it has no file {manifest.FILE}")
    names = [path.relative_to(base).as_posix() for path in list_indices(root=root)]
    of_species = [of_name for of_name in names if of_name.startswith(f"{name}/")]
    if len(of_species) == 1:
        return base / of_species[0]
    if of_species:
        raise GeneIndexError(f"{name} has several indices: say which of {first_ten(of_species)}")
    hint = f"there are {first_ten(names)}" if names else "none was built yet"
    species, _, encoder = str(name).partition("/")
    with_encoder = f" --encoder {encoder}" if encoder else ""
    raise GeneIndexError(
        f"no index {str(name)!r} in {base} ({hint}): genetext build-index --species {species}{with_encoder}"
    )


def list_indices(*, root: Path | None = None) -> list[Path]:
    """Return the directories of all indices in the cache, sorted."""
    base = (root or disk.cache_dir()) / "indices"
    return sorted(path.parent for path in base.glob(f"*/*/{manifest.FILE}") if not disk.is_temporary(path.parent))
