"""How well labels or an embedding agree with known types: pure functions over arrays.

Everything that scikit-learn or SciPy has is theirs; what is here besides checks shapes and matches clusters to types.
True labels that mean that a cell has none (`genetext.labels`) are an error: leave such cells out.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.errors import CellsError
from genetext.labels import complete_labels

Labels = NDArray[Any]


def ari(true: Labels, predicted: Labels) -> float:
    """Return the adjusted Rand index of two labellings `(n,)`: 1 for the same partition, about 0 by chance."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*_pair(true, predicted)))


def nmi(true: Labels, predicted: Labels) -> float:
    """Normalised mutual information (arithmetic mean of the entropies) of two labellings `(n,)`, 0 to 1."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(*_pair(true, predicted)))


def ami(true: Labels, predicted: Labels) -> float:
    """Return the adjusted mutual information of two labellings `(n,)`: 1 for the same partition, about 0 by chance."""
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(*_pair(true, predicted)))


def accuracy(true: Labels, predicted: Labels) -> float:
    """Share of cells whose predicted label is the true one, `(n,)` each. A label that is no type counts as wrong."""
    left, right = _named_alike(true, predicted)
    return float(np.mean(left == right))


def match_clusters(true: Labels, clusters: Labels) -> dict[Any, Any]:
    """Match clusters to types one to one, so that most cells agree (Hungarian method).

    Parameters
    ----------
    true, clusters
        `(n,)` each.

    Returns
    -------
    The type of each matched cluster; where there are more clusters than types, some have none.
    """
    from scipy.optimize import linear_sum_assignment

    left, right = _pair(true, clusters)
    types, of_type = np.unique(left, return_inverse=True)
    groups, of_group = np.unique(right, return_inverse=True)
    table = np.zeros((len(groups), len(types)), np.int64)
    np.add.at(table, (of_group, of_type), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return dict(zip(groups[rows].tolist(), types[columns].tolist(), strict=True))


def matched_accuracy(true: Labels, clusters: Labels) -> float:
    """Share of cells that agree when clusters are matched to types one to one (`match_clusters`)."""
    left, right = _pair(true, clusters)
    matched = match_clusters(left, right)
    return float(
        np.mean([matched.get(group) == kind for kind, group in zip(left.tolist(), right.tolist(), strict=True)])
    )


def macro_f1(true: Labels, predicted: Labels) -> float:
    """Mean over the true types of F1, each type weighing the same; types that are only predicted have no F1."""
    from sklearn.metrics import f1_score

    left, right = _named_alike(true, predicted)
    return float(f1_score(left, right, labels=np.unique(left), average="macro", zero_division=0.0))


def weighted_f1(true: Labels, predicted: Labels) -> float:
    """Mean over the true types of F1, each type weighing as much as it has cells."""
    from sklearn.metrics import f1_score

    left, right = _named_alike(true, predicted)
    return float(f1_score(left, right, labels=np.unique(left), average="weighted", zero_division=0.0))


def f1_by_type(true: Labels, predicted: Labels) -> pd.DataFrame:
    """Return precision, recall and F1 of each true type, the rarest first.

    Returns
    -------
    pandas.DataFrame
        `type`, `n_cells` (that are of the type), `precision`, `recall`, `f1`; 0 where nothing was predicted as it.
    """
    from sklearn.metrics import precision_recall_fscore_support

    left, right = _named_alike(true, predicted)
    types = np.unique(left)
    precision, recall, f1, size = precision_recall_fscore_support(left, right, labels=types, zero_division=0.0)
    table = pd.DataFrame({"type": types, "n_cells": size, "precision": precision, "recall": recall, "f1": f1})
    return table.sort_values(["n_cells", "type"], ignore_index=True)


def matched_macro_f1(true: Labels, clusters: Labels) -> float:
    """Return the macro F1 of clusters that are matched to types one to one; a type without a cluster has F1 0."""
    left, right = _pair(true, clusters)
    types, of_type = np.unique(left, return_inverse=True)
    number = {kind: place for place, kind in enumerate(types.tolist())}
    matched = match_clusters(left, right)
    named = np.array([number[matched[group]] if group in matched else -1 for group in right.tolist()])
    return macro_f1(of_type, named)


def reliability(
    true: Labels, predicted: Labels, confidence: NDArray[Any], *, bins: int = 15, equal: bool = False
) -> pd.DataFrame:
    """Compare how sure predictions were with how often they were right.

    Parameters
    ----------
    true, predicted
        `(n,)` each.
    confidence
        `(n,)`, from 0 to 1: the probability given to the predicted label.
    bins
        Of confidence.
    equal
        Bins of about as many cells each, instead of bins that are as wide; cells of the same confidence stay together.

    Returns
    -------
    pandas.DataFrame
        A row for each bin that has cells: `low`, `high` (of the confidences in it), `n_cells`, `confidence` and
        `accuracy` (means).
    """
    left, right = _named_alike(true, predicted)
    sure = np.asarray(confidence, np.float64)
    if sure.shape != left.shape:
        raise CellsError(f"a confidence is needed for each of {len(left):,} cells: here are {sure.shape}")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise CellsError("confidences are probabilities from 0 to 1: some are outside, or NaN")
    if bins < 1:
        raise CellsError(f"{bins} bins of confidence: ask for one at least")
    # Edges belong to the bin below, so that a confidence of 1 is in the last one and not in one of its own.
    edges = np.quantile(sure, np.linspace(0, 1, bins + 1)) if equal else np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, sure, side="left"), 1, bins)
    table = pd.DataFrame({"place": place, "confidence": sure, "right": left == right}).groupby("place")
    return table.agg(
        low=("confidence", "min"),
        high=("confidence", "max"),
        n_cells=("right", "size"),
        confidence=("confidence", "mean"),
        accuracy=("right", "mean"),
    ).reset_index(drop=True)


def calibration_error(
    true: Labels, predicted: Labels, confidence: NDArray[Any], *, bins: int = 15, equal: bool = False
) -> float:
    """Return the expected calibration error (ECE): mean distance of confidence and accuracy, over bins of cells.

    0 where of the predictions made with confidence p a share of p is right. Arguments as for `reliability`.
    """
    table = reliability(true, predicted, confidence, bins=bins, equal=equal)
    return float(np.average((table["accuracy"] - table["confidence"]).abs(), weights=table["n_cells"]))


def balanced_accuracy(true: Labels, predicted: Labels) -> float:
    """Mean over the true types of the share of their cells that are found."""
    from sklearn.metrics import recall_score

    left, right = _named_alike(true, predicted)
    # `balanced_accuracy_score` warns of labels that are only predicted; macro recall of the true types is the same.
    return float(recall_score(left, right, labels=np.unique(left), average="macro", zero_division=0.0))


def silhouette(
    embedding: NDArray[Any], labels: Labels, *, metric: str = "euclidean", sample: int | None = 10_000, seed: int = 0
) -> float:
    """Mean silhouette width of the labels in an embedding, -1 to 1.

    Parameters
    ----------
    embedding
        `(n, d)`, finite.
    labels
        `(n,)`, two kinds at least, and fewer than cells.
    metric
        Of scikit-learn.
    sample
        Take so many cells where there are more, since the cost is quadratic; None: all.
    seed
        Of the sample.
    """
    from sklearn.metrics import silhouette_score

    points, kinds = _embedding(embedding, labels)
    if sample is not None and len(points) > sample:
        taken = np.sort(np.random.Generator(np.random.PCG64(seed)).choice(len(points), sample, replace=False))
        points, kinds = points[taken], kinds[taken]
    n_kinds = len(np.unique(kinds))
    if not 2 <= n_kinds < len(kinds):
        raise CellsError(
            f"a silhouette needs two labels at least, and fewer labels than cells: here are {n_kinds:,} of "
            f"{len(kinds):,} cells"
        )
    return float(silhouette_score(points, kinds, metric=metric))


def agreement_with(labels: Labels, embedding: NDArray[Any], *, seed: int = 0) -> float:
    """Return how well clusters of embedded cells, as many as there are labels, agree with the labels (`nmi`).

    Parameters
    ----------
    labels
        `(n,) object`: None where a cell has none, which is clustered with the others and not compared.
    embedding
        `(n, d)`, finite.
    seed
        Of the clusters.
    """
    from cellmodels.groups.clusters import cluster

    known = np.array([label is not None for label in labels])
    clusters = cluster(embedding, len(set(labels[known])), seed=seed).labels
    return nmi(labels[known], clusters[known])


def knn_accuracy(
    embedding: NDArray[Any], labels: Labels, *, k: int = 10, folds: int = 5, metric: str = "euclidean", seed: int = 0
) -> float:
    """Accuracy of a k-nearest-neighbour vote, each cell judged by cells of other folds.

    Parameters
    ----------
    embedding
        `(n, d)`, finite.
    labels
        `(n,)`.
    k
        Neighbours that vote; fewer cells than that in the other folds is an error.
    folds
        Stratified where every label has so many cells, plain otherwise.
    metric
        Of scikit-learn.
    seed
        Of the folds.
    """
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.neighbors import KNeighborsClassifier

    points, kinds = _embedding(embedding, labels)
    if not 2 <= folds <= len(points):
        raise CellsError(f"{folds} folds of {len(points):,} cells: ask for 2 folds at least, and no more than cells")
    smallest = len(points) - -(-len(points) // folds)
    if not 1 <= k <= smallest:
        raise CellsError(f"k is {k}, a fold leaves {smallest:,} cells to vote: choose k from 1 to {smallest:,}")
    _, of_kind = np.unique(kinds, return_inverse=True)
    split = StratifiedKFold if np.bincount(of_kind).min() >= folds else KFold
    right = np.zeros(len(points), bool)
    for train, test in split(folds, shuffle=True, random_state=seed).split(points, of_kind):
        voters = KNeighborsClassifier(k, metric=metric).fit(points[train], of_kind[train])
        right[test] = voters.predict(points[test]) == of_kind[test]
    return float(right.mean())


def _pair(true: Labels, predicted: Labels) -> tuple[Labels, Labels]:
    left, right = _plain(true), _plain(predicted, words=False)
    if left.shape != right.shape or left.ndim != 1 or not len(left):
        raise CellsError(f"labels of the same cells are compared, one each: here are {left.shape} and {right.shape}")
    return left, right


def _named_alike(true: Labels, predicted: Labels) -> tuple[Labels, Labels]:
    """Return labels that can be equal: names and names, or numbers and numbers."""
    left, right = _pair(true, predicted)
    if (left.dtype.kind in "US") != (right.dtype.kind in "US"):
        raise CellsError(
            f"labels like {left[0]!s} are compared with labels like {right[0]!s}, names with numbers: none would ever "
            f"be right; match clusters to types first (match_clusters, matched_accuracy)"
        )
    return left, right


def _plain(labels: Any, *, words: bool = True) -> Labels:
    """Return labels as an array that can be sorted; a missing label is an error, never a type.

    `words`: whether `Unknown` and the like are missing too. Of predictions they are labels, and wrong.
    """
    values = np.asarray(labels)
    if values.dtype.kind not in "biu":
        complete_labels(values.ravel() if words else values[pd.isna(values)])
    return values.astype(str) if values.dtype == object else values


def _embedding(embedding: Any, labels: Any) -> tuple[NDArray[Any], Labels]:
    points, kinds = np.asarray(embedding), _plain(labels)
    if points.ndim != 2 or kinds.shape != (len(points),) or not len(points):
        raise CellsError(f"an embedding (n, d) needs n labels: here are {points.shape} and {kinds.shape}")
    if not np.isfinite(points).all():
        raise CellsError("the embedding has values that are NaN or infinite")
    return points, kinds
