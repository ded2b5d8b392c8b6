"""The result as a figure: macro-F1 over the number of cells of each type, and ARI, a panel for each method."""

from pathlib import Path
from typing import Any

import numpy as np

from cellmodels.eval.bench.protocol import EXPRESSION, NONE, PERMUTED, PRIOR, RANDOM
from cellmodels.eval.bench.report import CellsBenchmark
from cellmodels.eval.bench.scores import FOUND, GIVEN
from genetext import disk
from genetext.bench.figure import require

_LOOKS = {
    PRIOR: ("#1f6fb4", "o", "prior"),
    PERMUTED: ("#d08a2e", "s", "permuted priors"),
    RANDOM: ("#9c6bb0", "^", "random prior"),
    NONE: ("#555555", "D", "no prior"),
}
_BASE = "expression alone"
_WAYS = {GIVEN: "as many as types", FOUND: "number found"}


def draw(benchmark: CellsBenchmark, path: Path) -> None:
    """Draw a benchmark and write it to `path` (png, pdf, svg): means, and 95 % intervals over the seeds."""
    from matplotlib.figure import Figure

    require(path)
    table = benchmark.table
    methods = [one for one in table["method"].unique() if one != EXPRESSION] or [EXPRESSION]
    m = [str(one) for one in benchmark.about["protocol"]["m"]]
    ways = [one for one in (GIVEN, FOUND) if one in set(table["at"])]
    figure = Figure(figsize=(2.6 + 2.6 * len(methods), 5.6), layout="constrained")
    grid: Any = figure.subplots(2, len(methods), squeeze=False, sharey="row")
    for column, method in enumerate(methods):
        upper, lower = grid[:, column]
        for number, (control, (colour, marker, label)) in enumerate(_LOOKS.items()):
            own = table[(table["method"] == method) & (table["control"] == control)]
            if own.empty:
                continue
            _points(upper, own, "macro_f1", m, colour, marker, label, shift=0.06 * number, line=True)
            _points(lower, own, "ari", ways, colour, marker, label, shift=0.12 * number, line=False)
        base = table[(table["method"] == EXPRESSION)]
        if method != EXPRESSION:
            _points(upper, base, "macro_f1", m, "#bbbbbb", "", _BASE, shift=0, line=True)
            _points(lower, base, "ari", ways, "#bbbbbb", "_", _BASE, shift=-0.12, line=False)
        upper.set_title(method, fontsize=10)
        upper.set_xticks(range(len(m)), m, fontsize=8)
        upper.set_xlabel("cells of each type", fontsize=8)
        lower.set_xticks(range(len(ways)), [_WAYS[one] for one in ways], fontsize=8)
        lower.set_xlim(-0.4, len(ways) - 0.3)
        lower.set_visible("ari" in set(table.loc[table["method"] == method, "measure"]))
    grid[0, 0].set_ylabel("macro-F1 of labels")
    grid[1, 0].set_ylabel("ARI of clusters")
    handles, labels = grid[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    about = benchmark.about
    figure.suptitle(
        f"{about['data']}: {about['n_cells']:,} cells, {about['n_types']} types; mean and 95 % interval over "
        f"{about['protocol']['seeds']} seeds",
        fontsize=9,
    )
    with disk.atomic_file(path) as handle:
        figure.savefig(handle, format=path.suffix[1:], dpi=150)


def _points(
    axes: Any, own: Any, measure: str, at: list[str], colour: str, marker: str, label: str, *, shift: float, line: bool
) -> None:
    rows = own[own["measure"] == measure].set_index("at")
    there = [(place, rows.loc[one]) for place, one in enumerate(at) if one in rows.index]
    if not there:
        return
    x = np.array([place for place, _ in there]) + shift
    mean, low, high = (np.array([row[name] for _, row in there], float) for name in ("mean", "low", "high"))
    reach = np.nan_to_num(np.stack([mean - low, high - mean]))
    axes.errorbar(
        x, mean, yerr=reach, color=colour, marker=marker or None, markersize=4, linewidth=1.2,
        linestyle="-" if line else "none", capsize=0, elinewidth=1, label=label,
    )  # fmt: skip
