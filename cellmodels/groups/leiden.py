"""Groups of cells by the Leiden method, in a graph of their neighbours."""

import importlib
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genetext.errors import CellsError


class Leiden:
    """A graph of cells to be cut at any resolution by the Leiden method (modularity).

    Building igraph's own graph takes longer than a cut: it is built once.

    Parameters
    ----------
    graph
        `(n, n)`, symmetric weights (`graphs.knn_graph`).

    Raises
    ------
    CellsError
        The package igraph is not installed.
    """

    def __init__(self, graph: sparse.csr_matrix) -> None:
        try:
            self._igraph: Any = importlib.import_module("igraph")
        except ImportError as error:
            raise CellsError(
                "the Leiden method needs the package igraph: pip install 'genetext[annotate]', or ask for a number of "
                "clusters by k-means, or give groups="
            ) from error
        upper = sparse.triu(graph, k=1).tocoo()
        self._links = self._igraph.Graph(
            n=graph.shape[0], edges=np.column_stack([upper.row, upper.col]).astype(np.int64)
        )
        self._weights: list[float] = upper.data.tolist()

    def cut(self, resolution: float, *, seed: int = 0) -> NDArray[np.int64]:
        """Cut the graph into groups; the result depends on the seed and on the order of the cells.

        Returns
        -------
        `(n,) int64`: the group of each cell, numbered from 0, the largest group first.

        Raises
        ------
        CellsError
            `resolution` is not positive.
        """
        if not resolution > 0:
            raise CellsError(f"resolution is {resolution}: give a positive number, such as 1")
        self._igraph.set_random_number_generator(random.Random(seed))
        try:
            parts = self._links.community_leiden(
                "modularity", weights=self._weights, resolution=resolution, n_iterations=5
            )
        finally:
            self._igraph.set_random_number_generator(random)
        return largest_first(np.asarray(parts.membership, np.int64))


def largest_first(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Renumber groups from 0 by size, and by the first cell where sizes are equal."""
    _, first, number, size = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(size), np.int64)
    rank[np.lexsort((first, -size))] = np.arange(len(size))
    renamed: NDArray[np.int64] = rank[number]
    return renamed
