"""Hyper-parameters of TopicModel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cellmodels.topic.transport import GradientKind
from cellmodels.train.loop import Schedule
from genetext.errors import ModelError

GenePrior = Literal["init", "pull", "frozen", "none"]


@dataclass(frozen=True, kw_only=True)
class TopicConfig(Schedule):
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

    n_genes: int | None = 2000
    n_topics: int = 30
    n_hidden: int = 200
    n_embedding: int = 200
    dropout: float = 0.0
    temperature: float = 0.2
    likelihood: Literal["log", "counts"] = "log"
    kl_weight: float = 1.0
    ecr_weight: float = 100.0
    ecr_epsilon: float = 0.05
    ecr_tolerance: float = 5e-3
    ecr_iterations: int = 1000
    ecr_gradient: GradientKind = "implicit"
    distill_weight: float = 1.0
    distill_temperature: float = 0.5
    consistency_weight: float = 1.0
    balance_weight: float = 5.0
    n_neighbors: int = 15
    n_components: int | None = 50
    view_weighting: str = "contrast"
    view_top_n: int | None = None
    view_components: int | None = 50
    gene_prior: GenePrior = "init"
    pull_weight: float = 100.0
    embedding: Literal["latent", "theta"] = "latent"
    epochs: int = 100
    batch_size: int = 256
    lr: float = 5e-3
    lr_step: int | None = 25

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        super().__post_init__()
        right = {
            "n_genes": self.n_genes is None or self.n_genes >= 2,
            "n_topics": self.n_topics >= 2,
            "n_hidden": self.n_hidden >= 1,
            "n_embedding": self.n_embedding >= 1,
            "dropout": 0 <= self.dropout < 1,
            "temperature": self.temperature > 0,
            "likelihood": self.likelihood in ("log", "counts"),
            "ecr_epsilon": self.ecr_epsilon > 0,
            "ecr_tolerance": self.ecr_tolerance > 0,
            "ecr_iterations": self.ecr_iterations >= 1,
            "ecr_gradient": self.ecr_gradient in ("implicit", "envelope"),
            "distill_temperature": self.distill_temperature > 0,
            "n_neighbors": self.n_neighbors >= 2,
            "n_components": self.n_components is None or self.n_components >= 1,
            "view_components": self.view_components is None or self.view_components >= 1,
            "gene_prior": self.gene_prior in ("init", "pull", "frozen", "none"),
            "embedding": self.embedding in ("latent", "theta"),
        }
        weights = ("kl", "ecr", "distill", "consistency", "balance", "pull")
        right.update({f"{name}_weight": getattr(self, f"{name}_weight") >= 0 for name in weights})
        self._refuse(right)
        if self.batch_size < 2:
            raise ModelError(
                f"batch_size={self.batch_size}: the topic model normalises over the cells of a mini-batch and needs two"
            )


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
