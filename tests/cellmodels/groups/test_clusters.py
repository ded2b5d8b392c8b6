"""Clusters: a given number, and the number that subsamples agree on."""

import logging

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from cellmodels.groups.clusters import (
    RESOLUTIONS,
    Clustering,
    Leiden,
    _agreement,
    _cut_into,
    _merged,
    _most_clusters,
    cluster,
    estimate_clusters,
)
from cellmodels.groups.graphs import knn_graph
from genetext.errors import CellsError


def blobs(sizes, d=8, apart=12.0, seed=0):
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.normal(size=(len(sizes), d))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    return rng.normal(size=(len(kinds), d)) + centres[kinds], kinds


@pytest.fixture(scope="module")
def four():
    return blobs([120, 90, 60, 40])


def same(left, right):
    return adjusted_rand_score(left, right) == pytest.approx(1)


@pytest.mark.parametrize("method", ["kmeans", "leiden"])
def test_a_given_number_of_clusters(four, method):
    points, kinds = four
    clustering = cluster(points, 4, method=method)
    assert same(clustering.labels, kinds)
    assert (clustering.n_clusters, clustering.method) == (4, method)
    assert clustering.labels.dtype == np.int64
    assert np.bincount(clustering.labels).tolist() == [120, 90, 60, 40]


def test_the_number_is_found(four):
    points, kinds = four
    clustering = cluster(points)
    assert (clustering.n_clusters, clustering.method) == (4, "leiden")
    assert same(clustering.labels, kinds)
    assert clustering.stability > 0.95
    assert clustering.table["resolution"].tolist() == list(RESOLUTIONS)
    row = clustering.table.set_index("resolution").loc[clustering.resolution]
    assert (row["n_clusters"], row["stability"]) == (4, clustering.stability)
    assert clustering.facts == {
        "n_clusters": 4,
        "method": "leiden",
        "resolution": clustering.resolution,
        "stability": clustering.stability,
    }


def test_kmeans_takes_the_number_that_was_found(four):
    points, kinds = four
    clustering = cluster(points, method="kmeans")
    assert (clustering.n_clusters, clustering.method) == (4, "kmeans")
    assert same(clustering.labels, kinds)
    assert clustering.stability > 0.95


def test_same_seed_same_clusters(four):
    points, _ = four
    noisy = points + np.random.default_rng(1).normal(size=points.shape) * 3
    for n_clusters in (None, 5):
        first, second = (cluster(noisy, n_clusters, seed=3) for _ in range(2))
        np.testing.assert_array_equal(first.labels, second.labels)
        pd.testing.assert_frame_equal(first.table, second.table)


@pytest.mark.parametrize(("n_clusters", "method"), [(None, "leiden"), (4, "leiden"), (4, "kmeans")])
def test_cells_in_another_order_are_grouped_alike(four, n_clusters, method):
    points, _ = four
    order = np.random.default_rng(2).permutation(len(points))
    moved = cluster(points[order], n_clusters, method=method)
    assert same(moved.labels, cluster(points, n_clusters, method=method).labels[order])


def test_cosine_sees_directions_only():
    points, kinds = blobs([50, 50], apart=40.0)
    stretched = points * np.random.default_rng(3).uniform(0.1, 50, len(points))[:, None]
    assert same(cluster(stretched, 2, metric="cosine").labels, kinds)
    assert not same(cluster(stretched, 2).labels, kinds)
    stretched[0] = 0
    assert cluster(stretched, 2, metric="cosine").n_clusters == 2


@pytest.mark.parametrize("n_clusters", [1, 2, 3, 7, 13, 40])
def test_leiden_gives_as_many_groups_as_asked(four, n_clusters):
    clustering = cluster(four[0], n_clusters, method="leiden")
    assert len(np.unique(clustering.labels)) == n_clusters == clustering.n_clusters
    assert clustering.stability is None
    assert clustering.table["stability"].isna().all()
    assert not len(cluster(four[0], 4).table)


def test_a_graph_that_is_cut_often_gives_what_single_cuts_give(four):
    graph = knn_graph(four[0], 15)
    leiden = Leiden(graph)
    for resolution in (3.0, 0.1, 1.0, 3.0):
        np.testing.assert_array_equal(leiden.cut(resolution, seed=4), Leiden(graph).cut(resolution, seed=4))


def test_without_igraph_the_extra_is_named(four, monkeypatch):
    def missing(name, *args, **kwargs):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(CellsError, match=r"pip install 'genetext\[annotate\]'"):
        cluster(four[0])
    assert cluster(four[0], 4).n_clusters == 4


def test_parts_that_do_not_hang_together_are_merged_where_fewer_are_asked_for():
    graph = sparse.block_diag([np.ones((6, 6)) - np.eye(6)] * 4, format="csr")
    clustering = _cut_into(graph, 2, seed=0)
    assert clustering.n_clusters == 2
    parts = clustering.labels.reshape(4, 6)
    assert (parts == parts[:, :1]).all()


def test_merging_loses_the_least_modularity():
    points, _ = blobs([20, 20, 20, 20, 20], d=3, apart=4.0, seed=5)
    graph = knn_graph(points, 6)
    weights, degree = graph.toarray(), graph.toarray().sum(axis=1)

    def modularity(labels):
        alike = labels[:, None] == labels[None]
        return float((alike * (weights - 0.8 * np.outer(degree, degree) / degree.sum())).sum() / degree.sum())

    labels = np.repeat(np.arange(5), 20)
    every = [
        modularity(np.where(labels == second, first, labels))
        for first in range(5)
        for second in range(5)
        if first < second
    ]
    assert modularity(_merged(graph, labels, 4, 0.8)) == pytest.approx(max(every))


