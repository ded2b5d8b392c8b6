"""Whose genes a list of names are, by evidence that can be shown."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from genetext import species as known_species
from genetext.errors import ResolveError, first_ten
from genetext.names import rules as odd
from genetext.names.tables import Glance
from genetext.species import Species
from genetext.text import facts
from genetext.text.snapshot import Snapshot, latest, list_snapshots

# So many distinct names are evidence whatever their share of the list; of fewer, half of the list has to agree.
_MANY = 20
# The second species may have this share of the first one's names: symbols of two species are partly the same.
_OTHERS = 0.25


def default_snapshot(species: Species, *, root: Path | None = None) -> Snapshot:
    """Return the newest whole snapshot of a species in the cache, else the facts that ship with genetext.

    Raises
    ------
    ResolveError
        There is neither.
    """
    found = latest(species, root=root)
    if found is not None:
        return found
    if species.name in facts.species_with_facts():
        return facts.open_facts(species, root=root)
    raise ResolveError(
        f"there is no snapshot of {species.name} here to resolve names by: run `genetext fetch --species "
        f"{species.name}` once; {' and '.join(facts.species_with_facts())} work without"
    )


def known_snapshots(*, root: Path | None = None) -> list[Snapshot]:
    """Return one snapshot of each species that has any, those with facts first: the newest in the cache, else facts."""
    found = {name: default_snapshot(known_species.find(name), root=root) for name in facts.species_with_facts()}
    for snapshot in list_snapshots(root=root):
        species = snapshot.species
        if species.name not in found and (whole := latest(species, root=root)) is not None:
            found[species.name] = whole
    return list(found.values())


def known_glances(*, root: Path | None = None) -> list[Glance]:
    """Read what `species_of` goes by, of each species that has a snapshot: once for many lists."""
    return [Glance.of(snapshot) for snapshot in known_snapshots(root=root)]


def species_of(
    names: Sequence[str],
    *,
    gene_ids: bool = False,
    snapshots: Sequence[Snapshot] | None = None,
    glances: Sequence[Glance] | None = None,
    root: Path | None = None,
) -> tuple[Species, str]:
    """Guess the species from the names.

    Evidence is an Ensembl id's prefix, a reference genome's prefix, a GeneID written as one (`GeneID:7157`), or a
    current symbol in its exact letter case, which only one of the species with a snapshot has. Bare numbers are none:
    nearly every small one is a human GeneID, whatever it counts.

    Parameters
    ----------
    names
        Names of genes.
    gene_ids
        Whether numbers are known to be GeneIDs, say by the name of their column; then they are evidence.
    snapshots
        The species to choose from. Default: those in the cache, human and mouse.
    glances
        The same, read already by `known_glances`.
    root
        The cache root.

    Returns
    -------
    The species, and the evidence in a sentence.

    Raises
    ------
    ResolveError
        Two species have evidence, or hardly any name is evidence; the message says what was found.
    """
    if glances is None:
        glances = known_glances(root=root) if snapshots is None else [Glance.of(snapshot) for snapshot in snapshots]
    votes: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = {}
    distinct = set(filter(None, names))
    numbers = set() if gene_ids else {name for name in distinct if name.removesuffix(".0").isdigit()}
    for name in distinct - numbers:
        found = _evidence(name, glances)
        if found is not None:
            species, kind = found
            votes[species] += 1
            kinds.setdefault(species, Counter())[kind] += 1
    ranked = _ranked(votes)
    told = "; ".join(
        f"{species}: {', '.join(f'{count:,} {kind}' for kind, count in _ranked(kinds[species]))}"
        for species, _ in ranked
    )
    ask = "name it (species=..., --species ...)"
    if numbers:
        ask += f"; {len(numbers):,} are bare numbers, which may be GeneIDs of any species or only count genes"
    if not votes:
        raise ResolveError(
            f"none of the {len(distinct):,} names ({first_ten(sorted(distinct))}) tells the species: {ask}"
        )
    (best, count), (second, others) = [*ranked, ("", 0)][:2]
    if others > _OTHERS * count:
        raise ResolveError(f"the names could be of {best} or of {second} ({told}): {ask}")
    if count < _MANY and count < len(distinct) / 2:
        raise ResolveError(f"only {count} of {len(distinct):,} names tell the species ({told}): {ask}")
    same = {"mouse": "rat", "human": "macaque"}.get(best)
    alike = f"; many symbols of {same} look the same" if same and kinds[best].keys() == {"symbols"} else ""
    return known_species.find(best), f"{count:,} of {len(distinct):,} names are evidence ({told}{alike})"


def _ranked(votes: Counter[str]) -> list[tuple[str, int]]:
    return sorted(votes.items(), key=lambda item: (-item[1], item[0]))


def _evidence(name: str, glances: Sequence[Glance]) -> tuple[str, str] | None:
    """Return the one species that a name is evidence for, and which kind of evidence."""
    if ensembl := odd.ensembl_species(name):
        return ensembl, "Ensembl ids"
    fitting = [glance for glance in glances if name in glance.symbols]
    if fitting:
        return (fitting[0].species.name, "symbols") if len(fitting) == 1 else None
    for other in odd.rewritten(name):
        if other.genome:
            return other.genome, "names with the prefix of a genome"
        name = other.name
    if name.isdigit():
        fitting = [glance for glance in glances if name in glance.gene_ids]
        if len(fitting) == 1:
            return fitting[0].species.name, "GeneIDs"
    return None
