"""The ways to embed a cell that are compared: with the prior, with its controls, without it, and with no model."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext import embed_cells
from genetext.cells import measure_background
from genetext.priors import GenePriors

from .lowsample import Arm, Embedder, pca

Variant = Callable[[GenePriors, int], GenePriors]
"""Makes the prior itself, or one of its controls, with the seed of a repeat."""

VARIANTS: dict[str, tuple[str, Variant, str]] = {
    "prior": ("text", lambda priors, _: priors, "the vector of each gene is that of its text"),
    "permuted": (
        "control",
        lambda priors, seed: priors.permuted(seed),
        "the same vectors, dealt out anew",
    ),
    "random": ("control", lambda priors, seed: priors.random(seed), "random directions in place of texts"),
}


def baselines(unlabelled: NDArray[np.int64]) -> list[Arm]:
    """Return principal components: of the cells to learn from, and of all cells but those held out."""
    return [
        Arm("PCA", pca(), "baseline", "principal components of the cells to learn from"),
        Arm(
            "PCA, all cells",
            pca(fitted_on=unlabelled),
            "baseline",
            "principal components of every cell that is not tested on: no labels are needed for that",
        ),
    ]


def text_alone(priors: GenePriors, *, weighting: str = "contrast") -> list[Arm]:
    """Return the cell vectors of `genetext.embed_cells`, nothing trained, with the prior and its controls."""
    return [
        Arm(
            f"{name} vectors, untrained",
            _cell_vectors(priors, variant, weighting),
            role,
            f"a cell is the weighted mean of its genes' vectors; {note}",
        )
        for name, (role, variant, note) in VARIANTS.items()
    ]


def _cell_vectors(priors: GenePriors, variant: Variant, weighting: str) -> Embedder:
    def embed(adata: Any, train: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
        background = measure_background(adata[train])
        cells = embed_cells(adata, variant(priors, seed), weighting=weighting, background=background, copy=True)
        return np.nan_to_num(cells.obsm["X_genetext"])

    return embed
