"""Scores that were computed before: one small JSON per vectors and protocol, in it one entry per task.

A task stands under the digest of its genes, labels and splits, so that a file that grew by a term, or every fourth
term of it, finds the scores of the terms that are the same.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genetext import disk
from genetext.bench.classify import Score
from genetext.errors import DiskError

FORMAT_VERSION = 1


class Ledger:
    """Scores of one method under one protocol.

    Parameters
    ----------
    root
        The cache root; files are in its `bench/`.
    fingerprint
        Of the method's vectors.
    protocol
        Whatever else decides a score; JSON values.
    """

    def __init__(self, root: Path, fingerprint: str, protocol: Mapping[str, Any]) -> None:
        self._what = {"format_version": FORMAT_VERSION, "method": fingerprint, "protocol": dict(protocol)}
        self._name = disk.sha256_json(self._what)[:32]
        self._root = root
        self.path = root / "bench" / f"{self._name}.json"
        self.scores = self._read()

    def add(self, scores: Mapping[str, Score]) -> None:
        """Write scores by the digest of their tasks, beside those that are there."""
        if not scores:
            return
        with disk.lock(f"bench-{self._name}", root=self._root):
            # Another run may have written since.
            self.scores = {**self._read(), **scores}
            entries = {digest: score.to_json() for digest, score in self.scores.items()}
            disk.write_json(self.path, {**self._what, "scores": entries})

    def _read(self) -> dict[str, Score]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if {key: found[key] for key in self._what} != self._what:
                return {}
            return {digest: Score.from_json(entry) for digest, entry in found["scores"].items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise DiskError(f"{self.path} is damaged ({error}): remove it, its scores are computed again") from error
        except OSError as error:
            raise DiskError(f"{self.path} cannot be read: {error}") from error
