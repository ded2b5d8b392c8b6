"""What runs over token ids: a transformer, its pooling, and whatever a sentence-transformers folder puts after it."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genetext.encoders.base import EncoderSpec
from genetext.encoders.presets import PRESETS
from genetext.errors import EncoderError

_POOLINGS = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
_LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Classes of torch, by name. Not every release of sentence-transformers looks at what a Dense module names before it
# imports and calls it.
_ACTIVATION = re.compile(r"torch\.nn\.(modules\.[a-z_]+\.)?[A-Z]\w*")
_MODULE = re.compile(r"sentence_transformers\.(\w+\.)*\w+")
_SEVERAL_ROUTES = ("Router", "Asym")
_AFTER = ("Pooling", "Dense", "Normalize", "LayerNorm", "Dropout", "CNN")
_DOCUMENT, _QUERY = ("document", "passage", "corpus"), ("query",)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a folder's own configuration turns token vectors into one vector.

    Attributes
    ----------
    pooling
        `mean`, `cls`, `last`, or `none` where sentence-transformers' own modules do it.
    normalize
        Whether the vectors have unit length.
    max_tokens
        Window in tokens, special tokens included, or None.
    prefix, query_prefix
        Put before gene texts and queries.
    """

    pooling: str = "mean"
    normalize: bool = False
    max_tokens: int | None = None
    prefix: str = ""
    query_prefix: str = ""


def recipe(folder: Path) -> Recipe:
    """Read a folder's sentence-transformers configuration; without one: the attention-masked mean.

    Raises
    ------
    EncoderError
        The configuration cannot be read, needs code that did not come with sentence-transformers, or is not for one
        text.
    """
    try:
        return _recipe(folder)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EncoderError(
            f"the configuration in {folder} cannot be read ({type(error).__name__}: {error}): fetch it again"
        ) from error


def _recipe(folder: Path) -> Recipe:
    config = read_json(folder / "config.json")
    window = _window(config, read_json(folder / "tokenizer_config.json"))
    listed = read_json(folder / "modules.json", default=[])
    if not listed:
        return Recipe(max_tokens=window)
    kinds = []
    for module in listed:
        kind = str(module["type"])
        if not _MODULE.fullmatch(kind):
            raise EncoderError(f"{folder} wants the module {kind}, which is code of its own; it will not be run")
        kinds.append(kind.rpartition(".")[2])
    if kinds[0] != "Transformer":
        raise EncoderError(f"{folder} starts with the module {kinds[0]}: only transformers are read")
    if routes := sorted(set(kinds) & set(_SEVERAL_ROUTES)):
        raise EncoderError(f"{folder} has the module {routes[0]}, of several routes: it will not be run")
    if others := [kind for kind in kinds[1:] if kind not in _AFTER]:
        raise EncoderError(f"{folder} has the module {others[0]}: after a transformer, {', '.join(_AFTER)} are run")
    places = [_place(folder, str(module["path"])) for module in listed]
    for kind, place in zip(kinds, places, strict=True):
        if kind == "Dense":
            _refuse_code(place)
    first = places[0]
    limit = read_json(first / "sentence_bert_config.json").get("max_seq_length")
    prompts = _prompts(folder)
    normalize = kinds[-1] == "Normalize"
    middle = [(kind, place) for kind, place in zip(kinds[1:], places[1:], strict=True) if kind != "Normalize"]
    pooling = _pooling(middle[0][1]) if [kind for kind, _ in middle] == ["Pooling"] else "none"
    return Recipe(
        pooling=pooling,
        normalize=normalize,
        max_tokens=int(limit) if limit else window,
        prefix=prompts[0],
        query_prefix=prompts[1],
    )


def compare_with_repository(spec: EncoderSpec, folder: Path) -> None:
    """Refuse a preset's value where the sentence-transformers configuration beside the weights has another.

    What a caller has changed, or a hub id has taken from the configuration itself, is not the preset's.
    """
    preset = next((preset.spec for preset in PRESETS.values() if preset.spec.model == spec.model), None)
    if preset is None or not (folder / "modules.json").is_file():
        return
    repository = recipe(folder)
    names = ("pooling", "normalize", "max_tokens")
    differ = [
        f"{name} {getattr(preset, name)} here, {getattr(repository, name)} there"
        for name in names
        if getattr(spec, name) == getattr(preset, name) != getattr(repository, name)
    ]
    if differ:
        raise EncoderError(
            f"the preset of {spec.model} and the configuration in its repository differ: {'; '.join(differ)}. Name the "
            f"encoder by its hub id ({spec.model}) to go by the repository"
        )


