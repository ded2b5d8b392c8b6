"""Optimal transport: the plan and the gradient of its cost, beside float64 NumPy and automatic differentiation."""

import numpy as np
import pytest
import torch

from cellmodels.topic.transport import cost_gradient, sinkhorn, transport_cost


def costs(k=6, g=40, *, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    points = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rng.normal(size=(n, 7)) for n in (k, g))]
    return scale * np.square(points[0][:, None] - points[1][None]).sum(axis=2)


def numpy_plan(cost, epsilon, n=5000):
    """Sinkhorn in the log domain, until nothing changes."""
    k, g = cost.shape
    f = np.zeros(k)
    for _ in range(n):
        before = f
        h = -np.logaddexp.reduce(f[:, None] - cost / epsilon, axis=0) - np.log(g)
        f = -np.logaddexp.reduce(h - cost / epsilon, axis=1) - np.log(k)
        if np.abs(f - before).max() < 1e-14:
            break
    return np.exp(f[:, None] + h - cost / epsilon)


def plain_domain_plan(cost, alpha=20.0, tolerance=5e-3):
    """The iterations as scE2TM has them: kernel exp(-alpha M), scalings u and v, the error looked at now and then."""
    k, g = cost.shape
    kernel, u = np.exp(-alpha * cost), np.full(k, 1 / k)
    for done in range(1, 1001):
        v = (1 / g) / (kernel.T @ u + 1e-16)
        u = (1 / k) / (kernel @ v + 1e-16)
        if done % 50 == 1 and np.abs(v * (kernel.T @ u) - 1 / g).sum() <= tolerance:
            break
    return u[:, None] * kernel * v


@pytest.mark.parametrize(("scale", "epsilon"), [(1.0, 0.05), (0.2, 0.05), (3.0, 0.2)])
def test_the_plan_is_that_of_float64_numpy(scale, epsilon):
    cost = costs(scale=scale)
    transport = sinkhorn(torch.from_numpy(cost), epsilon=epsilon, tolerance=1e-13, max_iterations=20_000)
    assert np.abs(transport.plan.numpy() - numpy_plan(cost, epsilon)).max() < 1e-10
    np.testing.assert_allclose(transport.plan.sum(1).numpy(), 1 / 6, atol=1e-12)
    np.testing.assert_allclose(transport.plan.sum(0).numpy(), 1 / 40, atol=1e-12)


def test_it_is_the_plan_of_the_paper_within_its_tolerance():
    cost = costs(20, 300)
    reference, result = plain_domain_plan(cost), sinkhorn(torch.from_numpy(cost)).plan.numpy()
    assert np.abs(reference - result).sum() < 2e-2  # both stop 5e-3 before the end, on different sides
    assert abs((reference * cost).sum() - (result * cost).sum()) < 5e-3


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_marginals_in_float32_also_where_a_plain_kernel_underflows(scale):
    cost = torch.from_numpy(costs(10, 200, scale=scale)).float()
    transport = sinkhorn(cost, tolerance=1e-3, max_iterations=20_000)
    if scale == 20:
        assert not torch.exp(-20 * cost).sum(0).all()
    np.testing.assert_allclose(transport.plan.sum(1).numpy(), 0.1, rtol=1e-5)
    assert float((transport.plan.sum(0) - 1 / 200).abs().sum()) <= 1.1e-3
    assert transport.error <= 1e-3


def test_a_known_start_saves_iterations_and_changes_nothing_else():
    cost = torch.from_numpy(costs(20, 300))
    cold = sinkhorn(cost, tolerance=1e-10, max_iterations=10_000)
    near = sinkhorn(cost + 1e-4, tolerance=1e-10, max_iterations=10_000, start=cold.potential)
    assert near.n_iterations < cold.n_iterations / 5
    assert float((near.plan - cold.plan).abs().max()) < 1e-9


def test_a_start_of_another_problem_does_no_harm():
    cost = torch.from_numpy(costs(5, 60)).float()
    wild = torch.tensor([0.0, 500.0, -500.0, 3.0, 0.0])
    transport = sinkhorn(cost, tolerance=1e-4, max_iterations=5000, start=wild)
    assert float((transport.plan - sinkhorn(cost, tolerance=1e-4, max_iterations=5000).plan).abs().sum()) < 1e-3


def test_one_topic_far_from_all_genes_still_gets_its_share():
    cost = torch.from_numpy(costs(5, 60)).float()
    cost[2] += 30
    transport = sinkhorn(cost, tolerance=1e-4, max_iterations=5000)
    np.testing.assert_allclose(transport.plan.sum(1).numpy(), 0.2, rtol=1e-4)


def test_the_paper_s_starting_loss():
    """100 topics and 5,000 genes, unit vectors in 200 dimensions, weight 100: the authors log 170.6 for epoch 1."""
    generator = torch.Generator().manual_seed(0)
    topics, genes = (
        torch.nn.functional.normalize(torch.randn(n, 200, generator=generator), dim=1) for n in (100, 5000)
    )
    cost = torch.cdist(topics, genes).square()
    loss = 100 * float(transport_cost(cost, sinkhorn(cost).plan))
    assert 169.5 < loss < 172


def test_the_implicit_gradient_is_that_through_all_iterations():
    epsilon = 0.05
    cost = torch.from_numpy(costs()).requires_grad_()
    f = torch.zeros(6, dtype=torch.float64)
    for _ in range(3000):
        g = -torch.logsumexp(f[:, None] - cost / epsilon, 0) - np.log(40)
        f = -torch.logsumexp(g - cost / epsilon, 1) - np.log(6)
    (torch.exp(f[:, None] + g - cost / epsilon) * cost).sum().backward()
    plan = sinkhorn(cost.detach(), tolerance=1e-13, max_iterations=20_000).plan
    again = cost.detach().clone().requires_grad_()
    transport_cost(again, plan).mul(3).backward()
    assert float((again.grad / 3 - cost.grad).abs().max()) < 1e-9
    # In float32, from a plan that has only come near: good to a thousandth.
    near = sinkhorn(cost.detach().float(), tolerance=1e-4, max_iterations=5000).plan
    rough = cost_gradient(cost.detach().float(), near, epsilon)
    assert float((rough - cost.grad).norm() / cost.grad.norm()) < 1e-3


def test_gradients_beside_finite_differences():
    """`implicit`: of the cost. `envelope`: of the regularised value, which is another direction."""
    cost, epsilon, step = costs(4, 12), 0.1, 1e-5

    def value(part, regularised):
        plan = numpy_plan(part, epsilon, 2000)
        return (plan * part).sum() + (epsilon * (plan * np.log(plan)).sum() if regularised else 0)

    plan = sinkhorn(torch.from_numpy(cost), epsilon=epsilon, tolerance=1e-14, max_iterations=20_000).plan
    for kind, regularised in (("implicit", False), ("envelope", True)):
        leaf = torch.from_numpy(cost.copy()).requires_grad_()
        transport_cost(leaf, plan, epsilon=epsilon, gradient=kind).backward()
        for i, j in ((0, 0), (1, 5), (3, 11)):
            up, down = cost.copy(), cost.copy()
            up[i, j] += step
            down[i, j] -= step
            expected = (value(up, regularised) - value(down, regularised)) / (2 * step)
            assert float(leaf.grad[i, j]) == pytest.approx(expected, abs=1e-7)
