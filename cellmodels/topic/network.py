"""The tensors of the topic model: encoder, embeddings of topics and genes, decoder, and the losses.

After scE2TM (arXiv 2507.08355), a topic model whose topics and genes are points in one space (ECRTM, ICML 2023):

    theta   = softmax(z),  z ~ N(mu(x), diag(exp(logvar(x))))                       topics of a cell
    beta_kj = softmax over topics k of  -|t_k - g_j|^2 / temperature                topics of a gene
    p       = softmax over genes of  BatchNorm(theta beta)                          what a cell expresses
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from cellmodels.nn.dense_product import Linear, linear
from cellmodels.nn.layers import GenePriorEmbedding
from cellmodels.nn.sparse_product import SparseMatrix, times
from cellmodels.topic.config import TopicConfig
from cellmodels.topic.decoder import FoldedNorm, negative_log_likelihood
from cellmodels.topic.losses import balance, consistency, distillation, divergence
from cellmodels.topic.transport import sinkhorn, transport_cost


def topic_gene(topics: Tensor, genes: Tensor, temperature: float) -> Tensor:
    """Return `beta (K, G)`: of each gene the share of each topic; columns sum to 1."""
    return torch.softmax(squared_distances(topics, genes) / -temperature, dim=0)


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """Return `|left_k - right_j|^2`, `(len(left), len(right))`."""
    return left.square().sum(1, keepdim=True) + right.square().sum(1) - 2 * linear(left, right)


class FirstLayer(nn.Module):
    """A linear layer that takes dense rows or sparse ones, which cost as much as they have entries.

    Attributes
    ----------
    weight
        `(n_in, n_out)`.
    bias
        `(n_out,)`.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_in)
        self.weight = nn.Parameter(torch.empty(n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor | SparseMatrix) -> Tensor:
        """Return `x weight + bias`, `(n_rows, n_out)`."""
        return times(x, self.weight, self.bias)


class TopicNetwork(nn.Module):
    """Encoder, embeddings, decoder and losses.

    Parameters
    ----------
    config
        Hyper-parameters.
    genes
        Embeddings of the genes, `n_embedding` long.
    view_dim
        Length of the external view of a cell; 0: there is none.

    Attributes
    ----------
    topics
        `(K, n_embedding)`: embeddings of the topics, unit length at the start.
    potential
        `(K,)`: of the last transport plan, from which the next one starts.
    """

    potential: Tensor

    def __init__(self, config: TopicConfig, genes: GenePriorEmbedding, *, view_dim: int = 0) -> None:
        super().__init__()
        self.config = config
        n_genes, k, width = genes.num_embeddings, config.n_topics, config.n_hidden
        self.encode = nn.Sequential(
            FirstLayer(n_genes, width),
            nn.BatchNorm1d(width),
            nn.Tanh(),
            Linear(width, width),
            nn.Dropout(config.dropout),
        )
        self.mu = nn.Sequential(Linear(width, k), nn.BatchNorm1d(k))
        self.logvar = nn.Sequential(Linear(width, k), nn.BatchNorm1d(k))
        self.genes = genes
        with torch.no_grad():
            genes.free.copy_(functional.normalize(genes.free, dim=1))
        # Where every gene has a prior it is empty, and several processes would wait for its gradient.
        genes.free.requires_grad_(bool(len(genes.free)))
        self.topics = nn.Parameter(functional.normalize(torch.randn(k, config.n_embedding)))
        self.decode_norm = FoldedNorm(n_genes)
        self.head = None
        if view_dim:
            self.head = nn.Sequential(
                Linear(view_dim, view_dim), nn.BatchNorm1d(view_dim), nn.Tanh(), Linear(view_dim, k)
            )
        self.register_buffer("potential", torch.zeros(k))

    def latent(self, x: Tensor | SparseMatrix) -> tuple[Tensor, Tensor]:
        """Return `mu` and `logvar` of cells, `(n_cells, K)` each."""
        hidden = self.encode(x)
        return self.mu(hidden), self.logvar(hidden)

    def beta(self) -> Tensor:
        """Return `(K, G)`: of each gene the share of each topic."""
        return topic_gene(self.topics, self.genes(), self.config.temperature)

    def decode(self, theta: Tensor, beta: Tensor | None = None) -> Tensor:
        """Return the logits of expression, `(n_cells, G)`; a softmax over genes makes shares of them."""
        logits: Tensor = self.decode_norm(theta @ (self.beta() if beta is None else beta))
        return logits

    def reconstruction(self, theta: Tensor, beta: Tensor, target: Tensor | SparseMatrix) -> Tensor:
        """Return the mean over cells of `-sum_j target_j log p_j`, `p` what topics `theta` of the cells express."""
        slope, shift = self.decode_norm.fold(theta, beta)
        return negative_log_likelihood(theta, beta * slope, shift, target)

    def forward(
        self,
        x: Tensor | SparseMatrix,
        target: Tensor | SparseMatrix,
        neighbor: Tensor | SparseMatrix | None = None,
        view: Tensor | None = None,
        view_neighbor: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses of a mini-batch.

        Parameters
        ----------
        x
            `(n_cells, G)`: log-normalised expression.
        target
            `(n_cells, G)`: what the decoder explains.
        neighbor
            `(n_cells, G)`: expression of a neighbour of each cell.
        view, view_neighbor
            `(n_cells, view_dim)`: the view of each cell, and of a neighbour in the view.
        """
        config = self.config
        mu, logvar = self.latent(x)
        # Differences of like squares, and a kernel of them, are beyond half precision.
        with torch.autocast(self.topics.device.type, enabled=False):
            distance = squared_distances(self.topics, self.genes())
            beta = torch.softmax(distance / -config.temperature, dim=0)
            transport = self._transport(distance)
        losses = {
            "reconstruction": self.reconstruction(torch.softmax(self._draw(mu, logvar), 1), beta, target),
            "kl": config.kl_weight * divergence(mu, logvar),
            "ecr": config.ecr_weight * transport,
        }
        # Another draw of the same cells, as in the paper, whose second pass through the encoder gives the same mu.
        theta = torch.softmax(self._draw(mu, logvar), 1)
        evenness = balance(theta)
        if self.head is not None and neighbor is not None and view is not None and view_neighbor is not None:
            theta_near = torch.softmax(self._draw(*self.latent(neighbor)), 1)
            phi = torch.softmax(self.head(view), 1)
            phi_near = torch.softmax(self.head(view_neighbor), 1)
            heat = config.distill_temperature
            between = distillation(phi, theta_near, temperature=heat) + distillation(theta, phi_near, temperature=heat)
            losses["distillation"] = config.distill_weight * between
            losses["consistency"] = config.consistency_weight * consistency(theta, phi)
            evenness = evenness + balance(phi)
        losses["balance"] = -config.balance_weight * evenness
        if config.gene_prior == "pull":
            losses["pull"] = config.pull_weight * config.n_embedding * self.genes.residual_penalty()
        return {"loss": torch.stack([*losses.values()]).sum(), **losses}

    def _draw(self, mu: Tensor, logvar: Tensor) -> Tensor:
        return mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu

    def _transport(self, distance: Tensor) -> Tensor:
        config = self.config
        transport = sinkhorn(
            distance,
            epsilon=config.ecr_epsilon,
            tolerance=config.ecr_tolerance,
            max_iterations=config.ecr_iterations,
            start=self.potential,
        )
        if self.training:
            self.potential.copy_(transport.potential)
        return transport_cost(distance, transport.plan, epsilon=config.ecr_epsilon, gradient=config.ecr_gradient)
