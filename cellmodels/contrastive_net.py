"""The towers of the contrastive model: averaged gene vectors, expression, or both in one space."""

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from cellmodels.contrastive_views import Averaging, MeanOfGenes
from cellmodels.losses import info_nce, nt_xent, sup_con

CLIP = 10.0


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What the losses are made of; those of 0 are not worked out.

    Attributes
    ----------
    supervised, alone, align
        Of SupCon, of NT-Xent, and of the alignment of two towers.
    temperature, alone_temperature, align_temperature
        Of the three.
    gene_dropout
        Share of a cell's genes that a view leaves out.
    """

    supervised: float
    alone: float
    align: float
    temperature: float
    alone_temperature: float
    align_temperature: float
    gene_dropout: float

    @property
    def two_views(self) -> bool:
        """Whether cells are seen twice."""
        return self.alone > 0 or self.gene_dropout > 0


class PriorTower(nn.Module):
    """Averaged gene vectors, centred and scaled, through a projection head.

    Parameters
    ----------
    averaging
        Of the gene vectors.
    centre, scale
        `(dim,)` and a number: the head takes `(v - centre) / scale`, with both of the cells fitted on.
    hidden, n_latent
        Sizes of the head.
    unit
        Give the head `v / |v|` instead.
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self, averaging: Averaging, centre: NDArray[Any], scale: float, hidden: int, n_latent: int, *, unit: bool
    ) -> None:
        super().__init__()
        self.unit = unit
        self.mean = MeanOfGenes(averaging)
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float32), persistent=False)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32), persistent=False)
        self.head = head(averaging.vectors.shape[1], hidden, n_latent)

    def forward(self, inputs: dict[str, Tensor], drop: float = 0.0) -> Tensor:
        """Return unit vectors `(n_cells, n_latent)`."""
        vectors = self.mean(inputs["genes"], inputs["weights"], inputs["starts"], drop)
        given = normalize(vectors, dim=1) if self.unit else (vectors - self.centre) / self.scale
        return normalize(self.head(given), dim=1)


class ExpressionTower(nn.Module):
    """Log values of the variable genes, standardised, through a projection head.

    Parameters
    ----------
    mean, sd
        `(n_variable,)`, over the cells fitted on.
    hidden, n_latent
        Sizes of the head.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: NDArray[Any], sd: NDArray[Any], hidden: int, n_latent: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("sd", torch.tensor(np.where(sd > 0, sd, 1), dtype=torch.float32), persistent=False)
        self.head = head(len(mean), hidden, n_latent)

    def forward(self, inputs: dict[str, Tensor], drop: float = 0.0) -> Tensor:
        """Return unit vectors `(n_cells, n_latent)`; a gene left out counts as its mean."""
        standard = ((inputs["expression"] - self.mean) / self.sd).clamp(-CLIP, CLIP)
        return normalize(self.head(dropout(standard, drop)), dim=1)


class ContrastiveNet(nn.Module):
    """One tower or two, and the losses over views of cells.

    Parameters
    ----------
    towers
        By name: `prior`, `expression`, or both.
    weights
        Of the losses.
    joint
        With two towers, whether a cell is their vectors one behind the other (`concatenate`), or their `mean`.
    """

    def __init__(self, towers: dict[str, nn.Module], weights: Weights, joint: str) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.weights, self.joint = weights, joint

    def forward(self, codes: Tensor, cells: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """Return the losses of a mini-batch.

        Parameters
        ----------
        codes, cells
            `(n,)`: class of each row (-1: none), and which cell it is.
        **inputs
            What the towers take.
        """
        weights = self.weights
        views = [self.see(inputs, weights.gene_dropout) for _ in range(2 if weights.two_views else 1)]
        joined = [self.join(view) for view in views]
        losses = {}
        if weights.supervised > 0:
            repeated = codes.repeat(len(views))
            losses["supervised"] = sup_con(torch.cat(joined), repeated, temperature=weights.temperature)
        if weights.alone > 0:
            losses["self_supervised"] = nt_xent(
                joined[0], joined[1], temperature=weights.alone_temperature, cells=cells
            )
        if weights.align > 0 and len(self.towers) == 2:
            temperature = weights.align_temperature
            terms = [info_nce(*view, temperature=temperature, cells=cells) for view in views]
            losses["alignment"] = torch.stack(terms).mean()
        shares = {"supervised": weights.supervised, "self_supervised": weights.alone, "alignment": weights.align}
        total = torch.stack([shares[name] * loss for name, loss in losses.items()]).sum()
        return {"loss": total, **losses}

    def see(self, inputs: dict[str, Tensor], drop: float = 0.0) -> list[Tensor]:
        """Return what each tower makes of the cells, unit vectors."""
        return [cast(Tensor, tower(inputs, drop)) for tower in self.towers.values()]

    def join(self, seen: list[Tensor]) -> Tensor:
        """Return one unit vector per cell."""
        if len(seen) == 1:
            return seen[0]
        if self.joint == "mean":
            return normalize(torch.stack(seen).sum(dim=0), dim=1)
        return torch.cat(seen, dim=1) / math.sqrt(len(seen))


def head(n_in: int, hidden: int, n_latent: int) -> nn.Sequential:
    """Two linear layers with a rectifier between them."""
    return nn.Sequential(nn.Linear(n_in, hidden), nn.ReLU(), nn.Linear(hidden, n_latent))
