"""What groups of cells express beside the other cells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.groups.graphs import Floats
from cellmodels.groups.variable_genes import moments


@dataclass(frozen=True)
class GroupProfiles:
    """What groups of cells express beside the other cells.

    Attributes
    ----------
    sizes
        `(n_groups,) int64`: cells of each group.
    mean
        `(n_groups, n_genes) float64`: mean log-normalised expression.
    contrast
        `(n_groups, n_genes) float64`: the mean's distance to that of all cells, in standard deviations of a cell.
    fold
        `(n_groups, n_genes) float64`: log2 ratio of the mean on the linear scale to that of all groups, each group
        weighing the same.
    expressed
        `(n_genes,) bool`: genes found in ten cells, or in one of a hundred where there are fewer than a thousand.
    """

    sizes: NDArray[np.int64]
    mean: Floats
    contrast: Floats
    fold: Floats
    expressed: NDArray[np.bool_]

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, groups: NDArray[np.int64]) -> "GroupProfiles":
        """Measure the groups `(n_cells,)`, numbered from 0."""
        n_cells = matrix.shape[0]
        sizes = np.bincount(groups)
        member = sparse.csr_matrix((np.ones(n_cells), (groups, np.arange(n_cells))), shape=(len(sizes), n_cells))
        mean = np.asarray((member @ matrix).todense(), np.float64) / sizes[:, None]
        overall, sd = moments(matrix)
        linear = np.expm1(mean)
        # A floor on the spread, and half a count of ten thousand, keep genes of a few molecules from deciding.
        contrast = (mean - overall) / (sd + 0.1)
        fold = np.log2((linear + 0.5) / (linear.mean(axis=0) + 0.5))
        seen = np.bincount(matrix.indices[matrix.data != 0], minlength=matrix.shape[1])
        return cls(sizes, mean, contrast, fold, seen >= max(1, min(10, n_cells // 100)))
