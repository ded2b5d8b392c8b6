"""Graphs of genes and filters, beside dense float64 forms."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.neighbors import kneighbors_graph

from cellmodels.refinement.gene_graphs import blended, expression_graph, filtered, smoother, text_graph
from genetext.priors import GenePriors


def counts(n=30, g=12, seed=0):
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix(rng.poisson(rng.gamma(2, 2, size=(1, g)), size=(n, g)).astype(np.float32))


def priors(n=8, without=(2,)):
    vectors = np.random.default_rng(1).normal(size=(n - len(without), 5)).astype(np.float32)
    names = [f"GENE{i}" for i in range(n)]
    return GenePriors.from_arrays([x for i, x in enumerate(names) if i not in without], vectors).align(names)


def test_euclidean_neighbours_are_those_of_scikit_learn():
    x = np.random.default_rng(2).normal(size=(30, 12)).astype(np.float32)
    result = expression_graph(sparse.csr_matrix(x), 4, metric="euclidean").toarray()
    assert np.array_equal(result, kneighbors_graph(x.T, 4, include_self=False).toarray())


def test_cosine_neighbours_are_the_most_correlated():
    x = counts()
    correlation = np.corrcoef(x.toarray().T)
    np.fill_diagonal(correlation, -2)
    result = expression_graph(x, 3).toarray()
    for gene in range(12):
        assert set(np.flatnonzero(result[gene])) == set(np.argsort(-correlation[gene])[:3])


def test_dense_features_have_the_same_graph():
    x = counts()
    assert (expression_graph(x, 3) != expression_graph(x.toarray(), 3)).nnz == 0


def test_a_gene_that_does_not_vary_is_near_to_none_and_breaks_nothing():
    x = counts().toarray()
    x[:, 4] = 0.1
    graph = expression_graph(x, 3)
    assert np.array_equal(np.diff(graph.indptr), np.full(12, 3))
    assert graph[:, 4].sum() < graph[:, [0, 1, 2, 3]].sum()


def test_the_order_of_cells_and_genes_changes_no_link():
    x = counts().toarray() + np.random.default_rng(8).random((30, 12))
    cells, genes = np.random.default_rng(3).permutation(30), np.random.default_rng(4).permutation(12)
    before = expression_graph(x, 3).toarray()
    assert np.array_equal(expression_graph(x[cells][:, genes], 3).toarray(), before[np.ix_(genes, genes)])


@pytest.mark.parametrize("genes", [1, 2])
def test_more_neighbours_than_genes_are_all_the_others(genes):
    x = counts(g=5)[:, :genes]
    assert expression_graph(x, 4).nnz == genes * (genes - 1)


def test_genes_without_a_prior_have_no_links_in_the_text():
    graph = text_graph(priors(), 3)
    assert set(graph.data) == {1.0}
    assert graph[2].nnz == 0
    assert graph[:, 2].nnz == 0


def test_a_blend_has_its_shares_and_keeps_expression_where_there_is_no_text():
    expression, text = expression_graph(counts(g=8), 3), text_graph(priors(), 3)
    mixed = blended(expression, text, 0.25).toarray()
    expected = 0.75 * expression.toarray() + 0.25 * text.toarray()
    expected[2] = expression.toarray()[2]
    np.testing.assert_allclose(mixed, expected)
    assert (blended(expression, text, 0.0) != expression).nnz == 0


def test_the_filter_is_that_of_kipf_and_welling():
    graph = expression_graph(counts(), 3)
    a = np.maximum(graph.toarray(), graph.toarray().T) + np.eye(12)
    d = np.diag(a.sum(1) ** -0.5)
    np.testing.assert_allclose(smoother(graph).toarray(), d @ a @ d)


def test_a_directed_filter_takes_from_those_that_link_to_a_node():
    """Message passing over a list of edges: to j from every i with a link i -> j, in-degrees counting the self-loop."""
    graph = expression_graph(counts(), 3)
    sources, targets = (graph + sparse.identity(12)).nonzero()
    degree = np.bincount(targets, minlength=12)
    x = np.random.default_rng(5).normal(size=(12, 4))
    expected = np.zeros_like(x)
    np.add.at(expected, targets, x[sources] / np.sqrt(degree[sources] * degree[targets])[:, None])
    np.testing.assert_allclose(smoother(graph, directed=True) @ x, expected)


def test_a_node_without_links_keeps_its_features():
    smooth = smoother(sparse.csr_matrix((3, 3)))
    np.testing.assert_array_equal(smooth.toarray(), np.eye(3))


@pytest.mark.parametrize("density", [0.01, 0.8])
@pytest.mark.parametrize("hops", [0, 1, 3])
def test_filtered_features_are_powers_of_the_filter(hops, density):
    x = sparse.random(40, 600, density=density, format="csr", dtype=np.float32, random_state=np.random.default_rng(0))
    links = sparse.random(40, 40, density=0.1, random_state=np.random.default_rng(1))
    smooth = smoother(links)
    result = filtered(x, smooth, hops)
    expected = np.linalg.matrix_power(smooth.toarray(), hops) @ x.toarray()
    np.testing.assert_allclose(result.toarray() if sparse.issparse(result) else result, expected, atol=1e-6)
    assert result.dtype == np.float32
    assert sparse.issparse(result) == (hops == 0 or density < 0.1)
