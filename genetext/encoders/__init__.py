"""Texts to vectors. Encoders know no genes.

`spec` names an encoder, `load` makes it ready, `available` lists them, `pull` fetches weights. Nothing heavy is
imported before an encoder is loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

from genetext.encoders import registry
from genetext.encoders.base import Cost, Encoded, Encoder, EncoderSpec, Preset
from genetext.errors import EncoderError, first_ten

__all__ = ["Cost", "Encoded", "Encoder", "EncoderSpec", "Preset", "Row", "available", "load", "pull", "spec", "specs"]

_FIELDS = {field.name for field in fields(EncoderSpec)}
_WITHOUT = {
    "dimensions": "no shortened dimensions; reduce the index instead (--post truncate)",
    "max_tokens": "no window: leave max_tokens out",
}


@dataclass(frozen=True, kw_only=True)
class Row(Preset):
    """One line of `genetext encoders`: a preset, and whether it is `present` (see `Encoder.present`)."""

    present: bool | None

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "spec"}
        return {**plain, "kind": self.spec.kind, "model": self.spec.model, "pooling": self.spec.pooling}


def spec(
    name: str,
    *,
    precision: str = "auto",
    long_texts: str | None = None,
    dimensions: int | None = None,
    max_tokens: int | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> EncoderSpec:
    """Name an encoder, its revision and precision resolved; weights are neither read nor downloaded.

    Where weights are absent and the hub cannot be asked, the revision stays None and `load` raises `MissingWeights`.

    Parameters
    ----------
    name
        A preset (`genetext encoders` lists them), a hub id (`org/model`), a local folder, or `<kind>:<model>`, such as
        `openai:<model>` for a model of the server at `OPENAI_BASE_URL`. A hub id or folder is read by its own
        sentence-transformers configuration; without one, vectors are the attention-masked mean of the last layer.
    precision
        `auto`, or one of `genetext.encoders.transformer.precision.KNOWN`; transformers only.
    long_texts
        `truncate`, `window-mean` or `error`. Default: as the preset says. `lexical` reads all.
    dimensions
        Shortened output dimension, where the model has it (OpenAI v3).
    max_tokens
        A smaller window than the model's own; not for `lexical`, which has none.
    options
        Further options of the kind, over the preset's. lexical: those of `genetext.encoders.lexical.OPTIONS`; openai:
        `dim`, the length of the vectors of a model that genetext does not know; transformers with a query model:
        `query_max_tokens`.
    device
        Where it will run, for `precision="auto"`.

    Raises
    ------
    EncoderError
        The name, precision or an option is unknown.
    MissingWeights
        A hub id whose configuration is neither on this machine nor to be had.
    """
    asked = {"precision": precision, "long_texts": long_texts, "dimensions": dimensions, "max_tokens": max_tokens}
    return _resolved([name], name, asked, options or {}, device)[0]


def specs(
    names: str, *, options: Mapping[str, Any] | None = None, device: str = "auto", **choices: Any
) -> list[EncoderSpec]:
    """Name several encoders joined by `+` (`biobert+lexical`), each with the options of `spec` that apply to it."""
    parts = [part.strip() for part in names.split("+")]
    if not all(parts) or len(set(parts)) != len(parts):
        raise EncoderError(f"{names!r} is not a list of different encoders joined by '+'")
    return _resolved(parts, names, choices, options or {}, device)


def _resolved(
    parts: Sequence[str], names: str, asked: Mapping[str, Any], options: Mapping[str, Any], device: str
) -> list[EncoderSpec]:
    """Return a spec for each part with what was asked for, as far as it has that; what none of them has is refused."""
    plain = [registry.find(part) or registry.encoder_class("transformer").named(part) for part in parts]
    known = [registry.encoder_class(spec.kind).options(spec) for spec in plain]
    together = list(dict.fromkeys(option for of_part in known for option in of_part))
    for option, refusal in _WITHOUT.items():
        if asked.get(option) is not None and option not in together:
            raise EncoderError(f"{names} has {refusal}")
    further = [option for option in together if option not in _FIELDS]
    if unknown := sorted(set(options) - set(further)):
        known_names = ", ".join(further) or "none"
        raise EncoderError(f"{names} does not have the options {first_ten(unknown)}; known: {known_names}")
    resolved = []
    for part, spec, of_part in zip(parts, plain, known, strict=True):
        changes = {option: value for option, value in asked.items() if value is not None and option in of_part}
        window = changes.get("max_tokens", 1)
        if spec.max_tokens is not None and not 0 < window <= spec.max_tokens:
            raise EncoderError(f"the window of {part} is {spec.max_tokens} tokens, {window} were asked for")
        if of_kind := {option: value for option, value in options.items() if option in of_part}:
            changes["options"] = {**spec.options, **of_kind}
        resolved.append(registry.encoder_class(spec.kind).resolve(replace(spec, **changes), device=device))
    return resolved


def load(spec: EncoderSpec, **options: Any) -> Encoder:
    """Make an encoder ready; its `spec` has revision and precision resolved. Weights are read at the first text.

    Parameters
    ----------
    spec
        From `spec`, or read from an index.
    **options
        `device` (`auto`, `cpu`, `cuda`, `cuda:1`, or several: `cuda:0,cuda:1`; `cpu,cpu` for two processes) and
        `threads` for transformers, `concurrency` and the like for APIs: each kind takes those that it knows, so that
        joined encoders can be loaded with one set.

    Raises
    ------
    MissingWeights
        The weights are not on this machine and the hub does not give them.
    EncoderError
        The kind or an option is unknown to every encoder, or the weights are not the ones that the spec names.
    """
    cls = registry.encoder_class(spec.kind)
    known = _runtime_options(cls)
    if not set(options) <= known:
        every = known.union(*(_runtime_options(registry.encoder_class(kind)) for kind in registry.BUILT_IN))
        if unknown := sorted(set(options) - every):
            raise EncoderError(f"no encoder has the options {first_ten(unknown)}")
    encoder: Encoder = cls(spec, **{name: value for name, value in options.items() if name in known})  # type: ignore[call-arg]
    return encoder


def available() -> list[Row]:
    """List every preset, and whether its weights are on this machine. Asks no network."""
    return [
        Row(**vars(preset), present=registry.encoder_class(preset.spec.kind).present(preset.spec))
        for preset in registry.presets()
    ]


def pull(name: str) -> Path:
    """Download the weights of an encoder (and of its query encoder) into the hub's cache; return the folder.

    What is pinned and on this machine already is checked and not fetched again. Raises as `Encoder.pull` does.
    """
    plain = registry.find(name) or EncoderSpec(kind="transformer", model=name)
    return registry.encoder_class(plain.kind).pull(plain)


def _runtime_options(cls: type[Encoder]) -> set[str]:
    return set(signature(cls).parameters) - {"spec"}
