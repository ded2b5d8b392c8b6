"""How well cells are classified after m examples of each type, for several ways to embed a cell.

Everything is compared on the same terms: the same genes, the same cells held out, the same cells to learn from, and
the same classifier, k nearest neighbours by cosine. A way of embedding (an `Arm`) is fitted on the cells to learn from
and embeds those held out without their labels. Repeats differ in the cells that are drawn to learn from, in the seeds
of the models and in those of the controls; the cells held out are the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

SCORES = ("accuracy", "macro_f1", "rare_f1")
RARE = 0.01  # a type is rare below this share of the cells

Embedder = Callable[[Any, NDArray[np.int64], int], NDArray[np.float32]]
"""Given AnnData, the rows to learn from, and a seed: returns `(n_cells, d)` for all cells."""


@dataclass(frozen=True)
class Arm:
    """A way to embed cells.

    Attributes
    ----------
    name
        Short, for tables and legends.
    embed
        See `Embedder`. It may look at the labels of the rows that it is given, and at no others.
    role
        `text` (the real prior), `control` (of the prior: permuted, random, none), or `baseline`.
    note
        What it is, in a sentence.
    family
        Arms of one family differ in the prior alone; empty for baselines.
    """

    name: str
    embed: Embedder
    role: str
    note: str
    family: str = ""


def hold_out(labels: NDArray[np.object_], *, share: float = 0.4, seed: int = 0) -> NDArray[np.bool_]:
    """Choose cells to test on, `(n_cells,) bool`: of each type that share, one at least, and one at least left.

    A type of a single cell cannot be tested; its cell is not held out.
    """
    rng = np.random.default_rng([seed, 11])
    held = np.zeros(len(labels), bool)
    for kind in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == kind))
        held[rows[: min(len(rows) - 1, max(1, round(share * len(rows))))]] = True
    return held


def draw(labels: NDArray[np.object_], held: NDArray[np.bool_], m: int, *, seed: int) -> NDArray[np.int64]:
    """Draw up to `m` cells of each type to learn from, never one held out; rare types may have fewer."""
    rng = np.random.default_rng([seed, 12, m])
    drawn = [rng.permutation(np.flatnonzero((labels == kind) & ~held))[:m] for kind in np.unique(labels)]
    return np.sort(np.concatenate(drawn))


def classify(
    embedding: NDArray[np.float32], labels: NDArray[np.object_], train: NDArray[np.int64], *, k: int
) -> NDArray[np.object_]:
    """Return the label of every cell by its `k` nearest neighbours among `train`, the nearer ones weighing more."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import normalize

    points = normalize(np.nan_to_num(embedding))  # among unit vectors Euclidean order is cosine order
    voters = KNeighborsClassifier(min(k, len(train)), weights="distance").fit(points[train], labels[train].astype(str))
    return voters.predict(points).astype(object)


def score(known: NDArray[np.object_], found: NDArray[np.object_], rare: Sequence[str]) -> dict[str, float]:
    """Return accuracy, macro-F1, and macro-F1 over the rare types (NaN where there are none)."""
    from sklearn.metrics import accuracy_score, f1_score

    known, found = known.astype(str), found.astype(str)
    kinds = np.unique(known)
    f1 = pd.Series(f1_score(known, found, labels=kinds, average=None, zero_division=0.0), index=kinds)
    few = [kind for kind in rare if kind in f1.index]
    return {
        "accuracy": float(accuracy_score(known, found)),
        "macro_f1": float(f1.mean()),
        "rare_f1": float(f1[few].mean()) if few else np.nan,
    }


