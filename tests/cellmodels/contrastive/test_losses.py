"""Contrastive losses beside loops in float64; batches that are balanced over classes."""

import numpy as np
import pytest
import torch

from cellmodels.contrastive.losses import BalancedBatches, info_nce, nt_xent, sup_con
from genetext.errors import ModelError


def unit(n, d=6, seed=0, dtype=torch.float32):
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(z, dim=1).to(dtype)


def loop(similarity, positives, compared):
    """Mean over anchors of -mean_p log(exp(s_ip) / sum_a exp(s_ia)), as it is written."""
    terms = []
    for i in range(len(similarity)):
        if not positives[i]:
            continue
        total = sum(np.exp(similarity[i, a]) for a in compared[i])
        terms.append(-np.mean([np.log(np.exp(similarity[i, p]) / total) for p in positives[i]]))
    return np.mean(terms)


@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_supervised_is_the_formula(temperature):
    z = unit(9, seed=1)
    labels = [0, 0, 1, 1, 1, 2, -1, 0, -1]
    known = [i for i, one in enumerate(labels) if one >= 0]
    wide = z.double().numpy()
    positives = [[p for p in known if p != i and labels[p] == labels[i]] if i in known else [] for i in range(9)]
    compared = [[a for a in known if a != i] for i in range(9)]
    expected = loop(wide @ wide.T / temperature, positives, compared)
    assert float(sup_con(z, torch.tensor(labels), temperature=temperature)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ids", [None, [0, 1, 2, 1, 4]])
def test_two_views_are_the_formula(ids):
    a, b = unit(5, seed=2), unit(5, seed=3)
    z = torch.cat([a, b]).double().numpy()
    which = list(range(5)) if ids is None else ids
    cell = [*which, *which]
    positives = [[(i + 5) % 10] for i in range(10)]
    compared = [[j for j in range(10) if cell[j] != cell[i] or j == (i + 5) % 10] for i in range(10)]
    expected = loop(z @ z.T / 0.3, positives, compared)
    told = nt_xent(a, b, temperature=0.3, cells=None if ids is None else torch.tensor(ids))
    assert float(told) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ids", [None, [7, 7, 2, 3]])
def test_two_encoders_are_the_formula_both_ways(ids):
    a, b = unit(4, seed=4), unit(4, seed=5)
    which = list(range(4)) if ids is None else ids
    positives = [[i] for i in range(4)]
    compared = [[j for j in range(4) if which[j] != which[i] or j == i] for i in range(4)]
    similarity = (a.double() @ b.double().T / 0.2).numpy()
    expected = (loop(similarity, positives, compared) + loop(similarity.T, positives, compared)) / 2
    told = info_nce(a, b, temperature=0.2, cells=None if ids is None else torch.tensor(ids))
    assert float(told) == pytest.approx(expected, rel=1e-5)


def test_nothing_depends_on_the_order_of_cells_nor_on_what_classes_are_called():
    z, labels = unit(12, seed=6), torch.arange(12) % 3
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    renamed = torch.tensor([5, 0, 9])[labels]
    base = sup_con(z, labels)
    assert float(sup_con(z[order], labels[order])) == pytest.approx(float(base), rel=1e-5)
    assert float(sup_con(z, renamed)) == pytest.approx(float(base), rel=1e-6)
    assert float(sup_con(z, torch.arange(12) % 2)) != pytest.approx(float(base), rel=1e-3)
    other = unit(12, seed=7)
    assert float(nt_xent(z[order], other[order])) == pytest.approx(float(nt_xent(z, other)), rel=1e-5)
    assert float(nt_xent(other, z)) == pytest.approx(float(nt_xent(z, other)), rel=1e-5)


def test_equal_vectors_lose_the_log_of_what_they_are_compared_with():
    z = unit(1).repeat(6, 1)
    assert float(sup_con(z, torch.tensor([0, 0, 0, 1, 1, 1]))) == pytest.approx(np.log(5), rel=1e-5)
    assert float(nt_xent(z, z)) == pytest.approx(np.log(11), rel=1e-5)
    assert float(info_nce(z, z)) == pytest.approx(np.log(6), rel=1e-5)


@pytest.mark.parametrize("loss", ["supervised", "views", "encoders"])
def test_gradients_are_those_of_finite_differences(loss):
    z = unit(6, d=3, seed=8, dtype=torch.float32).requires_grad_()
    other, labels = unit(6, d=3, seed=9), torch.tensor([0, 1, 0, 1, 2, -1])

    def value(rows):
        if loss == "supervised":
            return sup_con(rows, labels, temperature=0.5)
        return (nt_xent if loss == "views" else info_nce)(rows, other, temperature=0.5)

    value(z).backward()
    step = 1e-2
    for i, j in [(0, 0), (3, 2), (4, 1), (5, 0)]:
        up, down = z.detach().clone(), z.detach().clone()
        up[i, j] += step
        down[i, j] -= step
        expected = float(value(up) - value(down)) / (2 * step)
        assert float(z.grad[i, j]) == pytest.approx(expected, abs=2e-3)


def test_where_there_is_nothing_to_learn_the_loss_is_zero_and_so_is_its_gradient():
    z = unit(3).requires_grad_()
    for loss in (
        sup_con(z, torch.tensor([0, 1, 2])),
        sup_con(z, torch.tensor([-1, -1, -1])),
        nt_xent(z[:1], z[1:2]),
        info_nce(z[:1], z[1:2]),
    ):
        (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
        assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
        assert torch.equal(gradient, torch.zeros_like(z))


def test_small_temperatures_and_half_precision_stay_finite():
    z = unit(8, seed=1).to(torch.bfloat16).requires_grad_()
    loss = sup_con(z, torch.arange(8) % 2, temperature=1e-3) + nt_xent(z, z, temperature=1e-3)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()


def batches(sizes, batch_size, n=None, seed=0):
    codes = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.arange(len(codes)) * 2
    made = BalancedBatches(rows, codes, batch_size).draw(np.random.default_rng(seed), n)
    return made, dict(zip(rows, codes, strict=True))


def test_every_class_has_the_same_share_of_every_batch():
    made, code = batches([100, 10, 3], 30)
    assert len(made) == 4
    for batch in made:
        assert np.bincount([code[row] for row in batch]).tolist() == [10, 10, 10]


def test_a_rare_class_goes_round_its_cells_evenly():
    made, code = batches([100, 3], 20, n=6)
    rare = [row for batch in made for row in batch if code[row] == 1]
    assert np.unique(rare, return_counts=True)[1].tolist() == [20, 20, 20]
    common = [row for batch in made for row in batch if code[row] == 0]
    assert len(set(common)) == 60


def test_more_classes_than_fit_take_turns_and_still_have_pairs():
    made, code = batches([5] * 46, 32, n=23)
    seen = np.zeros(46, int)
    for batch in made:
        counts = np.bincount([code[row] for row in batch], minlength=46)
        assert set(counts[counts > 0]) == {2}
        assert len(batch) == 32
        seen += counts > 0
    assert set(seen) == {8}


def test_few_cells_do_not_fill_a_large_batch_with_copies():
    made, _ = batches([2, 1], 256)
    assert [len(batch) for batch in made] == [4]


def test_batches_are_those_of_the_seed():
    one, two, other = (batches([9, 4], 6, seed=seed)[0] for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_need_cells_with_classes():
    for rows, codes in ((np.array([], np.int64), np.array([], np.int64)), (np.arange(2), np.array([0, -1]))):
        with pytest.raises(ModelError, match="need cells"):
            BalancedBatches(rows, codes, 4)
