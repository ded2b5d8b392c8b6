"""Hyper-parameters of RefinementModel, and the values of the paper."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from cellmodels.train.config import Count, NonNegative, Positive, Share, ShareBelowOne, TrainConfig


@dataclass(frozen=True, kw_only=True)
class RefinementConfig(TrainConfig):
    """Hyper-parameters of RefinementModel.

    Attributes
    ----------
    n_genes
        So many genes that vary most; None: all that vary.
    features
        What the network reads: log values `scaled` by the standard deviation of the gene, cut at 10, not centred; `log`
        values as they are; or `counts`.
    hops
        How often the features of the first and of the second view are averaged over the cells' neighbours beforehand.
    graph
        Which cells are neighbours: `expression`, `spatial` (positions in `obsm["spatial"]`), or a key of `obsp`.
    n_neighbors
        Neighbours of a cell, not counting itself; links hold both ways.
    n_components
        Cells are compared, by cosine, in so many principal components of their log values; None: gene by gene, from
        10,000 cells on in 50 components.
    gene_graph
        Which genes are neighbours: `expression`, `text` (near in the priors), or `blend`. None: `blend` with priors,
        `expression` without.
    n_gene_neighbors
        Neighbours of a gene, not counting itself.
    text_share
        Share of the text in a blend, 0 to 1.
    gene_metric
        Near in expression: `cosine` (correlation over the cells) or `euclidean`.
    gene_links
        `union`: linked if either is near to the other. `directed`: a gene receives from those it is near to.
    n_gene_features
        The gene branch reads so many principal directions of the genes; None: a gene's value in every cell.
    n_hidden
        Width of both views.
    n_latent
        Width of each refined view; the embedding has twice as many columns. None: the number of clusters that the
        stability of Leiden cuts tells.
    dropout
        Share of hidden values dropped in training.
    temperature
        Of the softmax over hidden values.
    alignment_weight, consistency_weight
        Weights of neighbourhood alignment and of cross-view consistency.
    batch_size
        Up to so many cells all are one batch, and an epoch is one step, exactly. More are cut into mini-batches.
    """

    n_genes: Annotated[int, Field(ge=2)] | None = 2000
    features: Literal["log", "scaled", "counts"] = "scaled"
    hops: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (2, 1)
    graph: Annotated[str, Field(min_length=1)] = "expression"
    n_neighbors: Count = 14
    n_components: Count | None = 50
    gene_graph: Literal["expression", "text", "blend"] | None = None
    n_gene_neighbors: Count = 4
    text_share: Share = 0.5
    gene_metric: Literal["cosine", "euclidean"] = "cosine"
    gene_links: Literal["union", "directed"] = "union"
    n_gene_features: Count | None = 128
    n_hidden: Count = 256
    n_latent: Annotated[int, Field(ge=2)] | None = 64
    dropout: ShareBelowOne = 0.3
    temperature: Positive = 0.1
    alignment_weight: NonNegative = 100.0
    consistency_weight: NonNegative = 1.0
    epochs: Count = 20
    batch_size: Annotated[int, Field(ge=2)] = 4096
    lr: Positive = 1e-3
    weight_decay: NonNegative = 1e-3


_PAPER: dict[str, Any] = {
    "features": "counts",
    "hops": (0, 0),
    "n_components": None,
    "gene_graph": "expression",
    "gene_metric": "euclidean",
    "gene_links": "directed",
    "n_gene_features": None,
    "n_hidden": 1500,
    "n_latent": None,
    "epochs": 500,
    "batch_size": 10**9,
    "lr": 1e-4,
    "weight_decay": 0.1,
}


def _paper(**changes: Any) -> dict[str, Any]:
    return {**_PAPER, **changes}


_SPATIAL = {"features": "scaled", "graph": "spatial", "n_genes": 1000, "n_neighbors": 3, "n_latent": 100}


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": _paper(),
    "paper:diaphragm": _paper(
        lr=5e-4, dropout=0.1, weight_decay=1e-3, n_genes=1500, consistency_weight=0.01, temperature=1.0, n_latent=5
    ),
    "paper:lung": _paper(
        lr=5e-4,
        hops=(5, 0),
        dropout=0.1,
        weight_decay=1e-3,
        n_genes=1000,
        consistency_weight=100.0,
        temperature=1.0,
        n_latent=11,
    ),
    "paper:trachea": _paper(
        lr=5e-3,
        dropout=0.1,
        weight_decay=1e-3,
        n_genes=500,
        alignment_weight=10.0,
        consistency_weight=0.01,
        temperature=1.0,
        n_latent=9,
    ),
    "paper:bladder": _paper(
        lr=5e-3, hops=(5, 0), dropout=0.5, n_genes=1000, alignment_weight=10.0, consistency_weight=0.01, n_latent=4
    ),
    "paper:limb_muscle": _paper(hops=(5, 0), n_genes=1000, consistency_weight=0.1, n_latent=6),
    "paper:spleen": _paper(lr=5e-4, dropout=0.1, weight_decay=1e-3, n_genes=500, temperature=1.0, n_latent=5),
    "paper:li_tumor": _paper(lr=1e-5, consistency_weight=10.0, n_latent=6),
    "paper:human_esc": _paper(
        lr=1e-5,
        hops=(4, 2),
        weight_decay=1e-2,
        n_genes=1000,
        alignment_weight=10.0,
        consistency_weight=100.0,
        n_latent=7,
    ),
    "paper:zeisel": _paper(lr=5e-5, hops=(4, 2), n_genes=1500, consistency_weight=0.01, n_latent=9),
    "paper:baron_human": _paper(lr=5e-5, hops=(5, 0), alignment_weight=0.01, consistency_weight=0.1, n_latent=14),
    "paper:spatial": _paper(**{**_SPATIAL, "n_genes": 3000, "n_neighbors": 15, "hops": (10, 8), "n_latent": None}),
    "paper:breast_cancer": _paper(**_SPATIAL, hops=(5, 1), alignment_weight=200.0),
    "paper:mouse_brain": _paper(**_SPATIAL, hops=(1, 0)),
    "paper:mouse_embryo": _paper(**_SPATIAL, hops=(5, 1), alignment_weight=200.0, consistency_weight=0.1),
}
