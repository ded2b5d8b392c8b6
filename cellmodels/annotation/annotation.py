"""annotate: cell types from their names or definitions alone, with no training and no list of markers.

    types --text--> affinity to genes --expression of groups--> logits --graph of cells--> refined logits --> labels

Cells are grouped by their expression (Leiden, coarse and fine; labels play no part), each group is scored for each type
by the genes whose text is near to the type's (`evidence`), and the scores of the cells are smoothed along the graph of
neighbours (`smoothing`). Instead of the groups' evidence, text vectors of single cells can be compared with those of
the types (`method="vectors"`), or logits of any other model be refined (`logits=`).
"""

import logging
from collections.abc import Mapping, Sequence
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
from cellmodels.annotation.logits import Groupings, by_markers, by_vectors, given_logits, margins
from cellmodels.annotation.smoothing import refine_logits
from cellmodels.groups.graphs import Floats, LaplacianKind, check_graph, knn_graph
from cellmodels.groups.leiden import Leiden
from cellmodels.groups.pca import principal_components
from cellmodels.groups.profiles import log_normalised
from genetext.errors import CellsError, first_ten
from genetext.keys import Keys

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
        second type that are smaller when the genes' affinities are shuffled. Else, or without shuffles: the margin of
        the softmax.
    logits, refined
        `(n_cells, n_types) float64`: before and after smoothing.
    groups
        One row per group of cells: `grouping`, `group`, `n_cells`, `type`, `score`, `second`, `margin`; None without
        groups. A cell's logits are the mean over the groupings.
    genes
        The genes that spoke for each type in the cells that got it (`evidence.spoken`). None without groups.
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
        found = pd.Series(self.labels, dtype=object).value_counts()
        return {name: int(found.get(name, 0)) for name in self.types.names}

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
    expression: str = "counts",
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
        `leiden`, a column of `obs`, or an array `(n_cells,)`: which cells are judged together.
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
        Measure confidence by so many shuffles of the genes; 0: by the margin of the softmax alone.
    expression, layer
        As in `genetext.cells.embed_cells`.
    seed
        Of the grouping and of the shuffles that confidence is measured by.
    key_added
        Base of the keys that are written.
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
    known = CellTypes.of(types)
    keys = Keys(key_added)
    if method not in METHODS:
        raise CellsError(f"unknown method {method!r}: {' or '.join(METHODS)}")
    if not 0 <= min_confidence <= 1:
        raise CellsError(f"min_confidence is {min_confidence}: give a number from 0 to 1")
    if not adata.n_obs:
        raise CellsError("there are no cells")
    if ontology is not None:
        known = known.with_ontology(ontology)
    matrix = None
    needs_graph = graph is None and lam > 0
    needs_groups = logits is None and method == "markers" and isinstance(groups, str) and groups == "leiden"
    if logits is None or (rep is None and needs_graph):
        matrix = log_normalised(adata, expression=expression, layer=layer)
    links = None
    if graph is not None:
        links = _given_graph(adata, graph)
    elif needs_graph or needs_groups:
        links = knn_graph(_coordinates(adata, rep, matrix), k)
    if logits is not None:
        found = given_logits(adata, logits, known)
    else:
        assert matrix is not None  # read above
        sources = _sources(adata, index, priors, root=root, **align)
        if method == "vectors":
            found = by_vectors(adata, known, sources, matrix)
        else:
            groupings = _groupings(adata, groups, links, resolutions=resolutions, seed=seed)
            found = by_markers(known, sources, matrix, groupings, shuffles=shuffles, seed=seed)
    refined = found.logits if links is None else refine_logits(found.logits, links, lam, kind=laplacian)
    rare = _rare(known, found.logits, refined, k) if lam > 0 else ()
    confidence = np.where(found.silent, 0, _confidence(refined, found.null)).astype(np.float32)
    names = np.array(known.names, object)
    labels = names[refined.argmax(axis=1)]
    labels[found.silent | (confidence < min_confidence)] = None
    facts = {
        "types": list(known.names),
        "method": found.method,
        "k": k,
        "lam": float(lam),
        "laplacian": laplacian,
        "min_confidence": float(min_confidence),
        "seed": seed,
        "rare": list(rare),
        "n_silent": int(found.silent.sum()),
        **found.facts,
        **({"ontology": Path(ontology).name, "terms": list(known.terms)} if ontology is not None else {}),
    }
    target = adata.copy() if copy else adata
    target.obs[keys.base] = pd.Categorical(labels, categories=list(known.names))
    target.obs[f"{keys.base}_confidence"] = confidence
    target.obsm[f"{keys.base}_logits"] = found.logits.astype(np.float32)
    target.obsm[f"{keys.base}_refined"] = refined.astype(np.float32)
    keys.record(target, "annotate", facts)
    genes = None
    if found.near is not None and matrix is not None:
        chosen, member = np.unique(refined.argmax(axis=1), return_inverse=True)
        genes = evidence.spoken(found.near, GroupProfiles.of(matrix, member.reshape(-1)), chosen)
    return Annotation(target, known, labels, confidence, found.logits, refined, found.groups, genes, rare, facts)


