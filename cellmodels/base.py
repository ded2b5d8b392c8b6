"""CellModel: what every model of cells can do: fit, embed, save, load."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from cellmodels import storage
from cellmodels.data.genes import Genes
from cellmodels.data.identity import digest_of
from cellmodels.data.inputs import CellMatrix, Needs, read_cells
from cellmodels.eval.metrics import agreement_with
from cellmodels.facts import Facts, facts_of
from cellmodels.state import NoState, put_together, take_apart
from cellmodels.train.config import TrainConfig, configured
from cellmodels.train.loop import Task, Trainer, train
from genetext.errors import ModelError
from genetext.keys import Keys
from genetext.labels import labels_of
from genetext.provenance import class_digest

if TYPE_CHECKING:
    from genetext.priors import GenePriors
    from genetext.progress import Progress

Array = NDArray[np.float32]
ConfigT = TypeVar("ConfigT", bound=TrainConfig)
StateT = TypeVar("StateT")
_NO_HISTORY = pd.DataFrame({"epoch": np.array([], np.int64)})


class CellModel(ABC, Generic[ConfigT, StateT]):
    """A model of single cells that can use gene priors beside expression.

    A subclass names its `Config` and `State` (a frozen dataclass, see `cellmodels.state`), builds its module from both
    (`_build`), writes its own `fit` with `_train`, and embeds a matrix of its genes (`_embed`). `cellmodels.registry`
    says how others find it.

    Parameters
    ----------
    config
        Hyper-parameters. Default: those of the class.
    **changes
        Single hyper-parameters, by name.

    Attributes
    ----------
    name
        Under which it writes to AnnData: `obsm["X_<name>"]`.
    needs
        `counts` or `log`: the expression it is fitted on.
    config
        The hyper-parameters, frozen.
    genes
        The genes that it was fitted on.
    state
        What it needs to embed cells beside its genes and the weights of its module; None before fitting.
    facts
        What it was fitted with, for reports.
    history
        One row per epoch: `epoch`, and the mean of each loss.
    module
        The torch module; on the CPU, in evaluation mode.
    is_main
        Whether this process should write results: of several that trained together, one.

    Raises
    ------
    ModelError
        A hyper-parameter is unknown, or out of its range.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs]
    Config: ClassVar[type[TrainConfig]] = TrainConfig
    State: ClassVar[type] = NoState
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self, config: ConfigT | None = None, **changes: Any) -> None:
        self.config: ConfigT = configured(self.Config, config, changes, owner=type(self).__name__)
        self.genes: Genes | None = None
        self.module: nn.Module | None = None
        self.state: StateT | None = None
        self.facts: Facts = {}
        self.history = _NO_HISTORY.copy()
        self.is_main = True

    @classmethod
    def preset(cls, preset: str, **changes: Any) -> Self:
        """Take hyper-parameters by name, for example those of the paper (`"paper"`).

        Raises
        ------
        ModelError
            There is no such preset.
        """
        if preset not in cls.presets:
            raise ModelError(f"{cls.__name__} has no preset {preset!r}: it has {', '.join(cls.presets) or 'none'}")
        return cls(**{**cls.presets[preset], **changes})

    # -- what a subclass says ---------------------------------------------------------------------------------------

    @abstractmethod
    def fit(
        self,
        adata: Any,
        priors: "GenePriors | str | None" = None,
        *,
        layer: str | None = None,
        trainer: Trainer | None = None,
        checkpoints: str | Path | None = None,
        oracle: Any = None,
        progress: "Progress | None" = None,
    ) -> Self:
        """Fit to some cells; each model has options of its own beside these.

        Parameters
        ----------
        adata
            Cells with the expression that the model needs.
        priors
            Gene vectors, or the name of an index to take them from; aligned here where they are not. None, or
            `priors.without()`: none.
        layer
            Where the expression is. Default: looked for.
        trainer, checkpoints, progress
            As in `cellmodels.train.loop.train`.
        oracle
            True labels (a column of `obs`, or one per cell), for `selection="oracle"` only, which serves to compare
            with papers.

        Raises
        ------
        ModelError
            The configuration asks for what was not given, or training fails.
        CellsError
            There are fewer than two cells, no gene that varies, or no expression of the kind that the model needs.
        """

    @abstractmethod
    def _build(self) -> nn.Module:
        """Make the module from `config`, `genes` and `state`, with initial weights from the seed."""

    @abstractmethod
    def _embed(self, cells: CellMatrix, device: torch.device) -> Array:
        """Embed cells given by the genes of the model: `(n_cells, n_latent) float32`."""

    def _embed_data(self, adata: Any, cells: CellMatrix, device: torch.device) -> Array:
        """Embed the cells of some data; a model overrides it that needs more of the data than expression."""
        del adata
        return self._embed(cells, device)

    def _label(self, embedding: Array, cells: CellMatrix, *, min_confidence: float) -> pd.DataFrame | None:
        """Label embedded cells, a row each; None where the model has learned no labels."""
        del embedding, cells, min_confidence
        return None

    # -- use --------------------------------------------------------------------------------------------------------

    @property
    def is_fitted(self) -> bool:
        """Whether it was fitted or loaded."""
        return self.module is not None

    def embed(self, adata: Any, *, layer: str | None = None, min_covered: float = 1.0, device: str = "cpu") -> Array:
        """Embed cells, also such as it was not fitted on.

        Parameters
        ----------
        adata
            Cells with the genes of the model, in any order; they are found by name, else by GeneID.
        layer
            Where the expression is. Default: found, as in `fit`.
        min_covered
            Smallest share of the model's genes that the data must have; the others count as zeros.
        device
            Where to compute: `cpu`, `cuda`, `cuda:1` ...

        Returns
        -------
        `(n_cells, n_latent) float32`.

        Raises
        ------
        ModelError
            It was not fitted.
        GenesMissing
            The data lack genes of the model.
        CellsError
            The data have no expression of the kind that the model needs.
        """
        cells = self.cells(adata, layer=layer, min_covered=min_covered)
        return self._embed_data(adata, cells, torch.device(device))

    def cells(self, adata: Any, *, layer: str | None = None, min_covered: float = 1.0) -> CellMatrix:
        """Return the expression of the model's genes, in its order; parameters as in `embed`."""
        coverage = self._fit_result[0].find(adata, min_covered=min_covered)
        return self._read(adata, layer).genes(coverage.columns)

    def to_anndata(
        self,
        adata: Any,
        *,
        key_added: str | None = None,
        layer: str | None = None,
        min_covered: float = 1.0,
        min_confidence: float = 0.0,
        device: str = "cpu",
    ) -> pd.DataFrame | None:
        """Write the embedding to `obsm["X_<name>"]` and what it was made with to `uns["genetext"]`.

        A model that has labelled cells also writes `obs["<name>_label"]` and `obs["<name>_confidence"]`.

        Parameters
        ----------
        adata
            Cells to embed.
        key_added
            In place of the model's name.
        layer, min_covered, device
            As in `embed`.
        min_confidence
            Leave cells below this without a label.

        Returns
        -------
        A row per cell with `label` and `confidence` at least; None where the model labels nothing.
        """
        name = key_added or self.name
        cells = self.cells(adata, layer=layer, min_covered=min_covered)
        embedding = self._embed_data(adata, cells, torch.device(device))
        adata.obsm[Keys.model(name)] = embedding
        Keys().record(adata, name, self.summary())
        labels = self._label(embedding, cells, min_confidence=min_confidence)
        if labels is not None:
            adata.obs[f"{name}_label"] = pd.Categorical(labels["label"])
            adata.obs[f"{name}_confidence"] = labels["confidence"].to_numpy(np.float32)
        return labels

    def summary(self) -> dict[str, Any]:
        """Return what was fitted and how, as values that an h5ad file can hold."""
        last = {} if self.history.empty else self.history.iloc[-1].to_dict()
        return {
            "model": type(self).__name__,
            "config": self.config.plain(),
            "n_genes": 0 if self.genes is None else len(self.genes),
            "losses": {key: float(value) for key, value in last.items()},
            **self.facts,
        }

    # -- on disk ----------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the fitted model to a folder (safetensors and JSON), replacing a model that is there.

        Raises
        ------
        ModelError
            It was not fitted, or there is something else at `path`.
        """
        genes, module = self._fit_result
        arrays, values = take_apart(self.state)
        stored = storage.Stored(
            name=self.name,
            model=self._target(),
            config=asdict(self.config),
            weights=module.state_dict(),
            arrays=arrays,
            state=values,
            genes=genes,
            facts=self.facts,
            history=self.history,
        )
        storage.write(Path(path), stored)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model from the folder that `save` wrote.

        Raises
        ------
        ModelError
            It is no such folder, of another kind or version, or damaged.
        """
        return cls.from_stored(storage.read(Path(path)), path)

    @classmethod
    def from_stored(cls, stored: storage.Stored, path: str | Path) -> Self:
        """Put a model together; `path` is for messages."""
        if stored.name != cls.name or stored.model.rpartition(":")[2] != cls.__qualname__:
            raise ModelError(f"{path} holds a model {stored.name!r} of the class {stored.model}, not {cls._target()}")
        try:
            model = cls(**stored.config)
        except (ModelError, TypeError) as cause:
            raise ModelError(
                f"{path} was written by another version of genetext, its hyper-parameters are not those of this one: "
                f"{cause}"
            ) from cause
        model.genes, model.facts, model.history = stored.genes, cast(Facts, dict(stored.facts)), stored.history
        try:
            model.state = put_together(cls.State, stored.arrays, stored.state)
            module = model._build()
            module.load_state_dict(stored.weights)
        except (RuntimeError, KeyError, ValueError, TypeError, IndexError) as cause:
            raise ModelError(f"what is stored in {path} does not fit {cls.__name__}: {cause}") from cause
        model.module = module.eval()
        return model

    @classmethod
    def _target(cls) -> str:
        return f"{cls.__module__}:{cls.__qualname__}"

    def __repr__(self) -> str:
        state = f"{len(self.genes):,} genes, {len(self.history)} epochs" if self.genes is not None else "not fitted"
        return f"{type(self).__name__}({state})"

    # -- for subclasses ---------------------------------------------------------------------------------------------

    @property
    def _fit_result(self) -> tuple[Genes, nn.Module]:
        """Genes and module; a `ModelError` where it was not fitted."""
        if self.genes is None or self.module is None:
            raise ModelError(f"this {type(self).__name__} was not fitted: call fit() or load() first")
        return self.genes, self.module

    @property
    def _fitted(self) -> StateT:
        """The state; a `ModelError` where it was not fitted."""
        if self.state is None:
            raise ModelError(f"this {type(self).__name__} was not fitted: call fit() or load() first")
        return self.state

    @property
    def _expression(self) -> Needs:
        """What the model reads, where its configuration has a say too."""
        return self.needs

    def _read(self, adata: Any, layer: str | None) -> CellMatrix:
        """Find the expression that the model needs, all genes of the data."""
        return read_cells(adata, needs=self._expression, expression=self.config.expression, layer=layer)

    def _priors(self, adata: Any, priors: "GenePriors | str | Path | None") -> "GenePriors | None":
        """Align priors to the genes of the data where they are not yet; None stays None."""
        if priors is None:
            return None
        from genetext.cells.job import aligned

        return aligned(priors, adata, missing="mask")

    def _start(
        self, adata: Any, cells: CellMatrix, columns: NDArray[np.int64], priors: "GenePriors | None"
    ) -> CellMatrix:
        """Note the genes and the facts of a fit that begins; return the expression of these genes.

        What an earlier fit left is gone: a fit that fails from here on leaves a model that is not fitted.
        """
        self.module, self.state, self.is_main = None, None, True
        self.history = _NO_HISTORY.copy()
        self.genes = Genes.of(adata, columns, priors)
        self.facts = facts_of(cells, None if priors is None else priors.take(columns))
        return cells.genes(columns)

    def _train(
        self,
        make: Callable[[nn.Module], Task],
        state: StateT,
        *,
        adata: Any,
        data: CellMatrix,
        targets: NDArray[Any] | None = None,
        trainer: Trainer | None = None,
        checkpoints: str | Path | None = None,
        oracle: Any = None,
        progress: "Progress | None" = None,
    ) -> None:
        """Build the module, train it, and keep what came of it.

        Parameters
        ----------
        make
            Gives the task, for the module built.
        state
            All that the module is built from.
        adata
            The data being fitted.
        data
            Their expression by the model's genes; with configuration, genes, state and targets it tells runs apart.
        targets
            What it learns beside the expression, such as labels.
        trainer, checkpoints, oracle, progress
            As in `fit`.
        """
        self.state = state
        module = self._build()
        trainer = trainer or Trainer()
        labels = None if oracle is None else labels_of(adata, oracle, what="oracle")
        run = (self._target(), self.config, trainer.precision, trainer.devices, labels, self.facts, *take_apart(state))
        names = None if self.genes is None else self.genes.names
        code = class_digest(type(self))  # a run that goes on with other code is another run

        def agreement(labels: NDArray[np.object_]) -> float:
            embedding = self._embed(data, next(module.parameters()).device)
            return agreement_with(labels, embedding, seed=self.config.seed)

        self.module = module  # cells can be embedded while it learns
        try:
            trained = train(
                make(module),
                self.config,
                trainer=trainer,
                checkpoints=None if checkpoints is None else Path(checkpoints),
                identity=digest_of(*run, names, code, data.matrix, targets),
                oracle=None if labels is None else partial(agreement, labels),
                progress=progress,
            )
        except BaseException:
            self.module = None
            raise
        module.eval()
        self.history, self.is_main = trained.history, trained.is_main
        chosen = self.config.selection if labels is None else "oracle: true labels chose the epoch"
        self.facts.update({"selection": chosen, "epoch": trained.epoch, "stopped": trained.stopped})
