"""What became of each name: the MatchReport."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext import disk, escape
from genetext.errors import TooFewMatched, first_ten
from genetext.names.tables import AMBIGUOUS, CONTESTED, STATUSES, SYMBOL, UNKNOWN

NO_GENE = 0
"""In `gene_id`: no gene."""
NAME, NO_TEXT = "name", "no text"
"""Statuses of names aligned to vectors: the same letter by letter, and a gene without a vector."""
_ORDER = (*STATUSES[:6], NAME, NO_TEXT, *STATUSES[6:])


def _none_near(_: str) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, eq=False)
class MatchReport:
    """What each name of a list means, how that is known, and whether the gene has a vector.

    All arrays have one entry per name, in the order of the input; equal names have equal entries.

    Attributes
    ----------
    names
        `(n,) object`: the names as strings, spaces around them left out, null as `""`.
    gene_id
        `(n,) int64`: NCBI GeneID, 0 where there is none.
    symbol
        `(n,) object`: current symbol of that gene, or `""`.
    status
        `(n,) object`: one of `STATUSES`; after `GenePriors.align` also `name` (the same letter by letter) and `no text`
        (a gene without a vector).
    via
        `(n,) object`: how the name was matched in its own species; differs from `status` only for `ortholog`.
    own_gene_id
        `(n,) int64`: GeneID in the species of the names; differs from `gene_id` only for `ortholog`.
    candidates
        `(n,) object`: for `ambiguous` a tuple of `(GeneID, symbol)`; for `unknown` the genes that the name may have
        been, where that can be told (a spreadsheet's date); else empty.
    reason
        `(n,) object`: for unknown names a word that sorts them (`other species`, `letter case` ...); `CONTESTED`
        for a name that others have too (a former symbol that is their synonym, an Ensembl id that NCBI gives to
        several genes); else `""`.
    note
        `(n,) object`: one sentence on what is odd about the name, or `""`.
    species
        Name of the species that the names were read as; empty where they were compared letter by letter.
    target
        Name of the species that `gene_id` belongs to.
    guessed
        By what evidence the species was guessed; empty where the caller named it.
    snapshot, tables
        Digest of the snapshot, and in words for people which it is.
    column
        Where the names were: `var_names`, `var['gene_ids']` ...; `names` for a list.
    considered
        For each place that was looked at, how many of its names have a gene, or a vector.
    source
        What vectors the names were aligned to, for example `human/minilm`; empty where they were only matched.
    left_out
        Which genes have no vectors there, in words.
    mask
        `(n,) bool`: which names have a gene; after `GenePriors.align`, which have a vector.
    """

    names: NDArray[np.object_]
    gene_id: NDArray[np.int64]
    symbol: NDArray[np.object_]
    status: NDArray[np.object_]
    via: NDArray[np.object_]
    own_gene_id: NDArray[np.int64]
    candidates: NDArray[np.object_]
    reason: NDArray[np.object_]
    note: NDArray[np.object_]
    species: str
    target: str
    mask: NDArray[np.bool_]
    guessed: str = ""
    snapshot: str = ""
    tables: str = ""
    column: str = "names"
    considered: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    left_out: str = ""
    _nearest: Callable[[str], tuple[str, ...]] = field(default=_none_near, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the tables of the species out of what other processes are sent: a copy knows no near names."""
        return {**self.__dict__, "_nearest": _none_near}

    @property
    def n_matched(self) -> int:
        """How many names have a gene, or a vector."""
        return int(self.mask.sum())

    @property
    def matched(self) -> float:
        """`n_matched` as a share of the names, 0 to 1; 0 for an empty list."""
        return self.n_matched / len(self) if len(self) else 0.0

    @property
    def n_genes(self) -> int:
        """How many different genes the names mean."""
        return len(self.shared_rows)

    @property
    def n_repeated(self) -> int:
        """How many names mean a gene that an earlier name means too."""
        return int((self.mask & (self.gene_id != NO_GENE)).sum()) - self.n_genes

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many names ended in each status, zeros left out."""
        counts = Counter(self.status.tolist())
        return {status: counts[status] for status in _ORDER if counts[status]}

    @cached_property
    def reasons(self) -> dict[str, int]:
        """How many of the unknown names there are for each reason, most first."""
        counts = Counter(self.reason[self.status == UNKNOWN].tolist())
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @cached_property
    def shared_rows(self) -> dict[int, list[int]]:
        """Rows of each gene that the names mean, the surest first, in the order of the GeneIDs."""
        rows: dict[int, list[int]] = {}
        for row in np.flatnonzero(self.mask & (self.gene_id != NO_GENE)).tolist():
            rows.setdefault(int(self.gene_id[row]), []).append(row)
        rank = {row: STATUSES.index(str(self.via[row])) for several in rows.values() for row in several}
        return {gene: sorted(rows[gene], key=rank.__getitem__) for gene in sorted(rows)}

    @property
    def shared(self) -> dict[int, list[str]]:
        """Genes that several different names of the list mean, with these names."""
        names = {gene: sorted({self.names[row] for row in rows}) for gene, rows in self.shared_rows.items()}
        return {gene: several for gene, several in names.items() if len(several) > 1}

    def demand(self, min_match: float | None) -> Self:
        """Return the report, or raise `TooFewMatched` with it where a smaller share than `min_match` is matched."""
        if min_match is not None and self.matched < min_match:
            what = f"a vector in {self.source}" if self.source else "a gene"
            raise TooFewMatched(
                f"{self.n_matched:,} of {len(self):,} names have {what}, and at least {min_match:.0%} must: is "
                f"{self.species or 'this'} the species of the data, and are these the names of its genes?\n{self}",
                report=self,
            )
        return self

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return up to three names that the species knows and that are written nearly like this one."""
        return self._nearest(name)

    def to_frame(self, *, nearest: bool = True) -> pd.DataFrame:
        """Return one row per name.

        Columns: name, gene_id (nullable), symbol, status, via, candidates (`SYMBOL (GeneID)`, separated by `|`),
        nearest (of unknown names), reason, note; after orthologs also own_gene_id (nullable); after an alignment also
        has_vector.

        Parameters
        ----------
        nearest
            Whether to look for near names, which takes a tenth of a millisecond for each unknown name.
        """
        unknown = self.status == UNKNOWN
        near = {name: "|".join(self.nearest(name)) for name in dict.fromkeys(self.names[unknown])} if nearest else {}
        columns: dict[str, Any] = {
            "name": self.names,
            "gene_id": nullable(self.gene_id),
            "symbol": self.symbol,
            "status": self.status,
            "via": self.via,
            "candidates": ["|".join(f"{symbol} ({gene})" for gene, symbol in genes) for genes in self.candidates],
            "nearest": [near.get(name, "") if row else "" for name, row in zip(self.names, unknown, strict=True)],
            "reason": self.reason,
            "note": self.note,
        }
        if self.target != self.species:
            columns["own_gene_id"] = nullable(self.own_gene_id)
        if self.source:
            columns["has_vector"] = self.mask
        return pd.DataFrame(columns)

    def to_json(self) -> dict[str, Any]:
        """Return the report without its matched names: JSON values, with every name that has no gene, or no vector."""
        lost = self.to_frame()[~self.mask].drop_duplicates("name")
        return {
            "column": self.column,
            "considered": dict(self.considered),
            "source": self.source,
            "species": self.species,
            "target": self.target,
            "guessed": self.guessed,
            "snapshot": self.snapshot,
            "tables": self.tables,
            "names": len(self),
            "matched": self.n_matched,
            "share": round(self.matched, 6),
            "genes": self.n_genes,
            "repeated": self.n_repeated,
            "counts": self.counts,
            "reasons": self.reasons,
            "unmatched": lost[["name", "status", "reason", "note", "candidates", "nearest"]].to_dict(orient="records"),
        }

    def write_tsv(self, path: Path) -> None:
        """Write `to_frame()` as a tab-separated file, atomically."""
        with disk.atomic_file(Path(path)) as handle:
            handle.write(escape.tsv(self.to_frame()).encode())

    def write_json(self, path: Path) -> None:
        """Write `to_json()`, atomically."""
        disk.write_json(Path(path), self.to_json())

    def __str__(self) -> str:
        n, share = len(self), f"{100 * self.matched:.1f} %"
        if self.source:
            kind = f"{self.species} genes" if self.species else "genes"
            lines = [f"{self.n_matched:,} of {n:,} {kind} ({share}) have a vector in {self.source}"]
        else:
            to = f", as genes of {self.target}" if self.target != self.species else ""
            genes = f"{self.n_genes:,} {'gene' if self.n_genes == 1 else 'genes'}"
            lines = [f"{n:,} names of {self.species}{to}: {self.n_matched:,} matched ({share}), {genes}"]
        others = [f"{label} {number:,}" for label, number in self.considered.items() if label != self.column]
        beside = f" (matched by other columns: {', '.join(others)})" if others else ""
        lines += [f"names from {self.column}{beside}"] if self.column != "names" else []
        lines += [f"names by {self.tables}"] if self.tables else []
        lines += [f"species guessed: {self.guessed}"] if self.guessed else []
        for status, count in self.counts.items():
            if status == UNKNOWN:
                continue
            hint = f" ({self.left_out})" if status == NO_TEXT and self.left_out else ""
            lines.append(self._line(f"{status}{hint}", count, self.status == status, listed=status != SYMBOL))
        for reason, count in self.reasons.items():
            kind = f"{UNKNOWN} ({reason})" if reason else UNKNOWN
            lines.append(self._line(kind, count, (self.status == UNKNOWN) & (self.reason == reason)))
        if contested := self._shown(self.reason == CONTESTED):
            lines.append(f"  matched, but other genes have the name too: {first_ten(contested)}")
        if self.n_repeated:
            pairs = first_ten([" = ".join(names) for names in self.shared.values()])
            lines.append(
                f"  {self.n_repeated:,} names mean a gene that another name means too{': ' if pairs else ''}{pairs}"
            )
        return "\n".join(lines)

    def _line(self, kind: str, count: int, chosen: NDArray[np.bool_], *, listed: bool = True) -> str:
        names = f": {first_ten(self._shown(chosen))}" if listed else ""
        return f"  {count:>7,}  {100 * count / len(self):5.1f} %  {kind}{names}"

    def _shown(self, chosen: NDArray[np.bool_]) -> list[str]:
        """Return the distinct names of some rows as people read them; from the eleventh on nothing of them."""
        rows = np.flatnonzero(chosen)
        _, first = np.unique(self.names[rows].astype(str), return_index=True)
        rows = rows[np.sort(first)]
        return [self._named(row) if place < 10 else "" for place, row in enumerate(rows.tolist())]

    def _named(self, row: int) -> str:
        whole, status = str(self.names[row]), self.status[row]
        name = (whole if len(whole) <= 40 else f"{whole[:37]}...") or "(empty)"
        if status == AMBIGUOUS or len(self.candidates[row]):
            return f"{name} ({' or '.join(symbol for _, symbol in self.candidates[row])})"
        if status == UNKNOWN:
            near = self.nearest(whole)
            return f"{name} ({' or '.join(near)}?)" if near else name
        return f"{name} ({self.symbol[row]})" if self.symbol[row] not in {"", whole} else name


def best_of(reports: Sequence[MatchReport]) -> MatchReport:
    """Return the report with the most names matched, the earlier one of equal ones; it says what the others have."""
    best = max(reports, key=lambda report: report.n_matched)
    return replace(best, considered={report.column: report.n_matched for report in reports})


def nullable(gene_id: NDArray[np.int64]) -> pd.arrays.IntegerArray:
    """Return GeneIDs as pandas writes them to a table: missing where there is no gene."""
    return pd.arrays.IntegerArray(gene_id.astype(np.int64), gene_id == NO_GENE)
