"""Logits of cells for types before smoothing: by groups' markers, by cells' text vectors, or as they are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.annotation import evidence, genes_in_names
from cellmodels.annotation.cell_types import CellTypes
from cellmodels.annotation.group_profiles import GroupProfiles
from cellmodels.groups.graphs import Floats
from genetext.errors import CellsError, first_ten
from genetext.vectors import unit_rows

if TYPE_CHECKING:
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors

Groupings = list[tuple[str, NDArray[np.int64], Sequence[Any]]]
"""For each grouping what it is called, the group of each cell, and the names of the groups."""


@dataclass(frozen=True)
class Found:
    """Logits of cells, and where they come from.

    Attributes
    ----------
    logits
        `(n_cells, n_types) float64`.
    method
        `markers`, `vectors` or `given`.
    silent
        `(n_cells,) bool`: cells of which nothing is known, without expression for example.
    null
        Margins between first and second type with the genes shuffled, any number; None where nothing was shuffled.
    groups, near, facts
        As `annotation.Annotation` reports them.
    """

    logits: Floats
    method: str
    silent: NDArray[np.bool_]
    null: Floats | None = None
    groups: pd.DataFrame | None = None
    near: evidence.Affinity | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def by_markers(
    types: CellTypes,
    sources: "list[tuple[GeneIndex, GenePriors]]",
    matrix: sparse.csr_matrix,
    groupings: Groupings,
    *,
    shuffles: int,
    seed: int,
) -> Found:
    """Score groups of cells by the genes that speak for types; the mean over the groupings is a cell's logits.

    Types whose names differ only in a gene that they state (`CD14+`) are told apart by it (`stated`).
    """
    near = evidence.affinity(types, sources)
    shown = [GroupProfiles.of(matrix, member) for _, member, _ in groupings]
    if max(len(one.sizes) for one in shown) < 2 and len(types) > 1:
        raise CellsError(
            f"all {matrix.shape[0]:,} cells are one group: what marks a group is seen beside other cells. Give larger "
            f'resolutions, or use method="vectors"'
        )
    marked = [evidence.Marked.of(near, one) for one in shown]
    shares = genes_in_names.stated_genes(types, sources)
    families = genes_in_names.siblings(types.names)
    scores = [evidence.group_scores(near, one) for one in marked]
    # Cells that share their groups share their scores: there are far fewer of such blocks than cells.
    blocks, block = np.unique(np.stack([member for _, member, _ in groupings], axis=1), axis=0, return_inverse=True)
    null = []
    for draw in range(shuffles):
        other = near.permuted(seed + draw)
        texts = agreed([evidence.group_scores(other, one) for one in marked], shown, blocks)
        null.append(margins(texts))
    tables = [
        _table(label, names, one.sizes, types, score)
        for (label, _, names), one, score in zip(groupings, shown, scores, strict=True)
    ]
    facts = {
        "sources": list(near.sources),
        "n_groups": [len(one.sizes) for one in shown],
        "n_genes": int((near.mask & shown[0].expressed).sum()),
        "shuffles": shuffles,
        "stated": [
            f"{types.names[t]}: {near.genes[g]}" for f in families for t in f for g in np.flatnonzero(shares[t])
        ],
    }
    told = np.mean([genes_in_names.shown_by(shares, one)[blocks[:, at]] for at, one in enumerate(shown)], axis=0)
    logits = genes_in_names.settled(agreed(scores, shown, blocks), told, families)
    return Found(
        logits[block.reshape(-1)],
        "markers",
        np.diff(matrix.indptr) == 0,
        np.concatenate(null) if null else None,
        pd.concat(tables, ignore_index=True),
        near,
        facts,
    )


def agreed(scores: list[Floats], shown: list[GroupProfiles], blocks: NDArray[np.int64]) -> Floats:
    """Return the mean over groupings of the scores of each block of cells, `(n_blocks, n_types)`.

    Each type has mean 0 and variance 1 over the cells of a grouping: how common a type's evidence is must not decide.
    """
    own = [
        evidence.standardised(score, one.sizes.astype(np.float64))[blocks[:, position]]
        for position, (score, one) in enumerate(zip(scores, shown, strict=True))
    ]
    return np.asarray(np.mean(own, axis=0))


def _table(
    label: str, names: Sequence[Any], sizes: NDArray[np.int64], types: CellTypes, scores: Floats
) -> pd.DataFrame:
    order = np.argsort(-scores, axis=1, kind="stable")
    return pd.DataFrame(
        {
            "grouping": label,
            "group": [str(name) for name in names],
            "n_cells": sizes,
            "type": [types.names[j] for j in order[:, 0]],
            "score": scores.max(axis=1),
            "second": [types.names[j] for j in order[:, 1]] if len(types) > 1 else None,
            "margin": margins(scores),
        }
    )


def by_vectors(
    adata: Any, types: CellTypes, sources: "list[tuple[GeneIndex, GenePriors]]", matrix: sparse.csr_matrix
) -> Found:
    """Compare each cell's own text vector (weighting `contrast`) with those of the types."""
    import anndata

    from genetext.cells import embed_cells

    plain = anndata.AnnData(matrix, var=pd.DataFrame(index=adata.var_names))
    parts, silent, heard = [], np.zeros(adata.n_obs, bool), np.zeros(len(types), bool)
    for index, priors in sources:
        embed_cells(plain, priors, weighting="contrast", expression="log")
        vectors = plain.obsm["X_genetext"]
        mute = ~np.isfinite(vectors).all(axis=1)
        middle = np.asarray(index.matrix).mean(axis=0)
        cells = np.where(mute[:, None], 0, vectors)
        cells = unit_rows((cells - cells[~mute].mean(axis=0)).astype(np.float32)) if (~mute).any() else cells
        own = evidence.type_vectors(types, index)
        heard |= own.any(axis=1)
        cosine = (cells @ unit_rows((own - middle).astype(np.float32)).T).astype(np.float64)
        cosine[:, ~own.any(axis=1)] = 0
        cosine[mute] = 0
        parts.append(evidence.standardised(cosine))
        silent |= mute
    evidence.refuse_mute(types, heard, sources)
    return Found(
        np.mean(parts, axis=0), "vectors", silent, facts={"sources": [priors.description for _, priors in sources]}
    )


def given_logits(adata: Any, logits: str | NDArray[Any], types: CellTypes) -> Found:
    """Take logits `(n_cells, n_types)`, or the key of them in `obsm`."""
    if isinstance(logits, str):
        if logits not in adata.obsm:
            raise CellsError(f"there is no obsm[{logits!r}]: there are {first_ten(list(adata.obsm)) or 'none'}")
        logits = adata.obsm[logits]
    values = np.asarray(logits, np.float64)
    if values.shape != (adata.n_obs, len(types)):
        raise CellsError(
            f"logits have shape {values.shape}, {adata.n_obs:,} cells and {len(types)} types need "
            f"({adata.n_obs:,}, {len(types)})"
        )
    if not np.isfinite(values).all():
        raise CellsError(
            f"{int((~np.isfinite(values).all(axis=1)).sum()):,} cells have logits that are NaN or infinite"
        )
    return Found(values, "given", np.zeros(adata.n_obs, bool))


def margins(scores: Floats) -> Floats:
    """Return how far the first type is ahead of the second in each row; infinite where there is one type only."""
    if scores.shape[1] < 2:
        return np.full(len(scores), np.inf)
    top = np.partition(scores, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])
