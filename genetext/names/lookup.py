"""What one name means: exact look-ups, a few rewritings that lose nothing, and a reason for everything else."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from genetext.errors import first_ten
from genetext.names import rules
from genetext.names.options import NameOptions
from genetext.names.tables import (
    AMBIGUOUS,
    CONTESTED,
    GENE_ID,
    PREVIOUS,
    STATUSES,
    SYMBOL,
    SYNONYM,
    UNKNOWN,
    Glance,
    Tables,
    fold,
)

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"
_PLAIN = NameOptions()
_NO_GENE = frozenset({AMBIGUOUS, UNKNOWN})


class Answer(NamedTuple):
    """What one name means: the genes (places in the tables), and how or why not."""

    status: str
    places: tuple[int, ...] = ()
    reason: str = ""
    note: str = ""

    @property
    def is_gene(self) -> bool:
        """Whether the name means one gene."""
        return self.status not in _NO_GENE


class Lookup:
    """Looks names up in the tables of a species.

    Parameters
    ----------
    tables
        The names of the genes.
    others
        Gives what tells the names of other species, when a name is unknown; nothing is ever matched to these.
    """

    def __init__(self, tables: Tables, others: Callable[[], Sequence[Glance]] = tuple) -> None:
        self.tables = tables
        self._read_others = others

    def read(self, name: str, options: NameOptions = _PLAIN) -> Answer:
        """Return what a name means."""
        exactly = self._exactly(name)
        if options.r_names and (exactly is None or exactly.status in {SYNONYM, AMBIGUOUS}):
            written = self._as_r_writes(name)
            if written is not None and not (exactly and written.status == UNKNOWN):
                return written
        if exactly is not None:
            return exactly
        if rules.is_missing(name):
            return Answer(UNKNOWN, (), "missing", "a missing value, as text" if name else "empty or null")
        other = rules.rewritten(name)
        if other is not None and other.genome and other.genome != self.tables.species.name:
            note = f"the prefix says a gene of {other.genome}, in a reference of several genomes"
            return Answer(UNKNOWN, (), "other species", note)
        if other is not None and (answer := self._rewritten(name, other, options)) is not None:
            return answer
        return (
            self._several(name, options)
            or self._symbol_and_id(name)
            or self._as_r_writes(name, only_say=True)
            or self._made_unique(name, options)
            or self._diagnosed(name, name if other is None else other.name)
        )

    def find(self, names: Iterable[str]) -> tuple[dict[str, int], dict[str, str]]:
        """Find the genes of some names.

        Returns
        -------
        genes, not_found
            GeneID per name; in a few words why not, per other name.
        """
        genes, not_found = {}, {}
        for name in dict.fromkeys(names):
            answer = self.read(name.strip())
            if answer.is_gene:
                genes[name] = int(self.tables.gene_ids[answer.places[0]])
            else:
                not_found[name] = self.refusal(answer)
        return genes, not_found

    def refusal(self, answer: Answer) -> str:
        """Say in a few words why a name has no gene."""
        if answer.status == AMBIGUOUS:
            genes = [f"{self.tables.symbols[place]} ({self.tables.gene_ids[place]})" for place in answer.places]
            return f"ambiguous: {first_ten(genes)}"
        return f"{answer.reason}: {answer.note}" if answer.note else answer.reason

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return up to three names of the species that are one letter, or letter case and punctuation, away."""
        if (
            len(name) < 3
            or rules.is_missing(name)
            or not rules.may_be_a_symbol(name)
            or rules.ensembl_species(name) is not None
        ):
            return ()
        tables = self.tables
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
        known.sort(key=lambda edit: (tables.rank(edit), edit[0] != name[0], abs(len(edit) - len(name)), edit))
        return tuple(known[:3])

    def _exactly(self, name: str) -> Answer | None:
        code = self.tables.exact.get(name)
        if code is None:
            return None
        if code < 0:
            return Answer(AMBIGUOUS, self.tables.several[-1 - code])
        place, status = divmod(code, len(STATUSES))
        note = self.tables.contested.get(name, "")
        return Answer(STATUSES[status], (place,), CONTESTED if note else "", note)

    def _rewritten(self, name: str, other: rules.Rewritten, options: NameOptions) -> Answer | None:
        """Read a name as it is written otherwise; None where that is unknown too, and no prefix says what it is."""
        answer = None if other.genome else self._exactly(other.name)
        if answer is None:
            again = rules.rewritten(other.name)
            if other.genome and (again is None or not again.genome):
                bare = self.read(other.name, options)
                return bare._replace(note="; ".join(filter(None, (other.note, bare.note))))
            answer = self._exactly(again.name) if again is not None and not other.genome else None
            if answer is None:
                return None
        if answer.status == GENE_ID and name.startswith("LOC"):
            answer = answer._replace(status=PREVIOUS)
        return answer if answer.note or not other.note else answer._replace(note=other.note)

    def _several(self, name: str, options: NameOptions) -> Answer | None:
        """Read a field that holds several names: one gene, or all of them as candidates."""
        parts = rules.parts(name)
        if not parts:
            return None
        answers = [self.read(part, options) for part in parts]
        places = tuple(dict.fromkeys(place for answer in answers for place in answer.places))
        note = f"{len(parts)} names in one field"
        if len(places) == 1 and all(answer.is_gene for answer in answers):
            return Answer(answers[0].status, places, "", f"{note}, all of one gene")
        return Answer(AMBIGUOUS if places else UNKNOWN, places, "several names", note)

    def _symbol_and_id(self, name: str) -> Answer | None:
        """Read a name that joins a symbol and an id: the gene that both mean, else a reason of its own."""
        halves = rules.symbol_and_id(name)
        if not halves:
            return None
        answers = []
        for half in halves:
            other = rules.rewritten(half)
            answer = self._exactly(half) or (self._exactly(other.name) if other and not other.genome else None)
            answers.append(answer or Answer(UNKNOWN))
        places = tuple(dict.fromkeys(place for answer in answers for place in answer.places))
        if len(places) == 1 and all(answer.is_gene for answer in answers):
            surest = min((answer.status for answer in answers), key=STATUSES.index)
            return Answer(surest, places, "", "symbol and id agree")
        if not places:
            return None
        note = f"{halves[0]} and {halves[1]} are not known as names of one gene"
        return Answer(UNKNOWN, places, "symbol and id", note)

    def _made_unique(self, name: str, options: NameOptions) -> Answer | None:
        base = rules.without_suffix(name)
        duplicate = self._exactly(base) if base else None
        if duplicate is None or duplicate.status in {GENE_ID, AMBIGUOUS}:
            return None
        symbol = self.tables.symbols[duplicate.places[0]]
        looks = f"looks like a duplicate of {base}" + (f" ({symbol})" if symbol != base else "")
        if options.made_unique:
            return duplicate._replace(note=f"{looks} that a tool made unique")
        return Answer(UNKNOWN, (), "made unique", f"{looks} that a tool made unique; made_unique=True counts it so")

    def _as_r_writes(self, name: str, *, only_say: bool = False) -> Answer | None:
        """Read a name as R's `make.names` left it (`HLA.A`, `X0610Rik`); of the known names the best kind counts."""
        bare = name[1:] if len(name) > 1 and name[0] == "X" and name[1].isdigit() else name
        if bare == name and "." not in name:
            return None
        tables = self.tables
        alike = tables.folded.get(fold(bare), ())
        known = [other for other in alike if other != name and rules.as_r_writes(other) == bare]
        if not known:
            return None
        best = min(map(tables.rank, known))
        known = [other for other in known if tables.rank(other) == best]
        written = f"{' or '.join(known)} as R's make.names writes it"
        if only_say:
            return Answer(UNKNOWN, (), "name in R", f"{written}; r_names=True counts it so")
        places = tuple(dict.fromkeys(place for other in known for place in tables.places(other)))
        return Answer(tables.kind(known[0]) if len(places) == 1 else AMBIGUOUS, places, "", written)

    def _diagnosed(self, name: str, bare: str) -> Answer:
        """Say why a name, `bare` without what was written around it, has no gene."""
        species = self.tables.species.name
        if bare in self.tables.withdrawn:
            return Answer(UNKNOWN, (), "withdrawn", f"GeneID {bare} was withdrawn, and no gene took its place")
        is_number = bare.isdigit()
        if is_number:
            for glance in self._others:
                if bare in glance.gene_ids:
                    other = glance.species.name
                    note = f"a GeneID of {other} ({glance.gene_ids[bare]}); did you mean species {other}?"
                    return Answer(UNKNOWN, (), "other species", note)
        dates = rules.date_of(name)
        if dates and ((places := self._genes_of_date(dates)) or not name.isdigit()):
            likely = " or ".join(self.tables.symbols[list(places)]) or "a gene with a name like a date"
            return Answer(
                UNKNOWN, places, "spreadsheet date", f"a date that a spreadsheet made of a name: likely {likely}"
            )
        if is_number:
            return Answer(UNKNOWN, (), "unknown GeneID", f"no gene of {species} has the GeneID {bare}")
        ensembl = rules.ensembl_species(name)
        if ensembl is not None and ensembl != species and species in rules.ENSEMBL_PREFIXES.values():
            note = f"an Ensembl id of {ensembl}; did you mean species {ensembl}?" if ensembl else "of another species"
            return Answer(UNKNOWN, (), "other species", note)
        if ensembl is not None:
            return Answer(UNKNOWN, (), "unknown Ensembl id", "retired by Ensembl, or NCBI has no gene for it")
        for glance in self._others:
            if name in glance.symbols:
                other = glance.species.name
                return Answer(UNKNOWN, (), "other species", f"a {other} symbol; did you mean species {other}?")
        # By letter case alone: what only looks alike without its punctuation is for `nearest` to show.
        lower = name.casefold()
        alike = self.tables.folded.get(fold(name), ())
        if alike and (cased := [known for known in alike if known.casefold() == lower]):
            return Answer(UNKNOWN, (), "letter case", f"differs in letter case from {' and '.join(cased[:3])}")
        reason, note = rules.form(name)
        if not reason and (base := rules.without_suffix(name)):
            reason, note = rules.form(base)
        if reason and rules.may_be_a_symbol(name) and self.nearest(name):
            reason, note = "", ""  # a symbol written nearly so is nearer than an accession of UniProt
        return Answer(UNKNOWN, (), reason or "not in the snapshot", note)

    def _genes_of_date(self, dates: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
        """Return the genes with a name that a spreadsheet takes for one of these dates (`1-Mar`: MARCH1)."""
        tables = self.tables
        names = [
            name
            for month, day in dates
            for begin in rules.MONTHS[month]
            for name in (f"{begin}{day}", f"{begin.capitalize()}{day}", f"{begin}-{day}")
            if name in tables.exact
        ]
        # Official symbols, current or former, stood in the tables that spreadsheets spoilt; a synonym is a last resort.
        official = [name for name in names if tables.kind(name) in {SYMBOL, PREVIOUS}]
        return tuple(dict.fromkeys(place for name in official or names for place in tables.places(name)))

    @cached_property
    def _others(self) -> Sequence[Glance]:
        return [glance for glance in self._read_others() if glance.species.tax_id != self.tables.species.tax_id]
