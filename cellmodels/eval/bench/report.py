"""Tables, intervals and the verdict.

Seeds are the sample: each has its own draw of cells to learn from (with groups, its own group held out) and its own
initial weights, and every method is run on the same ones, so that differences are paired by seed. Permuted priors of
one seed are averaged first. Intervals are Student's t over the seeds, 95 %. They tell what another draw of these cells
would give, not another data set.

A benefit is claimed for a method, in labelling (mean macro-F1 over all numbers of cells) or in grouping (ARI with the
number of types given), only where the prior is better than no prior *and* better than permuted priors, both intervals
leave out 0, and the larger of the two p values stays below 0.05 after Holm's correction for all the claims tested.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellmodels.eval.bench.protocol import EXPRESSION, NONE, PERMUTED, PRIOR, PRIORS, RANDOM
from cellmodels.eval.bench.scores import GIVEN
from genetext.bench.report import holm

MEAN = "mean"
"""Stands where a number of cells would: the mean over all of them."""
HEADLINES = {"labelling": ("macro_f1", MEAN), "grouping": ("ari", GIVEN)}
_NAMES = {"macro_f1": "macro-F1", "ari": "ARI"}
_CONTROLS = (PRIOR, PERMUTED, RANDOM, NONE)


@dataclass(frozen=True, eq=False)
class CellsBenchmark:
    """What came out.

    Attributes
    ----------
    scores
        One row per embedding and score: `method`, `control`, `seed`, `draw`, `measure`, `at` (cells of each type, or
        `K given`, `K found`), `value`.
    about
        What was measured on what: data, types, priors, protocol, models; JSON values.
    """

    scores: pd.DataFrame
    about: Mapping[str, Any]
    _cache: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def by_seed(self) -> pd.DataFrame:
        """Scores of each seed, draws averaged: index `method`, `control`, `measure`, `at`; a column per seed.

        The mean of macro-F1 and of accuracy over all numbers of cells is there too, at `mean`.
        """
        if "by_seed" not in self._cache:
            scores = self.scores
            low = scores[scores["measure"].isin(["macro_f1", "accuracy"])]
            keys = ["method", "control", "seed", "draw", "measure"]
            means = low.groupby(keys, sort=False)["value"].mean().reset_index().assign(at=MEAN)
            every = pd.concat([scores, means], ignore_index=True)
            self._cache["by_seed"] = every.pivot_table(
                index=["method", "control", "measure", "at"], columns="seed", values="value", sort=False
            )
        return self._cache["by_seed"]

    @property
    def table(self) -> pd.DataFrame:
        """One row per method, control and measure: `mean`, `sd` over seeds, `low`, `high` (95 %), `n_seeds`."""
        if "table" not in self._cache:
            rows = []
            for key, values in self.by_seed.iterrows():
                told = _paired(values.to_numpy(np.float64))
                rows.append({**dict(zip(["method", "control", "measure", "at"], _key(key), strict=True)), **told})
            frame = pd.DataFrame(rows).drop(columns="p").rename(columns={"difference": "mean"})
            self._cache["table"] = frame
        return self._cache["table"]

    @property
    def differences(self) -> pd.DataFrame:
        """What the prior adds: one row per method, measure and `versus`.

        `versus` is `permuted`, `random` or `none` (no prior); for averaged gene vectors, which are nothing without a
        prior, `none` is expression alone. `gain` is the prior's: `difference`, `sd`, `low`, `high` (95 %), `p`,
        `n_seeds`. Rows with `gain` = `permuted` are what permuted priors add over none.
        """
        if "differences" not in self._cache:
            by_seed, rows = self.by_seed, []
            methods = [one for one in by_seed.index.unique("method") if one != EXPRESSION]
            for method in methods:
                own = by_seed.loc[method]
                for measure, at in own.index.droplevel("control").unique():
                    if measure == "n_clusters":
                        continue
                    for gain, versus in ((PRIOR, NONE), (PRIOR, PERMUTED), (PRIOR, RANDOM), (PERMUTED, NONE)):
                        first, second = (
                            self._values(method, gain, measure, at),
                            self._values(method, versus, measure, at),
                        )
                        if first is None or second is None:
                            continue
                        told = _paired(np.asarray((first - second).dropna(), np.float64))
                        rows.append(
                            {"method": method, "measure": measure, "at": at, "gain": gain, "versus": versus, **told}
                        )
            columns = ["method", "measure", "at", "gain", "versus", *_paired(np.zeros(0))]
            self._cache["differences"] = pd.DataFrame(rows, columns=columns)
        return self._cache["differences"]

    @property
    def claims(self) -> pd.DataFrame:
        """One row per method and task: whether the prior helps.

        `task` (`labelling`, `grouping`), `over_none`, `over_permuted` (differences), `p` (the larger of the two, 1 for
        a loss), `p_holm`, `verdict`: `helps`, `harms` (is worse than no prior), `any vectors help` (permuted ones do
        too, and the prior no more), `not shown`, or `one seed` (nothing can be said).
        """
        if "claims" not in self._cache:
            rows = []
            for method in self.differences["method"].unique():
                for task, (measure, at) in HEADLINES.items():
                    found = {versus: self.gain(method, measure, at, versus) for versus in (NONE, PERMUTED)}
                    none, permuted = found[NONE], found[PERMUTED]
                    if none is None or permuted is None:
                        continue
                    rows.append(
                        {
                            "method": method,
                            "task": task,
                            "over_none": none["difference"],
                            "over_permuted": permuted["difference"],
                            # A loss speaks for no benefit, however sure: it must not lighten the correction of others.
                            "p": max(one["p"] if one["difference"] > 0 else 1.0 for one in (none, permuted)),
                        }
                    )
            frame = pd.DataFrame(rows, columns=["method", "task", "over_none", "over_permuted", "p"])
            frame["p_holm"] = holm(frame["p"].fillna(1).to_numpy(np.float64)) if len(frame) else []
            frame["verdict"] = [self._verdict(row) for _, row in frame.iterrows()]
            self._cache["claims"] = frame
        return self._cache["claims"]

    def gain(self, method: str, measure: str, at: str, versus: str, *, of: str = PRIOR) -> dict[str, Any] | None:
        """Return a row of `differences`; None where it was not measured."""
        frame = self.differences
        own = frame[
            (frame["method"] == method)
            & (frame["measure"] == measure)
            & (frame["at"] == at)
            & (frame["gain"] == of)
            & (frame["versus"] == versus)
        ]
        return None if own.empty else dict(own.iloc[0])

    def to_frame(self) -> pd.DataFrame:
        """Return `table`."""
        return self.table

    def to_tsv(self) -> str:
        """Return `scores`, a line for each."""
        text: str = self.scores.to_csv(sep="\t", index=False, lineterminator="\n", float_format="%.6f")
        return text

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON object; NaN as null."""
        frames = {"claims": self.claims, "table": self.table, "differences": self.differences, "scores": self.scores}
        return {**self.about, "verdict": self.verdict(), **{name: _records(frame) for name, frame in frames.items()}}

    def verdict(self) -> str:
        """Say in words what the prior adds, for each method, with intervals, and whether that is owed to the text."""
        n = self.about["protocol"]["seeds"]
        lines = [self._expression(), f"In brackets: 95 % intervals over {n} {'seed' if n == 1 else 'seeds'}."]
        lines += [self._sentence(row) for _, row in self.claims.iterrows()]
        if self.claims.empty:
            lines.append("No prior was given: there is nothing to say about one.")
            return "\n".join(lines)
        helped = self.claims[self.claims["verdict"] == "helps"]
        if len(helped):
            named = ", ".join(f"{row.method} ({row.task})" for row in helped.itertuples())
            lines.append(f"On these cells the text helps: {named}.")
        else:
            lines.append("On these cells no benefit of the text is shown.")
        return "\n".join(lines)

    def __str__(self) -> str:
        about = self.about
        held = f", each {about['groups']} held out in turn" if about.get("groups") else ""
        return (
            f"{about['data']}: {about['n_cells']:,} cells, {about['n_types']} types of {about['labels']}{held}; "
            f"{about['protocol']['seeds']} seeds, prior {about['priors']}\n{self.verdict()}"
        )

    def _values(self, method: str, control: str, measure: str, at: str) -> "pd.Series[float] | None":
        key = (method, control, measure, at)
        if method == PRIORS and control == NONE:
            key = (EXPRESSION, NONE, measure, at)
        found: Any = self.by_seed.loc
        return found[key] if key in self.by_seed.index else None

    def _verdict(self, row: "pd.Series[Any]") -> str:
        measure, at = HEADLINES[row["task"]]
        none, permuted = (self.gain(row["method"], measure, at, versus) for versus in (NONE, PERMUTED))
        assert none is not None
        assert permuted is not None
        if np.isnan(none["low"]) or np.isnan(permuted["low"]):
            return "one seed"
        if none["low"] > 0 and permuted["low"] > 0 and row["p_holm"] < 0.05:
            return "helps"
        if none["high"] < 0:
            return "harms"
        any_one = self.gain(row["method"], measure, at, NONE, of=PERMUTED)
        if any_one is not None and none["low"] > 0 and any_one["low"] > 0 and permuted["low"] <= 0:
            return "any vectors help"
        return "not shown"

    def _expression(self) -> str:
        parts = []
        for task, (measure, at) in HEADLINES.items():
            found = self._values(EXPRESSION, NONE, measure, at)
            if found is not None:
                parts.append(f"{task} {_NAMES[measure]} {found.mean():.3f}")
        return f"Expression alone (50 principal components): {', '.join(parts) or 'not measured'}."

    def _sentence(self, row: "pd.Series[Any]") -> str:
        method, task, verdict = row["method"], row["task"], row["verdict"]
        measure, at = HEADLINES[task]
        base = "expression alone" if method == PRIORS else "no prior"
        own, without = (self._values(method, control, measure, at) for control in (PRIOR, NONE))
        assert own is not None
        assert without is not None
        lines = [
            f"{method}, {task}: {_NAMES[measure]} {own.mean():.3f} with the prior, {without.mean():.3f} by {base}."
        ]
        lines.append(f"  The prior adds {self._added(method, measure, at)} {_NAMES[measure]}.")
        if task == "labelling":
            m = min(self.about["protocol"]["m"], key=lambda m: abs(m - 5))
            cells = "cell" if m == 1 else "cells"
            lines.append(f"  At {m} {cells} per type it adds {self._added(method, measure, str(m))}.")
        permuted = self.gain(method, measure, at, PERMUTED)
        assert permuted is not None
        prior = self.gain(method, measure, at, NONE)
        assert prior is not None
        told = "No benefit is shown"
        if verdict == "not shown" and row["p"] < 0.05 and prior["low"] > 0 and permuted["low"] > 0:
            told += " once corrected for the number of claims"
        elif verdict == "not shown" and prior["low"] > 0:
            told += f": it is better than {base}, and cannot be told from permuted priors"
        though = ", though better than permuted priors" if permuted["low"] > 0 else ""
        endings = {
            "helps": "The text helps.",
            "harms": f"It is worse than {base}{though}.",
            "any vectors help": "Vectors help, but not which gene has which text.",
            "not shown": f"{told}.",
            "one seed": "One seed tells nothing about chance.",
        }
        lines.append(f"  Beside permuted priors: {_signed(permuted)}. {endings[verdict]}")
        return "\n".join(lines)

    def _added(self, method: str, measure: str, at: str) -> str:
        """Say what the prior adds to no prior, and what permuted ones do."""
        prior, permuted = (self.gain(method, measure, at, NONE, of=one) for one in (PRIOR, PERMUTED))
        if prior is None or permuted is None:
            return "what was not measured"
        return f"{_signed(prior)}, a permuted prior {_signed(permuted)}"


def _paired(values: NDArray[Any]) -> dict[str, Any]:
    """Return the mean of differences of pairs, the 95 % interval and p of Student's t, two-sided; NaN for one pair."""
    from scipy import stats

    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        nothing = float("nan")
        return {"difference": mean, "sd": nothing, "low": nothing, "high": nothing, "p": nothing, "n_seeds": n}
    sd = float(values.std(ddof=1))
    # Scores that differ by rounding alone do not differ.
    error = max(sd, 1e-12) / np.sqrt(n)
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    p = 1.0 if abs(mean) < 1e-12 else float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return {"difference": mean, "sd": sd, "low": mean - reach, "high": mean + reach, "p": p, "n_seeds": n}


def _signed(row: Mapping[str, Any]) -> str:
    if np.isnan(row["low"]):
        return f"{row['difference']:+.3f}"
    return f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def _key(key: Any) -> tuple[str, ...]:
    return tuple(map(str, key))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict(orient="records")]
