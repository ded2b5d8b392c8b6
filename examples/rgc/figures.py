"""The figures of the RGC example, as matplotlib figures that belong to no window."""

import base64
import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellmodels.groups.pca import PCA
from genetext.escape import plot_text

_STYLES = {"text": ("-", 2.4), "control": ("--", 1.3), "baseline": (":", 1.8)}


def project(embedding: NDArray[np.float32], *, seed: int = 0, umap: bool = True) -> tuple[NDArray[np.float32], str]:
    """Place cells in a plane; return `(n_cells, 2)` and how: `UMAP`, or `PCA` if umap-learn is absent or unwanted."""
    points = np.nan_to_num(np.asarray(embedding, np.float32))
    if umap and find_spec("umap") is not None:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numba and scikit-learn, about their own future
            from umap import UMAP

            options = {"n_neighbors": min(15, len(points) - 1), "metric": "cosine", "n_jobs": 1}
            return UMAP(**options, random_state=seed).fit_transform(points).astype(np.float32), "UMAP"
    return PCA.fit(points, 2).transform(points), "PCA"


def plane(panels: dict[str, NDArray[np.float32]], labels: NDArray[np.object_], *, title: str) -> Figure:
    """Draw the same cells in several planes, coloured by type; the median cell of a type bears its number."""
    kinds = list(dict.fromkeys(sorted(labels.astype(str), key=_natural)))
    colour = dict(zip(kinds, _colours(len(kinds)), strict=True))
    figure = Figure(figsize=(6 * len(panels), 5.6), layout="constrained")
    for axis, (name, points) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
        axis.scatter(*points.T, c=[colour[kind] for kind in labels.astype(str)], s=4, linewidths=0, rasterized=True)
        for kind in kinds:
            x, y = np.median(points[labels.astype(str) == kind], axis=0)
            number = kind.split("_")[0] if len(kinds) > 12 else kind
            axis.text(x, y, plot_text(number), fontsize=7, ha="center", va="center", fontweight="bold")
        axis.set_title(plot_text(name))
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(plot_text(title))
    return figure


def confusion(known: NDArray[np.object_], given: NDArray[np.object_], kinds: Sequence[str], *, title: str) -> Figure:
    """Draw which share of the cells of a type (row) was given which type (column)."""
    table = pd.crosstab(pd.Series(known.astype(str)), pd.Series(given.astype(str)), normalize="index")
    table = table.reindex(index=kinds, columns=kinds, fill_value=0.0)
    size = max(4.5, 0.19 * len(kinds) + 2)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(table.to_numpy(), vmin=0, vmax=1, cmap="Blues", interpolation="nearest")
    axis.set_xticks(range(len(kinds)), map(plot_text, kinds), rotation=90, fontsize=7)
    axis.set_yticks(range(len(kinds)), map(plot_text, kinds), fontsize=7)
    axis.set_xlabel("classified as")
    axis.set_ylabel("type")
    figure.colorbar(image, ax=axis, shrink=0.6, label="share of the type's cells")
    axis.set_title(plot_text(title))
    return figure


def curves(summaries: dict[str, pd.DataFrame], *, title: str) -> Figure:
    """Draw each arm's mean score against the number of cells per type, with 95 % intervals; one panel per score."""
    figure = Figure(figsize=(5.6 * len(summaries), 4.4), layout="constrained")
    for axis, (score, summary) in zip(
        np.atleast_1d(figure.subplots(1, len(summaries))), summaries.items(), strict=True
    ):
        arms = list(dict.fromkeys(summary["arm"]))
        for place, arm in enumerate(arms):
            part = summary[summary["arm"] == arm].sort_values("m")
            style, width = _STYLES[part["role"].iloc[0]]
            x = part["m"].to_numpy(float) * (1 + 0.015 * (place - len(arms) / 2))  # side by side, not on top
            axis.plot(
                x,
                part["mean"],
                style,
                linewidth=width,
                marker="o",
                markersize=4,
                label=plot_text(arm),
                color=f"C{place}",
            )
            axis.vlines(x, part["low"], part["high"], linewidth=1, color=f"C{place}", alpha=0.7)
        sizes = sorted(summary["m"].unique())
        axis.set_xscale("log")
        axis.set_xticks(sizes, [str(m) for m in sizes])
        axis.set_xticks([], minor=True)
        axis.set_ylim(0, 1)
        axis.set_xlabel("cells per type to learn from (rare types: fewer)")
        axis.set_ylabel(score)
        axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower right")
    figure.suptitle(plot_text(title))
    return figure


def topics(by_type: pd.DataFrame, named: Sequence[str], *, title: str) -> Figure:
    """Draw the mean share of each topic (column) in the cells of each type (row); `named` are names of topics."""
    by_type = by_type.loc[in_order(by_type.index)]
    size = max(5, 0.32 * by_type.shape[1] + 3), max(4, 0.19 * len(by_type) + 2)
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(by_type.to_numpy(), aspect="auto", cmap="viridis", interpolation="nearest")
    axis.set_xticks(range(by_type.shape[1]), map(plot_text, named), rotation=90, fontsize=7)
    axis.set_yticks(range(len(by_type)), map(plot_text, by_type.index), fontsize=7)
    figure.colorbar(image, ax=axis, shrink=0.6, label="mean share of the topic")
    axis.set_title(plot_text(title))
    return figure


def contrast(genes: pd.DataFrame, *, title: str, n: int = 15) -> Figure:
    """Draw the scores of the `n` first genes of each group of types."""
    groups = list(dict.fromkeys(genes["more_in"]))
    figure = Figure(figsize=(4.2 * len(groups), 0.24 * n + 1.2), layout="constrained")
    for axis, group in zip(np.atleast_1d(figure.subplots(1, len(groups))), sorted(groups), strict=True):
        part = genes[genes["more_in"] == group].head(n).iloc[::-1]
        axis.barh(np.arange(len(part)), part["score"], color="tab:blue" if group == "resilient" else "tab:red")
        axis.set_yticks(np.arange(len(part)), map(plot_text, part["gene"]), fontsize=8)
        axis.set_title(f"more in {group} types", fontsize=10)
        axis.set_xlabel("score")
    figure.suptitle(plot_text(title))
    return figure


def data_uri(figure: Figure, *, dpi: int = 110) -> str:
    """Return the figure as a PNG inside a `data:` address, the same bytes for the same figure."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _colours(n: int) -> NDArray[np.float64]:
    """Return `n` colours, neighbours in the list far apart on the wheel."""
    from matplotlib.colors import hsv_to_rgb

    place = np.arange(n)
    hue = (place * 0.61803398875) % 1
    return hsv_to_rgb(np.stack([hue, 0.55 + 0.4 * (place % 2), 0.65 + 0.3 * (place % 3) / 2], axis=1))


def _natural(name: Any) -> tuple[int, str]:
    """Sort `2_...` before `10_...`."""
    first = str(name).split("_")[0]
    return (int(first) if first.isdecimal() else 10**9, str(name))


def in_order(kinds: Sequence[str]) -> list[str]:
    """Return types in the order of their numbers, where they have any."""
    return sorted(map(str, kinds), key=_natural)
