"""What a gene weighs in a cell: every weighting as a sparse matrix minus one number per gene.

Let `x_ij` be the expression of gene `j` in cell `i`, `N_i` its sum over *all* genes, matched or not, and

    w_ij = ln(1 + 10,000 x_ij / N_i)                  (expression="counts" and "linear")
    w_ij = x_ij                                       (expression="log": taken as it is)

`n` counts the cells that are not empty, `m_j` and `s_j` are mean and standard deviation (n - 1) of `w_ij` over them,
zeros included, `d_j` is the number of cells with `x_ij > 0`. The weight `a_ij` of a gene in a cell is

    mean       a = w                                  the expression-weighted mean (GenePT-w)
    top        a = 1 for the `top_n` genes with the largest x, else 0
    contrast   a = max(w - m, 0)                      what is above the data set's mean
    centred    a = w - m
    zscore     a = min((w - m) / s, 10)               0 where s is 0
    tfidf      a = w ln((1 + n) / (1 + d))            genes that every cell expresses weigh next to nothing

and a cell's vector is, over the set M of genes that have a vector `v_j`,

    y_i = sum_M a_ij v_j / sum_M |a_ij|

Genes without a vector are in `N_i`, since the depth of a cell does not depend on what is written about its genes, and
in no other sum. With `top_n` only the `top_n` largest positive weights of a cell among M are kept, ties going to the
gene that stands first; all others become 0, so that nothing is left of the offsets below.

Sparsity is kept because each weighting is `a_ij = t_ij - o_j` with `t_ij = 0` where `x_ij = 0`:

    mean, top, contrast, tfidf   t = a,                        o = 0   (w >= 0 and m >= 0: no zero lies above the mean)
    centred                      t = w,                        o = m
    zscore                       t = min((w - m)/s, 10) + m/s, o = m/s (a zero scores -m/s <= 0: not clipped)

so that `sum_M a_ij v_j = (T V)_i - o V` and `sum_M |a_ij| = sum_{M, x>0} (|a_ij| - |o_j|) + sum_M |o_j|`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.errors import CellsError

CLIP = 10.0
"""A z-score above this counts as this."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Weighting:
    """One way to weigh genes.

    Attributes
    ----------
    name
        What callers name it.
    needs_background
        Whether it compares a cell with the data set, which takes a pass of its own.
    signed
        Whether weights may be negative, zeros of the matrix included.
    """

    name: str
    needs_background: bool = False
    signed: bool = False


WEIGHTINGS: Mapping[str, Weighting] = {
    weighting.name: weighting
    for weighting in (
        Weighting("mean"),
        Weighting("top"),
        Weighting("contrast", needs_background=True),
        Weighting("centred", needs_background=True, signed=True),
        Weighting("zscore", needs_background=True, signed=True),
        Weighting("tfidf", needs_background=True),
    )
}
"""Every weighting, by its name."""


def find(name: str, top_n: int | None) -> Weighting:
    """Return the weighting of that name, or raise `CellsError` where name and `top_n` do not go together."""
    if name not in WEIGHTINGS:
        raise CellsError(f"there is no weighting {name!r}: choose one of {', '.join(WEIGHTINGS)}")
    if top_n is not None and not 1 <= top_n < 2**31:
        raise CellsError(f"top_n is {top_n}: keep one gene per cell at least, or pass None to keep all")
    if name == "top" and top_n is None:
        raise CellsError("weighting='top' needs top_n=, the number of genes to average, for example 100")
    return WEIGHTINGS[name]


def digest_of(names: Any) -> str:
    """Return the sha256 that stands for these names of genes in this order."""
    return disk.sha256_json([str(name) for name in names])


