"""Sparse products against dense ones."""

import numpy as np
import pytest
import torch
from scipy import sparse

from cellmodels.nn.sparse_product import Smoothed, SparseMatrix, is_sparse_enough


def drawn(shape, density=0.3, seed=0):
    return sparse.random(*shape, density=density, format="csr", random_state=seed)


def test_product_and_gradient_are_those_of_the_dense_matrix():
    matrix = drawn((7, 5))
    matrix.data[0] = -3
    tensor_matrix = SparseMatrix.of(matrix, dtype=torch.float64)
    dense = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    upstream = torch.arange(28, dtype=torch.float64).reshape(7, 4)
    product = tensor_matrix @ dense
    torch.testing.assert_close(product, torch.from_numpy(matrix.toarray()) @ dense)
    product.backward(upstream)
    torch.testing.assert_close(dense.grad, torch.from_numpy(matrix.toarray().T) @ upstream)
    assert tensor_matrix.shape == (7, 5)


def test_entries_stand_where_they_stand_in_the_flat_matrix():
    matrix = drawn((6, 4))
    empty = sparse.csr_matrix((1, 4))
    matrix = sparse.vstack([matrix[[0, 3, 3]], empty, matrix[5]], format="csr")  # rows twice, left out, empty
    where, values = SparseMatrix.of(matrix, dtype=torch.float64).entries()
    flat = torch.zeros(matrix.shape[0] * matrix.shape[1], dtype=torch.float64).index_put((where,), values)
    np.testing.assert_array_equal(flat.reshape(matrix.shape).numpy(), matrix.toarray())


def test_the_number_of_threads_changes_no_bit():
    matrix, dense = drawn((400, 300), 0.1), torch.randn(300, 64, generator=torch.Generator().manual_seed(0))
    tensor_matrix, threads = SparseMatrix.of(matrix), torch.get_num_threads()
    result = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            result.append(tensor_matrix @ dense)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(result[0], result[1])
    assert torch.equal(result[0], result[2])


def test_the_matrix_given_stays_the_caller_s():
    matrix = drawn((7, 5))
    matrix = sparse.csr_matrix((matrix.data, matrix.indices[::-1].copy(), matrix.indptr), shape=(7, 5))
    indices = matrix.indices.copy()
    tensor_matrix = SparseMatrix.of(matrix, dtype=torch.float64)
    before = tensor_matrix.matrix.to_dense().clone()
    assert np.array_equal(matrix.indices, indices)
    matrix.data[:] = 99
    assert torch.equal(tensor_matrix.matrix.to_dense(), before)
    assert torch.equal(tensor_matrix.transposed.to_dense(), before.T)


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_smoothed_features_are_multiplied_as_if_they_had_been_made(hops):
    graph = drawn((9, 9), 0.3)
    smooth = sparse.csr_matrix(graph + graph.T)
    features = drawn((9, 6), 0.4, seed=1)
    made = features.toarray()
    for _ in range(hops):
        made = smooth @ made
    weight = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    averaging = SparseMatrix.of(smooth, symmetric=True, dtype=torch.float64)
    tensor_matrix = Smoothed(averaging, hops, SparseMatrix.of(features, dtype=torch.float64))
    product, upstream = tensor_matrix @ weight, torch.arange(27, dtype=torch.float64).reshape(9, 3)
    torch.testing.assert_close(product, torch.from_numpy(made) @ weight)
    product.backward(upstream)
    torch.testing.assert_close(weight.grad, torch.from_numpy(made.T) @ upstream)


@pytest.mark.parametrize(("density", "sparse_enough"), [(0.05, True), (0.5, False)])
def test_what_is_sparse_enough(density, sparse_enough):
    matrix = drawn((50, 40), density)
    assert is_sparse_enough(matrix) is sparse_enough
    assert not is_sparse_enough(matrix.toarray())
