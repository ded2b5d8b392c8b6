"""From lists of names to reports."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext import species as known_species
from genetext.errors import ResolveError
from genetext.names import columns as name_lists
from genetext.names import species_guess as guess
from genetext.names.lookup import Options, Reader
from genetext.names.orthologs import Orthologs
from genetext.names.report import NO_GENE, MatchReport
from genetext.names.tables import (
    AMBIGUOUS,
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
        Snapshots of other species, to tell names of theirs by; nothing is ever matched to them. Default: one of each
        species in the cache, and human and mouse, read when a name is unknown.
    root
        The cache root. Default: `disk.cache_dir()`.
    """

    def __init__(
        self, snapshot: Snapshot, *, others: Sequence[Snapshot] | None = None, root: Path | None = None
    ) -> None:
        self._snapshot = snapshot
        self._tables = Tables.of(snapshot)
        self._reader = Reader(self._tables, others, root=root)
        self._orthologs: dict[tuple[int, str], Orthologs] = {}

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
        r_names: bool = False,
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
        r_names
            Whether names may have gone through R's `make.names`, so that `HLA.A` counts as `HLA-A`. Default: as above.
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
        columns = self._columns(distinct, Options(made_unique, r_names))
        to_species = self.species if to is None else known_species.find(to)
        if to_species.tax_id != self.species.tax_id:
            _carry_over(columns, self._orthologs_to(to_species, target), to_species.name)
        report = MatchReport(
            names=texts,
            **{name: column[inverse] for name, column in columns.items()},
            species=self.species.name,
            target=to_species.name,
            guessed=guessed,
            snapshot=self._tables.digest,
            told_by=_told_by(self._snapshot),
            _nearest=self._reader.nearest,
        )
        if min_match is not None:
            report.demand(min_match)
        return report

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return up to three names of the species that are one letter, or letter case and punctuation, away."""
        return self._reader.nearest(name)

    def _orthologs_to(self, species: Species, target: Snapshot | None) -> Orthologs:
        key = species.tax_id, "" if target is None else target.digest
        if key not in self._orthologs:
            self._orthologs[key] = Orthologs.of(self._snapshot, species, target=target)
        return self._orthologs[key]

    def _columns(self, names: NDArray[np.object_], options: Options) -> dict[str, NDArray[Any]]:
        """Return the columns of a report on distinct names."""
        tables = self._tables
        codes = np.fromiter((tables.exact.get(name, -1) for name in names), np.int64, len(names))
        candidates = np.empty(len(names), dtype=object)
        candidates[:] = [()] * len(names)
        reason, note = (np.full(len(names), "", dtype=object) for _ in range(2))
        failed = {}
        # With R's names a synonym may give way to the symbol that R writes like it; else what is in the tables stands.
        odd_ones = codes < 0
        if options.r_names:
            odd_ones |= codes % len(STATUSES) == STATUSES.index(SYNONYM)
        for row in np.flatnonzero(odd_ones).tolist():
            answer = self._reader.read(names[row], options)
            reason[row], note[row] = answer.reason, answer.note
            if answer.status in {AMBIGUOUS, UNKNOWN}:
                failed[row], codes[row] = answer.status, -1
                candidates[row] = tuple((int(tables.gene_ids[at]), str(tables.symbols[at])) for at in answer.places)
            else:
                codes[row] = answer.places[0] * len(STATUSES) + STATUSES.index(answer.status)
        places = np.where(codes < 0, -1, codes // len(STATUSES))
        status = _STATUSES[codes % len(STATUSES)]
        status[list(failed)] = list(failed.values())
        for row, name in enumerate(names):
            if name in tables.contested:
                reason[row], note[row] = CONTESTED, tables.contested[name]
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
    species
        Whose genes they are. Default: guessed from each list.
    snapshot
        Resolve by this snapshot. Default: the newest one in the cache, else the facts that ship with genetext.
    root
        The cache root. Default: `disk.cache_dir()`.

    Raises
    ------
    ResolveError
        `snapshot` is of another species, or there is none of `species`.
    """

    def __init__(
        self,
        species: str | int | Species | None = None,
        *,
        snapshot: Snapshot | None = None,
        root: Path | None = None,
    ) -> None:
        if snapshot is not None and species is not None:
            if known_species.find(species).tax_id != snapshot.species.tax_id:
                raise ResolveError(
                    f"the snapshot {snapshot.path} is of {snapshot.species.name}, and species={species!r} was asked for"
                )
        elif species is not None:
            snapshot = guess.default_snapshot(known_species.find(species), root=root)
        self._snapshot, self._root = snapshot, root
        self._made: dict[int, Resolver] = {}
        self._glances: list[Glance] | None = None

    def resolve(self, names: Sequence[str], *, gene_ids: bool = False, **options: Any) -> MatchReport:
        """Resolve a list of names with the resolver of its species.

        Parameters
        ----------
        names
            Strings.
        gene_ids
            Whether numbers among them are known to be GeneIDs, and so evidence of the species.
        options
            As in `Resolver.resolve`.
        """
        snapshot, guessed = self._snapshot, ""
        if snapshot is None:
            if self._glances is None:
                self._glances = guess.known_glances(root=self._root)
            found, guessed = guess.species_of(names, gene_ids=gene_ids, glances=self._glances)
            if found.tax_id in self._made:
                return self._made[found.tax_id].resolve(names, guessed=guessed, **options)
            snapshot = guess.default_snapshot(found, root=self._root)
        tax_id = snapshot.species.tax_id
        if tax_id not in self._made:
            self._made[tax_id] = Resolver(snapshot, root=self._root)
        return self._made[tax_id].resolve(names, guessed=guessed, **options)


