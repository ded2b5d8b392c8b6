"""Texts to vectors. Encoders know no genes.

`spec` names an encoder, `load` makes it ready, `available` lists them, `pull` fetches weights. Nothing heavy is
imported before an encoder is loaded.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from genetext.encoders import presets, stack, weights
from genetext.encoders.base import Encoded, Encoder, EncoderSpec
from genetext.encoders.openai import DIMENSIONS, PREFIX, named
from genetext.errors import EncoderError, first_ten

__all__ = ["Encoded", "Encoder", "EncoderSpec", "Row", "available", "load", "pull", "spec", "specs"]

_KINDS = {
    "transformer": ("genetext.encoders.transformer", "TransformerEncoder"),
    "lexical": ("genetext.encoders.lexical", "LexicalEncoder"),
    "openai": ("genetext.encoders.openai", "OpenAIEncoder"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of `genetext encoders`.

    Attributes
    ----------
    name, kind, model
        What is given to `--encoder`; transformer, lexical or openai; hub id or API model.
    dim
        Length of a vector, or None where it depends on options.
    pooling, source
        How tokens become one vector, and where that is documented.
    licence
        Licence of the weights.
    size_mb
        Size of the weights in MB, 0 where there are none.
    present
        Whether it can be used on this machine without a download; None where there is nothing to have.
    note
        What to know before choosing it.
    """

    name: str
    kind: str
    model: str
    dim: int | None
    pooling: str
    source: str
    licence: str
    size_mb: int
    present: bool | None
    note: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return asdict(self)


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
        A preset (`genetext encoders` lists them), a hub id (`org/model`), a local folder, or `openai:<model>` for a
        model of the server at `OPENAI_BASE_URL`. A hub id or folder is read by its own sentence-transformers
        configuration; without one, vectors are the attention-masked mean of the last layer.
    precision
        `auto`, or one of `genetext.encoders.precision.KNOWN`; transformers only.
    long_texts
        `truncate`, `window-mean` or `error`. Default: as the preset says.
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
    found = _found(name)
    changes: dict[str, Any] = {}
    if long_texts is not None and found.kind != "lexical":
        changes["long_texts"] = long_texts
    if dimensions is not None:
        if found.kind != "openai":
            raise EncoderError(f"{name} has no shortened dimensions; reduce the index instead (--post truncate)")
        changes["dimensions"] = dimensions
    if max_tokens is not None:
        if found.kind == "lexical":
            raise EncoderError(f"{name} has no window: leave max_tokens out")
        if found.max_tokens is not None and not 0 < max_tokens <= found.max_tokens:
            raise EncoderError(f"the window of {name} is {found.max_tokens} tokens, {max_tokens} were asked for")
        changes["max_tokens"] = max_tokens
    if options:
        if unknown := sorted(set(options) - set(_options(found))):
            known = ", ".join(_options(found)) or "none"
            raise EncoderError(f"{name} does not have the options {first_ten(unknown)}; known: {known}")
        changes["options"] = {**found.options, **options}
    if found.kind == "transformer":
        from genetext.encoders import precision as precisions

        changes["precision"] = precisions.resolve(precision, device=precisions.devices(device)[0])
        changes["revision"] = weights.revision(found.model, found.revision)
        if found.query_model is not None:
            changes["query_revision"] = weights.revision(found.query_model, found.query_revision)
    return replace(found, **changes)


def specs(names: str, **options: Any) -> list[EncoderSpec]:
    """Name several encoders joined by `+` (`biobert+lexical`), each with the options of `spec` that apply to it."""
    parts = [part.strip() for part in names.split("+")]
    shortened, window, further = (options.pop(name, None) for name in ("dimensions", "max_tokens", "options"))
    if not all(parts) or len(set(parts)) != len(parts):
        raise EncoderError(f"{names!r} is not a list of different encoders joined by '+'")
    plain = [_found(part) for part in parts]
    if shortened is not None and not any(one.kind == "openai" for one in plain):
        raise EncoderError(f"{names} has no shortened dimensions; reduce the index instead (--post truncate)")
    if window is not None and all(one.kind == "lexical" for one in plain):
        raise EncoderError(f"{names} has no window: leave max_tokens out")
    if unknown := sorted(set(further or ()) - {name for one in plain for name in _options(one)}):
        raise EncoderError(f"no encoder of {names} has the options {first_ten(unknown)}")
    return [
        spec(
            part,
            **options,
            dimensions=shortened if one.kind == "openai" else None,
            max_tokens=window if one.kind != "lexical" else None,
            options={name: value for name, value in (further or {}).items() if name in _options(one)},
        )
        for part, one in zip(parts, plain, strict=True)
    ]


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
    if spec.kind not in _KINDS:
        raise EncoderError(f"encoders of kind {spec.kind!r} are unknown: {', '.join(_KINDS)}")
    known = {kind: set(signature(_maker(kind)).parameters) - {"spec"} for kind in _KINDS}
    if unknown := sorted(set(options) - set().union(*known.values())):
        raise EncoderError(f"no encoder has the options {first_ten(unknown)}")
    taken = {name: value for name, value in options.items() if name in known[spec.kind]}
    encoder: Encoder = _maker(spec.kind)(spec, **taken)
    return encoder


