"""Which genes, and which sentences about them, separate resilient from vulnerable subtypes, and which pathways.

Survival is what `rgc_types.csv` (or a table of yours) says of a type; types of which it says nothing are left out. With
v_g the vector of a gene, c the mean vector of the genes, d_g the difference of its mean weight in resilient and in
vulnerable cells, and u the direction from the vulnerable to the resilient cells (`genetext.explain`):

    score_g = d_g cos(v_g - c, u)

A high score is for a gene that differs between the two groups and whose text points the same way as all differences
together. Any two groups of types differ. The placebo therefore asks how often groups of the same sizes, drawn from the
same types without regard to survival, are as far apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext import embed_cells, explain
from genetext.index import GeneIndex
from genetext.priors import GenePriors

GROUPS = ("resilient", "vulnerable")
_MOST = 5000  # groupings of types that are tried one by one


@dataclass(frozen=True)
class Contrast:
    """What separates two groups of types.

    Attributes
    ----------
    genes
        One row per gene with a vector, the highest score first: `gene`, `gene_id`, `more_in`, `difference` (d_g),
        `cosine`, `score`.
    sentences
        `group`, `gene` (one that the group has more of), `sentence`, `score`; the highest score of each group first.
    types
        `type`, `survival`, `n_cells`.
    distance
        Between the mean vectors of the two groups, types weighing the same.
    placebo
        That distance for other groupings of the same types, `(n_groupings,)`.
    p
        Share of all groupings, the true one among them, that are at least as far apart.
    """

    genes: pd.DataFrame
    sentences: pd.DataFrame
    types: pd.DataFrame
    distance: float
    placebo: NDArray[np.float64]
    p: float


def read_survival(path: Path) -> dict[str, str]:
    """Read `type` and `survival` (`resilient`, `vulnerable`; anything else: unknown) from a CSV file."""
    table = pd.read_csv(path, comment="#", keep_default_na=False, dtype=str)
    missing = [name for name in ("type", "survival") if name not in table]
    if missing:
        raise SystemExit(f"{path} has no column {', '.join(missing)}: it needs type and survival")
    return dict(zip(table["type"], table["survival"], strict=True))


def contrast(
    adata: Any,
    priors: GenePriors,
    index: GeneIndex,
    labels: NDArray[np.object_],
    survival: Mapping[str, str],
    *,
    weighting: str = "contrast",
    n_genes: int = 25,
    root: Path | None = None,
) -> Contrast | None:
    """Separate resilient from vulnerable types; None where the data have no type of one of the two groups.

    Parameters
    ----------
    adata
        Counts.
    priors
        As opened from `index` and aligned to `adata`, not transformed.
    index
        Whose encoder scores the sentences.
    labels
        The type of each cell.
    survival
        For types, `resilient` or `vulnerable`.
    weighting
        What a gene weighs in a cell, see `genetext.embed_cells`.
    n_genes
        Sentences are taken from so many genes of each group.
    """
    of_cell = pd.Series(labels, dtype=object).map(survival)
    of_cell = of_cell.where(of_cell.isin(GROUPS))
    if set(of_cell.dropna()) != set(GROUPS):
        return None
    known = adata.copy()
    known.obs["survival"] = of_cell.to_numpy()
    explanation = explain(known, priors, "survival", weighting=weighting, index=index, n_genes=n_genes, root=root)
    place = list(explanation.groups["group"]).index("resilient")
    table = explanation.top("resilient", len(priors)).set_index("gene_id")
    direction = explanation.directions[place]
    row_of = pd.Series(np.arange(len(priors)), index=priors.gene_ids)[lambda rows: ~rows.index.duplicated()]
    vectors = priors.vectors[row_of.reindex(table.index).to_numpy(np.int64)].astype(np.float64)
    vectors -= vectors.mean(axis=0)  # what all texts about genes have in common says nothing of one
    cosine = vectors @ direction / np.maximum(np.linalg.norm(vectors, axis=1), 1e-9)
    difference = (table["weight_in"] - table["weight_out"]).to_numpy()
    genes = pd.DataFrame(
        {
            "gene": table["gene"].to_numpy(),
            "gene_id": table.index.to_numpy(),
            "more_in": np.where(difference > 0, *GROUPS),
            "difference": difference,
            "cosine": cosine,
            "score": difference * cosine,
        }
    ).sort_values("score", ascending=False, kind="stable", ignore_index=True)
    assert explanation.sentences is not None
    # A gene that a group lacks pulls towards it, too; what is said about it would be misread as the group's own.
    more_in = explanation.sentences["gene_id"].map(genes.drop_duplicates("gene_id").set_index("gene_id")["more_in"])
    belongs = (more_in == explanation.sentences["group"]) & (explanation.sentences["score"] > 0)
    sentences = explanation.sentences.loc[belongs, ["group", "gene", "sentence", "score"]].reset_index(drop=True)
    types = (
        pd.DataFrame({"type": labels, "survival": of_cell}).dropna().value_counts().rename("n_cells").reset_index()
    ).sort_values(["survival", "type"], ignore_index=True)
    distance, placebo, p = _placebo(known, priors, labels, types, weighting)
    return Contrast(genes, sentences, types, distance, placebo, p)


def _placebo(
    adata: Any, priors: GenePriors, labels: NDArray[np.object_], types: pd.DataFrame, weighting: str
) -> tuple[float, NDArray[np.float64], float]:
    """Return the distance of the two groups, that of other groupings of the same types, and the share as far apart."""
    inside = np.isin(labels.astype(str), types["type"].to_numpy(str))
    cells = adata[inside].copy()
    embed_cells(cells, priors, weighting=weighting)
    vectors, names = np.asarray(cells.obsm["X_genetext"], np.float64), labels[inside]
    centres = np.stack([np.nanmean(vectors[names == name], axis=0) for name in types["type"]])
    true = tuple(np.flatnonzero((types["survival"] == "resilient").to_numpy()))
    n, size = len(types), len(true)
    if comb(n, size) <= _MOST:
        tried = list(combinations(range(n), size))
    else:
        rng = np.random.default_rng(0)
        tried = [true, *(tuple(rng.permutation(n)[:size]) for _ in range(_MOST - 1))]
    weights = np.full((len(tried), n), -1.0 / (n - size))
    for row, chosen in enumerate(tried):
        weights[row, list(chosen)] = 1.0 / size
    distances = np.linalg.norm(weights @ centres, axis=1)
    of_true = weights[[set(grouping) == set(true) for grouping in tried].index(True)]
    distance = float(np.linalg.norm(of_true @ centres))
    return distance, distances, float(np.mean(distances >= distance - 1e-12))


def enrichment(contrast: Contrast, gene_sets: Path, *, n: int = 50) -> pd.DataFrame:
    """Test which gene sets the `n` genes of highest score of each group are rich in; see `over_representation`."""
    from cellmodels.eval.enrichment import over_representation

    genes = contrast.genes.drop_duplicates("gene")
    high = genes[genes["score"] > 0]
    tops = {group: high.loc[high["more_in"] == group, "gene"].head(n) for group in GROUPS}
    return over_representation(tops, genes["gene"].tolist(), gene_sets, min_size=5, max_size=500)
