"""Weights times vectors for a few hundred cells at a time: sparse, exact in its order, and fast.

scipy's `csr @ dense` walks along a cell and fetches another gene's vector for each non-zero: the vectors of 20,000
genes do not fit a processor's cache, so that most of its time is spent waiting for memory. Turned gene by gene (CSC),
a tile of 256 cells reads each gene's vector once, and the cells' sums stay in the cache. Both add up a cell's genes in
the order of the genes, so that they give the same bits, whichever cells share a tile.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from genetext.cells.weighting import Background, Floats, GeneTerms
from genetext.errors import CellsError, first_ten
from genetext.keys import Keys

log = logging.getLogger("genetext")

TILE = 256
"""Cells that are multiplied together. Sums over cells are added up by tiles, so that they do not depend on blocks."""
PANEL = 512
"""Columns of the gene vectors that are multiplied together."""

STATUSES = ("ok", "empty", "unmatched", "flat")
"""`empty`: no expression; `unmatched`: none of the genes it expresses has a vector; `flat`: all weights are 0."""


@dataclass(frozen=True)
class CellVectors:
    """Vectors of some cells and what became of each cell.

    Attributes
    ----------
    vectors
        `(n_cells, dim) float32`; rows of NaN where `status` is not 0.
    status
        `(n_cells,) int8`: positions in `STATUSES`.
    share
        `(n_cells,) float32`: the share of the cell's expression that lies on genes with a vector; 0 for empty cells.
    """

    vectors: NDArray[np.float32]
    status: NDArray[np.int8]
    share: NDArray[np.float32]

    @classmethod
    def concatenated(cls, parts: "Iterable[CellVectors]") -> "CellVectors":
        """Put cells one below the other."""
        arrays = zip(*((part.vectors, part.status, part.share) for part in parts), strict=True)
        return cls(*(np.concatenate(array) for array in arrays))

    @property
    def counts(self) -> dict[str, int]:
        """How many cells have which status, for the record: `n_ok`, `n_empty` ..."""
        return {f"n_{name}": int((self.status == code).sum()) for code, name in enumerate(STATUSES)}

    def columns(self, keys: Keys) -> dict[str, Any]:
        """Return the columns of `obs` that tell what became of each cell."""
        status = pd.Categorical.from_codes(self.status, pd.Index(STATUSES))
        return {keys.cell_status: status, f"{keys.base}_share": self.share}

    def warn(self) -> None:
        """Log a warning of cells that got no vector."""
        lost = {name: n for name, n in self.counts.items() if n and name != "n_ok"}
        if lost:
            kinds = ", ".join(f"{n:,} {name.removeprefix('n_')}" for name, n in lost.items())
            n_lost, n_cells = sum(lost.values()), len(self.status)
            log.warning("%d of %d cells have no vector (%s): their rows are NaN", n_lost, n_cells, kinds)


@dataclass(frozen=True)
class Scale:
    """How expression becomes `w`: `log1p(target_sum * x / total)`, or as it is.

    Attributes
    ----------
    log
        Whether the expression is log-normalised already.
    target_sum
        Counts that each cell is scaled to.
    """

    log: bool = False
    target_sum: float = 1e4


@dataclass(frozen=True)
class Plan:
    """Everything that turns the expression of a tile into vectors; picklable, made once.

    Attributes
    ----------
    terms
        The weighting, for the matched genes.
    vectors
        Vectors of the matched genes, `(n_matched, dim) float32`, finite.
    position
        For each column of the expression matrix its row in `vectors`, or -1: `(n_columns,) int32`.
    scale
        How expression becomes `w`.
    top_n
        Keep that many genes per cell; None: all.
    unit
        Whether cell vectors are scaled to unit length.
    """

    terms: GeneTerms
    vectors: NDArray[np.float32]
    position: NDArray[np.int32]
    scale: Scale = Scale()
    top_n: int | None = None
    unit: bool = False
    _panels: list[NDArray[np.float32]] = field(init=False, repr=False)
    _base: Floats = field(init=False, repr=False)
    _base_l1: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        panels = [np.ascontiguousarray(self.vectors[:, at : at + PANEL]) for at in range(0, self.dim, PANEL)]
        object.__setattr__(self, "_panels", panels)
        object.__setattr__(self, "_base", self.terms.offset @ self.vectors.astype(np.float64))
        object.__setattr__(self, "_base_l1", float(np.abs(self.terms.offset).sum()))

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    @property
    def subtracts(self) -> bool:
        """Whether every cell, whatever it expresses, loses the offsets."""
        return self.terms.weighting.signed and self.top_n is None

    def weigh(self, tile: Any) -> "Weights":
        """Return the weights of a tile's genes, `(n_cells, n_columns)` CSR, any real dtype."""
        values, rows, totals = expression(tile, self.scale)
        genes = self.position[tile.indices]
        raw = tile.data
        keep = (genes >= 0) & (raw > 0)
        matched = _sums(rows[keep], raw[keep], len(totals))
        genes, rows, values, raw = genes[keep], rows[keep], values[keep], raw[keep]
        expressed = np.bincount(rows, minlength=len(totals))
        a = self.terms.weigh(values, genes)
        if self.top_n is not None:
            chosen = _largest(raw if self.terms.weighting.name == "top" else a, genes, expressed, self.top_n)
            genes, rows, a = genes[chosen], rows[chosen], a[chosen]
            if self.terms.weighting.name == "top":
                a = np.ones(len(a))
        if self.subtracts:
            offsets = self.terms.offset[genes]
            absolute = _sums(rows, np.abs(a) - offsets, len(totals)) + self._base_l1
            sparse_part = a + offsets
        else:
            absolute = _sums(rows, a, len(totals))
            sparse_part = a
        status = np.zeros(len(totals), np.int8)
        status[~(absolute > 0)] = STATUSES.index("flat")
        status[expressed == 0] = STATUSES.index("unmatched")
        status[totals == 0] = STATUSES.index("empty")
        share = np.divide(matched, totals, out=np.zeros(len(totals)), where=totals > 0)
        starts = np.zeros(len(totals) + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=len(totals)), out=starts[1:])
        return Weights(sparse_part, genes, starts, absolute, status, np.minimum(share, 1).astype(np.float32))

    def embed(self, tile: Any) -> CellVectors:
        """Return the vectors of a tile's cells, `(n_cells, n_columns)` CSR, any real dtype."""
        weights = self.weigh(tile)
        shape = (len(weights.absolute), len(self.vectors))
        matrix = sparse.csr_array(
            (weights.values.astype(np.float32), weights.genes, weights.starts.astype(np.int32)), shape=shape
        ).tocsc()
        out = np.empty((shape[0], self.dim), np.float32)
        divisor = np.where(weights.status == 0, weights.absolute, 1)[:, None]
        for number, panel in enumerate(self._panels):
            at = slice(number * PANEL, number * PANEL + panel.shape[1])
            summed = matrix @ panel
            # Signed weightings subtract in float64: the offsets of all genes add up to more than what is left.
            out[:, at] = (summed - self._base[at]) / divisor if self.subtracts else summed / divisor
        if self.unit:
            norms = np.linalg.norm(out, axis=1, keepdims=True)
            np.divide(out, norms, out=out, where=norms > 0)
        out[weights.status != 0] = np.nan
        return CellVectors(out, weights.status, weights.share)


