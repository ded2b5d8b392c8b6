"""Hyper-parameters of the contrastive model, and presets of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellmodels.train.config import Count, NonNegative, Positive, ShareBelowOne, TrainConfig, check_weighting
from genetext.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(TrainConfig):
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
    unit_vectors
        Scale averaged vectors to length 1 before the head, in place of centring them.
    n_genes
        Variable genes that the expression tower reads; None: all that vary.
    n_hidden, n_latent
        Sizes of a projection head; the embedding has `n_latent` coordinates, twice as many if two towers are
        concatenated.
    n_components
        Start from so many principal components of each tower's input, and learn what they miss; None: from chance.
    fusion
        What two towers give: `concatenate`, or their `mean`.
    gene_dropout
        Share of a cell's genes that a view leaves out, drawn anew for each mini-batch. 0 with SupCon: one view.
    temperature, ntxent_temperature, alignment_temperature
        Of SupCon, NT-Xent and the alignment of the towers.
    ntxent_weight, alignment_weight
        Of NT-Xent beside SupCon (`both`), and of the alignment beside the rest.
    n_neighbors
        Neighbours that vote in `predict`.
    held_out
        Share kept from training, of each class, rounded down: classes of a few cells lose none. Labels of cells held
        out are in the held-out loss of SupCon and in the calibration of `predict`; that loss is free of labels only
        where the training is.
    """

    form: Literal["auto", "prior", "expression", "two-tower"] = "auto"
    loss: Literal["auto", "supervised", "self-supervised", "both"] = "auto"
    weighting: str = "contrast"
    top_n: int | None = 100
    prior_genes: Literal["all", "variable"] = "variable"
    unit_vectors: bool = False
    n_genes: Count | None = 2000
    n_hidden: Count = 512
    n_latent: Count = 128
    n_components: Count | None = 50
    fusion: Literal["concatenate", "mean"] = "concatenate"
    gene_dropout: ShareBelowOne = 0.25
    temperature: Positive = 0.1
    ntxent_temperature: Positive = 0.5
    alignment_temperature: Positive = 0.5
    ntxent_weight: Positive = 1.0
    alignment_weight: NonNegative = 1.0
    n_neighbors: Count = 5
    epochs: Count = 100
    batch_size: Annotated[int, Field(ge=4)] = 256  # smaller ones hold one class, or one cell: nothing is contrasted
    held_out: ShareBelowOne = 0.1

    def __post_init__(self) -> None:
        """Check every value, and that weighting and `top_n` go together."""
        super().__post_init__()
        check_weighting(self.weighting, self.top_n)

    def form_for(self, *, has_prior: bool) -> str:
        """Return the form with a prior or without: `prior`, `expression` or `two-tower`.

        Raises
        ------
        ModelError
            It needs a prior, and there is none.
        """
        form = self.form
        if form == "auto":
            return "two-tower" if has_prior else "expression"
        if form != "expression" and not has_prior:
            raise ModelError(
                f"form={form!r} averages gene vectors, and there are none: pass priors=, or form='expression' (the "
                f"same model without a prior; form='auto' chooses it)"
            )
        return form

    def loss_for(self, codes: NDArray[np.int64]) -> str:
        """Return the loss for these classes of cells `(n_cells,)`, -1: none.

        Raises
        ------
        ModelError
            It contrasts classes and there are fewer than two, or views that do not differ.
        """
        loss = self.loss
        labelled = codes >= 0
        if loss == "auto":
            loss = "supervised" if labelled.any() else "self-supervised"
        if loss == "self-supervised":
            if self.gene_dropout == 0:
                raise ModelError("the self-supervised loss tells views of cells apart: gene_dropout must be above 0")
            return loss
        n_classes = len(set(codes[labelled].tolist()))
        if n_classes < 2:
            raise ModelError(
                f"loss={loss!r} contrasts classes, and the labels are of {n_classes}: give labels of two at least, or "
                f"loss='self-supervised'"
            )
        return loss


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # A reconstruction: the values are not in what of the paper could be read (docs/models/contrastive.md).
    "paper": {
        "form": "prior",
        "weighting": "mean",
        "top_n": 100,
        "prior_genes": "all",
        "unit_vectors": True,
        "loss": "supervised",
        "temperature": 0.1,
        "gene_dropout": 0.0,
        "n_hidden": 512,
        "n_latent": 128,
        "n_components": None,
        "batch_size": 256,
        "lr": 1e-3,
        "epochs": 100,
        "held_out": 0.1,
        "patience": 10,
        "selection": "loss",
        "n_neighbors": 5,
    },
    "paper-self-supervised": {
        "form": "prior",
        "weighting": "contrast",
        "top_n": 100,
        "prior_genes": "all",
        "unit_vectors": True,
        "n_components": None,
        "loss": "self-supervised",
        "ntxent_temperature": 0.1,
        "gene_dropout": 0.25,
    },
}