def _carry_over(columns: dict[str, NDArray[Any]], orthologs: Orthologs, to: str) -> None:
    """Replace genes by their one-to-one orthologs, in place; where there is none, say why."""
    for row in np.flatnonzero(columns["gene_id"] != NO_GENE).tolist():
        gene, symbol = int(columns["gene_id"][row]), columns["symbol"][row]
        found = orthologs.single.get(gene)
        new: dict[str, Any]
        if found is not None:
            new = {"gene_id": found[0], "symbol": found[1], "status": ORTHOLOG, "reason": columns["reason"][row]}
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
    made_unique: bool = False,
    r_names: bool = False,
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
        Whose genes they are. Default: guessed from the names, which the report says with the evidence. Bare numbers
        are no evidence of it.
    to
        Give genes of this species instead, through one-to-one orthologs.
    snapshot
        Resolve by this snapshot. Default: the newest one in the cache, else the facts that ship with genetext.
    made_unique
        Whether `GENE-1` and `GENE.1`, where they are no names of their own, count as `GENE`.
    r_names
        Whether names may have gone through R's `make.names`, so that `HLA.A` counts as `HLA-A`.
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
    >>> from genetext.names import resolve
    >>> resolve(["TP53", "ENSG00000122375.12", "SEPT2", "1-Mar"], "human").symbol.tolist()
    ['TP53', 'OPN4', 'SEPTIN2', '']
    """
    texts = _strings(names)
    resolvers = Resolvers(species, snapshot=snapshot, root=root)
    return resolvers.resolve(texts, to=to, made_unique=made_unique, r_names=r_names, min_match=min_match)


def _strings(names: Iterable[Any]) -> list[str]:
    if isinstance(names, str | bytes):
        raise ResolveError(f"{names!r} is one string: give a list of names")
    if hasattr(names, "var_names") or isinstance(names, pd.DataFrame):
        raise ResolveError("give a list of names, for example adata.var_names or adata.var['gene_ids']")
    return name_lists.strings(names)


def _told_by(snapshot: Snapshot) -> str:
    """Say in a few words whose names these are."""
    source = snapshot.manifest["source"]
    if source["kind"] == "facts":
        return "the facts that ship with genetext"
    return f"the snapshot {snapshot.path.name} (from {source.get('where', source['kind'])})"