@dataclass(frozen=True)
class Weights:
    """The weights of a tile: `a_ij = t_ij - o_j`, `t` in CSR form over the matched genes.

    Attributes
    ----------
    values, genes, starts
        `t` at the non-zeros (float64), their genes (rows of `Plan.vectors`), and where each cell starts among them.
    absolute
        `sum_M |a_ij|` of each cell: `(n_cells,) float64`.
    status, share
        As in `CellVectors`.
    """

    values: Floats
    genes: NDArray[np.int32]
    starts: NDArray[np.int64]
    absolute: Floats
    status: NDArray[np.int8]
    share: NDArray[np.float32]


def expression(tile: Any, scale: Scale) -> tuple[Floats, NDArray[np.intp], Floats]:
    """Return `w` (float64) and the cell of each non-zero of a CSR tile, and each cell's total expression (float64)."""
    n_cells = tile.shape[0]
    rows = np.repeat(np.arange(n_cells), np.diff(tile.indptr))
    x = tile.data.astype(np.float64)
    totals = _sums(rows, x, n_cells)
    if scale.log:
        return x, rows, totals
    factor = np.divide(scale.target_sum, totals, out=np.zeros(n_cells), where=totals > 0)
    x *= factor[rows]
    return np.log1p(x, out=x), rows, totals


