"""annotate: cell types from their names or definitions alone, with no training and no list of markers.

    types --text--> affinity to genes --expression of groups--> logits --graph of cells--> refined logits --> labels

Cells are grouped by their expression (Leiden, coarse and fine; labels play no part), each group is scored for each type
by the genes whose text is near to the type's (`evidence`), and the scores of the cells are smoothed along the graph of
neighbours (`smoothing`). Instead of the groups' evidence, text vectors of single cells can be compared with those of
the types (`method="vectors"`), or logits of any other model be refined (`logits=`).
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.annotation import evidence
from cellmodels.annotation.cell_types import CellTypes
from cellmodels.annotation.group_profiles import GroupProfiles
from cellmodels.annotation.logits import Groupings, TypeLogits, by_markers, by_vectors, margins
from cellmodels.annotation.smoothing import refine_blocks, refine_logits
from cellmodels.data.inputs import read_cells
from cellmodels.groups.graphs import Floats, LaplacianKind, check_graph, knn_graph
from cellmodels.groups.leiden import Leiden
from cellmodels.groups.pca import principal_components
from genetext.errors import CellsError, first_ten
from genetext.keys import Keys
from genetext.labels import kinds_of, known_labels

if TYPE_CHECKING:
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors

log = logging.getLogger("genetext")

METHODS = ("markers", "vectors")
RESOLUTIONS = (1.0, 2.0, 4.0)
"""Of the groupings: coarse groups have little noise, fine ones keep like types apart, and what they agree on is right
more often than either."""


@dataclass(frozen=True)
class Annotation:
    """What `annotate` found.

    Attributes
    ----------
    adata
        The AnnData written to.
    types
        The types asked about.
    labels
        `(n_cells,) object`: the type of each cell, None where the confidence is below `min_confidence`.
    confidence
        `(n_cells,) float32`, 0 to 1. With genes that speak (`method="markers"`): the share of margins between first and
        second type that are smaller when the genes' affinities are shuffled and all else is done as for these logits,
        smoothing too. Else, or without shuffles: the margin of the softmax.
    logits, refined
        `(n_cells, n_types) float64`: before and after smoothing.
    groups
        One row per group of cells: `grouping`, `group`, `n_cells`, `type`, `score`, `second`, `margin`; None without
        groups. A cell's logits are the mean over the groupings.
    genes
        The genes that spoke for each type in the cells that got it (`evidence.speaking_genes`). None without groups.
    rare
        Types with cells before smoothing, but not more than the graph has neighbours: smoothing may take them away.
    facts
        What is recorded in `uns`.
    """

    adata: Any = field(repr=False)
    types: CellTypes
    labels: NDArray[np.object_] = field(repr=False)
    confidence: NDArray[np.float32] = field(repr=False)
    logits: Floats = field(repr=False)
    refined: Floats = field(repr=False)
    groups: pd.DataFrame | None = field(repr=False)
    genes: pd.DataFrame | None = field(repr=False)
    rare: tuple[str, ...]
    facts: Mapping[str, Any] = field(repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Cells of each type, in the order of the types; types without a cell are there."""
        counts = pd.Series(self.labels, dtype=object).value_counts()
        return {name: int(counts.get(name, 0)) for name in self.types.names}

    @property
    def n_abstained(self) -> int:
        """Cells without a label."""
        return int(pd.isna(pd.Series(self.labels, dtype=object)).sum())

    def top(self, name: str, n: int = 10) -> list[str]:
        """Return the genes that spoke most for a type; empty where it has no cells."""
        if self.genes is None:
            return []
        return [str(gene) for gene in self.genes.loc[self.genes["type"] == name, "gene"].head(n)]


