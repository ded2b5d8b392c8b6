"""What text says about genes and types, and how far groups of cells bear it out.

Affinity `c_gt` of gene g and type t is the cosine of their text vectors, both less the mean of the genes, as a z-score
over the genes with a vector: without the centre all texts are alike, and without the z-score a type whose name is near
to everything would win everywhere. Of several indices (a dense and a lexical one see different things) the mean is
taken. A gene speaks for a type by `c_gt`, or by how far that exceeds its mean over the types, which leaves out what the
types have in common ("immune").

A group's score for a type is asked for in both directions:

    from types    mean expression contrast of the genes nearest to the type, weighed by how near they are
    from groups   mean affinity to the type of the genes that mark the group, weighed by how much they do

for both kinds of affinity and both kinds of contrast (`GroupProfiles`): eight views. Each is standardised over the
groups, type by type, so that no type wins by default, and the score is their mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.annotation.cell_types import CellTypes
from cellmodels.annotation.group_profiles import GroupProfiles
from cellmodels.groups.graphs import Floats
from genetext.errors import CellsError, NoDirection, first_ten
from genetext.vectors import unit_rows

if TYPE_CHECKING:
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors

Sources = Sequence[tuple["GeneIndex", "GenePriors"]]
"""Indices, whose encoders read the types, each with its priors aligned to the data (or a control of them)."""
PER_TYPE = 100
"""Genes that speak for a type."""
PER_GROUP = 150
"""Genes that mark a group."""


@dataclass(frozen=True)
class Affinity:
    """How near genes are to types by what is written about them.

    Attributes
    ----------
    genes
        `(n_vars,) object`: the genes of the data.
    types
        The names of the types.
    values
        `(n_vars, n_types) float64`, z-scores over the genes; NaN where a gene has no vector.
    sources
        What the vectors are (`GenePriors.description`), one for each index.
    """

    genes: NDArray[np.object_]
    types: tuple[str, ...]
    values: Floats
    sources: tuple[str, ...]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`(n_vars,) bool`: genes with a vector."""
        return np.asarray(np.isfinite(self.values).all(axis=1))

    def permuted(self, seed: int) -> "Affinity":
        """Control: the genes' affinities dealt out anew among the genes that have them."""
        known = np.flatnonzero(self.mask)
        values = self.values.copy()
        values[known] = values[np.random.Generator(np.random.PCG64(seed)).permutation(known)]
        return Affinity(self.genes, self.types, values, (*self.sources, f"permuted(seed={seed})"))

    def top(self, name: str, n: int = 20) -> pd.DataFrame:
        """Return the genes nearest to a type: `gene`, `affinity`."""
        column = self.values[:, self.types.index(name)]
        order = np.argsort(-np.where(self.mask, column, -np.inf), kind="stable")[: min(n, int(self.mask.sum()))]
        return pd.DataFrame({"gene": self.genes[order], "affinity": column[order]})


