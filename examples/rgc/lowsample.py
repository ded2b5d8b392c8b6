"""How well cells are classified after m examples of each type, for several ways to embed a cell.

Everything is compared on the same terms (`cellmodels.eval.low_sample`): the same genes, the same cells to learn from,
the same other cells to name, and the same classifier, nearest neighbours by cosine. A way of embedding (an `Arm`) is
given the labels of the cells to learn from and no others. Repeats differ in the cells drawn, in the seeds of the
models and in those of the controls.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellmodels.eval.low_sample import Make, draws, low_sample_curve
from cellmodels.groups.knn_classifier import KNNClassifier
from genetext.bench.statistics import paired_t

SCORES = ("accuracy", "macro_f1", "rare_f1")
RARE = 0.01  # a type is rare below this share of the cells


@dataclass(frozen=True)
class Arm:
    """A way to embed cells.

    Attributes
    ----------
    name
        Short, for tables and legends.
    make
        Called with the rows to learn from, their labels (None for all other cells) and a seed; returns `(n_cells, d)`.
    role
        `text` (the real prior), `control` (of the prior: permuted, random, none), or `baseline`.
    note
        What it is, in a sentence.
    family
        Arms of one family differ in the prior alone; empty for baselines.
    """

    name: str
    make: Make
    role: str
    note: str
    family: str = ""


def curves(
    labels: NDArray[np.object_],
    arms: Sequence[Arm],
    *,
    sizes: Sequence[int] = (2, 5, 10, 20, 50),
    repeats: int = 5,
    seed: int = 0,
    log: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Score every arm at every number of cells per type, `repeats` times.

    Parameters
    ----------
    labels
        `(n_cells,)`, the type of each cell.
    arms
        What to compare.
    sizes
        Cells of each type to learn from; a rare type gives half of its cells at most.
    repeats, seed
        Draws, with the seeds `seed`, `seed + 1` ...
    log
        Gets a line after each arm.

    Returns
    -------
    pandas.DataFrame
        One row per arm, m and repeat: `arm`, `role`, `m`, `repeat`, `n_train`, `n_test`, and `SCORES`; `rare_f1` is
        the mean F1 of types below `RARE` of the cells, NaN where there are none.
    """
    share = pd.Series(labels.astype(str)).value_counts(normalize=True)
    rare = set(share.index[share < RARE])
    parts = []
    for arm in arms:
        curve = low_sample_curve(arm.make, labels, m=sizes, seeds=range(seed, seed + repeats), per_class=True)
        means = curve[curve["label"] == ""].assign(arm=arm.name, role=arm.role, repeat=lambda rows: rows["seed"] - seed)
        rare_f1 = curve[curve["label"].isin(rare)].groupby(["m", "seed"])["f1"].mean().rename("rare_f1")
        parts.append(means.merge(rare_f1, on=["m", "seed"], how="left"))
        if log is not None:
            by_m = means.groupby("m")["macro_f1"].mean()
            log(f"{arm.name:<28} macro-F1 " + ", ".join(f"{value:.3f} (m={m})" for m, value in by_m.items()))
    return pd.concat(parts, ignore_index=True)[["arm", "role", "m", "repeat", "n_train", "n_test", *SCORES]]


@dataclass(frozen=True)
class Named:
    """Cells that an arm named without having seen them.

    Attributes
    ----------
    rows
        Which cells, `(n_tested,)`.
    given
        The types that they were given; empty where none could be.
    embedding
        Of all cells, `(n_cells, d)`.
    """

    rows: NDArray[np.int64]
    given: NDArray[np.object_]
    embedding: NDArray[np.float32]


def name_cells(labels: NDArray[np.object_], arm: Arm, m: int, *, seed: int = 0, k: int = 5) -> Named:
    """Let an arm learn from `m` cells of each type and name the others, as one draw of `curves` does."""
    (drawn,) = draws(labels, m=[m], seeds=[seed])
    known = np.full(len(labels), None, dtype=object)
    known[drawn.train] = labels[drawn.train]
    embedding = arm.make(drawn.train, known, seed)
    predictions = KNNClassifier.fit(embedding[drawn.train], labels[drawn.train], k=min(k, m)).predict(
        embedding[drawn.test]
    )
    given = predictions["label"].map(lambda label: "" if label is None else label).to_numpy(object)
    return Named(drawn.test, given, embedding)


