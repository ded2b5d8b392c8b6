"""TopicModel: what cells do, as shares of topics that are points among the genes, and so among their texts."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from cellmodels import perturbation, topic_words
from cellmodels.base import Array, CellModel, seeded
from cellmodels.crossview import NeighbourLists, neighbour_lists
from cellmodels.inputs import CellMatrix, Needs, Rows, read_cells
from cellmodels.layers import GenePriorEmbedding
from cellmodels.profiles import principal_components
from cellmodels.topic_network import TopicConfig, TopicNetwork
from cellmodels.training import Trainer, in_order, shuffled, split
from genetext.errors import CellsError, ModelError, first_ten

if TYPE_CHECKING:
    from cellmodels.enrichment import GeneSets
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors
    from genetext.progress import Progress

_SPARSE = 0.25
"""Share of values that are not zero, times threads, below which the encoder takes values one by one."""


class TopicModel(CellModel[TopicConfig]):
    """A topic model of expression whose topics and genes are points in one space, after scE2TM (arXiv 2507.08355).

    Each cell is a mixture of topics, each gene belongs to the topics near it. Priors enter twice: gene embeddings start
    from them (`gene_prior`), and topics are made to agree with a view of the cells that is made from them (`view`).
    Without priors it is the same model from random gene vectors, without a view.

    Parameters
    ----------
    config, **changes
        See `cellmodels.topic_network.TopicConfig`.

    Examples
    --------
    >>> model = TopicModel(n_topics=30, seed=0).fit(adata, "human/minilm")  # doctest: +SKIP
    >>> model.topics(10)  # doctest: +SKIP
    >>> model.perturb(control, None, towards=stimulated).cosine  # doctest: +SKIP
    """

    name: ClassVar[str] = "topic"
    needs: ClassVar[Needs] = "log"
    Config = TopicConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
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
        adata
            Cells, counts or log-normalised values (`likelihood="counts"` needs counts).
        priors
            Gene vectors, or an index to take them from. None: gene embeddings start at random.
        view
            What topics are to agree with: `"prior"`, the cell embedding that the priors give (none without priors); a
            key of `obsm`; or `(n_cells, d)` values of your own. None: nothing. New cells are embedded without it.
        layer
            Where the expression is. Default: found.
        trainer, checkpoints, progress
            As in `cellmodels.training.train`.
        oracle
            True labels, for `selection="oracle"` only, which serves to compare with papers.

        Raises
        ------
        CellsError
            Fewer than two cells, no gene that varies, or no expression of the kind needed.
        ModelError
            There is no such view, or it does not fit the cells.
        """
        config = self.config
        found = read_cells(adata, needs="counts" if config.likelihood == "counts" else "log", layer=layer)
        logs = found.log()
        columns = self._choose_genes(logs, config.n_genes)
        fitted = self._priors(adata, priors)
        seen, told = _view(adata, logs, fitted, view, config)
        data = self._start(adata, logs, columns, fitted)
        self._keep_priors(None if fitted is None else fitted.take(columns))
        digest = "" if seen is None else hashlib.sha256(seen.tobytes()).hexdigest()[:16]
        self.facts.update(view=told, view_dim=0 if seen is None else int(seen.shape[1]), view_digest=digest)
        target = found.genes(columns) if config.likelihood == "counts" else None
        self._train(
            lambda module: _Task(cast(TopicNetwork, module), data, config, target=target, view=seen),
            adata=adata,
            data=data,
            trainer=trainer,
            checkpoints=checkpoints,
            oracle=oracle,
            progress=progress,
        )
        theta = _softmax(self._latent(data, torch.device("cpu")))
        self.arrays["share"] = theta.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.arrays["leads"] = np.bincount(theta.argmax(axis=1), minlength=config.n_topics)
        self.facts["dead_topics"] = [int(one) for one in np.flatnonzero(self.dead)]
        return self

    # -- cells ------------------------------------------------------------------------------------------------------

    def latent(self, adata: Any, *, layer: str | None = None, min_covered: float = 1.0, device: str = "cpu") -> Array:
        """Return the mean of `z` for each cell, before the softmax: `(n_cells, n_topics) float32`; see `embed`."""
        return self._latent(self.cells(adata, layer=layer, min_covered=min_covered), torch.device(device))

    def theta(self, adata: Any, *, layer: str | None = None, min_covered: float = 1.0, device: str = "cpu") -> Array:
        """Return the share of each topic in each cell: `(n_cells, n_topics) float32`, rows sum to 1; see `embed`."""
        return _softmax(self.latent(adata, layer=layer, min_covered=min_covered, device=device))

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
        share = self.arrays["share"]
        return cast(Array, (slope * (beta - share @ beta)).astype(np.float32))

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Topics that cells do not use, `(n_topics,)`: first in none, and below a tenth of an even share on average."""
        self._network  # noqa: B018 - says that the model is not fitted
        return cast(
            NDArray[np.bool_], (self.arrays["leads"] == 0) & (self.arrays["share"] < 0.1 / self.config.n_topics)
        )

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
        A row per topic, with columns as in `cellmodels.topic_words.describe`.
        """
        assert self.genes is not None or self._network
        return topic_words.describe(
            beta=self.beta,
            lift=self.lift,
            genes=cast(Any, self.genes),
            share=self.arrays["share"],
            leads=self.arrays["leads"],
            dead=self.dead,
            text=self.arrays.get("text"),
            with_text=self.arrays.get("with_text"),
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
        As `cellmodels.perturbation.differing_topics`.
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
        if self.module is None:
            raise ModelError(f"this {type(self).__name__} was not fitted: call fit() or load() first")
        return cast(TopicNetwork, self.module)

    def _build(self) -> nn.Module:
        from genetext.priors import GenePriors

        assert self.genes is not None
        n, length = len(self.genes), self.config.n_embedding
        vectors, mask = np.zeros((n, 0), np.float32), np.zeros(n, bool)
        if "prior" in self.arrays:
            mask = self.arrays["with_text"]
            vectors = np.zeros((n, length), np.float32)
            vectors[mask, : self.arrays["prior"].shape[1]] = self.arrays["prior"]
        priors = GenePriors(
            self.genes.names,
            vectors,
            mask,
            self.genes.gene_ids,
            np.where(mask, "name", "unknown").astype(object),
            str(self.facts["priors"]),
            "",
        )
        trainable: Any = {"init": True, "pull": "residual", "frozen": False, "none": True}[self.config.gene_prior]

        def make() -> nn.Module:
            proj = None if priors.dim else length
            genes = GenePriorEmbedding(priors, trainable=trainable, proj=proj, seed=self.config.seed)
            return TopicNetwork(self.config, genes, view_dim=int(self.facts["view_dim"]))

        return seeded(self.config.seed, make)

    def _keep_priors(self, priors: "GenePriors | None") -> None:
        """Store the vectors of the genes: as they are for naming, and in the space of the embeddings to start from."""
        if priors is None or not priors.dim or len(priors.distinct[0]) < 2:
            return
        centred = priors.center()
        self.arrays["with_text"] = centred.mask.copy()
        self.arrays["text"] = centred.vectors[centred.mask]
        if self.config.gene_prior != "none":
            n_directions = min(self.config.n_embedding, priors.dim, len(priors.distinct[0]) - 1)
            inside = priors.transform(f"pca:{n_directions},unit")
            self.arrays["prior"] = inside.vectors[inside.mask]

    def _latent(self, cells: CellMatrix, device: torch.device) -> Array:
        network = self._network
        home = network.topics.device
        network.to(device)
        try:
            return self._over(
                cells.n_cells, lambda rows: network.latent(torch.from_numpy(cells.dense(rows)).to(device))[0]
            )
        finally:
            network.to(home)

    def _embed(self, cells: CellMatrix, device: torch.device) -> Array:
        latent = self._latent(cells, device)
        return latent if self.config.embedding == "latent" else _softmax(latent)


class _Task:
    """Mini-batches of cells, each with a neighbour in either view."""

    def __init__(
        self,
        module: TopicNetwork,
        data: CellMatrix,
        config: TopicConfig,
        *,
        target: CellMatrix | None,
        view: NDArray[np.float32] | None,
    ) -> None:
        self.module: nn.Module = module
        self._data, self._config, self._target, self._view = data, config, target, view
        self._train, self._held = split(data.n_cells, config.held_out, config.seed)
        if len(self._train) < 2:
            raise ModelError(f"{len(self._train)} cell is left to train on: hold out fewer cells (held_out), or none")
        # Sparse rows pay where few values are not zero and few threads multiply; SciPy uses one.
        filled = data.matrix.nnz / max(1, data.n_cells * data.n_genes)
        self._sparse = filled * torch.get_num_threads() < _SPARSE
        self._near: tuple[NeighbourLists, NeighbourLists] | None = None
        if view is not None:
            matrix, n = data.matrix, config.n_components
            points = data.dense(slice(None)) if n is None else principal_components(matrix, n, n_genes=data.n_genes)
            self._near = neighbour_lists(points, config.n_neighbors), neighbour_lists(view, config.n_neighbors)

    def batches(self, rng: np.random.Generator) -> Sequence[Rows]:
        found = shuffled(self._train, self._config.batch_size, rng)
        if len(found) > 1 and len(found[-1]) == 1:  # three cells in batches of two
            found[-2:] = [np.concatenate(found[-2:])]
        return found

    def held_out(self) -> Sequence[Rows]:
        return in_order(self._held, self._config.batch_size)

    def batch(self, rows: Rows, rng: np.random.Generator) -> dict[str, Any]:
        target = torch.from_numpy((self._target or self._data).dense(rows))
        made: dict[str, Any] = {"target": target, "x": self._rows(rows, target if self._target is None else None)}
        if self._near is not None and self._view is not None:
            in_expression, in_view = (lists.draw(rows, rng) for lists in self._near)
            made["neighbor"] = self._rows(in_expression)
            made["view"] = torch.from_numpy(self._view[rows])
            made["view_neighbor"] = torch.from_numpy(self._view[in_view])
        return made

    def _rows(self, rows: Rows, dense: Tensor | None = None) -> Tensor | sparse.csr_matrix:
        """Return the expression of some cells in the form that is faster."""
        if not self._sparse or self.module.topics.device.type != "cpu":
            return torch.from_numpy(self._data.dense(rows)) if dense is None else dense
        return self._data.matrix[rows]


def _view(
    adata: Any, logs: CellMatrix, priors: "GenePriors | None", view: Any, config: TopicConfig
) -> tuple[NDArray[np.float32] | None, str]:
    """Return the view of the cells, centred and scaled as a whole, and what it is; None where there is none."""
    if view is None or (isinstance(view, str) and view == "prior" and (priors is None or not priors.mask.any())):
        return None, "none"
    if isinstance(view, str) and view == "prior":
        assert priors is not None
        values, told = _prior_view(adata, logs, priors, config), f"{config.view_weighting} of {priors.description}"
    elif isinstance(view, str):
        if view not in adata.obsm:
            raise ModelError(
                f"view={view!r} is no key of obsm: there are {first_ten(list(adata.obsm)) or 'none'}; 'prior' takes "
                f"the cell embedding of the priors"
            )
        values, told = np.asarray(adata.obsm[view], np.float64), f"obsm[{view!r}]"
    else:
        values, told = np.asarray(view, np.float64), "values given"
    if values.ndim != 2 or len(values) != adata.n_obs or not values.shape[1]:
        raise ModelError(f"the view {told} has shape {values.shape} for {adata.n_obs:,} cells: one row each is needed")
    known: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=1))
    if told.startswith(("obsm", "values")) and not known.all():
        names = [str(name) for name in adata.obs_names[~known]]
        raise ModelError(f"the view {told} has NaN or infinite values in {len(names):,} cells: {first_ten(names)}")
    # Cells whose genes have no prior stand where the average cell does.
    values = np.where(known[:, None], values - values[known].mean(axis=0), 0)
    spread = float(np.sqrt((values**2).mean()))
    if not spread > 0:
        raise ModelError(f"the view {told} is the same for all cells: pass view=None to fit without one")
    return (_rotated(values, config.view_components) / spread).astype(np.float32), told


