"""How good topics are: by their genes alone, by what is known of genes, and by the types of the cells that hold them.

Pure functions over arrays and names of genes. Names are compared as they are: never cut into words, never changed in
letter case.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.groups.graphs import Floats
from genetext.errors import CellsError, first_ten
from genetext.gene_sets import GeneSets, read_gene_sets
from genetext.labels import complete_labels
from genetext.vectors import unit_rows

Topics = Sequence[Sequence[str]]
"""The top genes of each topic, as many for each."""


def top_genes(weights: NDArray[Any], genes: Sequence[str], n: int = 10) -> list[tuple[str, ...]]:
    """Return the genes that weigh most in each topic, the heaviest first; of equal weights, by name.

    Parameters
    ----------
    weights
        `(n_topics, n_genes)`, finite.
    genes
        `(n_genes,)` names, each once.
    n
        Genes of each topic.
    """
    rows, names = _weights(weights), np.asarray([str(gene) for gene in genes])
    if len(names) != rows.shape[1]:
        raise CellsError(f"the topics weigh {rows.shape[1]:,} genes and {len(names):,} names are given: give one each")
    if len(np.unique(names)) < len(names):
        different, count = np.unique(names, return_counts=True)
        raise CellsError(f"genes come more than once: {first_ten(different[count > 1].tolist())}; name each once")
    if not 1 <= n <= len(names):
        raise CellsError(f"{n:,} top genes of {len(names):,}: ask for 1 at least, and no more than there are")
    by_name = np.argsort(names, kind="stable")
    order = by_name[np.argsort(-rows[:, by_name], axis=1, kind="stable")[:, :n]]
    return [tuple(names[top].tolist()) for top in order]


def topic_diversity(topics: Topics, *, kind: Literal["strict", "distinct"] = "strict") -> float:
    """Return how little the top genes of topics repeat, 0 to 1.

    Parameters
    ----------
    topics
        The top genes of each (`top_genes`).
    kind
        `strict`: genes that are in one topic only, by all places (K times n), as the scE2TM code counts (TD).
        `distinct`: different genes, by all places; K topics that are all the same have 1 / K, not 0.
    """
    tops = _tops(topics)
    _, count = np.unique([gene for top in tops for gene in top], return_counts=True)
    if kind not in ("strict", "distinct"):
        raise CellsError(f"unknown diversity {kind!r}: strict or distinct")
    return float((count == 1).sum() if kind == "strict" else len(count)) / sum(map(len, tops))


def coherence_in_sets(
    topics: Topics, gene_sets: GeneSets, *, max_size: int | None = None, apart: float = 0.0
) -> Floats:
    """Return how much the top genes of each topic share gene sets: mean normalised pointwise information (NPMI, TC).

    Of two genes it is `log(p_ij / (p_i p_j)) / -log p_ij`, where `p` is the share of sets that hold the gene, or both:
    1 where they are always together, 0 where they meet as often as by chance. The mean runs over all pairs of a topic's
    genes; a gene that no set holds tells nothing, and its pairs count as 0.

    Genes at random are above 0, by how much depends on the reference: give theirs beside (`docs/metrics.md`).

    Parameters
    ----------
    topics
        The top genes of each, two at least.
    gene_sets
        The reference: a mapping from names to genes, or a GMT.
    max_size
        Leave out larger sets. One that holds about all genes (the root of an ontology) joins every pair, and pairs of
        rare genes then look as if they belonged together.
    apart
        The value of two known genes that are never together. 0 as in the paper's code, where such a pair costs no more
        than one that meets by chance; -1 is the measure's own limit.

    Returns
    -------
    `(n_topics,) float64`; its mean is the coherence of the model.
    """
    tops = _tops(topics)
    column = _columns(tops)
    sets = {
        term: genes
        for term, genes in read_gene_sets(gene_sets, error=CellsError).items()
        if max_size is None or len(genes) <= max_size
    }
    if not sets:
        raise CellsError(f"no gene set has {max_size:,} genes or fewer: raise max_size")
    holds = np.array([[gene in genes for gene in column] for genes in map(set, sets.values())])
    return _coherence(tops, column, sparse.csr_matrix(holds), apart)


def coherence_in_cells(
    topics: Topics, counts: Any, genes: Sequence[str], *, threshold: float = 0.0, apart: float = 0.0
) -> Floats:
    """Return how much the top genes of each topic are found in the same cells: as `coherence_in_sets`, of cells.

    Give cells that the model was not fitted on: those it was fitted on make any model of co-expression coherent.

    Parameters
    ----------
    topics
        The top genes of each, two at least; those that `genes` lack count as never seen.
    counts
        `(n_cells, n_genes)`, sparse or dense.
    genes
        `(n_genes,)` names.
    threshold
        A gene is found in a cell where its value is above.
    apart
        As for `coherence_in_sets`.

    Returns
    -------
    `(n_topics,) float64`.
    """
    tops = _tops(topics)
    column = _columns(tops)
    matrix = counts.tocsc() if sparse.issparse(counts) else np.asarray(counts)
    if matrix.ndim != 2 or matrix.shape[1] != len(genes) or not matrix.shape[0]:
        raise CellsError(f"counts are cells by genes, for {len(genes):,} genes; these have shape {matrix.shape}")
    place = {str(gene): number for number, gene in enumerate(genes)}
    known = [gene for gene in column if gene in place]
    taken = sparse.csr_matrix(matrix[:, [place[gene] for gene in known]])
    if not np.isfinite(taken.data).all():
        raise CellsError("the counts have values that are NaN or infinite")
    if threshold < 0:
        raise CellsError(
            f"threshold is {threshold:g}: a gene that is not in a cell would count as found, give 0 or more"
        )
    spread = sparse.csr_matrix(
        (np.ones(len(known)), (np.arange(len(known)), [column[gene] for gene in known])), (len(known), len(column))
    )
    return _coherence(tops, column, (taken > threshold).astype(np.float64) @ spread, apart)


def topic_quality(coherence: NDArray[Any] | float, diversity: float) -> float:
    """Return coherence times diversity (TQ of scE2TM); of a coherence by topic, the mean counts."""
    return float(np.mean(coherence)) * float(diversity)


def interpretation_purity(theta: NDArray[Any], labels: Any) -> float:
    """Return the share of cells that are of the most frequent type among those of their topic (IP of scE2TM).

    Every cell belongs to the topic that it holds most of. More topics are purer, whatever they are: compare models of
    as many topics.

    Parameters
    ----------
    theta
        `(n_cells, n_topics)`, finite: shares, or any scores that grow with them.
    labels
        `(n_cells,)` types.
    """
    table = _types_by_topic(theta, labels)[0]
    return float(table.max(axis=0).sum() / table.sum())


def topic_types(theta: NDArray[Any], labels: Any) -> pd.DataFrame:
    """Tell how well each type of cell is found by the one topic that most of its cells hold most of.

    Parameters
    ----------
    theta, labels
        As for `interpretation_purity`.

    Returns
    -------
    pandas.DataFrame
        A row for each type, the rarest first: `type`, `n_cells`, `topic`, `precision` (share of the topic's cells that
        are of the type), `recall` (share of the type's cells that the topic has), `f1`.
    """
    table, types = _types_by_topic(theta, labels)
    size, topic = table.sum(axis=1), table.argmax(axis=1)
    hit = table[np.arange(len(types)), topic]
    precision, recall = hit / table.sum(axis=0)[topic], hit / size
    frame = pd.DataFrame(
        {
            "type": types,
            "n_cells": size,
            "topic": topic,
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall),
        }
    )
    return frame.sort_values(["n_cells", "type"], ignore_index=True)


def topic_association(scores: NDArray[Any], labels: Any) -> pd.DataFrame:
    """Test which topics cells of a type hold more or less of than other cells do (Mann-Whitney U, two-sided).

    Parameters
    ----------
    scores
        `(n_cells, n_topics)`, finite: shares, or latent values; the size of a difference depends on which.
    labels
        `(n_cells,)` types, or conditions; two at least.

    Returns
    -------
    pandas.DataFrame
        A row for each topic and type: `topic`, `type`, `difference` (mean within less mean without), `auc` (chance that
        a cell of the type has more of the topic than another one, ties half), `p`, `fdr` (Benjamini-Hochberg over all
        rows). The cells of one donor are not independent: p tells how clear a difference is, not that it would be
        found in other donors.
    """
    from scipy.stats import false_discovery_control, mannwhitneyu

    values, kinds = _cells(scores, labels)
    types = np.unique(kinds)
    if len(types) < 2:
        raise CellsError(f"all cells are {types[0]}: a topic is compared between two types at least")
    frames = []
    for kind in types:
        within = kinds == kind
        test = mannwhitneyu(values[within], values[~within], axis=0, method="asymptotic")
        frames.append(
            pd.DataFrame(
                {
                    "topic": np.arange(values.shape[1]),
                    "type": kind,
                    "difference": values[within].mean(axis=0) - values[~within].mean(axis=0),
                    "auc": test.statistic / (within.sum() * (~within).sum()),
                    "p": test.pvalue,
                }
            )
        )
    table = pd.concat(frames, ignore_index=True)
    return table.assign(fdr=false_discovery_control(table["p"]))


def match_topics(left: NDArray[Any], right: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Match the topics of two models one to one, so that the cosines of their rows add up to most (Hungarian method).

    Parameters
    ----------
    left, right
        `(n_topics, n_genes)` weights of the same genes; of unlike numbers of topics, the smaller number is matched.

    Returns
    -------
    The topics of each, `(m,) int64`, and the cosines of the pairs, `(m,) float64`; a row of zeros has cosine 0.
    """
    from scipy.optimize import linear_sum_assignment

    first, second = _weights(left), _weights(right)
    if first.shape[1] != second.shape[1]:
        raise CellsError(f"topics over the same genes are matched: here are {first.shape[1]:,} and {second.shape[1]:,}")
    cosine = unit_rows(first) @ unit_rows(second).T
    rows, columns = linear_sum_assignment(cosine, maximize=True)
    return rows.astype(np.int64), columns.astype(np.int64), cosine[rows, columns]


def topic_stability(runs: Sequence[NDArray[Any]]) -> Floats:
    """Return how alike the topics of several runs are: the mean cosine of matched topics, for each pair of runs.

    Rows that share a large common part (weights that are all positive, say) have high cosines whatever they tell; take
    the mean over topics off first where that is so.

    Parameters
    ----------
    runs
        `(n_topics, n_genes)` each, of the same genes in the same order; two at least.

    Returns
    -------
    `(n_runs (n_runs - 1) / 2,) float64`; the mean is the stability.
    """
    if len(runs) < 2:
        raise CellsError(f"stability compares runs: give two at least, here is {len(runs)}")
    return np.array([match_topics(left, right)[2].mean() for left, right in combinations(runs, 2)])


def _coherence(tops: list[tuple[str, ...]], column: dict[str, int], holds: sparse.csr_matrix, apart: float) -> Floats:
    """Return the mean information of the pairs of each topic; `holds (n_documents, n_genes)`: which holds what."""
    if short := [number for number, top in enumerate(tops) if len(top) < 2]:
        raise CellsError(f"coherence is of pairs of genes: topics {first_ten(short)} have fewer than two")
    joint = np.asarray((holds.astype(np.float64).T @ holds.astype(np.float64)).todense()) / holds.shape[0]
    single = np.diag(joint)
    by_chance = np.multiply.outer(single, single)
    value = np.where((by_chance > 0) & (joint == 0), apart, 0.0)
    # Two genes that are in every document are together by necessity: that tells nothing either.
    telling = (joint > 0) & (joint < 1)
    value[telling] = np.log(joint[telling] / by_chance[telling]) / -np.log(joint[telling])
    rows = [[column[gene] for gene in top] for top in tops]
    return np.array([value[np.ix_(row, row)][np.triu_indices(len(row), 1)].mean() for row in rows])


def _tops(topics: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    tops = [tuple(str(gene) for gene in top) for top in topics]
    if not tops or not all(tops):
        raise CellsError("topics are lists of their top genes: give one at least, and none that is empty")
    if twice := [number for number, top in enumerate(tops) if len(set(top)) < len(top)]:
        raise CellsError(f"topics {first_ten(twice)} have a gene twice: give each gene once per topic")
    return tops


def _columns(tops: list[tuple[str, ...]]) -> dict[str, int]:
    return {gene: number for number, gene in enumerate(dict.fromkeys(gene for top in tops for gene in top))}


def _weights(weights: Any) -> Floats:
    rows = np.asarray(weights, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise CellsError(f"topics by genes are needed, the weights have shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise CellsError("the weights of the topics have values that are NaN or infinite")
    return rows


def _cells(scores: Any, labels: Any) -> tuple[Floats, NDArray[Any]]:
    values, kinds = np.asarray(scores, np.float64), np.asarray(labels)
    if values.ndim != 2 or not values.size or kinds.shape != (len(values),):
        raise CellsError(f"cells by topics need a label for each cell: here are {values.shape} and {kinds.shape}")
    if not np.isfinite(values).all():
        raise CellsError("the topics of the cells have values that are NaN or infinite")
    if kinds.dtype.kind not in "biu":
        complete_labels(kinds.ravel())
    return values, kinds.astype(str) if kinds.dtype == object else kinds


def _types_by_topic(theta: Any, labels: Any) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Count the cells of each type and topic, `(n_types, n_topics)`, and return the types."""
    shares, kinds = _cells(theta, labels)
    types, of_type = np.unique(kinds, return_inverse=True)
    table = np.zeros((len(types), shares.shape[1]), np.int64)
    np.add.at(table, (of_type, shares.argmax(axis=1)), 1)
    return table, types
