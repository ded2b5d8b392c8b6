"""What groups of cells express beside the other cells."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.groups.graphs import Floats
from cellmodels.groups.variable_genes import moments


@dataclass(frozen=True)
class GroupProfiles:
    """Expression of groups of cells, and how far it differs from that of all cells.

    Attributes
    ----------
    sizes
        `(n_groups,) int64`: cells of each group.
    mean
        `(n_groups, n_genes) float64`: mean log-normalised expression.
    contrast
        `(n_groups, n_genes) float64`: the mean's distance to that of all cells, in standard deviations of a cell.
    log_ratio
        `(n_groups, n_genes) float64`: `log2((x + 0.5) / (mean of x over the groups + 0.5))`, where
        `x = expm1(mean log-normalised expression)`. So `x` is a geometric mean over the cells, not the arithmetic mean
        of their normalised counts: a few cells with many molecules do not decide. Each group weighs the same.
    expressed
        `(n_genes,) bool`: genes found in ten cells, or in one of a hundred where there are fewer than a thousand.
    """

    sizes: NDArray[np.int64]
    mean: Floats
    contrast: Floats
    log_ratio: Floats
    expressed: NDArray[np.bool_]

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, groups: NDArray[np.int64]) -> Self:
        """Measure groups of cells.

        Parameters
        ----------
        matrix
            `(n_cells, n_genes)`, log-normalised.
        groups
            `(n_cells,)`: the group of each cell, numbered from 0, none of them empty.
        """
        n_cells = matrix.shape[0]
        sizes = np.bincount(groups)
        member = sparse.csr_matrix((np.ones(n_cells), (groups, np.arange(n_cells))), shape=(len(sizes), n_cells))
        mean = np.asarray((member @ matrix).todense(), np.float64) / sizes[:, None]
        overall, deviation = moments(matrix)
        typical = np.expm1(mean)
        # A floor on the deviation, and half a count of ten thousand, keep genes of a few molecules from deciding.
        contrast = (mean - overall) / (deviation + 0.1)
        log_ratio = np.log2((typical + 0.5) / (typical.mean(axis=0) + 0.5))
        seen = np.bincount(matrix.indices[matrix.data != 0], minlength=matrix.shape[1])
        return cls(sizes, mean, contrast, log_ratio, seen >= max(1, min(10, n_cells // 100)))
