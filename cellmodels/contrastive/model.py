"""ContrastiveModel: cells by what is written about their genes, by their expression, or both, learned by contrast."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellmodels.base import Array, CellModel
from cellmodels.contrastive.config import PRESETS, ContrastiveConfig
from cellmodels.contrastive.network import ContrastiveNet, ExpressionTower, PriorTower, Tower, principal_axes
from cellmodels.contrastive.state import ContrastiveFacts, ContrastiveState, ExpressionInput, PriorInput
from cellmodels.contrastive.task import ContrastiveTask, Inputs, lost_cells
from cellmodels.contrastive.views import Averaging, Bags
from cellmodels.data.batches import in_order
from cellmodels.data.identity import digests, positions
from cellmodels.data.inputs import CellMatrix, Rows
from cellmodels.groups.knn_classifier import Calibration, KNNClassifier
from cellmodels.groups.variable_genes import choose_genes, moments
from cellmodels.nn.apply import in_blocks, on_device, seeded
from cellmodels.train.loop import Trainer
from genetext.errors import CellsError, ModelError, first_ten
from genetext.labels import labels_of

if TYPE_CHECKING:
    from genetext.priors import GenePriors
    from genetext.progress import Progress

_FEW = 20
"""Up to so many cells, each may be the only one of its type."""
_SAMPLE = 10_000
"""Cells that principal axes and the spread of cell vectors are measured on, at most."""


class ContrastiveModel(CellModel[ContrastiveConfig, ContrastiveState]):
    """Cells embedded so that like cells, or two views of a cell, lie together; labels by their nearest neighbours.

    The background of the weighting, and what inputs are centred and scaled by, are measured on the cells fitted and
    kept, so that other cells are treated alike. A cell that expresses none of the model's genes is a row of zeros in
    the embedding, and has neither label nor confidence.

    Examples
    --------
    >>> model = ContrastiveModel(seed=0).fit(train, priors="human/minilm", labels="cell_type")  # doctest: +SKIP
    >>> model.predict(test)  # doctest: +SKIP
    """

    name = "contrastive"
    needs = "log"
    Config = ContrastiveConfig
    State = ContrastiveState
    presets = PRESETS
    facts: ContrastiveFacts

    def fit(
        self,
        adata: Any,
        priors: "GenePriors | str | Path | None" = None,
        *,
        labels: str | Sequence[Any] | None = None,
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
            As in `CellModel.fit`.
        labels
            A column of `obs`, or one value per cell; None or NaN where a cell has none: it takes part in the
            self-supervised loss only. Labelled cells become the reference of `predict`, whose confidence is calibrated
            on the cells held out: those that SupCon is fitted to would promise too much. With fewer than 20 of them it
            is not calibrated.

        Raises
        ------
        ModelError
            The form needs a prior and there is none, the loss needs labels, or the labels are of one class only.
        CellsError
            The data have no such expression, or fewer than two cells that express a gene of the model.
        """
        cells = self._read(adata, layer)
        if cells.n_cells < 2:
            raise CellsError(f"there is {cells.n_cells} cell: a model is fitted to two at least")
        aligned = self._priors(adata, priors)
        has_prior = aligned is not None and aligned.dim > 0 and aligned.n_matched > 0
        form = self.config.form_for(has_prior=has_prior)
        variable = choose_genes(cells, self.config.n_genes)
        known = np.flatnonzero(aligned.mask) if aligned is not None and form != "expression" else variable[:0]
        if self.config.prior_genes == "variable":
            known = np.intersect1d(known, variable)
        read = variable if form != "prior" else variable[:0]
        columns = np.union1d(known, read)
        data = self._start(adata, cells, columns, aligned)
        labels_given = None if labels is None else labels_of(adata, labels)
        codes = _codes(labels_given, adata.n_obs)
        loss = self.config.loss_for(codes)
        self.facts.update({"form": form, "loss": loss, "n_labelled": int((codes >= 0).sum())})
        expression = None if form == "prior" else _expression_input(data, np.searchsorted(columns, read))
        prior, bags = None, None
        if form != "expression":
            assert aligned is not None
            prior, bags = self._prior_input(data, np.searchsorted(columns, known), aligned.vectors[known])
        state = ContrastiveState(loss=loss, expression=expression, prior=prior)
        usable = np.flatnonzero(~lost_cells(data, bags, read_expression=expression is not None))
        if len(usable) < 2:
            raise CellsError(
                f"{len(usable)} of {data.n_cells:,} cells express a gene of the model (form={form!r}): it is fitted to "
                f"two at least"
            )
        inputs = Inputs(bags, None if expression is None else data.genes(expression.columns))
        task = ContrastiveTask(inputs, codes, usable, self.config, loss)

        def make(module: nn.Module) -> ContrastiveTask:
            assert isinstance(module, ContrastiveNet)
            self._start_principal(module, inputs, usable)
            if loss != "self-supervised":
                before.append(self._embed(data, torch.device("cpu")))
            task.module = module
            return task

        before: list[Array] = []
        self._train(
            make,
            state,
            adata=adata,
            data=data,
            targets=codes,
            trainer=trainer,
            checkpoints=checkpoints,
            oracle=oracle,
            progress=progress,
        )
        if labels_given is None:
            return self
        ids, learned = digests(data.matrix), task.labelled
        if before:
            unlearned = KNNClassifier.fit(
                before[0][learned], labels_given[learned], k=self.config.n_neighbors, ids=ids[learned]
            )
            self.state = replace(self._fitted, unlearned=unlearned)
        # SupCon brings the cells it is fitted to nearer to their like than others: these tell nothing of new cells.
        calibrate_on = task.held if before else None
        self._set_reference(self._embed(data, torch.device("cpu")), labels_given, ids, calibrate_on)
        return self

    # -- labels -----------------------------------------------------------------------------------------------------

    def fit_classifier(
        self,
        adata: Any,
        labels: str | Sequence[Any],
        *,
        layer: str | None = None,
        min_covered: float = 1.0,
        calibrate: Literal["temperature", "isotonic", "none"] = "temperature",
        balanced: bool = False,
    ) -> Self:
        """Make labelled cells the reference of `predict`, in place of any before; the embedding stays as it is.

        Parameters
        ----------
        adata
            Cells with the model's genes.
        labels
            A column of `obs`, or one value per cell; None where a cell has none.
        layer, min_covered
            As in `embed`.
        calibrate, balanced
            As in `KNNClassifier.fit`.
        """
        cells = self.cells(adata, layer=layer, min_covered=min_covered)
        ids, given = digests(cells.matrix), labels_of(adata, labels)
        options: dict[str, Any] = {"calibrate": calibrate, "balanced": balanced}
        self._set_reference(self._embed(cells, torch.device("cpu")), given, ids, None, **options)
        before = self._fitted.unlearned
        if before is not None and before.ids is not None:
            rows = positions(before.ids, ids)
            known = np.flatnonzero((rows >= 0) & (given[rows] != None))  # noqa: E711 - of each value
            unlearned = None
            if len(known):
                points, names = before.reference[known], given[rows[known]]
                unlearned = KNNClassifier.fit(points, names, k=before.k, ids=before.ids[known], **options)
            self.state = replace(self._fitted, unlearned=unlearned)
        return self

    @property
    def classifier(self) -> KNNClassifier:
        """The neighbours that vote in `predict`.

        Raises
        ------
        ModelError
            There are no labelled cells: it was fitted without labels.
        """
        classifier = self._fitted.classifier
        if classifier is None:
            raise ModelError("the model has no labelled cells: fit it with labels=, or call fit_classifier() first")
        return classifier

    def predict(
        self, adata: Any, *, min_confidence: float = 0.0, layer: str | None = None, min_covered: float = 1.0
    ) -> pd.DataFrame:
        """Label cells, of this data set or another, by the nearest labelled cells.

        A labelled cell, known again by its expression, has no vote for itself: it is labelled by the others. One
        whose label the embedding has learned is labelled where it lay before: it lies by its label now.

        Parameters
        ----------
        adata
            Cells with the model's genes, by name or by GeneID, also through one-to-one orthologs.
        min_confidence
            Leave cells below this without a label.
        layer, min_covered
            As in `embed`.

        Returns
        -------
        A row per cell, in its order and under its name: `label`, `confidence`, `runner_up`, `similarity`, as
        `KNNClassifier.predict` has them.
        """
        self.classifier  # noqa: B018 - says that there are no labelled cells
        cells = self.cells(adata, layer=layer, min_covered=min_covered)
        embedding = self._embed(cells, torch.device("cpu"))
        labels = self._label(embedding, cells, min_confidence=min_confidence)
        assert labels is not None
        return labels.set_axis(pd.Index(adata.obs_names), axis=0)

    def predict_proba(self, adata: Any, *, layer: str | None = None, min_covered: float = 1.0) -> pd.DataFrame:
        """Return the probability of each class: a row per cell, a column per label; parameters as in `predict`."""
        classes = list(self.classifier.classes)
        cells = self.cells(adata, layer=layer, min_covered=min_covered)
        embedding = self._embed(cells, torch.device("cpu"))
        probability = np.zeros((cells.n_cells, len(classes)))
        for classifier, rows, points, ids in self._voters(embedding, digests(cells.matrix)):
            columns = np.array([classes.index(name) for name in classifier.classes])
            probability[np.ix_(rows, columns)] = classifier.predict_proba(points, ids=ids)
        return pd.DataFrame(probability, index=pd.Index(adata.obs_names), columns=classes)

    def _label(self, embedding: Array, cells: CellMatrix, *, min_confidence: float) -> pd.DataFrame | None:
        if self._fitted.classifier is None:
            return None
        parts = [
            classifier.predict(points, min_confidence=min_confidence, ids=ids).set_axis(rows, axis=0)
            for classifier, rows, points, ids in self._voters(embedding, digests(cells.matrix))
        ]
        return pd.concat(parts).sort_index()

    def _voters(
        self, embedding: Array, ids: NDArray[np.int64]
    ) -> list[tuple[KNNClassifier, NDArray[np.int64], Array, NDArray[np.int64]]]:
        """Return who labels which cells: a classifier, rows of the embedding, where these cells lie, and their ids."""
        before = self._fitted.unlearned
        if before is None or before.ids is None:
            return [(self.classifier, np.arange(len(ids)), embedding, ids)]
        places = positions(ids, before.ids)
        others, learned = np.flatnonzero(places < 0), np.flatnonzero(places >= 0)
        parts = [
            (self.classifier, others, embedding[others], ids[others]),
            (before, learned, before.reference[places[learned]], ids[learned]),
        ]
        return [part for part in parts if len(part[1])]

    # -- inside -----------------------------------------------------------------------------------------------------

    def _prior_input(
        self, data: CellMatrix, columns: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> tuple[PriorInput, Bags]:
        config = self.config
        if not len(columns):
            raise ModelError("none of the variable genes has a vector: use prior_genes='all'")
        averaging = Averaging.measured(data, columns, vectors, config.weighting, config.top_n)
        bags = averaging.bags(data)
        known = np.flatnonzero(~bags.lost)
        if not len(known):
            raise CellsError("no cell expresses a gene that has a vector")
        sample = np.random.default_rng([config.seed, 6]).permutation(known)[:_SAMPLE]
        means = averaging.means(bags, np.sort(sample))
        # One scale for all coordinates: which directions are long is what the vectors say.
        scale = float(np.sqrt(means.var(axis=0).mean())) or 1.0
        return PriorInput(averaging=averaging, centre=means.mean(axis=0), scale=scale), bags

    def _set_reference(
        self,
        embedding: Array,
        labels: NDArray[np.object_],
        ids: NDArray[np.int64],
        calibrate_on: NDArray[np.int64] | None,
        *,
        calibrate: Calibration = "temperature",
        balanced: bool = False,
    ) -> None:
        made = KNNClassifier.fit(
            embedding,
            labels,
            k=self.config.n_neighbors,
            balanced=balanced,
            calibrate=calibrate,
            calibrate_on=calibrate_on,
            ids=ids,
        )
        self.state = replace(self._fitted, classifier=made)
        self.facts["classifier"] = {
            "classes": list(made.classes),
            "n_reference": len(made.codes),
            "balanced": made.balanced,
            "temperature": made.temperature,
            "n_calibrated": made.n_calibrated,
        }

    def _build(self) -> nn.Module:
        config, state = self.config, self._fitted

        def make() -> nn.Module:
            towers: dict[str, Tower] = {}
            if state.prior is not None:
                towers["prior"] = PriorTower(state.prior.averaging, state.prior.centre, state.prior.scale, config)
            if state.expression is not None:
                towers["expression"] = ExpressionTower(state.expression.mean, state.expression.sd, config)
            return ContrastiveNet(towers, config, state.loss)

        return seeded(config.seed, make)

    def _start_principal(self, module: ContrastiveNet, inputs: Inputs, rows: Rows) -> None:
        """Start the heads from the principal axes of what they read of (a sample of) these cells."""
        n = self.config.n_components
        if n is None:
            return
        sample = np.random.default_rng([self.config.seed, 5]).permutation(rows)[:_SAMPLE]
        for tower in module.towers.values():
            assert isinstance(tower, Tower)
            with torch.inference_mode():
                read = torch.cat([tower.read(inputs.take(part)) for part in in_order(np.sort(sample), 2048)])
            tower.head.start(principal_axes(read, min(n, self.config.n_latent)))

    def _embed(self, cells: CellMatrix, device: torch.device) -> Array:
        state, net = self._fitted, cast(ContrastiveNet, self.module)
        bags = None if state.prior is None else state.prior.averaging.bags(cells)
        inputs = Inputs(bags, None if state.expression is None else cells.genes(state.expression.columns))

        def work(rows: Rows) -> Tensor:
            return net.join(net.see({name: value.to(device) for name, value in inputs.take(rows).items()}))

        with on_device(net, device):
            embedding = in_blocks(cells.n_cells, work)
        embedding[lost_cells(cells, bags, read_expression=state.expression is not None)] = 0
        return embedding


def _expression_input(data: CellMatrix, columns: NDArray[np.int64]) -> ExpressionInput:
    mean, sd = moments(data.matrix[:, columns])
    return ExpressionInput(columns=columns, mean=mean, sd=sd)


def _codes(labels: NDArray[np.object_] | None, n_cells: int) -> NDArray[np.int64]:
    """Return the number of each label, in the order of their names; -1: none."""
    if labels is None:
        return np.full(n_cells, -1, np.int64)
    codes, names = pd.factorize(labels, sort=True)
    if not len(names):
        raise ModelError("labels: no cell has one; leave labels out to fit without any")
    if len(names) == n_cells > _FEW:
        raise ModelError(
            f"labels: {len(names):,} cells and as many labels, {first_ten(list(names))}: a class of one cell for "
            f"each cell (names of cells, or numbers) is none to learn; give types"
        )
    return codes.astype(np.int64)
