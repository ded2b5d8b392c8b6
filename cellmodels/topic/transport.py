"""Entropic optimal transport between few points and many, with the exact gradient of its cost.

The plan `P` between `K` rows and `G` columns with uniform marginals makes `<P, M> - epsilon * entropy(P)` least
(Cuturi, arXiv 1306.0895). It is found by Sinkhorn's iterations on a kernel into which the potentials are absorbed time
and again (Schmitzer, arXiv 1610.06519), so that no kernel entry that matters underflows in float32, and can start from
the potential of an earlier, like problem: in training one or a few iterations then suffice.

What embedding clustering regularisation adds to a loss is the cost `<P(M), M>`, not the regularised value. By the
envelope theorem the gradient of the regularised value is `P`; that of the cost has a second part, because the plan
moves with `M`. It follows from the marginals, which stay as they are, by a linear system with as many unknowns as there
are rows, so that no iteration is kept for the backward pass.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from cellmodels.nn.dense_product import matmul

GradientKind = Literal["implicit", "envelope"]
_ABSORB_EVERY = 50
"""Iterations after which scalings go into the potentials: few enough for float32, many enough to cost nothing."""
_FAR = 1e-20
"""A row sum of the kernel below this: float32 would soon be at its end."""


class Plan(NamedTuple):
    """A transport plan.

    Attributes
    ----------
    plan
        `(K, G)`: positive, sums to 1; each row to `1 / K` (up to rounding), each column to about `1 / G`.
    potential
        `(K,)`: of the rows, in the unit of the cost; the start of a like problem.
    n_iterations
        How many were done.
    error
        Sum of the absolute differences of the column sums to `1 / G`.
    """

    plan: Tensor
    potential: Tensor
    n_iterations: int
    error: float


@torch.no_grad()
def sinkhorn(
    cost: Tensor,
    *,
    epsilon: float = 0.05,
    tolerance: float = 5e-3,
    max_iterations: int = 1000,
    start: Tensor | None = None,
) -> Plan:
    """Find the entropic transport plan with uniform marginals; nothing is differentiated.

    Parameters
    ----------
    cost
        `(K, G)`, finite; float32 or float64.
    epsilon
        Weight of the entropy, in the unit of the cost.
    tolerance
        Stop when the column sums are that near to `1 / G`, in the sum over columns.
    max_iterations
        Stop after so many, near or not.
    start
        `(K,)`: the potential of an earlier problem. Default: zeros.

    Returns
    -------
    Plan
        Where `start` comes from changes how many iterations it takes, and the plan within `tolerance`.
    """
    n_rows, n_columns = cost.shape
    scaled = cost / -epsilon
    row_sum, column_sum = 1 / n_rows, 1 / n_columns
    # Potentials in units of epsilon. From the cost of its own row no row sum of the kernel is below 1 / (K G^2).
    cold = -torch.logsumexp(scaled, dim=1)
    f = cold if start is None else start.to(cost) / epsilon
    done, error = 0, math.inf
    while True:
        kernel = _column_kernel(scaled, f)
        if not done and bool((kernel.sum(dim=1) < _FAR).any()):  # a start that has little to do with this cost
            f = cold
            kernel = _column_kernel(scaled, f)
        u, v = torch.ones_like(f), torch.ones_like(scaled[0])
        for _ in range(_ABSORB_EVERY):
            u = row_sum / (kernel @ v)
            columns = u @ kernel
            done += 1
            error = float((v * columns - column_sum).abs().sum())
            if error <= tolerance or done >= max_iterations:
                break
            v = column_sum / columns
        f = f + torch.log(u)
        if error <= tolerance or done >= max_iterations or math.isnan(error):
            # A potential is free up to a constant; without one it cannot grow over thousands of steps.
            return Plan(u[:, None] * kernel * v, epsilon * (f - f.mean()), done, error)


def transport_cost(cost: Tensor, plan: Tensor, *, epsilon: float = 0.05, gradient: GradientKind = "implicit") -> Tensor:
    """Return `<plan, cost>`, differentiable by the cost.

    Parameters
    ----------
    cost
        `(K, G)`.
    plan
        `(K, G)`: the plan of this cost, from `sinkhorn`.
    epsilon
        As in `sinkhorn`.
    gradient
        `implicit`: that of `<P(M), M>`, the plan moving with the cost, as if differentiated through all iterations.
        `envelope`: the plan held fast, which is the gradient of the regularised value.

    Returns
    -------
    Scalar.

    Notes
    -----
    With `P_kj = exp(f_k + g_j - M_kj / epsilon)` and the marginals held, the gradient is
    `P_kj (1 + (x_k + y_j - M_kj) / epsilon)`, where `diag(a) x + P y = (P * M) 1` and `P^T x + diag(b) y = (P * M)^T 1`
    for the row sums `a` and column sums `b`. Elimination of `y` leaves the Laplacian of a graph of the rows.
    """
    if gradient == "envelope":
        return (plan.detach() * cost).sum()
    value: Tensor = _TransportCost.apply(cost, plan, epsilon)  # type: ignore[no-untyped-call]
    return value


class _TransportCost(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cost: Tensor, plan: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(cost, plan)
        ctx.epsilon = epsilon
        return (plan * cost).sum()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        cost, plan = ctx.saved_tensors
        return upstream[0] * cost_gradient(cost, plan, ctx.epsilon), None, None


def cost_gradient(cost: Tensor, plan: Tensor, epsilon: float) -> Tensor:
    """Return the gradient of `<P(M), M>` by `M`, `(K, G)`; see `transport_cost`."""
    paid = plan * cost
    columns = plan.sum(dim=0)
    to_rows, to_columns = paid.sum(dim=1), paid.sum(dim=0)
    shared = matmul(plan / columns, plan.T)
    # The diagonal from the other entries: a difference of row sums would lose what hangs together weakly.
    wide = torch.float32 if cost.device.type == "mps" else torch.float64
    links = shared.to(wide)
    links = (links + links.T) / 2
    links.fill_diagonal_(0)
    laplacian = torch.diag(links.sum(dim=1)) - links
    right = (to_rows - plan @ (to_columns / columns)).to(wide)
    n = len(right)
    # Rows that nothing links (underflow) leave more than one constant free; a floor under the diagonal settles them.
    floor = torch.eye(n, dtype=wide, device=cost.device) * (torch.finfo(cost.dtype).eps / n)
    x = torch.linalg.solve(laplacian + floor + 1 / n**2, right - right.mean()).to(cost)
    y = (to_columns - x @ plan) / columns
    gradient: Tensor = plan * (1 + (x[:, None] + y - cost) / epsilon)
    return gradient


def _column_kernel(scaled: Tensor, f: Tensor) -> Tensor:
    """Return `exp(scaled + f + g)` with the `g` that makes each column sum to `1 / G`."""
    kernel = torch.softmax(scaled + f[:, None], dim=0) / scaled.shape[1]
    # What is smaller adds nothing to a sum; processors take a hundred times as long for subnormal numbers.
    return torch.nn.functional.threshold(kernel, torch.finfo(kernel.dtype).tiny * 1e8, 0.0)