@pytest.mark.parametrize(
    ("numbers", "stabilities", "margin", "row"),
    [
        ([3, 3, 5, 5, 9, 9], [0.94, 0.95, 0.90, 0.91, 0.70, 0.71], 0.1, 3),
        ([3, 3, 5, 5, 9, 9], [0.94, 0.95, 0.90, 0.91, 0.70, 0.71], 0.01, 1),
        ([3, 3, 5, 9, 12], [0.95, 0.94, 0.94, 0.50, 0.40], 0.1, 0),  # 5 passes at once
        ([3, 5, 5, 7], [0.95, 0.94, 0.10, 0.20], 0.1, 1),  # 5 stays, less stable at the next step
        ([3, 5, 7], [0.95, 0.94, 0.50], 0.1, 1),  # none stays
        ([4], [0.3], 0.1, 0),
        ([], [], 0.1, None),
    ],
)
def test_the_rule_takes_the_finest_of_the_stable_cuts(numbers, stabilities, margin, row):
    assert _most_clusters(pd.DataFrame({"n_clusters": numbers, "stability": stabilities}), margin) == row


def test_stability_is_the_mean_agreement_of_all_pairs():
    whole = np.array([0, 0, 1, 1, 2, 2])
    parts, taken = [np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])], [np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4])]
    pairs = [
        adjusted_rand_score([0, 0, 1, 1], [1, 1, 0, 0]),
        adjusted_rand_score([0, 1, 1, 2], [0, 0, 1, 1]),
        adjusted_rand_score([1, 0, 0], [0, 0, 1]),
    ]
    assert _agreement(whole, parts, taken) == pytest.approx(np.mean(pairs))


def test_a_cloud_without_structure_is_one_cluster_and_says_so(caplog):
    cloud = np.random.default_rng(4).normal(size=(400, 10))
    with caplog.at_level(logging.WARNING, "genetext"):
        clustering = cluster(cloud)
    assert (clustering.n_clusters, clustering.stability, clustering.labels.max()) == (1, None, 0)
    assert "found again" in caplog.text
    assert estimate_clusters(cloud, floor=0.0).n_clusters > 1


def test_one_group_at_every_resolution(four, caplog):
    first = four[0][four[1] == 0]
    with caplog.at_level(logging.WARNING, "genetext"):
        clustering = estimate_clusters(first, resolutions=[0.01])
    assert (clustering.n_clusters, clustering.stability) == (1, None)
    assert "into groups" in caplog.text


def test_cells_in_few_places(caplog):
    places = np.random.default_rng(6).normal(size=(4, 3))
    assert same(cluster(np.repeat(places, 40, axis=0)).labels, np.repeat(np.arange(4), 40))
    with caplog.at_level(logging.WARNING, "genetext"):
        clustering = cluster(np.ones((50, 3)))
    assert (clustering.n_clusters, clustering.labels.tolist(), clustering.stability) == (1, [0] * 50, None)
    assert "same place" in caplog.text


def test_a_cluster_for_every_cell_is_no_answer(four):
    points = four[0][:60]
    clustering = estimate_clusters(points, resolutions=[0.1, 0.2, 500.0, 1000.0], k=5)
    assert clustering.table["n_clusters"].max() == 60
    assert clustering.n_clusters < 30


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: cluster(x[:1]), "two cells"),
        (lambda x: cluster(x[:1], 1), "two cells"),
        (lambda x: cluster(x[:10]), "a subsample has 8 of 10"),
        (lambda x: cluster(x[:10], 3, method="leiden"), "only 9 others"),
        (lambda x: cluster(x[:10], 11), "11 clusters of 10 cells"),
        (lambda x: cluster(x, 0), "ask for 1"),
        (lambda x: cluster(np.ones((9, 2)), 3), "only 1 different"),
        (lambda x: cluster(np.where(x > 20, np.nan, np.append(x[:-1], [[np.nan] * 8], 0)), 3), "1 of 310 cells"),
        (lambda x: cluster(x[0], 3), "shape"),
        (lambda x: cluster(x, 3, method="louvain"), "unknown method"),
        (lambda x: cluster(x, 3, metric="l1"), "unknown metric"),
        (lambda x: estimate_clusters(x, resolutions=[]), "one positive"),
        (lambda x: estimate_clusters(x, resolutions=[0.0]), "one positive"),
        (lambda x: estimate_clusters(x, subsamples=1), "two at least"),
        (lambda x: estimate_clusters(x, share=1.0), "between 0 and 1"),
    ],
)
def test_what_cannot_be_grouped(four, call, says):
    with pytest.raises(CellsError, match=says):
        call(four[0])


@pytest.mark.real
def test_groups_of_blood_cells_are_found_again(real_data):
    import anndata as ad

    from cellmodels.data.inputs import read_cells
    from cellmodels.eval import metrics
    from cellmodels.groups.pca import principal_components

    cells = ad.read_h5ad(real_data / "cells" / "kang_pbmc_ifnb_labelled.h5ad")
    clustering = cluster(principal_components(read_cells(cells, needs="log").matrix))
    assert isinstance(clustering, Clustering)
    assert 4 <= clustering.n_clusters <= 12
    assert clustering.stability > 0.85
    assert metrics.ari(cells.obs["cell_type"].to_numpy(), clustering.labels) > 0.5
