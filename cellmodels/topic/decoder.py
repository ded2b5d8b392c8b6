"""The linear decoder of topics, without a cells x genes matrix that is not needed.

Expression is `p = softmax(BatchNorm(theta beta))`. What batch normalisation needs of `theta beta` are means and
variances of genes, and these follow from those of the topics: with `m` the mean of the rows of `theta` and `C` their
covariance, gene `j` has mean `m . beta_j` and variance `beta_j' C beta_j`. So normalisation is folded into the `K x G`
matrix of the decoder, and one product makes the logits. The gradient with respect to these is `|x| p - x`.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cellmodels.nn.dense_product import linear, matmul
from cellmodels.nn.sparse_product import SparseMatrix


class FoldedNorm(nn.BatchNorm1d):
    """Batch normalisation of `theta beta`, as a factor and a summand of each gene.

    Weights and running moments are those of `BatchNorm1d`, which it still is when called on `theta beta` itself.
    """

    def fold(self, theta: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """Return `slope` and `shift`, `(G,)` each, with `BatchNorm(theta beta) = theta (beta slope) + shift`.

        Parameters
        ----------
        theta
            `(n_cells, K)`; two cells at least in training, which also moves the running moments.
        beta
            `(K, G)`.
        """
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        if not self.training:
            mean, variance = self.running_mean, self.running_var
        else:
            n = len(theta)
            with torch.autocast(theta.device.type, enabled=False):
                theta = theta.to(beta.dtype)  # in half precision moments would lose what tells topics apart
                share = theta.mean(dim=0)
                away = theta - share
                mean, variance = share @ beta, (linear(away.T @ away / n, beta.T) * beta).sum(dim=0)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
                self.num_batches_tracked += 1
        slope = self.weight * torch.rsqrt(variance + self.eps)
        return slope, self.bias - mean * slope


def negative_log_likelihood(theta: Tensor, weight: Tensor, shift: Tensor, target: Tensor | SparseMatrix) -> Tensor:
    """Return the mean over cells of `-sum_j target_j log p_j`, `p = softmax(theta weight + shift)`.

    Parameters
    ----------
    theta
        `(n_cells, K)`.
    weight
        `(K, G)`.
    shift
        `(G,)`.
    target
        `(n_cells, G)`: counts, or values taken for such; constant.
    """
    loss: Tensor = _Multinomial.apply(theta, weight, shift, target, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return loss


class _Multinomial(torch.autograd.Function):
    """The gradient by the logits is made beside the loss, in the memory of their logarithms."""

    @staticmethod
    def forward(
        ctx: Any, theta: Tensor, weight: Tensor, shift: Tensor, target: Tensor | SparseMatrix, with_gradient: bool
    ) -> Tensor:
        n, n_genes = len(theta), weight.shape[1]
        logits = matmul(theta, weight).add_(shift)
        log_p = torch.log_softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))
        if isinstance(target, Tensor):
            explained, total = target * log_p, target.sum(dim=1)
        else:
            where, values = target.entries()
            explained, total = log_p.view(-1)[where] * values, values.new_zeros(n)
            total.index_add_(0, where // n_genes, values)
        # In float64, so that the number of threads, each of which sums a part, changes nothing.
        wide = torch.float32 if log_p.device.type == "mps" else torch.float64
        loss = (explained.sum(dtype=wide) / -n).to(log_p.dtype)
        if with_gradient:
            by_logits = log_p.exp_().mul_(total[:, None])
            if isinstance(target, Tensor):
                by_logits.sub_(target)
            else:
                by_logits.view(-1).index_add_(0, where, values, alpha=-1)
            ctx.save_for_backward(theta, weight, by_logits.div_(n).to(logits.dtype))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        theta, weight, by_logits = ctx.saved_tensors
        cut = by_logits.dtype
        by_theta = matmul(by_logits, weight.to(cut).T).to(theta.dtype)
        by_weight = matmul(theta.to(cut).T, by_logits).to(weight.dtype)
        by_shift = by_logits.sum(dim=0, dtype=weight.dtype)
        return upstream[0] * by_theta, upstream[0] * by_weight, upstream[0] * by_shift, None, None
