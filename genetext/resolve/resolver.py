"""From names to genes: exact look-ups, a few rewritings that lose nothing, and a reason for everything else."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext import names as name_lists
from genetext import species as known_species
from genetext.errors import ResolveError, TooFewMatched
from genetext.resolve import guess, odd
from genetext.resolve.orthologs import Orthologs
from genetext.resolve.report import NO_GENE, MatchReport
from genetext.resolve.tables import AMBIGUOUS, GENE_ID, ORTHOLOG, PREVIOUS, STATUSES, UNKNOWN, Glance, Tables, fold
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


class _Meaning(NamedTuple):
    """What a distinct name means, in the words of the report."""

    gene_id: int = NO_GENE
    symbol: str = ""
    status: str = UNKNOWN
    via: str = ""
    own_gene_id: int = NO_GENE
    candidates: tuple[tuple[int, str], ...] = ()
    reason: str = ""
    note: str = ""


class Resolver:
    """Resolves names of the genes of one species, offline, by one snapshot.

    Parameters
    ----------
    snapshot
        Its tables are read once, here.
    others
        Snapshots of other species, to tell names of theirs by; nothing is ever matched to them. Default: the facts
        of human and mouse, read when a name is unknown.
    """

    def __init__(self, snapshot: Snapshot, *, others: Sequence[Snapshot] | None = None) -> None:
        self._snapshot = snapshot
        self._tables = Tables.of(snapshot)
        self._given_others = others

    @property
    def species(self) -> Species:
        """Whose genes these are."""
        return self._tables.species

    def resolve(
        self,
        names: Iterable[Any],
        *,
        to: str | int | Species | None = None,
        made_unique: bool = False,
        min_match: float | None = None,
        target: Snapshot | None = None,
        guessed: str = "",
    ) -> MatchReport:
        """Resolve a list of names.

        Parameters
        ----------
        names
            Strings; numbers are taken for GeneIDs; null is a name that is unknown.
        to
            Give the genes of this species instead, through one-to-one orthologs: human, or any species with a
            snapshot of its own when the names are human.
        made_unique
            Whether `GENE-1` and `GENE.1`, where they are no names of their own, count as `GENE`: set it where a tool
            made names unique. Default: they are unknown, and the report says what they look like.
        min_match
            Raise if a smaller share of the names has a gene, 0 to 1.
        target
            The snapshot of `to`, where `to` is not human. Default: the newest one, else the facts.
        guessed
            By what evidence the species was guessed, for the report.

        Raises
        ------
        TooFewMatched
            The share of names with a gene is below `min_match`; the message is the report, and `.report` holds it.
        ResolveError
            `names` is one string, or there are no orthologs from this species to `to`.
        """
        if min_match is not None and not 0 <= min_match <= 1:
            raise ResolveError(f"min_match is a share of the names, 0 to 1, not {min_match}")
        texts = np.array([*_strings(names), None], dtype=object)[:-1]
        inverse, distinct = pd.factorize(texts)
        meanings = [self._meaning(self._answer(name, made_unique)) for name in distinct]
        to_species = self.species if to is None else known_species.find(to)
        if to_species.tax_id != self.species.tax_id:
            orthologs = Orthologs.of(self._snapshot, to_species, target=target)
            meanings = [_carried_over(meaning, orthologs, to_species.name) for meaning in meanings]
        columns = dict(zip(_Meaning._fields, zip(*meanings, strict=True), strict=True)) if meanings else {}

        def spread(name: str, dtype: Any = object) -> NDArray[Any]:
            column = np.empty(len(meanings), dtype=dtype)
            column[:] = columns.get(name, ())
            return column[inverse]

        report = MatchReport(
            names=texts,
            gene_id=spread("gene_id", np.int64),
            symbol=spread("symbol"),
            status=spread("status"),
            via=spread("via"),
            own_gene_id=spread("own_gene_id", np.int64),
            candidates=spread("candidates"),
            reason=spread("reason"),
            note=spread("note"),
            species=self.species.name,
            target=to_species.name,
            guessed=guessed,
            snapshot=self._tables.digest,
            _nearest=self.nearest,
        )
        if min_match is not None and report.matched < min_match:
            raise TooFewMatched(
                f"{report.n_matched:,} of {len(report):,} names have a gene, and at least {min_match:.0%} must: is "
                f"{self.species.name} the species of the data, and are these the names of its genes?\n{report}",
                report=report,
            )
        return report

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

    def _answer(self, name: str, made_unique: bool) -> Answer:
        code = self._tables.exact.get(name)
        if code is not None:
            if code < 0:
                return Answer(AMBIGUOUS, self._tables.several[-1 - code])
            place, status = divmod(code, len(STATUSES))
            return Answer(STATUSES[status], (place,))
        for other in odd.rewritten(name):
            if other.genome and other.genome != self.species.name:
                note = f"the prefix says a gene of {other.genome}, in a reference of several genomes"
                return Answer(UNKNOWN, (), "other species", note)
            found = self._answer(other.name, made_unique) if other.genome else self._exactly(other.name)
            if found is not None and found.status != UNKNOWN:
                if name.startswith("LOC") and found.status == GENE_ID:
                    return Answer(PREVIOUS, found.places, "", other.note)
                return found._replace(note=found.note or other.note)
        base = odd.without_suffix(name)
        duplicate = self._exactly(base) if base else None
        if duplicate is not None and duplicate.status not in {GENE_ID, AMBIGUOUS}:
            symbol = self._tables.symbols[duplicate.places[0]]
            looks = f"looks like a duplicate of {base}" + (f" ({symbol})" if symbol != base else "")
            if made_unique:
                return duplicate._replace(note=f"{looks} that a tool made unique")
            return Answer(UNKNOWN, (), "made unique", f"{looks} that a tool made unique; made_unique=True counts it so")
        return self._diagnosed(name)

    def _exactly(self, name: str) -> Answer | None:
        return self._answer(name, False) if name in self._tables.exact else None

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
            others = [each for each in guess.known_snapshots() if each.species.tax_id != self.species.tax_id]
        return [Glance.of(other) for other in others]

    def _meaning(self, answer: Answer) -> _Meaning:
        tables = self._tables
        if answer.status in {AMBIGUOUS, UNKNOWN}:
            candidates = tuple((int(tables.gene_ids[place]), str(tables.symbols[place])) for place in answer.places)
            return _Meaning(status=answer.status, candidates=candidates, reason=answer.reason, note=answer.note)
        place = answer.places[0]
        note = answer.note
        if tables.borrowed[place]:
            note = "; ".join(filter(None, (note, "the GeneID is the human ortholog's, the snapshot has no other")))
        gene_id = int(tables.gene_ids[place])
        return _Meaning(gene_id, tables.symbols[place], answer.status, answer.status, gene_id, (), "", note)


def _carried_over(meaning: _Meaning, orthologs: Orthologs, to: str) -> _Meaning:
    """Replace the gene by its one-to-one ortholog, or say why there is none."""
    if meaning.gene_id == NO_GENE:
        return meaning
    if meaning.gene_id in orthologs.single:
        gene_id, symbol = orthologs.single[meaning.gene_id]
        return meaning._replace(gene_id=gene_id, symbol=symbol, status=ORTHOLOG)
    none = meaning._replace(gene_id=NO_GENE, symbol="")
    if meaning.gene_id in orthologs.several:
        note = f"{meaning.symbol} has no one-to-one ortholog in {to}"
        return none._replace(status=AMBIGUOUS, candidates=orthologs.several[meaning.gene_id], note=note)
    return none._replace(status=UNKNOWN, reason="no ortholog", note=f"no {to} ortholog of {meaning.symbol} is known")


def resolve(
    names: Iterable[Any],
    species: str | int | Species | None = None,
    *,
    to: str | int | Species | None = None,
    snapshot: Snapshot | None = None,
    made_unique: bool = False,
    min_match: float | None = None,
    root: Path | None = None,
) -> MatchReport:
    """Resolve names of genes to NCBI GeneIDs, offline.

    Symbols, former symbols, synonyms, Ensembl gene ids (with or without version) and GeneIDs may stand mixed. Letter
    case is never changed and no name is guessed: one that several genes have is `ambiguous`, others are `unknown`,
    each with a reason. A current symbol wins over another gene's synonym.

    Parameters
    ----------
    names
        Strings; numbers are taken for GeneIDs; null is a name that is unknown.
    species
        Whose genes they are. Default: guessed from the names, which the report says with the evidence.
    to
        Give genes of this species instead, through one-to-one orthologs.
    snapshot
        Resolve by this snapshot. Default: the newest one in the cache, else the facts that ship with genetext.
    made_unique
        Whether `GENE-1` and `GENE.1`, where they are no names of their own, count as `GENE`.
    min_match
        Raise if a smaller share of the names has a gene, 0 to 1.
    root
        The cache root. Default: `disk.cache_dir()`.

    Raises
    ------
    ResolveError
        The species cannot be told from the names, or is not that of `snapshot`.
    TooFewMatched
        Fewer names have a gene than `min_match` asks for.

    Examples
    --------
    >>> from genetext.resolve import resolve
    >>> resolve(["TP53", "ENSG00000122375.12", "SEPT2", "1-Mar"], "human").symbol.tolist()
    ['TP53', 'OPN4', 'SEPTIN2', '']
    """
    texts = _strings(names)
    guessed = ""
    if snapshot is not None:
        if species is not None and known_species.find(species).tax_id != snapshot.species.tax_id:
            raise ResolveError(
                f"the snapshot {snapshot.path} is of {snapshot.species.name}, and species={species!r} was asked for"
            )
    elif species is not None:
        snapshot = guess.default_snapshot(known_species.find(species), root=root)
    else:
        found, guessed = guess.species_of(texts, root=root)
        snapshot = guess.default_snapshot(found, root=root)
    return Resolver(snapshot).resolve(texts, to=to, made_unique=made_unique, min_match=min_match, guessed=guessed)


def _strings(names: Iterable[Any]) -> list[str]:
    if isinstance(names, str | bytes):
        raise ResolveError(f"{names!r} is one string: give a list of names")
    if hasattr(names, "var_names") or isinstance(names, pd.DataFrame):
        raise ResolveError("give a list of names, for example adata.var_names or adata.var['gene_ids']")
    return name_lists.strings(names)
