"""What `bench genes` asks: tasks, and which of them are taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.errors import BenchError, first_ten


@dataclass(frozen=True, eq=False)
class Task:
    """One question to a classifier: which of its examples, genes or groups of genes, belong to something.

    Attributes
    ----------
    term
        What they belong to.
    gene_ids
        `(n,) int64`, NCBI GeneIDs, ascending, each once; or `(n, k)`, where an example is `k` genes.
    labels
        `(n,) bool`: which examples belong to it.
    splits
        `(n,) int16`: the fold of each example, `HOLDOUT` for those held out; None where folds are to be drawn. A kind
        whose training must not see the genes of held-out examples gives them: an example that is neither is left out.
    """

    term: str
    gene_ids: NDArray[np.int64]
    labels: NDArray[np.bool_]
    splits: NDArray[np.int16] | None = None

    @cached_property
    def digest(self) -> str:
        """The sha256 of genes, labels and splits: equal tasks have equal scores, whatever the term is called."""
        splits = None if self.splits is None else self.splits.tolist()
        return disk.sha256_json([self.gene_ids.tolist(), self.labels.tolist(), splits])


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which terms of a file are asked, and, where it gives members only, how large they may be.

    Attributes
    ----------
    terms
        Take these terms. Default: all.
    every
        Take every n-th of the sorted names, so that the order of a file does not decide which.
    min_genes, max_genes
        Terms with fewer or more genes, of those that can be used, are left out; 0 for no upper limit.
    negatives
        At most so many negatives per term, drawn by `seed`; 0 for all other genes of the file.
    seed
        Of that draw.
    """

    terms: tuple[str, ...] | None = None
    every: int = 1
    min_genes: int = 15
    max_genes: int = 500
    negatives: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.every < 1 or self.min_genes < 1 or min(self.max_genes, self.negatives) < 0:
            raise BenchError(
                f"every={self.every} and min_genes={self.min_genes} have to be at least 1, max_genes={self.max_genes} "
                f"and negatives={self.negatives} at least 0"
            )

    def taken(self, names: Sequence[str], where: str) -> set[str]:
        """Return which of the terms of a file are asked.

        Raises
        ------
        BenchError
            A term that was named is not in the file.
        """
        if self.terms is None:
            return set(sorted(names)[:: self.every])
        if unknown := [term for term in self.terms if term not in set(names)]:
            raise BenchError(f"{where} has no term {first_ten(unknown)}; it has {first_ten(names)}")
        return set(sorted(set(self.terms))[:: self.every])
