"""Scores that were computed before: one JSON file for everything that decides them together, in it an entry for each.

A file that grew by a term, or a comparison by a seed, so finds what it has in common with an earlier one.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from genetext import disk, locks
from genetext.errors import DiskError

FORMAT_VERSION = 2

T = TypeVar("T")


class Ledger(Generic[T]):
    """Scores that one set of conditions decides.

    Parameters
    ----------
    root
        The cache root; the file is in its `bench/`.
    conditions
        Whatever decides the scores, beside what their keys name: data, protocol, code, libraries; JSON values.
    decode
        From what `add` was given, as JSON gives it back, to a score; ValueError, KeyError or TypeError where it is
        none.

    Attributes
    ----------
    path : Path
        The file.
    scores : dict[str, T]
        Scores by key.

    Raises
    ------
    DiskError
        The file is damaged or cannot be read.
    """

    def __init__(self, root: Path, conditions: Mapping[str, Any], *, decode: Callable[[Any], T]) -> None:
        self._head = {"format_version": FORMAT_VERSION, "conditions": dict(conditions)}
        self._name = disk.sha256_json(self._head)[:32]
        self._root = root
        self._decode = decode
        self.path = root / "bench" / f"{self._name}.json"
        self.scores = {key: decode(entry) for key, entry in self._read().items()}

    def add(self, entries: Mapping[str, Any]) -> None:
        """Write entries (JSON values) by their keys, beside those that are there."""
        if not entries:
            return
        with locks.lock(f"bench-{self._name}", root=self._root):
            # Another run may have written since.
            every = {**self._read(), **entries}
            disk.write_json(self.path, {**self._head, "scores": every})
        self.scores = {key: self._decode(entry) for key, entry in every.items()}

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            entries: dict[str, Any] = dict(content["scores"])
            for entry in entries.values():
                self._decode(entry)
            return entries
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DiskError(f"{self.path} is damaged ({error}): remove it, its scores are computed again") from error
        except OSError as error:
            raise DiskError(f"{self.path} cannot be read: {error}") from error
