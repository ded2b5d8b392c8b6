"""The `manifest.json` of every directory that outlives a command: format, version, and a sha256 for each file.

A manifest holds no wall-clock time, so that the same input gives the same bytes. Opening a directory (`read`) binds its
files to it at little cost: the digest of the manifest itself, sizes, and samples of each file. `verify` compares
every byte.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from genetext import disk
from genetext.errors import DamagedFile, GenetextError, first_ten

T = TypeVar("T")
FILE = "manifest.json"
_BLOCK, _N_BLOCKS = 4096, 16
_KINDS = {int: "a whole number", str: "a text", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Manifest:
    """What a directory is, and what must be in it.

    Attributes
    ----------
    format
        What kind of directory this is, for example `genetext-index`.
    format_version
        Version of that format; a reader refuses versions it does not know.
    content
        Everything else that the format records, JSON values only.
    files
        For each file, relative to the directory: `{"sha256": str, "size": int, "sample": str}`.
    """

    format: str
    format_version: int
    content: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return `content[key]`, or `default`."""
        return self.content.get(key, default)

    @property
    def digest(self) -> str:
        """The sha256 of the manifest, and through its file hashes of the whole directory."""
        return disk.sha256_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as the JSON object that stands on the disk, but for its `digest`."""
        return {
            **self.content,
            "format": self.format,
            "format_version": self.format_version,
            "files": {name: dict(entry) for name, entry in self.files.items()},
        }


def write(directory: Path, *, format: str, format_version: int, content: Mapping[str, Any]) -> Manifest:  # noqa: A002
    """Hash every file below `directory` and write its `manifest.json`; return the manifest."""
    files = {
        name: {"sha256": disk.sha256_file(path), "size": path.stat().st_size, "sample": _sample(path)}
        for name, path in _files(directory).items()
        if path.name != FILE
    }
    manifest = Manifest(format=format, format_version=format_version, content=dict(content), files=files)
    disk.write_json(directory / FILE, signed(manifest.to_json()))
    return manifest


def signed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a manifest with the `digest` of everything else in it."""
    rest = {key: item for key, item in value.items() if key != "digest"}
    return {**rest, "digest": disk.sha256_json(rest)}


def read(
    directory: Path,
    *,
    format: str,  # noqa: A002
    format_version: int,
    error: type[GenetextError],
    content: Mapping[str, Any] | None = None,
    sampled: bool = True,
) -> Manifest:
    """Read and check a directory's manifest: format, version, digest, and the size and samples of every file.

    Parameters
    ----------
    directory
        The directory to open.
    format, format_version
        What it has to be.
    error
        The error class to raise where it is something else.
    content
        What the format records: for each key the type of its value (`int`, `str`, `list`, `dict`), or a mapping of the
        same kind for an object.
    sampled
        Whether samples of the files are compared; not where every byte is going to be.
    """
    return of_one_version(
        directory,
        lambda: _read(
            directory, format=format, format_version=format_version, error=error, content=content, sampled=sampled
        ),
    )


def of_one_version(directory: Path, read: Callable[[], T]) -> T:
    """Call `read` until the directory is not replaced meanwhile: what it returns or raises is of one version of it."""
    while True:
        before = _bytes(directory)
        try:
            value = read()
        except GenetextError:
            if _bytes(directory) == before:
                raise
        else:
            if _bytes(directory) == before:
                return value


def _bytes(directory: Path) -> bytes | None:
    try:
        return (directory / FILE).read_bytes()
    except OSError:
        return None


def _read(
    directory: Path,
    *,
    format: str,  # noqa: A002
    format_version: int,
    error: type[GenetextError],
    content: Mapping[str, Any] | None,
    sampled: bool,
) -> Manifest:
    path = directory / FILE
    try:
        raw = disk.read_json(path)
    except FileNotFoundError:
        raise error(f"{directory} is not a {format}: it has no {FILE}") from None
    except DamagedFile as cause:
        raise error(f"{cause}: build the {format} again, or remove it") from cause
    if not isinstance(raw, dict) or raw.get("format") != format:
        name = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise error(f"{directory} is a {name!s:.80}, not a {format}")
    if raw.get("format_version") != format_version:
        raise error(
            f"{directory} has format version {raw.get('format_version')!s:.80}, this genetext reads version "
            f"{format_version}: build it again, or use the genetext that wrote it"
        )
    # Version 1 of the formats knew no digest.
    if raw.get("digest") != signed(raw)["digest"] and not (format_version == 1 and "digest" not in raw):
        raise error(f"{path} was changed after it was written (its digest differs): build the {format} again")
    problem = _mismatch(raw, {"files": dict, **(content or {})})
    if problem:
        raise error(f"{path} {problem}: build the {format} again")
    manifest = Manifest(
        format=format,
        format_version=format_version,
        content={key: raw[key] for key in raw if key not in {"format", "format_version", "files", "digest"}},
        files=raw["files"],
    )
    for name, entry in manifest.files.items():
        _check_file(directory, name, entry, format, error, sampled=sampled)
    return manifest


