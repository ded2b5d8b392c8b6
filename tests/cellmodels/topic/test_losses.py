"""Neighbour lists beside the plain algorithm, and the losses that tie two views."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from cellmodels.topic.losses import balance, consistency, distillation
from cellmodels.topic.neighbor_lists import neighbor_lists
from genetext.errors import CellsError


def plain_lists(points, k):
    """Mutual neighbours, joined by Kruskal's rule along the shortest links of the neighbour graph, in loops."""
    n = len(points)
    distance = cdist(points, points)
    near = [set(np.argsort(np.where(np.arange(n) == i, np.inf, distance[i]))[: k - 1]) for i in range(n)]
    linked = [{j for j in near[i] if i in near[j]} for i in range(n)]
    part = list(range(n))

    def join(i, j):
        old, new = part[j], part[i]
        part[:] = [new if left == old else left for left in part]

    for i in range(n):
        for j in linked[i]:
            join(i, j)
    links = sorted(((i, j) for i in range(n) for j in near[i]), key=lambda link: distance[link])
    for i, j in links:
        if part[i] != part[j]:
            linked[i].add(j)
            linked[j].add(i)
            join(i, j)
    return [[i, *sorted(linked[i], key=lambda j: distance[i, j])][:k] for i in range(n)]


@pytest.mark.parametrize(("n", "k"), [(60, 5), (40, 3), (30, 15), (12, 50)])
def test_lists_are_those_of_the_plain_algorithm(n, k):
    rng = np.random.default_rng(n)
    points = np.concatenate([rng.normal(size=(n // 2, 2)), rng.normal(size=(n - n // 2, 2)) * 3 + 4]).astype(np.float32)
    result = neighbor_lists(points, k)
    expected = plain_lists(points.astype(np.float64), min(k, n))
    assert [result.of(i).tolist() for i in range(n)] == expected


def test_the_cell_itself_comes_first_also_among_copies():
    points = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    result = neighbor_lists(points, 4)
    assert [int(result.of(i)[0]) for i in range(12)] == list(range(12))


def test_draws_are_even_over_the_list():
    points = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    lists = neighbor_lists(points, 6)
    rows = np.full(30_000, 7)
    drawn = lists.draw(rows, np.random.default_rng(0))
    values, counts = np.unique(drawn, return_counts=True)
    assert set(values) == set(lists.of(7))
    np.testing.assert_allclose(counts / len(rows), 1 / len(values), rtol=0.06)


def test_two_cells():
    result = neighbor_lists(np.array([[0.0], [1.0]]), 15)
    assert [result.of(0).tolist(), result.of(1).tolist()] == [[0, 1], [1, 0]]


def test_one_cell_is_refused():
    with pytest.raises(CellsError, match="two cells"):
        neighbor_lists(np.zeros((1, 2)), 15)


def test_distillation_of_equal_and_of_swapped_views():
    """Hard assignments with an even split: of equal views the positive is 1 and all others 0."""
    left = torch.eye(4).repeat(5, 1)
    expected = -2 + math.log(math.exp(2) + 6)
    assert float(distillation(left, left)) == pytest.approx(expected, rel=1e-6)
    assert float(distillation(left, left.roll(1, dims=1))) == pytest.approx(expected + 2, rel=1e-6)


def test_consistency_and_balance():
    left = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(consistency(left, left)) == 0
    assert float(consistency(left, torch.full((2, 2), 0.5))) == pytest.approx(math.log(2))
    assert math.isfinite(float(consistency(left, left.flip(0))))
    assert float(balance(left)) == pytest.approx(math.log(2))
    assert float(balance(left[[0, 0]])) == pytest.approx(0, abs=1e-6)
