"""From anybody's gene names to rows of an index, through the resolver, with a report on every name."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.errors import PriorsError, ResolveError, TooFewMatched, first_ten
from genetext.names.columns import NameColumn, candidates, strings
from genetext.priors.core import NO_GENE, GenePriors, Missing, fingerprint_of, refuse_missing
from genetext.species import Species

if TYPE_CHECKING:
    from genetext.names import MatchReport, Resolver
    from genetext.names.tables import Glance
    from genetext.text.snapshot import Snapshot

NO_TEXT = "no text"
SECOND_NAME = "second name"
_SURE = ("gene_id", "symbol", "ensembl", "previous", "synonym", "ortholog")
"""How a name can be resolved, the surest way first."""
_log = logging.getLogger("genetext")


@dataclass(frozen=True)
class AlignmentReport:
    """What became of every gene of a data set.

    Attributes
    ----------
    column
        Where the names were found: `var_names`, `var['gene_ids']` ...
    considered
        For each place that was looked at, how many of its names found a vector.
    source, fingerprint
        The index, or what else the vectors come from.
    names, gene_ids, status, mask
        As in the priors aligned.
    species
        Species of the data; empty where names were matched letter by letter.
    match
        The resolver's own report, with its candidates and suggestions; None where there was no need to resolve.
    left_out
        Which genes the index was built without, in words.
    """

    column: str
    considered: Mapping[str, int]
    source: str
    fingerprint: str
    names: NDArray[np.object_]
    gene_ids: NDArray[np.int64]
    status: NDArray[np.object_]
    mask: NDArray[np.bool_]
    species: str = ""
    match: "MatchReport | None" = field(default=None, repr=False)
    left_out: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many genes have which status, the most frequent first."""
        return {str(status): int(n) for status, n in pd.Series(self.status).value_counts().items()}

    @property
    def n_matched(self) -> int:
        """How many genes have a vector."""
        return int(self.mask.sum())

    @property
    def n_repeated(self) -> int:
        """How many genes with a vector are not the first row of their gene (a name twice, or two names of one gene)."""
        known = self.gene_ids[self.mask]
        ids = known[known != NO_GENE]
        return len(ids) - len(np.unique(ids))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per gene: `name`, `gene_id` (null: none), `status`, `has_vector`."""
        ids = pd.array(self.gene_ids, dtype="Int64")
        ids[self.gene_ids == NO_GENE] = pd.NA
        return pd.DataFrame({"name": self.names, "gene_id": ids, "status": self.status, "has_vector": self.mask})

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and the names of every status that has no vector, as JSON values."""
        without = self.to_frame().loc[~self.mask].groupby("status")["name"].agg(list)
        return {
            "source": self.source,
            "fingerprint": self.fingerprint,
            "column": self.column,
            "considered": dict(self.considered),
            "species": self.species,
            "n_genes": len(self.names),
            "n_matched": self.n_matched,
            "n_repeated": self.n_repeated,
            "counts": self.counts,
            "without_vector": {str(status): names for status, names in without.items()},
        }

    def to_tsv(self) -> str:
        """Return `to_frame` as tab-separated text."""
        return self.to_frame().to_csv(sep="\t", index=False, lineterminator="\n")

    def __str__(self) -> str:
        n = len(self.names)
        whose = f"{self.species} genes" if self.species else "genes"
        lines = [
            f"{self.n_matched:,} of {n:,} {whose} ({self.n_matched / max(n, 1):.1%}) have a vector in {self.source}; "
            f"names from {self.column}"
        ]
        if self.match is not None and self.match.guessed:
            lines.append(f"  species guessed: {self.match.guessed}")
        # Of names that are unknown the resolver may know why.
        why = np.full(n, "", object) if self.match is None else self.match.reason
        kinds = [
            f"{one} ({more})" if more and one == "unknown" else one for one, more in zip(self.status, why, strict=True)
        ]
        for kind, number in pd.Series(kinds, dtype=object).value_counts().items():
            those = np.array(kinds, object) == kind
            some = [] if self.mask[those].any() else [name or "(empty)" for name in self.names[those]]
            hint = f" ({self.left_out})" if kind == NO_TEXT and self.left_out else ""
            lines.append(f"  {number:>7,}  {number / n:6.1%}  {kind}{hint}{': ' if some else ''}{first_ten(some)}")
        if self.n_repeated:
            lines.append(f"  {self.n_repeated:,} rows name a gene that another row names too: they share its vector")
        return "\n".join(lines)


