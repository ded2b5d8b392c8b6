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


# Chosen for two cores and a few minutes, before any prior was tried.
CONTRASTIVE: dict[str, Any] = {
    "weighting": "contrast",
    "top_n": 100,
    "n_genes": None,  # the genes are chosen before, the same for all arms
    "hidden": 256,
    "n_latent": 64,
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


def untrained(priors: GenePriors, *, weighting: str = "contrast") -> list[Arm]:
    """Return the cell vectors of `genetext.embed_cells`, nothing trained, with the prior and its controls."""
    return [
        Arm(
            f"{name} vectors, untrained",
            _cell_vectors(priors, variant, weighting),
            role,
            f"a cell is the weighted mean of its genes' vectors, and nothing is learnt; {note}",
            "untrained",
        )
        for name, (role, variant, note) in VARIANTS.items()
    ]


def contrastive(priors: GenePriors, *, steps: int = 100, **options: Any) -> list[Arm]:
    """Return the supervised contrastive model with the prior, its controls, and without any prior.

    Parameters
    ----------
    priors
        Aligned to the cells.
    steps
        Mini-batches to train on, about as many whatever the number of cells.
    **options
        Hyper-parameters of `cellmodels.ContrastiveModel`.
    """
    arms = [
        Arm(
            f"contrastive, {name}",
            _contrastive(priors, variant, steps, options),
            role,
            f"expression and averaged gene vectors, trained to bring cells of a type together; {note}",
            "contrastive",
        )
        for name, (role, variant, note) in VARIANTS.items()
    ]
    without = "the same model with its expression half alone"
    return [
        *arms,
        Arm("contrastive, no prior", _contrastive(None, None, steps, options), "control", without, "contrastive"),
    ]


def fit_contrastive(
    adata: Any, train: NDArray[np.int64], priors: GenePriors | None, *, steps: int, seed: int, **options: Any
) -> Any:
    """Fit the contrastive model to the labelled cells `train`; labels are in `obs["type"]`."""
    from cellmodels import ContrastiveModel

    size = options.pop("batch_size", 256)
    epochs = max(1, round(steps / -(-len(train) // size)))
    settings = {**CONTRASTIVE, **options, "batch_size": size, "epochs": epochs, "seed": seed}
    # The types of the cells to learn from, and no others, are here to be seen.
    return ContrastiveModel(**settings).fit(adata[train].copy(), priors, labels="type")


def _contrastive(priors: GenePriors | None, variant: Variant | None, steps: int, options: dict[str, Any]) -> Embedder:
    def embed(adata: Any, train: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
        used = variant(priors, seed) if priors is not None and variant is not None else None
        return fit_contrastive(adata, train, used, steps=steps, seed=seed, **options).embed(adata)

    return embed


def _cell_vectors(priors: GenePriors, variant: Variant, weighting: str) -> Embedder:
    def embed(adata: Any, train: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
        background = measure_background(adata[train])
        cells = embed_cells(adata, variant(priors, seed), weighting=weighting, background=background, copy=True)
        return np.nan_to_num(cells.obsm["X_genetext"])

    return embed
