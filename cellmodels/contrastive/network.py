"""The towers of the contrastive model: averaged gene vectors, expression, or both in one space."""

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from cellmodels.contrastive.losses import info_nce, nt_xent, sup_con
from cellmodels.contrastive.views import Averaging, MeanOfGenes
from cellmodels.groups.pca import PCA
from cellmodels.nn.dense_product import Linear

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
    hidden, n_latent, skip
        Of the head.
    unit
        Give the head `v / |v|` instead.
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        averaging: Averaging,
        centre: NDArray[Any],
        scale: float,
        hidden: int,
        n_latent: int,
        *,
        unit: bool,
        skip: bool,
    ) -> None:
        super().__init__()
        self.unit = unit
        self.mean = MeanOfGenes(averaging)
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float32), persistent=False)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32), persistent=False)
        self.head = Head(averaging.vectors.shape[1], hidden, n_latent, skip=skip)

    def forward(self, inputs: dict[str, Tensor], drop: float = 0.0) -> Tensor:
        """Return unit vectors `(n_cells, n_latent)`."""
        return normalize(self.head(self.read(inputs, drop)), dim=1)

    def read(self, inputs: dict[str, Tensor], drop: float = 0.0) -> Tensor:
        """Return what the head is given, `(n_cells, dim)`."""
        vectors = cast(Tensor, self.mean(inputs["genes"], inputs["weights"], inputs["starts"], drop))
        return normalize(vectors, dim=1) if self.unit else (vectors - self.centre) / self.scale


class ExpressionTower(nn.Module):
    """Log values of the variable genes, standardised, through a projection head.

    Parameters
    ----------
    mean, sd
        `(n_variable,)`, over the cells fitted on.
    hidden, n_latent, skip
        Of the head.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: NDArray[Any], sd: NDArray[Any], hidden: int, n_latent: int, *, skip: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("sd", torch.tensor(np.where(sd > 0, sd, 1), dtype=torch.float32), persistent=False)
        self.head = Head(len(mean), hidden, n_latent, skip=skip)

    def forward(self, inputs: dict[str, Tensor], drop: float = 0.0) -> Tensor:
        """Return unit vectors `(n_cells, n_latent)`; a gene left out counts as its mean."""
        return normalize(self.head(self.read(inputs, drop)), dim=1)

    def read(self, inputs: dict[str, Tensor], drop: float = 0.0) -> Tensor:
        """Return what the head is given, `(n_cells, n_variable)`."""
        return dropout(((inputs["expression"] - self.mean) / self.sd).clamp(-CLIP, CLIP), drop)


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


class Head(nn.Module):
    """Two linear layers with a rectifier between them; with principal axes, what these miss.

    With axes the output is `P x + two layers(x)`, the second layer starting at zero: an embedding starts as principal
    components, and training changes what it has reason to.

    Parameters
    ----------
    n_in, hidden, n_latent
        Sizes.
    skip
        Whether there is a `P`.
    """

    def __init__(self, n_in: int, hidden: int, n_latent: int, *, skip: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(Linear(n_in, hidden), nn.ReLU(), Linear(hidden, n_latent))
        self.skip = Linear(n_in, n_latent, bias=False) if skip else None
        if self.skip is not None:
            last = cast(nn.Linear, self.layers[2])
            for zero in (last.weight, last.bias, self.skip.weight):
                nn.init.zeros_(zero)

    @torch.no_grad()
    def start(self, axes: NDArray[Any]) -> None:
        """Start from these axes, `(n_axes, n_in)`, no more than there are outputs."""
        assert self.skip is not None
        self.skip.weight[: len(axes)] = torch.tensor(axes, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, n_latent)`."""
        out: Tensor = self.layers(x)
        return out if self.skip is None else out + self.skip(x)


def principal_axes(x: Tensor, n: int) -> NDArray[Any]:
    """Return the first principal axes of rows, scaled so that projections have a mean square length of 1.

    Parameters
    ----------
    x
        `(n_rows, n_in)`; centred here.
    n
        Axes, at most; fewer where the rows span fewer.

    Returns
    -------
    `(n_axes, n_in) float64`, the sign of each making its largest loading positive.
    """
    pca = PCA.fit(x.numpy(), n)
    axes: NDArray[Any] = pca.loadings.T
    return axes / np.sqrt(pca.variances.sum()) if len(axes) else axes
