"""Hyper-parameters of RefinementModel, and the values of the paper."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cellmodels.train.loop import Schedule


@dataclass(frozen=True, kw_only=True)
class RefinementConfig(Schedule):
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
    k
        Neighbours of a cell, not counting itself; links hold both ways.
    n_pcs
        Cells are compared, by cosine, in so many principal components of their log values; None: gene by gene, from
        10,000 cells on in 50 components.
    gene_graph
        Which genes are neighbours: `expression`, `text` (near in the priors), or `blend`. None: `blend` with priors,
        `expression` without.
    gene_k
        Neighbours of a gene, not counting itself.
    gene_blend
        Share of the text in a blend, 0 to 1.
    gene_metric
        Near in expression: `cosine` (correlation over the cells) or `euclidean`.
    gene_links
        `union`: linked if either is near to the other. `directed`: a gene receives from those it is near to.
    gene_features
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
    lambda1, lambda2
        Weights of neighbourhood alignment and of cross-view consistency.
    batch_size
        Up to so many cells all are one batch, and an epoch is one step, exactly. More are cut into mini-batches.
    """

    n_genes: int | None = 2000
    features: Literal["log", "scaled", "counts"] = "scaled"
    hops: tuple[int, int] = (2, 1)
    graph: str = "expression"
    k: int = 14
    n_pcs: int | None = 50
    gene_graph: Literal["expression", "text", "blend"] | None = None
    gene_k: int = 4
    gene_blend: float = 0.5
    gene_metric: Literal["cosine", "euclidean"] = "cosine"
    gene_links: Literal["union", "directed"] = "union"
    gene_features: int | None = 128
    n_hidden: int = 256
    n_latent: int | None = 64
    dropout: float = 0.3
    temperature: float = 0.1
    lambda1: float = 100.0
    lambda2: float = 1.0
    epochs: int = 20
    batch_size: int = 4096
    lr: float = 1e-3
    weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        super().__post_init__()
        right = {
            "n_genes": self.n_genes is None or self.n_genes >= 2,
            "features": self.features in ("log", "scaled", "counts"),
            "hops": len(self.hops) == 2 and min(self.hops) >= 0,
            "graph": bool(self.graph),
            "k": self.k >= 1,
            "n_pcs": self.n_pcs is None or self.n_pcs >= 1,
            "gene_graph": self.gene_graph in (None, "expression", "text", "blend"),
            "gene_k": self.gene_k >= 1,
            "gene_blend": 0 <= self.gene_blend <= 1,
            "gene_metric": self.gene_metric in ("cosine", "euclidean"),
            "gene_links": self.gene_links in ("union", "directed"),
            "gene_features": self.gene_features is None or self.gene_features >= 1,
            "n_hidden": self.n_hidden >= 1,
            "n_latent": self.n_latent is None or self.n_latent >= 2,
            "dropout": 0 <= self.dropout < 1,
            "temperature": self.temperature > 0,
            "lambda1": self.lambda1 >= 0,
            "lambda2": self.lambda2 >= 0,
            "batch_size": self.batch_size >= 2,
        }
        self._refuse(right)


_PAPER: dict[str, Any] = {
    "features": "counts",
    "hops": (0, 0),
    "n_pcs": None,
    "gene_graph": "expression",
    "gene_metric": "euclidean",
    "gene_links": "directed",
    "gene_features": None,
    "n_hidden": 1500,
    "n_latent": None,
    "epochs": 500,
    "batch_size": 10**9,
    "lr": 1e-4,
    "weight_decay": 0.1,
}


def _paper(**changes: Any) -> dict[str, Any]:
    return {**_PAPER, **changes}


_SPATIAL = {"features": "scaled", "graph": "spatial", "n_genes": 1000, "k": 3, "n_latent": 100}


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": _paper(),
    "paper:diaphragm": _paper(
        lr=5e-4, dropout=0.1, weight_decay=1e-3, n_genes=1500, lambda2=0.01, temperature=1.0, n_latent=5
    ),
    "paper:lung": _paper(
        lr=5e-4,
        hops=(5, 0),
        dropout=0.1,
        weight_decay=1e-3,
        n_genes=1000,
        lambda2=100.0,
        temperature=1.0,
        n_latent=11,
    ),
    "paper:trachea": _paper(
        lr=5e-3,
        dropout=0.1,
        weight_decay=1e-3,
        n_genes=500,
        lambda1=10.0,
        lambda2=0.01,
        temperature=1.0,
        n_latent=9,
    ),
    "paper:bladder": _paper(lr=5e-3, hops=(5, 0), dropout=0.5, n_genes=1000, lambda1=10.0, lambda2=0.01, n_latent=4),
    "paper:limb_muscle": _paper(hops=(5, 0), n_genes=1000, lambda2=0.1, n_latent=6),
    "paper:spleen": _paper(lr=5e-4, dropout=0.1, weight_decay=1e-3, n_genes=500, temperature=1.0, n_latent=5),
    "paper:li_tumor": _paper(lr=1e-5, lambda2=10.0, n_latent=6),
    "paper:human_esc": _paper(
        lr=1e-5, hops=(4, 2), weight_decay=1e-2, n_genes=1000, lambda1=10.0, lambda2=100.0, n_latent=7
    ),
    "paper:zeisel": _paper(lr=5e-5, hops=(4, 2), n_genes=1500, lambda2=0.01, n_latent=9),
    "paper:baron_human": _paper(lr=5e-5, hops=(5, 0), lambda1=0.01, lambda2=0.1, n_latent=14),
    "paper:spatial": _paper(**{**_SPATIAL, "n_genes": 3000, "k": 15, "hops": (10, 8), "n_latent": None}),
    "paper:breast_cancer": _paper(**_SPATIAL, hops=(5, 1), lambda1=200.0),
    "paper:mouse_brain": _paper(**_SPATIAL, hops=(1, 0)),
    "paper:mouse_embryo": _paper(**_SPATIAL, hops=(5, 1), lambda1=200.0, lambda2=0.1),
}
