"""What is compared, how often, and by which scores."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from genetext.errors import BenchError

EXPRESSION, PRIORS = "expression", "priors"
"""Methods without a model: principal components of expression, and averaged gene vectors."""
_MOST = 1_000_000
PRIOR, PERMUTED, RANDOM, NONE = "prior", "permuted", "random", "none"


@dataclass(frozen=True)
class Arm:
    """One embedding to be made and scored.

    Attributes
    ----------
    method
        `expression`, `priors`, or the name of a model.
    control
        What stands in for the prior: `prior` (itself), `permuted`, `random` or `none`.
    seed
        Of the model, of the draw of training cells, and of the random prior.
    draw
        Of the permutation.
    """

    method: str
    control: str
    seed: int
    draw: int = 0

    def __str__(self) -> str:
        return f"{self.method}, {self.control}{f' {self.draw}' if self.control == PERMUTED else ''}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How methods are compared.

    Attributes
    ----------
    m
        Cells of each type to learn labels from.
    seeds
        How many times everything is repeated: initial weights, and the draw of the cells to learn from.
    permutations
        Draws of permuted priors, dealt out over the seeds, each seed having one at least.
    neighbors
        That vote for a label.
    max_cells
        Take so many cells at most, drawn once for all; None: all.
    found_clusters
        Whether cells are grouped not only into as many groups as there are types, but also into as many as the
        stability of Leiden cuts tells.
    """

    m: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    seeds: int = 5
    permutations: int = 10
    neighbors: int = 5
    max_cells: int | None = None
    found_clusters: bool = True

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        if not self.m or min(self.m) < 1 or max(self.m) > _MOST or len(set(self.m)) < len(self.m):
            raise BenchError(f"m={self.m}: give numbers of cells per type, each once, 1 at least and {_MOST:,} at most")
        if self.seeds < 1 or self.permutations < 1 or self.neighbors < 1:
            raise BenchError(
                f"seeds={self.seeds}, permutations={self.permutations}, neighbors={self.neighbors}: each has to be a "
                f"whole number of at least 1"
            )
        if self.max_cells is not None and self.max_cells < 2:
            raise BenchError(f"max_cells is {self.max_cells}: take two at least")

    def arms(self, models: Sequence[str], *, prior: bool) -> Iterator[Arm]:
        """Yield what has to be made, one seed after the other, so that a run that is stopped has whole seeds."""
        for seed in range(self.seeds):
            yield Arm(EXPRESSION, NONE, seed)
            for method in ([PRIORS] if prior else []) + list(models):
                if not prior:
                    yield Arm(method, NONE, seed)
                    continue
                yield Arm(method, PRIOR, seed)
                # A draw for each seed at least; what is asked beyond that goes round.
                for draw in range(seed, max(self.permutations, self.seeds), self.seeds):
                    yield Arm(method, PERMUTED, seed, draw)
                yield Arm(method, RANDOM, seed)
                if method != PRIORS:
                    yield Arm(method, NONE, seed)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**asdict(self), "m": list(self.m)}

    def scoring(self) -> dict[str, Any]:
        """Return what decides the scores of one seed and draw, and not how many of these, or of cells, there are."""
        numbers = {"seeds", "permutations", "max_cells"}
        return {name: value for name, value in self.to_json().items() if name not in numbers}