def available() -> list[Row]:
    """List every preset, and whether its weights are on this machine. Asks no network."""
    rows = []
    for name, found in _presets().items():
        preset = presets.PRESETS.get(name)
        rows.append(
            Row(
                name=name,
                kind=found.kind,
                model=found.model,
                dim=preset.dim if preset else _dimensions(found),
                pooling=found.pooling,
                source=preset.source if preset else "",
                licence=preset.licence if preset else "",
                size_mb=preset.size_mb if preset else 0,
                present=_present(found) if preset else None,
                note=preset.note if preset else _note(found),
            )
        )
    return rows


def pull(name: str) -> Path:
    """Download the weights of an encoder (and of its query encoder) into the hub's cache; return the folder.

    What is pinned and on this machine already is checked and not fetched again.

    Raises
    ------
    MissingWeights
        The hub cannot be reached or does not have them.
    EncoderError
        The encoder has no weights to fetch.
    """
    found = _presets().get(name) or (_found(name) if name.startswith(PREFIX) else None)
    found = found or EncoderSpec(kind="transformer", model=name)
    if found.kind != "transformer" or weights.is_local(found.model):
        raise EncoderError(f"{name} has no weights on the hub to fetch")
    if "/" not in found.model:
        raise EncoderError(f"encoder {name!r} is unknown: give a preset or a hub id (org/model)")
    if found.query_model is not None:
        weights.pull(found.query_model, found.query_revision)
    here = weights.find(found.model, found.revision) if found.revision is not None else None
    if here is not None:  # exactly these weights came as a package, or were pulled before
        weights.check(here)
        return here.folder
    return weights.pull(found.model, found.revision).folder


def _maker(kind: str) -> Any:
    module, name = _KINDS[kind]
    return getattr(import_module(module), name)


def _presets() -> dict[str, EncoderSpec]:
    """Every preset's spec by name; kinds are small modules that import nothing heavy."""
    found = {name: preset.spec for name, preset in presets.PRESETS.items()}
    for kind in ("lexical", "openai"):
        found.update(import_module(_KINDS[kind][0]).PRESETS)
    return found


def _found(name: str) -> EncoderSpec:
    """Return the spec that a name stands for, before any option."""
    if name.startswith(PREFIX):
        return named(name.removeprefix(PREFIX))
    return _presets().get(name) or _from_configuration(name)


def _options(found: EncoderSpec) -> tuple[str, ...]:
    """Names of the options that decide the vectors of an encoder of this kind."""
    if found.kind == "transformer":
        return () if found.query_model is None else ("query_max_tokens",)
    if found.model in DIMENSIONS:
        return ()
    return tuple(import_module(_KINDS[found.kind][0]).OPTIONS)


def _from_configuration(name: str) -> EncoderSpec:
    if not weights.is_local(name) and "/" not in name:
        raise EncoderError(
            f"encoder {name!r} is unknown: give a preset ({first_ten(list(_presets()))}), a hub id (org/model), "
            f"a local folder, or {PREFIX}<model> for a model of the server at OPENAI_BASE_URL"
        )
    found = weights.configuration(name, None)
    recipe = stack.recipe(found.folder)
    return EncoderSpec(
        kind="transformer",
        model=str(found.folder) if weights.is_local(name) else name,
        revision=found.revision,
        pooling=recipe.pooling,
        normalize=recipe.normalize,
        max_tokens=recipe.max_tokens,
        prefix=recipe.prefix,
        query_prefix=recipe.query_prefix,
    )


def _dimensions(found: EncoderSpec) -> int | None:
    """Length of the vectors of a preset that is no transformer."""
    full: Mapping[str, int] = getattr(import_module(_KINDS[found.kind][0]), "DIMENSIONS", {})
    return found.dimensions or full.get(found.model) or found.options.get("dims")


def _note(found: EncoderSpec) -> str:
    """Say what to know of a preset that is no transformer."""
    if found.kind == "lexical":
        return "fitted on the texts of each index; dim is the most it has, fewer where texts are few"
    return "paid for by the token" + ("" if found.model == "text-embedding-ada-002" else "; dim can be shortened")


def _present(found: EncoderSpec) -> bool:
    models = [(found.model, found.revision)]
    if found.query_model is not None:
        models.append((found.query_model, found.query_revision))
    return all(weights.find(model, revision) is not None for model, revision in models)
