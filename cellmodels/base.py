"""CellModel: what every model of cells can do: fit, embed, save, load."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from cellmodels import storage
from cellmodels.data.genes import Genes
from cellmodels.data.inputs import CellMatrix, Needs, read_cells
from cellmodels.groups.variable_genes import variable_genes
from cellmodels.state import NoState, put_together, take_apart
from cellmodels.train.config import TrainConfig
from cellmodels.train.loop import Task, Trainer, in_order, train
from genetext.errors import CellsError, ModelError, first_ten
from genetext.keys import Keys
from genetext.labels import labels_of

if TYPE_CHECKING:
    from genetext.priors import GenePriors
    from genetext.progress import Progress
from genetext.provenance import class_digest

Array = NDArray[np.float32]
ConfigT = TypeVar("ConfigT", bound=TrainConfig)
StateT = TypeVar("StateT")


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
        What it was fitted with, for reports: data, priors, the epoch kept. JSON values.
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
        known = {field.name for field in fields(self.Config)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ModelError(
                f"{type(self).__name__} has no hyper-parameter {first_ten(unknown)}: it has {', '.join(sorted(known))}"
            )
        if config is not None and not isinstance(config, self.Config):
            raise ModelError(
                f"{type(self).__name__} takes a {self.Config.__name__} or hyper-parameters by name, not {config!r}"
            )
        self.config: ConfigT = replace(config or cast(ConfigT, self.Config()), **changes)
        self.genes: Genes | None = None
        self.module: nn.Module | None = None
        self.state: StateT | None = None
        self.facts: dict[str, Any] = {}
        self.history = pd.DataFrame({"epoch": np.array([], np.int64)})
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
        """Fit to some cells; each model has options of its own beside these."""

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

    def _label(
        self, embedding: Array, cells: CellMatrix, names: Sequence[Any], *, min_confidence: float
    ) -> pd.DataFrame | None:
        """Label embedded cells, a row each; None where the model has learned no labels."""
        del embedding, cells, names, min_confidence
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
        if self.genes is None or self.module is None:
            raise ModelError(f"this {type(self).__name__} was not fitted: call fit() or load() first")
        coverage = self.genes.find(adata, min_covered=min_covered)
        return read_cells(adata, needs=self._expression, layer=layer).genes(coverage.columns)

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
        labels = self._label(embedding, cells, adata.obs_names, min_confidence=min_confidence)
        if labels is not None:
            adata.obs[f"{name}_label"] = pd.Categorical(labels["label"])
            adata.obs[f"{name}_confidence"] = labels["confidence"].to_numpy(np.float32)
        return labels

    def summary(self) -> dict[str, Any]:
        """Return what was fitted and how, as values that an h5ad file can hold."""
        config = {key: "none" if value is None else value for key, value in asdict(self.config).items()}
        last = {} if self.history.empty else self.history.iloc[-1].to_dict()
        return {
            "model": type(self).__name__,
            "config": {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()},
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
        if self.genes is None or self.module is None:
            raise ModelError(f"this {type(self).__name__} was not fitted: there is nothing to save")
        arrays, values = take_apart(self.state)
        stored = storage.Stored(
            name=self.name,
            model=self._target(),
            config=asdict(self.config),
            weights=self.module.state_dict(),
            arrays=arrays,
            state=values,
            genes=self.genes,
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
        model.genes, model.facts, model.history = stored.genes, dict(stored.facts), stored.history
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
    def _fitted(self) -> StateT:
        """The state.

        Raises
        ------
        ModelError
            It was not fitted.
        """
        if self.state is None:
            raise ModelError(f"this {type(self).__name__} was not fitted: call fit() or load() first")
        return self.state

    @property
    def _expression(self) -> Needs:
        """What the model reads, where its configuration has a say too."""
        return self.needs

    def _priors(self, adata: Any, priors: "GenePriors | str | Path | None") -> "GenePriors | None":
        """Align priors to the genes of the data where they are not yet; None stays None."""
        if priors is None:
            return None
        from genetext.cells.job import aligned

        return aligned(priors, adata, missing="mask")

    def _choose_genes(self, cells: CellMatrix, n_genes: int | None) -> NDArray[np.int64]:
        """Return the columns of the genes to model: those that vary most, or with None all that vary.

        Raises
        ------
        CellsError
            Fewer than two cells, or no gene that varies.
        """
        if cells.n_cells < 2:
            raise CellsError(f"there is {cells.n_cells} cell: a model is fitted to two at least")
        columns = variable_genes(cells.log().matrix, cells.n_genes if n_genes is None else n_genes)
        if not len(columns):
            raise CellsError(f"none of the {cells.n_genes:,} genes varies between the {cells.n_cells:,} cells")
        return columns

    def _start(
        self, adata: Any, cells: CellMatrix, columns: NDArray[np.int64], priors: "GenePriors | None"
    ) -> CellMatrix:
        """Note the genes and the facts of a fit that begins; return the expression of these genes.

        What an earlier fit left is gone: a fit that fails from here on leaves a model that is not fitted.
        """
        self.module, self.state, self.is_main = None, None, True
        self.history = pd.DataFrame({"epoch": np.array([], np.int64)})
        self.genes = Genes.of(adata, columns, priors)
        used = None if priors is None else priors.take(columns)
        self.facts = {
            "matrix": cells.label,
            "expression": cells.kind,
            "n_cells": cells.n_cells,
            "n_empty": int((cells.totals == 0).sum()),
            "priors": "none" if used is None else used.description,
            "control": "" if used is None else used.control,
            "fingerprint": "" if used is None else used.fingerprint,
            "n_with_prior": 0 if used is None else used.n_matched,
        }
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
        trainer, checkpoints, progress
            As in `cellmodels.train.loop.train`.
        oracle
            The true labels (a column of `obs`, or one per cell), for `selection="oracle"` only.
        """
        self.state = state
        module = self._build()
        trainer = trainer or Trainer()
        score, chosen_by = None, ""
        if oracle is not None:
            labels = labels_of(adata, oracle, what="oracle")
            score, chosen_by = self._oracle(module, data, labels), repr(labels.tolist())
        trained = train(
            make(module),
            self.config,
            trainer=trainer,
            checkpoints=None if checkpoints is None else Path(checkpoints),
            identity=self._identity(data, targets, (trainer.precision, trainer.devices, chosen_by)),
            oracle=score,
            progress=progress,
        )
        self.module, self.history = module.eval(), trained.history
        chosen = "oracle: true labels chose the epoch" if score is not None else self.config.selection
        self.facts.update(selection=chosen, epoch=trained.epoch, stopped=trained.stopped)
        self.is_main = trained.is_main

    def _oracle(self, module: nn.Module, data: CellMatrix, labels: NDArray[np.object_]) -> Callable[[], float]:
        from cellmodels.eval.metrics import nmi
        from cellmodels.groups.clusters import cluster

        known = np.array([label is not None for label in labels])
        n = len(set(labels[known]))

        def score() -> float:
            self.module, training = module, module.training
            device = next(module.parameters()).device
            embedding = self._embed(data, device)
            module.train(training)
            self.module = None
            clusters = cluster(embedding, n, seed=self.config.seed).labels
            return float(nmi(labels[known], clusters[known]))

        return score

    def _identity(self, data: CellMatrix, targets: NDArray[Any] | None, circumstances: tuple[Any, ...]) -> str:
        """Return a digest of everything that decides the result of a fit."""
        arrays, values = take_apart(self.state)
        names = [] if self.genes is None else self.genes.names.tolist()
        code = class_digest(type(self))  # a run that goes on with other code is another run
        settings = (self._target(), self.config, circumstances, sorted(self.facts.items()), sorted(values.items()))
        digest = hashlib.sha256(repr((settings, names, code)).encode())
        read = (data.matrix.indptr, data.matrix.indices, data.matrix.data)
        for array in (*read, *arrays.values(), *(() if targets is None else (targets,))):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    @contextmanager
    def _on(self, device: torch.device) -> Iterator[None]:
        """Have the module on a device, in evaluation mode, and then where it was, whatever happens."""
        assert self.module is not None
        home = next(iter(self.module.state_dict().values())).device
        try:
            self.module.to(device).eval()
            yield
        finally:
            self.module.to(home)

    def _over(self, n_cells: int, work: Callable[[NDArray[np.int64]], torch.Tensor], *, size: int = 2048) -> Array:
        """Apply `work` to the cells in blocks, without gradients."""
        with torch.inference_mode():
            parts = [work(rows).float().cpu().numpy() for rows in in_order(np.arange(n_cells), size)]
        return cast(Array, np.concatenate(parts))


def seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    """Make a module with initial weights drawn from `seed`; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