@dataclass(frozen=True)
class Background:
    """What genes are like over a data set: sums that blocks of cells can be added up to.

    Measured once on reference cells, it can weigh the genes of other cells (`embed_cells(background=)`), so that
    cells held out for a test do not move the mean that they are compared with.

    Attributes
    ----------
    n_cells
        Cells that are not empty.
    total, squares
        Sum of `w` and of `w²`: `(n_genes,) float64`.
    expressed
        Number of cells with `x > 0`: `(n_genes,) int64`.
    genes
        `digest_of` the names of the genes, in their order: what tells that cells measured elsewhere have the same.
        Empty: not known.
    """

    n_cells: int
    total: Floats
    squares: Floats
    expressed: NDArray[np.int64]
    genes: str = ""

    @classmethod
    def empty(cls, n_genes: int) -> "Background":
        """Return the background of no cells."""
        return cls(0, np.zeros(n_genes), np.zeros(n_genes), np.zeros(n_genes, np.int64))

    def __add__(self, other: "Background") -> "Background":
        if self.genes and other.genes and self.genes != other.genes:
            raise CellsError("backgrounds of other genes, or of another order of genes, cannot be added up")
        return Background(
            self.n_cells + other.n_cells,
            self.total + other.total,
            self.squares + other.squares,
            self.expressed + other.expressed,
            self.genes or other.genes,
        )

    def __getitem__(self, genes: Any) -> "Background":
        return Background(self.n_cells, self.total[genes], self.squares[genes], self.expressed[genes])

    def __len__(self) -> int:
        return len(self.total)

    @property
    def mean(self) -> Floats:
        """Mean of `w` over the cells: `(n_genes,) float64`."""
        return self.total / max(self.n_cells, 1)

    @property
    def sd(self) -> Floats:
        """Standard deviation of `w` (n - 1): `(n_genes,) float64`; exactly 0 where nothing but rounding varies."""
        if self.n_cells < 2:
            return np.zeros(len(self))
        spread = self.squares - self.total * self.mean
        # The difference of two sums of n terms carries their rounding: below that, the gene is constant.
        spread[spread <= 1e-12 * self.squares] = 0
        sd: Floats = np.sqrt(spread / (self.n_cells - 1))
        return sd

    @property
    def idf(self) -> Floats:
        """`ln((1 + n) / (1 + d))`: `(n_genes,) float64`, never negative."""
        idf: Floats = np.log((1 + self.n_cells) / (1 + self.expressed))
        return idf


@dataclass(frozen=True)
class GeneTerms:
    """What a weighting needs to know of each gene to weigh it: arrays `(n_genes,) float64`.

    Attributes
    ----------
    shift, scale
        `t = (w - shift) * scale` before clipping.
    offset
        `o`, what is subtracted from every cell; zeros unless the weighting is signed.
    """

    weighting: Weighting
    shift: Floats
    scale: Floats
    offset: Floats

    @classmethod
    def of(cls, weighting: Weighting, n_genes: int, background: Background | None) -> "GeneTerms":
        """Derive the terms of a weighting from the background of its genes."""
        zeros, ones = np.zeros(n_genes), np.ones(n_genes)
        if not weighting.needs_background:
            return cls(weighting, zeros, ones, zeros)
        if background is None or len(background) != n_genes:
            raise CellsError(f"weighting={weighting.name!r} needs the background of {n_genes:,} genes")
        mean = background.mean
        match weighting.name:
            case "contrast":
                return cls(weighting, mean, ones, zeros)
            case "centred":
                return cls(weighting, mean, ones, mean)
            case "tfidf":
                return cls(weighting, zeros, background.idf, zeros)
            case _:
                sd = background.sd
                scale = np.divide(1, sd, out=zeros.copy(), where=sd > 0)
                return cls(weighting, mean, scale, mean * scale)

    def weigh(self, w: Floats, genes: NDArray[np.integer[Any]]) -> Floats:
        """Return the weights `a` of expressed genes: `w` and `genes` (positions) have one entry per non-zero."""
        name = self.weighting.name
        if name in ("mean", "top"):
            return w
        if name == "tfidf":
            weighted: Floats = w * self.scale[genes]
            return weighted
        a: Floats = w - self.shift[genes]
        if name == "contrast":
            np.maximum(a, 0, out=a)
        if name == "zscore":
            a *= self.scale[genes]
            np.minimum(a, CLIP, out=a)
        return a
