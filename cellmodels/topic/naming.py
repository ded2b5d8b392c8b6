"""Topics in words: their genes, the texts of genes that they are nearest to, and gene sets.

A topic is put into the space of gene texts as the mean of the (centred) text vectors of its `n_named` genes of highest
lift, each weighing as much as its lift; texts are ranked by their cosine to it. Texts of the topic's own genes are
allowed: that a topic's genes are near to each other is what is to be seen. How much they are is told by `text_z`, the
length of that mean beside its lengths for genes at random. Where it is low, the words mean nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellmodels.eval.enrichment import over_representation
from genetext.errors import CellsError, ModelError
from genetext.gene_sets import read_gene_sets
from genetext.vectors import unit_rows

if TYPE_CHECKING:
    from cellmodels.data.genes import Genes
    from genetext.gene_sets import GeneSets
    from genetext.index import GeneIndex

Floats = NDArray[np.float64]
_DRAWS = 200
_SIGNIFICANT = 0.05


def describe(
    *,
    beta: NDArray[Any],
    lift: NDArray[Any],
    genes: "Genes",
    share: NDArray[Any],
    leads: NDArray[Any],
    dead: NDArray[np.bool_],
    text: NDArray[Any] | None = None,
    with_text: NDArray[np.bool_] | None = None,
    index: "GeneIndex | str | Path | None" = None,
    gene_sets: "GeneSets | None" = None,
    n_genes: int = 10,
    n_words: int = 5,
    n_named: int = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """Describe topics.

    Parameters
    ----------
    beta, lift
        `(K, G)`: of each gene the share of each topic, and what a topic does to a gene.
    genes
        The genes.
    share, leads, dead
        `(K,)`: mean share in the cells fitted, cells in which it is the largest, and whether it is dead.
    text, with_text
        `(n_with_text, dim)` centred text vectors, and which genes they belong to.
    index, gene_sets, n_genes, n_words, n_named
        As in `TopicModel.topics`.
    seed
        Of the genes drawn at random for `text_z`.

    Returns
    -------
    pandas.DataFrame
        A row per topic: `topic`, `share`, `leads`, `dead`, `genes` (by `beta`), `specific` (by `lift`); with texts
        `texts` (nearest, as `symbol: name` where an index tells the name) and `text_z`; with gene sets `sets`
        (over-represented among the `n_named` genes at 5 % false discovery), and with texts too `near_sets` (nearest
        mean text vector). Lists are joined by `; `.

    Raises
    ------
    ModelError
        A number is below one.
    """
    if min(n_genes, n_words, n_named) < 1:
        raise ModelError(f"n_genes={n_genes}, n_words={n_words}, n_named={n_named}: one at least")
    names = genes.names.astype(str)
    falling = np.argsort(-lift, axis=1, kind="stable")
    table = pd.DataFrame(
        {
            "topic": np.arange(len(beta)),
            "share": share,
            "leads": leads,
            "dead": dead,
            "genes": _joined(names, np.argsort(-beta, axis=1, kind="stable")[:, :n_genes]),
            "specific": _joined(names, falling[:, :n_genes]),
        }
    )
    weights = np.zeros(lift.shape)
    for row, best in enumerate(falling[:, :n_named]):
        weights[row, best] = np.maximum(lift[row, best], 0)
    space = _space(genes, text, with_text, index)
    points = None
    if space is not None:
        words, vectors, position = space
        points = topic_vectors(weights[:, position >= 0], vectors[position[position >= 0]])
        table["texts"] = _nearest(points, vectors, words, n_words)
        table["text_z"] = coherence_z(weights, vectors, position, seed=seed)
    if gene_sets is not None:
        sets = read_gene_sets(gene_sets, error=CellsError)
        tops = {row: names[best] for row, best in enumerate(falling[:, :n_named])}
        tested = over_representation(tops, list(names), sets)
        enriched = tested[tested["fdr"] < _SIGNIFICANT]
        table["sets"] = [
            "; ".join(enriched.loc[enriched["topic"] == topic, "term"].head(n_words)) for topic in range(len(beta))
        ]
        if space is not None and points is not None:
            readable, centres = set_vectors(sets, names, vectors, position)
            if readable:
                table["near_sets"] = _nearest(points, centres, np.asarray(readable), n_words)
    return table


def topic_vectors(weights: Floats, vectors: NDArray[Any]) -> Floats:
    """Return the weighted mean of gene vectors for each topic; zeros for a topic that weighs no gene.

    Parameters
    ----------
    weights
        `(K, n)`, not negative.
    vectors
        `(n, dim)`: centred, so that what all texts share does not decide.
    """
    total = weights.sum(axis=1, keepdims=True)
    points: Floats = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0) @ _unit(vectors)
    return points


def cosines(points: NDArray[Any], vectors: NDArray[Any]) -> Floats:
    """Return the cosines of `(K, dim)` and `(n, dim)`; 0 where either has no direction."""
    return _unit(points) @ _unit(vectors).T


def coherence_z(
    weights: Floats, vectors: NDArray[Any], position: NDArray[np.int64], *, seed: int = 0
) -> NDArray[np.float64]:
    """Return how much more alike the texts of each topic's genes are than those of genes at random.

    Parameters
    ----------
    weights
        `(K, G)`, not negative.
    vectors
        `(n, dim)`: texts.
    position
        `(G,)`: row of each gene in `vectors`, -1 for none.
    seed
        Of the genes drawn.

    Returns
    -------
    `(K,)`: length of the mean of the genes' unit vectors, in standard deviations above its mean for the same weights on
    200 draws of genes at random; NaN for a topic of fewer than two genes with a text.
    """
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(position >= 0)
    units = _unit(vectors[position[known]])
    out = np.full(len(weights), np.nan)
    for row, all_weights in enumerate(weights[:, known]):
        genes = np.flatnonzero(all_weights)
        if len(genes) < 2 or len(genes) == len(known):
            continue
        share = all_weights[genes] / all_weights[genes].sum()
        drawn = [
            np.linalg.norm(share @ units[rng.choice(len(known), len(genes), replace=False)]) for _ in range(_DRAWS)
        ]
        spread = float(np.std(drawn))
        if spread > 0:
            out[row] = (np.linalg.norm(share @ units[genes]) - np.mean(drawn)) / spread
    return out


def set_vectors(
    sets: dict[str, tuple[str, ...]], names: NDArray[Any], vectors: NDArray[Any], position: NDArray[np.int64]
) -> tuple[list[str], Floats]:
    """Return the sets with five genes or more that have a text, and the mean of their unit vectors, `(n_sets, dim)`."""
    row = {name: place for name, place in zip(names, position, strict=True) if place >= 0}
    units = _unit(vectors)
    terms, centres = [], []
    for term, members in sets.items():
        rows = [row[name] for name in members if name in row]
        if len(rows) >= 5:
            terms.append(term)
            centres.append(units[rows].mean(axis=0))
    return terms, np.asarray(centres)


def _space(
    genes: "Genes", text: NDArray[Any] | None, with_text: NDArray[np.bool_] | None, index: Any
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]] | None:
    """Return words, their vectors, and the row of each gene among them (-1: none); None where nothing is known."""
    if index is not None:
        from genetext.index import GeneIndex

        opened = index if isinstance(index, GeneIndex) else GeneIndex.open(index)
        rows = opened.genes[opened.genes["row"] >= 0].sort_values("row")
        place = pd.Series(np.arange(len(rows)), index=opened.gene_ids)
        position = place.reindex(genes.gene_ids).fillna(-1).to_numpy(np.int64)
        position[genes.gene_ids == 0] = -1
        if (position < 0).all():
            raise ModelError(
                f"none of the model's genes is in {opened.path.name}: it was fitted without priors (no GeneIDs), or on "
                f"another species"
            )
        words = rows["symbol"].astype(str).to_numpy()
        if "name" in rows:
            words = np.array([f"{symbol}: {name}" for symbol, name in zip(words, rows["name"], strict=True)], object)
        vectors = opened.matrix - opened.matrix.mean(axis=0, dtype=np.float64)
        return words, vectors, position
    if text is None or with_text is None:
        return None
    position = np.where(with_text, np.cumsum(with_text) - 1, -1)
    return genes.names[with_text].astype(str), text, position


def _unit(vectors: NDArray[Any]) -> Floats:
    return unit_rows(np.asarray(vectors, np.float64))


def _nearest(points: Floats, vectors: NDArray[Any], words: NDArray[Any], n: int) -> list[str]:
    """Return the words nearest to each topic; none for a topic that raises no gene with a text."""
    nearest = _joined(words, np.argsort(-cosines(points, vectors), axis=1, kind="stable")[:, :n])
    return [text if point.any() else "" for text, point in zip(nearest, points, strict=True)]


def _joined(words: NDArray[Any], rows: NDArray[np.int64]) -> list[str]:
    return ["; ".join(words[row]) for row in rows]
