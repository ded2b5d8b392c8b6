"""What became of each name: the MatchReport."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext import disk
from genetext.errors import TooFewMatched, first_ten
from genetext.names.tables import AMBIGUOUS, CONTESTED, STATUSES, UNKNOWN

NO_GENE = 0
"""In `gene_id`: no gene."""


@dataclass(frozen=True, eq=False)
class MatchReport:
    """What each name of a list means, and how that is known.

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
        `(n,) object`: one of `STATUSES`.
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
        Name of the species that the names were read as.
    target
        Name of the species that `gene_id` belongs to.
    guessed
        By what evidence the species was guessed; empty where the caller named it.
    snapshot
        Digest of the snapshot.
    told_by
        The same in words, for people.
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
    guessed: str
    snapshot: str
    told_by: str
    _nearest: Callable[[str], tuple[str, ...]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """`(n,) bool`: which names have a gene."""
        mask: NDArray[np.bool_] = self.gene_id != NO_GENE
        return mask

    @property
    def n_matched(self) -> int:
        """How many names have a gene."""
        return int(self.mask.sum())

    @property
    def matched(self) -> float:
        """Share of the names that have a gene, 0 to 1; 0 for an empty list."""
        return self.n_matched / len(self) if len(self) else 0.0

    def demand(self, min_match: float) -> None:
        """Raise `TooFewMatched`, with this report, where a smaller share of the names than `min_match` has a gene."""
        if self.matched < min_match:
            raise TooFewMatched(
                f"{self.n_matched:,} of {len(self):,} names have a gene, and at least {min_match:.0%} must: is "
                f"{self.species} the species of the data, and are these the names of its genes?\n{self}",
                report=self,
            )

    @property
    def n_genes(self) -> int:
        """How many different genes the names mean."""
        return len(np.unique(self.gene_id[self.mask]))

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many names ended in each of `STATUSES`, zeros left out."""
        found = Counter(self.status.tolist())
        return {status: found[status] for status in STATUSES if found[status]}

    @cached_property
    def reasons(self) -> dict[str, int]:
        """How many of the unknown names there are for each reason, most first."""
        found = Counter(self.reason[self.status == UNKNOWN].tolist())
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @cached_property
    def shared(self) -> dict[int, list[str]]:
        """Genes that several different names of the list mean, with these names."""
        found: dict[int, set[str]] = {}
        for gene, name in zip(self.gene_id[self.mask].tolist(), self.names[self.mask], strict=True):
            found.setdefault(gene, set()).add(name)
        return {gene: sorted(names) for gene, names in sorted(found.items()) if len(names) > 1}

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return up to three names that the species knows and that are written nearly like this one."""
        return self._nearest(name)

    def to_frame(self, *, nearest: bool = True) -> pd.DataFrame:
        """Return one row per name.

        Columns: name, gene_id (nullable), symbol, status, via, candidates (`SYMBOL (GeneID)`, separated by `|`),
        nearest (of unknown names), reason, note; after orthologs also own_gene_id (nullable).

        Parameters
        ----------
        nearest
            Whether to look for near names, which takes a tenth of a millisecond for each unknown name.
        """
        near: dict[str, str] = {}
        if nearest:
            near = {name: "|".join(self.nearest(name)) for name in dict.fromkeys(self.names[self.status == UNKNOWN])}
        columns: dict[str, Any] = {
            "name": self.names,
            "gene_id": _nullable(self.gene_id),
            "symbol": self.symbol,
            "status": self.status,
            "via": self.via,
            "candidates": ["|".join(f"{symbol} ({gene})" for gene, symbol in some) for some in self.candidates],
            "nearest": [
                near.get(name, "") if status == UNKNOWN else ""
                for name, status in zip(self.names, self.status, strict=True)
            ],
            "reason": self.reason,
            "note": self.note,
        }
        if self.target != self.species:
            columns["own_gene_id"] = _nullable(self.own_gene_id)
        return pd.DataFrame(columns)

    def to_json(self) -> dict[str, Any]:
        """Return the report without its matched names: JSON values, with every name that has no gene."""
        lost = self.to_frame()[~self.mask].drop_duplicates("name")
        return {
            "species": self.species,
            "target": self.target,
            "guessed": self.guessed,
            "snapshot": self.snapshot,
            "told_by": self.told_by,
            "names": len(self),
            "matched": self.n_matched,
            "share": round(self.matched, 6),
            "genes": self.n_genes,
            "counts": self.counts,
            "reasons": self.reasons,
            "unmatched": lost[["name", "status", "reason", "note", "candidates", "nearest"]].to_dict(orient="records"),
        }

    def write_tsv(self, path: Path) -> None:
        """Write `to_frame()` as a tab-separated file, atomically."""
        with disk.atomic_file(Path(path)) as handle:
            self.to_frame().to_csv(handle, sep="\t", index=False, lineterminator="\n", errors="backslashreplace")

    def write_json(self, path: Path) -> None:
        """Write `to_json()`, atomically."""
        disk.write_json(Path(path), self.to_json())

    def __str__(self) -> str:
        to = f", as genes of {self.target}" if self.target != self.species else ""
        lines = [
            f"{len(self):,} names of {self.species}{to}: {self.n_matched:,} matched ({100 * self.matched:.1f} %), "
            f"{self.n_genes:,} {'gene' if self.n_genes == 1 else 'genes'}"
        ]
        lines.append(f"names by {self.told_by}")
        if self.guessed:
            lines.append(f"species guessed: {self.guessed}")
        width = max((len(f"{count:,}") for count in self.counts.values()), default=1)
        for status, count in self.counts.items():
            if status != UNKNOWN:
                lines.append(f"  {status:<10} {count:>{width},}  {first_ten(self._shown(self.status == status))}")
        for reason, count in self.reasons.items():
            if shown := self._shown((self.status == UNKNOWN) & (self.reason == reason)):
                lines.append(f"  {UNKNOWN:<10} {count:>{width},}  {reason}: {first_ten(shown)}")
        if contested := self._shown(self.reason == CONTESTED):
            lines.append(f"  matched, but other genes have the name too: {first_ten(contested)}")
        if self.shared:
            some = [f"{' = '.join(names)}" for names in self.shared.values()]
            lines.append(f"  several names of one gene: {first_ten(some)}")
        return "\n".join(lines)

    def _shown(self, chosen: NDArray[np.bool_]) -> list[str]:
        rows = np.flatnonzero(chosen)
        _, first = np.unique(self.names[rows].astype(str), return_index=True)
        rows = rows[np.sort(first)]
        return [self._one(row) if place < 10 else "" for place, row in enumerate(rows.tolist())]

    def _one(self, row: int) -> str:
        whole, status = str(self.names[row]), self.status[row]
        name = (whole if len(whole) <= 40 else f"{whole[:37]}...") or "''"
        if status == AMBIGUOUS or len(self.candidates[row]):
            return f"{name} ({' or '.join(symbol for _, symbol in self.candidates[row])})"
        if status == UNKNOWN:
            near = self.nearest(whole)
            return f"{name} ({' or '.join(near)}?)" if near else name
        return name if whole == self.symbol[row] else f"{name} ({self.symbol[row]})"


def _nullable(gene_id: NDArray[np.int64]) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(gene_id.astype(np.int64), gene_id == NO_GENE)
