"""Where people keep the names of genes: `var_names`, a column of `var`, the `var` of `.raw`, or a text file.

This module only finds lists of names. Which of them means genes is for the resolver to tell.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genetext.anndata_io import OnDisk, opened
from genetext.cell_formats import H5AD, ZARR, other_format
from genetext.errors import ResolveError, first_ten
from genetext.features import not_genes, say_left_out
from genetext.names import rules, textfile
from genetext.names.textfile import COLUMNS

_NUMBERED = frozenset(column for column in COLUMNS if column.startswith(("ncbi", "entrez")))
# Counters of genes end below this; GeneIDs of a whole annotation do not, but those of a short list may.
_SMALL = 100_000
# So many small numbers in order are no accident in a column, and so many in any order none anywhere.
_RUN, _MANY = 10, 20
# What R calls columns and rows that have no names.
_COUNTED = re.compile(r"(?P<prefix>X|V)?(?P<number>\d+)(?:\.0+)?", re.ASCII)


@dataclass(frozen=True)
class NameColumn:
    """A list of gene names and where it was found.

    Attributes
    ----------
    label
        `var_names`, `var['gene_ids']`, `raw.var['gene_ids']` or `names`.
    names
        One string per gene; empty where there was none.
    gene_ids
        Whether the column is called so that numbers in it are NCBI GeneIDs.
    """

    label: str
    names: list[str]
    gene_ids: bool = False


def candidates(data: Any, *, column: str | None = None) -> list[NameColumn]:
    """List the places that may hold gene names, best guess first.

    Parameters
    ----------
    data
        An AnnData (in memory or backed), its `var` frame, or a sequence of names.
    column
        Look only there: a column of `var`, or `"var_names"`. Default: where names may be, and numbers that may only
        count the genes (AnnData's default `var_names`, or a subset of them) are left out.

    Returns
    -------
    At least one column, each as long as `data` has columns; those that are no genes (`genetext.features`) have no name.

    Raises
    ------
    ResolveError
        There is no such column, or nothing that could be names but numbers that may only count the genes.
    """
    if isinstance(data, str):
        raise ResolveError(f"{data!r} is one string: give a list of names, an AnnData, or open the file first")
    if isinstance(data, pd.DataFrame):
        var, raw = data, None
    elif hasattr(data, "var_names") and hasattr(data, "var"):
        var, raw = data.var, getattr(data, "raw", None)
    else:
        if column is not None:
            raise ResolveError(f"a list of names has no column {column!r}")
        names = strings(data)
        if is_counter(names, run=None):
            raise ResolveError(
                f"the names are the numbers {_range(names)} in order: they count genes and are no names. If they are "
                f"NCBI GeneIDs all the same, write them as GeneID:1"
            )
        return [NameColumn("names", names)]
    columns = [_named(var, column)] if column is not None else list(_of_frame(var, ""))
    if raw is not None and column is None:
        columns += _of_raw(raw.var, var)
    others = not_genes(var)
    if others.any():
        say_left_out(var, others, "the names of genes")
        columns = [replace(place, names=np.where(others, "", place.names).tolist()) for place in columns]
    if column is not None:
        return columns
    usable = [column for column in columns if not is_counter(column.names, run=_run(column))]
    if usable or not len(var):
        return usable or [NameColumn("var_names", [])]
    raise ResolveError(
        f"var_names are the numbers {_range(columns[0].names)}, which may only count the genes, and var has no "
        f"column with names (it has {first_ten(list(var.columns)) or 'none'}): put the names into var_names, or say "
        f"which column has them (column='var_names' if these are NCBI GeneIDs)"
    )


def strings(values: Iterable[Any]) -> list[str]:
    """Return names as stripped strings: bytes decoded, whole numbers without a decimal point, null as `""`."""
    array = values if isinstance(values, pd.Series | pd.Index) else pd.Series(list(values), dtype=object)
    null = np.asarray(array.isna())
    return [
        "" if empty else value.strip() if isinstance(value, str) and value.isascii() else _string(value)
        for value, empty in zip(array, null, strict=True)
    ]


def read(path: Path) -> Any:
    """Read what `candidates` takes from a file, and no expression matrix.

    Parameters
    ----------
    path
        `.h5ad` or `.zarr`: a stand-in for the AnnData with `var`, `var_names` and `raw`; anything else: text as
        `textfile.read` takes it, a list of names or a table with a header.

    Raises
    ------
    ResolveError
        The file is absent, or no text.
    CellsError
        It is named as an AnnData file and is none, is damaged, or of another format of cells.
    """
    if path.suffix in (H5AD, ZARR) and path.exists():
        with opened(path) as group:
            data = OnDisk.of(group, path)
            raw = data.raw
            return Genes(data.var, None if raw is None else Genes(raw.var))
    if not path.exists():
        raise ResolveError(f"there is no {path}")
    if other := other_format(path):
        raise ResolveError(other)
    return textfile.read(path)


@dataclass(frozen=True)
class Genes:
    """The genes of an AnnData file, without the rest of it."""

    var: pd.DataFrame
    raw: "Genes | None" = None

    @property
    def var_names(self) -> pd.Index:
        """Their names."""
        return self.var.index


def _of_frame(var: pd.DataFrame, prefix: str) -> Iterator[NameColumn]:
    if not prefix:
        yield NameColumn("var_names", strings(var.index))
    labels = [str(label) for label in var.columns]
    first = {label.lower(): place for place, label in reversed(list(enumerate(labels)))}
    for name in COLUMNS:
        if name in first:
            place = first[name]
            yield NameColumn(f"{prefix}var[{labels[place]!r}]", strings(var.iloc[:, place]), name in _NUMBERED)


def _of_raw(raw_var: pd.DataFrame, var: pd.DataFrame) -> list[NameColumn]:
    """Return the columns of `.raw` that say more of the genes in `var`, put into the order of `var`."""
    if not raw_var.index.is_unique or not var.index.isin(raw_var.index).all():
        return []
    known = {str(column).lower() for column in var.columns}
    extra = raw_var.loc[var.index, [str(column).lower() not in known for column in raw_var.columns]]
    return list(_of_frame(extra, "raw."))


def _named(var: pd.DataFrame, column: str) -> NameColumn:
    if column == "var_names":
        return NameColumn(column, strings(var.index))
    places = np.flatnonzero(np.asarray(var.columns, object) == column)
    if not len(places):
        raise ResolveError(f"var has no column {column!r}: it has {first_ten(list(var.columns)) or 'none'}")
    return NameColumn(f"var[{column!r}]", strings(var.iloc[:, places[0]]), str(column).lower() in _NUMBERED)


def _run(column: NameColumn) -> int | None:
    """Return how many small numbers in order, with gaps, are a counter; None: gaps are those of GeneIDs."""
    if column.gene_ids:
        return None
    return 2 if column.label == "var_names" else _RUN


def is_counter(names: Sequence[str], *, run: int | None) -> bool:
    """Whether names may only count the genes, or some of them; most small numbers would pass for NCBI GeneIDs.

    Parameters
    ----------
    names
        Missing values among them do not matter, nor do suffixes that made them unique, nor the `X` or `V` that
        R writes before each number.
    run
        So many small numbers in order, with gaps, are a counter too. None: only numbers without gaps from 0, or ten of
        them from 1.
    """
    given = dict.fromkeys(name for name in names if not rules.is_missing(name))
    matches = [_COUNTED.fullmatch(name) for name in given if rules.without_suffix(name) not in given]
    if not matches or None in matches or len(prefixes := {match["prefix"] for match in matches if match}) > 1:
        return False
    # Not as numbers of a fixed size: a digit string may have any length.
    numbers = [int(match["number"]) if len(match["number"]) < 10 else _SMALL for match in matches if match]
    distinct = list(dict.fromkeys(numbers))
    first, n = distinct[0], len(distinct)
    if distinct == list(range(first, first + n)) and (first == 0 or (first == 1 and n >= _RUN)):
        return prefixes == {None} or n >= _RUN
    if run is None or prefixes != {None} or max(distinct) >= _SMALL:
        return False
    in_order = all(number < following for number, following in pairwise(distinct))
    return n >= (run if in_order else _MANY)


def _range(names: Sequence[str]) -> str:
    numbers = [int(match["number"]) for name in names if (match := _COUNTED.fullmatch(name))]
    return f"{min(numbers):,} to {max(numbers):,}"


def _string(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace").strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        text = str(value).strip()
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return hex(value)
    # Halves of a character have no place in any file.
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
