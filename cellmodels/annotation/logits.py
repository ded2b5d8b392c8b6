"""Logits of cells for types before smoothing: by groups' marker genes, or by cells' text vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.annotation import evidence, genes_in_names
from cellmodels.annotation.cell_types import CellTypes
from cellmodels.annotation.evidence import Affinity, GroupMarkers, Sources
from cellmodels.annotation.group_profiles import GroupProfiles
from cellmodels.groups.graphs import Floats
from genetext.errors import CellsError
from genetext.vectors import unit_rows

Groupings = list[tuple[str, NDArray[np.int64], Sequence[Any]]]
"""For each grouping its name, the group of each cell (-1: none), and the names of the groups."""


@dataclass(frozen=True)
class TypeLogits:
    """Logits of cells, and where they come from.

    Attributes
    ----------
    logits
        `(n_cells, n_types) float64`.
    method
        `markers`, `vectors` or `given`.
    silent
        `(n_cells,) bool`: cells of which nothing is known, without expression for example.
    shuffled
        Logits `(n_blocks, n_types) float64` for each shuffle of the genes; empty where nothing was shuffled.
    block
        `(n_cells,) int64`: the row of `shuffled` that each cell has.
    groups, affinity, facts
        As `annotation.Annotation` reports them.
    """

    logits: Floats
    method: str
    silent: NDArray[np.bool_]
    shuffled: Sequence[Floats] = ()
    block: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    groups: pd.DataFrame | None = None
    affinity: Affinity | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def among(self, mask: NDArray[np.bool_]) -> "TypeLogits":
        """Return the logits of more cells: those of the mask have these, of the others nothing is known."""
        n_types = self.logits.shape[1]
        logits, silent = np.zeros((len(mask), n_types)), np.ones(len(mask), bool)
        logits[mask], silent[mask] = self.logits, self.silent
        block = np.full(len(mask), self.block.max(initial=-1) + 1)
        block[mask] = self.block
        shuffled = [np.concatenate([given, np.zeros((1, n_types))]) for given in self.shuffled]
        return replace(self, logits=logits, silent=silent, block=block, shuffled=shuffled)


class MarkerScores:
    """Groups of cells, ready to be scored by the genes that speak for types.

    Cells that are in the same group of every grouping are a block: they share their scores, and there are far fewer
    blocks than cells.

    Parameters
    ----------
    affinity
        Of the data's genes and the types; its permutations can be scored too.
    types
        The types. Those whose names differ only in a gene that they state (`CD14+`) are told apart by that gene.
    sources
        The indices and priors that the affinity was made from.
    matrix
        `(n_cells, n_genes)`, log-normalised.
    groupings
        One or several.

    Attributes
    ----------
    block
        `(n_cells,) int64`: the block of each cell.
    named
        `(n_types, n_genes)`: the genes that types' names state (`genes_in_names.named_genes`).
    siblings
        Types that are told apart by the genes that they state.

    Raises
    ------
    CellsError
        All cells are one group.
    """

    def __init__(
        self, affinity: Affinity, types: CellTypes, sources: Sources, matrix: sparse.csr_matrix, groupings: Groupings
    ) -> None:
        self.profiles = [GroupProfiles.of(matrix, member) for _, member, _ in groupings]
        if max(len(profiles.sizes) for profiles in self.profiles) < 2 and len(types) > 1:
            raise CellsError(
                f"all {matrix.shape[0]:,} cells are one group: what marks a group is seen beside other cells. Give "
                f'larger resolutions, or use method="vectors"'
            )
        self._markers = [GroupMarkers.of(affinity, profiles) for profiles in self.profiles]
        members = np.stack([member for _, member, _ in groupings], axis=1)
        self._groups_of_block, block = np.unique(members, axis=0, return_inverse=True)
        self.block = block.reshape(-1)
        self.named = genes_in_names.named_genes(types, sources)
        self.siblings = genes_in_names.siblings(types.names)
        by_name = [
            genes_in_names.named_expression(self.named, profiles)[self._groups_of_block[:, column]]
            for column, profiles in enumerate(self.profiles)
        ]
        self._by_name: Floats = np.mean(by_name, axis=0)

    def of_groups(self, affinity: Affinity) -> list[Floats]:
        """Return the scores of the groups of each grouping, `(n_groups, n_types)` each."""
        return [evidence.group_scores(affinity, markers) for markers in self._markers]

    def of_blocks(self, affinity: Affinity, *, by_name: bool = True) -> Floats:
        """Return the logits of the blocks, `(n_blocks, n_types)`.

        They are the mean over the groupings of the scores, where each type has mean 0 and variance 1 over the cells of
        a grouping: how common a type's evidence is must not decide. With `by_name`, the genes that names state then
        decide among siblings.
        """
        scores = [
            evidence.standardised(score, profiles.sizes.astype(np.float64))[self._groups_of_block[:, column]]
            for column, (score, profiles) in enumerate(zip(self.of_groups(affinity), self.profiles, strict=True))
        ]
        mean: Floats = np.mean(scores, axis=0)
        return genes_in_names.decide_among_siblings(mean, self._by_name, self.siblings) if by_name else mean


def by_markers(
    types: CellTypes,
    sources: Sources,
    matrix: sparse.csr_matrix,
    groupings: Groupings,
    *,
    shuffles: int,
    seed: int,
) -> TypeLogits:
    """Score groups of cells by the genes that speak for types; the mean over the groupings is a cell's logits.

    With `shuffles`, the same is done for so many permutations of the genes' affinities. Cells without a group (-1) are
    silent.
    """
    grouped = groupings[0][1] >= 0
    if not grouped.all():
        inside: Groupings = [(name, member[grouped], names) for name, member, names in groupings]
        return by_markers(types, sources, matrix[grouped], inside, shuffles=shuffles, seed=seed).among(grouped)
    affinity = evidence.affinity(types, sources)
    scores = MarkerScores(affinity, types, sources, matrix, groupings)
    tables = [
        _group_table(grouping, names, profiles.sizes, types, of_group)
        for (grouping, _, names), profiles, of_group in zip(
            groupings, scores.profiles, scores.of_groups(affinity), strict=True
        )
    ]
    facts = {
        "sources": list(affinity.sources),
        "n_groups": [len(profiles.sizes) for profiles in scores.profiles],
        "n_genes": int((affinity.mask & scores.profiles[0].expressed).sum()),
        "shuffles": shuffles,
        "stated": [
            f"{types.names[row]}: {affinity.genes[gene]}"
            for family in scores.siblings
            for row in family
            for gene in np.flatnonzero(scores.named[row])
        ],
    }
    return TypeLogits(
        scores.of_blocks(affinity)[scores.block],
        "markers",
        np.diff(matrix.indptr) == 0,
        [scores.of_blocks(affinity.permuted(seed + draw)) for draw in range(shuffles)],
        scores.block,
        pd.concat(tables, ignore_index=True),
        affinity,
        facts,
    )


def _group_table(
    grouping: str, names: Sequence[Any], sizes: NDArray[np.int64], types: CellTypes, scores: Floats
) -> pd.DataFrame:
    order = np.argsort(-scores, axis=1, kind="stable")
    return pd.DataFrame(
        {
            "grouping": grouping,
            "group": [str(name) for name in names],
            "n_cells": sizes,
            "type": [types.names[best] for best in order[:, 0]],
            "score": scores.max(axis=1),
            "second": [types.names[second] for second in order[:, 1]] if len(types) > 1 else None,
            "margin": margins(scores),
        }
    )


def by_vectors(adata: Any, types: CellTypes, sources: Sources, matrix: sparse.csr_matrix) -> TypeLogits:
    """Compare each cell's own text vector (weighting `contrast`) with those of the types."""
    import anndata

    from genetext.cells import embed_cells

    plain = anndata.AnnData(matrix, var=pd.DataFrame(index=adata.var_names))
    parts, silent, readable = [], np.zeros(adata.n_obs, bool), np.zeros(len(types), bool)
    for index, priors in sources:
        embed_cells(plain, priors, weighting="contrast", expression="log")
        vectors = plain.obsm["X_genetext"]
        without = ~np.isfinite(vectors).all(axis=1)
        cells = np.where(without[:, None], 0, vectors)
        if not without.all():
            cells = unit_rows((cells - cells[~without].mean(axis=0)).astype(np.float32))
        of_types = evidence.type_vectors(types, index)
        known = of_types.any(axis=1)
        centre = np.asarray(index.matrix).mean(axis=0)
        cosine = (cells @ unit_rows((of_types - centre).astype(np.float32)).T).astype(np.float64)
        cosine[:, ~known] = 0
        cosine[without] = 0
        parts.append(evidence.standardised(cosine))
        readable |= known
        silent |= without
    evidence.refuse_unreadable(types, readable, sources)
    facts = {"sources": [priors.description for _, priors in sources]}
    return TypeLogits(np.mean(parts, axis=0), "vectors", silent, facts=facts)


def margins(scores: Floats) -> Floats:
    """Return how far the first type is ahead of the second in each row; infinite where there is one type only."""
    if scores.shape[1] < 2:
        return np.full(len(scores), np.inf)
    top = np.partition(scores, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])
