"""Every kind of task of `bench genes`: those of genetext, and those that other distributions add by an entry point."""

from functools import cache
from importlib.metadata import entry_points

from genetext.bench.kinds import TaskKind
from genetext.bench.terms import TERMS
from genetext.errors import BenchError, first_ten

GROUP = "genetext.bench_tasks"
"""The group of entry points; each is named as its kind and names a `TaskKind`."""

KINDS = {kind.name: kind for kind in (TERMS,)}


@cache
def find(name: str) -> TaskKind:
    """Return a kind by its name.

    Raises
    ------
    BenchError
        It is unknown, or what another distribution names for it is no kind of this name.
    """
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name in KINDS:
        return KINDS[name]
    if name not in points:
        raise BenchError(f"tasks of kind {name!r} are unknown: {first_ten([*KINDS, *sorted(points)])}")
    try:
        kind = points[name].load()
    except Exception as error:  # it raises whatever the module of somebody else does
        raise BenchError(f"{points[name].value}, tasks of kind {name!r}, cannot be loaded: {error}") from error
    if not isinstance(kind, TaskKind) or kind.name != name:
        raise BenchError(f"{points[name].value} is no TaskKind with the name {name!r}, but {kind!r:.80}")
    return kind
