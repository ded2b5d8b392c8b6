"""Clusters of cells in an embedding: a given number of them, or as many as can be found again in part of the cells.

No label is ever read here. The number of clusters is either asked for, or told by stability: the graph of neighbours of
repeated subsamples is cut at a row of resolutions, and a resolution counts for what its cuts agree on.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.groups.graphs import degrees, knn_graph
from cellmodels.groups.leiden import Leiden, largest_first
from genetext.errors import CellsError
from genetext.vectors import unit_rows

log = logging.getLogger("genetext")

Method = Literal["kmeans", "leiden"]
Metric = Literal["euclidean", "cosine"]

RESOLUTIONS: tuple[float, ...] = tuple(float(f"{value:.3g}") for value in np.geomspace(0.05, 4, 20))
"""Resolutions that `estimate_clusters` tries: from a few groups to some tens on a graph of 15 neighbours."""
_STEPS = 30


@dataclass(frozen=True)
class Clustering:
    """Groups of cells.

    Attributes
    ----------
    labels
        `(n_cells,) int64`, numbered from 0, the largest cluster first.
    n_clusters
        How many there are.
    method
        `kmeans` or `leiden`.
    resolution
        Of the Leiden cut; None for k-means with a given number.
    stability
        Mean adjusted Rand index of the cuts of subsamples at that resolution, 1 at best; None where the number of
        clusters was given, or where no two groups were found.
    table
        One row per resolution tried, ascending: `resolution`, `n_clusters` (of all cells), `stability` (NaN where it
        was not measured). Empty for k-means with a given number.
    """

    labels: NDArray[np.int64] = field(repr=False)
    n_clusters: int
    method: Method
    resolution: float | None
    stability: float | None
    table: pd.DataFrame = field(repr=False)

    @property
    def facts(self) -> dict[str, Any]:
        """How the clusters came about, as plain JSON."""
        return {
            "n_clusters": self.n_clusters,
            "method": self.method,
            "resolution": self.resolution,
            "stability": self.stability,
        }


def cluster(
    embedding: NDArray[Any],
    n_clusters: int | None = None,
    *,
    method: Method | None = None,
    metric: Metric = "euclidean",
    seed: int = 0,
    k: int = 15,
    starts: int = 20,
    threads: int | None = None,
) -> Clustering:
    """Group cells by their place in an embedding.

    Parameters
    ----------
    embedding
        `(n_cells, d)`, finite.
    n_clusters
        How many. Default: told by the stability of Leiden cuts (`estimate_clusters`).
    method
        `kmeans`, or `leiden`: the graph of neighbours is cut at the resolution that gives `n_clusters` groups, found by
        bisection; where none gives just so many, a finer cut is taken and groups are merged, each time the pair that
        costs the least modularity. Default: `kmeans` where the number is given, `leiden` where not.
    metric
        `cosine`: every row is scaled to length 1 first; a row of zeros stays where it is.
    seed
        Of the starts of k-means, of the Leiden method and of the subsamples. Same seed, same order of cells: same
        clusters.
    k
        Neighbours of each cell in the graph.
    starts
        Runs of k-means, the one with the least inertia is kept.
    threads
        Threads of the neighbour search. Default: one per core.

    Returns
    -------
    Clustering

    Raises
    ------
    CellsError
        There are fewer than two cells, values that are not finite, more clusters asked for than there are cells (or
        than differ, for k-means), or not more cells than `k`.
    """
    points = _points(embedding, metric)
    if n_clusters is not None and not 1 <= n_clusters <= len(points):
        raise CellsError(
            f"{n_clusters:,} clusters of {len(points):,} cells: ask for 1 at least, and no more than cells"
        )
    chosen: Method = method or ("leiden" if n_clusters is None else "kmeans")
    if chosen not in ("kmeans", "leiden"):
        raise CellsError(f"unknown method {chosen!r}: kmeans or leiden")
    if n_clusters is None:
        estimate = estimate_clusters(points, seed=seed, k=k, threads=threads)
        if chosen == "leiden":
            return estimate
        return replace(estimate, labels=_kmeans(points, estimate.n_clusters, starts=starts, seed=seed), method="kmeans")
    if chosen == "leiden":
        return _cut_into(knn_graph(points, k, threads=threads), n_clusters, seed=seed)
    labels = _kmeans(points, n_clusters, starts=starts, seed=seed)
    return Clustering(labels, n_clusters, "kmeans", None, None, _table([]))


def estimate_clusters(
    embedding: NDArray[Any],
    *,
    metric: Metric = "euclidean",
    resolutions: Sequence[float] = RESOLUTIONS,
    subsamples: int = 5,
    share: float = 0.8,
    margin: float = 0.1,
    floor: float = 0.5,
    seed: int = 0,
    k: int = 15,
    threads: int | None = None,
) -> Clustering:
    """Find out how many clusters an embedding has, by what the Leiden method finds again in part of the cells.

    At every resolution all cells and each subsample are cut, each on a graph of its own neighbours; the stability of
    the resolution is the mean adjusted Rand index over all pairs of these cuts, of the cells that both have. The number
    of clusters is the largest that comes within `margin` of the best stability and does not pass in one step of the
    resolution: two neighbouring resolutions at least have to give it (where none does, every number counts). Among its
    resolutions the most stable is taken. Cuts into a single group, and into groups of fewer than two cells on average,
    are stable by themselves and say nothing: they are left out. Cells that are all in one place are one cluster.

    Parameters
    ----------
    embedding, metric, seed, k, threads
        As for `cluster`.
    resolutions
        To be tried, positive.
    subsamples
        Two at least.
    share
        Of the cells that are in each, between 0 and 1.
    margin
        How much stability may be lost to see finer groups; about the spread of the stability itself.
    floor
        Where no resolution is more stable than that, the cells are one group, and a warning is logged: clouds without
        any structure reach 0.2 to 0.4.

    Returns
    -------
    Clustering
        Of all cells, at the chosen resolution.

    Raises
    ------
    CellsError
        The embedding is not usable (see `cluster`), a subsample has not more cells than `k`, or an argument is out of
        its range.
    """
    points = _points(embedding, metric)
    if not resolutions or not all(value > 0 for value in resolutions):
        raise CellsError(f"resolutions are {list(resolutions)}: give one positive number at least")
    if subsamples < 2 or not 0 < share < 1:
        raise CellsError(
            f"{subsamples} subsamples of {share:g} of the cells: two at least, each of a share between 0 and 1"
        )
    size = round(share * len(points))
    if k >= size:
        raise CellsError(
            f"k is {k} and a subsample has {size:,} of {len(points):,} cells: ask for fewer neighbours, or give "
            f"n_clusters"
        )
    if (points == points[0]).all():
        log.warning("all %s cells are in the same place of the embedding: they are one cluster", f"{len(points):,}")
        return Clustering(np.zeros(len(points), np.int64), 1, "leiden", None, None, _table([]))
    whole = Leiden(knn_graph(points, k, threads=threads))
    rng = np.random.Generator(np.random.PCG64(seed))
    subsets = [np.sort(rng.choice(len(points), size, replace=False)) for _ in range(subsamples)]
    parts = [Leiden(knn_graph(points[subset], k, threads=threads)) for subset in subsets]
    rows, cuts = [], []
    for resolution in sorted(set(resolutions)):
        labels = whole.cut(resolution, seed=seed)
        stability = _agreement(labels, [part.cut(resolution, seed=seed) for part in parts], subsets)
        rows.append((resolution, int(labels.max()) + 1, stability))
        cuts.append(labels)
    table = _table(rows)
    telling = table[table["n_clusters"].between(2, len(points) // 2)]
    chosen = _most_clusters(telling, margin)
    if chosen is None:
        log.warning(
            "no resolution up to %g cuts the %s cells into groups: they are one cluster",
            rows[-1][0],
            f"{len(points):,}",
        )
        return Clustering(np.zeros(len(points), np.int64), 1, "leiden", rows[-1][0], None, table)
    if (best := float(telling["stability"].max())) < floor:
        log.warning(
            "no grouping of the cells is found again in part of them (stability %.2f at best, below %g): they are one "
            "cluster",
            best,
            floor,
        )
        return Clustering(np.zeros(len(points), np.int64), 1, "leiden", None, None, table)
    resolution, n_clusters, stability = rows[chosen]
    return Clustering(cuts[chosen], n_clusters, "leiden", resolution, stability, table)


def _most_clusters(table: pd.DataFrame, margin: float) -> int | None:
    """Return the row with the most clusters among those about as stable as the best; None where there are none."""
    if table.empty:
        return None
    number = table["n_clusters"]
    lasting = (number == number.shift()) | (number == number.shift(-1))
    near = table[table["stability"] >= table["stability"].max() - margin]
    near = near[lasting[near.index]] if lasting[near.index].any() else near
    most = near[near["n_clusters"] == near["n_clusters"].max()]
    return int(most["stability"].idxmax())


def _agreement(whole: NDArray[np.int64], parts: list[NDArray[np.int64]], subsets: list[NDArray[np.int64]]) -> float:
    """Return the mean adjusted Rand index over pairs of cuts, of the cells that both have."""
    from sklearn.metrics import adjusted_rand_score

    cuts = [whole]
    for part, cells in zip(parts, subsets, strict=True):
        cuts.append(np.full(len(whole), -1, np.int64))
        cuts[-1][cells] = part
    shared = [(left, right, (left >= 0) & (right >= 0)) for left, right in combinations(cuts, 2)]
    return float(np.mean([adjusted_rand_score(left[both], right[both]) for left, right, both in shared if both.any()]))


def _cut_into(graph: sparse.csr_matrix, n_clusters: int, *, seed: int) -> Clustering:
    """Cut a graph into just so many groups: bisect the resolution, then merge what is too many."""
    leiden = Leiden(graph)
    tried: dict[float, NDArray[np.int64]] = {}

    def count(resolution: float) -> int:
        if resolution not in tried:
            tried[resolution] = leiden.cut(resolution, seed=seed)
        return int(tried[resolution].max()) + 1

    low, high = 1.0, 1.0
    while count(high) < n_clusters and high < 1e9:
        low, high = high, high * 4
    while count(low) > n_clusters and low > 1e-4:  # parts that do not hang together stay apart at any resolution
        low, high = low / 4, low
    for _ in range(_STEPS):
        if n_clusters in (count(low), count(high)) or high - low < 1e-4 * low:
            break
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if count(middle) < n_clusters else (low, middle)
    finer = [value for value in tried if count(value) >= n_clusters]
    if not finer:
        raise CellsError(f"the graph cannot be cut into {n_clusters:,} groups: ask for fewer, or use method='kmeans'")
    resolution = min(finer, key=lambda value: (count(value), abs(np.log(value))))
    labels = _merged(graph, tried[resolution], n_clusters, resolution)
    table = _table([(value, count(value), np.nan) for value in sorted(tried)])
    return Clustering(labels, n_clusters, "leiden", resolution, None, table)


def _merged(
    graph: sparse.csr_matrix, labels: NDArray[np.int64], n_clusters: int, resolution: float
) -> NDArray[np.int64]:
    """Merge groups, each time the two whose merging costs the least modularity, until there are `n_clusters`."""
    groups = int(labels.max()) + 1
    member = sparse.csr_matrix((np.ones(len(labels)), (labels, np.arange(len(labels)))), shape=(groups, len(labels)))
    links = np.asarray((member @ graph @ member.T).todense(), np.float64)
    degree = np.asarray(member @ degrees(graph), np.float64)
    total = max(float(degree.sum()), 1.0)
    merged = labels
    for _ in range(groups - n_clusters):
        gain = links - resolution * np.outer(degree, degree) / total
        gain[np.tril_indices(len(gain))] = -np.inf
        kept, absorbed = (int(group) for group in np.unravel_index(gain.argmax(), gain.shape))
        links[kept] += links[absorbed]
        links[:, kept] += links[:, absorbed]
        degree[kept] += degree[absorbed]
        links = np.delete(np.delete(links, absorbed, 0), absorbed, 1)
        degree = np.delete(degree, absorbed)
        merged = np.where(merged == absorbed, kept, merged)
        merged = np.where(merged > absorbed, merged - 1, merged)
    return largest_first(merged)


def _kmeans(points: NDArray[np.float64], n_clusters: int, *, starts: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of points that do not differ: told below
        labels = KMeans(n_clusters, n_init=starts, random_state=seed).fit_predict(points)
    if (places := len(np.unique(labels))) < n_clusters:
        raise CellsError(f"the {len(points):,} cells have only {places:,} different places: ask for no more clusters")
    return largest_first(labels)


def _points(embedding: Any, metric: Metric) -> NDArray[np.float64]:
    points = np.asarray(embedding, np.float64)
    if points.ndim != 2 or not points.shape[1]:
        raise CellsError(f"an embedding has a row of numbers for each cell, this one has shape {points.shape}")
    if len(points) < 2:
        raise CellsError(f"clusters need two cells at least, here is {len(points)}")
    if bad := int((~np.isfinite(points).all(axis=1)).sum()):
        raise CellsError(f"{bad:,} of {len(points):,} cells have values that are NaN or infinite in the embedding")
    if metric == "euclidean":
        return points
    if metric != "cosine":
        raise CellsError(f"unknown metric {metric!r}: euclidean or cosine")
    return unit_rows(points)


def _table(rows: list[tuple[float, int, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["resolution", "n_clusters", "stability"])
    return frame.astype({"resolution": float, "n_clusters": "int64", "stability": float})
