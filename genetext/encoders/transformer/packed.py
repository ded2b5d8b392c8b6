"""Linear layers whose weights are laid out once for oneDNN. Needs torch: import it inside functions only.

A plain `torch.nn.Linear` in float32 goes to MKL, which runs at a third of the machine's rate on processors of other
makers than Intel, and one in bfloat16 rearranges its weights at every call, which small batches pay for dearly. Both
go away when the weights are rearranged once. The layers around the linear ones stay in float32, so that bfloat16
touches the matrix products alone.
"""

import platform
from functools import cache

import torch
from torch import Tensor, nn

ROWS = 32
"""Rows are filled up to a multiple of this: oneDNN compiles and keeps a kernel, megabytes of it, for every number."""


class PackedLinear(nn.Module):
    """`y = x W^T + b` in `dtype`, optionally followed by the exact GELU."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.activation, self.algorithm = "none", ""
        weight = linear.weight.detach().to(dtype)
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)
        # Opaque: it has the type that some models ask of their layers' weights, and refuses arithmetic on it.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., in) float` to `(..., out)` of the layer's own type."""
        flat = x.reshape(-1, x.shape[-1])
        rows = len(flat)
        if rows % ROWS:
            even = torch.empty(-(-rows // ROWS) * ROWS, flat.shape[1], dtype=self.dtype)
            even[:rows] = flat
            even[rows:] = 0
        else:
            even = flat.to(self.dtype)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            even, self.weight, self.bias, self.activation, [], self.algorithm
        )
        return y[:rows].view(*x.shape[:-1], -1)


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this torch and this processor have oneDNN's packed linear layers in `dtype`: tried once, on a small one.

    They are torch's own, not promised to anybody, and which processors have them in bfloat16 changed with releases.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        with torch.inference_mode():
            PackedLinear(nn.Linear(ROWS, ROWS), dtype)(torch.zeros(1, ROWS))
    except (AttributeError, RuntimeError):
        return False
    return True


def pack(model: nn.Module, dtype: torch.dtype) -> None:
    """Replace every `nn.Linear` of `model` in place, and join the exact GELU of BERT-like layers to the one before."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child, dtype))
        dense = getattr(module, "dense", None)
        activation = getattr(module, "intermediate_act_fn", None)
        if isinstance(dense, PackedLinear) and _is_exact_gelu(activation):
            dense.activation, dense.algorithm = "gelu", "none"
            module.intermediate_act_fn = nn.Identity()


def _is_exact_gelu(activation: object) -> bool:
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    return type(activation).__name__ == "GELUActivation" and activation.act is nn.functional.gelu  # type: ignore[attr-defined]
