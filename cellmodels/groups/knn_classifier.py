"""Label cells by a vote of their nearest labelled cells, with a confidence that was measured.

Let `d_j = 1 - cos` be the distances to the `k` nearest reference cells, `d_k` the farthest of them. Each votes for its
label with

    w_j = exp(-d_j / d_k)   (distance)      w_j = 1   (uniform)      divided by their sum

and the votes `v_c` of a class become

    q_c = (v_c + e) b_c,  e = 1 / (2 k C)      b_c = 1, or the inverse of the class's share of the reference (balanced)
    p_c = q_c^(1/T) / sum q^(1/T)

`d_k` makes the votes the same at any scale of distances. `e` keeps the confidence below 1: `k` cells that agree are no
proof. The temperature `T` minimises the log loss of reference cells labelled by the others, so that test cells have no
part in it; `isotonic` puts in place of `T` a monotone map from the largest `p` to how often it was right.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.errors import ModelError
from genetext.labels import known_labels
from genetext.vectors import unit_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Calibration = Literal["temperature", "isotonic", "none"]
_AT_ONCE = 1 << 24
"""Cosines held at once."""
_DIGITS = 1e6
_MIN_CALIBRATION = 20
_TEMPERATURES = (0.1, 20.0)


@dataclass(frozen=True, eq=False)
class KNNClassifier:
    """A k-nearest-neighbour classifier by cosine; made by `KNNClassifier.fit`.

    Attributes
    ----------
    reference
        `(n_reference, d) float32`, rows of unit length.
    codes
        `(n_reference,) int64`: position in `classes` of each.
    classes
        Labels, sorted.
    k
        Neighbours that vote; all of the reference where it is smaller.
    votes
        `distance` or `uniform`.
    balanced
        Whether votes are divided by the share of their class in the reference.
    temperature
        `T`; 1 where it was not calibrated.
    knots
        `(2, n_knots) float64`: confidence and how often it was right, for the isotonic map; `(2, 0)`: none.
    n_calibrated
        Reference cells that the calibration rests on; 0: it was not calibrated.
    ids
        `(n_reference,) int64`: by which a reference cell is known again (`cellmodels.data.identity`); None: by nothing.
    """

    reference: NDArray[np.float32]
    codes: Ints
    classes: tuple[str, ...]
    k: int = 5
    votes: str = "distance"
    balanced: bool = False
    temperature: float = 1.0
    knots: Floats = field(default_factory=lambda: np.zeros((2, 0)))
    n_calibrated: int = 0
    ids: Ints | None = None

    @classmethod
    def fit(
        cls,
        embedding: NDArray[Any],
        labels: Any,
        *,
        k: int = 5,
        votes: Literal["distance", "uniform"] = "distance",
        balanced: bool = False,
        calibrate: Calibration = "temperature",
        calibrate_on: NDArray[np.int64] | None = None,
        ids: Ints | None = None,
    ) -> Self:
        """Take labelled cells as the reference, and measure how far their votes are to be believed.

        Parameters
        ----------
        embedding
            `(n, d)`. Rows that are zero or not finite are left out: they have no direction.
        labels
            `(n,)`; a cell without one (null, `Unknown`: `genetext.labels`) is left out.
        k, votes, balanced
            See the class.
        calibrate
            Each reference cell is labelled by the others. `temperature` keeps the order of classes, needs few cells
            and is the default; `isotonic` wants some hundreds. Cells alone in their class cannot be right and are not
            asked; with fewer than 20 others nothing is calibrated.
        calibrate_on
            Ask these rows of `embedding` only: cells that the embedding was not fitted to, where there are such.
            Cells that it was fitted to lie nearer to their like than new cells will.
        ids
            `(n,) int64`: what each cell is known again by, so that none votes for itself in `predict`.

        Raises
        ------
        ModelError
            No labelled cell is left, or an option is unknown.
        """
        if k < 1 or votes not in ("distance", "uniform") or calibrate not in ("temperature", "isotonic", "none"):
            raise ModelError(
                f"k={k}, votes={votes!r}, calibrate={calibrate!r}: give k of 1 at least, votes distance or uniform, "
                f"and calibrate temperature, isotonic or none"
            )
        points = _points(embedding)
        names = known_labels(labels)
        if len(names) != len(points):
            raise ModelError(f"{len(names):,} labels for {len(points):,} cells")
        usable = pd.notna(names) & _directed(points)
        if not usable.any():
            raise ModelError("no cell has both a label and an embedding: there is nothing to vote")
        classes, codes = np.unique(names[usable].astype(str), return_inverse=True)
        plain = cls(
            _unit(points[usable]),
            codes.astype(np.int64),
            tuple(classes.tolist()),
            k,
            votes,
            balanced,
            ids=None if ids is None else ids[usable],
        )
        if calibrate == "none":
            return plain
        rows = np.flatnonzero(usable) if calibrate_on is None else np.asarray(calibrate_on, np.int64)
        place = np.cumsum(usable) - 1
        return plain._calibrated(place[rows[usable[rows]]], calibrate)

    def predict_proba(self, embedding: NDArray[Any], *, ids: Ints | None = None) -> Floats:
        """Return the probability of each class, `(n, n_classes) float64`; NaN for cells without a direction.

        Parameters are those of `predict`.
        """
        return self._probabilities(*self._votes(embedding, self._themselves(ids))[:2])

    def predict(self, embedding: NDArray[Any], *, min_confidence: float = 0.0, ids: Ints | None = None) -> pd.DataFrame:
        """Label cells.

        Classes with equal votes: the one that has the nearest cell; at the same distance, the first by name. Reference
        cells at the same distance (to six digits): the one that stands first votes.

        Parameters
        ----------
        embedding
            `(n, d)`.
        min_confidence
            Leave cells below this without a label.
        ids
            `(n,) int64`: a cell that is in the reference, by its id, is labelled by the others.

        Returns
        -------
        A row per cell: `label` (None: below `min_confidence`, or a cell that is zeros or not finite, or the only one of
        the reference), `confidence` (NaN for the latter two), `runner_up` (the class that comes second; None where
        there is one class) and `similarity`, the mean cosine to the neighbours that voted, which is low for cells
        unlike all of the reference.
        """
        if not 0 <= min_confidence <= 1:
            raise ModelError(f"min_confidence is {min_confidence}: give a probability")
        votes, nearest, similarity = self._votes(embedding, self._themselves(ids))
        probability = self._probabilities(votes, nearest)
        order = self._ranking(votes, nearest)
        best = order[:, 0]
        confidence = np.take_along_axis(probability, best[:, None], axis=1)[:, 0]
        names = np.array([*self.classes, None], dtype=object)
        label = np.where(confidence >= min_confidence, best, len(self.classes))  # NaN is not above anything
        second = order[:, 1] if len(self.classes) > 1 else np.full(len(best), len(self.classes))
        second = np.where(np.isnan(confidence), len(self.classes), second)
        return pd.DataFrame(
            {"label": names[label], "confidence": confidence, "runner_up": names[second], "similarity": similarity}
        )

    # -- inside -----------------------------------------------------------------------------------------------------

    def _calibrated(self, rows: Ints, how: str) -> Self:
        sizes = np.bincount(self.codes)
        rows = rows[sizes[self.codes[rows]] > 1]
        if len(rows) < _MIN_CALIBRATION or len(self.classes) < 2:
            return self
        every = np.arange(len(self.reference))
        votes, nearest, _ = self._votes(self.reference[rows], lambda at: every == rows[at][:, None])
        truth = self.codes[rows]
        if how == "temperature":
            from scipy.optimize import minimize_scalar
            from scipy.special import log_softmax

            logits = np.log(self._shares(votes))

            def loss(log_temperature: float) -> float:
                return -float(
                    log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(truth)), truth].mean()
                )

            minimum = minimize_scalar(loss, bounds=tuple(np.log(_TEMPERATURES)), method="bounded")
            return replace(self, temperature=float(np.exp(minimum.x)), n_calibrated=len(rows))
        from sklearn.isotonic import IsotonicRegression

        probability = self._probabilities(votes, nearest)
        best = self._ranking(votes, nearest)[:, 0]
        isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        isotonic.fit(probability[np.arange(len(best)), best], (best == truth).astype(float))
        knots = np.stack([isotonic.X_thresholds_, isotonic.y_thresholds_]).astype(np.float64)
        return replace(self, knots=knots, n_calibrated=len(rows))

    def _themselves(self, ids: Ints | None) -> Callable[[Ints], NDArray[np.bool_]] | None:
        """Return what tells of some rows which reference cells are the very same cell, `(n_rows, n_reference)`."""
        if ids is None or self.ids is None:
            return None
        reference = self.ids
        return lambda at: ids[at][:, None] == reference

    def _votes(
        self, embedding: NDArray[Any], left_out: Callable[[Ints], NDArray[np.bool_]] | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return votes `(n, C)`, the cosine of each class's nearest voter (-2: none), and the mean cosine `(n,)`.

        `left_out` tells of some rows which reference cells have no vote.
        """
        points = _points(embedding)
        if points.shape[1] != self.reference.shape[1]:
            raise ModelError(
                f"the cells have {points.shape[1]} coordinates, the reference {self.reference.shape[1]}: embed both "
                f"with one model"
            )
        known = _directed(points)
        n, n_classes = len(points), len(self.classes)
        votes, nearest = np.full((n, n_classes), np.nan), np.full((n, n_classes), -2.0)
        mean = np.full(n, np.nan)
        n_reference = len(self.reference)
        k = min(self.k, n_reference)
        rows = np.flatnonzero(known)
        size = max(_AT_ONCE // n_reference, 1)
        for start in range(0, len(rows), size):
            at = rows[start : start + size]
            cosine = np.clip(_unit(points[at]) @ self.reference.T, -1, 1)
            if left_out is not None:
                cosine[left_out(at)] = -2
            # One number that orders by cosine and then by position: every tie has one answer.
            key = np.rint(cosine * _DIGITS).astype(np.int64) * n_reference - np.arange(n_reference)
            chosen = np.argpartition(-key, k - 1, axis=1)[:, :k]
            near = np.rint(np.take_along_axis(cosine, chosen, axis=1).astype(np.float64) * _DIGITS) / _DIGITS
            voting = near > -2
            weight = self._weight(np.where(voting, 1 - near, 0)) * voting
            share = np.zeros((len(at), n_classes))
            closest = np.full((len(at), n_classes), -2.0)
            line = np.repeat(np.arange(len(at)), k)
            np.add.at(share, (line, self.codes[chosen].ravel()), weight.ravel())
            np.maximum.at(closest, (line, self.codes[chosen].ravel()), near.ravel())
            n_voting = voting.sum(axis=1)
            total = share.sum(axis=1, keepdims=True)
            votes[at] = np.divide(share, total, out=np.full_like(share, np.nan), where=total > 0)
            nearest[at] = closest
            mean[at] = np.where(n_voting > 0, (near * voting).sum(axis=1) / np.maximum(n_voting, 1), np.nan)
        return votes, nearest, mean

    def _weight(self, distance: Floats) -> Floats:
        if self.votes == "uniform":
            return np.ones_like(distance)
        farthest = distance.max(axis=1, keepdims=True)
        weight: Floats = np.exp(-np.divide(distance, farthest, out=np.zeros_like(distance), where=farthest > 0))
        return weight

    def _shares(self, votes: Floats) -> Floats:
        smoothed = votes + 1 / (2 * min(self.k, len(self.reference)) * len(self.classes))
        if self.balanced:
            smoothed = smoothed / np.bincount(self.codes, minlength=len(self.classes))
        shares: Floats = smoothed / smoothed.sum(axis=1, keepdims=True)
        return shares

    def _ranking(self, votes: Floats, nearest: Floats) -> Ints:
        """Classes of each cell, the likeliest first; of equal ones the nearest, then the first."""
        # By votes: calibration may make unlike ones equal. Rounded: the order of a sum must not decide.
        shares = np.round(self._shares(votes), 12)
        return np.lexsort((np.broadcast_to(np.arange(shares.shape[1]), shares.shape), -nearest, -shares), axis=1)

    def _probabilities(self, votes: Floats, nearest: Floats) -> Floats:
        from scipy.special import softmax

        probability: Floats = softmax(np.log(self._shares(votes)) / self.temperature, axis=1)
        if not self.knots.shape[1] or probability.shape[1] < 2:
            return probability
        order = self._ranking(votes, nearest)
        line = np.arange(len(order))
        top, second = probability[line, order[:, 0]], probability[line, order[:, 1]]
        calibrated = np.interp(top, *self.knots)
        # The others share what is left, in proportion; the largest stays the largest.
        rest = second / (1 - top)
        calibrated = np.maximum(calibrated, rest / (1 + rest))
        probability *= ((1 - calibrated) / (1 - top))[:, None]
        probability[line, order[:, 0]] = calibrated
        return probability


def _points(embedding: NDArray[Any]) -> NDArray[np.float32]:
    points = np.ascontiguousarray(embedding, np.float32)
    if points.ndim != 2 or not points.shape[1]:
        raise ModelError(f"an embedding has one row per cell, this one has the shape {points.shape}")
    return points


def _directed(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = np.isfinite(points).all(axis=1) & (points != 0).any(axis=1)
    return known


def _unit(points: NDArray[np.float32]) -> NDArray[np.float32]:
    # In float64: the squares of tiny coordinates vanish in float32.
    return unit_rows(points.astype(np.float64)).astype(np.float32)
