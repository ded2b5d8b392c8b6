"""Embeddings to be compared: principal components, averaged gene vectors, models; each with a prior or a control."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from cellmodels import registry
from cellmodels.data.inputs import read_cells
from cellmodels.eval.bench.protocol import EXPRESSION, PERMUTED, PRIOR, PRIORS, RANDOM, Arm
from cellmodels.groups.pca import principal_components
from genetext.errors import BenchError
from genetext.provenance import class_digest

if TYPE_CHECKING:
    from cellmodels.base import CellModel
    from genetext.priors import GenePriors

Floats = NDArray[np.float64]
Make = Callable[[int], "CellModel[Any, Any]"]
"""From a seed to a model, not fitted."""

_LABELS = "-labels"
"""Ends the name of a model that is fitted with the few labels themselves, to the few cells that have them."""
WEIGHTING = "contrast"
"""Of the gene vectors where they stand alone: what a cell expresses more than others."""


def model_names() -> list[str]:
    """Return the names of all models that are known, and of those that learn from labels once more with `-labels`."""
    entries = registry.models()
    return [*entries, *(f"{name}{_LABELS}" for name, entry in entries.items() if entry.learns_labels)]


@dataclass(frozen=True)
class Known:
    """A model that is known by name; can be sent to another process.

    Attributes
    ----------
    name
        One of `model_names()`.
    settings
        Hyper-parameters.
    quick
        Whether it is small and fitted for less long, where the settings say nothing else: no measure of the model.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False

    @property
    def labelled(self) -> bool:
        """Whether it is fitted with labels."""
        return self.name.endswith(_LABELS)

    @property
    def entry(self) -> registry.ModelEntry:
        """What is known of the model.

        Raises
        ------
        BenchError
            There is no such model.
        """
        if self.name not in model_names():
            raise BenchError(f"there is no model {self.name!r}: there are {', '.join(model_names())}")
        return registry.find(self.name.removesuffix(_LABELS) if self.labelled else self.name)

    def __call__(self, seed: int) -> "CellModel[Any, Any]":
        """Return the model with this seed."""
        fixed = {"held_out": 0.0} if self.labelled else {}
        small = self.entry.quick if self.quick else {}
        return self.entry.load()(**{**fixed, **small, **self.settings, "seed": seed})


def fingerprint(make: Make) -> dict[str, Any]:
    """Return what tells a model, its code and its hyper-parameters from another, as JSON values.

    A model whose code cannot be found, such as one that was written into a notebook, is like none before.
    """
    model = make(0)
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    return {"model": name, "config": asdict(model.config), "code": class_digest(type(model)) or f"unknown, {uuid4()}"}


def prior_of(arm: Arm, priors: "GenePriors | None") -> "GenePriors | None":
    """Return the prior of an arm; priors are aligned, so that permutations are among the genes of the data."""
    if priors is None or arm.control == PRIOR:
        return priors
    if arm.control == PERMUTED:
        return priors.permuted(arm.draw)
    return priors.random(arm.seed) if arm.control == RANDOM else priors.without()


def embed(
    arm: Arm, adata: Any, fitted_on: NDArray[np.int64], priors: "GenePriors | None", make: Make | None, *, device: str
) -> Floats:
    """Fit to some cells and embed all.

    Parameters
    ----------
    arm
        Method and control.
    adata
        All cells.
    fitted_on
        Positions of the cells to fit to.
    priors
        Aligned to the genes of `adata`.
    make
        The model; None where the method is one of `WITHOUT_MODEL`.
    device
        To train on.

    Returns
    -------
    `(n_cells, d) float64`, centred on the cells fitted to; cells without anything to embed are zeros.
    """
    prior = prior_of(arm, priors)
    if make is None:
        embedding = WITHOUT_MODEL[arm.method](adata, fitted_on, prior, arm.seed)
    else:
        from cellmodels.train.loop import Trainer

        part = _cells(adata, fitted_on)
        embedding = make(arm.seed).fit(part, prior, trainer=Trainer(device=device)).embed(adata)
    values = np.asarray(embedding, np.float64)
    embedded = np.flatnonzero(np.isfinite(values).all(axis=1))
    centred = np.zeros_like(values)
    centred[embedded] = values[embedded] - values[np.intersect1d(fitted_on, embedded)].mean(axis=0)
    return centred


def embed_labelled(
    arm: Arm,
    adata: Any,
    train: NDArray[np.int64],
    labels: NDArray[np.object_],
    priors: "GenePriors | None",
    make: Make,
    *,
    device: str,
) -> Floats:
    """Fit to the few cells that have labels, with the labels, and embed all."""
    from cellmodels.train.loop import Trainer

    fit: Any = make(arm.seed).fit
    trainer = Trainer(device=device)
    model = fit(adata[train].copy(), prior_of(arm, priors), labels=list(labels[train]), trainer=trainer)
    return np.asarray(model.embed(adata), np.float64)


def components(adata: Any, fitted_on: NDArray[np.int64], _prior: "GenePriors | None", _seed: int) -> NDArray[Any]:
    """Return principal components of expression alone."""
    return principal_components(read_cells(adata, needs="log").matrix, fitted_on=fitted_on)


def averaged(adata: Any, fitted_on: NDArray[np.int64], priors: "GenePriors | None", _seed: int) -> NDArray[Any]:
    """Return the mean of the cells' gene vectors, weighted by what a cell expresses more than those fitted to."""
    from genetext.cells import measure_background
    from genetext.cells.job import Job, Options

    background = measure_background(_cells(adata, fitted_on), threads=1)
    return Job.of(adata, priors, Options(weighting=WEIGHTING), background=background).embed(threads=1).vectors


def _cells(adata: Any, rows: NDArray[np.int64]) -> Any:
    return adata if len(rows) == adata.n_obs else adata[rows].copy()


WITHOUT_MODEL: Mapping[str, Callable[..., NDArray[Any]]] = {EXPRESSION: components, PRIORS: averaged}
"""Methods that are measured beside every model: `(adata, positions to fit to, prior, seed) -> (n_cells, d)`."""
