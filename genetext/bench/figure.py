"""The table as a figure: one dot per term, the mean and its interval per method. And what all figures share."""

from pathlib import Path
from typing import Any

import numpy as np

from genetext import disk
from genetext.bench.report import Benchmark
from genetext.errors import BenchError
from genetext.escape import plot_text

SUFFIXES = (".png", ".pdf", ".svg")


def require(path: Path) -> None:
    """Raise `BenchError` where a figure could not be drawn or its form is not known, before any work is done."""
    import importlib.util

    if path.suffix not in SUFFIXES:
        raise BenchError(f"cannot tell the form of {path.name}: name it {', '.join(SUFFIXES)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchError('figures need matplotlib: pip install "genetext[plots]"')


def save(figure: Any, path: Path) -> None:
    """Write a matplotlib figure to `path` in the form that its suffix tells."""
    with disk.atomic_file(path) as handle:
        figure.savefig(handle, format=path.suffix[1:], dpi=150)


def draw(benchmark: Benchmark, path: Path) -> None:
    """Draw a benchmark and write it to `path` (png, pdf, svg)."""
    from matplotlib.figure import Figure

    require(path)
    table, wide, about = benchmark.table, benchmark.wide, benchmark.about
    figure = Figure(figsize=(8, 1.2 + 0.38 * len(table)), layout="constrained")
    axes: Any = figure.add_subplot()
    jitter = np.random.default_rng(benchmark.seed).uniform(-0.22, 0.22, size=len(wide))
    for y, row in enumerate(table.itertuples()):
        colour = "#888888" if row.control else "#1f6fb4"
        axes.scatter(wide[row.method], y + jitter, s=7, color=colour, alpha=0.45, linewidths=0)
        axes.plot([row.low, row.high], [y, y], color="black", linewidth=2.4, solid_capstyle="butt")
        axes.plot([row.auroc], [y], marker="o", markersize=5, color="black")
        axes.annotate(f"{row.auroc:.3f}", (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes.axvline(0.5, color="#bbbbbb", linewidth=1, zorder=0)
    axes.set_yticks(
        range(len(table)), [f"{plot_text(row.method)} ({row.dim})" for row in table.itertuples()], fontsize=8
    )
    axes.invert_yaxis()
    axes.set_xlabel("AUROC on held-out genes\none dot per term; mean and 95 % interval")
    axes.set_title(f"{plot_text(about['tasks'])}: {about['n_terms']:,} terms, {about['n_genes']:,} genes", fontsize=10)
    save(figure, path)
