"""Contrastive losses over unit vectors, and mini-batches in which every class has its share.

`z` are unit vectors, `s_ij = z_i . z_j / tau`. All three losses are a mean over anchors of

    -mean over positives p of  log( exp(s_ip) / sum_{a in A(i)} exp(s_ia) )

and differ in what is a positive and what is compared with: supervised (Khosla et al. 2020), two views of a cell
(NT-Xent, Chen et al. 2020), the same cell seen by two encoders (InfoNCE both ways, as in CLIP). They are worked out
in float32 at any precision of training, by `logsumexp`, so that small temperatures do not overflow.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellmodels.data.inputs import Rows
from genetext.errors import ModelError


def sup_con(z: Tensor, labels: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Return the supervised contrastive loss: cells of a class are drawn together, others pushed apart.

    `A(i)` are all other rows that have a label, the positives those of the same label. Rows without a label are
    left out altogether. A row with no positive is compared with and is no anchor.

    Parameters
    ----------
    z
        `(n, d)`, rows of unit length.
    labels
        `(n,)` integers; negative: no label.
    temperature
        `tau`.

    Returns
    -------
    A scalar; 0, with gradient 0, where no row has a positive.
    """
    known = labels >= 0
    z, labels = z[known].float(), labels[known]
    n = len(labels)
    others = ~torch.eye(n, dtype=torch.bool, device=z.device)
    positive = (labels[:, None] == labels[None, :]) & others
    return _mean_log_share(z @ z.T / temperature, positive, others)


def nt_xent(first: Tensor, second: Tensor, *, temperature: float = 0.5, cells: Tensor | None = None) -> Tensor:
    """Return the loss that tells the other view of a cell among views of other cells.

    Parameters
    ----------
    first, second
        `(n, d)` each, rows of unit length: two views of the same cells.
    temperature
        `tau`.
    cells
        `(n,)` integers, which cell a row is. A cell that stands in the batch twice is not pushed from itself.
        Default: all are different.

    Returns
    -------
    A scalar; 0 for one cell, which there is nothing to tell from.
    """
    z = torch.cat([first, second]).float()
    n = len(first)
    row = torch.arange(2 * n, device=z.device)
    positive = row[:, None] == (row[None, :] + n) % (2 * n)
    ids = torch.arange(n, device=z.device) if cells is None else cells
    same = torch.cat([ids, ids])
    compared = (same[:, None] != same[None, :]) | positive
    return _mean_log_share(z @ z.T / temperature, positive, compared)


def info_nce(first: Tensor, second: Tensor, *, temperature: float = 0.1, cells: Tensor | None = None) -> Tensor:
    """Return the loss that finds a cell of one encoder among all cells of another, averaged over both directions.

    Parameters are those of `nt_xent`; here rows of `first` are compared with rows of `second` only.
    """
    similarity = first.float() @ second.float().T / temperature
    n = len(first)
    positive = torch.eye(n, dtype=torch.bool, device=similarity.device)
    ids = torch.arange(n, device=similarity.device) if cells is None else cells
    compared = (ids[:, None] != ids[None, :]) | positive
    losses = [_mean_log_share(matrix, positive, compared) for matrix in (similarity, similarity.T)]
    return (losses[0] + losses[1]) / 2


def _mean_log_share(similarity: Tensor, positive: Tensor, compared: Tensor) -> Tensor:
    """Mean over rows with a positive of minus the mean over its positives of the log of their share."""
    n_positive = positive.sum(dim=1)
    anchors = n_positive > 0
    if not bool(anchors.any()):
        return similarity.sum() * 0
    # A finite floor: a row of -inf alone would have a gradient of NaN.
    logits = similarity.masked_fill(~compared, -1e9)[anchors]
    log_share = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    mean = (log_share * positive[anchors]).sum(dim=1) / n_positive[anchors]
    return -mean.mean()


@dataclass(frozen=True, eq=False)
class BalancedBatches:
    """Mini-batches in which each class has as many cells as any other.

    A batch takes `batch_size // n_classes` cells of each class, two at least and no more than the largest class
    has; where there are too many classes for that, each batch takes some of them in turn. A class goes through its
    cells in a random order, and again in another once all were taken, so that a rare class repeats cells and none of
    them is left out while another comes twice.

    Attributes
    ----------
    rows
        `(n,) int64`: the cells to draw from.
    codes
        `(n,) int64`: class of each, from 0, not negative.
    batch_size
        Cells in a batch, about.

    Raises
    ------
    ModelError
        There is no cell, or a code is negative.
    """

    rows: Rows
    codes: NDArray[np.int64]
    batch_size: int

    def __post_init__(self) -> None:
        if not len(self.rows) or self.rows.shape != self.codes.shape or (self.codes < 0).any():
            raise ModelError("balanced batches need cells, and a class for each of them")

    def draw(self, rng: np.random.Generator, n_batches: int | None = None) -> list[Rows]:
        """Return the batches of an epoch: `n_batches`, by default as many as hold all cells once."""
        members = [self.rows[self.codes == code] for code in np.unique(self.codes)]
        share = min(max(self.batch_size // len(members), 2), max(*map(len, members), 2))
        n_classes = min(len(members), max(self.batch_size // share, 2))  # one class alone is contrasted with nothing
        if n_batches is None:
            n_batches = -(-len(self.rows) // self.batch_size)
        classes = _Round(np.arange(len(members)), rng)
        cells = [_Round(rows, rng) for rows in members]
        batches = []
        for _ in range(n_batches):
            drawn = [cells[number].take(share) for number in classes.take(n_classes)]
            batches.append(rng.permutation(np.concatenate(drawn)))
        return batches


class _Round:
    """Items in a random order, over and over, each round in a new one; as distinct as can be."""

    def __init__(self, items: NDArray[np.int64], rng: np.random.Generator) -> None:
        self._items, self._rng = items, rng
        self._left = items[:0]

    def take(self, n: int) -> NDArray[np.int64]:
        """Return the next `n`; none twice unless there are fewer than `n` items."""
        flat = self._left
        while len(flat) < n:
            another = self._rng.permutation(self._items)
            repeated = np.isin(another, self._left)
            flat = np.concatenate([flat, another[~repeated], another[repeated]])
        self._left = flat[n:]
        return flat[:n]
