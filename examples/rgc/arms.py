"""The ways to embed a cell that are compared: with the prior, with its controls, without it, and with no model."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellmodels.data.inputs import read_cells
from cellmodels.eval.low_sample import Make
from cellmodels.groups.pca import PCA
from genetext import embed_cells
from genetext.cells import measure_background
from genetext.priors import GenePriors

from .lowsample import Arm

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


# Small, to take minutes on two cores; not tuned.
CONTRASTIVE: dict[str, Any] = {
    "weighting": "contrast",
    "top_n": 100,
    "n_genes": None,  # the genes are chosen before, the same for all arms
    "n_hidden": 256,
    "n_latent": 64,
    "loss": "supervised",  # cells without a label only tell the axes to start from
}


def baselines(adata: Any) -> list[Arm]:
    """Return principal components: of the cells to learn from, and of all cells, which needs no labels."""
    return [
        Arm("PCA", _pca(adata, alone=True), "baseline", "principal components of the cells to learn from"),
        Arm(
            "PCA, all cells",
            _pca(adata, alone=False),
            "baseline",
            "principal components of all cells, those to be named among them, which needs no labels",
        ),
    ]


def untrained(adata: Any, priors: GenePriors, *, weighting: str = "contrast") -> list[Arm]:
    """Return the cell vectors of `genetext.embed_cells`, nothing trained, with the prior and its controls."""
    return [
        Arm(
            f"{name} vectors, untrained",
            _cell_vectors(adata, priors, variant, weighting),
            role,
            f"a cell is the weighted mean of its genes' vectors, and nothing is learnt; {note}",
            "untrained",
        )
        for name, (role, variant, note) in VARIANTS.items()
    ]


def contrastive(adata: Any, priors: GenePriors, *, steps: int = 60, **options: Any) -> list[Arm]:
    """Return the supervised contrastive model with the prior, its controls, and without any prior.

    It is given all cells, as "PCA, all cells" is, and the labels of those to learn from.

    Parameters
    ----------
    adata, priors
        Counts, and gene vectors aligned to them.
    steps
        Mini-batches to train on, about as many whatever the number of cells.
    **options
        Hyper-parameters of `cellmodels.ContrastiveModel`.
    """
    arms = [
        Arm(
            f"contrastive, {name}",
            _contrastive(adata, priors, variant, steps, options),
            role,
            f"expression and averaged gene vectors, trained to bring cells of a type together; {note}",
            "contrastive",
        )
        for name, (role, variant, note) in VARIANTS.items()
    ]
    without = "the same model with its expression half alone"
    return [
        *arms,
        Arm(
            "contrastive, no prior", _contrastive(adata, None, None, steps, options), "control", without, "contrastive"
        ),
    ]


def _contrastive(
    adata: Any, priors: GenePriors | None, variant: Variant | None, steps: int, options: dict[str, Any]
) -> Make:
    def make(train: NDArray[np.int64], known: NDArray[np.object_], seed: int) -> NDArray[np.float32]:
        from cellmodels import ContrastiveModel

        settings = {"batch_size": 256, **CONTRASTIVE, **options}
        epochs = max(1, round(steps / -(-len(train) // settings["batch_size"])))
        prior = None if priors is None or variant is None else variant(priors, seed)
        model = ContrastiveModel(**settings, epochs=epochs, seed=seed)
        return model.fit(adata, prior, labels=known).embed(adata)

    return make


def _cell_vectors(adata: Any, priors: GenePriors, variant: Variant, weighting: str) -> Make:
    def make(train: NDArray[np.int64], _: NDArray[np.object_], seed: int) -> NDArray[np.float32]:
        background = measure_background(adata[train])
        cells = embed_cells(adata, variant(priors, seed), weighting=weighting, background=background, copy=True)
        return np.nan_to_num(cells.obsm["X_genetext"])

    return make


def _pca(adata: Any, *, alone: bool, n: int = 50) -> Make:
    def make(train: NDArray[np.int64], _: NDArray[np.object_], _seed: int) -> NDArray[np.float32]:
        cells = read_cells(adata, needs="log").matrix
        return PCA.fit(cells[train] if alone else cells, n).transform(cells)

    return make
