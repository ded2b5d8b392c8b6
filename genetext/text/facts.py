"""The facts that ship with genetext: a snapshot for a machine that cannot reach NCBI.

For human they hold the genes' ids, symbols, names and their most specific Gene Ontology terms; for mouse the same
ids and names, and the terms of the one-to-one human orthologs. There are no summaries in them. `scripts/make_facts.py`
makes them, and `manifest["source"]["where"]` says from what, how old, and under which licence.
"""

import importlib.resources
import json
from importlib.resources.abc import Traversable
from pathlib import Path

from genetext import disk, locks, manifest
from genetext.errors import SnapshotError
from genetext.species import Species
from genetext.text.snapshot import Snapshot


def species_with_facts() -> tuple[str, ...]:
    """Return the names of the species whose facts ship with this genetext."""
    return tuple(sorted(entry.name for entry in _packaged().iterdir() if entry.joinpath(manifest.FILE).is_file()))


def open_facts(species: Species, *, root: Path | None = None) -> Snapshot:
    """Open the facts of a species as a snapshot.

    Parameters
    ----------
    species
        Human or mouse; `species_with_facts` names what there is.
    root
        The cache root. It is written to only where genetext itself is imported out of an archive: tables are mapped
        into memory, so they are copied to `<root>/snapshots/<species>/facts-<digest>` once. Default: `cache_dir()`.

    Raises
    ------
    SnapshotError
        There are no facts for the species, or what was installed is damaged.
    """
    if species.name not in species_with_facts():
        raise SnapshotError(
            f"genetext ships no facts for {species.name}, only for {' and '.join(species_with_facts())}: fetch its "
            f"genes from NCBI (--source ncbi), or name a folder or mirror with NCBI's files (--source DIR|URL)"
        )
    packaged = _packaged().joinpath(species.name)
    path = packaged if isinstance(packaged, Path) else _copied(packaged, species, root or disk.cache_dir())
    return Snapshot.open(path)


def _packaged() -> Traversable:
    return importlib.resources.files("genetext").joinpath("data", "facts")


def _copied(packaged: Traversable, species: Species, root: Path) -> Path:
    """Copy a snapshot out of an archive into the cache, unless an earlier run did."""
    recorded = json.loads(packaged.joinpath(manifest.FILE).read_text(encoding="utf-8"))
    target = root / "snapshots" / species.name / f"facts-{disk.sha256_json(recorded)[:12]}"
    with locks.lock(f"snapshot-{species.name}-facts", root=root):
        if not target.joinpath(manifest.FILE).is_file():
            with disk.atomic_directory(target) as temporary:
                for entry in packaged.iterdir():
                    temporary.joinpath(entry.name).write_bytes(entry.read_bytes())
    return target
