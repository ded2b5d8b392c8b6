"""Whose genes a list of names are, by evidence that can be shown."""

from collections import Counter
from collections.abc import Sequence

from genetext import species as known_species
from genetext.errors import ResolveError, first_ten
from genetext.names import rules
from genetext.names.tables import Glance
from genetext.species import Species

# So many distinct names are evidence whatever their share of the list; of fewer, half of the list has to agree.
_MANY = 20
# The second species may have this share of the first one's names: symbols of two species are partly the same.
_OTHERS = 0.25


def species_of(names: Sequence[str], glances: Sequence[Glance], *, gene_ids: bool = False) -> tuple[Species, str]:
    """Guess the species from the names.

    Evidence is an Ensembl id's prefix, a reference genome's prefix, a GeneID written as one (`GeneID:7157`), or a
    current symbol in its exact letter case, which only one of the species with a snapshot has. Bare numbers are none:
    nearly every small one is a human GeneID, whatever it counts.

    Parameters
    ----------
    names
        Names of genes.
    glances
        The species to choose from, for example `snapshots.glances()`.
    gene_ids
        Whether numbers are known to be GeneIDs, say by the name of their column; then they are evidence.

    Returns
    -------
    The species, and the evidence in a sentence.

    Raises
    ------
    ResolveError
        Two species have evidence, or hardly any name is evidence; the message says what there is.
    """
    votes: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = {}
    distinct = {name for name in set(names) if not rules.is_missing(name)}
    numbers = set() if gene_ids else {name for name in distinct if name.removesuffix(".0").isdigit()}
    for name in distinct - numbers:
        evidence = _evidence(name, glances)
        if evidence is not None:
            name_of, kind = evidence
            votes[name_of] += 1
            kinds.setdefault(name_of, Counter())[kind] += 1
    ranked = _ranked(votes)
    listed = "; ".join(
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
        raise ResolveError(f"the names could be of {best} or of {second} ({listed}): {ask}")
    if count < _MANY and count < len(distinct) / 2:
        raise ResolveError(f"only {count} of {len(distinct):,} names tell the species ({listed}): {ask}")
    same = {"mouse": "rat", "human": "macaque"}.get(best)
    alike = f"; many symbols of {same} look the same" if same and kinds[best].keys() == {"symbols"} else ""
    by_name = {glance.species.name: glance.species for glance in glances}
    species = by_name.get(best) or known_species.find(best)
    return species, f"{count:,} of {len(distinct):,} names are evidence ({listed}{alike})"


def _ranked(votes: Counter[str]) -> list[tuple[str, int]]:
    return sorted(votes.items(), key=lambda item: (-item[1], item[0]))


def _evidence(name: str, glances: Sequence[Glance]) -> tuple[str, str] | None:
    """Return the one species that a name is evidence for, and which kind of evidence."""
    if ensembl := rules.ensembl_species(name):
        return ensembl, "Ensembl ids"
    fitting = [glance for glance in glances if name in glance.symbols]
    if fitting:
        return (fitting[0].species.name, "symbols") if len(fitting) == 1 else None
    if halves := rules.symbol_and_id(name):
        species = {rules.ensembl_species(half) for half in halves} - {None, ""}
        if len(species) == 1:
            return str(species.pop()), "Ensembl ids"
    if (other := rules.rewritten(name)) is not None:
        if other.genome:
            return other.genome, "names with the prefix of a genome"
        name = other.name
    if name.isdigit():
        fitting = [glance for glance in glances if name in glance.gene_ids]
        if len(fitting) == 1:
            return fitting[0].species.name, "GeneIDs"
    return None
