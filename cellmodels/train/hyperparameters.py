"""Hyper-parameters as text: read from `name=value`, and listed with their types, defaults and presets."""

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pandas as pd

from cellmodels.base import CellModel
from cellmodels.train.loop import Schedule
from genetext.errors import ModelError, first_ten

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse(config: type[Schedule], pairs: Sequence[str]) -> dict[str, Any]:
    """Read hyper-parameters.

    Parameters
    ----------
    config
        The dataclass that has them.
    pairs
        `name=value` each; `none` where the field may be None, commas between the values of a tuple.

    Returns
    -------
    Values by name, of the types that the dataclass says.

    Raises
    ------
    ModelError
        A pair has no `=`, names a hyper-parameter that there is not, or twice, or its value is of another type.
    """
    hints = _hints(config)
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ModelError(f"{pair!r} is no name=value, for example n_latent=64")
        if name not in hints:
            raise ModelError(f"there is no hyper-parameter {name!r}: there are {', '.join(sorted(hints))}")
        if name in found:
            raise ModelError(f"{name} is given twice: {first_ten([one for one in pairs if one.startswith(name)])}")
        try:
            found[name] = _value(hints[name], text.strip())
        except ValueError:
            raise ModelError(f"{name}={text.strip()!r}: it has to be {words(hints[name])}") from None
    return found


def listing(model: type[CellModel[Any]]) -> pd.DataFrame:
    """Return the hyper-parameters of a model: `name`, `type`, `default`, and the value in each preset.

    Presets have an empty field where they leave the default.
    """
    hints, default = _hints(model.Config), asdict(model.Config())
    rows = []
    for name, hint in hints.items():
        presets = {preset: _shown(values[name]) if name in values else "" for preset, values in model.presets.items()}
        rows.append({"name": name, "type": words(hint), "default": _shown(default[name]), **presets})
    return pd.DataFrame(rows)


def plain(model: type[CellModel[Any]]) -> dict[str, Any]:
    """Return the defaults and presets of a model as JSON values."""
    presets: Mapping[str, Mapping[str, Any]] = model.presets
    return {"default": asdict(model.Config()), "presets": {name: dict(values) for name, values in presets.items()}}


def words(hint: Any) -> str:
    """Say a type in words: `int`, `number or none`, `last, loss or oracle`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _or([str(one) for one in arguments])
    if origin in (Union, types.UnionType):
        return _or([words(one) for one in arguments])
    if origin is tuple:
        return f"{words(arguments[0])}s with commas between"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}.get(
        hint, str(hint)
    )


def _hints(config: type[Schedule]) -> dict[str, Any]:
    hints = get_type_hints(config)
    return {field.name: hints[field.name] for field in fields(config)}


def _value(hint: Any, text: str) -> Any:
    """Return `text` as the type says; ValueError where it is none."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {str(one): one for one in arguments}[text] if text in map(str, arguments) else _refuse(text)
    if origin in (Union, types.UnionType):
        for one in sorted(arguments, key=lambda one: one is str):  # any text is a str: that last
            try:
                return _value(one, text)
            except ValueError:
                continue
        return _refuse(text)
    if origin is tuple:
        return tuple(_value(arguments[0], part.strip()) for part in text.split(",") if part.strip())
    if hint is type(None):
        return None if text.lower() == "none" else _refuse(text)
    if hint is bool:
        return _TRUTH[text.lower()] if text.lower() in _TRUTH else _refuse(text)
    return hint(text)


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _or(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _shown(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)
