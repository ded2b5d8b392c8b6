"""Genes of cells and their weights, as rows that a mini-batch takes and a view of a cell leaves some out of."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellmodels.data.inputs import CellMatrix, Rows
from genetext.cells.product import Plan, Scale, measure
from genetext.cells.weighting import Background, GeneTerms, find

_BLOCK = 4096
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Averaging:
    """How the vectors of genes become the vector of a cell: `embed_cells`, with a background that stays.

    Attributes
    ----------
    weighting, top_n
        As in `genetext.cells.weighting`.
    vectors
        `(n_known, dim) float32`: vectors of the genes that have one.
    columns
        `(n_known,) int64`: where these genes are among the model's.
    terms
        `(3, n_known) float64`: shift, scale and offset of each, from the cells that the model was fitted on.
    """

    weighting: str
    top_n: int | None
    vectors: NDArray[np.float32]
    columns: NDArray[np.int64]
    terms: Floats

    @classmethod
    def measured(
        cls,
        cells: CellMatrix,
        columns: NDArray[np.int64],
        vectors: NDArray[np.float32],
        weighting: str,
        top_n: int | None,
    ) -> Self:
        """Measure what the weighting compares with on these cells (log values)."""
        weighing = find(weighting, top_n)
        background = None
        if weighing.needs_background:
            total = Background.empty(cells.n_genes)
            for start in range(0, cells.n_cells, _BLOCK):
                total = total + measure(cells.matrix[start : start + _BLOCK], Scale(log=True))
            # Cells that express other genes only are cells too: their zeros count.
            n_cells = int((cells.totals > 0).sum())
            background = Background(n_cells, total.total, total.squares, total.expressed)[columns]
        terms = GeneTerms.of(weighing, len(columns), background)
        return cls(weighting, top_n, vectors, columns, np.stack([terms.shift, terms.scale, terms.offset]))

    def bags(self, cells: CellMatrix) -> "Bags":
        """Weigh the genes of cells, given by the model's genes as log values."""
        position = np.full(cells.n_genes, -1, np.int32)
        position[self.columns] = np.arange(len(self.columns), dtype=np.int32)
        weighing = find(self.weighting, self.top_n)
        terms = GeneTerms(weighing, *self.terms)
        plan = Plan(terms, self.vectors, position, Scale(log=True), self.top_n)
        parts = []
        for start in range(0, cells.n_cells, _BLOCK):
            block = plan.weigh(cells.matrix[start : start + _BLOCK])
            offset = terms.offset[block.genes] if plan.subtracts else 0
            parts.append((block.values - offset, block.genes, np.diff(block.starts), block.status))
        weights, genes, lengths, status = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return Bags(weights.astype(np.float32), genes.astype(np.int64), starts, status != 0)

    def means(self, bags: "Bags", rows: Rows) -> Floats:
        """Return the vectors of some cells, `(len(rows), dim) float64`."""
        mean = MeanOfGenes(self)
        with torch.inference_mode():
            parts = [mean(**bags.take(rows[start : start + _BLOCK])) for start in range(0, len(rows), _BLOCK)]
        return torch.cat(parts).double().numpy()

    @property
    def offset(self) -> Floats:
        """`(n_known,)`: what every cell's weight of a gene is lowered by, whether it expresses the gene or not."""
        return self.terms[2] if self.top_n is None else np.zeros(len(self.columns))


@dataclass(frozen=True, eq=False)
class Bags:
    """Genes of cells and their weights `a`, cell after cell.

    Attributes
    ----------
    weights
        `(n_entries,) float32`.
    genes
        `(n_entries,) int64`: rows of the vectors.
    starts
        `(n_cells + 1,) int64`.
    lost
        `(n_cells,) bool`: cells that have no vector: nothing they express has one, or all weights are 0.
    """

    weights: NDArray[np.float32]
    genes: NDArray[np.int64]
    starts: NDArray[np.int64]
    lost: NDArray[np.bool_]

    def take(self, rows: Rows) -> dict[str, Tensor]:
        """Return the entries of some cells: `genes`, `weights`, and where each cell `starts`."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return {
            "genes": torch.from_numpy(self.genes[at]),
            "weights": torch.from_numpy(self.weights[at]),
            "starts": torch.from_numpy(starts[:-1]),
        }


class MeanOfGenes(nn.Module):
    """`sum a v / sum |a|` over the genes of each cell, of which a share may be left out.

    A gene left out adds to neither sum. With weightings that lower all genes by an offset, the genes that a cell does
    not express are counted by the offsets of all genes less those of the genes it expresses.

    Parameters
    ----------
    averaging
        Vectors and offsets.
    """

    vectors: Tensor
    ones: Tensor
    offset: Tensor
    base: Tensor
    base_l1: Tensor

    def __init__(self, averaging: Averaging) -> None:
        super().__init__()
        offset = averaging.offset
        self.signed = bool(offset.any())
        tensors = {
            "vectors": averaging.vectors,
            "ones": np.ones((len(averaging.columns), 1)),
            "offset": offset,
            "base": offset @ averaging.vectors.astype(np.float64),
            "base_l1": np.abs(offset).sum(),
        }
        for name, value in tensors.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)

    def forward(self, genes: Tensor, weights: Tensor, starts: Tensor, drop: float = 0.0) -> Tensor:
        """Return `(n_cells, dim)`; a cell of which nothing is left is zeros."""
        a = weights
        if drop > 0:
            a = a * (torch.rand_like(a) >= drop)
        if not self.signed:
            total = self._sum(genes, self.ones, starts, a)
            return self._sum(genes, self.vectors, starts, a) / _nonzero(total) * (total > 0)
        offset = self.offset[genes]
        total = self._sum(genes, self.ones, starts, a.abs() - offset) + self.base_l1
        return (self._sum(genes, self.vectors, starts, a + offset) - self.base) / _nonzero(total) * (total > 0)

    @staticmethod
    def _sum(genes: Tensor, table: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
        return nn.functional.embedding_bag(genes, table, starts, mode="sum", per_sample_weights=weights)


def _nonzero(total: Tensor) -> Tensor:
    return torch.where(total > 0, total, torch.ones_like(total))
