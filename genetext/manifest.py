"""The `manifest.json` of every directory that outlives a command: format, version, and a sha256 for each file.

A manifest holds no wall-clock time, so that the same input gives the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genetext import disk
from genetext.errors import GenetextError

FILE = "manifest.json"


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
        For each file, relative to the directory: `{"sha256": str, "size": int}`.
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
        """Return the manifest as the JSON object that stands on the disk."""
        return {
            **self.content,
            "format": self.format,
            "format_version": self.format_version,
            "files": {name: dict(entry) for name, entry in self.files.items()},
        }


def write(directory: Path, *, format: str, format_version: int, content: Mapping[str, Any]) -> Manifest:  # noqa: A002
    """Hash every file below `directory` and write its `manifest.json`; return the manifest."""
    files = {
        path.relative_to(directory).as_posix(): {"sha256": disk.sha256_file(path), "size": path.stat().st_size}
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != FILE
    }
    manifest = Manifest(format=format, format_version=format_version, content=dict(content), files=files)
    disk.write_json(directory / FILE, manifest.to_json())
    return manifest


def read(directory: Path, *, format: str, format_version: int, error: type[GenetextError]) -> Manifest:  # noqa: A002
    """Read and check a directory's manifest: format, version, and the presence and size of every file.

    Parameters
    ----------
    directory
        The directory to open.
    format, format_version
        What it has to be.
    error
        The error class to raise where it is something else.
    """
    path = directory / FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{directory} is not a {format}: it has no {FILE}") from None
    except (OSError, ValueError) as cause:
        raise error(f"{path} cannot be read: {cause}") from cause
    if not isinstance(raw, dict) or raw.get("format") != format:
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise error(f"{directory} is a {found}, not a {format}")
    if raw.get("format_version") != format_version:
        raise error(
            f"{directory} has format version {raw.get('format_version')}, this genetext reads version "
            f"{format_version}: build it again, or use the genetext that wrote it"
        )
    content = {key: value for key, value in raw.items() if key not in {"format", "format_version", "files"}}
    manifest = Manifest(format=format, format_version=format_version, content=content, files=raw.get("files", {}))
    for name, entry in manifest.files.items():
        file = directory / name
        if ".." in Path(name).parts or Path(name).is_absolute() or not {"sha256", "size"} <= set(entry):
            raise error(f"{path} names the file {name!r} in a way that genetext never writes: do not use this {format}")
        size = file.stat().st_size if file.is_file() else None
        if size != entry["size"]:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise error(
                f"{file} {found}, the manifest says {entry['size']:,} bytes: the {format} is damaged, build again"
            )
    return manifest


def kind(directory: Path) -> str:
    """Return the format that a directory's manifest names, or what stands in its place."""
    try:
        raw = json.loads((directory / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "directory without a manifest"
    except (OSError, ValueError):
        return "directory with an unreadable manifest"
    return str(raw.get("format")) if isinstance(raw, dict) else "directory with a foreign manifest"


def verify(directory: Path, manifest: Manifest) -> list[str]:
    """Return one sentence for each file whose bytes differ from the manifest's sha256 (empty: all is well)."""
    problems = []
    for name, entry in manifest.files.items():
        path = directory / name
        if not path.is_file():
            problems.append(f"{path} is missing")
        elif (found := disk.sha256_file(path)) != entry["sha256"]:
            problems.append(f"{path} has sha256 {found[:12]}, the manifest says {entry['sha256'][:12]}")
    return problems
