"""Which columns of a data set are genes: assays put antibodies, hashtags, guides and peaks beside them."""

import logging
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

log = logging.getLogger("genetext")

COLUMNS = ("feature types", "feature type", "modality", "type")
"""Columns of `var` that tell what is measured: Cell Ranger's, its singular, what merged modalities are given, and
DropletUtils' (`Type`). Letter case, `_`, `.` and what a concatenation appends (`feature_types-0`) do not matter."""
_EXPRESSION = frozenset({"gene expression", "gex", "rna", "transcriptome"})
_OTHERS = frozenset(
    {
        *("antibody capture", "crispr guide capture", "multiplexing capture", "antigen capture", "custom", "peaks"),
        *("vdj", "vdj t", "vdj b", "vdj t gd", "chromatin accessibility", "gene activity", "motifs", "cut sites"),
        *("antibody", "antibodies", "adt", "hto", "hashtag", "hashtags", "prot", "protein", "proteins"),
        *("surface protein", "atac", "peak", "crispr", "guide", "guides", "grna", "sgrna", "tags", "tcr", "bcr"),
        *("airr", "lipid"),
    }
)
_GENES = frozenset({"gene", "genes", "mrna"})
_NULL = frozenset({"", "na", "nan", "none", "null"})


def not_genes(var: pd.DataFrame) -> NDArray[np.bool_]:
    """Mark the columns of a data set that measure something else than the expression of a gene.

    Where a column of `COLUMNS` knows gene expression (`Gene Expression`, `rna`), whatever else it names is marked;
    elsewhere (CELLxGENE's `feature_type` and NCBI's `mRNA` are kinds of genes) only what is known to be no gene.

    Parameters
    ----------
    var
        The `var` of an AnnData.

    Returns
    -------
    `(n_vars,) bool`; no entry is True where nothing is said.
    """
    marked = np.zeros(len(var), bool)
    for column in _columns(var):
        texts = column.astype(str)
        values = texts.map({text: _plain(text) for text in texts.unique()})
        genes = values.isin(_EXPRESSION)
        others = ~genes & ~values.isin(_GENES | _NULL) & column.notna() if genes.any() else values.isin(_OTHERS)
        marked |= others.to_numpy(bool)
    return marked


def describe(var: pd.DataFrame, marked: NDArray[np.bool_]) -> str:
    """Say how many columns are marked as no genes, and what they are: `3 Antibody Capture, 2 Custom`."""
    counts = next(_columns(var))[marked].astype(str).value_counts()
    return ", ".join(f"{n:,} {kind}" for kind, n in counts.items())


def _columns(var: pd.DataFrame) -> Iterator[pd.Series]:
    """Yield what the columns of `var` say that tell what is measured, in the order of `COLUMNS`."""
    plain = [_plain(re.sub(r"-\w+$", "", str(name))) for name in var.columns]
    for name in COLUMNS:
        yield from (var.iloc[:, place] for place, other in enumerate(plain) if other == name)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def say_left_out(var: pd.DataFrame, marked: NDArray[np.bool_], what: str) -> None:
    """Log that columns which are no genes are left out of `what`."""
    if marked.any():
        log.warning("columns of var that are no genes are left out of %s: %s", what, describe(var, marked))
