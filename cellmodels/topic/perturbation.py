"""Perturbation of topics: move some topics of cells, decode, and compare with what truly changed.

Topics `S` of a cell with latent values `z` and shares `theta = softmax(z)` are moved in one of three ways:

    mean     z_k = mean of z_k over the target cells                                    for k in S
    shift    z_k + (mean of z_k over the target cells - mean over the cells moved)      for k in S
    scale    z_k + log s, that is  theta'_k = s theta_k / N  for k in S,  theta'_j = theta_j / N  for the others,
             N = 1 + (s - 1) sum of theta_k over S

So `s = 1` changes nothing, `s = 0` removes the topics (their share is 0, the others keep their proportions), and for
any `s` below 1 their share falls in every cell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cellmodels.data.inputs import CellMatrix
from cellmodels.eval.topic_metrics import topic_association
from cellmodels.topic.network import TopicNetwork
from genetext.errors import ModelError, first_ten

Move = Literal["mean", "shift"]
Draw = Literal["towards", "dealt"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Perturbation:
    """What moving some topics does to expression.

    Attributes
    ----------
    topics
        Which topics were moved.
    genes
        `(n_genes,)`: names.
    predicted
        `(n_genes,)`: mean change of log-normalised expression that the decoder tells.
    true
        `(n_genes,)`: difference of the means of the target cells and the cells moved; None without target cells.
    cosine
        Of `predicted` and `true`; NaN without target cells. It does not see how far the cells were moved.
    along
        How much of the true change is predicted: `<predicted, true> / <true, true>`; 1 at best.
    r2
        Coefficient of determination of the predicted means of the genes that truly changed most; it can be negative.
    r2_unmoved
        The same if nothing is predicted to change.
    random
        One row per draw of as many topics at random: `cosine`, `along`, `r2`, and `kind`. `towards`: other topics,
        moved towards the target cells as these were; they too point where the target lies. `dealt`: any topics, which
        get the shifts of these, dealt out anew; with `scale`, there are only the former. Empty if none were drawn.
    """

    topics: tuple[int, ...]
    genes: NDArray[np.object_] = field(repr=False)
    predicted: Floats = field(repr=False)
    true: Floats | None = field(repr=False)
    cosine: float
    along: float
    r2: float
    r2_unmoved: float
    random: pd.DataFrame = field(repr=False)

    def p_random(self, measure: Literal["cosine", "along", "r2"] = "cosine", *, kind: Draw = "towards") -> float:
        """Return the share of the draws of a kind, these topics among them, that do as well; NaN if there are none."""
        drawn = self.random.loc[self.random["kind"] == kind, measure]
        if drawn.empty:
            return float("nan")
        return float((1 + (drawn >= getattr(self, measure)).sum()) / (1 + len(drawn)))

    def moved(self, n: int = 20, *, up: bool = True) -> pd.DataFrame:
        """Return the genes that move most: `gene`, `predicted`, `true`."""
        order = np.argsort(-self.predicted if up else self.predicted, kind="stable")[:n]
        true = np.full(len(self.genes), np.nan) if self.true is None else self.true
        return pd.DataFrame({"gene": self.genes[order], "predicted": self.predicted[order], "true": true[order]})


def scaled(latent: Floats, topics: Sequence[int] | NDArray[np.int64], scale: float) -> Floats:
    """Multiply the shares of topics by a factor before they are made to sum to 1 again.

    Parameters
    ----------
    latent
        `(n_cells, K)`: latent means, whose softmax is the shares.
    topics
        Which.
    scale
        The factor, 0 or more.

    Returns
    -------
    `(n_cells, K) float64`: latent means; `-inf` for topics that are removed.
    """
    moved = np.array(latent, np.float64)
    moved[:, list(topics)] += np.log(scale) if scale > 0 else -np.inf
    return moved


def differing_topics(latent: NDArray[Any], other: NDArray[Any]) -> pd.DataFrame:
    """Compare topics of two sets of cells.

    Parameters
    ----------
    latent, other
        `(n_cells, K)` each: latent means.

    Returns
    -------
    A row per topic, the largest difference first: `topic`, `difference` (mean of `other` less mean of `latent`), `auc`,
    `p`, `fdr` (two-sided Mann-Whitney test, Benjamini-Hochberg over the topics), and `differs`: `fdr < 0.05` and a
    difference above 1, the paper's rule.
    """
    labels = np.repeat(["from", "to"], [len(latent), len(other)])
    table = topic_association(np.concatenate([latent, other]), labels)
    # Of two sets each test stands there twice, with its sign turned.
    table = table[table["type"] == "to"].drop(columns="type")
    table["differs"] = (table["fdr"] < 0.05) & (table["difference"].abs() > 1)
    return table.sort_values("difference", key=lambda values: -values.abs(), kind="stable", ignore_index=True)


def perturb(
    network: TopicNetwork,
    cells: CellMatrix,
    target: CellMatrix | None,
    *,
    genes: NDArray[np.object_],
    latent: Callable[[CellMatrix, torch.device], NDArray[np.float32]],
    topics: Sequence[int] | None,
    scale: float | None,
    how: Move,
    n_random: int,
    n_top: int,
    seed: int,
) -> Perturbation:
    """Do what `TopicModel.perturb` says."""
    if target is None and scale is None:
        raise ModelError("perturb() needs towards=, the cells to move towards, or scale=, a factor")
    if how not in ("mean", "shift"):
        raise ModelError(f"how={how!r}: mean or shift")
    if scale is not None and not 0 <= scale < np.inf:
        raise ModelError(f"scale={scale:g}: give a factor of 0 (removes the topics) or more")
    if not cells.n_cells or (target is not None and not target.n_cells):
        raise ModelError("perturb() needs one cell at least, to move and to move towards")
    cpu = torch.device("cpu")
    before = latent(cells, cpu).astype(np.float64)
    goal = None if target is None else latent(target, cpu).astype(np.float64)
    k = before.shape[1]
    if topics is None:
        if goal is None:
            raise ModelError("topics=None means those that differ from towards=, which is not given: name the topics")
        table = differing_topics(before, goal)
        topics = table.loc[table["differs"], "topic"].tolist() or table["topic"].tolist()[:1]
    chosen = tuple(dict.fromkeys(int(topic) for topic in topics))
    wrong = [str(topic) for topic in chosen if not 0 <= topic < k]
    if wrong or not chosen:
        raise ModelError(f"there is no topic {first_ten(wrong) or '(none named)'}: topics are numbered 0 to {k - 1}")
    if scale == 0 and len(chosen) == k:
        raise ModelError(f"scale=0 would remove all {k} topics: leave one at least")

    def move(which: Sequence[int] | NDArray[np.int64]) -> Floats:
        if scale is not None:
            return scaled(before, which, scale)
        moved = before.copy()
        picked = list(which)
        if goal is not None:
            ends = goal[:, picked].mean(axis=0)
            moved[:, picked] = ends if how == "mean" else moved[:, picked] + ends - before[:, picked].mean(axis=0)
        return moved

    depth = np.asarray(cells.matrix.sum(axis=1), np.float64).ravel()
    unmoved = _decoded(network, before, depth)
    mean = np.asarray(cells.matrix.mean(axis=0), np.float64).ravel()
    true = None if target is None else np.asarray(target.matrix.mean(axis=0), np.float64).ravel() - mean
    top = None if true is None else np.argsort(-np.abs(true), kind="stable")[:n_top]

    def measure(moved: Floats) -> tuple[Floats, dict[str, float]]:
        change = _decoded(network, moved, depth) - unmoved
        if true is None or top is None:
            return change, dict.fromkeys(("cosine", "along", "r2"), float("nan"))
        along = float(change @ true / (true @ true)) if true.any() else float("nan")
        r2 = _r2(mean[top] + change[top], mean[top] + true[top])
        return change, {"cosine": _cosine(change, true), "along": along, "r2": r2}

    predicted, measured = measure(move(chosen))
    rng = np.random.default_rng(seed)
    others = np.setdiff1d(np.arange(k), chosen)
    # Where more than half of the topics are chosen, too few others are left to draw from: then from all.
    pool = others if len(others) >= len(chosen) else np.arange(k)
    rows = []
    for _ in range(n_random if true is not None else 0):
        rows.append({"kind": "towards", **measure(move(rng.choice(pool, len(chosen), replace=False)))[1]})
        if goal is not None and scale is None:
            shift = goal[:, list(chosen)].mean(axis=0) - before[:, list(chosen)].mean(axis=0)
            moved = before.copy()
            moved[:, rng.choice(k, len(chosen), replace=False)] += rng.permutation(shift)
            rows.append({"kind": "dealt", **measure(moved)[1]})
    still = float("nan") if true is None or top is None else _r2(mean[top], mean[top] + true[top])
    random = pd.DataFrame(rows, columns=["kind", "cosine", "along", "r2"])
    return Perturbation(chosen, genes, predicted, true, **measured, r2_unmoved=still, random=random)


def _decoded(network: TopicNetwork, latent: Floats, depth: Floats) -> Floats:
    """Return the mean over cells of decoded expression, each cell scaled to the sum of its own log values."""
    total = np.zeros(network.genes.num_embeddings)
    network.eval()
    with torch.inference_mode():
        beta = network.beta()
        for rows in np.array_split(np.arange(len(latent)), -(-len(latent) // 1024)):
            theta = torch.softmax(torch.from_numpy(latent[rows].astype(np.float32)), dim=1)
            share = torch.softmax(network.decode(theta, beta), dim=1).numpy()
            total += depth[rows] @ share
    return total / len(latent)


def _cosine(left: Floats, right: Floats) -> float:
    length = np.linalg.norm(left) * np.linalg.norm(right)
    return float(left @ right / length) if length > 0 else 0.0


def _r2(predicted: Floats, true: Floats) -> float:
    around = np.square(true - true.mean()).sum()
    return float(1 - np.square(true - predicted).sum() / around) if around > 0 else float("nan")