def align(
    priors: GenePriors,
    data: Any,
    *,
    missing: Missing,
    orthologs: bool,
    made_unique: bool,
    r_names: bool,
    species: str | int | Species | None,
    column: str | None,
    min_match: float | None,
    snapshot: "Snapshot | None",
    root: Path | None,
) -> GenePriors:
    """Put the vectors of `priors` into the order of `data`; see `GenePriors.align`."""
    if missing not in ("mask", "error", "mean", "zero"):
        raise PriorsError(f"missing={missing!r}: mask, error, mean or zero")
    if min_match is not None and not 0 <= min_match <= 1:
        raise PriorsError(f"min_match={min_match}: a share of the genes, 0 to 1")
    columns = candidates(data, column=column)
    if not any(one.names for one in columns):
        tried = [_exact(priors, columns[0])]
    elif priors.species:
        from genetext.acquire import find_species

        tried = _tried(
            _Names(priors, snapshot, root, orthologs=orthologs, made_unique=made_unique, r_names=r_names),
            *(columns, None if species is None else find_species(species, root=root)),
        )
    else:
        tried = [_exact(priors, one) for one in columns]
    # The first of the best: var_names stand before the columns of var.
    best = max(tried, key=lambda one: int((one.rows >= 0).sum()))
    aligned = _gathered(priors, best, missing, {one.column.label: int((one.rows >= 0).sum()) for one in tried})
    if hasattr(data, "var_names"):
        aligned = replace(aligned, var_names=np.array(data.var_names, dtype=object))
    _refuse(aligned, missing, min_match)
    return aligned.filled()


