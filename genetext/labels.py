"""Labels of cells, and those that mean that a cell has none."""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.errors import CellsError, first_ten

log = logging.getLogger("genetext")

NO_LABEL = frozenset(
    {
        *("", "-", "?", "na", "n/a", "<na>", "#n/a", "nan", "nat", "none", "null", "nil", "unknown", "unassigned"),
        *("not assigned", "undefined", "not available", "not applicable", "unlabeled", "unlabelled", "missing"),
    }
)
"""What people write, in any letter case, where a cell has no label."""


def means_no_label(value: Any) -> bool:
    """Tell whether a label is null, or a word for that (`Unknown`, `nan`, `unassigned`, an empty string)."""
    return value is None or value is pd.NA or value != value or " ".join(_text(value).split()).lower() in NO_LABEL


def known_labels(values: Iterable[Any], *, what: str = "labels") -> NDArray[np.object_]:
    """Return labels as strings, None where a cell has none; say how many have none, and by which words.

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
    given = np.asarray(values if isinstance(values, np.ndarray | pd.Series) else list(values), dtype=object)
    codes, kinds = pd.factorize(given)
    texts = np.array([*(None if means_no_label(kind) else _text(kind) for kind in kinds), None], dtype=object)
    labels: NDArray[np.object_] = texts[codes]
    written = Counter(_text(kind) for kind in given[(codes >= 0) & (labels == None)])  # noqa: E711 - elementwise
    if written:
        counts = first_ten([f"{n:,} {word!r}" for word, n in written.most_common()])
        log.warning("%s: %d cells are taken as not labelled (%s)", what, sum(written.values()), counts)
    return labels


def labels_of(adata: Any, labels: Any, *, what: str = "labels") -> NDArray[np.object_]:
    """Return one label per cell, `(n_cells,) object`; None where it is missing, or means so (`means_no_label`).

    Parameters
    ----------
    adata
        The data.
    labels
        A column of `obs`, or one value per cell.
    what
        What to call them in messages.

    Raises
    ------
    CellsError
        There is no such column, the number of values is not that of the cells, or none of them is a label.
    """
    name = what
    if isinstance(labels, str):
        if labels not in adata.obs:
            raise CellsError(f"{what}={labels!r} is no column of obs: there are {first_ten(list(adata.obs)) or 'none'}")
        name, labels = f"obs[{labels!r}]", adata.obs[labels]
    known = known_labels(labels, what=name)
    if len(known) != adata.n_obs:
        raise CellsError(f"{what}: {len(known):,} values for {adata.n_obs:,} cells")
    if len(known) and all(label is None for label in known):
        raise CellsError(
            f"{name}: none of the {len(known):,} cells has a label; null, empty, 'Unknown', 'unassigned', 'nan' and "
            f"the like mean that there is none"
        )
    return known


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
