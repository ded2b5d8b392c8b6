"""A saved model of any kind, read by the class that the registry knows for it."""

from pathlib import Path
from typing import Any

from cellmodels import storage
from cellmodels.base import CellModel
from cellmodels.registry import models
from genetext.errors import ModelError


def load_model(path: str | Path) -> CellModel[Any, Any]:
    """Read a model of any kind from its folder.

    Code is only taken from models that are known (`cellmodels.registry.models`): no class is imported because a folder
    names it.

    Raises
    ------
    ModelError
        It is no folder of a model, or of one that is not known.
    """
    stored = storage.read(Path(path))
    entry = models().get(stored.name)
    if entry is None:
        raise ModelError(
            f"{path} holds a model {stored.name!r} of the class {stored.model}, which is not known here: register the "
            f"class with cellmodels.register, install the distribution that has it, or call load() of the class"
        )
    return entry.load().from_stored(stored, path)
