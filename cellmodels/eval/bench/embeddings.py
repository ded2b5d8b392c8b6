"""Embeddings to be compared: principal components, averaged gene vectors, models; each with a prior or a control."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellmodels import registry
from cellmodels.data.inputs import read_cells
from cellmodels.eval.bench.protocol import EXPRESSION, NONE, PERMUTED, PRIOR, PRIORS, RANDOM, Arm
from cellmodels.groups.pca import principal_components
from genetext.errors import BenchError

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
    """A model by its name in `model_names()`, with hyper-parameters; can be sent to another process."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

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

    def quick(self) -> "Known":
        """Return it smaller and fitted for less long, where the settings say nothing else: no measure of the model."""
        return Known(self.name, {**self.entry.quick, **self.settings})

    def __call__(self, seed: int) -> "CellModel[Any, Any]":
        """Return the model with this seed."""
        fixed = {"held_out": 0.0} if self.labelled else {}
        return self.entry.load()(**{**fixed, **self.settings, "seed": seed})


def fingerprint(make: Make) -> dict[str, Any]:
    """Return what tells a model with its hyper-parameters from another, as JSON values."""
    model = make(0)
    return {"model": f"{type(model).__module__}.{type(model).__qualname__}", "config": asdict(model.config)}


def prior_of(arm: Arm, priors: "GenePriors | None") -> "GenePriors | None":
    """Return the prior of an arm; priors are aligned, so that permutations are among the genes of the data."""
    if priors is None:
        return None
    made = {PRIOR: lambda: priors, PERMUTED: lambda: priors.permuted(arm.draw), RANDOM: lambda: priors.random(arm.seed)}
    return priors.without() if arm.control == NONE else made[arm.control]()


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
        The model, where it is one.
    device
        To train on.

    Returns
    -------
    `(n_cells, d) float64`, centred on the cells fitted to; cells without anything to embed are zeros.
    """
    part = adata if len(fitted_on) == adata.n_obs else adata[fitted_on].copy()
    prior = prior_of(arm, priors)
    if arm.method == EXPRESSION:
        made = principal_components(read_cells(adata, needs="log").matrix, fitted_on=fitted_on)
    elif arm.method == PRIORS:
        made = _averaged(adata, part, prior)
    else:
        from cellmodels.train.loop import Trainer

        assert make is not None
        made = make(arm.seed).fit(part, prior, trainer=Trainer(device=device)).embed(adata)
    values = np.asarray(made, np.float64)
    there = np.flatnonzero(np.isfinite(values).all(axis=1))
    centre = values[np.intersect1d(fitted_on, there)].mean(axis=0)
    centred = np.zeros_like(values)
    centred[there] = values[there] - centre
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
    how = Trainer(device=device)
    model = fit(adata[train].copy(), prior_of(arm, priors), labels=list(labels[train]), trainer=how)
    return np.asarray(model.embed(adata), np.float64)


def _averaged(adata: Any, part: Any, priors: "GenePriors | None") -> NDArray[Any]:
    from genetext.cells import embed as cells
    from genetext.cells import measure_background

    expression = "counts" if _has_counts(adata) else "log"
    background = measure_background(part, expression=expression, threads=1)
    options = cells.Options(weighting=WEIGHTING, expression=expression)
    return cells.embed(cells.Job.of(adata, priors, options, background=background), threads=1).vectors


def _has_counts(adata: Any) -> bool:
    from genetext.errors import CellsError

    try:
        read_cells(adata, needs="counts")
    except CellsError:
        return False
    return True
