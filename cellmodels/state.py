"""What a model keeps beside its weights: a frozen dataclass, taken apart for the disk and put together again.

Arrays go to a file of arrays, everything else is JSON. Fields may be NumPy arrays, CSR matrices, other dataclasses,
whatever JSON has, and any of these or None.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from scipy import sparse

from genetext.errors import ModelError

Arrays = dict[str, NDArray[Any]]
StateT = TypeVar("StateT")


@dataclass(frozen=True, eq=False, kw_only=True)
class NoState:
    """Of a model that needs its weights and genes only."""


def take_apart(state: Any) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays of a state and its JSON values, each under the path of its field, `classifier.codes`.

    Raises
    ------
    ModelError
        A value is not of the type that the dataclass says, or of one that `put_together` could not read again.
    """
    arrays: Arrays = {}
    values: dict[str, Any] = {}
    for path, value in _leaves(state):
        if isinstance(value, np.ndarray):
            arrays[path] = value
        else:
            values[path] = value
    put_together(type(state), arrays, values)
    return arrays, values


def put_together(kind: type[StateT], arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> StateT:
    """Return the state that was taken apart.

    Parameters
    ----------
    kind
        The dataclass.
    arrays, values
        From `take_apart`.

    Raises
    ------
    ModelError
        A field is missing, unknown, or of another type than the dataclass says.
    """
    given = {**values, **arrays}
    state = _build(kind, given, "")
    if given:
        raise ModelError(f"{kind.__name__} has no {', '.join(sorted(map(str, given))[:10])}")
    return state


def _leaves(state: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in fields(state):
        path, value = f"{prefix}{field.name}", getattr(state, field.name)
        if is_dataclass(value):
            leaves = list(_leaves(value, f"{path}."))
            yield from leaves or [(path, {})]  # where every field is None, that it is there
        elif sparse.issparse(value):
            for part in ("data", "indices", "indptr"):
                yield f"{path}.{part}", getattr(value, part)
            yield f"{path}.shape", list(value.shape)
        elif value is not None:
            yield path, value


def _build(kind: type[StateT], given: dict[str, Any], prefix: str) -> StateT:
    """Take the fields of a dataclass out of `given`."""
    hints = get_type_hints(kind, include_extras=True)
    return kind(
        **{field.name: _value(hints[field.name], given, f"{prefix}{field.name}") for field in fields(cast(Any, kind))}
    )


def _value(hint: Any, given: dict[str, Any], path: str) -> Any:
    inside = [name for name in given if name == path or name.startswith(f"{path}.")]
    optional = type(None) in get_args(hint)
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] if optional else [hint]
    kind = kinds[0] if len(kinds) == 1 else hint
    if not inside:
        if optional:
            return None
        raise ModelError(f"{path} is missing")
    if is_dataclass(kind):
        given.pop(path, None)
        return _build(cast(type[Any], kind), given, f"{path}.")
    try:
        if kind is sparse.csr_matrix:
            data, indices, indptr, shape = (
                given.pop(f"{path}.{part}") for part in ("data", "indices", "indptr", "shape")
            )
            matrix = sparse.csr_matrix((data, indices, indptr), shape=tuple(shape))
            matrix.check_format(full_check=True)
            return matrix
        value = given.pop(path)
        if get_origin(kind) is np.ndarray:
            (dtype,) = get_args(get_args(kind)[1])
            if not isinstance(value, np.ndarray) or not (dtype is Any or value.dtype == dtype):
                raise ModelError(f"{path} is {_named(value)}, not an array of {getattr(dtype, '__name__', dtype)}")
            return value
        return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except (ValidationError, PydanticUserError, ValueError, TypeError, KeyError) as cause:
        if isinstance(cause, ModelError):
            raise
        raise ModelError(f"{path} is not {getattr(kind, '__name__', kind)}: {str(cause).splitlines()[0]}") from cause


def _named(value: Any) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else repr(value)[:40]
