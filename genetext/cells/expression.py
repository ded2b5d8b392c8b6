"""Where the expression is, in a layer, in `X` or in `.raw`, and what it is: one policy for all that read it.

Counts are taken where there are any, else log-normalised values. What the caller says (`expression=`, `layer=`)
is taken as said, and refused where it cannot be.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genetext.cells.product import Scale, check
from genetext.cells.tiles import Rows
from genetext.errors import CellsError, first_ten
from genetext.features import not_genes, say_left_out

log = logging.getLogger("genetext")

Expression = Literal["auto", "counts", "linear", "log"]
EXPRESSIONS = ("auto", "counts", "linear", "log")
CHOICES = f"{', '.join(EXPRESSIONS[:-1])} or {EXPRESSIONS[-1]}"
LOG_LIMIT = 30.0
"""No log-normalised value is larger: exp(30) is more than all molecules of a cell."""
_PROBE = 256


@dataclass(frozen=True, eq=False)
class ExpressionMatrix:
    """An expression matrix, what it holds, and how its columns map to the genes of `adata`.

    Attributes
    ----------
    rows
        The matrix, without columns that are no genes.
    kind
        `counts`, `linear` or `log`.
    columns
        For each of its columns the position in `adata.var`, or -1: `(n_columns,) int64`.
    names
        The names of its columns.
    """

    rows: Rows
    kind: str
    columns: NDArray[np.int64]
    names: Any

    @property
    def label(self) -> str:
        """`X`, `layers['counts']` or `raw.X`."""
        return self.rows.label

    def scale(self, target_sum: float) -> Scale:
        """Return how its values become `w`."""
        return Scale(log=self.kind == "log", target_sum=float(target_sum))

    def check(self, tile: Any, *, start: int = 0, cells: Any = None) -> None:
        """Raise `CellsError` where a tile of it holds what its kind cannot have; see `product.check`."""
        check(tile, start=start, names=cells, where=self.label, whole=self.kind == "counts")


def find(adata: Any, *, expression: str = "auto", layer: str | None = None) -> ExpressionMatrix:
    """Find the matrix that holds the expression asked for.

    Parameters
    ----------
    adata
        An AnnData, or what has its `X`, `layers`, `raw`, `var`, `var_names`.
    expression
        `counts`: whole numbers, the first of `layers["counts"]`, `X` and `raw.X` that holds them. `log`:
        log-normalised values, `X` or `raw.X`. `linear`: amounts on a linear scale that are not whole (CPM, TPM,
        corrected counts), `X` or `raw.X`. `auto`: counts, else log values.
    layer
        Take this layer, or `.raw` for `"raw"`, and nothing else.

    Raises
    ------
    CellsError
        Nothing there is what `expression` says; the message tells what each place holds.
    """
    if expression not in EXPRESSIONS:
        raise CellsError(f"expression is {expression!r}: choose {CHOICES}")
    looked, seen = [], []
    for rows, raw in _places(adata, expression, layer):
        kind, example = _kind(rows, adata.obs_names)
        if kind in _ACCEPTED[expression]:
            return _matrix(adata, rows, raw, "counts" if expression == "auto" else expression, kind)
        looked.append((rows, raw, kind))
        seen.append(f"{rows.label} holds {_WORDS[kind].format(example)}")
        if expression == "auto" and rows.label == "layers['counts']":
            # Whoever keeps counts means them: another matrix in their place would hide what is wrong with them.
            raise CellsError(f"{seen[-1]}, no counts: put counts there, or remove it, or name a layer that has them")
    if expression == "auto":
        for rows, raw, kind in looked:
            if kind == "log":
                return _matrix(adata, rows, raw, "log", kind)
    if not seen:
        raise CellsError("there is no expression matrix: X is empty, and there is neither layers['counts'] nor raw")
    raise CellsError(f"no {_NAMES[expression]} found: {'; '.join(seen)}. {_HINTS[expression]}")


_ACCEPTED = {
    "auto": ("counts", "small", "zero"),
    "counts": ("counts", "small", "zero"),
    "linear": ("counts", "small", "zero", "linear", "log"),
    "log": ("log", "small", "zero"),
}
_NAMES = {
    "auto": "counts or log-normalised values",
    "counts": "counts",
    "linear": "amounts on a linear scale",
    "log": "log-normalised values",
}
_HINTS = {
    "auto": "Pass layer= with such values, or expression='linear' for amounts that are not whole",
    "counts": "Pass layer= with the counts, or expression='log' for log-normalised values, or expression='linear' for "
    "amounts that are not whole",
    "linear": "Pass layer= with such amounts, or expression='log' for log-normalised values",
    "log": "Pass layer= with log-normalised values, or expression='counts'",
}
_WORDS = {
    "counts": "counts (up to {:g})",
    "small": "small counts (whole numbers up to {:g})",
    "linear": "values that are not whole (up to {:g})",
    "log": "what looks like log-normalised values (not whole, up to {:g})",
    "negative": "negative values (down to {:g}), so scaled or corrected data",
    "zero": "nothing but zeros",
}


def _places(adata: Any, expression: str, layer: str | None) -> Iterator[tuple[Rows, Any]]:
    """Yield the matrices to look at, and `.raw` where they are its own."""
    raw = getattr(adata, "raw", None)
    layers = adata.layers
    if layer is not None and layer not in layers and not (layer == "raw" and raw is not None):
        known = [*layers.keys(), *(["raw"] if raw is not None else [])]
        raise CellsError(f"there is no layer {layer!r}: there are {first_ten(known) or 'none'}")
    if layer is not None and layer in layers:
        yield _rows(adata, layers[layer], f"layers[{layer!r}]", adata.n_vars), None
        return
    if layer is None:
        if expression in ("auto", "counts") and "counts" in layers:
            yield _rows(adata, layers["counts"], "layers['counts']", adata.n_vars), None
        if (matrix := adata.X) is not None:
            yield _rows(adata, matrix, "X", adata.n_vars), None
    if raw is not None and (matrix := raw.X) is not None:
        yield _rows(adata, matrix, "raw.X", len(raw.var_names)), raw


def _rows(adata: Any, matrix: Any, label: str, n_columns: int) -> Rows:
    rows = Rows.of(matrix, label)
    if rows.shape != (adata.n_obs, n_columns):
        raise CellsError(
            f"{label} has {rows.shape[0]:,} rows and {rows.shape[1]:,} columns, for {adata.n_obs:,} cells and "
            f"{n_columns:,} genes: the file is damaged, or was put together by hand"
        )
    return rows


def _matrix(adata: Any, rows: Rows, raw: Any, expression: str, kind: str) -> ExpressionMatrix:
    if expression == "log" and kind == "small":
        log.warning("%s holds whole numbers alone, as counts are: taken as log values, as asked", rows.label)
    log.info("expression: %s in %s", _NAMES[expression], rows.label)
    others = not_genes(adata.var)
    if raw is None:
        names, columns = adata.var_names, np.arange(adata.n_vars)
    else:
        names = raw.var_names
        if not names.is_unique or not adata.var_names.is_unique:
            raise CellsError(
                f"the expression is in {rows.label}, whose genes are found by name, and names stand twice there or in "
                f"var_names: call var_names_make_unique() before .raw is set, or pass layer="
            )
        columns = adata.var_names.get_indexer(names)
        others = not_genes(raw.var) | np.append(others, False)[columns]
    if others.all() and len(others):
        raise CellsError(f"no column of {rows.label} is gene expression, by var['feature_types'] or the like")
    if others.any():
        say_left_out(adata.var if raw is None else raw.var, others, rows.label)
        genes = np.flatnonzero(~others)
        rows, names, columns = rows.only(genes), names[genes], columns[genes]
    return ExpressionMatrix(rows, expression, columns, names)


def _kind(rows: Rows, cells: Any) -> tuple[str, float]:
    """Tell what a matrix holds from its first, middle and last rows, and its largest (or most negative) value there.

    This chooses between places and gives a wrong choice an early end. Every cell is checked as it is read
    (`ExpressionMatrix.check`).
    """
    values = probe(rows, cells)
    values = values[values != 0]
    if not len(values):
        return "zero", 0.0
    low, high = float(values.min()), float(values.max())
    if low < 0:
        return "negative", low
    if (values == np.floor(values)).all():
        return ("counts" if high > LOG_LIMIT else "small"), high
    return ("linear" if high > LOG_LIMIT else "log"), high


def probe(rows: Rows, cells: Any = None) -> NDArray[Any]:
    """Return the stored values of some rows; NaN and infinity are refused here already."""
    n_cells = rows.shape[0]
    starts = sorted({0, max(n_cells // 2 - _PROBE // 2, 0), max(n_cells - _PROBE, 0)})
    parts = []
    for start in starts:
        block = rows.read(start, min(start + _PROBE, n_cells))
        if not np.isfinite(block.data).all():
            check(block, start=start, names=cells, where=rows.label)
        parts.append(block.data)
    return np.concatenate(parts)
