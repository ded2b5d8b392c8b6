"""Where the expression is, in a layer, in `X` or in `.raw`, and whether it is what the caller says it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genetext.cells.product import Scale, check
from genetext.cells.stream import Rows
from genetext.errors import CellsError, first_ten

Expression = Literal["counts", "linear", "log"]
LOG_LIMIT = 30.0
"""No log-normalised value is larger: exp(30) is more than all molecules of a cell."""
_PROBE = 256


@dataclass(frozen=True)
class Found:
    """An expression matrix and how its columns map to the genes of `adata`.

    Attributes
    ----------
    matrix
        The matrix as it lies there.
    label
        `X`, `layers['counts']` or `raw.X`.
    columns
        For each of its columns the position in `adata.var`, or -1: `(n_columns,) int64`.
    names
        The names of its columns.
    """

    matrix: Any
    label: str
    columns: NDArray[np.int64]
    names: Any


def find(adata: Any, *, expression: str = "counts", layer: str | None = None) -> Found:
    """Find the matrix that holds the expression asked for.

    Parameters
    ----------
    adata
        An AnnData, or what has its `X`, `layers`, `raw`, `var_names`.
    expression
        `counts`: whole numbers. `linear`: amounts on a linear scale that are not whole (CPM, TPM, corrected counts).
        `log`: log-normalised values. For counts `layers["counts"]`, `X` and `raw.X` are looked at, in this order, and
        the first that holds them is taken; for the others `X`, then `raw.X`.
    layer
        Take this layer, or `.raw` for `"raw"`, and nothing else.

    Raises
    ------
    CellsError
        Nothing there is what `expression` says; the message tells what each place holds.
    """
    if expression not in ("counts", "linear", "log"):
        raise CellsError(f"expression is {expression!r}: choose counts, linear or log")
    seen = []
    for label, matrix, names in _places(adata, expression, layer):
        kind, example = _kind(matrix, label, adata.obs_names)
        if kind in _ACCEPTED[expression]:
            own = adata.var_names if names is None else names
            return Found(matrix, label, _columns(adata, names, label), own)
        seen.append(f"{label} holds {_WORDS[kind].format(example)}")
    if not seen:
        raise CellsError("there is no expression matrix: X is empty, and there is neither layers['counts'] nor raw")
    hint = {
        "counts": "pass layer= with the counts, or expression='log' for log-normalised values, or expression='linear' "
        "for amounts that are not whole",
        "linear": "pass layer= with such amounts, or expression='log' for log-normalised values",
        "log": "pass layer= with log-normalised values, or expression='counts'",
    }[expression]
    raise CellsError(f"no {_ASKED[expression]} found: {'; '.join(seen)}. {hint[0].upper()}{hint[1:]}")


_ACCEPTED = {
    "counts": ("counts", "small", "zero"),
    "linear": ("counts", "small", "zero", "linear", "log"),
    "log": ("log", "small", "zero"),
}
_ASKED = {"counts": "counts", "linear": "amounts on a linear scale", "log": "log-normalised values"}
_WORDS = {
    "counts": "counts (up to {:g})",
    "linear": "values that are not whole (up to {:g})",
    "log": "what looks like log-normalised values (not whole, up to {:g})",
    "small": "small whole numbers (up to {:g})",
    "negative": "negative values (down to {:g}), so scaled or corrected data",
    "zero": "nothing but zeros",
}


def is_whole(expression: str) -> bool:
    """Tell whether `expression` says that nothing but whole numbers stands in the matrix."""
    return expression == "counts"


def scale(expression: str, target_sum: float) -> Scale:
    """Return how `expression` becomes `w`."""
    if not (np.isfinite(target_sum) and target_sum > 0):
        raise CellsError(f"target_sum is {target_sum}: scale cells to a positive number of counts, such as 10000")
    return Scale(log=expression == "log", target_sum=float(target_sum))


def _places(adata: Any, expression: str, layer: str | None) -> Iterator[tuple[str, Any, Any]]:
    raw = getattr(adata, "raw", None)
    if layer is not None:
        if layer in adata.layers:
            yield f"layers[{layer!r}]", adata.layers[layer], None
        elif layer == "raw" and raw is not None:
            yield "raw.X", raw.X, raw.var_names
        else:
            there = [*adata.layers.keys(), *(["raw"] if raw is not None else [])]
            raise CellsError(f"there is no layer {layer!r}: there are {first_ten(there) or 'none'}")
        return
    if expression == "counts" and "counts" in adata.layers:
        yield "layers['counts']", adata.layers["counts"], None
    if adata.X is not None:
        yield "X", adata.X, None
    if raw is not None:
        yield "raw.X", raw.X, raw.var_names


def _columns(adata: Any, names: Any, label: str) -> NDArray[np.int64]:
    if names is None:
        return np.arange(adata.n_vars)
    if not names.is_unique or not adata.var_names.is_unique:
        raise CellsError(
            f"the counts are in {label}, whose genes are found by name, and names stand twice there or in var_names: "
            f"call var_names_make_unique() before .raw is set, or pass layer="
        )
    columns: NDArray[np.int64] = adata.var_names.get_indexer(names)
    return columns


def _kind(matrix: Any, label: str, cells: Any) -> tuple[str, float]:
    """Tell what a matrix holds from its first, middle and last rows, and its largest (or most negative) value there.

    This chooses between places and gives a wrong choice an early end. Every cell is checked as it is read
    (`genetext.cells.product.check`).
    """
    values = probe(matrix, label, cells)
    values = values[values != 0]
    if not len(values):
        return "zero", 0.0
    low, high = float(values.min()), float(values.max())
    if low < 0:
        return "negative", low
    if (values == np.floor(values)).all():
        return ("counts" if high > LOG_LIMIT else "small"), high
    return ("linear" if high > LOG_LIMIT else "log"), high


def probe(matrix: Any, label: str, cells: Any = None) -> NDArray[Any]:
    """Return the stored values of some rows; NaN and infinity are refused here already."""
    rows = Rows.of(matrix, label)
    n_cells = rows.shape[0]
    starts = sorted({0, max(n_cells // 2 - _PROBE // 2, 0), max(n_cells - _PROBE, 0)})
    parts = []
    for start in starts:
        block = rows.read(start, min(start + _PROBE, n_cells))
        if not np.isfinite(block.data).all():
            check(block, start=start, names=cells, where=label)
        parts.append(block.data)
    return np.concatenate(parts)
