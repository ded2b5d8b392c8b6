"""Hyper-parameters of TopicModel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from cellmodels.train.config import Count, NonNegative, Positive, ShareBelowOne, TrainConfig, check_weighting


@dataclass(frozen=True, kw_only=True)
class TopicConfig(TrainConfig):
    """Hyper-parameters of `TopicModel`; the defaults suit some hundreds to some ten thousands of cells.

    Attributes
    ----------
    n_genes
        Genes to model: those that vary most. None: all that vary.
    n_topics
        Topics, `K`.
    n_hidden
        Width of the encoder.
    n_embedding
        Length of topic and gene embeddings.
    dropout
        Share of the encoder's hidden units dropped in training.
    temperature
        Of the topics of a gene: smaller, and each gene belongs to fewer topics.
    likelihood
        What the decoder is to explain. `log`: log-normalised values, as in the paper; they enter as if they were
        counts, so that a cell weighs as much as its log values sum to. `counts`: counts, by a multinomial.
    kl_weight
        Of the divergence of a cell's topics from the prior.
    ecr_weight, ecr_epsilon, ecr_tolerance, ecr_iterations, ecr_gradient
        Weight of the transport cost between topics and genes, and how the plan is found
        (`cellmodels.topic.transport.sinkhorn`).
    distill_weight, distill_temperature, consistency_weight, balance_weight
        Of the losses that tie the topics to the view.
    n_neighbors
        Entries of a cell's list of neighbours, itself included.
    n_components
        Principal components of expression in which neighbours are sought. None: the genes themselves.
    view_weighting, view_top_n
        How the view is made from priors: weighting and number of genes, as in `genetext.cells.embed_cells`.
    view_components
        Principal components of the view to keep, whatever it is. None: the view as it is.
    gene_prior
        What the priors are to the gene embeddings. `init`: they start there. `pull`: and are drawn back. `frozen`: they
        stay there. `none`: nothing. Genes without a prior are learned from random vectors in each case.
    pull_weight
        Of the mean squared distance of gene embeddings to their priors, for `gene_prior="pull"`.
    embedding
        What `embed` gives: `latent`, the mean of `z`, which the paper clusters; or `theta`, the softmax of that.
    """

    n_genes: Annotated[int, Field(ge=2)] | None = 2000
    n_topics: Annotated[int, Field(ge=2)] = 30
    n_hidden: Count = 200
    n_embedding: Count = 200
    dropout: ShareBelowOne = 0.0
    temperature: Positive = 0.2
    likelihood: Literal["log", "counts"] = "log"
    kl_weight: NonNegative = 1.0
    ecr_weight: NonNegative = 100.0
    ecr_epsilon: Positive = 0.05
    ecr_tolerance: Positive = 5e-3
    ecr_iterations: Count = 1000
    ecr_gradient: Literal["implicit", "envelope"] = "implicit"
    distill_weight: NonNegative = 1.0
    distill_temperature: Positive = 0.5
    consistency_weight: NonNegative = 1.0
    balance_weight: NonNegative = 5.0
    n_neighbors: Annotated[int, Field(ge=2)] = 15
    n_components: Count | None = 50
    view_weighting: str = "contrast"
    view_top_n: int | None = None
    view_components: Count | None = 50
    gene_prior: Literal["init", "pull", "frozen", "none"] = "init"
    pull_weight: NonNegative = 100.0
    embedding: Literal["latent", "theta"] = "latent"
    epochs: Count = 100
    batch_size: Annotated[int, Field(ge=2)] = 256  # it is normalised over the cells of a mini-batch
    lr: Positive = 5e-3
    lr_step: Count | None = 25

    def __post_init__(self) -> None:
        """Check every value, and that weighting and number of genes of the view go together."""
        super().__post_init__()
        check_weighting(self.view_weighting, self.view_top_n)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Genes are those of the data: the paper takes tables cut down to variable genes.
    "paper": {
        "n_genes": None,
        "n_topics": 100,
        "n_components": None,
        "view_components": None,
        "gene_prior": "none",
        "epochs": 500,
        "batch_size": 512,
        "optimizer": "rmsprop",
        "lr": 1e-3,
        "lr_step": 125,
    }
}