def _mismatch(content: Mapping[str, Any], types: Mapping[str, Any], where: str = "") -> str:
    """Say which value is absent or of another type than it has to be; empty: none."""
    lacking = [f"{where}{key}" for key in types if key not in content]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    for key, wanted in types.items():
        value, kind = content[key], dict if isinstance(wanted, Mapping) else wanted
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"has {str(value)[:60]!r} for {where}{key}, which is {_KINDS[kind]}"
        if isinstance(wanted, Mapping) and (problem := _mismatch(value, wanted, f"{where}{key}.")):
            return problem
    return ""


def _check_file(
    directory: Path,
    name: str,
    entry: Any,
    format: str,  # noqa: A002
    error: type[GenetextError],
    *,
    sampled: bool,
) -> None:
    """Compare a file's size and samples with the manifest's."""
    file = directory / name
    outside = ".." in Path(name).parts or Path(name).is_absolute()
    if outside or not isinstance(entry, dict) or _mismatch(entry, {"sha256": str, "size": int}):
        raise error(
            f"{directory / FILE} names the file {name!r} in a way that genetext never writes: do not use this {format}"
        )
    try:
        size = file.stat().st_size if file.is_file() else None
        if size != entry["size"]:
            state = "is missing" if size is None else f"has {size:,} bytes"
            raise error(f"{file} {state}, the manifest says {entry['size']:,} bytes: {_damaged(format)}")
        changed = sampled and "sample" in entry and _sample(file) != entry["sample"]
    except OSError as cause:
        raise error(f"{file!s:.300} cannot be read: {cause.strerror or cause}") from cause
    if changed:
        raise error(f"{file} is not the file that the manifest was written for: {_damaged(format)}")


def _sample(path: Path) -> str:
    """Return a digest of sixteen blocks of a file, evenly spaced, the first and the last among them."""
    size, digest = path.stat().st_size, hashlib.sha256()
    last = max(size - _BLOCK, 0)
    starts = sorted({last * block // (_N_BLOCKS - 1) for block in range(_N_BLOCKS)})
    with path.open("rb", buffering=0) as handle:
        for start in starts:
            digest.update(os.pread(handle.fileno(), _BLOCK, start))
    return digest.hexdigest()[:32]


def kind(directory: Path) -> str:
    """Return the format that a directory's manifest names, or what stands in its place."""
    try:
        raw = disk.read_json(directory / FILE)
    except (FileNotFoundError, NotADirectoryError):
        return "directory without a manifest"
    except DamagedFile:
        return UNREADABLE
    return f"{raw.get('format')!s:.80}" if isinstance(raw, dict) else UNREADABLE


UNREADABLE = "directory with an unreadable manifest"


def refuse_to_replace(
    directory: Path,
    *,
    format: str,  # noqa: A002
    error: type[GenetextError],
    names: Collection[str],
) -> None:
    """Raise where something else than a directory of this format, and nothing but it, stands in the way of a new one.

    Parameters
    ----------
    directory
        Where a new one is to stand. An absent or empty directory is free.
    format
        What may be replaced.
    error
        The error class to raise.
    names
        Patterns of the files that the format has. A directory whose manifest is damaged may be replaced if it holds
        such files alone.
    """
    if not directory.exists():
        return
    if not directory.is_dir():
        raise error(f"{directory} is a file: name a folder for the {format}")
    files = set(_files(directory)) - {FILE}
    present = kind(directory)
    if present not in (format, UNREADABLE):
        if any(directory.iterdir()):
            raise error(f"{directory} is there already and is no {format}: name another folder, or empty it")
        return
    others = sorted(name for name in files if not any(Path(name).match(pattern) for pattern in names))
    if others:
        raise error(
            f"{directory} holds files that are not those of a {format} and would be lost: {first_ten(others)}; move "
            "them, or name another folder"
        )


def verify(directory: Path, manifest: Manifest) -> list[str]:
    """Return one sentence for each file whose bytes differ from the manifest's sha256 (empty: all is well)."""
    problems = (changed(directory, manifest, name) for name in manifest.files)
    return [problem for problem in problems if problem]


def unlisted(directory: Path, manifest: Manifest) -> list[str]:
    """Return the names of files below a directory that its manifest does not name, sorted."""
    return sorted(set(_files(directory)) - set(manifest.files) - {FILE})


def changed(directory: Path, manifest: Manifest, name: str) -> str:
    """Compare every byte of one file; return a sentence where they differ from the manifest's sha256, else nothing."""
    path, recorded = directory / name, manifest.files[name]["sha256"]
    if not path.is_file():
        return f"{path} is missing"
    try:
        sha256 = disk.sha256_file(path)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    return "" if sha256 == recorded else f"{path} has sha256 {sha256[:12]}, the manifest says {recorded[:12]}"


def _files(directory: Path) -> dict[str, Path]:
    """Return every file below a directory by its name relative to it, sorted."""
    paths = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path for path in paths}


def _damaged(kind: str) -> str:
    """Say that a directory of a format is damaged, and how it comes back."""
    remedies = {
        "genetext-snapshot": "fetch it again",
        "genetext-cellmodel": "fit and save the model again",
        "genetext-checkpoint": "remove it to start anew",
    }
    return f"the {kind} is damaged, {remedies.get(kind, 'build it again')}"
