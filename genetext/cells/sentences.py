"""Cells as sentences: the names of their genes, the most expressed first, for encoders that read text (GenePT-s)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext.cells import expression as expressions
from genetext.cells.tiles import over_tiles
from genetext.errors import CellsError


def cell_sentences(
    adata: Any,
    n: int = 100,
    *,
    names: Sequence[str] | None = None,
    expression: str = "auto",
    layer: str | None = None,
    separator: str = " ",
) -> list[str]:
    """Name the `n` most expressed genes of each cell, in falling order.

    Parameters
    ----------
    adata
        AnnData, in memory, backed or on Dask arrays.
    n
        Genes per cell. Cells that express fewer give shorter sentences; an empty cell gives an empty one.
    names
        What to call the genes, one for each of `var`. Default: `var_names`. Genes with an empty name are left out. Of
        genes that share a name, the most expressed one counts.
    expression, layer
        As in `embed_cells`. Normalising a cell does not change the order of its genes, so that counts and log values
        give the same sentences.
    separator
        What stands between two names.

    Returns
    -------
    One sentence per cell. Ties go to the gene that stands first in `var`.

    Raises
    ------
    CellsError
        As in `embed_cells`; or `names` is of another length.
    """
    if n < 1:
        raise CellsError(f"n is {n}: name one gene at least")
    called = [str(name) for name in (adata.var_names if names is None else names)]
    if len(called) != adata.n_vars:
        raise CellsError(f"there are {len(called):,} names for {adata.n_vars:,} genes")
    matrix = expressions.find(adata, expression=expression, layer=layer)
    # A column that no gene of var stands in (-1) has no name either.
    column_names = np.array([*called, ""], object)[matrix.columns]

    def work(start: int, tile: Any) -> list[str]:
        matrix.check(tile, start=start, cells=adata.obs_names)
        return [separator.join(_ranked(tile, cell, n, matrix.columns, column_names)) for cell in range(tile.shape[0])]

    return [sentence for _, part in over_tiles(matrix.rows, work) for sentence in part]


def _ranked(tile: Any, cell: int, n: int, columns: NDArray[np.int64], names: NDArray[np.object_]) -> list[str]:
    entries = slice(tile.indptr[cell], tile.indptr[cell + 1])
    values, stored = tile.data[entries], tile.indices[entries]
    keep = (values > 0) & (names[stored] != "")
    order = np.lexsort((columns[stored[keep]], -values[keep].astype(np.float64)))
    said: dict[str, None] = {}
    for name in names[stored[keep][order]]:
        said.setdefault(name)
        if len(said) == n:
            break
    return list(said)