def from_arrays(
    names: Sequence[str],
    vectors: NDArray[Any],
    *,
    species: str | int | Species | None,
    source: str,
    snapshot: "Snapshot | None",
) -> GenePriors:
    """Take anybody's own vectors; see `GenePriors.from_arrays`."""
    called = strings(names)
    array = np.ascontiguousarray(vectors, np.float32)
    if array.ndim != 2 or len(array) != len(called):
        raise PriorsError(f"{len(called):,} names need vectors of shape ({len(called)}, dim), not {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise PriorsError(f"{len(bad):,} vectors are not finite: {first_ten([called[row] for row in bad])}")
    times = pd.Series(called, dtype=object).value_counts()
    twice = [str(name) for name, number in times.items() if number > 1]
    if twice:
        raise PriorsError(f"each name may stand once: {first_ten(sorted(twice))} stand more often")
    fingerprint = fingerprint_of(called, array)
    plain = GenePriors(
        names=np.array(called, object),
        vectors=array,
        mask=np.ones(len(called), bool),
        gene_ids=np.full(len(called), NO_GENE, np.int64),
        status=np.full(len(called), "name", object),
        source=source,
        fingerprint=fingerprint,
        manifest={"format": "arrays"},
    )
    if species is None:
        return plain
    from genetext.acquire import find_species

    return _with_ids(plain, find_species(species), snapshot)


def _with_ids(priors: GenePriors, species: Species, snapshot: "Snapshot | None") -> GenePriors:
    """Give somebody's own vectors GeneIDs. Of two names of one gene the surer one keeps it."""
    from genetext.names import resolve

    match = resolve(list(priors.names), species, snapshot=snapshot)
    surest = np.array([_SURE.index(one) if one in _SURE else len(_SURE) for one in match.status])
    order = np.lexsort((np.arange(len(surest)), surest))
    ids = np.full(len(priors), NO_GENE, np.int64)
    taken: set[int] = set()
    for row in order:
        gene_id = int(match.gene_id[row])
        if gene_id != NO_GENE and gene_id not in taken:
            taken.add(gene_id)
            ids[row] = gene_id
    second = np.flatnonzero((ids == NO_GENE) & (match.gene_id != NO_GENE))
    if len(second):
        _log.warning(
            "%s of %s are second names of genes that others name more surely, and take no part: %s",
            *(f"{len(second):,}", priors.source, first_ten(list(priors.names[second]))),
        )
    # Copies: the vectors may be the caller's own array.
    mask, status, vectors = priors.mask.copy(), priors.status.copy(), priors.vectors.copy()
    mask[second], status[second], vectors[second] = False, SECOND_NAME, 0
    told = {"tax_id": species.tax_id, "name": species.name, "latin": species.latin}
    manifest = {**priors.manifest, "species": told}
    return replace(priors, vectors=vectors, gene_ids=ids, mask=mask, status=status, manifest=manifest)


@dataclass(frozen=True)
class _Rows:
    """For each name of a column the row of its vector (-1: none), its GeneID and status."""

    column: NameColumn
    rows: NDArray[np.int64]
    gene_ids: NDArray[np.int64]
    status: NDArray[np.object_]
    species: str = ""
    match: "MatchReport | None" = None


def _exact(priors: GenePriors, column: NameColumn) -> _Rows:
    own = priors.distinct[0]
    found = pd.Index(priors.names[own]).get_indexer(pd.Index(np.array(column.names, object)))
    rows = np.where(found >= 0, own[found], -1) if len(own) else np.full(len(found), -1)
    status = np.where(rows >= 0, "name", "unknown").astype(object)
    return _Rows(column, rows.astype(np.int64), np.full(len(rows), NO_GENE, np.int64), status)


class _Names:
    """Finds the rows of names by GeneID, with one resolver for each species that the names turn out to be of."""

    def __init__(
        self, priors: GenePriors, snapshot: "Snapshot | None", root: Path | None, *, orthologs: bool, **reading: bool
    ) -> None:
        self._priors, self._orthologs, self._reading = priors, orthologs, reading
        self._snapshot, self._root = snapshot, root
        recorded = priors.manifest["species"]
        self._species = Species(recorded["tax_id"], recorded["name"], recorded["latin"])
        self._resolvers: dict[int, Resolver] = {}
        self._glances: list[Glance] | None = None
        own = priors.distinct[0]
        has_id = priors.gene_ids[own] != NO_GENE
        self._with_id, self._without_id = own[has_id], own[~has_id]
        self._by_id = pd.Index(priors.gene_ids[self._with_id])

    def rows(self, column: NameColumn, whose: Species | None) -> _Rows:
        """Resolve a column of names; `whose` None: guess the species from them."""
        from genetext.names import species_guess as guess

        guessed = ""
        if self._snapshot is not None:
            whose = self._snapshot.species
        elif whose is None:
            if self._glances is None:
                self._glances = guess.known_glances(root=self._root)
            whose, guessed = guess.species_of(column.names, gene_ids=column.gene_ids, glances=self._glances)
        resolver = self._resolver(whose)
        other = whose.tax_id != self._species.tax_id
        if other and not self._orthologs:
            raise PriorsError(
                f"the data are of {whose.name} ({guessed or 'as asked'}), the vectors of {self._species.name}: align "
                f"with orthologs=True, or use vectors of {whose.name}"
            )
        match = resolver.resolve(
            column.names,
            to=self._species if other else None,
            target=self._built_from() if other else None,
            guessed=guessed,
            **self._reading,
        )
        status = match.status.astype(object)
        found = self._by_id.get_indexer(pd.Index(match.gene_id))
        rows = np.full(len(found), -1, np.int64)
        rows[found >= 0] = self._with_id[found[found >= 0]]
        status[(rows < 0) & (match.gene_id != NO_GENE)] = NO_TEXT
        if len(self._without_id):
            # Names that mean no gene to NCBI may still be, letter by letter, names of somebody's own vectors.
            exact = _exact(self._priors.take(self._without_id), column)
            named = (rows < 0) & (exact.rows >= 0)
            rows[named] = self._without_id[exact.rows[named]]
            status[named] = "name"
        return _Rows(column, rows, match.gene_id, status, match.species, match)

    def _resolver(self, whose: Species) -> "Resolver":
        from genetext.names import Resolver
        from genetext.names import species_guess as guess

        if whose.tax_id not in self._resolvers:
            # GeneIDs are the index's own: the bundled mouse facts, for one, lend some from human.
            same = self._built_from() if whose.tax_id == self._species.tax_id else None
            snapshot = self._snapshot or same or guess.default_snapshot(whose, root=self._root)
            self._resolvers[whose.tax_id] = Resolver(snapshot, root=self._root)
        return self._resolvers[whose.tax_id]

    def _built_from(self) -> "Snapshot | None":
        """Return the snapshot that the index was built from, if it is still there and has all genes of the species."""
        from genetext.text import facts
        from genetext.text.snapshot import list_snapshots

        digest = (self._priors.manifest.get("snapshot") or {}).get("digest")
        if digest is None:
            return None
        there = list_snapshots(self._species, root=self._root)
        if self._species.name in facts.species_with_facts():
            there.append(facts.open_facts(self._species, root=self._root))
        whole = (one for one in there if "genes" not in one.manifest["source"])
        return next((one for one in whole if one.digest == digest), None)


def _tried(names: _Names, columns: list[NameColumn], whose: Species | None) -> list[_Rows]:
    """Resolve every column that can be; a column of which not even the species can be told is no column of names."""
    tried, refused = [], []
    for column in columns:
        try:
            tried.append(names.rows(column, whose))
        except ResolveError as error:
            refused.append(error)
    if not tried:
        raise refused[0]
    return tried


def _gathered(priors: GenePriors, found: _Rows, missing: Missing, considered: Mapping[str, int]) -> GenePriors:
    mask = found.rows >= 0
    vectors = np.zeros((len(mask), priors.dim), np.float32)
    vectors[mask] = priors.vectors[found.rows[mask]]
    names = np.array(found.column.names, object)
    kept = (priors.manifest.get("text") or {}).get("gene_types")
    report = AlignmentReport(
        column=found.column.label,
        considered=considered,
        source=priors.source,
        fingerprint=priors.fingerprint,
        names=names,
        gene_ids=found.gene_ids,
        status=found.status,
        mask=mask,
        species=found.species,
        match=found.match,
        left_out=f"the index has {', '.join(kept)} genes only" if kept else "",
    )
    return replace(
        priors,
        names=names,
        vectors=vectors,
        mask=mask,
        gene_ids=found.gene_ids,
        status=found.status,
        steps=(*priors.steps, f"align({found.column.label}, missing={missing})"),
        missing=missing,
        report=report,
        var_names=None,
    )


def _refuse(aligned: GenePriors, missing: Missing, min_match: float | None) -> None:
    if not len(aligned) or aligned.control == "without":  # the control says nothing of any gene, and is meant to
        return
    share = aligned.n_matched / len(aligned)
    if min_match is not None and share < min_match:
        raise TooFewMatched(
            f"{share:.1%} of the genes have a vector, min_match asks for {min_match:.0%}.\n{aligned.report}",
            report=aligned.report,
        )
    if missing == "error":
        refuse_missing(aligned, why='Leave them out, or align with missing="mask"')
    if not aligned.n_matched:
        raise PriorsError(
            f"no gene of the data has a vector, so these priors say nothing about it. Is the species right, and are "
            f"the names where they were looked for?\n{aligned.report}"
        )