def affinity(types: CellTypes, sources: Sources) -> Affinity:
    """Compare types with the genes of a data set.

    Parameters
    ----------
    types
        What is asked about.
    sources
        One index at least, with its priors.

    Raises
    ------
    CellsError
        No index is given, the priors are not aligned to the same genes, were projected since, or an encoder knows no
        word of a type.
    """
    if not sources:
        raise CellsError("types are compared with genes through an index: name one, for example human/minilm")
    parts = [_standardised(types, index, priors) for index, priors in sources]
    if len({len(part) for part in parts}) > 1:
        raise CellsError(f"the priors are aligned to different data: {[len(part) for part in parts]} genes")
    stacked = np.stack(parts)
    known = np.isfinite(stacked)
    refuse_unreadable(types, np.asarray(known.any(axis=(0, 1))), sources)
    # A gene that one index knows and another does not is judged by the one that does.
    values = np.where(known, stacked, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    first = sources[0][1]
    names = first.var_names if first.var_names is not None else first.names
    return Affinity(names, types.names, values, tuple(priors.description for _, priors in sources))


def type_vectors(types: CellTypes, index: "GeneIndex") -> NDArray[np.float32]:
    """Return one vector per type: the mean over its texts that the index's encoder can read, `(n_types, dim)`.

    A type of whose texts it knows no word has a row of zeros.
    """
    texts_of_types = types.texts()
    distinct = list(dict.fromkeys(text for lists in texts_of_types for texts in lists for text in texts))
    read = dict(zip(distinct, _queries(distinct, index), strict=True))
    vectors = np.zeros((len(types), index.dim), np.float32)
    for row, lists in enumerate(texts_of_types):
        texts = [text for texts in lists if read[texts[0]] is not None for text in texts]
        if known := [vector for text in texts if (vector := read[text]) is not None]:
            vectors[row] = np.mean(known, axis=0)
    return vectors


def refuse_unreadable(types: CellTypes, readable: NDArray[np.bool_], sources: Sources) -> None:
    """Raise `CellsError` where no encoder knows a word of a type; `readable` is `(n_types,) bool`."""
    if unreadable := [name for name, known in zip(types.names, readable, strict=True) if not known]:
        raise CellsError(
            f"no encoder of {first_ten([index.path.name for index, _ in sources])} knows a word of "
            f"{first_ten(unreadable)}: describe them in other words, give definitions, or use another index"
        )


def _queries(texts: list[str], index: "GeneIndex") -> list[NDArray[np.float32] | None]:
    try:
        return list(index.embedding.queries(texts))
    except NoDirection:
        if len(texts) == 1:
            return [None]
    # A lexical encoder refuses a whole batch for one text of unknown words: the others are asked without it.
    half = len(texts) // 2
    return [*_queries(texts[:half], index), *_queries(texts[half:], index)]


def _standardised(types: CellTypes, index: "GeneIndex", priors: "GenePriors") -> Floats:
    changed = [step for step in priors.steps if not step.startswith(("align(", "permuted(", "random("))]
    if changed or priors.dim != index.dim:
        raise CellsError(
            f"{priors.description} ({priors.dim} dimensions) are not the vectors of {index.path.name} ({index.dim}) as "
            f"they stand there: types are encoded as its genes were, so give priors that were only aligned"
        )
    vectors = priors.vectors[priors.mask].astype(np.float32)
    if len(vectors) < 2:
        raise CellsError(
            f"{len(vectors)} genes have a vector in {priors.description}: types cannot be compared by them"
        )
    rows, _ = priors.distinct
    genes = unit_rows(vectors - priors.vectors[rows].mean(axis=0))
    of_types = type_vectors(types, index)
    cosine = (genes @ unit_rows(of_types - np.asarray(index.matrix).mean(axis=0)).T).astype(np.float64)
    spread = cosine.std(axis=0)
    values = np.full((len(priors), len(types)), np.nan)
    values[priors.mask] = (cosine - cosine.mean(axis=0)) / np.where(spread > 0, spread, 1)
    values[:, ~of_types.any(axis=1)] = np.nan
    return values


@dataclass(frozen=True)
class GroupMarkers:
    """What groups of cells express, ready to be scored by any affinity that has vectors for the same genes.

    Attributes
    ----------
    usable
        Genes with a vector and expression, `(n_usable,) int64`.
    contrasts
        Both kinds of contrast of these genes, `(n_groups, n_usable)` each.
    markers
        For each of them the genes that mark each group, rows that add up to 1 (or to 0: nothing marks the group).
    """

    usable: NDArray[np.int64]
    contrasts: tuple[Floats, ...]
    markers: tuple[sparse.csr_matrix, ...]

    @classmethod
    def of(cls, affinity: Affinity, profiles: GroupProfiles) -> Self:
        """Find the genes that mark each group.

        Raises
        ------
        CellsError
            No gene has both a vector and expression.
        """
        usable = np.flatnonzero(affinity.mask & profiles.expressed)
        if not len(usable):
            raise CellsError("no gene has both a vector and expression: nothing speaks for any type")
        contrasts = (profiles.contrast[:, usable], profiles.log_ratio[:, usable])
        return cls(usable, contrasts, tuple(_marker_weights(contrast) for contrast in contrasts))


def group_scores(affinity: Affinity, groups: GroupMarkers) -> Floats:
    """Return how far the genes speak for each type in each group, `(n_groups, n_types)`; see the module's head."""
    values = affinity.values[groups.usable]
    views = []
    for nearness in (values, values - values.mean(axis=1, keepdims=True)):
        genes, weights = nearest_genes(nearness)
        for contrast, markers in zip(groups.contrasts, groups.markers, strict=True):
            columns = [contrast[:, rows] @ weight for rows, weight in zip(genes, weights, strict=True)]
            views.append(np.stack(columns, axis=1))
            views.append(markers @ nearness)
    return np.asarray(np.mean([standardised(view) for view in views], axis=0))


def standardised(scores: Floats, weights: Floats | None = None) -> Floats:
    """Give each column mean 0 and variance 1 over the rows, which may be weighed; a constant column becomes 0."""
    centred = scores - np.average(scores, axis=0, weights=weights)
    spread = np.sqrt(np.average(centred**2, axis=0, weights=weights))
    flat = spread <= 1e-12 * (1 + np.abs(scores).max(axis=0, initial=0))
    result: Floats = np.where(flat, 0, centred / np.where(flat, 1, spread))
    return result


def nearest_genes(nearness: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the 100 genes nearest to each type and their weights: `(n_types, 100)` each; weights add up to 1."""
    genes = np.argsort(-nearness, axis=0, kind="stable")[:PER_TYPE].T
    weights = np.take_along_axis(nearness.T, genes, axis=1)
    weights = weights - weights[:, -1:] + 1e-3
    return genes.astype(np.int64), weights / weights.sum(axis=1, keepdims=True)


def _marker_weights(contrast: Floats) -> sparse.csr_matrix:
    genes = np.argsort(-contrast, axis=1, kind="stable")[:, :PER_GROUP]
    weight = np.maximum(np.take_along_axis(contrast, genes, axis=1), 0)
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    bounds = np.arange(0, genes.size + 1, genes.shape[1])
    return sparse.csr_matrix((weight.ravel(), genes.ravel(), bounds), shape=contrast.shape)


def speaking_genes(affinity: Affinity, profiles: GroupProfiles, types: NDArray[np.int64]) -> pd.DataFrame:
    """Return the genes that spoke for each type in the groups given to it.

    Parameters
    ----------
    affinity, profiles
        As `GroupMarkers.of` took them.
    types
        `(n_groups,)`: the type of each group, -1 for none.

    Returns
    -------
    One row per type and gene, the largest share of the type's evidence first: `type`, `gene`, `affinity`, `weight`,
    `contrast` (mean over the cells of its groups, in standard deviations), `contribution` (weight times contrast).
    Types without a group have no rows.
    """
    usable = np.flatnonzero(affinity.mask & profiles.expressed)
    genes, weights = nearest_genes(affinity.values[usable])
    frames = []
    for position, name in enumerate(affinity.types):
        groups = np.flatnonzero(types == position)
        if not len(groups):
            continue
        columns = usable[genes[position]]
        contrast = np.average(profiles.contrast[np.ix_(groups, columns)], axis=0, weights=profiles.sizes[groups])
        frame = pd.DataFrame(
            {
                "type": name,
                "gene": affinity.genes[columns],
                "affinity": affinity.values[columns, position],
                "weight": weights[position],
                "contrast": contrast,
                "contribution": weights[position] * contrast,
            }
        )
        frames.append(frame.sort_values("contribution", ascending=False, kind="stable"))
    if not frames:
        return pd.DataFrame(columns=["type", "gene", "affinity", "weight", "contrast", "contribution"])
    return pd.concat(frames, ignore_index=True)


def open_sources(
    indices: "Sequence[str | Path | GeneIndex]", adata: Any, *, root: Path | None = None, **align: Any
) -> "list[tuple[GeneIndex, GenePriors]]":
    """Open indices and align their vectors to a data set; `align` as in `GenePriors.align`."""
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors

    opened = [index if isinstance(index, GeneIndex) else GeneIndex.open(index, root=root) for index in indices]
    return [(index, GenePriors.open(index).align(adata, root=root, **align)) for index in opened]
