"""The losses of two views: equal to their n x n forms in float64, with their gradients; invariants; sampled batches."""

import numpy as np
import pytest
import torch
from scipy import sparse

from cellmodels.refinement.losses import (
    CellLinks,
    cross_view_consistency,
    distribution_alignment,
    neighbourhood_alignment,
    sampled,
)

N, H = 40, 7


def graph(n=N, *, seed=0, density=0.15):
    """Symmetric, with a unit diagonal; the last cell has no neighbour."""
    rng = np.random.default_rng(seed)
    dense = np.triu(rng.random((n, n)) < density, 1)
    dense[:, -1] = False
    return sparse.csr_matrix((dense | dense.T).astype(float) + np.eye(n))


def blocks(n=N, groups=4):
    group_of_cell = np.arange(n) % groups
    return group_of_cell, sparse.csr_matrix((group_of_cell[:, None] == group_of_cell[None]).astype(float))


def views(n=N, h=H, *, seed=1, unit=True):
    rng = np.random.default_rng(seed)
    made = [rng.normal(size=(n, h)) for _ in range(2)]
    return [x / np.linalg.norm(x, axis=1, keepdims=True) if unit else x for x in made]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def kl(p, q):
    return (p * (np.log(p) - np.log(q))).sum(-1)


def dense_eda(a, b, t):
    g1, g2 = softmax(a.ravel() / t), softmax(b.ravel() / t)
    p, q = softmax(a / t), softmax(b / t)
    return kl(g1, g2) + kl(g2, g1) + 0.5 * np.mean(kl(p, q) + kl(q, p))


def dense_nca(a, b, with_self, t):
    n = len(a)
    p, q = softmax(a / t), softmax(b / t)
    d = kl(p[:, None], q[None]) + kl(q[None], p[:, None])
    near = (with_self * d).sum(1) / with_self.sum(1)
    far = (d.sum(1) - np.diag(d)) / (n - 1)
    return np.mean(near / far)


def dense_cvc(z1, z2, with_self):
    return np.mean((z1 @ z2.T - with_self) ** 2)


def tensors(*arrays, dtype=torch.float64):
    return [torch.tensor(x, dtype=dtype, requires_grad=True) for x in arrays]


def near(matrix, n_cells=None, dtype=torch.float64):
    return CellLinks.of(matrix, n_cells, dtype=dtype)


@pytest.mark.parametrize("t", [0.1, 1.0])
@pytest.mark.parametrize("unit", [True, False])
def test_losses_are_those_over_all_pairs(t, unit):
    a, b = views(unit=unit)
    matrix = graph()
    x, y = tensors(a, b)
    assert distribution_alignment(x, y, t).item() == pytest.approx(dense_eda(a, b, t), rel=1e-10)
    assert neighbourhood_alignment(x, y, near(matrix), t).item() == pytest.approx(
        dense_nca(a, b, matrix.toarray(), t), rel=1e-10
    )
    assert cross_view_consistency(x, y, near(matrix)).item() == pytest.approx(
        dense_cvc(a, b, matrix.toarray()), rel=1e-10
    )


def torch_pairs(a, b, with_self, t):
    """The same three losses over all pairs, for torch's own gradients; NumPy's forms above check them too."""
    p, q = torch.softmax(a / t, 1), torch.softmax(b / t, 1)
    d = (p * p.log()).sum(1, keepdim=True) - p @ q.log().T + ((q * q.log()).sum(1, keepdim=True) - q @ p.log().T).T
    others = (d.sum(1) - d.diagonal()) / (len(a) - 1)
    nca = ((with_self * d).sum(1) / with_self.sum(1) / others).mean()
    g1, g2 = torch.softmax(a.flatten() / t, 0), torch.softmax(b.flatten() / t, 0)
    eda = ((g1 - g2) * (g1.log() - g2.log())).sum() + 0.5 * ((p - q) * (p.log() - q.log())).sum(1).mean()
    return {"eda": eda, "nca": nca, "cvc": (a @ b.T - with_self).square().mean()}


