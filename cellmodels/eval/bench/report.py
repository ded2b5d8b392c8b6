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
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from cellmodels.eval.bench.protocol import EXPRESSION, NONE, PERMUTED, PRIOR, PRIORS, RANDOM
from cellmodels.eval.bench.registry import TASKS
from cellmodels.eval.bench.task import MEAN
from genetext.bench.report import Report
from genetext.bench.statistics import holm, paired_t

_COMPARED = ((PRIOR, NONE), (PRIOR, PERMUTED), (PRIOR, RANDOM), (PERMUTED, NONE))


@dataclass(frozen=True, eq=False)
class CellsBenchmark(Report):
    """What came out.

    Attributes
    ----------
    scores
        One row per embedding and score: `method`, `control`, `seed`, `draw`, `measure`, `at` (cells of each type, or
        `K given`, `K found`), `value`.
    about
        Data, types, priors, protocol, models.
    """

    TABLES = ("claims", "table", "differences", "scores")

    @cached_property
    def by_seed(self) -> pd.DataFrame:
        """Scores of each seed, draws averaged: index `method`, `control`, `measure`, `at`; a column per seed.

        The mean of macro-F1 and of accuracy over all numbers of cells is there too, at `mean`.
        """
        averaged = [measure for task in TASKS.values() for measure in task.averaged]
        keys = ["method", "control", "seed", "draw", "measure"]
        means = self.scores[self.scores["measure"].isin(averaged)].groupby(keys, sort=False)["value"].mean()
        scores = pd.concat([self.scores, means.reset_index().assign(at=MEAN)], ignore_index=True)
        index = ["method", "control", "measure", "at"]
        return scores.pivot_table(index=index, columns="seed", values="value", sort=False)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per method, control and measure: `mean`, `sd` over seeds, `low`, `high` (95 %), `n_seeds`."""
        rows = [paired_t(values) for values in self.by_seed.to_numpy(np.float64)]
        frame = pd.DataFrame(rows, index=self.by_seed.index).drop(columns="p").rename(columns={"difference": "mean"})
        return frame.reset_index()

    @cached_property
    def differences(self) -> pd.DataFrame:
        """What the prior adds: one row per method, measure and `versus`.

        `versus` is `permuted`, `random` or `none` (no prior); for averaged gene vectors, which are nothing without a
        prior, `none` is expression alone. `gain` is the prior's: `difference`, `sd`, `low`, `high` (95 %), `p`,
        `n_seeds`. Rows with `gain` = `permuted` are what permuted priors add over none.
        """
        rows = []
        for method in self.by_seed.index.unique("method").drop(EXPRESSION, errors="ignore"):
            for measure, at in self.by_seed.loc[method].index.droplevel("control").unique():
                if measure == "n_clusters":
                    continue
                for gain, versus in _COMPARED:
                    first, second = (self._values(method, control, measure, at) for control in (gain, versus))
                    if first is None or second is None:
                        continue
                    paired = paired_t(np.asarray((first - second).dropna(), np.float64))
                    rows.append(
                        {"method": method, "measure": measure, "at": at, "gain": gain, "versus": versus, **paired}
                    )
        columns = ["method", "measure", "at", "gain", "versus", *paired_t(np.zeros(0))]
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """One row per method and task: whether the prior helps.

        `task` (`labelling`, `grouping`), `over_none`, `over_permuted` (differences), `p` (the larger of the two, 1 for
        a loss), `p_holm`, `verdict`: `helps`, `harms` (is worse than no prior), `any vectors help` (permuted ones do
        too, and the prior no more), `not shown`, or `one seed` (nothing can be said).
        """
        rows = []
        for method in self.differences["method"].unique():
            for task in TASKS.values():
                none, permuted = (self.gain(method, task.measure, task.at, versus) for versus in (NONE, PERMUTED))
                if none is None or permuted is None:
                    continue
                rows.append(
                    {
                        "method": method,
                        "task": task.name,
                        "over_none": none["difference"],
                        "over_permuted": permuted["difference"],
                        # A loss speaks for no benefit, however sure: it must not lighten the correction of others.
                        "p": max(gain["p"] if gain["difference"] > 0 else 1.0 for gain in (none, permuted)),
                    }
                )
        frame = pd.DataFrame(rows, columns=["method", "task", "over_none", "over_permuted", "p"])
        frame["p_holm"] = holm(frame["p"].fillna(1).to_numpy(np.float64)) if len(frame) else []
        frame["verdict"] = [self._verdict(row) for _, row in frame.iterrows()]
        return frame

    def gain(self, method: str, measure: str, at: str, versus: str, *, of: str = PRIOR) -> dict[str, Any] | None:
        """Return a row of `differences`; None where it was not measured."""
        frame = self.differences
        rows = frame[
            (frame["method"] == method)
            & (frame["measure"] == measure)
            & (frame["at"] == at)
            & (frame["gain"] == of)
            & (frame["versus"] == versus)
        ]
        return None if rows.empty else dict(rows.iloc[0])

    def to_frame(self) -> pd.DataFrame:
        """Return `table`."""
        return self.table

    def to_json(self) -> dict[str, Any]:
        """Return everything, the verdict too, as one JSON object; NaN as null."""
        return {**super().to_json(), "verdict": self.verdict()}

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
        rows: Any = self.by_seed.loc
        return rows[key] if key in self.by_seed.index else None

    def _verdict(self, row: "pd.Series[Any]") -> str:
        task = TASKS[row["task"]]
        none, permuted = (self.gain(row["method"], task.measure, task.at, versus) for versus in (NONE, PERMUTED))
        assert none is not None
        assert permuted is not None
        if np.isnan(none["low"]) or np.isnan(permuted["low"]):
            return "one seed"
        if none["low"] > 0 and permuted["low"] > 0 and row["p_holm"] < 0.05:
            return "helps"
        if none["high"] < 0:
            return "harms"
        of_any = self.gain(row["method"], task.measure, task.at, NONE, of=PERMUTED)
        if of_any is not None and none["low"] > 0 and of_any["low"] > 0 and permuted["low"] <= 0:
            return "any vectors help"
        return "not shown"

    def _expression(self) -> str:
        parts = []
        for task in TASKS.values():
            values = self._values(EXPRESSION, NONE, task.measure, task.at)
            if values is not None:
                parts.append(f"{task.name} {task.measure_name} {values.mean():.3f}")
        return f"Expression alone (50 principal components): {', '.join(parts) or 'not measured'}."

    def _sentence(self, row: "pd.Series[Any]") -> str:
        method, task, verdict = row["method"], TASKS[row["task"]], row["verdict"]
        measure, at = task.measure, task.at
        base = "expression alone" if method == PRIORS else "no prior"
        with_prior, without = (self._values(method, control, measure, at) for control in (PRIOR, NONE))
        assert with_prior is not None
        assert without is not None
        lines = [
            f"{method}, {task.name}: {task.measure_name} {with_prior.mean():.3f} with the prior, "
            f"{without.mean():.3f} by {base}.",
            f"  The prior adds {self._added(method, measure, at)} {task.measure_name}.",
        ]
        if task.detail is not None:
            place, words = task.detail(self.about)
            lines.append(f"  {words} it adds {self._added(method, measure, place)}.")
        permuted, prior = (self.gain(method, measure, at, versus) for versus in (PERMUTED, NONE))
        assert permuted is not None
        assert prior is not None
        unshown = "No benefit is shown"
        if verdict == "not shown" and row["p"] < 0.05 and prior["low"] > 0 and permuted["low"] > 0:
            unshown += " once corrected for the number of claims"
        elif verdict == "not shown" and prior["low"] > 0:
            unshown += f": it is better than {base}, and cannot be told from permuted priors"
        though = ", though better than permuted priors" if permuted["low"] > 0 else ""
        endings = {
            "helps": "The text helps.",
            "harms": f"It is worse than {base}{though}.",
            "any vectors help": "Vectors help, but not which gene has which text.",
            "not shown": f"{unshown}.",
            "one seed": "One seed tells nothing about chance.",
        }
        lines.append(f"  Beside permuted priors: {_signed(permuted)}. {endings[verdict]}")
        return "\n".join(lines)

    def _added(self, method: str, measure: str, at: str) -> str:
        """Say what the prior adds to no prior, and what permuted ones do."""
        prior, permuted = (self.gain(method, measure, at, NONE, of=gain) for gain in (PRIOR, PERMUTED))
        if prior is None or permuted is None:
            return "what was not measured"
        return f"{_signed(prior)}, a permuted prior {_signed(permuted)}"


def _signed(row: Mapping[str, Any]) -> str:
    if np.isnan(row["low"]):
        return f"{row['difference']:+.3f}"
    return f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
