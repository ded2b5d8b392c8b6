"""The result as a figure: the headline of every task, a row of panels for each, and a column for each method."""

from pathlib import Path
from typing import Any

import numpy as np

from cellmodels.eval.bench.protocol import EXPRESSION, NONE, PERMUTED, PRIOR, RANDOM
from cellmodels.eval.bench.registry import TASKS
from cellmodels.eval.bench.report import CellsBenchmark
from genetext.bench.figure import require, save
from genetext.escape import plot_text

_LOOKS = {
    PRIOR: ("#1f6fb4", "o", "prior"),
    PERMUTED: ("#d08a2e", "s", "permuted priors"),
    RANDOM: ("#9c6bb0", "^", "random prior"),
    NONE: ("#555555", "D", "no prior"),
}
_BASE = "expression alone"


def draw(benchmark: CellsBenchmark, path: Path) -> None:
    """Draw a benchmark and write it to `path` (png, pdf, svg): means, and 95 % intervals over the seeds."""
    from matplotlib.figure import Figure

    require(path)
    table, about = benchmark.table, benchmark.about
    methods = [method for method in table["method"].unique() if method != EXPRESSION] or [EXPRESSION]
    figure = Figure(figsize=(2.6 + 2.6 * len(methods), 2.8 * len(TASKS)), layout="constrained")
    grid: Any = figure.subplots(len(TASKS), len(methods), squeeze=False, sharey="row")
    for axes, method in zip(grid[0], methods, strict=True):
        axes.set_title(plot_text(method), fontsize=10)
    for row, task in zip(grid, TASKS.values(), strict=True):
        scored = table[table["measure"] == task.measure]
        places = {at: label for at, label in task.places(about).items() if at in set(scored["at"])}
        row[0].set_ylabel(task.axis[1])
        for axes, method in zip(row, methods, strict=True):
            of_method = scored[scored["method"] == method]
            axes.set_visible(not of_method.empty)
            axes.set_xticks(range(len(places)), list(places.values()), fontsize=8)
            axes.set_xlim(-0.4, len(places) - 0.3)
            axes.set_xlabel(task.axis[0], fontsize=8)
            for number, (control, (colour, marker, label)) in enumerate(_LOOKS.items()):
                rows = of_method[of_method["control"] == control]
                _points(axes, rows, list(places), colour, marker, label, shift=0.08 * number, line=task.line)
            if method != EXPRESSION:
                rows = scored[scored["method"] == EXPRESSION]
                marker = "" if task.line else "_"
                _points(
                    axes, rows, list(places), "#bbbbbb", marker, _BASE, shift=-0.08 * (not task.line), line=task.line
                )
    handles, labels = grid[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.suptitle(
        f"{plot_text(about['data'])}: {about['n_cells']:,} cells, {about['n_types']} types; mean and 95 % interval "
        f"over {about['protocol']['seeds']} seeds",
        fontsize=9,
    )
    save(figure, path)


def _points(
    axes: Any, rows: Any, places: list[str], colour: str, marker: str, label: str, *, shift: float, line: bool
) -> None:
    by_place = rows.set_index("at")
    measured = [(x, by_place.loc[at]) for x, at in enumerate(places) if at in by_place.index]
    if not measured:
        return
    x = np.array([x for x, _ in measured]) + shift
    mean, low, high = (np.array([row[name] for _, row in measured], float) for name in ("mean", "low", "high"))
    reach = np.nan_to_num(np.stack([mean - low, high - mean]))
    axes.errorbar(
        x, mean, yerr=reach, color=colour, marker=marker or None, markersize=4, linewidth=1.2,
        linestyle="-" if line else "none", capsize=0, elinewidth=1, label=label,
    )  # fmt: skip