@pytest.mark.parametrize("t", [0.1, 1.0])
@pytest.mark.parametrize("loss", ["eda", "nca", "cvc"])
def test_gradients_are_those_over_all_pairs(loss, t):
    matrix = graph()
    inputs, copies = tensors(*views()), tensors(*views())
    value = {
        "eda": lambda x, y: distribution_alignment(x, y, t),
        "nca": lambda x, y: neighbourhood_alignment(x, y, near(matrix), t),
        "cvc": lambda x, y: cross_view_consistency(x, y, near(matrix)),
    }[loss](*inputs)
    pairs = torch_pairs(*copies, torch.tensor(matrix.toarray()), t)[loss]
    assert value.item() == pytest.approx(pairs.item(), rel=1e-9)
    value.backward()
    pairs.backward()
    for left, right in zip(inputs, copies, strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-7, atol=1e-10)


def test_single_precision_keeps_small_divergences():
    """At t = 1 rows of 1,500 differ by 1e-4: a difference of entropies would keep few digits of that in float32."""
    a, b = views(50, 1500)
    matrix = graph(50)
    exact = dense_nca(a, b, matrix.toarray(), 1.0)
    x, y = tensors(a, b, dtype=torch.float32)
    assert neighbourhood_alignment(x, y, near(matrix, dtype=torch.float32), 1.0).item() == pytest.approx(
        exact, rel=1e-5
    )


def test_equal_views_are_aligned():
    a = torch.tensor(views()[0])
    assert distribution_alignment(a, a.clone(), 0.1).item() == pytest.approx(0, abs=1e-14)


def test_a_graph_that_the_views_follow_counts_below_one_and_a_random_one_about_one():
    group_of_cell, matrix = blocks(200)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, H))
    a, b = (centres[group_of_cell] + 0.3 * rng.normal(size=(200, H)) for _ in range(2))
    x, y = tensors(*(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b)))
    assert neighbourhood_alignment(x, y, near(matrix), 0.1).item() < 0.5
    random = graph(200, seed=3, density=0.2)
    assert neighbourhood_alignment(x, y, near(random), 0.1).item() == pytest.approx(1, abs=0.1)


def test_the_order_of_cells_and_of_hidden_units_changes_nothing():
    a, b = views()
    matrix = graph()
    cells, units = np.random.default_rng(4).permutation(N), np.random.default_rng(5).permutation(H)
    before, after = tensors(a, b), tensors(a[cells][:, units], b[cells][:, units])
    moved = near(matrix[cells][:, cells])
    for loss in (
        lambda x, y, _: distribution_alignment(x, y, 0.1),
        lambda x, y, g: neighbourhood_alignment(x, y, g, 0.1),
        cross_view_consistency,
    ):
        assert loss(*after, moved).item() == pytest.approx(loss(*before, near(matrix)).item(), rel=1e-12)


def test_points_that_are_all_the_same_have_a_defined_loss():
    x, y = tensors(np.ones((5, 3)), np.ones((5, 3)))
    loss = neighbourhood_alignment(x, y, near(graph(5)), 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-9)
    assert torch.isfinite(x.grad).all()


def test_a_sample_of_all_cells_is_the_graph_itself():
    matrix = graph()
    assert sampled(matrix, np.arange(N)) is matrix


def test_sampled_links_stand_for_all_of_a_cells_neighbours():
    matrix = graph()
    rows = np.sort(np.random.default_rng(2).choice(N, 25, replace=False))
    part = sampled(matrix, rows).toarray()
    dense = matrix.toarray()[np.ix_(rows, rows)]
    assert np.array_equal(part > 0, dense > 0)
    assert (np.diag(part) == 1).all()
    degree = np.asarray(matrix.sum(1)).ravel()[rows]
    linked = dense.sum(1) > 1
    np.testing.assert_allclose(part.sum(1)[linked], degree[linked])
    assert (part.sum(1)[~linked] == 1).all()


def test_batches_estimate_the_losses_of_all_cells():
    """Over many random halves the mean of each sampled loss comes near to the full one."""
    group_of_cell, matrix = blocks(120, 6)
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(6, H))
    a, b = (centres[group_of_cell] + 0.5 * rng.normal(size=(120, H)) for _ in range(2))
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    full = [dense_nca(a, b, matrix.toarray(), 0.5), dense_cvc(a, b, matrix.toarray())]
    means = []
    for _ in range(200):
        rows = np.sort(rng.choice(120, 60, replace=False))
        x, y = tensors(a[rows], b[rows])
        part = near(sampled(matrix, rows), 120)
        means.append([neighbourhood_alignment(x, y, part, 0.5).item(), cross_view_consistency(x, y, part).item()])
    np.testing.assert_allclose(np.mean(means, axis=0), full, rtol=0.03)