def curves(
    adata: Any,
    labels: NDArray[np.object_],
    arms: Sequence[Arm],
    *,
    sizes: Sequence[int] = (2, 5, 10, 20, 50),
    repeats: int = 3,
    k: int = 5,
    seed: int = 0,
    tell: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Score every arm at every number of cells per type, `repeats` times.

    Returns
    -------
    pandas.DataFrame
        One row per arm, m and repeat: `arm`, `role`, `m`, `repeat`, `n_train`, `n_test`, and `SCORES`.
    """
    held = hold_out(labels, seed=seed)
    share = pd.Series(labels).value_counts(normalize=True)
    rare = [str(kind) for kind in share.index[share < RARE]]
    rows = []
    for m in sizes:
        for repeat in range(repeats):
            train = draw(labels, held, m, seed=seed + repeat)
            for arm in arms:
                embedding = arm.embed(adata, train, seed + repeat)
                found = classify(embedding, labels, train, k=min(k, m))
                rows.append(
                    {
                        "arm": arm.name,
                        "role": arm.role,
                        "m": m,
                        "repeat": repeat,
                        "n_train": len(train),
                        "n_test": int(held.sum()),
                        **score(labels[held], found[held], rare),
                    }
                )
                if tell is not None:
                    tell(f"m={m:<3} repeat {repeat + 1}/{repeats}  {arm.name:<28} macro-F1 {rows[-1]['macro_f1']:.3f}")
    return pd.DataFrame(rows)


def interval(values: NDArray[np.float64], *, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean, and bounds of its t interval; NaN bounds for fewer than two values."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return mean, mean - float(half), mean + float(half)


def summarise(table: pd.DataFrame, score: str = "macro_f1") -> pd.DataFrame:
    """Return `arm`, `role`, `m`, `mean`, `low`, `high` (95 % t interval over repeats) in the order of the arms."""
    rows = []
    for (arm, m), part in table.groupby(["arm", "m"], sort=False):
        mean, low, high = interval(part[score].to_numpy(float))
        rows.append({"arm": arm, "role": part["role"].iloc[0], "m": m, "mean": mean, "low": low, "high": high})
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
            mean, low, high = interval(values.to_numpy(float))
            rows.append({"against": other, "role": roles[other], "m": m, "difference": mean, "low": low, "high": high})
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
    found = differences(table, of, score)
    said = []
    for other, called in names.items():
        part = found[(found["against"] == other) & (found["m"] == 0)].iloc[0]
        by_m = found[(found["against"] == other) & (found["m"] > 0)]
        if np.isnan(part["low"]):
            said.append(f"Against {called}: {part['difference']:+.3f} in one repeat, which decides nothing.")
            continue
        sure = part["low"] > 0 or part["high"] < 0
        outcome = (
            ("better" if part["difference"] > 0 else "worse") if sure else "no difference that chance would not give"
        )
        most = by_m.loc[by_m["difference"].abs().idxmax()]
        said.append(
            f"Against {called}: {outcome} ({part['difference']:+.3f} over all m, 95 % interval {part['low']:+.3f} to "
            f"{part['high']:+.3f}; furthest apart at m = {most['m']:.0f}, {most['difference']:+.3f})."
        )
    return said


def conclusion(table: pd.DataFrame, of: str, controls: Sequence[str], score: str = "macro_f1") -> str:
    """Say whether the text did it: only where the prior beats every control that has vectors, too."""
    found = differences(table, of, score).query("m == 0").set_index("against").loc[list(controls)]
    if found["low"].isna().any():
        return "One repeat decides nothing about the text."
    ahead = found.index[found["low"] > 0]
    behind = found.index[~(found["low"] > 0)]
    if not len(behind):
        return "The text helps: the prior beats every control, with intervals that exclude 0."
    if len(ahead):
        return (
            f"This does not show that the text helps: the prior is ahead of {' and '.join(ahead)}, but not of "
            f"{' and '.join(behind)}, so what is gained need not come from what is written about the genes."
        )
    return "This does not show that the text helps: the prior is not ahead of any of its controls."


def pca(n: int = 50, *, fitted_on: NDArray[np.int64] | None = None) -> Embedder:
    """Principal components of log-normalised expression, fitted on the cells to learn from, or on given rows.

    Components never need labels, so cells without any may serve too: pass every cell that is not held out.
    """

    def embed(adata: Any, train: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
        from sklearn.decomposition import PCA

        x = normalised(adata)
        rows = train if fitted_on is None else fitted_on
        found = PCA(min(n, len(rows) - 1, x.shape[1]), svd_solver="arpack", random_state=seed).fit(x[rows])
        return found.transform(x).astype(np.float32)

    return embed


def normalised(adata: Any) -> NDArray[np.float32]:
    """Return `log(1 + counts per 10,000)`, dense `(n_cells, n_genes)`: an example's data are small."""
    import scipy.sparse

    x = np.asarray(scipy.sparse.csr_matrix(adata.X).todense(), dtype=np.float32)
    return np.log1p(1e4 * x / np.maximum(x.sum(axis=1, keepdims=True), 1))
