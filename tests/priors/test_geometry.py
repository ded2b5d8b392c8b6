"""The neighbour graph against brute force, and where it has to stay the same."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from genetext.errors import PriorsError
from genetext.priors import GenePriors, geometry


def own(n=300, dim=8, seed=0, missing=0):
    rng = np.random.default_rng(seed)
    names = [f"G{i:04d}" for i in range(n)]
    priors = GenePriors.from_arrays(names, rng.normal(size=(n, dim)))
    mixed = [*names, *(f"junk{i}" for i in range(missing))]
    return priors.align([mixed[i] for i in rng.permutation(len(mixed))])


def brute(priors, k):
    unit = priors.vectors.astype(np.float64)
    unit /= np.where(priors.mask, np.linalg.norm(unit, axis=1), 1)[:, None]
    dense = np.zeros((len(priors), len(priors)))
    for i in np.flatnonzero(priors.mask):
        cosine = unit @ unit[i]
        cosine[i] = -2
        cosine[~priors.mask] = -2
        for j in np.argsort(-cosine, kind="stable")[:k]:
            if cosine[j] > 0:
                dense[i, j] = cosine[j]
    return dense


@pytest.mark.parametrize("k", [1, 7, 30])
def test_directed_graph_is_brute_force(k):
    priors = own(missing=20)
    found = priors.gene_graph(k, mode="directed")
    assert found.shape == (320, 320)
    assert found.dtype == np.float32
    assert np.allclose(found.toarray(), brute(priors, k), atol=1e-6)


def test_modes():
    priors = own(missing=5)
    directed = priors.gene_graph(6, mode="directed").toarray()
    union, mutual = priors.gene_graph(6).toarray(), priors.gene_graph(6, mode="mutual").toarray()
    assert np.array_equal(union, np.maximum(directed, directed.T))
    assert np.array_equal(mutual, np.minimum(directed, directed.T))
    assert np.array_equal(union, union.T)
    assert mutual.astype(bool).sum() < union.astype(bool).sum()


def test_missing_genes_are_alone_even_where_they_have_the_mean_in_their_row():
    rng = np.random.default_rng(0)
    priors = GenePriors.from_arrays(["A", "B", "C"], rng.random((3, 4))).align(["A", "x", "B", "C"], missing="mean")
    linked = priors.gene_graph(3)
    assert linked[1].nnz == linked[:, 1].nnz == 0
    assert (linked.diagonal() == 0).all()
    assert linked.nnz == 6


@pytest.mark.parametrize("rows", [1, 7, 64, 10_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_block_size_and_threads_change_nothing(monkeypatch, rows, threads):
    priors = own(200, 16)
    expected = priors.gene_graph(5, mode="directed")
    monkeypatch.setattr(geometry, "_ROWS", rows)
    with threadpool_limits(threads):
        found = priors.gene_graph(5, mode="directed")
    assert np.array_equal(found.indptr, expected.indptr)
    assert np.array_equal(found.indices, expected.indices)
    assert np.array_equal(found.data, expected.data)


def test_ties_are_broken_by_the_gene_and_not_by_its_place():
    rng = np.random.default_rng(1)
    few = rng.normal(size=(4, 33)).astype(np.float32)
    names = [f"G{i:02d}" for i in range(40)]
    priors = GenePriors.from_arrays(names, few[np.arange(40) % 4])  # ten genes share each text
    order = rng.permutation(40)
    turned = priors.align([names[i] for i in order])
    one = priors.gene_graph(3, mode="directed").toarray()
    other = turned.gene_graph(3, mode="directed").toarray()
    assert np.array_equal(one[np.ix_(order, order)], other)
    assert np.flatnonzero(one[0]).tolist() == [4, 8, 12]


def test_fewer_genes_than_neighbours():
    priors = GenePriors.from_arrays(["A", "B", "C"], np.ones((3, 2)))
    assert priors.gene_graph(10).nnz == 6
    assert GenePriors.from_arrays(["A"], np.ones((1, 2))).gene_graph(3).nnz == 0


@pytest.mark.parametrize(("k", "mode"), [(0, "union"), (3, "knn")])
def test_wrong_requests(k, mode):
    with pytest.raises(PriorsError):
        own(10).gene_graph(k, mode=mode)


@pytest.mark.parametrize("kind", ["cosine", "linear", "rbf"])
def test_kernels_are_symmetric_semidefinite_and_leave_missing_genes_alone(kind):
    priors = own(80, missing=10)
    matrix = priors.kernel(kind)
    assert np.array_equal(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix.astype(np.float64)).min() > -1e-4
    known = np.flatnonzero(priors.mask)
    lost = np.flatnonzero(~priors.mask)
    assert np.array_equal(matrix[np.ix_(lost, lost)], np.eye(10))
    assert not matrix[np.ix_(lost, known)].any()
    one, other = priors.vectors[known[0]].astype(np.float64), priors.vectors[known[1]].astype(np.float64)
    pairs = np.linalg.norm(priors.vectors[known][:, None] - priors.vectors[known][None], axis=2)
    scale = np.median(pairs[np.triu_indices(80, 1)])
    expected = {
        "cosine": one @ other / np.linalg.norm(one) / np.linalg.norm(other),
        "linear": one @ other,
        "rbf": np.exp(-((one - other) ** 2).sum() / (2 * scale**2)),
    }[kind]
    assert matrix[known[0], known[1]] == pytest.approx(expected, abs=1e-4)


def test_kernel_scale():
    priors = own(20)
    assert priors.kernel("rbf", scale=100).min() > 0.99
    with pytest.raises(PriorsError, match="only rbf"):
        priors.kernel("cosine", scale=1)


@pytest.mark.parametrize(("n", "dim"), [(400, 10), (30, 100)])
def test_participation_ratio_is_that_of_the_variances(n, dim):
    priors = own(n, dim)
    variances = np.linalg.svd(priors.vectors - priors.vectors.mean(axis=0), compute_uv=False).astype(np.float64) ** 2
    assert priors.participation_ratio() == pytest.approx(variances.sum() ** 2 / (variances**2).sum(), rel=1e-5)
    assert priors.participation_ratio() == pytest.approx(own(n, dim, missing=9).participation_ratio(), rel=1e-9)


def test_participation_ratio_of_extremes():
    line = GenePriors.from_arrays([f"G{i}" for i in range(50)], np.arange(50)[:, None] * np.ones((1, 7)))
    assert line.participation_ratio() == pytest.approx(1)
    ball = own(20_000, 5)
    assert ball.participation_ratio() == pytest.approx(5, rel=0.01)
    with pytest.raises(PriorsError, match="same vector"):
        GenePriors.from_arrays(["A", "B"], np.ones((2, 3))).participation_ratio()
    with pytest.raises(PriorsError, match="two genes"):
        GenePriors.from_arrays(["A"], np.ones((1, 3))).participation_ratio()


def test_a_gene_in_several_rows_is_no_neighbour_of_itself_and_takes_no_others_place():
    once = own(60)
    rng = np.random.default_rng(3)
    rows = np.append(rng.permutation(60), [5, 5, 17])
    for mode in ("directed", "union", "mutual"):
        expected = once.gene_graph(4, mode=mode).toarray()
        found = once.take(rows).gene_graph(4, mode=mode).toarray()
        assert np.array_equal(found, expected[np.ix_(rows, rows)])
    twice = GenePriors.from_arrays(["A", "B"], np.array([[1.0, 0.1], [1, 0.2]])).align(["A", "A", "B"])
    assert (twice.gene_graph(1).toarray() > 0).tolist() == [
        [False, False, True],
        [False, False, True],
        [True] * 2 + [False],
    ]