def summarise(table: pd.DataFrame, score: str = "macro_f1") -> pd.DataFrame:
    """Return `arm`, `role`, `m`, `mean`, `low`, `high` (95 % t interval over repeats) in the order of the arms."""
    rows = []
    for (arm, m), part in table.groupby(["arm", "m"], sort=False):
        t = paired_t(part[score].to_numpy(float))
        row = {"arm": arm, "role": part["role"].iloc[0], "m": m, "mean": t["difference"], "low": t["low"]}
        rows.append({**row, "high": t["high"]})
    return pd.DataFrame(rows)


def differences(table: pd.DataFrame, of: str, score: str = "macro_f1") -> pd.DataFrame:
    """Compare one arm with each other one, repeat by repeat.

    Returns
    -------
    pandas.DataFrame
        `against`, `role`, `m`, `difference` (positive: `of` is better), `low`, `high` (95 % t interval over repeats),
        and `over` (all m together: their mean per repeat) as rows with `m` 0.
    """
    wide = table.pivot_table(index=["m", "repeat"], columns="arm", values=score, sort=False, dropna=False)
    roles = table.drop_duplicates("arm").set_index("arm")["role"]
    rows = []
    for other in wide.columns.drop(of):
        apart = wide[of] - wide[other]
        for m, values in {**{m: apart.loc[m] for m in wide.index.levels[0]}, 0: apart.groupby("repeat").mean()}.items():
            t = paired_t(values.to_numpy(float))
            row = {"against": other, "role": roles[other], "m": m, "difference": t["difference"]}
            rows.append({**row, "low": t["low"], "high": t["high"]})
    return pd.DataFrame(rows)


def verdict(table: pd.DataFrame, of: str, names: Mapping[str, str], score: str = "macro_f1") -> list[str]:
    """Say in sentences whether the arm `of` beat each of the others named, and with what certainty.

    Parameters
    ----------
    table
        From `curves`.
    of
        The arm with the real prior.
    names
        For each arm to compare with, how a sentence calls it.
    """
    apart = differences(table, of, score)
    sentences = []
    for other, called in names.items():
        part = apart[(apart["against"] == other) & (apart["m"] == 0)].iloc[0]
        by_m = apart[(apart["against"] == other) & (apart["m"] > 0)]
        if np.isnan(part["low"]):
            sentences.append(f"Against {called}: {part['difference']:+.3f} in one repeat, which decides nothing.")
            continue
        sure = part["low"] > 0 or part["high"] < 0
        outcome = ("better" if part["difference"] > 0 else "worse") if sure else "no clear difference"
        most = by_m.loc[by_m["difference"].abs().idxmax()]
        sentences.append(
            f"Against {called}: {outcome} ({part['difference']:+.3f} over all m, 95 % interval {part['low']:+.3f} to "
            f"{part['high']:+.3f}; furthest apart at m = {most['m']:.0f}, {most['difference']:+.3f})."
        )
    return sentences


def conclusion(table: pd.DataFrame, of: str, controls: Sequence[str], score: str = "macro_f1") -> str:
    """Say whether the text did it: only where the prior beats every control that has vectors, too."""
    overall = differences(table, of, score).query("m == 0").set_index("against").loc[list(controls)]
    if overall["low"].isna().any():
        return "One repeat decides nothing about the text."
    ahead = overall.index[overall["low"] > 0]
    behind = overall.index[~(overall["low"] > 0)]
    if not len(behind):
        return "The text helps: the prior beats every control, with intervals that exclude 0."
    if len(ahead):
        return (
            f"This does not show that the text helps: the prior is ahead of {' and '.join(ahead)}, but not of "
            f"{' and '.join(behind)}, so what is gained need not come from what is written about the genes."
        )
    worse = overall.index[overall["high"] < 0]
    harm = f", and behind {' and '.join(worse)}" if len(worse) else ""
    return f"This does not show that the text helps: the prior is not ahead of any of its controls{harm}."
