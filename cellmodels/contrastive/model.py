"""ContrastiveModel: cells by what is written about their genes, by their expression, or both, learned by contrast."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellmodels.base import Array, CellModel, seeded
from cellmodels.contrastive.config import PRESETS, ContrastiveConfig
from cellmodels.contrastive.network import ContrastiveNet, ExpressionTower, PriorTower, Weights, principal_axes
from cellmodels.contrastive.task import ContrastiveTask, Inputs, lost_cells
from cellmodels.contrastive.views import Averaging, Bags
from cellmodels.data.inputs import CellMatrix, Rows, labels_of, read_cells
from cellmodels.groups.knn_classifier import KNNClassifier
from cellmodels.groups.variable_genes import moments
from cellmodels.train.loop import Trainer, in_order
from genetext.errors import CellsError, ModelError, first_ten

if TYPE_CHECKING:
    from genetext.priors import GenePriors
    from genetext.progress import Progress

_FEW = 20
"""Up to so many cells, each may be the only one of its type."""
_SAMPLE = 10_000
"""Cells that principal axes and the spread of cell vectors are measured on, at most."""


class ContrastiveModel(CellModel[ContrastiveConfig]):
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
    presets = PRESETS

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
        adata
            Counts or log values.
        priors
            Gene vectors, or the name of an index; aligned here where they are not. None, or `priors.without()`: none.
        labels
            A column of `obs`, or one value per cell; None or NaN where a cell has none: it takes part in the
            self-supervised loss only. Labelled cells become the reference of `predict`, whose confidence is calibrated
            on the cells held out: those that SupCon is fitted to would promise too much. With fewer than 20 of them it
            is not calibrated.
        layer
            Where the expression is. Default: found.
        trainer, checkpoints, progress
            As in `cellmodels.train.loop.train`.
        oracle
            True labels, for `selection="oracle"` only.

        Raises
        ------
        ModelError
            The form needs a prior and there is none, the loss needs labels, or the labels are of one class only.
        CellsError
            The data have no such expression, or fewer than two cells that express a gene of the model.
        """
        found = read_cells(adata, needs=self.needs, layer=layer)
        if found.n_cells < 2:
            raise CellsError(f"there is {found.n_cells} cell: a model is fitted to two at least")
        aligned = self._priors(adata, priors)
        has_prior = aligned is not None and aligned.dim > 0 and aligned.n_matched > 0
        form = self._form(has_prior)
        variable = self._choose_genes(found, self.config.n_genes)
        known = np.flatnonzero(aligned.mask) if aligned is not None and form != "expression" else variable[:0]
        if self.config.prior_genes == "variable":
            known = np.intersect1d(known, variable)
        read = variable if form != "prior" else variable[:0]
        columns = np.union1d(known, read)
        data = self._start(adata, found, columns, aligned)
        names, codes = self._codes(adata, labels)
        self.facts.update(form=form, loss=self._loss(codes), n_labelled=int((codes >= 0).sum()))
        bags = None
        if form != "prior":
            self._note_expression(data, np.searchsorted(columns, read))
        if form != "expression":
            assert aligned is not None
            bags = self._note_prior(data, np.searchsorted(columns, known), aligned.vectors[known])
        # Until training is done, so that a checkpoint of other labels is of another run.
        self.arrays["reference_codes"] = codes
        usable = np.flatnonzero(~lost_cells(data, bags, read_expression=form != "prior"))
        if len(usable) < 2:
            raise CellsError(
                f"{len(usable)} of {data.n_cells:,} cells express a gene of the model (form={form!r}): it is fitted to "
                f"two at least"
            )
        made: list[ContrastiveTask] = []

        def make(module: nn.Module) -> ContrastiveTask:
            inputs = self._inputs(data, bags)
            self._start_principal(module, inputs, usable)
            made.append(ContrastiveTask(module, inputs, codes, usable, self.config, self.facts["loss"]))
            return made[0]

        self._train(
            make, adata=adata, data=data, trainer=trainer, checkpoints=checkpoints, oracle=oracle, progress=progress
        )
        del self.arrays["reference_codes"]
        if names:
            every = np.array([*names, None], dtype=object)[codes]
            # SupCon brings the cells it is fitted to nearer to their like than others: these tell nothing of new cells.
            asked = None if self.facts["loss"] == "self-supervised" else made[0].held
            self._note_reference(self._embed(data, torch.device("cpu")), every, asked)
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
        embedding = self.embed(adata, layer=layer, min_covered=min_covered)
        self._note_reference(embedding, labels_of(adata, labels), None, calibrate=calibrate, balanced=balanced)
        return self

    @property
    def classifier(self) -> KNNClassifier:
        """The neighbours that vote in `predict`.

        Raises
        ------
        ModelError
            There are no labelled cells: it was fitted without labels.
        """
        if "reference" not in self.arrays:
            raise ModelError("the model has no labelled cells: fit it with labels=, or call fit_classifier() first")
        told = self.facts["classifier"]
        return KNNClassifier(
            reference=self.arrays["reference"],
            codes=self.arrays["reference_codes"],
            classes=tuple(told["classes"]),
            k=self.config.k,
            balanced=told["balanced"],
            temperature=told["temperature"],
            knots=self.arrays["reference_knots"],
            n_calibrated=told["n_calibrated"],
        )

    def predict(
        self, adata: Any, *, min_confidence: float = 0.0, layer: str | None = None, min_covered: float = 1.0
    ) -> pd.DataFrame:
        """Label cells, of this data set or another, by the nearest labelled cells.

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
        classifier = self.classifier
        told = classifier.predict(
            self.embed(adata, layer=layer, min_covered=min_covered), min_confidence=min_confidence
        )
        return told.set_axis(pd.Index(adata.obs_names), axis=0)

    def predict_proba(self, adata: Any, *, layer: str | None = None, min_covered: float = 1.0) -> pd.DataFrame:
        """Return the probability of each class: a row per cell, a column per label."""
        classifier = self.classifier
        probability = classifier.predict_proba(self.embed(adata, layer=layer, min_covered=min_covered))
        return pd.DataFrame(probability, index=pd.Index(adata.obs_names), columns=list(classifier.classes))

    def to_anndata(self, adata: Any, *, key_added: str | None = None, layer: str | None = None) -> None:
        """Write the embedding as every model does; with labelled cells also `obs["<name>_label"]`, `_confidence`."""
        super().to_anndata(adata, key_added=key_added, layer=layer)
        if "reference" in self.arrays:
            name = key_added or self.name
            told = self.classifier.predict(adata.obsm[f"X_{name}"])
            label = pd.Categorical(told["label"], categories=list(self.classifier.classes))
            adata.obs[f"{name}_label"] = pd.Series(label, index=adata.obs_names)
            adata.obs[f"{name}_confidence"] = told["confidence"].to_numpy(np.float32)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _form(self, has_prior: bool) -> str:
        form = self.config.form
        if form == "auto":
            return "two-tower" if has_prior else "expression"
        if form != "expression" and not has_prior:
            raise ModelError(
                f"form={form!r} averages gene vectors, and there are none: pass priors=, or form='expression' (the "
                f"same model without a prior; form='auto' chooses it)"
            )
        return form

    def _codes(self, adata: Any, labels: Any) -> tuple[list[str], NDArray[np.int64]]:
        if labels is None:
            return [], np.full(adata.n_obs, -1, np.int64)
        values = labels_of(adata, labels)
        names = sorted({value for value in values if value is not None})
        if not names:
            raise ModelError("labels: no cell has one; leave labels out to fit without any")
        if len(names) == len(values) > _FEW:
            raise ModelError(
                f"labels: {len(names):,} cells and as many labels, {first_ten(names)}: a class of one cell for each "
                f"cell (names of cells, or numbers) is none to learn; give types"
            )
        place = {name: code for code, name in enumerate(names)}
        return names, np.array([-1 if value is None else place[value] for value in values], np.int64)

    def _loss(self, codes: NDArray[np.int64]) -> str:
        loss = self.config.loss
        labelled = codes >= 0
        if loss == "auto":
            loss = "supervised" if labelled.any() else "self-supervised"
        if loss == "self-supervised":
            if self.config.gene_dropout == 0:
                raise ModelError("the self-supervised loss tells views of cells apart: gene_dropout must be above 0")
            return loss
        n_classes = len(set(codes[labelled].tolist()))
        if n_classes < 2:
            raise ModelError(
                f"loss={loss!r} contrasts classes, and the labels are of {n_classes}: give labels of two at least, or "
                f"loss='self-supervised'"
            )
        return loss

    def _note_expression(self, data: CellMatrix, columns: NDArray[np.int64]) -> None:
        chosen = data.matrix[:, columns]
        mean, sd = moments(chosen)
        self.arrays.update(expression_columns=columns, expression_mean=mean, expression_sd=sd)

    def _note_prior(self, data: CellMatrix, columns: NDArray[np.int64], vectors: NDArray[np.float32]) -> Bags:
        config = self.config
        if not len(columns):
            raise ModelError("none of the variable genes has a vector: use prior_genes='all'")
        averaging = Averaging.measured(data, columns, vectors, config.weighting, config.top_n)
        self.arrays.update(gene_vectors=averaging.vectors, gene_columns=columns, gene_terms=averaging.terms)
        bags = averaging.bags(data)
        known = np.flatnonzero(~bags.lost)
        if not len(known):
            raise CellsError("no cell expresses a gene that has a vector")
        sample = np.random.default_rng([config.seed, 6]).permutation(known)[:_SAMPLE]
        means = averaging.means(bags, np.sort(sample))
        # One scale for all coordinates: which directions are long is what the vectors say.
        scale = float(np.sqrt(means.var(axis=0).mean())) or 1.0
        self.arrays.update(cell_centre=means.mean(axis=0), cell_scale=np.array([scale]))
        return bags

    def _note_reference(
        self,
        embedding: Array,
        labels: NDArray[np.object_],
        calibrate_on: NDArray[np.int64] | None,
        *,
        calibrate: Literal["temperature", "isotonic", "none"] = "temperature",
        balanced: bool = False,
    ) -> None:
        made = KNNClassifier.fit(
            embedding,
            labels,
            k=self.config.k,
            balanced=balanced,
            calibrate=calibrate,
            calibrate_on=calibrate_on,
        )
        self.arrays.update(reference=made.reference, reference_codes=made.codes, reference_knots=made.knots)
        self.facts["classifier"] = {
            "classes": list(made.classes),
            "n_reference": len(made.codes),
            "balanced": made.balanced,
            "temperature": made.temperature,
            "n_calibrated": made.n_calibrated,
        }

    def _averaging(self) -> Averaging | None:
        if "gene_vectors" not in self.arrays:
            return None
        arrays, config = self.arrays, self.config
        return Averaging(
            config.weighting, config.top_n, arrays["gene_vectors"], arrays["gene_columns"], arrays["gene_terms"]
        )

    def _build(self) -> nn.Module:
        config, arrays = self.config, self.arrays
        averaging = self._averaging()
        loss = self.facts["loss"]
        weights = Weights(
            supervised=float(loss != "self-supervised"),
            alone={"supervised": 0.0, "self-supervised": 1.0}.get(loss, config.alone_weight),
            align=config.align_weight,
            temperature=config.temperature,
            alone_temperature=config.alone_temperature,
            align_temperature=config.align_temperature,
            gene_dropout=config.gene_dropout,
        )

        skip = config.n_principal is not None

        def make() -> nn.Module:
            towers: dict[str, nn.Module] = {}
            if averaging is not None:
                centre, scale = arrays["cell_centre"], float(arrays["cell_scale"][0])
                towers["prior"] = PriorTower(
                    averaging, centre, scale, config.hidden, config.n_latent, unit=config.unit, skip=skip
                )
            if "expression_columns" in arrays:
                mean, sd = arrays["expression_mean"], arrays["expression_sd"]
                towers["expression"] = ExpressionTower(mean, sd, config.hidden, config.n_latent, skip=skip)
            return ContrastiveNet(towers, weights, config.joint)

        return seeded(config.seed, make)

    def _start_principal(self, module: nn.Module, inputs: Inputs, rows: Rows) -> None:
        """Start the heads from the principal axes of what they read of (a sample of) these cells."""
        n = self.config.n_principal
        if n is None:
            return
        sample = np.random.default_rng([self.config.seed, 5]).permutation(rows)[:_SAMPLE]
        for tower in cast(ContrastiveNet, module).towers.values():
            assert isinstance(tower, (PriorTower, ExpressionTower))
            with torch.inference_mode():
                read = torch.cat([tower.read(inputs.take(part)) for part in in_order(np.sort(sample), 2048)])
            tower.head.start(principal_axes(read, min(n, self.config.n_latent)))

    def _inputs(self, data: CellMatrix, bags: Bags | None) -> Inputs:
        columns = self.arrays.get("expression_columns")
        return Inputs(bags, None if columns is None else data.genes(columns))

    def _embed(self, cells: CellMatrix, device: torch.device) -> Array:
        assert isinstance(self.module, ContrastiveNet)
        net = self.module.to(device)
        averaging = self._averaging()
        bags = None if averaging is None else averaging.bags(cells)
        inputs = self._inputs(cells, bags)

        def work(rows: Rows) -> Tensor:
            there = {name: value.to(device) for name, value in inputs.take(rows).items()}
            return net.join(net.see(there))

        embedding = self._over(cells.n_cells, work)
        embedding[lost_cells(cells, bags, read_expression="expression_columns" in self.arrays)] = 0
        return embedding
