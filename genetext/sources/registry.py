"""The sources of text: those of genetext, and those that other distributions add by an entry point."""

import logging
import re
from functools import cache
from importlib.metadata import EntryPoint

from genetext import plugins
from genetext.errors import FetchError, first_ten
from genetext.sources.base import TextSource

_log = logging.getLogger("genetext")

GROUP = "genetext.sources"
"""The group of entry points; each is named as its source and names a subclass of `TextSource`."""

BUILT_IN = {
    "generif": "genetext.sources.generif:GeneRif",
    "uniprot": "genetext.sources.uniprot:UniProt",
    "alliance": "genetext.sources.alliance:Alliance",
    "hpa": "genetext.sources.hpa:ProteinAtlas",
    "asctb": "genetext.sources.asctb:Asctb",
    "markers": "genetext.sources.markers:Markers",
    "reactome": "genetext.sources.reactome:Reactome",
}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_registered: dict[str, type[TextSource]] = {}


def names() -> list[str]:
    """Return the names of all sources, those of genetext first."""
    return [*BUILT_IN, *_registered, *_added()]


def register(source: type[TextSource]) -> type[TextSource]:
    """Add a source for this process; may stand above the class as a decorator.

    Raises
    ------
    FetchError
        The name is taken, or is none.
    """
    _check(source, source.name)
    if source.name in names():
        raise FetchError(f"there is a source of text called {source.name!r}: give this one another name")
    _registered[source.name] = source
    return source


def find(name: str) -> TextSource:
    """Return the source of a name.

    Raises
    ------
    FetchError
        There is none, or what another distribution names for it cannot be used.
    """
    if name in _registered:
        return _registered[name]()
    if name in BUILT_IN:
        source: TextSource = plugins.built_in(BUILT_IN[name])()
        return source
    if name not in _added():
        raise FetchError(f"there is no source of text called {name!r}; known are {first_ten(names())}")
    what = f"the source of text {name!r}"
    # mypy takes an abstract class for no type[...]; nothing is made of it here.
    added = plugins.load(_added()[name], TextSource, what=what, verb="is", error=FetchError)  # type: ignore[type-abstract]
    _check(added, name)
    return added()


def all_sources() -> list[TextSource]:
    """Return every source; one of another distribution that cannot be used is left out, with a warning."""
    sources = []
    for name in names():
        try:
            sources.append(find(name))
        except FetchError as error:
            if name in BUILT_IN:
                raise
            _log.warning("%s; it is left out", error)
    return sources


def _check(source: type[TextSource], name: str) -> None:
    lacking = [part for part in ("name", "title", "licence", "citation", "sections") if not hasattr(source, part)]
    if lacking:
        raise FetchError(f"the source of text {name!r} ({source!r}) says nothing of its {', '.join(lacking)}")
    if source.name != name or not _NAME.fullmatch(name):
        raise FetchError(
            f"a source of text is named by lower-case letters, digits and _, the same in its entry point: {name!r}, "
            f"{source.name!r}"
        )
    if not source.sections:
        raise FetchError(f"the source of text {name!r} has no sections")


@cache
def _added() -> dict[str, EntryPoint]:
    return plugins.added(GROUP, BUILT_IN)
