"""Graphs of cells: neighbours against a loop, Laplacians against their definition."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from cellmodels.groups.graphs import check_graph, degrees, knn_graph, laplacian
from genetext.errors import CellsError


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(60, 5))


def by_loop(points, k):
    n = len(points)
    links = np.zeros((n, n))
    for i in range(n):
        distance = np.linalg.norm(points - points[i], axis=1)
        distance[i] = np.inf
        links[i, np.argsort(distance)[:k]] = 0.5
    return links + links.T


@pytest.mark.parametrize("k", [1, 4, 59])
def test_neighbours_are_the_nearest(points, k):
    np.testing.assert_array_equal(knn_graph(points, k).toarray(), by_loop(points, k))


def test_the_approximate_search_finds_almost_all(points):
    exact, near = knn_graph(points, 5), knn_graph(points, 5, exact=False)
    assert abs(near - near.T).max() == 0
    assert near.diagonal().sum() == 0
    assert (near.multiply(exact) > 0).sum() >= 0.95 * exact.nnz


def test_cells_in_another_order_have_the_same_links(points):
    order = np.random.default_rng(1).permutation(len(points))
    np.testing.assert_array_equal(
        knn_graph(points[order], 5).toarray(), knn_graph(points, 5).toarray()[np.ix_(order, order)]
    )


@pytest.mark.parametrize("exact", [True, False])
def test_copies_of_a_cell_link_to_others_never_to_themselves(exact):
    graph = knn_graph(np.repeat(np.eye(3), 6, axis=0), 4, exact=exact)
    assert graph.diagonal().sum() == 0
    assert graph.sum() == pytest.approx(18 * 4)
    assert connected_components(graph)[0] == 3


@pytest.mark.parametrize(
    ("n", "k", "says"), [(1, 1, "two cells"), (5, 5, "only 4 others"), (5, 9, "ask for fewer"), (5, 0, "one neighbour")]
)
def test_too_few_cells_for_k(n, k, says):
    with pytest.raises(CellsError, match=says):
        knn_graph(np.arange(n, dtype=float)[:, None], k)


def test_points_that_are_none():
    with pytest.raises(CellsError, match="first in row 2"):
        knn_graph(np.array([[0.0], [1], [np.nan], [3]]), 1)
    with pytest.raises(CellsError, match="shape"):
        knn_graph(np.zeros(4), 1)


def test_laplacians_are_what_their_definitions_say(points):
    graph = knn_graph(points, 4)
    a = graph.toarray()
    d = a.sum(axis=1)
    np.testing.assert_allclose(laplacian(graph).toarray(), np.diag(d) - a)
    np.testing.assert_allclose(
        laplacian(graph, kind="normalised").toarray(), np.eye(len(a)) - a / np.sqrt(np.outer(d, d)), atol=1e-15
    )
    np.testing.assert_allclose(degrees(graph), d)


@pytest.mark.parametrize("kind", ["unnormalised", "normalised"])
def test_a_laplacian_is_positive_semidefinite_and_zero_for_a_lonely_cell(points, kind):
    a = knn_graph(points, 4).toarray()
    a[7] = a[:, 7] = 0
    lap = laplacian(sparse.csr_matrix(a), kind=kind).toarray()
    values = np.linalg.eigvalsh(lap)
    assert values.min() > -1e-12
    assert kind == "unnormalised" or values.max() <= 2 + 1e-12
    assert not lap[7].any()


def test_the_form_of_the_laplacian_is_the_sum_over_links(points):
    graph = knn_graph(points, 3)
    p = np.random.default_rng(2).normal(size=(len(points), 4))
    a = graph.toarray()
    wanted = sum(a[i, j] * np.sum((p[i] - p[j]) ** 2) for i in range(60) for j in range(60)) / 2
    assert np.sum(p * (laplacian(graph) @ p)) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.ones((2, 3)), "square"),
        (np.array([[0, 1.0], [0, 0]]), "not symmetric"),
        (np.array([[0, -1.0], [-1, 0]]), "negative"),
        (np.array([[0, np.nan], [np.nan, 0]]), "NaN"),
    ],
)
def test_what_is_no_graph(bad, says):
    with pytest.raises(CellsError, match=says):
        check_graph(bad)


def test_an_unknown_laplacian(points):
    with pytest.raises(CellsError, match="unnormalised or normalised"):
        laplacian(knn_graph(points, 2), kind="random walk")


def test_a_diagonal_is_left_out():
    graph = np.array([[5.0, 1], [1, 0]])
    np.testing.assert_array_equal(laplacian(graph).toarray(), [[1, -1], [-1, 1]])
