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
    plain = torch.nn.functional.linear(x.double(), *(actual.double() for actual in layer.parameters()))
    wanted = torch.autograd.grad(plain, [x, *layer.parameters()], upstream.double())
    out = layer(x)
    torch.testing.assert_close(out, plain.float(), rtol=1e-4, atol=1e-4)
    gradients = torch.autograd.grad(out, [x, *layer.parameters()], upstream)
    for actual, expected in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(actual, expected.float(), rtol=1e-4, atol=1e-4)


def test_strides_do_not_matter(onednn):
    x, weight, bias = drawn(300, 200)[:, ::2], drawn(400, 100, seed=1)[::2], drawn(200, 3, seed=2)[:, 1]
    exact = torch.nn.functional.linear(x.double(), weight.double(), bias.double()).float()
    torch.testing.assert_close(linear(x, weight, bias), exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(matmul(x, weight.T), exact - bias, rtol=1e-4, atol=1e-4)


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


def changed_order(x, weight, bias, *_):
    return torch.nn.functional.linear(x.flip(0), weight, bias)


def other_signature(x, weight):
    return x @ weight.T


def failing(*_):
    raise RuntimeError("could not create a primitive")


@pytest.mark.parametrize("op", [None, changed_order, other_signature, failing, lambda *_: None])
def test_without_the_private_operation_or_with_another_one_products_are_torch_s(op, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "AMD EPYC"}, raising=False)

    class Operations:
        pass

    if op is not None:
        Operations._linear_pointwise = staticmethod(op)
    monkeypatch.setattr(torch.ops, "mkldnn", Operations)
    dense_product._onednn.cache_clear()
    try:
        assert dense_product._onednn() is None
        x, weight = drawn(300, 100, requires_grad=True), drawn(200, 100, seed=1, requires_grad=True)
        out = linear(x, weight)
        assert torch.equal(out, torch.nn.functional.linear(x, weight))
        out.square().sum().backward()
        assert torch.equal(matmul(x, weight.T), x @ weight.T)
    finally:
        dense_product._onednn.cache_clear()


def test_the_operation_that_torch_has_is_taken_where_it_is_the_faster():
    op = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if op is None or not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    assert dense_product._multiplies(op)


def test_a_small_product_costs_no_call(monkeypatch):
    def never(*_):
        raise AssertionError("called for a product that is not worth it")

    monkeypatch.setattr(dense_product, "_onednn", lambda: never)
    assert matmul(torch.ones(3, 4), torch.ones(4, 2)).shape == (3, 2)
