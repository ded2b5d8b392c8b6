"""Dense products of float32 matrices by the faster of two libraries that torch carries.

On x86 torch multiplies by MKL, which takes narrow instructions on processors that are not Intel's: measured on a Zen 5
core, 2.3 times slower than oneDNN, which torch has too and uses for half precision. Both compute in float32; they sum
in another order. What oneDNN is called through is what compiled models call: it is private to torch, and is tried once
before it is used. Where it does not apply (other devices and precisions, small matrices, Intel's processors, builds
without it, releases that have it otherwise) products are torch's own.
"""

import functools
import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

log = logging.getLogger("genetext")

_WORTH = 2_000_000
"""Multiplications below which a call of oneDNN costs more than it saves."""


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return `a @ b` of matrices; nothing is noted for a gradient where oneDNN does it."""
    if not _by_onednn(a, b.T):
        return a @ b
    return _onednn()(a, b.T, None, "none", [], "")  # type: ignore[no-any-return]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `x weight^T + bias`, differentiable (once), as `torch.nn.functional.linear`.

    Parameters
    ----------
    x
        `(n, n_in)`.
    weight
        `(n_out, n_in)`.
    bias
        `(n_out,)`.
    """
    if not _by_onednn(x, weight):
        return functional.linear(x, weight, bias)
    out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


class Linear(nn.Linear):
    """`torch.nn.Linear` for `(n, n_in)`, by `linear`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as in torch
        """Return `(n, n_out)`."""
        return linear(input, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        # It reads a bias as if its entries stood side by side.
        packed = None if bias is None else bias.contiguous()
        return _onednn()(x, weight, packed, "none", [], "")  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (above,), (x, weight) = upstream, ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad
        return (
            matmul(above, weight) if by_x else None,
            matmul(above.T, x) if by_weight else None,
            above.sum(dim=0) if by_bias else None,
        )


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and x.ndim == weight.ndim == 2
        and x.shape[0] * weight.numel() >= _WORTH
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
        and _onednn() is not None
    )


@functools.cache
def _onednn() -> Any:
    """Return the product by oneDNN, `(x, weight, bias, ...)`; None where torch's own is as fast or it fails."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return None
    capabilities: Any = getattr(torch.cpu, "get_capabilities", None)  # not in older releases
    if capabilities is None or "AMD" not in str(capabilities().get("cpu_name", "")):
        return None
    product = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return product if product is not None and _multiplies(product) else None


@torch.no_grad()
def _multiplies(product: Any) -> bool:
    """Try a product of known result, with a bias and without."""
    x = torch.arange(6, dtype=torch.float32, device="cpu").view(2, 3) - 2
    weight = torch.arange(12, dtype=torch.float32, device="cpu").view(4, 3) / 4
    for bias in (None, weight[:, 0].contiguous()):
        try:
            right = torch.equal(product(x, weight, bias, "none", [], ""), functional.linear(x, weight, bias))
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            log.debug("oneDNN's product cannot be called as it was (%s): products are torch's own", error)
            return False
        if not right:
            log.debug("oneDNN's product is not that of the matrices: products are torch's own")
            return False
    return True
