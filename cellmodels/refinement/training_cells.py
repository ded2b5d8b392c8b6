"""Training cells as a graph model keeps them: enough to find a new cell's neighbours and what these have to tell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.data.identity import digests, positions
from cellmodels.data.inputs import Rows
from cellmodels.groups.graphs import knn_graph, nearest
from cellmodels.groups.pca import PCA
from genetext.vectors import unit_rows

Array = NDArray[np.float32]
_ROUNDING = 1e-5


def graph_points(log: sparse.csr_matrix, space: PCA | None) -> Array:
    """Return what cells are compared by: unit rows, so that Euclidean neighbours are those by cosine.

    Parameters
    ----------
    log
        `(n, n_genes)`: log-normalised expression.
    space
        Compare in this space; None: gene by gene. A cell without expression is the origin of the latter.
    """
    # Cells that are all alike span no space.
    points = log.toarray() if space is None or not space.loadings.size else space.transform(log)
    return unit_rows(points)


def neighbour_graph(points: NDArray[Any], k: int) -> sparse.csr_matrix:
    """Link each point with its `k` nearest, in both directions, with weight 1 and without diagonal.

    Where there are not more than `k` points each is linked to all others.
    """
    graph = knn_graph(points, min(k, len(points) - 1))
    graph.data[:] = 1
    return graph


@dataclass(frozen=True, eq=False)
class TrainingCells:
    """What is kept of the cells that a model was fitted on.

    Attributes
    ----------
    digest
        `(n,) int64`: by which a training cell is known again.
    points
        `(n, d) float32`: by which neighbours of new cells are found, unit rows in `space`.
    space
        Where the points are.
    features
        `(n, r) float32`: the features of the network in few dimensions.
    basis
        `(n_genes, r) float32`: back from `features` to genes.
    graph
        `(n, n)`: the graph of the training cells, without diagonal.
    """

    digest: NDArray[np.int64]
    points: Array
    space: PCA
    features: Array
    basis: Array
    graph: sparse.csr_matrix

    def find(self, matrix: sparse.csr_matrix) -> NDArray[np.int64]:
        """Return which training cell each row is to the last bit, -1 where it is none.

        Of training cells that are equal it is the first, unless the rows are all training cells in their order.
        """
        wanted = digests(matrix)
        if np.array_equal(wanted, self.digest):
            return np.arange(len(wanted))
        return positions(wanted, self.digest)

    def find_near(self, points: Array, coordinates: Array) -> NDArray[np.int64]:
        """Return which training cell each row is up to rounding, -1 where it is none.

        Values that were normalised elsewhere differ in their last bits. A cell is the training cell nearest to it if
        the two agree in every coordinate, of either space, to 1e-5 of the cell's length.

        Parameters
        ----------
        points
            `(m, d)`, as `graph_points` in `space`.
        coordinates
            `(m, r)`: features projected to `basis`.
        """
        match = nearest(self.points, points, 1)[:, 0]
        same = np.ones(len(points), bool)
        for new, kept in ((points, self.points[match]), (coordinates, self.features[match])):
            length = np.linalg.norm(kept, axis=1, keepdims=True)
            same &= (np.abs(new - kept) <= _ROUNDING * length).all(axis=1)
        return np.where(same, match, -1)

    def attach(self, points: Array, k: int) -> tuple[sparse.csr_matrix, Array]:
        """Link new cells to their nearest training cells, and to nothing else.

        Returns
        -------
        weights, own_share
            `(m, n)`: rows of the filter `D^-1/2 (A + I) D^-1/2` that new cells would add to the graph, training cells
            keeping their degrees; and `(m, 1)`: what each takes of itself.
        """
        near = np.sort(nearest(self.points, points, min(k, len(self.points))), axis=1)
        m, k = near.shape
        degree = np.diff(self.graph.indptr) + 1.0
        weights = 1 / np.sqrt((k + 1) * degree[near])
        rows = sparse.csr_matrix(
            (weights.ravel().astype(np.float32), near.ravel(), np.arange(0, m * k + 1, k)), (m, len(degree))
        )
        return rows, np.full((m, 1), 1 / (k + 1), np.float32)

    def views(
        self,
        features: sparse.csr_matrix,
        rows: sparse.csr_matrix,
        own_share: Array,
        steps: list[Array],
        hops: int,
    ) -> Callable[[Rows], Array]:
        """Return features of new cells after `hops` filter steps, a block of cells at a time.

        A step takes `own_share` of the cell itself and the rest from its neighbours, whose features are those kept in
        few dimensions; what is the cell's own stays exact.

        Parameters
        ----------
        features
            `(m, n_genes)`: of the new cells.
        rows, own_share
            From `attach`.
        steps
            `features` of the training cells after 0, 1, ... filter steps, `hops` of them at least.
        hops
            How many steps.
        """
        share: Array = np.ones_like(own_share)
        others = np.zeros((rows.shape[0], self.features.shape[1]), np.float32)
        for step in range(hops):
            others = np.asarray(own_share * others + rows @ steps[step], np.float32)
            share = share * own_share

        def take(block: Rows) -> Array:
            return np.asarray(share[block] * features[block].toarray() + others[block] @ self.basis.T, np.float32)

        return take
