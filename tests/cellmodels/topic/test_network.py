"""Every equation of the topic model beside float64 NumPy, and what must not change when genes change places."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import sparse

from cellmodels.nn.layers import GenePriorEmbedding
from cellmodels.nn.sparse_product import SparseMatrix
from cellmodels.topic.network import (
    FirstLayer,
    TopicConfig,
    TopicNetwork,
    divergence,
    squared_distances,
    topic_gene,
)
from cellmodels.topic.transport import sinkhorn
from genetext.errors import ModelError
from genetext.priors import GenePriors

RNG = np.random.default_rng(0)
K, G, N, E, VIEW = 4, 9, 12, 5, 3


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def norm(x, layer):
    """Batch normalisation in training: by mean and biased variance of the batch."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return (x - x.mean(0)) / np.sqrt(x.var(0) + layer.eps) * weight + bias


def linear(x, layer):
    weight = layer.weight.detach().numpy()
    return x @ (weight if isinstance(layer, FirstLayer) else weight.T) + layer.bias.detach().numpy()


def distill(first, second, temperature):
    columns = np.concatenate([first, second], axis=1).T
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    like = columns @ columns.T / temperature
    k, total = first.shape[1], 0.0
    for i in range(2 * k):
        others = np.delete(like[i], i)
        total += np.log(np.exp(others).sum()) - like[i, (i + k) % (2 * k)]
    return total / (2 * k)


def entropy(assigned):
    mean = assigned.mean(0)
    return -(mean * np.log(mean)).sum()


def network(seed=0, **changes):
    priors = GenePriors.from_arrays([f"G{i}" for i in range(G)], np.random.default_rng(1).normal(size=(G, E)))
    config = TopicConfig(n_topics=K, n_embedding=E, n_hidden=6, ecr_tolerance=1e-12, **changes)
    trainable = "residual" if config.gene_prior == "pull" else True
    torch.manual_seed(seed)
    made = TopicNetwork(config, GenePriorEmbedding(priors, proj=None, trainable=trainable), view_dim=VIEW).double()
    for parameter in made.parameters():  # also what starts at 0 or 1
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    x, near = (rng.gamma(0.5, 2, (N, G)) for _ in range(2))
    view, view_near = (rng.normal(size=(N, VIEW)) for _ in range(2))
    named = {"x": x, "target": x, "neighbor": near, "view": view, "view_neighbor": view_near}
    return named, {name: torch.from_numpy(value) for name, value in named.items()}


def test_topics_of_genes():
    topics, genes = RNG.normal(size=(K, E)), RNG.normal(size=(G, E))
    distance = np.array([[((t - g) ** 2).sum() for g in genes] for t in topics])
    torch_t, torch_g = torch.from_numpy(topics), torch.from_numpy(genes)
    np.testing.assert_allclose(squared_distances(torch_t, torch_g).numpy(), distance, atol=1e-12)
    beta = topic_gene(torch_t, torch_g, 0.2).numpy()
    np.testing.assert_allclose(beta, softmax(-distance / 0.2, 0), atol=1e-12)
    np.testing.assert_allclose(beta.sum(0), 1, atol=1e-12)


def test_divergence_is_that_of_two_gaussians():
    mu, logvar = RNG.normal(size=(N, K)), RNG.normal(size=(N, K))
    prior = 1 - 1 / K
    # E[log q - log p] in closed form, one dimension at a time.
    each = np.log(np.sqrt(prior) / np.exp(logvar / 2)) + (np.exp(logvar) + mu**2) / (2 * prior) - 0.5
    expected = each.sum(1).mean()
    assert float(divergence(torch.from_numpy(mu), torch.from_numpy(logvar))) == pytest.approx(expected, abs=1e-12)
    at_prior = torch.full((3, K), np.log(prior))
    assert float(divergence(torch.zeros(3, K), at_prior)) == pytest.approx(0, abs=1e-6)


def test_a_whole_step_is_the_equations_of_the_paper():
    net = network(gene_prior="pull", pull_weight=7.0, kl_weight=0.5, distill_weight=2.0, consistency_weight=3.0)
    net.train()
    # Without noise the draws are the means, and everything can be written down.
    net._draw = lambda mu, logvar: mu
    values, tensors = inputs()
    losses = {name: float(value.detach()) for name, value in net(**tensors).items()}

    def latent(x):
        hidden = linear(np.tanh(norm(linear(x, net.encode[0]), net.encode[1])), net.encode[3])
        return norm(linear(hidden, net.mu[0]), net.mu[1]), norm(linear(hidden, net.logvar[0]), net.logvar[1])

    def head(v):
        return softmax(linear(np.tanh(norm(linear(v, net.head[0]), net.head[1])), net.head[3]), 1)

    mu, logvar = latent(values["x"])
    theta, theta_near = softmax(mu, 1), softmax(latent(values["neighbor"])[0], 1)
    phi, phi_near = head(values["view"]), head(values["view_neighbor"])
    topics, genes = net.topics.detach().numpy(), net.genes().detach().numpy()
    distance = ((topics[:, None] - genes[None]) ** 2).sum(2)
    logits = norm(theta @ softmax(-distance / 0.2, 0), net.decode_norm)
    plan = sinkhorn(torch.from_numpy(distance), tolerance=1e-13, max_iterations=10_000).plan.numpy()
    each = 0.5 * ((np.exp(logvar) + mu**2) / (1 - 1 / K) - logvar + np.log(1 - 1 / K) - 1)
    expected = {
        "reconstruction": -(values["x"] * np.log(softmax(logits, 1))).sum(1).mean(),
        "kl": 0.5 * each.sum(1).mean(),
        "ecr": 100 * (plan * distance).sum(),
        "distillation": 2 * (distill(phi, theta_near, 0.5) + distill(theta, phi_near, 0.5)),
        "consistency": 3 * -np.log((theta * phi).sum(1)).mean(),
        "balance": -5 * (entropy(theta) + entropy(phi)),
        "pull": 7 * (net.genes.free.detach().numpy() ** 2).sum(1).mean(),
    }
    expected["loss"] = sum(expected.values())
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert losses[name] == pytest.approx(value, rel=1e-6), name