def _sources(
    adata: Any, index: Any, priors: Any, *, root: Path | None, **align: Any
) -> "list[tuple[GeneIndex, GenePriors]]":
    from genetext.cells.embed import aligned
    from genetext.index import GeneIndex

    if index is None:
        raise CellsError("types are read by an index's encoder: give index=, for example human/minilm, or logits=")
    indices = [index] if isinstance(index, str | Path | GeneIndex) else list(index)
    if priors is None:
        return evidence.open_sources(indices, adata, root=root, **align)
    given = list(priors) if isinstance(priors, list | tuple) else [priors]
    if len(given) != len(indices):
        raise CellsError(f"{len(indices)} indices need as many priors: here are {len(given)}")
    opened = [one if isinstance(one, GeneIndex) else GeneIndex.open(one, root=root) for one in indices]
    return [(one, aligned(own, adata, root=root, **align)) for one, own in zip(opened, given, strict=True)]


def _coordinates(adata: Any, rep: str | None, matrix: sparse.csr_matrix | None) -> NDArray[Any]:
    if rep is not None:
        if rep not in adata.obsm:
            raise CellsError(f"there is no obsm[{rep!r}]: there are {first_ten(list(adata.obsm)) or 'none'}")
        return np.asarray(adata.obsm[rep])
    return principal_components(matrix)


def _given_graph(adata: Any, graph: Any) -> sparse.csr_matrix:
    if isinstance(graph, str):
        if graph not in adata.obsp:
            raise CellsError(f"there is no obsp[{graph!r}]: there are {first_ten(list(adata.obsp)) or 'none'}")
        graph = adata.obsp[graph]
    if getattr(graph, "shape", None) != (adata.n_obs, adata.n_obs):
        raise CellsError(f"{adata.n_obs:,} cells need a graph of as many, this one is {getattr(graph, 'shape', graph)}")
    return check_graph(graph)


def _groupings(
    adata: Any, groups: str | NDArray[Any], links: sparse.csr_matrix | None, *, resolutions: Sequence[float], seed: int
) -> Groupings:
    if isinstance(groups, str) and groups == "leiden":
        if not len(resolutions):
            raise CellsError("there are no resolutions: give one at least, such as (1.0,)")
        graph = Leiden(links)
        cut = [(f"leiden {value:g}", graph.cut(value, seed=seed)) for value in resolutions]
        return [(label, member, range(int(member.max()) + 1)) for label, member in cut]
    label = groups if isinstance(groups, str) else "groups"
    if isinstance(groups, str):
        if groups not in adata.obs:
            raise CellsError(f"there is no obs[{groups!r}]: there are {first_ten(list(adata.obs)) or 'none'}")
        groups = adata.obs[groups].to_numpy()
    values = pd.Series(np.asarray(groups).ravel())
    if len(values) != adata.n_obs or values.isna().any():
        raise CellsError(
            f"{adata.n_obs:,} cells need a group each: here are {len(values):,}, {int(values.isna().sum()):,} of them "
            f"missing"
        )
    codes, names = pd.factorize(values, sort=True)
    return [(label, codes.astype(np.int64), list(names))]


def _confidence(refined: Floats, null: Floats | None) -> Floats:
    if refined.shape[1] < 2:
        return np.ones(len(refined))
    if null is not None:
        return np.searchsorted(np.sort(null), margins(refined)) / (len(null) + 1)
    probable = (refined >= 0).all() and np.allclose(refined.sum(axis=1), 1, atol=1e-3)
    if probable:
        return margins(refined)
    powers = np.exp(refined - refined.max(axis=1, keepdims=True))
    return margins(powers / powers.sum(axis=1, keepdims=True))


def _rare(types: CellTypes, before: Floats, after: Floats, k: int) -> tuple[str, ...]:
    first, last = (np.bincount(values.argmax(axis=1), minlength=len(types)) for values in (before, after))
    rare = [j for j in range(len(types)) if 0 < first[j] <= k]
    if rare:
        told = [f"{types.names[j]} ({first[j]} before, {last[j]} after smoothing)" for j in rare]
        log.warning(
            "types with no more cells than each has neighbours (k=%d) may be smoothed away: %s. Lower k or lam to "
            "keep them",
            k,
            first_ten(told),
        )
    return tuple(types.names[j] for j in rare)
