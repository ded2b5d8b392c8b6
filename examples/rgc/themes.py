"""Topics of the cells: what types share, in genes and in the nearest gene texts, with the same for controls."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.index import GeneIndex
from genetext.priors import GenePriors


@dataclass(frozen=True)
class Topics:
    """Topics of cells.

    Attributes
    ----------
    table
        A row per topic in use, the most frequent first: `topic`, `share`, `types` (where it is above its mean most),
        `genes`, `texts` (genes whose texts are nearest), `reads` (how the first of them begins), `text_z` (how much
        more alike the texts of its genes are than those of genes at random), with gene sets `sets`.
    by_type
        Mean share of each topic in use (column) in the cells of each type (row).
    compared
        A row for the prior and each control: `prior`, `purity`, `nmi` (of the leading topic with the types), `text_z`
        (median over topics).
    """

    table: pd.DataFrame
    by_type: pd.DataFrame
    compared: pd.DataFrame


def fit(
    adata: Any,
    priors: GenePriors,
    index: GeneIndex,
    labels: NDArray[np.object_],
    *,
    n_topics: int = 30,
    epochs: int = 40,
    n_cells: int = 2000,
    seed: int = 0,
    gene_sets: Path | None = None,
) -> Topics:
    """Fit `cellmodels.TopicModel` with the prior, with a permuted one and without; labels play no part in the fits.

    Parameters
    ----------
    adata
        Counts of the genes to model.
    priors
        Aligned to `adata`.
    index
        Where the priors come from: its texts name the topics.
    labels
        Types, to say afterwards what a topic is of.
    n_topics, epochs, seed
        Of the model.
    n_cells
        Fit to so many cells at most; the shares are those of all cells.
    gene_sets
        GMT with names as the data have them: adds `sets` to the table.
    """
    from cellmodels import TopicModel
    from cellmodels.eval.metrics import nmi
    from cellmodels.eval.topic_metrics import interpretation_purity

    rows = np.sort(np.random.default_rng([seed, 21]).permutation(adata.n_obs)[:n_cells])
    few = adata[rows].copy()
    compared, fitted = [], []
    for name, prior in (("prior", priors), ("permuted", priors.permuted(seed)), ("no prior", priors.without())):
        model = TopicModel(n_topics=n_topics, epochs=epochs, seed=seed, n_genes=None).fit(few, prior)
        shares = model.theta(adata)
        # Against the true texts for every model: what its genes have in common in writing.
        topics = model.topics(n_genes=8, index=index, n_words=3, gene_sets=None if fitted else gene_sets)
        fitted.append((topics, shares))
        compared.append(
            {
                "prior": name,
                "purity": interpretation_purity(shares, labels),
                "nmi": nmi(labels, shares.argmax(axis=1)),
                "text_z": float(topics.loc[~topics["dead"], "text_z"].median()),
            }
        )
    topics, shares = fitted[0]
    alive = topics.loc[~topics["dead"]].sort_values("share", ascending=False, ignore_index=True)
    by_type = pd.DataFrame(shares).groupby(labels.astype(str)).mean()[alive["topic"].tolist()]
    excess = by_type - shares.mean(axis=0)[alive["topic"].to_numpy()]
    types = [", ".join(excess[topic].nlargest(3).index) for topic in alive["topic"]]
    table = alive.assign(types=types, reads=[_reads(texts, index) for texts in alive["texts"]])
    columns = [
        "topic",
        "share",
        "types",
        "specific",
        "texts",
        "reads",
        "text_z",
        *(["sets"] if "sets" in alive else []),
    ]
    return Topics(table[columns].rename(columns={"specific": "genes"}), by_type, pd.DataFrame(compared))


def _reads(texts: str, index: GeneIndex, *, longest: int = 220) -> str:
    """Return the beginning of the text of the first gene of `symbol: name; symbol: name`."""
    if not texts:  # a topic that raises no gene has none
        return ""
    text = str(index.gene(texts.split(":")[0])["text"])
    return text if len(text) <= longest else f"{text[:longest].rsplit(' ', 1)[0]} ..."
