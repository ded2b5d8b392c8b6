"""Scores that were computed before: one small JSON file per embedding, under a digest of everything that decides it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellmodels.eval.bench.scores import Score
from genetext import disk
from genetext.errors import DiskError

FORMAT_VERSION = 1


def path_of(what: Mapping[str, Any], *, root: Path) -> Path:
    """Return the file of what was scored (JSON values)."""
    digest = disk.sha256_json({**what, "format_version": FORMAT_VERSION})
    return root / "bench" / "cells" / digest[:2] / f"{digest[:40]}.json"


def read(path: Path) -> list[Score] | None:
    """Read scores; None where there are none yet.

    Raises
    ------
    DiskError
        The file is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [(str(measure), str(at), float(value)) for measure, at, value in found["scores"]]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DiskError(f"{path} is damaged ({error}): remove it, its scores are computed again") from error


def write(path: Path, what: Mapping[str, Any], scores: Sequence[Score]) -> None:
    """Write scores, with what they are of."""
    disk.write_json(path, {**what, "scores": [list(score) for score in scores]})
