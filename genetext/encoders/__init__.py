"""Texts to vectors. Encoders know no genes.

`spec` names an encoder, `load` makes it ready, `available` lists them, `pull` fetches weights. Nothing heavy is
imported before an encoder is loaded.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any

from genetext.encoders import presets, stack, weights
from genetext.encoders.base import Encoded, Encoder, EncoderSpec
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
    """Name an encoder.

    Parameters
    ----------
    name
        A preset (`genetext encoders` lists them), a hub id (`org/model`) or a local folder. A hub id or folder is read
        by its own sentence-transformers configuration; without one, vectors are the attention-masked mean of the
        last layer.
    precision
        `auto`, `float32`, `bfloat16`, `float16` (GPU), `bfloat16/openvino`; transformers only.
    long_texts
        `truncate`, `window-mean` or `error`. Default: as the preset says.
    dimensions
        Shortened output dimension, where the model has it (OpenAI v3).
    max_tokens
        A smaller window than the model's own.
    options
        Further options of the kind (lexical: n-grams, SVD size ...), over the preset's.
    device
        Where it will run, for `precision="auto"`.

    Raises
    ------
    EncoderError
        The name, precision or an option is unknown.
    MissingWeights
        A hub id whose configuration is neither on this machine nor to be had.
    """
    found = _presets().get(name) or _from_configuration(name)
    changes: dict[str, Any] = {}
    if long_texts is not None:
        changes["long_texts"] = long_texts
    if dimensions is not None:
        if found.kind != "openai":
            raise EncoderError(f"{name} has no shortened dimensions; reduce the index instead (--post truncate)")
        changes["dimensions"] = dimensions
    if max_tokens is not None:
        if found.max_tokens is not None and not 0 < max_tokens <= found.max_tokens:
            raise EncoderError(f"the window of {name} is {found.max_tokens} tokens, {max_tokens} were asked for")
        changes["max_tokens"] = max_tokens
    if options:
        changes["options"] = {**found.options, **options}
    if found.kind == "transformer":
        from genetext.encoders import precision as precisions

        changes["precision"] = precisions.resolve(precision, device=precisions.devices(device)[0])
    return replace(found, **changes)


def specs(names: str, **options: Any) -> list[EncoderSpec]:
    """Name several encoders joined by `+` (`biobert+lexical`), each with the options of `spec` that apply to it."""
    parts = [part.strip() for part in names.split("+")]
    if not all(parts) or len(set(parts)) != len(parts):
        raise EncoderError(f"{names!r} is not a list of different encoders joined by '+'")
    return [spec(part, **options) for part in parts]


def load(spec: EncoderSpec, *, device: str = "auto", threads: int | None = None) -> Encoder:
    """Make an encoder ready; its `spec` has revision and precision resolved. Weights are read at the first text.

    Parameters
    ----------
    spec
        From `spec`, or read from an index.
    device
        `auto`, `cpu`, `cuda`, `cuda:1`, or several (`cuda:0,cuda:1`; `cpu,cpu` for two processes).
    threads
        Threads of the arithmetic on one device. Default: as torch is set.
    """
    if spec.kind not in _KINDS:
        raise EncoderError(f"encoders of kind {spec.kind!r} are unknown: {', '.join(_KINDS)}")
    module, name = _KINDS[spec.kind]
    maker = getattr(import_module(module), name)
    encoder: Encoder = maker(spec, device=device, threads=threads) if spec.kind == "transformer" else maker(spec)
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
                dim=preset.dim if preset else found.dimensions,
                pooling=found.pooling,
                source=preset.source if preset else "",
                licence=preset.licence if preset else "",
                size_mb=preset.size_mb if preset else 0,
                present=_present(found) if preset else None,
                note=preset.note if preset else "",
            )
        )
    return rows


def pull(name: str) -> EncoderSpec:
    """Download the weights of an encoder (and of its query encoder) into the hub's cache; return the resolved spec."""
    found = _presets().get(name)
    if found is None:
        found = EncoderSpec(kind="transformer", model=name)
    if found.kind != "transformer":
        raise EncoderError(f"{name} has no weights to fetch")
    if weights.is_local(found.model):
        raise EncoderError(f"{name} is a local folder: nothing to fetch")
    changes: dict[str, Any] = {"revision": weights.pull(found.model, found.revision).revision}
    if found.query_model is not None:
        changes["query_revision"] = weights.pull(found.query_model, found.query_revision).revision
    return replace(found, **changes) if name in _presets() else spec(name)


def _presets() -> dict[str, EncoderSpec]:
    """Every preset's spec by name; kinds are small modules that import nothing heavy."""
    found = {name: preset.spec for name, preset in presets.PRESETS.items()}
    for kind in ("lexical", "openai"):
        try:
            found.update(import_module(_KINDS[kind][0]).PRESETS)
        except (ModuleNotFoundError, AttributeError):
            continue
    return found


def _from_configuration(name: str) -> EncoderSpec:
    if not weights.is_local(name) and "/" not in name:
        raise EncoderError(
            f"encoder {name!r} is unknown: give a preset ({first_ten(list(_presets()))}), a hub id (org/model) or a "
            f"local folder"
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


def _present(found: EncoderSpec) -> bool:
    models = [(found.model, found.revision)]
    if found.query_model is not None:
        models.append((found.query_model, found.query_revision))
    return all(weights.find(model, revision) is not None for model, revision in models)
