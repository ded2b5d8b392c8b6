"""Hyper-parameters of the contrastive model, and presets of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cellmodels.train.loop import Schedule
from genetext.cells import weighting as weightings

Form = Literal["auto", "prior", "expression", "two-tower"]
Loss = Literal["auto", "supervised", "self-supervised", "both"]


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(Schedule):
    """Hyper-parameters of `ContrastiveModel`, beside those of training.

    Attributes
    ----------
    form
        `prior`: averaged gene vectors. `expression`: log values of the variable genes, no prior. `two-tower`: both,
        in one space. `auto`: `two-tower` with a prior, `expression` without, so that one model has its ablation.
    loss
        `supervised` (SupCon), `self-supervised` (NT-Xent), or `both`. `auto`: `supervised` where there are
        labels. Cells without one then still tell which genes vary, the background, and where principal axes lie.
    weighting, top_n
        How gene vectors are averaged, as in `embed_cells`; None: all genes.
    prior_genes
        Average over `all` genes that have a vector, or over the `variable` ones among them.
    unit
        Scale averaged vectors to length 1 before the head, in place of centring them.
    n_genes
        Variable genes that the expression tower reads; None: all that vary.
    hidden, n_latent
        Sizes of a projection head; the embedding has `n_latent` coordinates, twice as many if two towers are
        concatenated.
    n_principal
        Start from so many principal components of each tower's input, and learn what they miss; None: from chance.
    joint
        What two towers give: `concatenate`, or their `mean`.
    gene_dropout
        Share of a cell's genes that a view leaves out, drawn anew for each mini-batch. 0 with SupCon: one view.
    temperature, alone_temperature, align_temperature
        Of SupCon, NT-Xent and the alignment of the towers.
    alone_weight, align_weight
        Of NT-Xent beside SupCon (`both`), and of the alignment beside the rest.
    k
        Neighbours that vote in `predict`.
    held_out
        Share kept from training, of each class, rounded down: classes of a few cells lose none. Labels of cells held
        out are in the held-out loss of SupCon and in the calibration of `predict`; that loss is free of labels only
        where the training is.
    """

    form: Form = "auto"
    loss: Loss = "auto"
    weighting: str = "contrast"
    top_n: int | None = 100
    prior_genes: Literal["all", "variable"] = "variable"
    unit: bool = False
    n_genes: int | None = 2000
    hidden: int = 512
    n_latent: int = 128
    n_principal: int | None = 50
    joint: Literal["concatenate", "mean"] = "concatenate"
    gene_dropout: float = 0.25
    temperature: float = 0.1
    alone_temperature: float = 0.5
    align_temperature: float = 0.5
    alone_weight: float = 1.0
    align_weight: float = 1.0
    k: int = 5
    epochs: int = 100
    batch_size: int = 256
    held_out: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        super().__post_init__()
        weightings.find(self.weighting, self.top_n)
        right = {
            "form": self.form in ("auto", "prior", "expression", "two-tower"),
            "loss": self.loss in ("auto", "supervised", "self-supervised", "both"),
            "prior_genes": self.prior_genes in ("all", "variable"),
            "joint": self.joint in ("concatenate", "mean"),
            "n_genes": self.n_genes is None or self.n_genes >= 1,
            "hidden": self.hidden >= 1,
            "n_latent": self.n_latent >= 1,
            "n_principal": self.n_principal is None or self.n_principal >= 1,
            "gene_dropout": 0 <= self.gene_dropout < 1,
            "temperature": self.temperature > 0,
            "alone_temperature": self.alone_temperature > 0,
            "align_temperature": self.align_temperature > 0,
            "alone_weight": self.alone_weight > 0,
            "align_weight": self.align_weight >= 0,
            "k": self.k >= 1,
            # Smaller batches hold one class, or one cell, and nothing is contrasted.
            "batch_size": self.batch_size >= 4,
        }
        self._refuse(right)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # A reconstruction: the values are not in what of the paper could be read (docs/models/contrastive.md).
    "paper": {
        "form": "prior",
        "weighting": "mean",
        "top_n": 100,
        "prior_genes": "all",
        "unit": True,
        "loss": "supervised",
        "temperature": 0.1,
        "gene_dropout": 0.0,
        "hidden": 512,
        "n_latent": 128,
        "n_principal": None,
        "batch_size": 256,
        "lr": 1e-3,
        "epochs": 100,
        "held_out": 0.1,
        "patience": 10,
        "selection": "loss",
        "k": 5,
    },
    "paper-self-supervised": {
        "form": "prior",
        "weighting": "contrast",
        "top_n": 100,
        "prior_genes": "all",
        "unit": True,
        "n_principal": None,
        "loss": "self-supervised",
        "alone_temperature": 0.1,
        "gene_dropout": 0.25,
    },
}