def annotate(
    adata: Any,
    types: CellTypes | Mapping[str, str] | Sequence[str] | str | Path,
    index: "str | Path | GeneIndex | Sequence[str | Path | GeneIndex] | None" = None,
    *,
    priors: "GenePriors | Sequence[GenePriors] | None" = None,
    logits: str | NDArray[Any] | None = None,
    ontology: str | Path | None = None,
    method: str = "markers",
    groups: str | NDArray[Any] = "leiden",
    resolutions: Sequence[float] = RESOLUTIONS,
    rep: str | None = None,
    graph: Any = None,
    k: int = 15,
    lam: float = 1.0,
    laplacian: LaplacianKind = "unnormalised",
    min_confidence: float = 0.0,
    shuffles: int = 20,
    expression: str = "auto",
    layer: str | None = None,
    seed: int = 0,
    key_added: str = "annotation",
    copy: bool = False,
    root: Path | None = None,
    **align: Any,
) -> Annotation:
    """Give each cell the type whose text its genes speak for.

    Parameters
    ----------
    adata
        AnnData in memory, cells in rows.
    types
        Names, a mapping from name to definition, the path of a text file with a `name` or `name<TAB>definition` per
        line, or `CellTypes`. Say what cells can be: `pancreatic beta cell` rather than `beta`.
    index
        The index, or several, whose encoders read the types: `human/minilm`, `["human/minilm", "human/lexical"]`.
    priors
        Vectors to use in place of the index's own, aligned to `adata`, one for each index: controls, for example.
    logits
        Refine these: an array `(n_cells, n_types)`, or the key of one in `obsm`. Then `index` is not needed.
    ontology
        A JSON file of an ontology that has every name as label, synonym or id: its definitions and synonyms are used.
    method
        `markers`: groups of cells, by the genes that speak for a type. `vectors`: each cell's own text vector (mean of
        its genes' vectors, weighed by how far they exceed the data set), compared with the type's.
    groups
        `leiden`, a column of `obs`, or an array `(n_cells,)`: which cells are judged together. Cells without a group
        (null, `Unknown`: `genetext.labels`) get no label, and it is said.
    resolutions
        Of the Leiden method, one grouping each: larger makes more groups.
    rep
        Key of the cells' coordinates in `obsm`. Default: 50 principal components of the 2,000 genes that vary most.
    graph
        `(n_cells, n_cells)` sparse, or its key in `obsp` (`connectivities`). Default: the `k` nearest by `rep`.
    k
        Neighbours of each cell.
    lam
        Strength of smoothing (`refine_logits`); 0: none.
    laplacian
        `unnormalised` or `normalised`.
    min_confidence
        Give no label below this confidence, 0 to 1.
    shuffles
        Measure confidence by so many shuffles of the genes, each smoothed as the logits are; 0: by the margin of the
        softmax alone.
    expression, layer
        As in `genetext.cells.embed_cells`.
    seed
        Of the grouping and of the shuffles that confidence is measured by.
    key_added
        Base of the keys that are written; a column of `obs` that annotate did not write is never replaced.
    copy
        Write into a copy, which is `.adata` of the result.
    root
        The cache root.
    **align
        How genes are matched: `species`, `column`, `orthologs`, `min_match` ... (`GenePriors.align`).

    Returns
    -------
    Annotation
        Written are `obs["annotation"]` (categorical, missing where abstained), `obs["annotation_confidence"]`,
        `obsm["annotation_logits"]` and `obsm["annotation_refined"]` `(n_cells, n_types) float32`, and
        `uns["annotation"]["annotate"]`: types, parameters, sources.

    Raises
    ------
    CellsError
        Types, logits, groups, graph or expression are not what is needed; the message says which, and what to give.
    """
    cell_types = CellTypes.of(types)
    keys = Keys(key_added)
    if method not in METHODS:
        raise CellsError(f"unknown method {method!r}: {' or '.join(METHODS)}")
    if not 0 <= min_confidence <= 1:
        raise CellsError(f"min_confidence is {min_confidence}: give a number from 0 to 1")
    if shuffles < 0:
        raise CellsError(f"shuffles is {shuffles}: give a number of 0 (no shuffles) or more")
    if not adata.n_obs:
        raise CellsError("there are no cells")
    if keys.base in adata.obs and not keys.recorded(adata, "annotate"):
        raise CellsError(f"obs[{keys.base!r}] is a column that annotate did not write: choose another key_added")
    if ontology is not None:
        cell_types = cell_types.with_ontology(ontology)
    matrix = None
    needs_graph = graph is None and lam > 0
    needs_groups = logits is None and method == "markers" and isinstance(groups, str) and groups == "leiden"
    if logits is None or (rep is None and needs_graph):
        matrix = read_cells(adata, needs="log", expression=expression, layer=layer).matrix
    links = None
    if graph is not None:
        links = _given_graph(adata, graph)
    elif needs_graph or needs_groups:
        links = knn_graph(principal_components(matrix) if rep is None else _stored(adata, "obsm", rep), k)
    if logits is not None:
        scored = TypeLogits(_given_logits(adata, logits, cell_types), "given", np.zeros(adata.n_obs, bool))
    else:
        assert matrix is not None  # read above
        sources = _sources(adata, index, priors, root=root, **align)
        if method == "vectors":
            scored = by_vectors(adata, cell_types, sources, matrix)
        else:
            groupings = _groupings(adata, groups, links, resolutions=resolutions, seed=seed)
            scored = by_markers(cell_types, sources, matrix, groupings, shuffles=shuffles, seed=seed)

    refined = scored.logits
    shuffled: Iterable[Floats] = (given[scored.block] for given in scored.shuffled)
    if links is not None:
        refined = refine_logits(scored.logits, links, lam, kind=laplacian)
        shuffled = refine_blocks(scored.shuffled, scored.block, links, lam, kind=laplacian)
    null = [margins(smoothed)[~scored.silent] for smoothed in shuffled]
    confidence = np.where(scored.silent, 0, _confidence(refined, null)).astype(np.float32)
    rare = _rare(cell_types, scored.logits, refined, k) if lam > 0 else ()
    names = np.array(cell_types.names, object)
    labels = names[refined.argmax(axis=1)]
    labels[scored.silent | (confidence < min_confidence)] = None
    facts = {
        "types": list(cell_types.names),
        "method": scored.method,
        "k": k,
        "lam": float(lam),
        "laplacian": laplacian,
        "min_confidence": float(min_confidence),
        "seed": seed,
        "rare": list(rare),
        "n_silent": int(scored.silent.sum()),
        **scored.facts,
        **({"ontology": Path(ontology).name, "terms": list(cell_types.terms)} if ontology is not None else {}),
    }
    target = adata.copy() if copy else adata
    target.obs[keys.base] = pd.Categorical(labels, categories=list(cell_types.names))
    target.obs[f"{keys.base}_confidence"] = confidence
    target.obsm[f"{keys.base}_logits"] = scored.logits.astype(np.float32)
    target.obsm[f"{keys.base}_refined"] = refined.astype(np.float32)
    keys.record(target, "annotate", facts)
    genes = None
    if scored.affinity is not None and matrix is not None:
        present, member = np.unique(refined.argmax(axis=1), return_inverse=True)
        profiles = GroupProfiles.of(matrix, member.reshape(-1))
        genes = evidence.speaking_genes(scored.affinity, profiles, present)
    return Annotation(target, cell_types, labels, confidence, scored.logits, refined, scored.groups, genes, rare, facts)


