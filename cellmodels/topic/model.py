"""TopicModel: what cells do, as shares of topics that are points among the genes, and so among their texts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from cellmodels.base import Array, CellModel
from cellmodels.data.inputs import CellMatrix, Needs, read_cells
from cellmodels.facts import Facts
from cellmodels.groups.variable_genes import choose_genes
from cellmodels.nn.apply import in_blocks, on_device, seeded
from cellmodels.nn.layers import GenePriorEmbedding
from cellmodels.topic import naming, perturbation
from cellmodels.topic.config import PRESETS, TopicConfig
from cellmodels.topic.external_view import cell_view
from cellmodels.topic.network import TopicNetwork
from cellmodels.topic.task import TopicTask
from cellmodels.train.loop import Trainer
from genetext.errors import ModelError

if TYPE_CHECKING:
    from genetext.gene_sets import GeneSets
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors
    from genetext.progress import Progress


@dataclass(frozen=True, eq=False, kw_only=True)
class TopicState:
    """What a fitted `TopicModel` keeps beside its genes and weights.

    Attributes
    ----------
    view_dim
        Length of the view that it was fitted with; 0: none.
    prior_name
        What the priors are.
    with_text
        `(n_genes,) bool`: genes that have a vector; None without priors.
    text
        `(n_with_text, dim) float32`: their centred vectors, for naming topics.
    prior
        `(n_with_text, at most n_embedding) float32`: where gene embeddings start.
    share
        `(n_topics,) float32`: mean share of each topic in the cells fitted; None until fitted.
    leads
        `(n_topics,) int64`: cells in which a topic is first; None until fitted.
    """

    view_dim: int
    prior_name: str
    with_text: NDArray[np.bool_] | None = None
    text: NDArray[np.float32] | None = None
    prior: NDArray[np.float32] | None = None
    share: NDArray[np.float32] | None = None
    leads: NDArray[np.int64] | None = None


class TopicFacts(Facts, total=False):
    """What a fit was: the view, its length and digest, and topics that cells do not use."""

    view: str
    view_dim: int
    view_digest: str
    dead_topics: list[int]


class TopicModel(CellModel[TopicConfig, TopicState]):
    """A topic model of expression whose topics and genes are points in one space, after scE2TM (arXiv 2507.08355).

    Each cell is a mixture of topics, each gene belongs to the topics near it. Priors enter twice: gene embeddings start
    from them (`gene_prior`), and topics are made to agree with a view of the cells that is made from them (`view`).
    Without priors it is the same model from random gene vectors, without a view.

    Parameters
    ----------
    config, **changes
        See `cellmodels.topic.config.TopicConfig`.

    Examples
    --------
    >>> model = TopicModel(n_topics=30, seed=0).fit(adata, "human/minilm")  # doctest: +SKIP
    >>> model.topics(10)  # doctest: +SKIP
    >>> model.perturb(control, None, towards=stimulated).cosine  # doctest: +SKIP
    """

    name: ClassVar[str] = "topic"
    needs: ClassVar[Needs] = "log"
    Config = TopicConfig
    State = TopicState
    presets = PRESETS
    facts: TopicFacts

    def fit(
        self,
        adata: Any,
        priors: "GenePriors | str | Path | None" = None,
        *,
        view: str | NDArray[Any] | None = "prior",
        layer: str | None = None,
        trainer: Trainer | None = None,
        checkpoints: str | Path | None = None,
        oracle: Any = None,
        progress: "Progress | None" = None,
    ) -> Self:
        """Fit to some cells.

        Parameters
        ----------
        adata, priors, layer, trainer, checkpoints, oracle, progress
            As in `CellModel.fit`; `likelihood="counts"` needs counts.
        view
            What topics are to agree with: `"prior"`, the cell embedding that the priors give (none without priors); a
            key of `obsm`; or `(n_cells, d)` values of your own. None: nothing. New cells are embedded without it.

        Raises
        ------
        CellsError
            Fewer than two cells, no gene that varies, or no expression of the kind needed.
        ModelError
            There is no such view, or it does not fit the cells.
        """
        config = self.config
        needs: Needs = "counts" if config.likelihood == "counts" else "log"
        cells = read_cells(adata, needs=needs, expression=config.expression, layer=layer)
        logs = cells.log()
        columns = choose_genes(logs, config.n_genes)
        aligned = self._priors(adata, priors)
        view_values, view_name = cell_view(adata, logs, aligned, view, config)
        data = self._start(adata, logs, columns, aligned)
        state = self._initial_state(None if aligned is None else aligned.take(columns), view=view_values)
        digest = "" if view_values is None else hashlib.sha256(view_values.tobytes()).hexdigest()[:16]
        self.facts.update({"view": view_name, "view_dim": state.view_dim, "view_digest": digest})
        target = cells.genes(columns) if config.likelihood == "counts" else None
        self._train(
            lambda module: TopicTask(cast(TopicNetwork, module), data, config, target=target, view=view_values),
            state,
            adata=adata,
            data=data,
            trainer=trainer,
            checkpoints=checkpoints,
            oracle=oracle,
            progress=progress,
        )
        theta = softmax(self._latent(data, torch.device("cpu")), axis=1)
        self.state = replace(
            state,
            share=theta.mean(axis=0, dtype=np.float64).astype(np.float32),
            leads=np.bincount(theta.argmax(axis=1), minlength=config.n_topics).astype(np.int64),
        )
        self.facts["dead_topics"] = np.flatnonzero(self.dead).tolist()
        return self

    # -- cells ------------------------------------------------------------------------------------------------------

    def latent(self, adata: Any, *, layer: str | None = None, min_covered: float = 1.0, device: str = "cpu") -> Array:
        """Return the mean of `z` for each cell, before the softmax: `(n_cells, n_topics) float32`; see `embed`."""
        return self._latent(self.cells(adata, layer=layer, min_covered=min_covered), torch.device(device))

    def theta(self, adata: Any, *, layer: str | None = None, min_covered: float = 1.0, device: str = "cpu") -> Array:
        """Return the share of each topic in each cell: `(n_cells, n_topics) float32`, rows sum to 1; see `embed`."""
        return cast(Array, softmax(self.latent(adata, layer=layer, min_covered=min_covered, device=device), axis=1))

    # -- topics -----------------------------------------------------------------------------------------------------

    @property
    def beta(self) -> Array:
        """Of each gene the share of each topic: `(n_topics, n_genes) float32`, columns sum to 1."""
        with torch.inference_mode():
            return cast(Array, self._network.beta().float().numpy())

    @property
    def lift(self) -> Array:
        """What a topic does to a gene: `(n_topics, n_genes) float32`.

        The change of the gene's log expression, up to a constant of the topic, per share of the topic that is taken
        from the average cell: the decoder is linear before its softmax.
        """
        beta, norm = self.beta, self._network.decode_norm
        assert norm.running_var is not None
        slope = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
        share, _ = self._usage
        return cast(Array, (slope * (beta - share @ beta)).astype(np.float32))

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Topics that cells do not use, `(n_topics,)`: first in none, and below a tenth of an even share on average."""
        share, leads = self._usage
        return cast(NDArray[np.bool_], (leads == 0) & (share < 0.1 / self.config.n_topics))

    def topics(
        self,
        n_genes: int = 10,
        *,
        index: "GeneIndex | str | Path | None" = None,
        gene_sets: "GeneSets | None" = None,
        n_words: int = 5,
        n_named: int = 50,
    ) -> pd.DataFrame:
        """Name the topics by their genes, by the nearest gene texts, and by gene sets.

        Parameters
        ----------
        n_genes
            Genes per topic.
        index
            Where to look for the nearest gene texts. Default: among the priors of the model's own genes, if it was
            fitted with some.
        gene_sets
            A mapping, or a GMT file, with names as the data have them.
        n_words
            Texts and gene sets per topic.
        n_named
            How many genes stand for a topic when texts and gene sets are looked for.

        Returns
        -------
        A row per topic, with columns as in `cellmodels.topic.naming.describe`.
        """
        share, leads = self._usage
        return naming.describe(
            beta=self.beta,
            lift=self.lift,
            genes=cast(Any, self.genes),
            share=share,
            leads=leads,
            dead=self.dead,
            text=self._fitted.text,
            with_text=self._fitted.with_text,
            index=index,
            gene_sets=gene_sets,
            n_genes=n_genes,
            n_words=n_words,
            n_named=n_named,
            seed=self.config.seed,
        )

    # -- perturbation -----------------------------------------------------------------------------------------------

    def compare(self, adata: Any, towards: Any, *, layer: str | None = None) -> pd.DataFrame:
        """Return which topics differ between two sets of cells, the most different first.

        Parameters
        ----------
        adata, towards
            The cells, and those to compare them with.
        layer
            As in `embed`.

        Returns
        -------
        As `cellmodels.topic.perturbation.differing_topics`.
        """
        return perturbation.differing_topics(self.latent(adata, layer=layer), self.latent(towards, layer=layer))

    def perturb(
        self,
        adata: Any,
        topics: Sequence[int] | int | None = None,
        *,
        towards: Any = None,
        scale: float | None = None,
        how: perturbation.Move = "mean",
        n_random: int = 100,
        n_top: int = 100,
        layer: str | None = None,
        seed: int = 0,
    ) -> "perturbation.Perturbation":
        """Move topics of cells and see what that does to their expression.

        Parameters
        ----------
        adata
            The cells to move, for example controls.
        topics
            Which topics. None: those that differ between the two sets of cells (`compare`: `fdr < 0.05` and a
            difference of means above 1), or the one that differs most where none does.
        towards
            Cells whose mean the topics are moved to, for example stimulated ones; the result is compared with them.
        scale
            Multiply the topics by this instead; 0 removes them. `towards` then only serves to compare.
        how
            `mean`: moved topics get the mean of `towards`, the same for all cells. `shift`: they are shifted by the
            difference of the means, so that cells keep what tells them apart.
        n_random
            Draws of as many random topics, treated alike, to compare with; 0: none.
        n_top
            Most changed genes, by which R2 is measured.
        layer
            As in `embed`.
        seed
            Of the random topics.

        Raises
        ------
        ModelError
            There is no such topic, or neither `towards` nor `scale` is given.
        """
        before = self.cells(adata, layer=layer)
        after = None if towards is None else self.cells(towards, layer=layer)
        if isinstance(topics, int | np.integer):
            topics = [int(topics)]
        return perturbation.perturb(
            self._network,
            before,
            after,
            genes=cast(Any, self.genes).names,
            latent=self._latent,
            topics=topics,
            scale=scale,
            how=how,
            n_random=n_random,
            n_top=n_top,
            seed=seed,
        )

    # -- inside -----------------------------------------------------------------------------------------------------

    @property
    def _network(self) -> TopicNetwork:
        return cast(TopicNetwork, self._fit_result[1])

    @property
    def _usage(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Share of each topic in the cells fitted, and in how many it is first."""
        share, leads = self._fitted.share, self._fitted.leads
        if share is None or leads is None:
            raise ModelError("the fit of this TopicModel did not end: fit it again")
        return share, leads

    def _build(self) -> nn.Module:
        from genetext.priors import GenePriors

        assert self.genes is not None
        state = self._fitted
        n, length = len(self.genes), self.config.n_embedding
        vectors, mask = np.zeros((n, 0), np.float32), np.zeros(n, bool)
        if state.prior is not None and state.with_text is not None:
            mask = state.with_text
            vectors = np.zeros((n, length), np.float32)
            vectors[mask, : state.prior.shape[1]] = state.prior
        priors = GenePriors(
            self.genes.names,
            vectors,
            mask,
            self.genes.gene_ids,
            np.where(mask, "name", "unknown").astype(object),
            state.prior_name,
            "",
        )
        trainable: Any = {"init": True, "pull": "residual", "frozen": False, "none": True}[self.config.gene_prior]

        def make() -> nn.Module:
            proj = None if priors.dim else length
            genes = GenePriorEmbedding(priors, trainable=trainable, proj=proj, seed=self.config.seed)
            return TopicNetwork(self.config, genes, view_dim=state.view_dim)

        return seeded(self.config.seed, make)

    def _initial_state(self, priors: "GenePriors | None", *, view: NDArray[Any] | None) -> TopicState:
        """Keep the vectors of the genes: as they are for naming, and in the space of the embeddings to start from."""
        state = TopicState(view_dim=0 if view is None else int(view.shape[1]), prior_name=str(self.facts["priors"]))
        if priors is None or not priors.dim or len(priors.distinct[0]) < 2:
            return state
        centred = priors.center()
        state = replace(state, with_text=centred.mask.copy(), text=centred.vectors[centred.mask])
        if self.config.gene_prior == "none":
            return state
        n_directions = min(self.config.n_embedding, priors.dim, len(priors.distinct[0]) - 1)
        inside = priors.transform(f"pca:{n_directions},unit")
        return replace(state, prior=inside.vectors[inside.mask])

    def _latent(self, cells: CellMatrix, device: torch.device) -> Array:
        network = self._network
        with on_device(network, device):
            return in_blocks(
                cells.n_cells, lambda rows: network.latent(torch.from_numpy(cells.dense(rows)).to(device))[0]
            )

    def _embed(self, cells: CellMatrix, device: torch.device) -> Array:
        latent = self._latent(cells, device)
        return latent if self.config.embedding == "latent" else cast(Array, softmax(latent, axis=1))
