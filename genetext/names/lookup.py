"""What one name means: exact look-ups, a few rewritings that lose nothing, and a reason for everything else."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from genetext.names import rules as odd
from genetext.names import species_guess as guess
from genetext.names.tables import (
    AMBIGUOUS,
    CONTESTED,
    GENE_ID,
    PREVIOUS,
    STATUSES,
    SYNONYM,
    UNKNOWN,
    Glance,
    Tables,
    fold,
)
from genetext.species import Species
from genetext.text.snapshot import Snapshot

_NO_REASON = "not in the snapshot"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"


class Answer(NamedTuple):
    """What one name means: the genes (places in the tables), and how or why not."""

    status: str
    places: tuple[int, ...] = ()
    reason: str = ""
    note: str = ""


class Options(NamedTuple):
    """What may have been done to the names; see `Resolver.resolve`."""

    made_unique: bool = False
    r_names: bool = False


class Reader:
    """Reads names by the tables of a species.

    Parameters
    ----------
    tables
        The names of the genes.
    others
        Snapshots of other species, to tell names of theirs by. Default: the newest of each species that there is one
        of, read when a name is unknown.
    root
        The cache root.
    """

    def __init__(self, tables: Tables, others: Sequence[Snapshot] | None = None, *, root: Path | None = None) -> None:
        self._tables = tables
        self._root = root
        self._given_others = others

    @property
    def species(self) -> Species:
        """Whose genes these are."""
        return self._tables.species

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return up to three names of the species that are one letter, or letter case and punctuation, away."""
        if len(name) < 3 or odd.is_placeholder(name) or odd.ensembl_species(name) is not None:
            return ()
        tables = self._tables
        if same := tables.folded.get(fold(name)):
            return same[:3]
        if name.isdigit() or len(name) > 20:
            return ()
        cuts = [(name[:at], name[at:]) for at in range(len(name) + 1)]
        edits = {head + tail[1:] for head, tail in cuts if tail}
        edits.update(head + tail[1] + tail[0] + tail[2:] for head, tail in cuts if len(tail) > 1)
        edits.update(head + letter + tail[1:] for head, tail in cuts if tail for letter in _LETTERS)
        edits.update(head + letter + tail for head, tail in cuts for letter in _LETTERS)
        known = [edit for edit in edits if edit in tables.exact and not edit.isdigit()]
        # A typing error keeps the length and seldom hits the first letter.
        known.sort(key=lambda it: (tables.rank(it), it[0] != name[0], abs(len(it) - len(name)), it))
        return tuple(known[:3])

    def read(self, name: str, options: Options) -> Answer:
        """Return what a name means."""
        exactly = self._exactly(name)
        if options.r_names and (exactly is None or exactly.status in {SYNONYM, AMBIGUOUS}):
            written = self._as_r_writes(name)
            if written is not None and not (exactly and written.status == UNKNOWN):
                return written
        if exactly is not None:
            return exactly
        for other in odd.rewritten(name):
            if other.genome and other.genome != self.species.name:
                note = f"the prefix says a gene of {other.genome}, in a reference of several genomes"
                return Answer(UNKNOWN, (), "other species", note)
            if other.genome and any(again.genome for again in odd.rewritten(other.name)):
                break
            found = self.read(other.name, options) if other.genome else self._exactly(other.name)
            if found is not None and found.status != UNKNOWN:
                if name.startswith("LOC") and found.status == GENE_ID:
                    found = found._replace(status=PREVIOUS)
                return found._replace(note=found.note or other.note)
        return (
            self._several(name, options)
            or self._as_r_writes(name, only_say=True)
            or self._made_unique(name, options)
            or self._diagnosed(name)
        )

    def _exactly(self, name: str) -> Answer | None:
        code = self._tables.exact.get(name)
        if code is None:
            return None
        if code < 0:
            return Answer(AMBIGUOUS, self._tables.several[-1 - code])
        place, status = divmod(code, len(STATUSES))
        note = self._tables.contested.get(name, "")
        return Answer(STATUSES[status], (place,), CONTESTED if note else "", note)

    def _several(self, name: str, options: Options) -> Answer | None:
        """Read a field that holds several names: one gene, or all of them as candidates."""
        parts = odd.parts(name)
        if not parts:
            return None
        answers = [self.read(part, options) for part in parts]
        places = tuple(dict.fromkeys(place for answer in answers for place in answer.places))
        note = f"{len(parts)} names in one field"
        if len(places) == 1 and all(answer.status not in {AMBIGUOUS, UNKNOWN} for answer in answers):
            return Answer(answers[0].status, places, "", f"{note}, all of one gene")
        return Answer(AMBIGUOUS if places else UNKNOWN, places, "several names", note)

    def _made_unique(self, name: str, options: Options) -> Answer | None:
        base = odd.without_suffix(name)
        duplicate = self._exactly(base) if base else None
        if duplicate is None or duplicate.status in {GENE_ID, AMBIGUOUS}:
            return None
        symbol = self._tables.symbols[duplicate.places[0]]
        looks = f"looks like a duplicate of {base}" + (f" ({symbol})" if symbol != base else "")
        if options.made_unique:
            return duplicate._replace(note=f"{looks} that a tool made unique")
        return Answer(UNKNOWN, (), "made unique", f"{looks} that a tool made unique; made_unique=True counts it so")

    def _as_r_writes(self, name: str, *, only_say: bool = False) -> Answer | None:
        known = odd.known_to_r_as(self._tables, name)
        if not known:
            return None
        written = f"{' or '.join(known)} as R's make.names writes it"
        if only_say:
            return Answer(UNKNOWN, (), "name in R", f"{written}; r_names=True counts it so")
        places = tuple(dict.fromkeys(place for each in known for place in self._tables.places(each)))
        status = self._tables.kind(known[0]) if len(places) == 1 else AMBIGUOUS
        return Answer(status, places, "", written)

    def _diagnosed(self, name: str) -> Answer:
        """Say why a name has no gene."""

        def because(reason: str, note: str, places: tuple[int, ...] = ()) -> Answer:
            return Answer(UNKNOWN, places, reason, note)

        own = self.species.name
        if not name:
            return because("no name", "empty or null")
        if odd.is_spike_in(name):
            return because("spike-in", "an ERCC spike-in control, no gene")
        bare = next((other.name for other in odd.rewritten(name)), name)
        if bare in self._tables.withdrawn:
            return because("withdrawn", f"GeneID {bare} was withdrawn, and no gene took its place")
        if bare.isdigit():
            for glance in self._others:
                if bare in glance.gene_ids:
                    theirs = glance.species.name
                    note = f"a GeneID of {theirs} ({glance.gene_ids[bare]}); did you mean species {theirs}?"
                    return because("other species", note)
        dates = odd.date_of(name)
        if dates and ((places := odd.genes_of_date(self._tables, dates)) or not name.isdigit()):
            likely = " or ".join(self._tables.symbols[list(places)]) or "a gene with a name like a date"
            return because("spreadsheet date", f"a date that a spreadsheet made of a name: likely {likely}", places)
        if bare.isdigit():
            return because("unknown GeneID", f"no gene of {own} has the GeneID {bare}")
        if odd.is_scientific(name):
            return because("spreadsheet number", "a number that a spreadsheet made of the name of a clone")
        ensembl = odd.ensembl_species(name)
        if ensembl is not None and ensembl != own and own in odd.ENSEMBL_PREFIXES.values():
            said = f"an Ensembl id of {ensembl}; did you mean species {ensembl}?" if ensembl else "of another species"
            return because("other species", said)
        if ensembl is not None:
            return because("unknown Ensembl id", "retired by Ensembl, or NCBI has no gene for it")
        if product := odd.ensembl_product(name):
            return because("no gene id", f"an Ensembl {product} id: give ids of genes")
        for glance in self._others:
            if name in glance.symbols:
                theirs = glance.species.name
                return because("other species", f"a {theirs} symbol; did you mean species {theirs}?")
        # By letter case alone: what only looks alike without its punctuation is for `nearest` to show.
        lower = name.casefold()
        if cased := [known for known in self._tables.folded.get(fold(name), ()) if known.casefold() == lower]:
            return because("letter case", f"differs in letter case from {' and '.join(cased[:3])}")
        if odd.is_placeholder(name):
            return because("clone or placeholder", "the name of a clone or prediction; Ensembl ids last longer")
        return because(_NO_REASON, "")

    @cached_property
    def _others(self) -> list[Glance]:
        if self._given_others is not None:
            others = list(self._given_others)
        else:
            others = [
                each for each in guess.known_snapshots(root=self._root) if each.species.tax_id != self.species.tax_id
            ]
        return [Glance.of(other) for other in others]