def _sources(adata: Any, index: Any, priors: Any, *, root: Path | None, **align: Any) -> evidence.Sources:
    from genetext.cells.job import aligned
    from genetext.index import GeneIndex

    if index is None:
        raise CellsError("types are read by an index's encoder: give index=, for example human/minilm, or logits=")
    indices = [index] if isinstance(index, str | Path | GeneIndex) else list(index)
    if priors is None:
        return evidence.open_sources(indices, adata, root=root, **align)
    given = list(priors) if isinstance(priors, list | tuple) else [priors]
    if len(given) != len(indices):
        raise CellsError(f"{len(indices)} indices need as many priors: here are {len(given)}")
    opened = [index if isinstance(index, GeneIndex) else GeneIndex.open(index, root=root) for index in indices]
    return [(index, aligned(vectors, adata, root=root, **align)) for index, vectors in zip(opened, given, strict=True)]


def _stored(adata: Any, where: str, key: str) -> Any:
    """Return what an AnnData has under a key of `obs`, `obsm` or `obsp`, or say what it has instead."""
    held = getattr(adata, where)
    if key not in held:
        raise CellsError(f"there is no {where}[{key!r}]: there are {first_ten(list(held)) or 'none'}")
    return held[key]


def _given_graph(adata: Any, graph: Any) -> sparse.csr_matrix:
    graph = _stored(adata, "obsp", graph) if isinstance(graph, str) else graph
    if getattr(graph, "shape", None) != (adata.n_obs, adata.n_obs):
        raise CellsError(f"{adata.n_obs:,} cells need a graph of as many, this one is {getattr(graph, 'shape', graph)}")
    return check_graph(graph)


