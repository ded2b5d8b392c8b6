"""Post-processing: transforms fitted on an index's gene vectors and applied to its queries alike.

Raw encoder vectors share a large mean and a few dominant directions, which hide how genes differ. A recipe names what
to do about it, in order: `"center,abtt:3,pca:256"`.

=============  =========================================================================================================
`center`       subtract the mean
`whiten[:d]`   PCA whitening, all directions or the first `d`: mean zero, identity covariance
`abtt[:k]`     all-but-the-top (Mu and Viswanath 2018): subtract the mean, take out the first `k` principal directions;
               default `k` is a hundredth of the dimension, at least 1
`pca:d`        subtract the mean, project on the first `d` principal directions
`truncate:d`   keep the first `d` numbers of each vector (for encoders trained so that these matter most)
`unit`         scale each vector to unit length
=============  =========================================================================================================

A row of zeros is a gene (or query) without vector: it is left out of the fit and stays zero. Sums run in float64 over
blocks of rows on one thread, and the largest entry of each principal direction is positive, so the same vectors give
the same bits at any thread count.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext.errors import EncoderError

Arrays = Mapping[str, NDArray[np.float32]]
_Block = NDArray[np.float64]


@dataclass(frozen=True)
class _Transform:
    usage: str
    arrays: tuple[str, ...] = ()  # what it is fitted to


_TRANSFORMS: Mapping[str, _Transform] = {
    "center": _Transform("center", ("mean",)),
    "whiten": _Transform("whiten[:d]", ("mean", "matrix")),
    "abtt": _Transform("abtt[:k]", ("mean", "directions")),
    "pca": _Transform("pca:d", ("mean", "matrix")),
    "truncate": _Transform("truncate:d"),
    "unit": _Transform("unit"),
}
_ROWS = 2048
# Directions with less than this share of the largest variance carry rounding, which whitening would blow up.
_NO_VARIANCE = 1e-9


@dataclass(frozen=True)
class Step:
    """One transform of a recipe: its name, and its number where it has one (`d` or `k`)."""

    name: str
    number: int | None = None

    def __str__(self) -> str:
        return self.name if self.number is None else f"{self.name}:{self.number}"


@dataclass(frozen=True)
class Recipe:
    """Transforms in their order, not yet fitted; `str()` gives back what `parse` reads."""

    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return ",".join(map(str, self.steps))

    def fit(self, vectors: NDArray[np.float32]) -> "Chain":
        """Fit each transform to the output of those before it.

        Parameters
        ----------
        vectors
            `(n, dim) float32`, one row per gene; rows of zeros are left out.

        Raises
        ------
        EncoderError
            A vector is not finite, there is none, or they have fewer dimensions (or vary in fewer directions) than a
            step asks for.
        """
        if vectors.ndim != 2:
            raise EncoderError(f"post-processing takes vectors as (n, dim), not an array of shape {vectors.shape}")
        bad = int(np.count_nonzero(~np.isfinite(vectors).all(axis=1)))
        if bad:
            raise EncoderError(f"{bad:,} of {len(vectors):,} vectors are not finite: the encoder gave NaN or infinity")
        fitted: list[FittedStep] = []
        dims = [vectors.shape[1]]
        if self.steps:
            from threadpoolctl import threadpool_limits

            known = vectors[vectors.any(axis=1)]
            if not len(known):
                raise EncoderError(f"post-processing ({self}) has nothing to be fitted on: every vector is zero")
            with threadpool_limits(1):
                for step in self.steps:
                    fitted.append(FittedStep(step, _fit(step, known)))
                    known = _in_blocks(known, fitted[-1:])
                    dims.append(known.shape[1])
        return Chain(dims[0], dims[-1], tuple(fitted))


@dataclass(frozen=True)
class FittedStep:
    """A transform and the arrays that it was fitted to, float32."""

    step: Step
    arrays: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Chain:
    """Fitted transforms.

    Attributes
    ----------
    dim_in, dim_out
        Length of a vector before and after.
    steps
        The fitted transforms, in their order.
    """

    dim_in: int
    dim_out: int
    steps: tuple[FittedStep, ...] = ()

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform vectors: `(n, dim_in)` to `(n, dim_out) float32`; rows of zeros stay zero.

        Raises
        ------
        EncoderError
            The vectors have another dimension than those that the chain was fitted on.
        """
        from threadpoolctl import threadpool_limits

        if vectors.ndim != 2 or vectors.shape[1] != self.dim_in:
            raise EncoderError(
                f"the post-processing was fitted on vectors of {self.dim_in} dimensions and got an array of shape "
                f"{vectors.shape}"
            )
        if not self.steps:
            return np.array(vectors, dtype=np.float32)
        with threadpool_limits(1):
            result = _in_blocks(vectors, self.steps)
        result[~vectors.any(axis=1)] = 0
        return result

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays as a JSON object."""
        recipe = Recipe(tuple(fitted.step for fitted in self.steps))
        return {"recipe": str(recipe), "dim_in": self.dim_in, "dim_out": self.dim_out}

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the arrays under names such as `0.mean`, for a safetensors file."""
        return {f"{at}.{name}": array for at, fitted in enumerate(self.steps) for name, array in fitted.arrays.items()}

    @classmethod
    def from_arrays(cls, value: Mapping[str, Any], arrays: Arrays) -> "Chain":
        """Put together what `to_json` and `to_arrays` took apart.

        Raises
        ------
        EncoderError
            Something is missing, or of another shape than the recipe says.
        """
        try:
            recipe, dim_in, dim_out = parse(value["recipe"]), int(value["dim_in"]), int(value["dim_out"])
            steps = tuple(
                FittedStep(step, {name: arrays[f"{at}.{name}"] for name in _TRANSFORMS[step.name].arrays})
                for at, step in enumerate(recipe.steps)
            )
            shape = _in_blocks(np.zeros((1, dim_in), np.float32), steps).shape
        except (KeyError, TypeError, ValueError) as error:
            raise EncoderError(f"the fitted post-processing is damaged ({error}): build the index again") from error
        if shape != (1, dim_out):
            raise EncoderError(
                f"the fitted post-processing is damaged: it gives {shape[1]} dimensions and records {dim_out}; build "
                f"the index again"
            )
        return cls(dim_in, dim_out, steps)


