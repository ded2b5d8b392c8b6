"""Labels of cells, and those that mean that a cell has none."""

import logging
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.errors import CellsError, GenetextError, first_ten

log = logging.getLogger("genetext")

NO_LABEL = frozenset(
    {
        *("na", "n/a", "#n/a", "n a.", "nan", "nat", "none", "null", "nil", "nothing", "\\n", "missing", "unspecified"),
        *("#value!", "#ref!", "#name?", "#div/0!", "#null!", "#num!", "unknown", "undefined", "undetermined"),
        *("unassigned", "un assigned", "not assigned", "unlabeled", "unlabelled", "no label", "not available"),
        *("not applicable", "not determined", "unidentified", "unannotated", "not annotated", "unclassified"),
    }
)
"""What people and programs write where a cell has no label: in lower case, words parted by a space."""
_QUOTED = re.compile(r"b?(?P<mark>['\"])(?P<text>.*)(?P=mark)|<(?P<a>.*)>|\[(?P<b>.*)\]|\((?P<c>.*)\)", re.DOTALL)
_BETWEEN = re.compile(r"(?<=\w)[\s_.-]+(?=\w)")
_EMPTY = re.compile(r"[\s\u200b?_.\u2013\u2014-]*|nan? \d+")
"""No letter or digit; or a null that was made unique (`NA.1`)."""


def means_no_label(value: Any) -> bool:
    """Tell whether a label is null, or a word for that (`Unknown`, `nan`, `not_assigned`, an empty string).

    Letter case, spaces, quotes and brackets around it play no part.
    """
    if _is_null(value):
        return True
    text = _text(value).strip(" \t\r\n\u200b")
    while match := _QUOTED.fullmatch(text):
        text = match[match.lastindex or 0].strip()
    text = _BETWEEN.sub(" ", text.lower())
    return text in NO_LABEL or _EMPTY.fullmatch(text) is not None


def known_labels(values: Iterable[Any], *, what: str = "labels") -> NDArray[np.object_]:
    """Return labels as strings, None where a cell has none; the log says how many, and by which words.

    Parameters
    ----------
    values
        One label per cell, of any type.
    what
        What to call them in the log.

    Returns
    -------
    `(n_cells,) object`.
    """
    labels, absent = _read(values)
    absent.pop(None, None)
    if absent:
        log.warning("%s: %d cells are taken as not labelled (%s)", what, absent.total(), _counts(absent))
    return labels


def complete_labels(
    values: Iterable[Any], *, what: str = "label", error: type[GenetextError] = CellsError
) -> NDArray[np.object_]:
    """Return labels as strings, `(n_cells,) object`, where each cell needs one: `error` if a cell has none.

    Parameters
    ----------
    values
        One label per cell, of any type.
    what
        What a cell has to have, for the message.
    error
        What to raise.
    """
    labels, absent = _read(values)
    if absent:
        raise error(
            f"{absent.total():,} cells have no {what} ({_counts(absent)}): leave them out, or name what they are"
        )
    return labels


def labels_of(adata: Any, labels: Any, *, what: str = "labels") -> NDArray[np.object_]:
    """Return one label per cell, `(n_cells,) object`; None where it is missing, or means so (`means_no_label`).

    Parameters
    ----------
    adata
        The data.
    labels
        A column of `obs`, or one value per cell; a Series by its index, if that has the names of the cells.
    what
        What to call them in messages.

    Raises
    ------
    CellsError
        There is no such column, the values are not one for each cell, or none of them is a label.
    """
    name = what
    if isinstance(labels, str):
        if labels not in adata.obs:
            raise CellsError(f"{what}={labels!r} is no column of obs: there are {first_ten(list(adata.obs)) or 'none'}")
        name, labels = f"obs[{labels!r}]", adata.obs[labels]
    elif isinstance(labels, pd.Series) and not labels.index.equals(adata.obs_names):
        labels = _by_name(labels, adata.obs_names, name)
    if len(shape := np.shape(labels)) != 1:
        raise CellsError(f"{name}: one value for each of {adata.n_obs:,} cells is needed, not the shape {shape}")
    if shape[0] != adata.n_obs:
        raise CellsError(f"{name}: {shape[0]:,} values for {adata.n_obs:,} cells")
    known = known_labels(labels, what=name)
    if len(known) and all(label is None for label in known):
        raise CellsError(
            f"{name}: none of the {len(known):,} cells has a label; null, empty, 'Unknown', 'unassigned', 'nan' and "
            f"the like mean that there is none"
        )
    return known


def kinds_of(values: Any, labels: NDArray[np.object_]) -> list[str]:
    """Return the different labels in the order of what they were read from.

    Parameters
    ----------
    values
        A column or values: categories have their order, numbers that of their size, others that of the alphabet.
    labels
        What `labels_of` made of them.
    """
    series = pd.Series(values)
    if isinstance(series.dtype, pd.CategoricalDtype):
        kinds = list(series.cat.categories)
    else:
        kinds = list(series.dropna().unique())
        numeric = pd.api.types.is_numeric_dtype(series.dtype)
        kinds.sort(key=None if numeric else _text)
    present = set(labels) - {None}
    return [text for text in dict.fromkeys(map(_text, kinds)) if text in present]


def _by_name(labels: "pd.Series[Any]", cells: pd.Index, name: str) -> "pd.Series[Any]":
    """Return labels in the order of the cells; those that are numbered have it already."""
    if isinstance(labels.index, pd.RangeIndex):
        return labels
    if not labels.index.is_unique or len(labels) != len(cells) or not cells.isin(labels.index).all():
        absent = [str(cell) for cell in cells[~cells.isin(labels.index)]]
        raise CellsError(
            f"{name}: the index of the series has other names than the cells (without {first_ten(absent) or 'none'}): "
            f"reindex it by obs_names, or give its values"
        )
    return labels.loc[cells]


def _read(values: Iterable[Any]) -> tuple[NDArray[np.object_], Counter[str | None]]:
    """Return labels, None where there is none, and how often which word says so (None: a null)."""
    words = [None if _is_null(value) else _text(value) for value in values]
    labels = {word: None if means_no_label(word) else word for word in set(words)}
    absent = Counter(word for word in words if labels[word] is None)
    return np.array([labels[word] for word in words], dtype=object), absent


def _counts(absent: Counter[str | None]) -> str:
    return first_ten([f"{n:,} {'null' if word is None else repr(word)}" for word, n in absent.most_common()])


def _is_null(value: Any) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
