"""What a kind of task of `bench genes` is.

A new kind is a module with a `TaskKind`, and its line in `registry.KINDS` or an entry point of another distribution.
"""

import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genetext.bench.classify import Protocol, Score
from genetext.bench.tasks import Selection, Task

if TYPE_CHECKING:
    from genetext.names import MatchReport, Resolver
    from genetext.species import Species


class TaskFile(typing.Protocol):
    """What a kind reads out of a file."""

    @property
    def name(self) -> str:
        """Of the file."""

    @property
    def given_splits(self) -> bool:
        """Whether the tasks have folds, so that none are drawn."""

    @property
    def report(self) -> "MatchReport":
        """What became of the file's gene names."""

    @property
    def gene_ids(self) -> NDArray[np.int64]:
        """All genes of the file, ascending."""

    @property
    def about(self) -> dict[str, Any]:
        """What else the report of a benchmark tells of the file, JSON values."""

    def among(self, universe: Iterable[int], *, at_least: int = 1) -> tuple[list[Task], dict[str, str]]:
        """Return the tasks over the genes of `universe`, and why others cannot be asked; see `GeneTasks.among`."""


class _Read(typing.Protocol):
    def __call__(
        self,
        path: Path,
        resolver: "Resolver",
        *,
        to: "str | int | Species | None" = None,
        selection: Selection | None = None,
    ) -> TaskFile: ...


def _as_they_are(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors


@dataclass(frozen=True)
class TaskKind:
    """A kind of task.

    Attributes
    ----------
    name
        What `bench_genes(kind=)` and `--kind` take.
    summary
        What is asked, and of which files, for the help.
    read
        From a file, the resolver of its names, the species of the vectors and a `Selection` to a `TaskFile`.
    score
        From a task, `(n, d)` features and the protocol to a `Score`.
    features
        From the vectors of a task's genes, `(n, dim)` or `(n, k, dim) float32`, to `(n, d)` features.
    """

    name: str
    summary: str
    read: _Read
    score: Callable[[Task, NDArray[np.float32], Protocol], Score]
    features: Callable[[NDArray[np.float32]], NDArray[np.float32]] = _as_they_are
