"""Which differences chance would not give: intervals, tests of pairs, and their correction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_ROUNDING = 1e-12
"""Scores are means of a few folds or cells: what differs by less is equal."""


def interval(values: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of `values`, `(n,)`: percentiles of means drawn anew."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def signed_rank(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the two-sided p value of the Wilcoxon signed-rank test over pairs; 1 where none differs."""
    from scipy.stats import wilcoxon

    differences = np.round(np.asarray(a) - np.asarray(b), 12)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    tied = len(np.unique(np.abs(differences))) < len(differences)
    method = "exact" if len(differences) <= 50 and not tied else "asymptotic"
    return float(wilcoxon(differences, method=method).pvalue)


def paired_t(differences: NDArray[Any]) -> dict[str, Any]:
    """Return the mean of differences of pairs, `(n,)`, and what Student's t says of it.

    Keys are `difference`, `sd`, `low`, `high` (95 %), `p` (two-sided) and `n_seeds`; all but the first and the last are
    NaN where there is one pair.
    """
    from scipy import stats

    n = len(differences)
    mean = float(differences.mean()) if n else float("nan")
    if n < 2:
        return {"difference": mean, **dict.fromkeys(("sd", "low", "high", "p"), float("nan")), "n_seeds": n}
    sd = float(differences.std(ddof=1))
    error = max(sd, _ROUNDING) / np.sqrt(n)
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    p = 1.0 if abs(mean) < _ROUNDING else float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return {"difference": mean, "sd": sd, "low": mean - reach, "high": mean + reach, "p": p, "n_seeds": n}


def holm(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p values adjusted by Holm's step-down method (1979), in the order given."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
