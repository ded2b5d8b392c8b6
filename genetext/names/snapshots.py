"""Which snapshots names are resolved by: the newest ones in the cache, else the facts that ship with genetext."""

from pathlib import Path

from genetext import species as known_species
from genetext.errors import ResolveError, SpeciesError
from genetext.names.tables import Glance
from genetext.species import Species
from genetext.text import facts
from genetext.text.snapshot import Snapshot, latest, list_snapshots


def default(species: Species, *, root: Path | None = None) -> Snapshot:
    """Return the newest whole snapshot of a species in the cache, else the facts that ship with genetext.

    Raises
    ------
    ResolveError
        There is neither.
    """
    newest = latest(species, root=root)
    if newest is not None:
        return newest
    if species.name in facts.species_with_facts():
        return facts.open_facts(species, root=root)
    raise ResolveError(
        f"there is no snapshot of {species.name} here to resolve names by: run `genetext fetch --species "
        f"{species.name}` once; {' and '.join(facts.species_with_facts())} work without"
    )


def with_digest(digest: str | None, species: Species, *, root: Path | None = None) -> Snapshot | None:
    """Return the snapshot of a whole species with this digest, in the cache or as shipped; None where it is gone."""
    if digest is None:
        return None
    snapshots = list_snapshots(species, root=root)
    if species.name in facts.species_with_facts():
        snapshots.append(facts.open_facts(species, root=root))
    return next((snapshot for snapshot in snapshots if snapshot.is_whole and snapshot.digest == digest), None)


def one_of_each(*, root: Path | None = None) -> list[Snapshot]:
    """Return one snapshot of each species that has any, those with facts first: the newest in the cache, else facts."""
    by_species = {name: default(known_species.find(name), root=root) for name in facts.species_with_facts()}
    for snapshot in list_snapshots(root=root):
        if snapshot.is_whole:
            by_species.setdefault(snapshot.species.name, snapshot)
    return list(by_species.values())


def glances(*, root: Path | None = None) -> list[Glance]:
    """Read what tells a name's species, of each species that has a snapshot: once for many lists."""
    return [Glance.of(snapshot) for snapshot in one_of_each(root=root)]


def find_species(name: str | int | Species, *, root: Path | None = None) -> Species:
    """Return the species meant by a name, a taxonomy id, or the name of one that only a snapshot in the cache has.

    Raises
    ------
    SpeciesError
        Nobody here knows the name.
    """
    try:
        return known_species.find(name)
    except SpeciesError:
        plain = known_species.plain(str(name))
        for snapshot in list_snapshots(root=root):
            species = snapshot.species
            if plain in {known_species.plain(species.name), known_species.plain(species.latin)}:
                return species
        raise
