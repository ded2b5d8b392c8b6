"""What a contrastive model keeps of a fit, and what it notes of it."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from cellmodels.contrastive.views import Averaging
from cellmodels.facts import Facts
from cellmodels.groups.knn_classifier import KNNClassifier


@dataclass(frozen=True, eq=False, kw_only=True)
class ExpressionInput:
    """What the expression tower reads: `columns` among the model's genes, and their `mean` and `sd`, all `(n,)`."""

    columns: NDArray[np.int64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class PriorInput:
    """What the prior tower reads: averaged gene vectors, less `centre` `(dim,)`, divided by `scale`."""

    averaging: Averaging
    centre: NDArray[np.float64]
    scale: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ContrastiveState:
    """What a fitted `ContrastiveModel` keeps beside its genes and weights.

    Attributes
    ----------
    loss
        Which one it was fitted with: `supervised`, `self-supervised` or `both`.
    expression, prior
        Of the two towers; None for a tower that there is not.
    classifier
        The labelled cells; None where there are none.
    unlearned
        Those that the embedding learned the labels of, as they lay before it did. In the embedding they lie by their
        own labels, whatever these are worth: they are labelled where they lay before. None where there are none.
    """

    loss: str
    expression: ExpressionInput | None = None
    prior: PriorInput | None = None
    classifier: KNNClassifier | None = None
    unlearned: KNNClassifier | None = None


class ClassifierFacts(TypedDict):
    """What the reference of `predict` is; `KNNClassifier` has the attributes."""

    classes: list[str]
    n_reference: int
    balanced: bool
    temperature: float
    n_calibrated: int


class ContrastiveFacts(Facts, total=False):
    """What a fit was: `form` and `loss` as they were decided, cells with a label, and the labelled cells."""

    form: str
    loss: str
    n_labelled: int
    classifier: ClassifierFacts
