"""What a snapshot knows as a name of a gene, as one dictionary from exact strings to genes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from genetext.errors import first_ten
from genetext.names import rules
from genetext.species import Species
from genetext.text.snapshot import Snapshot

STATUSES = ("gene_id", "symbol", "ensembl", "previous", "synonym", "ortholog", "ambiguous", "unknown")
"""How a name ends: six ways of being a gene, the surest first, and two of not being one."""
GENE_ID, SYMBOL, ENSEMBL, PREVIOUS, SYNONYM, ORTHOLOG, AMBIGUOUS, UNKNOWN = STATUSES

CONTESTED = "name of others too"
"""In a report's `reason`: matched, although other genes have the name too; `note` says which."""
_WORDS = frozenset(STATUSES.index(kind) for kind in (SYMBOL, PREVIOUS, SYNONYM))
CONTESTABLE = (STATUSES.index(PREVIOUS), STATUSES.index(ENSEMBL))
"""How such names are matched, as places in `STATUSES`."""


@dataclass(frozen=True, eq=False)
class Tables:
    """Names of the genes of one species.

    Attributes
    ----------
    species
        Whose genes they are.
    digest
        Of the snapshot.
    gene_ids, symbols, borrowed
        Per gene: `(n,) int64`, `(n,) object`, and whether its GeneID is its human ortholog's (mouse facts only).
    exact
        From a name to `gene * len(STATUSES) + status`; from a name with several genes to `-1 - k`, where `several[k]`
        holds the genes. A gene stands for its place in `gene_ids`.
    several
        The genes of each ambiguous name.
    withdrawn
        Retired GeneIDs that nothing took the place of.
    contested
        Names that were given to one gene although others have them too, and a note on these: former symbols that are
        synonyms of others, and Ensembl ids of which NCBI has several genes.
    """

    species: Species
    digest: str
    gene_ids: NDArray[np.int64]
    symbols: NDArray[np.object_]
    borrowed: NDArray[np.bool_]
    exact: Mapping[str, int]
    several: list[tuple[int, ...]]
    withdrawn: frozenset[str]
    contested: Mapping[str, str]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Tables":
        """Read the tables of a snapshot."""
        columns = ["gene_id", "id_tax_id", "symbol", "gene_type", "synonyms", "previous", "ensembl_ids"]
        history = snapshot.table("history", columns=["old_gene_id", "gene_id"])
        return cls.build(snapshot.species, snapshot.digest, snapshot.table("genes", columns=columns), history)

    @classmethod
    def build(cls, species: Species, digest: str, genes: pa.Table, history: pa.Table) -> "Tables":
        """Make the dictionary of names out of the tables `genes` and `history` of a snapshot."""
        gene_ids = genes["gene_id"].to_numpy()
        borrowed = genes["id_tax_id"].to_numpy() != species.tax_id
        symbols = np.array(genes["symbol"].to_pylist(), dtype=object)
        place_of_id = dict(zip(gene_ids[~borrowed].tolist(), np.flatnonzero(~borrowed).tolist(), strict=True))
        old, new = history["old_gene_id"].to_pylist(), history["gene_id"].to_pylist()
        replaced = dict(zip(map(str, old), map(place_of_id.get, new), strict=True))
        retired = {name: place for name, place in replaced.items() if place is not None}

        exact: dict[str, int] = {}
        several: list[tuple[int, ...]] = []

        def add(names: Sequence[str | None], places: Sequence[int] | NDArray[np.int64], status: str) -> None:
            codes = (np.asarray(places, np.int64) * len(STATUSES) + STATUSES.index(status)).tolist()
            code_of = dict(zip(names, codes, strict=True))
            shared: dict[str, set[int]] = {}
            if len(code_of) < len(names):
                for name, code in zip(names, codes, strict=True):
                    if name and code_of[name] != code:
                        shared.setdefault(name, {code_of[name] // len(STATUSES)}).add(code // len(STATUSES))
            exact.update({name: code for name, code in code_of.items() if name})
            for name, genes_of_name in sorted(shared.items()):
                exact[name] = -1 - len(several)
                several.append(tuple(sorted(genes_of_name)))

        # What is added later wins: a current symbol over somebody else's former one, a former symbol over synonyms
        # (docs/resolve.md has the evidence), a GeneID over everything. Within a kind nobody wins.
        add(*_flat(genes["synonyms"]), SYNONYM)
        former, places = _flat(genes["previous"])
        synonyms = {name: _places(exact[name], several) for name in former if name in exact}
        add(former, places, PREVIOUS)
        contested = {}
        for name, others in synonyms.items():
            if exact[name] >= 0 and (rest := set(others) - set(_places(exact[name], several))):
                contested[name] = f"a former symbol; also a synonym of {first_ten(sorted(symbols[list(rest)]))}"
        add(*_flat(genes["ensembl_ids"]), ENSEMBL)
        coding = np.array(genes["gene_type"].to_pylist(), dtype=object) == "protein-coding"
        for name, code in exact.items():
            if code < 0 and _is_ensembl(name) and (main := _main_gene(several[-1 - code], symbols, coding)) is not None:
                exact[name] = main * len(STATUSES) + STATUSES.index(ENSEMBL)
                rest = set(several[-1 - code]) - {main}
                contested[name] = f"NCBI gives this Ensembl id to {first_ten(sorted(symbols[list(rest)]))} too"
        add(symbols.tolist(), range(len(symbols)), SYMBOL)
        # XK was called NA, and SCN11A is called NaN, but in data these are missing values.
        for name in [name for name in exact if name[0] in rules.MISSING_BEGIN and rules.is_missing(name)]:
            del exact[name]
        add(list(retired), list(retired.values()), PREVIOUS)
        add(list(map(str, place_of_id)), list(place_of_id.values()), GENE_ID)
        contested = {
            name: note
            for name, note in contested.items()
            if name in exact and exact[name] % len(STATUSES) in CONTESTABLE
        }
        withdrawn = frozenset(replaced.keys() - retired.keys())
        return cls(species, digest, gene_ids, symbols, borrowed, exact, several, withdrawn, contested)

    def places(self, name: str) -> tuple[int, ...]:
        """Return the genes that a name means, exactly as it is written: none, one or several."""
        code = self.exact.get(name)
        return () if code is None else _places(code, self.several)

    def kind(self, name: str) -> str:
        """Return how a known name is one, or `ambiguous`."""
        code = self.exact[name]
        return AMBIGUOUS if code < 0 else STATUSES[code % len(STATUSES)]

    @cached_property
    def folded(self) -> Mapping[str, tuple[str, ...]]:
        """Names by what is left of them without letter case and punctuation; current symbols come first."""
        by_fold: dict[str, list[str]] = {}
        for name, code in self.exact.items():
            if code < 0 or code % len(STATUSES) in _WORDS:
                by_fold.setdefault(fold(name), []).append(name)
        return {
            key: tuple(sorted(names, key=lambda name: (self.rank(name), name))) if len(names) > 1 else tuple(names)
            for key, names in by_fold.items()
        }

    def rank(self, name: str) -> int:
        """Order names: current symbols, former ones, synonyms, ambiguous ones."""
        return STATUSES.index(self.kind(name))


@dataclass(frozen=True)
class Glance:
    """Just enough of a species to tell that a name is one of its own.

    Attributes
    ----------
    species
        Which one.
    symbols
        Current symbols.
    gene_ids
        GeneIDs of its own, as strings, and the symbols that they stand for.
    """

    species: Species
    symbols: frozenset[str]
    gene_ids: Mapping[str, str]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Glance":
        """Read symbols and GeneIDs of a snapshot."""
        genes = snapshot.table("genes", columns=["gene_id", "id_tax_id", "symbol"])
        ids = genes.filter(pc.equal(genes["id_tax_id"], snapshot.species.tax_id))
        return cls(
            snapshot.species,
            frozenset(filter(None, genes["symbol"].to_pylist())),
            dict(zip(map(str, ids["gene_id"].to_pylist()), ids["symbol"].to_pylist(), strict=True)),
        )


def fold(name: str) -> str:
    """Leave out letter case and everything but letters and digits: for suggestions, never for a match."""
    lower = name.casefold()
    return lower if lower.isalnum() else "".join(filter(str.isalnum, lower))


def _places(code: int, several: list[tuple[int, ...]]) -> tuple[int, ...]:
    return several[-1 - code] if code < 0 else (code // len(STATUSES),)


def _is_ensembl(name: str) -> bool:
    return name.startswith(("ENS", "FBgn", "WBGene"))


def _main_gene(places: tuple[int, ...], symbols: NDArray[np.object_], coding: NDArray[np.bool_]) -> int | None:
    """Return the gene that an Ensembl id names where NCBI counts genes of its own inside it; None where that is open.

    It is the one with a symbol of its own (no placeholder `LOC...`), else the one that codes for a protein.
    docs/resolve.md has the evidence.
    """
    named = [place for place in places if not str(symbols[place]).startswith("LOC")]
    proteins = [place for place in named if coding[place]]
    return named[0] if len(named) == 1 else proteins[0] if len(proteins) == 1 else None


def _flat(column: pa.ChunkedArray) -> tuple[list[str | None], list[int]]:
    """Return the names in a column of lists, and the row of each."""
    lists = column.combine_chunks()
    return pc.list_flatten(lists).to_pylist(), pc.list_parent_indices(lists).to_pylist()
