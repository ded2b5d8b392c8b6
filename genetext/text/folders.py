"""Snapshots and layers in the cache: which of them are whole, which was made last, which holds the input at hand."""

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from genetext import disk, manifest
from genetext.errors import SnapshotError, first_ten
from genetext.manifest import Manifest

_log = logging.getLogger("genetext")


class Folder(Protocol):
    """A directory with a manifest, opened."""

    @property
    def path(self) -> Path:
        """The directory."""

    @property
    def manifest(self) -> Manifest:
        """What has to be in it."""


T = TypeVar("T", bound=Folder)


def digest(recorded: Manifest) -> str:
    """Return the sha256 over the bytes of a directory's files: equal for equal content, wherever it came from."""
    return disk.sha256_json({name: entry["sha256"] for name, entry in recorded.files.items()})


def newest_first(paths: Iterable[Path], read: Callable[[Path], T], *, say: Callable[[str], object]) -> list[T]:
    """Return the directories that `read` opens, the one made last first; `say` is told why others are left out."""
    listed = []
    for path in paths:
        if disk.is_temporary(path) or not path.is_dir():
            continue
        try:
            listed.append(((path / manifest.FILE).stat().st_mtime_ns, path.name, read(path)))
        except (SnapshotError, OSError) as error:
            say(str(error))
    return [folder for *_, folder in sorted(listed, key=lambda entry: entry[:2], reverse=True)]


def kept(paths: Iterable[Path], read: Callable[[Path], T], *, what: str) -> T | None:
    """Return the first of these directories that is whole and readable, and note that it is current."""
    for path in paths:
        try:
            folder = read(path)
        except SnapshotError as error:
            _log.warning("%s; it is made anew", error)
            continue
        # Sizes alone would let the same damage through run after run.
        if not is_sound(folder, what=what, otherwise="it is made anew"):
            continue
        with suppress(OSError):  # a read-only cache can be read
            os.utime(path / manifest.FILE)
        return folder
    return None


def is_sound(folder: Folder, *, what: str, otherwise: str) -> bool:
    """Whether all bytes are as the manifest tells; if not, warn and say what is done about it."""
    try:
        problems = manifest.verify(folder.path, folder.manifest)
    except OSError as error:
        problems = [f"{folder.path} cannot be read: {error.strerror or error}"]
    if problems:
        _log.warning("%s: the %s is damaged; %s", first_ten(problems), what, otherwise)
    return not problems
