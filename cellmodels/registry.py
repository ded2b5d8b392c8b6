"""Which models there are: those of this package, those of other distributions, and those registered by a program.

A model of this package is one entry of `BUILT_IN`. Another distribution names its own in its `pyproject.toml`:

    [project.entry-points."cellmodels.models"]
    toy = "toymodels:MODEL"

where `MODEL` is a `ModelEntry` in a module that is quick to import, or the class itself (then help loads it). A script
or notebook registers its class by `cellmodels.register`. `genetext fit`, `apply`, `bench cells` and `load_model` know
all of them.
"""

import importlib
import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from genetext.errors import ModelError, first_ten

if TYPE_CHECKING:
    from cellmodels.base import CellModel

ModelT = TypeVar("ModelT", bound="type[CellModel[Any, Any]]")
log = logging.getLogger("genetext")
GROUP = "cellmodels.models"
"""The entry point group."""


@dataclass(frozen=True)
class FitOption:
    """An argument of a model's `fit` that the command line offers too; its value is text.

    Attributes
    ----------
    name
        Of the argument; on the command line `--name`.
    help
        One sentence.
    short
        Another way to write it, such as `-l`.
    nullable
        Whether `none` means None.
    """

    name: str
    help: str
    short: str | None = None
    nullable: bool = False


@dataclass(frozen=True)
class ModelEntry:
    """What is known of a model without loading it.

    Attributes
    ----------
    name
        Of the command `genetext fit NAME`, and of the AnnData keys; the `name` of the class.
    target
        Where the class is: `module:class`.
    summary
        What it does, one sentence for the help.
    options
        Arguments of its `fit` beside those that all models have. One named `labels` says that it can learn from labels.
    quick
        Hyper-parameters that take seconds on some hundreds of cells, for `bench cells --quick`.
    """

    name: str
    target: str
    summary: str = ""
    options: tuple[FitOption, ...] = ()
    quick: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: "type[CellModel[Any, Any]]", options: tuple[FitOption, ...] = ()) -> "ModelEntry":
        """Describe a class by its name and the first line of its docstring."""
        if not isinstance(getattr(model, "name", None), str):
            raise ModelError(f"{model!r} is no CellModel with a name")
        summary = (inspect.getdoc(model) or "").partition("\n")[0]
        return cls(model.name, f"{model.__module__}:{model.__qualname__}", summary, options)

    @property
    def learns_labels(self) -> bool:
        """Whether its `fit` takes labels."""
        return any(option.name == "labels" for option in self.options)

    def load(self) -> "type[CellModel[Any, Any]]":
        """Return the class.

        Raises
        ------
        ModelError
            It cannot be imported, or is no `CellModel` of this name.
        """
        if self.name in _REGISTERED and _REGISTERED[self.name][0] == self:
            return _REGISTERED[self.name][1]
        from cellmodels.base import CellModel

        module, _, qualname = self.target.partition(":")
        try:
            model: Any = importlib.import_module(module)
            for part in qualname.split("."):
                model = getattr(model, part)
        except (ImportError, AttributeError, ValueError) as cause:
            raise ModelError(f"the model {self.name!r} cannot be loaded from {self.target!r}: {cause}") from cause
        if not (isinstance(model, type) and issubclass(model, CellModel) and model.name == self.name):
            raise ModelError(f"{self.target!r} is no CellModel with the name {self.name!r}")
        return model


BUILT_IN = (
    ModelEntry(
        "contrastive",
        "cellmodels.contrastive:ContrastiveModel",
        "Learn cells by contrast from gene text, expression, or both; label others.",
        options=(FitOption("labels", "Column of obs to learn from.", short="-l"),),
        quick={"epochs": 20, "n_genes": 1000, "n_hidden": 128, "n_latent": 32},
    ),
    ModelEntry(
        "topic",
        "cellmodels.topic:TopicModel",
        "Learn topics of cells that are points among the gene texts.",
        options=(FitOption("view", "What topics are to agree with: prior, a key of obsm, or none.", nullable=True),),
        quick={"epochs": 80, "n_genes": 1000, "n_topics": 20, "n_hidden": 100, "n_embedding": 64, "lr_step": 20},
    ),
    ModelEntry(
        "refinement",
        "cellmodels.refinement:RefinementModel",
        "Learn clusters of cells from two views and a graph of genes.",
        quick={"n_genes": 1000, "n_hidden": 128, "n_gene_features": 64},
    ),
)
_REGISTERED: "dict[str, tuple[ModelEntry, type[CellModel[Any, Any]]]]" = {}


def models() -> dict[str, ModelEntry]:
    """Return every model by name: of this package, then of other distributions, then registered ones.

    An entry point that cannot be loaded, or whose name is taken, is left out with a warning.
    """
    entries = {entry.name: entry for entry in BUILT_IN}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        try:
            target = point.load()
            entry = target if isinstance(target, ModelEntry) else ModelEntry.of(target)
        except Exception as cause:  # whatever the code of another distribution raises
            log.warning("the model %r of %s cannot be loaded and is left out: %s", point.name, point.value, cause)
            continue
        if entry.name in entries:
            first = entries[entry.name]
            log.warning("%s is left out: %s has the name %r already", entry.target, first.target, entry.name)
            continue
        entries[entry.name] = entry
    return {**entries, **{name: entry for name, (entry, _) in _REGISTERED.items()}}


def find(name: str) -> ModelEntry:
    """Return a model by name.

    Raises
    ------
    ModelError
        There is none of this name.
    """
    entries = models()
    if name not in entries:
        raise ModelError(f"there is no model {name!r}: there are {first_ten([*entries])}")
    return entries[name]


def register(model: ModelT, *options: FitOption) -> ModelT:
    """Make a class known to `load_model` and the benchmarks; usable as a decorator.

    Parameters
    ----------
    model
        A `CellModel`.
    *options
        Arguments of its `fit` beside those that all models have.

    Raises
    ------
    ModelError
        Another model has its name.

    Examples
    --------
    >>> @register  # doctest: +SKIP
    ... class MyModel(CellModel[MyConfig, MyState]):
    ...     name = "mine"
    """
    entry = ModelEntry.of(model, options)
    other = models().get(model.name)
    # The same class may be defined anew: a cell of a notebook that ran again.
    if other is not None and (model.name not in _REGISTERED or other.target != entry.target):
        raise ModelError(f"there is a model {model.name!r} already, {other.target}: give {entry.target} another name")
    _REGISTERED[model.name] = (entry, model)
    return model
