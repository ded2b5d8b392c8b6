"""GenePriorEmbedding: with a prior, a control and none; masks, gradients, seeds, saved weights."""

import io

import numpy as np
import pytest
import torch

from cellmodels import GenePriorEmbedding
from genetext.errors import PriorsError
from genetext.priors import GenePriors

NAMES = ["PAX6", "RHO", "JUNK1", "OPN4", "JUNK2", "TP53"]
KNOWN = [0, 1, 3, 5]
UNKNOWN = [2, 4]
TRAINABLE = [False, "residual", True]


def some_priors(names=NAMES, dim=7, **options):
    rng = np.random.default_rng(3)
    learned = GenePriors.from_arrays(["OPN4", "PAX6", "RHO", "TP53"], rng.normal(size=(4, dim)).astype(np.float32))
    return learned.align(names, **options)


def train(layer, steps=20, genes=None):
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    target = torch.randn(layer.num_embeddings, layer.embedding_dim, generator=torch.Generator().manual_seed(1))
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (layer() - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_shapes_of_all_genes_and_of_some(trainable):
    layer = GenePriorEmbedding(some_priors(), trainable=trainable, proj=5)
    everything = layer()
    assert everything.shape == (6, 5)
    assert (layer.num_embeddings, layer.embedding_dim) == (6, 5)
    index = torch.tensor([[5, 2], [0, 0]])
    assert torch.allclose(layer(index), everything[index], atol=1e-6)


@pytest.mark.parametrize("trainable", TRAINABLE)
@pytest.mark.parametrize("missing", ["mask", "mean", "zero"])
def test_missing_genes_are_learned_and_neither_zero_nor_alike(trainable, missing):
    layer = GenePriorEmbedding(some_priors(missing=missing), trainable=trainable)
    out = layer()[UNKNOWN]
    assert (out.norm(dim=1) > 0.5).all()
    assert not torch.equal(out[0], out[1])
    out.square().sum().backward()
    assert layer.free.grad.abs().sum() > 0


def test_policy_of_missing_rows_does_not_leak_into_the_embedding():
    layers = [GenePriorEmbedding(some_priors(missing=policy), seed=4) for policy in ("mask", "mean", "zero")]
    assert torch.equal(layers[0](), layers[1]())
    assert torch.equal(layers[0](), layers[2]())


def test_a_frozen_prior_is_a_buffer_and_stays():
    priors = some_priors()
    layer = GenePriorEmbedding(priors)
    assert {name for name, _ in layer.named_parameters()} == {"free", "project.weight"}
    assert layer.free.shape == (2, 64)
    train(layer)
    assert np.array_equal(layer.base.numpy(), priors.vectors)


def test_residual_starts_at_the_frozen_prior_and_reaches_every_gene():
    frozen = GenePriorEmbedding(some_priors(), seed=2)
    residual = GenePriorEmbedding(some_priors(), trainable="residual", seed=2)
    assert torch.equal(frozen()[KNOWN], residual()[KNOWN])
    assert residual.residual_penalty() == 0
    residual()[KNOWN].sum().backward()
    assert (residual.free.grad[KNOWN].abs().sum(dim=1) > 0).all()
    train(residual)
    assert residual.residual_penalty() > 0
    assert np.array_equal(residual.base.numpy(), some_priors().vectors)
    assert frozen.residual_penalty() == 0


def test_a_trainable_prior_moves_but_never_for_genes_without_one():
    layer = GenePriorEmbedding(some_priors(), trainable=True)
    before = layer.base.detach().clone()
    train(layer)
    assert (layer.base.detach() != before)[KNOWN].all()
    assert not layer.base[UNKNOWN].any()


def test_gradients_are_those_of_finite_differences():
    layer = GenePriorEmbedding(some_priors(dim=3), trainable="residual", proj=2).double()
    index = torch.tensor([0, 2, 5, 0])
    names = [name for name, _ in layer.named_parameters()]

    def run(*values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (index,))

    values = [value.detach().clone().requires_grad_() for value in layer.parameters()]
    assert torch.autograd.gradcheck(run, values)


def test_only_the_genes_asked_for_get_gradients():
    layer = GenePriorEmbedding(some_priors(), trainable="residual")
    layer(torch.tensor([2, 3])).sum().backward()
    touched = layer.free.grad.abs().sum(dim=1) > 0
    assert touched.tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize("trainable", TRAINABLE)
@pytest.mark.parametrize("control", ["prior", "permuted", "random", "without"])
def test_one_model_runs_with_the_prior_a_control_and_none(trainable, control):
    priors = some_priors()
    priors = priors if control == "prior" else getattr(priors, control)()
    layer = GenePriorEmbedding(priors, trainable=trainable)
    assert layer().shape == (6, 64)
    losses = train(layer)
    assert losses[-1] < 0.9 * losses[0]
    assert control == "prior" or control in repr(layer)


def test_without_a_prior_every_gene_is_learned():
    layer = GenePriorEmbedding(some_priors().without(), proj=8)
    assert layer.free.shape == (6, 8)
    assert torch.equal(layer(), layer.free)
    assert layer.project is None


def test_all_genes_known_leaves_nothing_free():
    layer = GenePriorEmbedding(some_priors(["OPN4", "RHO"]))
    assert layer.free.shape == (0, 64)
    assert (layer().norm(dim=1) > 0).all()
    train(layer)


def test_no_projection_gives_the_prior_itself():
    priors = some_priors()
    layer = GenePriorEmbedding(priors, proj=None)
    assert np.array_equal(layer()[KNOWN].detach().numpy(), priors.vectors[KNOWN])


def test_a_gene_is_about_as_long_with_a_prior_as_without():
    rng = np.random.default_rng(0)
    learned = GenePriors.from_arrays([f"G{i}" for i in range(400)], 30 * rng.normal(size=(400, 50)))
    layer = GenePriorEmbedding(learned.align([f"G{i}" for i in range(800)]))
    lengths = layer().norm(dim=1)
    assert 0.8 < lengths[:400].mean() < 1.2
    assert 0.8 < lengths[400:].mean() < 1.2


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    first, same, second = (GenePriorEmbedding(some_priors(), seed=seed)() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, same)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_reset_is_a_new_start(trainable):
    layer = GenePriorEmbedding(some_priors(), trainable=trainable, seed=5)
    fresh = layer().detach()
    train(layer)
    assert not torch.allclose(layer(), fresh)
    layer.reset(5)
    assert torch.equal(layer(), fresh)


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_state_dict_round_trip(trainable):
    layer = GenePriorEmbedding(some_priors(), trainable=trainable)
    train(layer)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    # Started from the control, so that nothing but the file can bring the prior back.
    second = GenePriorEmbedding(some_priors().random(), trainable=trainable, seed=77)
    second.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(second(), layer())


def test_weights_of_another_gene_order_are_refused():
    state = GenePriorEmbedding(some_priors()).state_dict()
    turned = GenePriorEmbedding(some_priors([NAMES[i] for i in (0, 3, 2, 1, 4, 5)]))
    with pytest.raises(PriorsError, match="another order"):
        turned.load_state_dict(state)


def test_dropout_only_in_training():
    layer = GenePriorEmbedding(some_priors(), dropout=0.5)
    assert (layer() == 0).any()
    layer.eval()
    assert not (layer() == 0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainable": "yes"}, "trainable"),
        ({"proj": 0}, "one entry"),
        ({"trainable": 2}, "trainable"),
        ({"trainable": 1}, "trainable=1"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(PriorsError, match=message):
        GenePriorEmbedding(some_priors(), **options)


def test_without_and_no_projection_has_no_length():
    with pytest.raises(PriorsError, match="pass proj="):
        GenePriorEmbedding(some_priors().without(), proj=None)