def test_sparse_rows_give_what_dense_ones_do():
    net, (_, tensors) = network().train(), inputs()
    net._draw = lambda mu, logvar: mu
    few = torch.where(tensors["x"] > 1, tensors["x"], 0)
    few[3] = 0  # a row without entries
    matrix = SparseMatrix.of(sparse.csr_matrix(few.numpy()), dtype=torch.float64)
    gradients = []
    for x in (few, matrix):
        net.zero_grad()
        net(**{**tensors, "x": x, "neighbor": x, "target": x})["loss"].backward()
        gradients.append(net.encode[0].weight.grad.clone())
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-9)
    assert gradients[0].abs().sum() > 0


def test_noise_has_the_spread_that_the_encoder_says():
    net = network().train()
    mu, logvar = torch.zeros(200_000, 2, dtype=torch.float64), torch.tensor([[0.0, -2.0]], dtype=torch.float64)
    torch.manual_seed(0)
    drawn = net._draw(mu, logvar.expand_as(mu))
    np.testing.assert_allclose(drawn.var(0).numpy(), np.exp([0, -2]), rtol=0.02)
    assert torch.equal(net.eval()._draw(mu, logvar), mu)


def test_genes_in_another_order_change_beta_s_columns_and_nothing_else():
    net, (_, tensors) = network(), inputs()
    net._draw = lambda mu, logvar: mu
    order = torch.from_numpy(np.random.default_rng(3).permutation(G))
    state = net.state_dict()
    moved = network()
    moved._draw = net._draw
    columns = {"encode.0.weight": 0, "genes.base": 0}
    changed = {name: value.index_select(columns[name], order) for name, value in state.items() if name in columns}
    changed |= {name: value[order] for name, value in state.items() if name.startswith("decode_norm") and value.ndim}
    moved.load_state_dict({**state, **changed})
    swapped = {name: value[:, order] if value.shape[1] == G else value for name, value in tensors.items()}
    np.testing.assert_allclose(moved.beta().detach(), net.beta().detach()[:, order], atol=1e-12)
    with torch.no_grad():
        first, second = net(**tensors), moved(**swapped)
    for name, value in first.items():
        assert float(second[name]) == pytest.approx(float(value), rel=1e-8), name


def test_cells_in_another_order_change_nothing():
    net, (_, tensors) = network().train(), inputs()
    net._draw = lambda mu, logvar: mu
    order = torch.from_numpy(np.random.default_rng(3).permutation(N))
    with torch.no_grad():
        first = net(**tensors)
        second = net(**{name: value[order] for name, value in tensors.items()})
    for name, value in first.items():
        assert float(second[name]) == pytest.approx(float(value), rel=1e-6), name


def test_gradients_reach_every_weight():
    net, (_, tensors) = network(gene_prior="pull").train(), inputs()
    net(**tensors)["loss"].backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0 or name.endswith("0.bias"), name  # a bias before normalisation has none


def test_the_potential_is_kept_between_steps_of_training_only():
    net, (_, tensors) = network(), inputs()
    net.eval()(**tensors)
    assert not net.potential.any()
    net.train()(**tensors)
    assert net.potential.any()


def test_without_a_view_nothing_is_distilled():
    net, (_, tensors) = network(), inputs()
    net.head = None
    assert set(net(tensors["x"], tensors["x"])) == {"loss", "reconstruction", "kl", "ecr", "balance"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_topics": 1}, "n_topics"),
        ({"temperature": 0}, "temperature"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"ecr_weight": -1}, "ecr_weight"),
        ({"gene_prior": "start"}, "gene_prior"),
        ({"embedding": "umap"}, "embedding"),
        ({"n_neighbors": 1}, "n_neighbors"),
        ({"batch_size": 1}, "at least 2"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_hyper_parameters_that_mean_nothing(change, message):
    with pytest.raises(ModelError, match=message):
        TopicConfig(**change)


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TopicConfig().n_topics = 3