def measure(tile: Any, scale: Scale) -> Background:
    """Return the background of a CSR tile, over all its columns."""
    w, _, totals = expression(tile, scale)
    n_genes = tile.shape[1]
    return Background(
        int((totals > 0).sum()),
        _sums(tile.indices, w, n_genes),
        _sums(tile.indices, w * w, n_genes),
        np.bincount(tile.indices[tile.data > 0], minlength=n_genes),
    )


def check(tile: Any, *, start: int = 0, names: Any = None, where: str = "the matrix", whole: bool = False) -> None:
    """Raise `CellsError` where a CSR tile holds what expression cannot be.

    That is NaN, infinity, less than zero, and, where it is said to be `whole` (counts), anything between two integers.
    """
    # One minimum finds the first three: NaN spreads, and infinity shows in the sum.
    sound = not tile.nnz or (float(tile.data.min()) >= 0 and np.isfinite(tile.data.sum(dtype=np.float64)))
    if sound and not (whole and tile.data.dtype.kind == "f" and (tile.data != np.floor(tile.data)).any()):
        return
    bad = ~np.isfinite(tile.data)
    what, why = "NaN or infinite values", "scaled or corrected data cannot be weights"
    if not bad.any():
        bad, what = tile.data < 0, "negative values"
    if not bad.any():
        bad, what = tile.data != np.floor(tile.data), "values that are not whole"
        why = "these are no counts; amounts that are not whole need expression='linear'"
    rows = np.repeat(np.arange(tile.shape[0]), np.diff(tile.indptr))
    cells = np.unique(rows[bad]) + start
    named = [str(names[cell]) if names is not None else f"row {cell}" for cell in cells]
    raise CellsError(
        f"{where} holds {what} in {first_ten(named)} (of the rows read so far): {why}. Pass layer= with the "
        f"counts, or expression='log' with a layer of log-normalised values"
    )


def _sums(groups: NDArray[Any], values: NDArray[Any], n_groups: int) -> Floats:
    """Add up values by group, in float64 and in their order."""
    sums: Floats = np.bincount(groups, weights=values, minlength=n_groups).astype(np.float64, copy=False)
    return sums


def _largest(
    values: NDArray[Any], genes: NDArray[np.int32], expressed: NDArray[np.intp], top_n: int
) -> NDArray[np.bool_]:
    """Mark the `top_n` largest positive values of each cell; of equal ones, those of the first genes."""
    chosen = values > 0
    ends = np.cumsum(expressed)
    for cell in np.flatnonzero(expressed > top_n):
        at = slice(ends[cell] - expressed[cell], ends[cell])
        of_cell = values[at]
        threshold = np.partition(of_cell, len(of_cell) - top_n)[len(of_cell) - top_n]
        above = of_cell > threshold
        ties = np.flatnonzero(of_cell == threshold)
        ties = ties[np.argsort(genes[at][ties], kind="stable")][: top_n - int(above.sum())]
        above[ties] = True
        chosen[at] &= above
    return chosen
