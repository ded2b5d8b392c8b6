"""Results of a benchmark: scores, tables made of them, and both as JSON and as tab-separated lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from genetext import escape
from genetext.bench.statistics import holm, interval, signed_rank


@dataclass(frozen=True, eq=False)
class Report:
    """What every benchmark gives back.

    Attributes
    ----------
    scores
        One row per score, see the class.
    about
        What was measured on what; JSON values.
    """

    scores: pd.DataFrame
    about: Mapping[str, Any]

    TABLES: ClassVar[tuple[str, ...]] = ("scores",)
    """The attributes that `to_json` has beside `about`, in their order."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON object; NaN as null."""
        return {**self.about, **{name: _records(getattr(self, name)) for name in self.TABLES}}

    def to_tsv(self) -> str:
        """Return `scores` as tab-separated lines with a header; several values of a cell with commas between."""
        plain = self.scores.map(lambda value: ",".join(f"{x:g}" for x in value) if isinstance(value, tuple) else value)
        return escape.tsv(plain, float_format="%.6f")


@dataclass(frozen=True, eq=False)
class Benchmark(Report):
    """How vectors of genes compare: means and spreads over terms, and which differences chance would not give.

    Terms are the sample: intervals are percentiles of means over terms drawn with replacement, and two methods are
    compared by the Wilcoxon signed-rank test over the terms. P values are corrected by Holm's method for the
    comparisons that stand together: those with the first method in the table, those of all pairs in the list of pairs.

    Attributes
    ----------
    scores
        One row per method and term: `method`, `term`, `auroc`, `fold_auroc`, `c` (chosen values, smallest first),
        `n_genes`, `n_positive`. Draws of one control are averaged.
    about
        Tasks, protocol, policy, counts.
    methods
        One row per method, in the order of the table: `method`, `control` (bool), `dim`, `n_without` (genes of the
        tasks that have no vector), `note`.
    seed
        Of the bootstrap.
    """

    methods: pd.DataFrame
    seed: int = 0

    TABLES = ("table", "pairs", "scores")

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per method: `methods` with `auroc`, `sd`, `low`, `high`, `fold_auroc`, `difference` and `p`.

        `low` and `high` bound the 95 % interval; `difference` (to the first method) and `p` (of that
        difference; Holm, over the rows) are NaN for the first itself.
        """
        first = self.methods["method"].iloc[0]
        to_first = self.pairs[self.pairs["first"] == first].set_index("second")
        p_holm = pd.Series(holm(to_first["p"].to_numpy()), index=to_first.index)
        fold_auroc = self.scores.groupby("method")["fold_auroc"].mean().to_dict()
        rows = []
        for method in self.methods.itertuples():
            values = self.wide[method.method].to_numpy()
            low, high = interval(values, seed=self.seed)
            rows.append(
                {
                    "method": method.method,
                    "control": method.control,
                    "auroc": values.mean(),
                    "sd": values.std(ddof=1) if len(values) > 1 else np.nan,
                    "low": low,
                    "high": high,
                    "fold_auroc": fold_auroc[method.method],
                    "difference": -to_first["difference"].get(method.method, np.nan),
                    "p": p_holm.get(method.method, np.nan),
                    "dim": method.dim,
                    "n_without": method.n_without,
                    "note": method.note,
                }
            )
        return pd.DataFrame(rows)

    @cached_property
    def wide(self) -> pd.DataFrame:
        """AUROC on held-out genes, terms x methods."""
        return self.scores.pivot_table(index="term", columns="method", values="auroc", sort=False)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row per pair of methods: `first`, `second`, `difference` of means, `p`, `p_holm`."""
        wide = self.wide
        pairs = list(combinations(self.methods["method"], 2))
        p = np.array([signed_rank(wide[a].to_numpy(), wide[b].to_numpy()) for a, b in pairs])
        return pd.DataFrame(
            {
                "first": [a for a, _ in pairs],
                "second": [b for _, b in pairs],
                "difference": [wide[a].mean() - wide[b].mean() for a, b in pairs],
                "p": p,
                "p_holm": holm(p),
            }
        )

    def __str__(self) -> str:
        about = self.about
        lines = [
            f"{about['tasks']}: {about['n_terms']:,} terms, {about['n_genes']:,} genes; mean AUROC on those held out"
        ]
        if about["unmatched"]["n"]:
            lines.append(f"  {about['unmatched']['n']:,} names are no known gene: {about['unmatched']['names']}")
        if about["n_without"]:
            policy = "left out of every method" if about["missing"] == "drop" else "given the mean vector"
            lines.append(f"  {about['n_without']:,} genes have no vector in some method: {policy}")
        if about["left_out"]:
            examples = ", ".join(f"{term} ({reason})" for term, reason in list(about["left_out"].items())[:3])
            lines.append(f"  {len(about['left_out']):,} terms cannot be asked, for example {examples}")
        lines += [f"  not measured: {name} ({reason})" for name, reason in about["not_measured"].items()]
        return "\n".join(lines)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict(orient="records")]