def _rotated(values: NDArray[np.float64], n: int | None) -> NDArray[np.float64]:
    """Return the first principal components of centred values; with None the values."""
    if n is None or n >= values.shape[1]:
        return values
    directions = np.linalg.eigh(values.T @ values)[1][:, : -n - 1 : -1]
    # An eigenvector has no sign of its own.
    largest = np.abs(directions).argmax(axis=0)
    turned: NDArray[np.float64] = values @ (directions * np.sign(directions[largest, np.arange(n)]))
    return turned


def _prior_view(adata: Any, logs: CellMatrix, priors: "GenePriors", config: TopicConfig) -> NDArray[np.float64]:
    """Return the cell embedding of the priors; NaN for cells without one."""
    import anndata

    from genetext.cells.embed import Job, Options, embed

    # The same expression as the model reads, wherever it was found.
    same = anndata.AnnData(logs.matrix, var=pd.DataFrame(index=adata.var_names))
    options = Options(weighting=config.view_weighting, top_n=config.view_top_n, expression="log")
    vectors = embed(Job.of(same, priors.center(), options)).vectors
    if not np.isfinite(vectors).any():
        raise CellsError(f"no cell expresses a gene with a vector in {priors.description}: pass view=None")
    return vectors.astype(np.float64)


def _softmax(latent: Array) -> Array:
    shares = np.exp(latent - latent.max(axis=1, keepdims=True))
    return cast(Array, shares / shares.sum(axis=1, keepdims=True))