def parse(text: str) -> Recipe:
    """Read a recipe such as `"center,abtt:3,pca:256"`; an empty one does nothing.

    Raises
    ------
    EncoderError
        A transform is not known, lacks its number, or has one that it does not take.
    """
    steps = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, number = (piece.strip() for piece in part.partition(":"))
        if name not in _TRANSFORMS:
            known = ", ".join(transform.usage for transform in _TRANSFORMS.values())
            raise EncoderError(f"unknown post-processing {name!r}; known: {known}")
        usage = _TRANSFORMS[name].usage
        if colon and ":" not in usage:
            raise EncoderError(f"post-processing {name!r} takes no number, and got {part!r}")
        if not colon and usage.endswith(":d"):
            raise EncoderError(f"post-processing {name!r} needs a number: {usage}")
        if colon and not (number.isdecimal() and int(number) > 0):
            raise EncoderError(f"post-processing {part!r}: {number!r} is not a whole number of 1 or more ({usage})")
        steps.append(Step(name, int(number) if colon else None))
    return Recipe(tuple(steps))


def _blocks(vectors: NDArray[np.float32]) -> Iterator[_Block]:
    for start in range(0, len(vectors), _ROWS):
        yield vectors[start : start + _ROWS].astype(np.float64)


def _in_blocks(vectors: NDArray[np.float32], steps: tuple[FittedStep, ...] | list[FittedStep]) -> NDArray[np.float32]:
    wide = [{name: array.astype(np.float64) for name, array in fitted.arrays.items()} for fitted in steps]
    done = []
    for block in _blocks(vectors) if len(vectors) else [np.empty(vectors.shape)]:
        for fitted, arrays in zip(steps, wide, strict=True):
            block = _apply(fitted.step, arrays, block)
        done.append(block.astype(np.float32))
    return np.concatenate(done)


def _mean(vectors: NDArray[np.float32]) -> _Block:
    total: _Block = np.add.reduce([block.sum(axis=0) for block in _blocks(vectors)])
    return total / len(vectors)


def _principal(vectors: NDArray[np.float32], mean: _Block) -> tuple[_Block, _Block]:
    """Return variances and principal directions `(dim, rank)`, the largest first, those of rounding left out."""
    covariance = np.zeros((vectors.shape[1], vectors.shape[1]))
    for block in _blocks(vectors):
        block -= mean
        covariance += block.T @ block
    variances, directions = np.linalg.eigh(covariance / len(vectors))
    variances, directions = variances[::-1], directions[:, ::-1]
    # What float32 can hold of the vectors themselves bounds what can be called variance.
    floor = max(_NO_VARIANCE * variances[0], float(np.finfo(np.float32).eps) ** 2 * float(mean @ mean))
    rank = min(int(np.count_nonzero(variances > floor)), len(vectors) - 1)
    directions = directions[:, :rank]
    signs = np.where(-directions.min(axis=0, initial=0) > directions.max(axis=0, initial=0), -1.0, 1.0)
    return variances[:rank], directions * signs


def _at_most(step: Step, limit: int, what: str) -> int:
    number = limit if step.number is None else step.number
    if number > limit:
        raise EncoderError(f"post-processing {step} asks for {number} dimensions; {what} {limit}: ask for fewer")
    return number


def _fit(step: Step, vectors: NDArray[np.float32]) -> Arrays:
    dim, n = vectors.shape[1], len(vectors)
    if step.name != "abtt" and step.number is not None:
        _at_most(step, dim, "the vectors have")
    if step.name in {"unit", "truncate"}:
        return {}
    mean = _mean(vectors)
    if step.name == "center":
        return _narrow(mean=mean)
    variances, directions = _principal(vectors, mean)
    rank = len(variances)
    varying = f"the directions in which the {n:,} vectors vary are"
    if step.name == "abtt":
        number = min(max(1, dim // 100), rank) if step.number is None else _at_most(step, rank, varying)
        return _narrow(mean=mean, directions=directions[:, :number])
    if rank == 0:
        raise EncoderError(f"post-processing {step}: the {n:,} vectors are all the same, nothing varies")
    matrix = directions[:, : _at_most(step, rank, varying)]
    return _narrow(
        mean=mean, matrix=matrix / np.sqrt(variances[: matrix.shape[1]]) if step.name == "whiten" else matrix
    )


def _narrow(**arrays: _Block) -> Arrays:
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}


def _apply(step: Step, arrays: Mapping[str, _Block], block: _Block) -> _Block:
    if step.name == "truncate":
        return block[:, : step.number]
    if step.name == "unit":
        length: _Block = np.sqrt(np.einsum("ij,ij->i", block, block))[:, None]
        return np.divide(block, length, out=np.zeros_like(block), where=length > 0)
    block = block - arrays["mean"]
    if step.name == "abtt":
        return block - (block @ arrays["directions"]) @ arrays["directions"].T
    return block if step.name == "center" else block @ arrays["matrix"]
