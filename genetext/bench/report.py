"""Tables of scores: means and spreads over terms, and which differences chance would not give.

Terms are the sample: intervals are percentiles of means over terms drawn with replacement, and two methods are compared
by the Wilcoxon signed-rank test over the terms. P values are corrected by Holm's method for the comparisons that stand
together: those with the first method in the table, and those of all pairs in the list of pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RESAMPLES = 10_000


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What came out.

    Attributes
    ----------
    scores
        One row per method and term: `method`, `term`, `auroc`, `fold_auroc`, `c` (chosen values, smallest first),
        `n_genes`, `n_positive`. Draws of one control are averaged.
    methods
        One row per method, in the order of the table: `method`, `control` (bool), `dim`, `n_without` (genes of the
        tasks that have no vector), `note`.
    about
        What was measured on what: tasks, protocol, policy, counts; JSON values.
    seed
        Of the bootstrap.
    """

    scores: pd.DataFrame
    methods: pd.DataFrame
    about: Mapping[str, Any]
    seed: int = 0
    _cache: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def table(self) -> pd.DataFrame:
        """One row per method: `methods` with `auroc`, `sd`, `low`, `high`, `fold_auroc`, `difference` and `p`.

        `low` and `high` bound the 95 % interval; `difference` (to the first method) and `p` (of that
        difference; Holm, over the rows) are NaN for the first itself.
        """
        if "table" not in self._cache:
            wide = self.wide
            first = self.methods["method"].iloc[0]
            to_first = self.pairs[self.pairs["first"] == first].set_index("second")
            p_holm = pd.Series(holm(to_first["p"].to_numpy()), index=to_first.index)
            rows = []
            for method in self.methods.itertuples():
                values = wide[method.method].to_numpy()
                low, high = interval(values, seed=self.seed)
                folds = self.scores.loc[self.scores["method"] == method.method, "fold_auroc"]
                rows.append(
                    {
                        "method": method.method,
                        "control": method.control,
                        "auroc": values.mean(),
                        "sd": values.std(ddof=1) if len(values) > 1 else np.nan,
                        "low": low,
                        "high": high,
                        "fold_auroc": folds.mean(),
                        "difference": -to_first["difference"].get(method.method, np.nan),
                        "p": p_holm.get(method.method, np.nan),
                        "dim": method.dim,
                        "n_without": method.n_without,
                        "note": method.note,
                    }
                )
            self._cache["table"] = pd.DataFrame(rows)
        return self._cache["table"]

    @property
    def wide(self) -> pd.DataFrame:
        """AUROC on held-out genes, terms x methods."""
        return self.scores.pivot_table(index="term", columns="method", values="auroc", sort=False)

    @property
    def pairs(self) -> pd.DataFrame:
        """One row per pair of methods: `first`, `second`, `difference` of means, `p`, `p_holm`."""
        if "pairs" not in self._cache:
            wide = self.wide
            named = list(combinations(self.methods["method"], 2))
            p = np.array([signed_rank(wide[a].to_numpy(), wide[b].to_numpy()) for a, b in named])
            self._cache["pairs"] = pd.DataFrame(
                {
                    "first": [a for a, _ in named],
                    "second": [b for _, b in named],
                    "difference": [wide[a].mean() - wide[b].mean() for a, b in named],
                    "p": p,
                    "p_holm": holm(p),
                }
            )
        return self._cache["pairs"]

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON object; NaN as null."""
        frames = {"table": self.table, "pairs": self.pairs, "scores": self.scores}
        return {**self.about, **{name: _records(frame) for name, frame in frames.items()}}

    def to_tsv(self) -> str:
        """Return `scores`, one line per method and term."""
        text: str = self.scores.assign(c=self.scores["c"].map(lambda c: ",".join(f"{one:g}" for one in c))).to_csv(
            sep="\t", index=False, lineterminator="\n", float_format="%.6f"
        )
        return text

    def __str__(self) -> str:
        about = self.about
        lines = [
            f"{about['tasks']}: {about['n_terms']:,} terms, {about['n_genes']:,} genes; mean AUROC on those held out"
        ]
        if about["unmatched"]["n"]:
            lines.append(f"  {about['unmatched']['n']:,} names are no known gene: {about['unmatched']['names']}")
        if about["n_without"]:
            done = "left out of every method" if about["missing"] == "drop" else "given the mean vector"
            lines.append(f"  {about['n_without']:,} genes have no vector in some method: {done}")
        if about["left_out"]:
            some = ", ".join(f"{term} ({why})" for term, why in list(about["left_out"].items())[:3])
            lines.append(f"  {len(about['left_out']):,} terms cannot be asked, for example {some}")
        lines += [f"  not measured: {name} ({why})" for name, why in about["not_measured"].items()]
        return "\n".join(lines)


def interval(values: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of `values`, `(n_terms,)`."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def signed_rank(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the two-sided p value of the Wilcoxon signed-rank test over paired terms; 1 where none differs."""
    from scipy.stats import wilcoxon

    # Scores are means of a few folds: what differs by rounding alone is equal.
    differences = np.round(np.asarray(a) - np.asarray(b), 12)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    tied = len(np.unique(np.abs(differences))) < len(differences)
    method = "exact" if len(differences) <= 50 and not tied else "asymptotic"
    return float(wilcoxon(differences, method=method).pvalue)


def holm(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p values adjusted by Holm's step-down method (1979), in the order given."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict(orient="records")]
