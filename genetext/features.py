"""Which columns of a data set are genes: assays put antibodies, hashtags, guides and peaks beside them."""

import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray

log = logging.getLogger("genetext")

COLUMNS = ("feature_types", "feature_type", "modality")
"""Columns of `var` that tell what is measured: Cell Ranger's, its singular, and what merged modalities are given."""
_EXPRESSION = frozenset({"gene expression", "gene", "genes", "gex", "rna", "mrna", "transcriptome"})
_OTHERS = frozenset(
    {
        *("antibody capture", "crispr guide capture", "multiplexing capture", "antigen capture", "custom", "peaks"),
        *("vdj", "vdj-t", "vdj-b", "vdj-t-gd", "chromatin accessibility", "gene activity", "motifs", "cut sites"),
        *(
            "antibody",
            "antibodies",
            "adt",
            "hto",
            "hashtag",
            "hashtags",
            "prot",
            "protein",
            "proteins",
            "surface protein",
        ),
        *("atac", "peak", "crispr", "guide", "guides", "grna", "sgrna", "tags", "tcr", "bcr", "airr", "lipid"),
    }
)


def not_genes(var: pd.DataFrame) -> NDArray[np.bool_]:
    """Mark the columns of a data set that measure something else than the expression of a gene.

    Where a column of `COLUMNS` knows gene expression (`Gene Expression`, `rna`), whatever else it names is marked;
    elsewhere (CELLxGENE's `feature_type` has the kind of gene) only what is known to be no gene.

    Parameters
    ----------
    var
        The `var` of an AnnData.

    Returns
    -------
    `(n_vars,) bool`; no entry is True where nothing is said.
    """
    marked = np.zeros(len(var), bool)
    by_lower = {str(name).lower(): name for name in reversed(var.columns)}
    for name in COLUMNS:
        if name not in by_lower:
            continue
        given = var[by_lower[name]]
        values = given.astype(str).str.strip().str.lower().str.replace("_", " ", regex=False)
        genes = values.isin(_EXPRESSION)
        others = ~genes & given.notna() if genes.any() else values.isin(_OTHERS)
        marked |= others.to_numpy(bool)
    return marked


def describe(var: pd.DataFrame, marked: NDArray[np.bool_]) -> str:
    """Say how many columns are marked as no genes, and what they are: `3 Antibody Capture, 2 Custom`."""
    by_lower = {str(name).lower(): name for name in reversed(var.columns)}
    name = next(by_lower[name] for name in COLUMNS if name in by_lower)
    counts = var.loc[marked, name].astype(str).value_counts()
    return ", ".join(f"{n:,} {kind}" for kind, n in counts.items())


def say_left_out(var: pd.DataFrame, marked: NDArray[np.bool_], what: str) -> None:
    """Log that columns which are no genes are left out of `what`."""
    if marked.any():
        log.warning("columns of var that are no genes are left out of %s: %s", what, describe(var, marked))
