"""The folded decoder against batch normalisation and a softmax written out."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from cellmodels.nn.sparse_product import SparseMatrix
from cellmodels.topic.decoder import FoldedNorm, negative_log_likelihood

N, K, G = 9, 4, 13


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    theta = torch.from_numpy(rng.dirichlet(np.ones(K), N)).requires_grad_()
    beta = torch.from_numpy(rng.dirichlet(np.ones(K), G).T.copy()).requires_grad_()
    target = rng.gamma(1, 1, (N, G)) * (rng.random((N, G)) < 0.4)
    target[2] = 0  # a cell that expresses nothing
    return theta, beta, target


def norms(seed=1):
    rng = np.random.default_rng(seed)
    made = FoldedNorm(G).double(), nn.BatchNorm1d(G).double()
    weight, bias = rng.normal(1, 0.5, G), rng.normal(size=G)
    for norm in made:
        with torch.no_grad():
            norm.weight.copy_(torch.from_numpy(weight))
            norm.bias.copy_(torch.from_numpy(bias))
    return made


@pytest.mark.parametrize("training", [True, False])
def test_folding_is_batch_normalisation(training):
    folded, plain = norms()
    theta, beta, _ = drawn()
    for step in range(3):
        theta, beta, _ = drawn(step)
        slope, shift = folded.fold(theta, beta)
        torch.testing.assert_close(theta @ (beta * slope) + shift, plain(theta @ beta), rtol=0, atol=1e-11)
    for norm in (folded, plain):
        norm.train(training)
    slope, shift = folded.fold(theta, beta)
    torch.testing.assert_close(theta @ (beta * slope) + shift, plain(theta @ beta), rtol=0, atol=1e-11)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(dict(folded.named_buffers())[name], buffer, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("as_sparse", [True, False])
def test_loss_and_gradients_are_those_of_the_softmax_written_out(as_sparse):
    folded, plain = norms()
    theta, beta, target = drawn()
    dense = torch.from_numpy(target)
    expected = -(dense * torch.log_softmax(plain(theta @ beta), 1)).sum(1).mean()
    inputs = [theta, beta, plain.weight, plain.bias]
    wanted = torch.autograd.grad(2 * expected, inputs)
    slope, shift = folded.fold(theta, beta)
    given = SparseMatrix.of(sparse.csr_matrix(target), dtype=torch.float64) if as_sparse else dense
    loss = negative_log_likelihood(theta, beta * slope, shift, given)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    result = torch.autograd.grad(2 * loss, [theta, beta, folded.weight, folded.bias])
    for tensor, counterpart in zip(result, wanted, strict=True):
        torch.testing.assert_close(tensor, counterpart, rtol=1e-9, atol=1e-11)


def test_the_number_of_threads_does_not_change_the_loss():
    rng = np.random.default_rng(0)
    theta = torch.from_numpy(rng.dirichlet(np.ones(8), 400).astype(np.float32))
    weight = torch.from_numpy(rng.normal(size=(8, 500)).astype(np.float32))
    target = SparseMatrix.of(sparse.random(400, 500, 0.1, "csr", random_state=0))
    threads, result = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            result.append(float(negative_log_likelihood(theta, weight, torch.zeros(500), target)))
    finally:
        torch.set_num_threads(threads)
    assert result[0] == result[1] == result[2]


def test_a_second_derivative_is_refused():
    theta, beta, target = drawn()
    loss = negative_log_likelihood(theta, beta, torch.zeros(G, dtype=torch.float64), torch.from_numpy(target))
    (first,) = torch.autograd.grad(loss, theta, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        first.sum().backward()


def test_moments_are_taken_in_full_precision_where_the_rest_is_in_half():
    folded, _ = norms()
    folded = folded.float()
    theta, beta = (value.detach().float() for value in drawn()[:2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        slope, shift = folded.fold(theta.bfloat16(), beta)
    exact = folded.fold(theta, beta)
    torch.testing.assert_close(slope, exact[0], rtol=0.02, atol=0.02)
    torch.testing.assert_close(shift, exact[1], rtol=0.05, atol=0.05)


def test_half_precision_comes_near_and_gives_gradients_of_the_inputs_own_kind():
    theta, beta, target = (value.detach().float() if torch.is_tensor(value) else value for value in drawn())
    theta.requires_grad_()
    dense = torch.from_numpy(target).float()
    exact = negative_log_likelihood(theta, beta, torch.zeros(G), dense)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near = negative_log_likelihood(theta, beta, torch.zeros(G), dense)
    near.backward()
    assert float(near.detach()) == pytest.approx(float(exact.detach()), rel=0.02)
    assert theta.grad.dtype == torch.float32
    assert torch.isfinite(theta.grad).all()
