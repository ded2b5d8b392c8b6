"""Losses of the topic model beside reconstruction and transport.

Those of two views are scE2TM's (arXiv 2507.08355), which has them from image clustering with text (TAC): the columns of
two assignment matrices, one a topic each, are contrasted with each other as SimCLR contrasts images.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the mean over cells of `KL(N(mu, diag exp logvar) || N(0, 1 - 1/K))`.

    The prior is the Laplace approximation of a flat Dirichlet distribution of `K` topics in the softmax basis.
    """
    k = mu.shape[1]
    variance = 1 - 1 / k
    each = (logvar.exp() + mu.square()) / variance - logvar + math.log(variance) - 1
    return 0.5 * each.sum(dim=1).mean()


def distillation(left: Tensor, right: Tensor, *, temperature: float = 0.5) -> Tensor:
    """Contrast topics of two assignment matrices: a topic should be like itself in the other view, and no other.

    Parameters
    ----------
    left, right
        `(n_cells, K)`, rows sum to 1.
    temperature
        Divides the cosines.

    Returns
    -------
    Scalar: of all `2 K` columns the mean cross-entropy of finding the same topic of the other matrix among the
    `2 K - 1` other columns.
    """
    columns = functional.normalize(torch.cat([left, right], dim=1).T, dim=1)
    cosine = columns @ columns.T / temperature
    cosine = cosine.masked_fill(torch.eye(len(cosine), dtype=torch.bool, device=cosine.device), -math.inf)
    k = left.shape[1]
    same = torch.arange(2 * k, device=cosine.device).roll(k)
    return functional.cross_entropy(cosine, same)


def consistency(left: Tensor, right: Tensor) -> Tensor:
    """Return the mean over cells of `-log <left_c, right_c>`: how far a cell's assignments in two views disagree."""
    return -(left * right).sum(dim=1).clamp_min(torch.finfo(left.dtype).tiny).log().mean()


def balance(shares: Tensor) -> Tensor:
    """Return the entropy of the mean assignment; `log K` if all topics are used alike."""
    mean = shares.mean(dim=0).clamp_min(1e-9)
    return -(mean * mean.log()).sum()
