"""The data of GenePriors: one vector per gene of somebody's data, and a mask of those that have none."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.errors import PriorsError, first_ten
from genetext.names.report import MatchReport

Missing = Literal["mask", "error", "mean", "zero"]


@dataclass(frozen=True, eq=False)
class Priors:
    """The fields of `GenePriors`, which says what they hold, and what its verbs have in common."""

    names: NDArray[np.object_]
    vectors: NDArray[np.float32]
    mask: NDArray[np.bool_]
    gene_ids: NDArray[np.int64]
    status: NDArray[np.object_]
    source: str
    fingerprint: str
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    steps: tuple[str, ...] = ()
    control: str = ""
    missing: str = "mask"
    report: MatchReport | None = field(default=None, repr=False)
    var_names: NDArray[np.object_] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        n = len(self.names)
        shapes = {"mask": self.mask.shape, "gene_ids": self.gene_ids.shape, "status": self.status.shape}
        if self.vectors.ndim != 2 or self.vectors.shape[0] != n or any(shape != (n,) for shape in shapes.values()):
            raise PriorsError(f"{n:,} names need as many rows: vectors are {self.vectors.shape}, {shapes}")

    @property
    def dim(self) -> int:
        """Length of a vector; 0 for `without()`."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_matched(self) -> int:
        """How many genes have a vector."""
        return int(self.mask.sum())

    @property
    def species(self) -> str:
        """Name of the species whose GeneIDs `gene_ids` are; empty where nobody said."""
        recorded = self.manifest.get("species")
        return str(recorded["name"]) if recorded else ""

    @property
    def owner_names(self) -> NDArray[np.object_]:
        """`(n,) object`: what the AnnData aligned to calls its genes, by which it is known again."""
        return self.names if self.var_names is None else self.var_names

    @property
    def description(self) -> str:
        """What these vectors are, for tables of results: the source, every step, and which control."""
        return " | ".join((self.source, *self.steps))

    def __repr__(self) -> str:
        return f"GenePriors({self.n_matched:,} of {len(self):,} genes x {self.dim}, {self.description})"

    def take(self, which: Any) -> Self:
        """Return the priors of some genes: positions, a slice, or a mask over the genes (`adata.var.highly_variable`).

        The report stays that of the whole alignment.
        """
        rows = np.arange(len(self))[np.asarray(which) if not isinstance(which, slice) else which]
        return self.changed(
            names=self.names[rows],
            vectors=self.vectors[rows],
            mask=self.mask[rows],
            gene_ids=self.gene_ids[rows],
            status=self.status[rows],
            var_names=None if self.var_names is None else self.var_names[rows],
        )

    @cached_property
    def keys(self) -> NDArray[np.str_]:
        """`(n,) str`: what makes two rows the same gene, the GeneID, or the name where there is none."""
        return np.array([f"#{i}" if i else name for i, name in zip(self.gene_ids, self.names, strict=True)], dtype=str)

    @cached_property
    def distinct(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Genes with a vector, each once, in the order of their keys.

        What is fitted or drawn over these does not depend on the order of `var`, nor on names that stand twice.

        Returns
        -------
        rows
            `(n_distinct,)`: a row of each gene.
        back
            `(n_matched,)`: for each row of the mask, which of the distinct genes it is.
        """
        known = np.flatnonzero(self.mask)
        _, first, back = np.unique(self.keys[known], return_index=True, return_inverse=True)
        return known[first], back.reshape(-1)

    def to_dict(self) -> dict[str, NDArray[np.float32]]:
        """Return `{name: vector}` of the genes that have one, which scGPT-, GEARS- and scLAMBDA-like code takes."""
        return {str(self.names[row]): self.vectors[row].copy() for row in np.flatnonzero(self.mask)}

    def changed(self, **changes: Any) -> Self:
        """Return these priors with other values for some fields; no array is shared between the two."""
        arrays = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in changes}
        copies: dict[str, Any] = {name: value.copy() for name, value in arrays.items() if isinstance(value, np.ndarray)}
        return replace(self, **copies, **changes)

    def with_vectors(self, known: NDArray[np.float32], step: str, **changes: Any) -> Self:
        """Return priors whose genes with a vector have these, `(n_matched, dim)`; the others follow the policy."""
        vectors = np.zeros((len(self), known.shape[1]), np.float32)
        vectors[self.mask] = known
        return self.changed(vectors=vectors, steps=(*self.steps, step), **changes).filled()

    def filled(self) -> Self:
        """Put into the rows of genes without a vector what the policy `missing` says, in place; return self."""
        if self.missing == "mean" and self.dim and not self.mask.all() and self.mask.any():
            self.vectors[~self.mask] = self.vectors[self.distinct[0]].mean(axis=0, dtype=np.float64)
        return self


def fingerprint_of(names: Sequence[str], vectors: NDArray[np.float32]) -> str:
    """Return the sha256 that stands for names and vectors."""
    return disk.sha256_json([list(names), hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()])


def refuse_missing(priors: Priors, *, why: str) -> None:
    """Raise `PriorsError` where a gene has no vector; name the first ten and say how each failed."""
    lacking = np.flatnonzero(~priors.mask)
    if len(lacking):
        listed = [f"{priors.names[row] or '(empty)'} ({priors.status[row]})" for row in lacking]
        raise PriorsError(
            f"{len(lacking):,} of {len(priors):,} genes have no vector in {priors.source}: {first_ten(listed)}. {why}"
        )
