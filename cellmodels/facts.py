"""What a model was fitted with, as reports and files have it: JSON values by names that a type checker knows."""

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from cellmodels.data.inputs import CellMatrix
    from genetext.priors import GenePriors


class Facts(TypedDict, total=False):
    """What all models note of a fit; a model adds what it alone knows.

    Attributes
    ----------
    matrix, expression
        Where the expression was, and what it was: `CellMatrix.label` and `kind`.
    n_cells, n_empty
        Cells fitted, and those of them without expression.
    priors, control, fingerprint
        What the priors are (`none`), the control that they are (empty: none), and their digest.
    n_with_prior
        Genes of the model that have a vector.
    selection, epoch, stopped
        What chose the epoch whose weights were kept, which it was, and why there were no more.
    """

    matrix: str
    expression: str
    n_cells: int
    n_empty: int
    priors: str
    control: str
    fingerprint: str
    n_with_prior: int
    selection: str
    epoch: int
    stopped: str


def facts_of(cells: "CellMatrix", priors: "GenePriors | None") -> Facts:
    """Return what is known before training; `priors` are those of the model's genes."""
    return {
        "matrix": cells.label,
        "expression": cells.kind,
        "n_cells": cells.n_cells,
        "n_empty": int((cells.totals == 0).sum()),
        "priors": "none" if priors is None else priors.description,
        "control": "" if priors is None else priors.control,
        "fingerprint": "" if priors is None else priors.fingerprint,
        "n_with_prior": 0 if priors is None else priors.n_matched,
    }
