"""Cells as sentences: the names of their genes, the most expressed first, for encoders that read text (GenePT-s)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext.cells import expression as expressions
from genetext.cells.product import check
from genetext.cells.stream import Rows, over_tiles
from genetext.errors import CellsError


def cell_sentences(
    adata: Any,
    n: int = 100,
    *,
    names: Sequence[str] | None = None,
    expression: str = "counts",
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
    found = expressions.find(adata, expression=expression, layer=layer)
    rows = Rows.of(found.matrix, found.label)
    usable = np.array([column >= 0 and bool(called[column]) for column in found.columns], bool)

    def work(start: int, tile: Any) -> list[str]:
        check(tile, start=start, names=adata.obs_names, where=found.label, whole=expressions.is_whole(expression))
        return [separator.join(_ranked(tile, cell, n, found.columns, usable, called)) for cell in range(tile.shape[0])]

    return [sentence for _, part in over_tiles(rows, work) for sentence in part]


def _ranked(
    tile: Any, cell: int, n: int, columns: NDArray[np.int64], usable: NDArray[np.bool_], called: list[str]
) -> list[str]:
    at = slice(tile.indptr[cell], tile.indptr[cell + 1])
    values, stored = tile.data[at], tile.indices[at]
    keep = (values > 0) & usable[stored]
    genes, values = columns[stored[keep]], values[keep]
    order = np.lexsort((genes, -values.astype(np.float64)))
    said: dict[str, None] = {}
    for gene in genes[order]:
        said.setdefault(called[gene])
        if len(said) == n:
            break
    return list(said)
