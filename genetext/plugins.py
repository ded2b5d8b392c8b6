"""Classes by name: those of genetext, and those that other distributions add by an entry point."""

from collections.abc import Collection
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from genetext.errors import GenetextError

T = TypeVar("T")


def added(group: str, taken: Collection[str]) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, but for names that are taken."""
    return {point.name: point for point in entry_points(group=group) if point.name not in taken}


def built_in(target: str) -> Any:
    """Return what `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def load(point: EntryPoint, base: type[T], *, what: str, verb: str, error: type[GenetextError]) -> type[T]:
    """Return the subclass of `base` that an entry point names.

    Parameters
    ----------
    point
        Of another distribution.
    base
        What it has to be a subclass of; the package that its module is in exports it.
    what, verb
        What it is called in messages, and whether that `is` or `are`.
    error
        What to raise.

    Raises
    ------
    error
        It cannot be loaded, or is something else.
    """
    by = f"{what} ({point.value}, of the distribution {point.dist.name if point.dist else '?'})"
    try:
        loaded = point.load()
    except Exception as cause:  # it raises whatever the module of somebody else does
        raise error(f"{by} cannot be loaded: {type(cause).__name__}: {cause}") from cause
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        public = f"{base.__module__.rpartition('.')[0]}.{base.__name__}"
        raise error(f"{by} {verb} no subclass of {public}, but {loaded!r}")
    return loaded