def _given_logits(adata: Any, logits: str | NDArray[Any], types: CellTypes) -> Floats:
    values = np.asarray(_stored(adata, "obsm", logits) if isinstance(logits, str) else logits, np.float64)
    if values.shape != (adata.n_obs, len(types)):
        raise CellsError(
            f"logits have shape {values.shape}, {adata.n_obs:,} cells and {len(types)} types need "
            f"({adata.n_obs:,}, {len(types)})"
        )
    if bad := int((~np.isfinite(values).all(axis=1)).sum()):
        raise CellsError(f"{bad:,} cells have logits that are NaN or infinite")
    return values


def _groupings(
    adata: Any, groups: str | NDArray[Any], links: sparse.csr_matrix | None, *, resolutions: Sequence[float], seed: int
) -> Groupings:
    if isinstance(groups, str) and groups == "leiden":
        if not len(resolutions):
            raise CellsError("there are no resolutions: give one at least, such as (1.0,)")
        graph = Leiden(links)
        members = [graph.cut(resolution, seed=seed) for resolution in resolutions]
        return [
            (f"leiden {resolution:g}", member, range(int(member.max()) + 1))
            for resolution, member in zip(resolutions, members, strict=True)
        ]
    grouping = groups if isinstance(groups, str) else "groups"
    values = pd.Series(_stored(adata, "obs", groups) if isinstance(groups, str) else np.ravel(groups))
    if len(values) != adata.n_obs:
        raise CellsError(f"{adata.n_obs:,} cells need a group each: here are {len(values):,}")
    labels = known_labels(values, what=grouping)
    if not (names := kinds_of(values, labels)):
        raise CellsError(f"no cell has a group in {grouping}: name another column, or groups='leiden'")
    return [(grouping, pd.Categorical(labels, categories=names).codes.astype(np.int64), names)]


def _confidence(refined: Floats, null: Sequence[Floats]) -> Floats:
    if refined.shape[1] < 2:
        return np.ones(len(refined))
    if null:
        shuffled = np.sort(np.concatenate(null))
        return np.searchsorted(shuffled, margins(refined)) / (len(shuffled) + 1)
    if (refined >= 0).all() and np.allclose(refined.sum(axis=1), 1, atol=1e-3):  # probabilities
        return margins(refined)
    powers = np.exp(refined - refined.max(axis=1, keepdims=True))
    return margins(powers / powers.sum(axis=1, keepdims=True))


def _rare(types: CellTypes, before: Floats, after: Floats, k: int) -> tuple[str, ...]:
    first, last = (np.bincount(values.argmax(axis=1), minlength=len(types)) for values in (before, after))
    rare = [row for row in range(len(types)) if 0 < first[row] <= k]
    if rare:
        counts = [f"{types.names[row]} ({first[row]} before, {last[row]} after smoothing)" for row in rare]
        log.warning(
            "types with no more cells than each has neighbours (k=%d) may be smoothed away: %s. Lower k or lam to "
            "keep them",
            k,
            first_ten(counts),
        )
    return tuple(types.names[row] for row in rare)
