"""The kinds of encoders: those of genetext, and those that other distributions add by an entry point."""

import logging
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint

from genetext import plugins
from genetext.encoders.base import Encoder, EncoderSpec, Preset
from genetext.errors import EncoderError, first_ten

_log = logging.getLogger("genetext")

GROUP = "genetext.encoders"
"""The group of entry points; each is named as its kind and names a subclass of `Encoder`."""

BUILT_IN = {
    "transformer": "genetext.encoders.transformer.encoder:TransformerEncoder",
    "lexical": "genetext.encoders.lexical:LexicalEncoder",
    "openai": "genetext.encoders.openai.encoder:OpenAIEncoder",
}


def names() -> list[str]:
    """Return the names of all kinds, those of genetext first."""
    return [*BUILT_IN, *_added()]


@cache
def encoder_class(kind: str) -> type[Encoder]:
    """Return the class of a kind.

    Raises
    ------
    EncoderError
        The kind is unknown, or what another distribution names for it cannot be used.
    """
    if kind in BUILT_IN:
        built_in: type[Encoder] = plugins.built_in(BUILT_IN[kind])
        return built_in
    if kind not in _added():
        raise EncoderError(f"encoders of kind {kind!r} are unknown: {first_ten(names())}")
    what = f"the encoders of kind {kind!r}"
    # mypy takes an abstract class for no type[...]; nothing is made of it here.
    return plugins.load(_added()[kind], Encoder, what=what, verb="are", error=EncoderError)  # type: ignore[type-abstract]


def presets() -> Iterator[Preset]:
    """Give every encoder that has a name; a distribution whose kind cannot be loaded is left out, with a warning."""
    for kind in names():
        try:
            yield from encoder_class(kind).presets()
        except EncoderError as error:
            if kind in BUILT_IN:
                raise
            _log.warning("%s; it is left out", error)


def find(name: str) -> EncoderSpec | None:
    """Return the spec of a preset or of `<kind>:<model>`; None for other names."""
    kind, colon, model = name.partition(":")
    if colon and kind in names():
        return encoder_class(kind).named(model)
    return next((preset.spec for preset in presets() if preset.name == name), None)


@cache
def _added() -> dict[str, EntryPoint]:
    return plugins.added(GROUP, BUILT_IN)
