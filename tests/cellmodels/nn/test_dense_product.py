"""Products by oneDNN against torch's own, where oneDNN applies and where it does not."""

import pytest
import torch

from cellmodels.nn import dense_product
from cellmodels.nn.dense_product import Linear, linear, matmul

SHAPES = [(300, 100, 200), (3, 5, 2)]  # above and below what is worth a call


@pytest.fixture(params=["as here", "forced", "absent"])
def onednn(request, monkeypatch):
    op = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if request.param == "forced":
        if op is None or not torch.backends.mkldnn.is_available():
            pytest.skip("this build of torch has no oneDNN")
        monkeypatch.setattr(dense_product, "_onednn", lambda: op)
    elif request.param == "absent":
        monkeypatch.setattr(dense_product, "_onednn", lambda: None)
    return request.param


def drawn(*shape, seed=0, **how):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **how)


@pytest.mark.parametrize(("n", "k", "m"), SHAPES)
def test_a_product_is_torch_s(onednn, n, k, m):
    a, b = drawn(n, k), drawn(k, m, seed=1)
    for left, right in ((a, b), (a.T.contiguous().T, b), (a, b.T.contiguous().T), (b.T, a.T)):
        exact = (left.double() @ right.double()).float()
        torch.testing.assert_close(matmul(left, right), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n", "k", "m"), SHAPES)
@pytest.mark.parametrize("biased", [True, False])
def test_a_layer_and_its_gradients_are_torch_s(onednn, n, k, m, biased):
    layer, x, upstream = Linear(k, m, bias=biased), drawn(n, k, requires_grad=True), drawn(n, m, seed=2)
    plain = torch.nn.functional.linear(x.double(), *(one.double() for one in layer.parameters()))
    wanted = torch.autograd.grad(plain, [x, *layer.parameters()], upstream.double())
    out = layer(x)
    torch.testing.assert_close(out, plain.float(), rtol=1e-4, atol=1e-4)
    found = torch.autograd.grad(out, [x, *layer.parameters()], upstream)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-4)


def test_a_gradient_that_nobody_wants_is_not_made(onednn):
    x, weight = drawn(300, 100), drawn(200, 100, seed=1, requires_grad=True)
    linear(x, weight).sum().backward()
    assert x.grad is None
    torch.testing.assert_close(weight.grad, x.sum(0).expand(200, 100), rtol=1e-4, atol=1e-3)


def test_other_precisions_and_autocast_are_torch_s(onednn):
    x, weight = drawn(300, 100), drawn(200, 100, seed=1)
    assert linear(x.double(), weight.double()).dtype == torch.float64
    assert matmul(x.bfloat16(), weight.bfloat16().T).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
        assert matmul(x, weight.T).dtype == torch.bfloat16


def test_a_second_derivative_is_refused(monkeypatch):
    op = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if op is None:
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(dense_product, "_onednn", lambda: op)
    x, weight = drawn(300, 100, requires_grad=True), drawn(200, 100, seed=1, requires_grad=True)
    (first,) = torch.autograd.grad(linear(x, weight).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_onednn_can_be_switched_off(monkeypatch):
    def never(*_):
        raise AssertionError("called though it was switched off")

    monkeypatch.setattr(dense_product, "_onednn", lambda: never)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    try:
        assert matmul(drawn(300, 100), drawn(100, 200)).shape == (300, 200)
    finally:
        torch._C._set_mkldnn_enabled(True)


def test_a_small_product_costs_no_call(monkeypatch):
    def never(*_):
        raise AssertionError("called for a product that is not worth it")

    monkeypatch.setattr(dense_product, "_onednn", lambda: never)
    assert matmul(torch.ones(3, 4), torch.ones(4, 2)).shape == (3, 2)