def casing(folder: Path) -> dict[str, bool]:
    """Whether a bare WordPiece vocabulary is to be lower-cased, where no file beside it says so.

    Early releases (BioBERT among them) carry a vocabulary alone, and the tokenizer's default would then lower-case
    the text of a cased model.
    """
    vocabulary = folder / "vocab.txt"
    stated = "do_lower_case" in read_json(folder / "tokenizer_config.json")
    if stated or (folder / "tokenizer.json").is_file() or not vocabulary.is_file():
        return {}
    words = vocabulary.read_text(encoding="utf-8").splitlines()
    # Uncased vocabularies hold a few capitals all the same (37 of SciBERT's 31,090; 8,179 of BioBERT's 28,996).
    capitals = sum(1 for word in words if not word.startswith("[") and re.search("[A-Z]", word))
    cased = capitals > len(words) / 100
    return {"do_lower_case": not cased}


def dimension(folder: Path, *, pooling: str) -> int:
    """Length of the vectors of a folder's model, without loading it where its configuration says so."""
    if pooling == "none":
        for module in reversed(read_json(folder / "modules.json", default=[])):
            config = read_json(folder / module["path"] / "config.json") if module["path"] else {}
            if "out_features" in config:
                return int(config["out_features"])
            width = config.get("embedding_dimension", config.get("word_embedding_dimension"))
            if width is not None:
                modes = config.get("pooling_mode", [name for name in config if name in _LEGACY and config[name]])
                return int(width) * (1 if isinstance(modes, str) else len(modes))
        raise EncoderError(f"{folder} does not say how long its vectors are: no Dense or Pooling module")
    config = read_json(folder / "config.json")
    for name in ("hidden_size", "dim", "d_model", "n_embd"):
        if name in config:
            return int(config[name])
    raise EncoderError(f"{folder}/config.json does not say how long its vectors are (hidden_size)")


def pool(name: str) -> Callable[[Any, Any], Any]:
    """Return a function of token vectors `(n, length, dim)` and mask `(n, length)` that gives `(n, dim)`."""
    return {"mean": _mean, "cls": _cls, "last": _last}[name]


def _mean(tokens: Any, mask: Any) -> Any:
    weights = mask.to(tokens.dtype)
    return (tokens * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)


def _cls(tokens: Any, mask: Any) -> Any:  # noqa: ARG001
    return tokens[:, 0]


def _last(tokens: Any, mask: Any) -> Any:
    rows = range(len(tokens))
    return tokens[list(rows), mask.sum(1) - 1]


def _place(folder: Path, path: str) -> Path:
    """Return where a module's files are: in `folder` itself, or in a folder of it, whose files the digest covers."""
    if path.count("/") or "\\" in path or path == "..":
        raise EncoderError(f"{folder} has a module outside of it, in {path!r}: it will not be run")
    return folder / path


def _refuse_code(module: Path) -> None:
    """Refuse a Dense module whose activation is anything else than a class of torch."""
    activation = read_json(module / "config.json").get("activation_function")
    if activation is not None and not _ACTIVATION.fullmatch(str(activation)):
        raise EncoderError(
            f"{module} wants the activation {activation}, which is code of its own; it will not be run (torch.nn's are)"
        )


def _pooling(folder: Path) -> str:
    config = read_json(folder / "config.json")
    if config.get("include_prompt") is False:
        raise EncoderError(f"{folder} leaves the prompt out of the pooling, which is not supported")
    mode = config.get("pooling_mode")
    if mode is None:
        active = [mode for name, mode in _LEGACY.items() if config.get(name)]
        mode = active[0] if len(active) == 1 else ""
    return _POOLINGS.get(mode if isinstance(mode, str) else "", "none")


def _prompts(folder: Path) -> tuple[str, str]:
    """Return what sentence-transformers puts before documents and before queries."""
    config = read_json(folder / "config_sentence_transformers.json")
    prompts: Mapping[str, str] = config.get("prompts") or {}
    if odd := [prompt for prompt in prompts.values() if not isinstance(prompt, str)]:
        raise TypeError(f"a prompt cannot be {odd[0]!r}")
    default = prompts.get(config.get("default_prompt_name") or "", "")
    document = next((prompts[name] for name in _DOCUMENT if prompts.get(name)), default)
    query = next((prompts[name] for name in _QUERY if prompts.get(name)), default)
    return document, query


def _window(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int | None:
    """Return the smaller of the model's positions and the tokenizer's limit, where either says something sensible."""
    positions = config.get("max_position_embeddings")
    if positions and config.get("model_type") in ("roberta", "mpnet", "xlm-roberta", "camembert"):
        positions -= 2  # the positions of these start behind the padding id
    limits = [limit for limit in (positions, tokenizer.get("model_max_length")) if limit and 0 < limit < 1_000_000]
    return int(min(limits)) if limits else None


def read_json(path: Path, *, default: Any = None) -> Any:
    """Read a JSON file; `default` (an empty object) where there is none."""
    if not path.is_file():
        return {} if default is None else default
    return json.loads(path.read_text(encoding="utf-8"))
