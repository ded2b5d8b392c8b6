"""Which columns of a data set are genes: assays put antibodies, hashtags, guides and peaks beside them."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

log = logging.getLogger("genetext")

COLUMNS = ("feature types", "feature type", "modality", "type")
"""Columns of `var` that tell what is measured: Cell Ranger's, its singular, what merged modalities are given, and
DropletUtils' (`Type`). Letter case, `_`, `.` and what a concatenation appends (`feature_types-0`) do not matter."""
_EXPRESSION = frozenset({"gene expression", "gex", "transcriptome"})
_OTHERS = frozenset(
    {
        *("antibody capture", "crispr guide capture", "multiplexing capture", "antigen capture", "custom", "peaks"),
        *("vdj", "vdj t", "vdj b", "vdj t gd", "chromatin accessibility", "gene activity", "motifs", "cut sites"),
        *("antibody", "antibodies", "adt", "hto", "hashtag", "hashtags", "prot", "protein", "proteins"),
        *("surface protein", "atac", "peak", "crispr", "guide", "guides", "grna", "sgrna", "tags", "tcr", "bcr"),
        *("airr", "lipid"),
    }
)
# Of a modality, genes as against other things; elsewhere one kind of genes among others.
_GENES = frozenset({"gene", "genes", "mrna", "rna"})
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
    for _, others in _marks(var):
        marked |= others
    return marked


def describe(var: pd.DataFrame, marked: NDArray[np.bool_]) -> str:
    """Say how many columns are marked as no genes, and what they are: `3 Antibody Capture, 2 Custom`."""
    counts: Counter[str] = Counter()
    left = marked
    for column, others in _marks(var):
        counts.update(column[left & others].astype(str))
        left = left & ~others
    return ", ".join(f"{n:,} {kind}" for kind, n in counts.most_common())


def are_kinds(values: Iterable[str]) -> bool:
    """Whether values are known kinds of what is measured, with gene expression among them, and nothing else."""
    kinds = set(map(_plain, set(values)))
    return bool(kinds & _EXPRESSION) and kinds <= _EXPRESSION | _GENES | _OTHERS


def _marks(var: pd.DataFrame) -> Iterator[tuple[pd.Series, NDArray[np.bool_]]]:
    """Yield each column of `var` that tells what is measured, in the order of `COLUMNS`, and what is no gene by it."""
    plain = [_plain(re.sub(r"-\w+$", "", str(name))) for name in var.columns]
    for name in COLUMNS:
        for place in (place for place, other in enumerate(plain) if other == name):
            column = var.iloc[:, place]
            texts = column.astype(str)
            values = texts.map({text: _plain(text) for text in texts.unique()})
            genes = values.isin(_EXPRESSION | _GENES if name == "modality" else _EXPRESSION)
            others = ~genes & ~values.isin(_GENES | _NULL) & column.notna() if genes.any() else values.isin(_OTHERS)
            yield column, others.to_numpy(bool)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def say_left_out(var: pd.DataFrame, marked: NDArray[np.bool_], what: str) -> None:
    """Log that columns which are no genes are left out of `what`."""
    if marked.any():
        log.warning("columns of var that are no genes are left out of %s: %s", what, describe(var, marked))
