"""How the genes of some priors lie to each other: neighbour graph, similarity kernel, effective dimension."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext.errors import PriorsError, first_ten
from genetext.priors.base import Priors
from genetext.vectors import unit_rows

_ROWS = 1024
# Cosines of unit float32 vectors are off by less than this; what is that near to the k-th place is measured again.
_SLACK = 1e-5


def gene_graph(priors: Priors, k: int, *, mode: str = "union") -> Any:
    """Link each gene to its `k` nearest by cosine; see `GenePriors.gene_graph`.

    Candidates come from blocks of float32 products, so that memory is flat in the number of genes. They are measured
    again one by one in float64, and equal ones are taken in the order of their GeneIDs: the graph does not depend on
    the block size, the number of threads or the order of the genes.
    """
    import scipy.sparse

    if k < 1:
        raise PriorsError(f"k is {k}: ask for one neighbour at least")
    if mode not in {"union", "mutual", "directed"}:
        raise PriorsError(f"unknown mode {mode!r}: union, mutual or directed")
    # Among genes, not rows: one that stands twice would be its own neighbour, and crowd out another.
    rows, back = priors.distinct
    # In the order of GeneIDs, so that a smaller position is what wins a tie.
    order = np.lexsort((priors.keys[rows], priors.gene_ids[rows]))
    unit = unit_rows(priors.vectors[rows[order]]) if priors.dim else np.zeros((len(rows), 1), np.float32)
    sources, targets, cosines = _nearest(unit, k)
    genes = scipy.sparse.csr_matrix(
        (cosines, (order[sources], order[targets])), shape=(len(rows), len(rows)), dtype=np.float32
    )
    known = np.flatnonzero(priors.mask)
    place = scipy.sparse.csr_matrix(
        (np.ones(len(known), np.float32), (known, back)), shape=(len(priors), len(rows)), dtype=np.float32
    )
    # Each row of a gene has the links of the gene, to every row of its neighbours. One product per entry: exact.
    directed = (place @ genes @ place.T).tocsr()
    directed.sort_indices()
    if mode == "directed":
        return directed
    return directed.maximum(directed.T).tocsr() if mode == "union" else directed.minimum(directed.T).tocsr()


def kernel(priors: Priors, kind: str = "cosine", *, scale: float | None = None) -> NDArray[np.float32]:
    """Return the similarity of all genes to each other, `(n, n) float32`; see `GenePriors.kernel`."""
    if kind not in {"cosine", "linear", "rbf"}:
        raise PriorsError(f"unknown kernel {kind!r}: cosine, linear or rbf")
    if scale is not None and not (kind == "rbf" and scale > 0):
        raise PriorsError(f"scale={scale} means nothing to the kernel {kind}: only rbf has one, greater than 0")
    known = priors.vectors[priors.mask]
    if kind == "cosine":
        known = unit_rows(known)
    inner = known @ known.T
    if kind == "rbf":
        square = np.einsum("ij,ij->i", known, known)
        distance2 = np.maximum(square[:, None] + square[None] - 2 * inner, 0)
        np.fill_diagonal(distance2, 0)
        width = _median_distance(priors) if scale is None else scale
        inner = np.exp(distance2 / np.float32(-2 * width * width))
    elif kind == "cosine":
        np.fill_diagonal(inner, 1)
    result = np.eye(len(priors), dtype=np.float32)
    result[np.ix_(priors.mask, priors.mask)] = (inner + inner.T) / 2
    return result


def participation_ratio(priors: Priors) -> float:
    """Return the effective number of dimensions that the genes fill; see `GenePriors.participation_ratio`."""
    rows, _ = priors.distinct
    if len(rows) < 2 or not priors.dim:
        raise PriorsError(f"a participation ratio needs two genes with vectors, here are {len(rows)} x {priors.dim}")
    centred = priors.vectors[rows].astype(np.float64)
    centred -= centred.mean(axis=0)
    # Trace and Frobenius norm are the sums wanted, and are the same for both products: take the smaller one.
    gram = centred.T @ centred if centred.shape[1] <= len(rows) else centred @ centred.T
    trace, square = float(np.trace(gram)), float(np.square(gram).sum())
    if square == 0:
        raise PriorsError(f"all {len(rows):,} genes have the same vector: {first_ten(list(priors.names[rows]))}")
    return trace * trace / square


def _nearest(unit: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the links of the `k` nearest of each row of `unit`, smaller positions first where cosines are equal."""
    n = len(unit)
    k = min(k, n - 1)
    links: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
    for start in range(0, n if k > 0 else 0, _ROWS):
        block = unit[start : start + _ROWS]
        cosine = block @ unit.T
        places = np.arange(len(block))
        cosine[places, start + places] = -np.inf
        kth = np.partition(cosine, n - k, axis=1)[:, n - k]
        sources, targets = np.nonzero(cosine >= np.maximum(kth - _SLACK, 0)[:, None])
        exact = _cosines(block, sources, unit, targets)
        positive = exact > 0
        sources, targets, exact = sources[positive], targets[positive], exact[positive]
        order = np.lexsort((targets, -exact, sources))
        sources, targets, exact = sources[order], targets[order], exact[order]
        first = np.searchsorted(sources, places)
        kept = np.arange(len(sources)) - first[sources] < k
        links.append((start + sources[kept], targets[kept], exact[kept].astype(np.float32)))
    if not links:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    sources, targets, cosines = (np.concatenate(column) for column in zip(*links, strict=True))
    return sources, targets, cosines


def _cosines(
    left: NDArray[np.float32], sources: NDArray[np.int64], right: NDArray[np.float32], targets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return float64 inner products of pairs of rows: the same bits for the same two vectors, wherever they stand."""
    exact = np.empty(len(sources), np.float64)
    step = max(1, 4_000_000 // max(left.shape[1], 1))
    for start in range(0, len(sources), step):
        part = slice(start, start + step)
        exact[part] = (left[sources[part]].astype(np.float64) * right[targets[part]]).sum(axis=1)
    return exact


def _median_distance(priors: Priors) -> float:
    """Return the median distance between different genes; 1 where there is no pair apart."""
    vectors = priors.vectors[priors.distinct[0]].astype(np.float64)
    # All pairs of 20,000 genes are 200 million: about a thousand genes against all tell the median as well.
    sample = vectors[:: max(1, len(vectors) // 1000)]
    square = np.einsum("ij,ij->i", vectors, vectors)
    distance2 = np.einsum("ij,ij->i", sample, sample)[:, None] + square[None] - 2 * sample @ vectors.T
    apart = distance2[distance2 > 1e-12]
    return float(np.sqrt(np.median(apart))) if apart.size else 1.0
