"""refine_logits against a dense solve in float64, and what it must keep."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from cellmodels.annotation import smoothing
from cellmodels.annotation.smoothing import refine_blocks, refine_logits
from cellmodels.groups.graphs import knn_graph, laplacian
from genetext.errors import CellsError

KINDS = ("unnormalised", "normalised")


@pytest.fixture
def graph():
    return knn_graph(np.random.default_rng(0).normal(size=(120, 4)), 6)


@pytest.fixture
def logits():
    return np.random.default_rng(1).normal(size=(120, 5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lam", [0.1, 1.0, 50.0])
def test_it_solves_the_system(graph, logits, kind, lam):
    system = np.eye(120) + lam * laplacian(graph, kind=kind).toarray()
    np.testing.assert_allclose(
        refine_logits(logits, graph, lam, kind=kind, tol=1e-10), np.linalg.solve(system, logits), atol=1e-8
    )


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 25), lam=st.sampled_from([0.0, 1e-3, 0.3, 2.0, 100.0]), seed=st.integers(0, 99))
def test_any_weighted_graph_is_solved(n, lam, seed):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.exponential(size=(n, n)) * (rng.random((n, n)) < 0.3), 1)
    graph, p = upper + upper.T, rng.normal(size=(n, 3))
    wanted = np.linalg.solve(np.eye(n) + lam * laplacian(graph).toarray(), p)
    np.testing.assert_allclose(refine_logits(p, sparse.csr_matrix(graph), lam, tol=1e-11), wanted, atol=1e-8)


def test_lam_zero_changes_no_bit(graph, logits):
    np.testing.assert_array_equal(refine_logits(logits, graph, 0), logits)


def test_rows_that_add_up_to_one_still_do(graph, logits):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    refined = refine_logits(p, graph, 3.0, tol=1e-10)
    np.testing.assert_allclose(refined.sum(axis=1), 1, atol=1e-8)
    np.testing.assert_allclose(refined.sum(axis=0), p.sum(axis=0), rtol=1e-8)
    assert (refined > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_more_smoothing_varies_less_along_the_links(graph, logits, kind):
    lap = laplacian(graph, kind=kind)
    refined = [refine_logits(logits, graph, lam, kind=kind) for lam in (0, 0.1, 0.5, 1, 5, 20)]
    energy = [np.sum(values * (lap @ values)) for values in refined]
    assert all(after < before for before, after in itertools.pairwise(energy))


def test_each_part_goes_to_its_own_mean_and_a_lonely_cell_stays(logits):
    a = np.zeros((7, 7))
    a[:3, :3] = a[3:6, 3:6] = 1
    p = logits[:7]
    refined = refine_logits(p, a, 1e6, tol=1e-12)
    np.testing.assert_allclose(refined[:3], np.tile(p[:3].mean(axis=0), (3, 1)), atol=1e-5)
    np.testing.assert_allclose(refined[3:6], np.tile(p[3:6].mean(axis=0), (3, 1)), atol=1e-5)
    np.testing.assert_array_equal(refined[6], p[6])


def test_cells_and_classes_in_another_order_give_the_same(graph, logits):
    rng = np.random.default_rng(2)
    cells, classes = rng.permutation(120), rng.permutation(5)
    wanted = refine_logits(logits, graph, 2.0, tol=1e-10)[cells][:, classes]
    got = refine_logits(logits[cells][:, classes], graph[cells][:, cells], 2.0, tol=1e-10)
    np.testing.assert_allclose(got, wanted, atol=1e-8)


def test_a_class_does_not_depend_on_the_others(graph, logits, monkeypatch):
    scaled = logits * [1, 1e-6, 1e6, 0, 1]
    together = refine_logits(scaled, graph, 2.0)
    assert not together[:, 3].any()
    monkeypatch.setattr(smoothing, "_WORK_VALUES", 1)  # one class at a time
    np.testing.assert_allclose(refine_logits(scaled, graph, 2.0), together, rtol=1e-12, atol=0)
    for j, scale in enumerate([1, 1e-6, 1e6]):  # each class to its own tolerance
        system = np.eye(120) + 2 * laplacian(graph).toarray()
        left = np.linalg.norm(scaled[:, j] - system @ together[:, j])
        assert left <= 1.01e-6 * np.linalg.norm(scaled[:, j]), scale


def test_the_input_is_left_alone(graph, logits):
    before, links = logits.copy(), graph.copy()
    refine_logits(logits, graph, 2.0)
    np.testing.assert_array_equal(logits, before)
    assert (graph != links).nnz == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lam": -1.0}, "lam is -1"),
        ({"lam": np.nan}, "lam is nan"),
        ({"tol": 0.0}, "tol is 0"),
        ({"logits": np.zeros(120)}, "one column per class"),
        ({"logits": np.full((120, 2), np.nan)}, "120 cells have logits"),
        ({"logits": np.zeros((119, 2))}, "logits of 119 cells need a graph of as many"),
        ({"max_steps": 1}, "did not converge in 1 steps for 5 of 5"),
    ],
)
def test_what_cannot_be_smoothed(graph, logits, change, says):
    given = {"logits": logits, "graph": graph, "lam": 5.0} | change
    with pytest.raises(CellsError, match=says):
        refine_logits(given.pop("logits"), given.pop("graph"), given.pop("lam"), **given)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lam", [0.0, 1.0, 50.0, 1e4])
@pytest.mark.parametrize("room", [10**6, 0])
def test_sets_that_blocks_share_are_smoothed_as_each_would_be(graph, kind, lam, room, monkeypatch):
    monkeypatch.setattr(smoothing, "_BASIS_VALUES", room)
    rng = np.random.default_rng(4)
    block = rng.integers(9, size=120)
    sets = [rng.normal(size=(9, 3)) for _ in range(4)]
    got = list(refine_blocks(sets, block, graph, lam, kind=kind))
    assert len(got) == 4
    for values, smoothed in zip(sets, got, strict=True):
        np.testing.assert_allclose(smoothed, refine_logits(values[block], graph, lam, kind=kind), atol=1e-4)


def test_what_sets_have_in_common_is_solved_once(graph, monkeypatch):
    solved, solve = [], smoothing.solve

    def counted(system, right, **options):
        solved.append(right.shape[1])
        return solve(system, right, **options)

    monkeypatch.setattr(smoothing, "solve", counted)
    rng = np.random.default_rng(4)
    common = rng.normal(size=(30, 7))
    sets = [common @ rng.normal(size=(7, 5)) for _ in range(20)]
    assert len(list(refine_blocks(sets, rng.integers(30, size=120), graph, 1.0, kind="unnormalised"))) == 20
    assert solved == [7]
    assert not list(refine_blocks([], np.zeros(120, int), graph, 1.0, kind="unnormalised"))


def test_one_cell_is_its_own_answer():
    np.testing.assert_array_equal(refine_logits([[1.0, 2.0]], np.zeros((1, 1)), 5.0), [[1.0, 2.0]])


@pytest.mark.slow
def test_half_a_million_cells_take_little_beyond_the_graph():
    import tracemalloc

    n, k, classes = 500_000, 15, 30
    rng = np.random.default_rng(3)
    near = (np.arange(n)[:, None] + rng.integers(1, 500, (n, k))) % n
    linked = sparse.csr_matrix((np.full(n * k, 0.5), near.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    graph = (linked + linked.T).tocsr()
    logits = rng.normal(size=(n, classes))
    size = graph.data.nbytes + graph.indices.nbytes + graph.indptr.nbytes
    tracemalloc.start()
    try:
        refined = refine_logits(logits, graph, 1.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert abs(refined.sum() - logits.sum()) < 1e-3 * np.abs(logits).sum()
    assert peak < logits.nbytes + 6 * size + 5 * smoothing._WORK_VALUES * 8
