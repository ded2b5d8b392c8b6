"""RefinementModel: two views of cells, by themselves and along a graph, aligned and refined by a graph of genes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from cellmodels.base import Array, CellModel
from cellmodels.data.identity import digests
from cellmodels.data.inputs import CellMatrix, Needs
from cellmodels.facts import Facts
from cellmodels.groups.clusters import estimate_clusters
from cellmodels.groups.graphs import check_graph
from cellmodels.groups.pca import PCA
from cellmodels.groups.variable_genes import choose_genes, moments
from cellmodels.nn.apply import in_blocks, on_device, seeded
from cellmodels.refinement import gene_graphs
from cellmodels.refinement.config import PRESETS, RefinementConfig
from cellmodels.refinement.network import RefinementNet
from cellmodels.refinement.task import RefinementTask, Views
from cellmodels.refinement.training_cells import TrainingCells, graph_points, neighbour_graph
from cellmodels.train.loop import Trainer
from genetext.errors import ModelError, first_ten

if TYPE_CHECKING:
    from genetext.priors import GenePriors
    from genetext.progress import Progress

_BLOCK = 2048
_SPACE = 50
_ALL_GENES_BELOW = 10_000
_CLIP = 10.0


@dataclass(frozen=True, eq=False, kw_only=True)
class RefinementState:
    """What a fitted `RefinementModel` keeps beside its genes and weights.

    Attributes
    ----------
    n_latent, n_gene_features
        Widths of the network that the configuration may leave open.
    scale
        `(n_genes,) float32`: deviations that log values are divided by; None where they are not.
    training_cells
        What is kept of them.
    gene_graph
        `(n_genes, n_genes) float32`: the filter along the graph of genes.
    embedding
        `(n_cells, 2 n_latent) float32`: of the training cells; None until fitted.
    """

    n_latent: int
    n_gene_features: int
    scale: NDArray[np.float32] | None
    training_cells: TrainingCells
    gene_graph: sparse.csr_matrix
    embedding: NDArray[np.float32] | None = None


class RefinementFacts(Facts, total=False):
    """What a fit was: what the graph of genes was made of, links of either graph, and widths that were left open."""

    gene_graph: str
    n_gene_links: int
    n_cell_links: int
    n_gene_features: int
    n_latent: int


class RefinementModel(CellModel[RefinementConfig, RefinementState]):
    """Two views of cells, aligned with each other and refined by a graph of genes (scRCL, arXiv 2512.10640).

    One view is a perceptron on a cell's own features, the other a graph convolution over its neighbours. Both are
    projected to genes, and from there through what a convolution over the graph of genes says of each gene. That graph
    comes from expression, from text, or from both.

    Presets have the paper's values: `paper` (the default of its configuration files), and `paper:<data set>` for those
    that have one of their own. They read counts, embed by all cells at once, and take the number of clusters for
    `n_latent`, which is estimated here, never read from labels, where the files do not give it.

    Examples
    --------
    >>> model = RefinementModel(seed=0).fit(adata, "human/minilm")  # doctest: +SKIP
    >>> model.to_anndata(adata)  # doctest: +SKIP
    >>> clusters = cluster(adata.obsm["X_refinement"])  # doctest: +SKIP
    """

    name = "refinement"
    needs: ClassVar[Needs] = "log"
    Config = RefinementConfig
    State = RefinementState
    presets = PRESETS
    facts: RefinementFacts

    _views: Views | None = None

    def fit(
        self,
        adata: Any,
        priors: "GenePriors | str | Path | None" = None,
        *,
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
            Cells; with `obsm["spatial"]` or the graph in `obsp` where the configuration asks for it.
        priors
            As in `CellModel.fit`, for the graph of genes.
        layer, trainer, checkpoints, oracle, progress
            As in `CellModel.fit`.

        Raises
        ------
        ModelError
            The configuration asks for priors, positions or a graph that are not there.
        CellsError
            There is no such expression, or there are fewer than two cells.
        """
        config = self.config
        expression = self._read(adata, layer)
        aligned = self._priors(adata, priors)
        kind = config.gene_graph or ("expression" if aligned is None else "blend")
        if kind != "expression" and aligned is None:
            raise ModelError(f"gene_graph={kind!r} needs priors: pass them to fit(), or use gene_graph='expression'")
        columns = choose_genes(expression, config.n_genes)
        # By name: what is drawn for a gene must not depend on where it stands.
        columns = columns[np.argsort(np.asarray(adata.var_names, str)[columns], kind="stable")]
        data = self._start(adata, expression, columns, aligned)
        log = data.log().matrix
        scale = None
        if config.features == "scaled":
            deviation = moments(log)[1]
            scale = np.where(deviation > 0, deviation, 1).astype(np.float32)
        features = self._features(data, scale)
        space = PCA.fit(log, _SPACE if config.n_components is None else config.n_components, dtype=np.float32)
        graph, points = self._cell_graph(adata, log, space)
        views = Views.of(features, graph, config.hops)
        genes = self._gene_graph(features, kind, None if aligned is None else aligned.take(columns))
        gene_input = _gene_input(views.first, genes, config)
        basis = PCA.fit(features, _SPACE, centred=False, dtype=np.float32)
        kept = TrainingCells(
            digests(data.matrix),
            graph_points(log, space),
            space,
            basis.transform(features),
            basis.loadings,
            graph,
        )
        state = RefinementState(
            n_latent=config.n_latent or max(2, estimate_clusters(points, seed=config.seed).n_clusters),
            n_gene_features=int(gene_input.shape[1]),
            scale=scale,
            training_cells=kept,
            gene_graph=genes.astype(np.float32),
        )
        facts: RefinementFacts = {
            "gene_graph": kind,
            "n_gene_links": int(genes.nnz - genes.shape[0]),
            "n_cell_links": int(graph.nnz // 2),
            "n_gene_features": state.n_gene_features,
            "n_latent": state.n_latent,
        }
        self.facts.update(facts)
        half = trainer is not None and trainer.precision != "32-true"
        task = RefinementTask(views, points, config, half)

        def make(module: nn.Module) -> RefinementTask:
            assert isinstance(module, RefinementNet)
            module.gene_input = torch.from_numpy(gene_input)
            task.module = module
            return task

        self._views = views
        try:
            self._train(
                make,
                state,
                adata=adata,
                data=data,
                trainer=trainer,
                checkpoints=checkpoints,
                oracle=oracle,
                progress=progress,
            )
            self._net.keep_genes()
            self.state = replace(state, embedding=self._through(views, torch.device("cpu")))
        finally:
            self._views = None
        return self

    def embed(
        self,
        adata: Any,
        *,
        layer: str | None = None,
        min_covered: float = 1.0,
        device: str = "cpu",
        graph: Literal["references", "own"] | None = None,
    ) -> Array:
        """Embed cells, also such as it was not fitted on.

        Parameters
        ----------
        adata, layer, min_covered, device
            As in `CellModel.embed`.
        graph
            `references`: a training cell, known by its expression up to rounding, gets the embedding that it had in
            training; any other is linked to the training cells nearest to it, and to no other new cell, so that its
            embedding does not depend on what it comes with. `own`: the cells are linked among themselves, as in
            training. Default: `references` for graphs of expression; `own` for others, which need their positions or
            their graph here too.

        Returns
        -------
        `(n_cells, 2 n_latent) float32`: both refined views, each row of each of length one.

        Raises
        ------
        ModelError
            It was not fitted, or positions or graph are not there. Others as in `CellModel.embed`.
        """
        if graph not in (None, "references", "own"):
            raise ModelError(f"unknown graph {graph!r}: references or own")
        if graph == "references" and self.config.graph != "expression":
            raise ModelError(f"the graph of this model is {self.config.graph!r}: new cells need one of their own")
        cells = self.cells(adata, layer=layer, min_covered=min_covered)
        return self._embed_data(adata, cells, torch.device(device), own_graph=graph == "own")

    def _embed_data(self, adata: Any, cells: CellMatrix, device: torch.device, *, own_graph: bool = False) -> Array:
        if not own_graph and self.config.graph == "expression":
            return self._embed(cells, device)
        state = self._fitted
        near, _ = self._cell_graph(adata, cells.log().matrix, state.training_cells.space)
        return self._through(Views.of(self._features(cells, state.scale), near, self.config.hops), device)

    # -- parts ------------------------------------------------------------------------------------------------------

    @property
    def _expression(self) -> Needs:
        return "counts" if self.config.features == "counts" else "log"

    @property
    def _net(self) -> RefinementNet:
        assert isinstance(self.module, RefinementNet)
        return self.module

    def _build(self) -> nn.Module:
        config, state, n = self.config, self._fitted, len(self.genes or ())
        return seeded(
            config.seed,
            lambda: RefinementNet(
                n,
                config.n_hidden,
                state.n_latent,
                state.n_gene_features,
                dropout=config.dropout,
                temperature=config.temperature,
                alignment_weight=config.alignment_weight,
                consistency_weight=config.consistency_weight,
            ),
        )

    def _features(self, cells: CellMatrix, scale: NDArray[np.float32] | None) -> sparse.csr_matrix:
        if self.config.features == "counts":
            return cells.matrix
        log = cells.log().matrix
        if scale is None:
            return log
        scaled = log.copy()
        scaled.data = np.minimum(scaled.data / scale[scaled.indices], _CLIP)
        return scaled

    def _cell_graph(
        self, adata: Any, log: sparse.csr_matrix, space: PCA
    ) -> tuple[sparse.csr_matrix, NDArray[np.float32]]:
        """Return the graph of some cells, and points by which near cells can be brought together."""
        config = self.config
        if config.graph == "expression":
            whole = config.n_components is None and log.shape[0] < _ALL_GENES_BELOW
            points = graph_points(log, None if whole else space)
            return neighbour_graph(points, config.n_neighbors), points
        if config.graph == "spatial":
            if "spatial" not in adata.obsm:
                raise ModelError(f"obsm has no 'spatial': there are {first_ten(list(adata.obsm)) or 'none'}")
            points = np.asarray(adata.obsm["spatial"], np.float32)
            return neighbour_graph(points, config.n_neighbors), points
        if config.graph not in adata.obsp:
            raise ModelError(
                f"graph={config.graph!r} is no key of obsp (there are {first_ten(list(adata.obsp)) or 'none'}), nor "
                f"'expression' or 'spatial'"
            )
        graph = check_graph(adata.obsp[config.graph])
        graph.data[:] = 1
        return graph, graph_points(log, space)

    def _gene_graph(self, features: sparse.csr_matrix, kind: str, priors: "GenePriors | None") -> sparse.csr_matrix:
        config = self.config
        graph = None
        if kind != "text":
            graph = gene_graphs.expression_graph(features, config.n_gene_neighbors, metric=config.gene_metric)
        if kind != "expression" and priors is not None:
            text = gene_graphs.text_graph(priors, config.n_gene_neighbors)
            graph = text if graph is None else gene_graphs.blended(graph, text, config.text_share)
        return gene_graphs.smoother(graph, directed=config.gene_links == "directed")

    def _embed(self, cells: CellMatrix, device: torch.device) -> Array:
        if self._views is not None:
            return self._through(self._views, device)
        state = self._fitted
        kept = state.training_cells
        known = kept.find(cells.matrix)
        unknown = np.flatnonzero(known < 0)
        if len(unknown):
            part = cells.cells(unknown)
            points, features = graph_points(part.log().matrix, kept.space), self._features(part, state.scale)
            known[unknown] = kept.find_near(points, np.asarray(features @ kept.basis, np.float32))
        assert state.embedding is not None
        out: Array = state.embedding[known]
        new = known < 0
        if new.any():
            with on_device(self._net, device):
                out[new] = self._attached(features[new[unknown]], points[new[unknown]], kept, device)
        return out

    def _through(self, views: Views, device: torch.device) -> Array:
        """Embed cells by a graph among themselves."""
        net = self._net
        n = len(views.smooth.indptr) - 1
        with on_device(self._net, device):
            hidden = in_blocks(n, lambda rows: net.graph_input(views.take(views.second, rows, device)), size=_BLOCK)
            return self._refined(
                n,
                lambda rows: views.take(views.first, rows, device),
                lambda rows: torch.from_numpy(views.smooth[rows] @ hidden).to(device),
            )

    def _attached(self, features: sparse.csr_matrix, points: Array, kept: TrainingCells, device: torch.device) -> Array:
        """Embed new cells, from features `(m, G)` and points in `kept.space`; each is linked to training cells."""
        net, (first, second) = self._net, self.config.hops
        rows, own_share = kept.attach(points, self.config.n_neighbors)
        smooth = gene_graphs.smoother(kept.graph).astype(np.float32)
        steps = [kept.features]
        for _ in range(max(first, second + 1)):
            steps.append(smooth @ steps[-1])
        # What the first convolution makes of a training cell is made of its features in few dimensions.
        wanted, place = np.unique(rows.indices, return_inverse=True)
        near = sparse.csr_matrix((rows.data, place.reshape(-1), rows.indptr), (rows.shape[0], len(wanted)))
        around = steps[second + 1][wanted]
        hidden = in_blocks(
            len(wanted), lambda block: net.graph_input(torch.from_numpy(around[block] @ kept.basis.T).to(device))
        )
        x1 = kept.views(features, rows, own_share, steps, first)
        x2 = kept.views(features, rows, own_share, steps, second + 1)

        def gathered(block: NDArray[np.int64]) -> torch.Tensor:
            itself = net.graph_input(torch.from_numpy(x2(block)).to(device))
            others = torch.from_numpy(near[block] @ hidden).to(device)
            return torch.from_numpy(own_share[block]).to(device) * itself + others

        return self._refined(len(points), lambda block: torch.from_numpy(x1(block)).to(device), gathered)

    def _refined(
        self,
        n: int,
        features: Callable[[NDArray[np.int64]], torch.Tensor],
        gathered: Callable[[NDArray[np.int64]], torch.Tensor],
    ) -> Array:
        """Return both refined views, side by side, from the first view's features and what neighbours gave."""
        net = self._net

        def work(rows: NDArray[np.int64]) -> torch.Tensor:
            genes = net.refined_genes()
            h1 = net.expression_view(features(rows))
            h2 = net.graph_output(gathered(rows) @ net.second.weight)
            return torch.cat([net.refine(h1, genes), net.refine(h2, genes)], dim=1)

        return in_blocks(n, work, size=_BLOCK)


def _gene_input(first: Any, genes: sparse.csr_matrix, config: RefinementConfig) -> Array:
    """Return features of genes, smoothed along their graph, `(n_genes, n_features) float32`.

    Either a gene's value in every cell of the first view; or its coordinates along the principal directions of the
    genes, which have the same inner products but for what is in further directions, and do not depend on the number or
    the order of the cells. The latter are scaled to a mean square of one.
    """
    if config.n_gene_features is None:
        values = first.toarray() if sparse.issparse(first) else first
        return np.ascontiguousarray(genes.astype(np.float32) @ values.T, np.float32)
    # X = U s V^T, so that X^T U = V s: the length of a column of X V is s.
    space = PCA.fit(first, config.n_gene_features, centred=False)
    coordinates = space.loadings * np.sqrt(space.variances * first.shape[0])
    # At this length of a gene's features the gene branch starts with values of about one.
    scale = np.sqrt(coordinates.shape[1] / np.square(coordinates).sum(axis=1).mean())
    return np.ascontiguousarray(genes @ (coordinates * scale), np.float32)
