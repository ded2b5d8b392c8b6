"""Hyper-parameters: what each may be, checked as values, read as text, and listed.

A configuration is a frozen dataclass below `TrainConfig`. The annotation of a field says everything that its value has
to be, for example `Annotated[int, Field(ge=1)] | None`; pydantic checks it, and messages and listings say it in words.
"""

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError

from genetext.errors import CellsError, ModelError, first_ten

Count = Annotated[int, Field(ge=1)]
"""A whole number of at least 1."""
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
"""From 0 to 1, both included."""
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
_LARGEST = 2**32 - 1
"""Larger whole numbers are no sizes or seeds that torch could take."""
_CHECKED: dict[Any, dict[str, tuple[Any, TypeAdapter[Any]]]] = {}
_LIMITS = {
    "ge": "of at least",
    "gt": "above",
    "le": "of at most",
    "lt": "below",
    "min_length": "of a length of at least",
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Hyper-parameters of training that all models have; the configuration of each model adds its own.

    Attributes
    ----------
    seed
        Of everything random: initial weights, order of cells, dropout, noise.
    epochs
        Passes over the cells, at most.
    batch_size
        Cells in a mini-batch. With several processes each takes mini-batches of this size.
    expression
        What the data hold, for a model of log values: `auto`, counts or log-normalised values, whichever there are;
        `counts`; `log`; or `linear`, amounts that are not whole, such as TPM.
    optimizer
        `adam`, `adamw` or `rmsprop`.
    lr, weight_decay
        Step size, and L2 penalty (`adamw`: decoupled).
    lr_step, lr_gamma
        Multiply `lr` by `lr_gamma` every `lr_step` epochs; None: never.
    max_grad_norm
        Clip gradients to this norm; None: not at all.
    held_out
        Share of the cells kept from training, on which the loss is measured after each epoch; 0: none.
    patience
        Stop after so many epochs without a lower held-out loss (without held-out cells: training loss); None: never.
    selection
        Which epoch's weights are kept: `last`; `loss`, the epoch of the lowest held-out loss (training loss where no
        cells are held out); `oracle`, the epoch whose clusters fit the true labels best, which only serves to compare
        with papers that select so.

    Raises
    ------
    ModelError
        A value is of another type, or out of its range.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    epochs: Count = 100
    batch_size: Count = 256
    expression: Literal["auto", "counts", "linear", "log"] = "auto"
    optimizer: Literal["adam", "adamw", "rmsprop"] = "adam"
    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    lr_step: Count | None = None
    lr_gamma: Positive = 0.5
    max_grad_norm: Positive | None = None
    held_out: ShareBelowOne = 0.0
    patience: Count | None = None
    selection: Literal["last", "loss", "oracle"] = "last"

    def __post_init__(self) -> None:
        """Check every value, and take NumPy scalars and lists for what they hold."""
        for name, (hint, adapter) in _fields(type(self)).items():
            value = getattr(self, name)
            plain = value.item() if isinstance(value, np.generic) else tuple(value) if type(value) is list else value
            try:
                checked = adapter.validate_python(plain, strict=True)
            except ValidationError:
                raise ModelError(f"{name}={value!r}: it has to be {in_words(hint)}") from None
            if isinstance(checked, int) and checked > _LARGEST:
                raise ModelError(f"{name}={value!r}: it has to be {in_words(hint)}, and of at most {_LARGEST:,}")
            object.__setattr__(self, name, checked)

    def plain(self) -> dict[str, Any]:
        """Return the hyper-parameters as values that an h5ad file can hold."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: "none" if value is None else value for name, value in values.items()}


ConfigT = TypeVar("ConfigT", bound=TrainConfig)


def configured(kind: type[TrainConfig], config: ConfigT | None, changes: Mapping[str, Any], *, owner: str) -> ConfigT:
    """Return a configuration, by default that of the class `kind`, with some hyper-parameters changed.

    Raises
    ------
    ModelError
        A hyper-parameter is unknown or out of its range, or `config` is of another class; `owner` names the model.
    """
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise ModelError(f"{owner} has no hyper-parameter {first_ten(unknown)}: it has {', '.join(sorted(known))}")
    if config is not None and not isinstance(config, kind):
        raise ModelError(f"{owner} takes a {kind.__name__} or hyper-parameters by name, not {config!r}")
    return replace(config or cast(ConfigT, kind()), **changes)


def parse(config: type[TrainConfig], pairs: Sequence[str]) -> dict[str, Any]:
    """Read hyper-parameters from text.

    Parameters
    ----------
    config
        The configuration that has them.
    pairs
        `name=value` each; `none` where the field may be None, commas between the values of a tuple.

    Returns
    -------
    Values by name, of the types that the fields have.

    Raises
    ------
    ModelError
        A pair has no `=`, names a hyper-parameter that there is not, or twice, or its value is not allowed.
    """
    known = _fields(config)
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        name = name.replace("-", "_")
        if not equals:
            raise ModelError(f"{pair!r} is no name=value, for example n_latent=64")
        if name not in known:
            raise ModelError(f"there is no hyper-parameter {name!r}: there are {', '.join(sorted(known))}")
        if name in values:
            raise ModelError(f"{name} is given twice: {first_ten([pair for pair in pairs if pair.startswith(name)])}")
        hint, adapter = known[name]
        parts: Any = tuple(text.split(",")) if get_origin(hint) is tuple else text
        nothing = text.lower() == "none" and type(None) in get_args(hint)
        try:
            values[name] = None if nothing else adapter.validate_python(parts)
        except ValidationError:
            raise ModelError(f"{name}={text}: it has to be {in_words(hint)}") from None
    return values


def check_weighting(name: str, top_n: int | None) -> None:
    """Refuse, as a `ModelError`, a weighting of gene vectors that there is not, or that does not go with `top_n`."""
    from genetext.cells.weighting import find

    try:
        find(name, top_n)
    except CellsError as cause:
        raise ModelError(str(cause)) from None


def listing(config: type[TrainConfig], presets: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """List the hyper-parameters of a model, one per row.

    Returns
    -------
    Columns `name`, `type` (in words), `default`, and one per preset, empty where the preset leaves the default.
    """
    default = asdict(config())
    rows = []
    for name, (hint, _) in _fields(config).items():
        changed = {preset: _text(values[name]) if name in values else "" for preset, values in presets.items()}
        rows.append({"name": name, "type": in_words(hint), "default": _text(default[name]), **changed})
    return pd.DataFrame(rows)


def in_words(hint: Any) -> str:
    """Say what a value has to be: `a whole number of at least 1 or none`, `last, loss or oracle`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        limits = [limit for field in arguments[1:] for limit in getattr(field, "metadata", ())]
        spoken = [
            f"{words} {getattr(limit, name):,}"
            for limit in limits
            for name, words in _LIMITS.items()
            if hasattr(limit, name)
        ]
        return " ".join([in_words(arguments[0]), " and ".join(spoken)]).strip()
    if origin is Literal:
        return _or([str(choice) for choice in arguments])
    if origin in (Union, types.UnionType):
        return _or([in_words(choice) for choice in arguments])
    if origin is tuple:
        return f"{len(arguments)} values with a comma between, each {in_words(arguments[0])}"
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    return plain.get(hint, str(hint))


def _fields(config: Any) -> dict[str, tuple[Any, TypeAdapter[Any]]]:
    """Return the annotation of each field, and what checks it."""
    if config not in _CHECKED:
        hints = get_type_hints(config, include_extras=True)
        _CHECKED[config] = {field.name: (hints[field.name], TypeAdapter(hints[field.name])) for field in fields(config)}
    return _CHECKED[config]


def _or(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _text(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)
