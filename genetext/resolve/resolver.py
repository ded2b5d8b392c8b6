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
from genetext.errors import ResolveError, TooFewMatched, first_ten
from genetext.resolve import guess, odd
from genetext.resolve.orthologs import Orthologs
from genetext.resolve.report import CONTESTED, NO_GENE, MatchReport
from genetext.resolve.tables import AMBIGUOUS, GENE_ID, ORTHOLOG, PREVIOUS, STATUSES, UNKNOWN, Glance, Tables, fold
from genetext.species import Species
from genetext.text.snapshot import Snapshot

_NO_REASON = "not in the snapshot"
_STATUSES = np.array(STATUSES, dtype=object)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"


class Answer(NamedTuple):
    """What one name means: the genes (places in the tables), and how or why not."""

    status: str
    places: tuple[int, ...] = ()
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
        columns = self._columns(distinct, made_unique)
        to_species = self.species if to is None else known_species.find(to)
        if to_species.tax_id != self.species.tax_id:
            _carry_over(columns, Orthologs.of(self._snapshot, to_species, target=target), to_species.name)
        report = MatchReport(
            names=texts,
            **{name: column[inverse] for name, column in columns.items()},
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
                    found = found._replace(status=PREVIOUS)
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

    def _columns(self, names: NDArray[np.object_], made_unique: bool) -> dict[str, NDArray[Any]]:
        """Return the columns of a report on distinct names."""
        tables = self._tables
        codes = np.fromiter((tables.exact.get(name, -1) for name in names), np.int64, len(names))
        candidates = np.empty(len(names), dtype=object)
        candidates[:] = [()] * len(names)
        reason, note = (np.full(len(names), "", dtype=object) for _ in range(2))
        failed = {}
        for row in np.flatnonzero(codes < 0).tolist():
            answer = self._answer(names[row], made_unique)
            reason[row], note[row] = answer.reason, answer.note
            if answer.status in {AMBIGUOUS, UNKNOWN}:
                failed[row] = answer.status
                candidates[row] = tuple((int(tables.gene_ids[at]), str(tables.symbols[at])) for at in answer.places)
            else:
                codes[row] = answer.places[0] * len(STATUSES) + STATUSES.index(answer.status)
        places = np.where(codes < 0, -1, codes // len(STATUSES))
        status = _STATUSES[codes % len(STATUSES)]
        status[list(failed)] = list(failed.values())
        for row in np.flatnonzero(status == PREVIOUS).tolist():
            if others := tables.contested.get(names[row]):
                reason[row] = CONTESTED
                note[row] = f"a former symbol; also a synonym of {first_ten(tables.symbols[list(others)].tolist())}"
        for row in np.flatnonzero(np.append(tables.borrowed, False)[places]).tolist():
            note[row] = "; ".join(
                filter(None, (note[row], "the GeneID is that of the human ortholog, for want of its own"))
            )
        # One gene beyond the last stands for none: it is what -1 points to.
        gene_id = np.append(tables.gene_ids, NO_GENE)[places]
        return {
            "gene_id": gene_id,
            "symbol": np.append(tables.symbols, "")[places],
            "status": status,
            "via": np.where(places < 0, "", status),
            "own_gene_id": gene_id.copy(),
            "candidates": candidates,
            "reason": reason,
            "note": note,
        }


def _carry_over(columns: dict[str, NDArray[Any]], orthologs: Orthologs, to: str) -> None:
    """Replace genes by their one-to-one orthologs, in place; where there is none, say why."""
    for row in np.flatnonzero(columns["gene_id"] != NO_GENE).tolist():
        gene, symbol = int(columns["gene_id"][row]), columns["symbol"][row]
        found = orthologs.single.get(gene)
        new: dict[str, Any]
        if found is not None:
            new = {"gene_id": found[0], "symbol": found[1], "status": ORTHOLOG}
        elif gene in orthologs.several:
            note = f"{symbol} has no one-to-one ortholog in {to}"
            new = {"status": AMBIGUOUS, "candidates": orthologs.several[gene], "note": note}
        else:
            note = f"no {to} ortholog of {symbol} is known"
            new = {"status": UNKNOWN, "reason": "no ortholog", "note": note}
        for name, value in ({"gene_id": NO_GENE, "symbol": ""} | new).items():
            columns[name][row] = value


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
