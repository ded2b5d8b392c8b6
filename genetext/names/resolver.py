"""From lists of names to reports."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.errors import ResolveError
from genetext.names import snapshots
from genetext.names.columns import NameColumn, strings
from genetext.names.lookup import Lookup
from genetext.names.options import NameOptions, ReadKeywords
from genetext.names.orthologs import Orthologs
from genetext.names.report import NO_GENE, MatchReport
from genetext.names.species_guess import species_of
from genetext.names.tables import (
    AMBIGUOUS,
    CONTESTABLE,
    CONTESTED,
    ORTHOLOG,
    STATUSES,
    SYNONYM,
    UNKNOWN,
    Glance,
    Tables,
)
from genetext.species import Species
from genetext.text.snapshot import Snapshot

_STATUSES = np.array(STATUSES, dtype=object)


class Resolver:
    """Resolves names of the genes of one species, offline, by one snapshot.

    Parameters
    ----------
    snapshot
        Its tables are read once, here.
    others
        Snapshots of other species, to tell names of theirs by, or what gives glances at them; nothing is ever matched
        to them. Default: one of each species in the cache, and human and mouse, read when a name is unknown.
    root
        The cache root. Default: `disk.cache_dir()`.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        others: Sequence[Snapshot] | Callable[[], Sequence[Glance]] | None = None,
        root: Path | None = None,
    ) -> None:
        self._snapshot = snapshot
        if others is None:
            others = partial(snapshots.glances, root=root)
        read_others = others if callable(others) else partial(_glances_of, others)
        self._lookup = Lookup(Tables.of(snapshot), read_others)
        self._orthologs: dict[tuple[int, str], Orthologs] = {}
        self._root = root

    @property
    def species(self) -> Species:
        """Whose genes these are."""
        return self._lookup.tables.species

    def resolve(
        self,
        names: Iterable[Any],
        *,
        to: str | int | Species | None = None,
        target: Snapshot | None = None,
        guessed: str = "",
        **options: Unpack[ReadKeywords],
    ) -> MatchReport:
        """Resolve a list of names.

        Parameters
        ----------
        names
            Strings; numbers are taken for GeneIDs; null is a name that is unknown.
        to, target, options
            `made_unique`, `r_names` and `min_match`: as in `NameOptions`.
        guessed
            By what evidence the species was guessed, for the report.

        Raises
        ------
        TooFewMatched
            The share of names with a gene is below `min_match`; the message is the report, and `.report` holds it.
        ResolveError
            `names` is one string, or there are no orthologs from this species to `to`.
        """
        chosen = NameOptions(to=to, target=target, root=self._root, **options)
        return self.report(_strings(names), chosen, guessed=guessed).demand(chosen.min_match)

    def report(self, names: Sequence[str], options: NameOptions, *, guessed: str = "") -> MatchReport:
        """Resolve strings, without regard to `min_match`."""
        texts = np.array([*names, None], dtype=object)[:-1]
        inverse, distinct = pd.factorize(texts)
        columns = self._columns(distinct, options)
        to = options.target_species or self.species
        if to.tax_id != self.species.tax_id:
            _carry_over(columns, self._orthologs_to(to, options), to.name)
        rows: dict[str, Any] = {name: column[inverse] for name, column in columns.items()}
        return MatchReport(
            names=texts,
            **rows,
            mask=rows["gene_id"] != NO_GENE,
            species=self.species.name,
            target=to.name,
            guessed=guessed,
            snapshot=self._lookup.tables.digest,
            tables=_in_words(self._snapshot),
            _nearest=self._lookup.nearest,
        )

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return up to three names of the species that are one letter, or letter case and punctuation, away."""
        return self._lookup.nearest(name)

    def _orthologs_to(self, species: Species, options: NameOptions) -> Orthologs:
        target = options.target
        key = species.tax_id, "" if target is None else target.digest
        if key not in self._orthologs:
            self._orthologs[key] = Orthologs.of(self._snapshot, species, target=target, root=self._root)
        return self._orthologs[key]

    def _columns(self, names: NDArray[np.object_], options: NameOptions) -> dict[str, NDArray[Any]]:
        """Return the columns of a report on distinct names."""
        tables = self._lookup.tables
        codes = np.fromiter((tables.exact.get(name, -1) for name in names.tolist()), np.int64, len(names))
        candidates = np.empty(len(names), dtype=object)
        candidates[:] = [()] * len(names)
        reason, note = (np.full(len(names), "", dtype=object) for _ in range(2))
        failed = {}
        kinds = codes % len(STATUSES)
        # With R's names a synonym may give way to the symbol that R writes like it; else what is in the tables stands.
        special = codes < 0
        if options.r_names:
            special |= kinds == STATUSES.index(SYNONYM)
        for row in np.flatnonzero(~special & np.isin(kinds, CONTESTABLE)).tolist():
            if (others := tables.contested.get(names[row])) is not None:
                reason[row], note[row] = CONTESTED, others
        for row in np.flatnonzero(special).tolist():
            answer = self._lookup.read(names[row], options)
            reason[row], note[row] = answer.reason, answer.note
            if answer.is_gene:
                codes[row] = answer.places[0] * len(STATUSES) + STATUSES.index(answer.status)
            else:
                failed[row], codes[row] = answer.status, -1
                candidates[row] = tuple((int(tables.gene_ids[at]), str(tables.symbols[at])) for at in answer.places)
        places = np.where(codes < 0, -1, codes // len(STATUSES))
        status = _STATUSES[codes % len(STATUSES)]
        status[list(failed)] = list(failed.values())
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


class Resolvers:
    """Resolves several lists of names, of which not even the species need be known; everything is read once.

    Parameters
    ----------
    options
        How names are read.
    """

    def __init__(self, options: NameOptions | None = None) -> None:
        self._options = options or NameOptions()
        self._resolvers: dict[int, Resolver] = {}
        self._glances = cache(partial(snapshots.glances, root=self._options.root))

    def resolve(self, names: Iterable[Any], *, gene_ids: bool = False) -> MatchReport:
        """Resolve a list of names with the resolver of its species, without regard to `min_match`.

        Parameters
        ----------
        names
            As for `resolve`.
        gene_ids
            Whether numbers among them are known to be GeneIDs, and so evidence of the species.

        Raises
        ------
        ResolveError
            The species cannot be told, or there is no snapshot of it.
        """
        texts = _strings(names)
        species, guessed = self._options.source_species, ""
        if species is None:
            species, guessed = species_of(texts, self._glances(), gene_ids=gene_ids)
        if species.tax_id not in self._resolvers:
            snapshot = self._options.snapshot_of(species)
            self._resolvers[species.tax_id] = Resolver(snapshot, others=self._glances, root=self._options.root)
        return self._resolvers[species.tax_id].report(texts, self._options, guessed=guessed)

    def resolve_columns(self, columns: Sequence[NameColumn]) -> list[MatchReport]:
        """Resolve each column of names that can be; one of which not even the species can be told has no names.

        Raises
        ------
        ResolveError
            None of them can be: what the first one was refused for.
        """
        reports, refusals = [], []
        for column in columns:
            try:
                report = self.resolve(column.names, gene_ids=column.gene_ids)
            except ResolveError as error:
                refusals.append(error)
            else:
                reports.append(replace(report, column=column.label))
        if not reports:
            raise refusals[0]
        return reports


def _carry_over(columns: dict[str, NDArray[Any]], orthologs: Orthologs, to: str) -> None:
    """Replace genes by their one-to-one orthologs, in place; where there is none, say why."""
    for row in np.flatnonzero(columns["gene_id"] != NO_GENE).tolist():
        gene, symbol = int(columns["gene_id"][row]), columns["symbol"][row]
        new: dict[str, Any]
        if (ortholog := orthologs.single.get(gene)) is not None:
            new = {"gene_id": ortholog[0], "symbol": ortholog[1], "status": ORTHOLOG, "reason": columns["reason"][row]}
        elif gene in orthologs.several:
            note = f"{symbol} has no one-to-one ortholog in {to}"
            new = {"status": AMBIGUOUS, "candidates": orthologs.several[gene], "note": note}
        else:
            note = f"no {to} ortholog of {symbol} is known"
            new = {"status": UNKNOWN, "reason": "no ortholog", "note": note}
        for name, value in ({"gene_id": NO_GENE, "symbol": "", "reason": ""} | new).items():
            columns[name][row] = value


def resolve(
    names: Iterable[Any],
    species: str | int | Species | None = None,
    *,
    to: str | int | Species | None = None,
    snapshot: Snapshot | None = None,
    root: Path | None = None,
    **options: Unpack[ReadKeywords],
) -> MatchReport:
    """Resolve names of genes to NCBI GeneIDs, offline.

    Symbols, former symbols, synonyms, Ensembl gene ids (with or without version) and GeneIDs may stand mixed. Letter
    case is never changed and no name is guessed: one that several genes have is `ambiguous`, others are `unknown`,
    each with a reason. A current symbol wins over another gene's synonym.

    Parameters
    ----------
    names
        Strings; numbers are taken for GeneIDs; null is a name that is missing.
    species, to, snapshot, root, options
        `made_unique`, `r_names` and `min_match`: as in `NameOptions`.

    Raises
    ------
    ResolveError
        The species cannot be told from the names, or is not that of `snapshot`.
    TooFewMatched
        Fewer names have a gene than `min_match` asks for.

    Examples
    --------
    >>> from genetext.names import resolve
    >>> resolve(["TP53", "ENSG00000122375.12", "SEPT2", "1-Mar"], "human").symbol.tolist()
    ['TP53', 'OPN4', 'SEPTIN2', '']
    """
    chosen = NameOptions(species=species, to=to, snapshot=snapshot, root=root, **options)
    return Resolvers(chosen).resolve(names).demand(chosen.min_match)


def _strings(names: Iterable[Any]) -> list[str]:
    if isinstance(names, str | bytes):
        raise ResolveError(f"{names!r} is one string: give a list of names")
    if hasattr(names, "var_names") or isinstance(names, pd.DataFrame):
        raise ResolveError("give a list of names, for example adata.var_names or adata.var['gene_ids']")
    return strings(names)


def _glances_of(others: Sequence[Snapshot]) -> list[Glance]:
    return [Glance.of(other) for other in others]


def _in_words(snapshot: Snapshot) -> str:
    """Say in a few words which snapshot this is."""
    source = snapshot.manifest["source"]
    if source["kind"] == "facts":
        return "the facts that ship with genetext"
    return f"the snapshot {snapshot.path.name} (from {source.get('where', source['kind'])})"
