"""The towers of the contrastive model: averaged gene vectors, expression, or both in one space."""

import math
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from cellmodels.contrastive.config import ContrastiveConfig
from cellmodels.contrastive.losses import info_nce, nt_xent, sup_con
from cellmodels.contrastive.views import Averaging, MeanOfGenes
from cellmodels.groups.pca import PCA
from cellmodels.nn.dense_product import Linear

CLIP = 10.0


class Tower(nn.Module):
    """What one source says of a cell, through a projection head, as a vector of unit length."""

    head: "Head"

    def forward(self, inputs: dict[str, Tensor], drop: float = 0.0) -> Tensor:
        """Return unit vectors `(n_cells, n_latent)`; `drop` is the share of a cell's genes that is left out."""
        return normalize(self.head(self.read(inputs, drop)), dim=1)

    def read(self, inputs: dict[str, Tensor], drop: float = 0.0) -> Tensor:
        """Return what the head is given, `(n_cells, n_in)`."""
        raise NotImplementedError


class PriorTower(Tower):
    """Averaged gene vectors, centred and scaled.

    Parameters
    ----------
    averaging
        Of the gene vectors.
    centre, scale
        `(dim,)` and a number: the head takes `(v - centre) / scale`, with both of the cells fitted on.
    config
        Sizes of the head; with `unit_vectors` it is given `v / |v|` instead.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, averaging: Averaging, centre: NDArray[Any], scale: float, config: ContrastiveConfig) -> None:
        super().__init__()
        self.unit_vectors = config.unit_vectors
        self.mean = MeanOfGenes(averaging)
        self.register_buffer("centre", torch.tensor(centre, dtype=torch.float32), persistent=False)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32), persistent=False)
        self.head = Head(averaging.vectors.shape[1], config)

    def read(self, inputs: dict[str, Tensor], drop: float = 0.0) -> Tensor:
        """Return the vectors `(n_cells, dim)`."""
        vectors = cast(Tensor, self.mean(inputs["genes"], inputs["weights"], inputs["starts"], drop))
        return normalize(vectors, dim=1) if self.unit_vectors else (vectors - self.centre) / self.scale


class ExpressionTower(Tower):
    """Log values of the variable genes, standardised.

    Parameters
    ----------
    mean, sd
        `(n_variable,)`, over the cells fitted on.
    config
        Sizes of the head.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: NDArray[Any], sd: NDArray[Any], config: ContrastiveConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("sd", torch.tensor(np.where(sd > 0, sd, 1), dtype=torch.float32), persistent=False)
        self.head = Head(len(mean), config)

    def read(self, inputs: dict[str, Tensor], drop: float = 0.0) -> Tensor:
        """Return the values `(n_cells, n_variable)`; a gene left out counts as its mean."""
        return dropout(((inputs["expression"] - self.mean) / self.sd).clamp(-CLIP, CLIP), drop)


class ContrastiveNet(nn.Module):
    """One tower or two, and the losses over views of cells.

    Parameters
    ----------
    towers
        By name: `prior`, `expression`, or both.
    config
        Weights and temperatures of the losses, and how two towers are joined.
    loss
        `supervised`, `self-supervised` or `both`.
    """

    def __init__(self, towers: dict[str, Tower], config: ContrastiveConfig, loss: str) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.config, self.loss = config, loss

    def forward(self, codes: Tensor, cells: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """Return the losses of a mini-batch.

        Parameters
        ----------
        codes, cells
            `(n,)`: class of each row (-1: none), and which cell it is.
        **inputs
            What the towers take.
        """
        config = self.config
        two_views = self.loss != "supervised" or config.gene_dropout > 0
        views = [self.see(inputs, config.gene_dropout) for _ in range(2 if two_views else 1)]
        joined = [self.join(view) for view in views]
        losses = {}
        weights = {"supervised": 1.0, "self_supervised": 1.0, "alignment": config.alignment_weight}
        if self.loss != "self-supervised":
            losses["supervised"] = sup_con(torch.cat(joined), codes.repeat(len(views)), temperature=config.temperature)
        if self.loss != "supervised":
            losses["self_supervised"] = nt_xent(
                joined[0], joined[1], temperature=config.ntxent_temperature, cells=cells
            )
        if self.loss == "both":
            weights["self_supervised"] = config.ntxent_weight
        if config.alignment_weight > 0 and len(self.towers) == 2:
            terms = [info_nce(*view, temperature=config.alignment_temperature, cells=cells) for view in views]
            losses["alignment"] = torch.stack(terms).mean()
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return {"loss": total, **losses}

    def see(self, inputs: dict[str, Tensor], drop: float = 0.0) -> list[Tensor]:
        """Return what each tower makes of the cells, unit vectors."""
        return [cast(Tensor, tower(inputs, drop)) for tower in self.towers.values()]

    def join(self, seen: list[Tensor]) -> Tensor:
        """Return one unit vector per cell."""
        if len(seen) == 1:
            return seen[0]
        if self.config.fusion == "mean":
            return normalize(torch.stack(seen).sum(dim=0), dim=1)
        return torch.cat(seen, dim=1) / math.sqrt(len(seen))


class Head(nn.Module):
    """Two linear layers with a rectifier between them; with principal axes, what these miss.

    With axes the output is `P x + two layers(x)`, the second layer starting at zero: an embedding starts as principal
    components, and training changes what it has reason to.

    Parameters
    ----------
    n_in
        Values that it reads.
    config
        Sizes of the layers; there is a `P` unless `n_components` is None.
    """

    def __init__(self, n_in: int, config: ContrastiveConfig) -> None:
        super().__init__()
        hidden, n_latent = config.n_hidden, config.n_latent
        self.layers = nn.Sequential(Linear(n_in, hidden), nn.ReLU(), Linear(hidden, n_latent))
        self.skip = None if config.n_components is None else Linear(n_in, n_latent, bias=False)
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
        learned: Tensor = self.layers(x)
        return learned if self.skip is None else learned + self.skip(x)


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
