"""Small data and a straightforward NumPy reference, dense and in float64, to compare with."""

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from genetext.priors import GenePriors


def counts(n_cells=40, n_genes=30, *, seed=0, density=0.4):
    """Counts `(n_cells, n_genes) float32` with many ties."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 4, (n_cells, 1))
    return (rng.poisson(depth * rng.gamma(1, 2, (1, n_genes)), (n_cells, n_genes)) * (
        rng.random((n_cells, n_genes)) < density
    )).astype(np.float32)  # fmt: skip


def data(x, *, form=sparse.csr_matrix):
    """Return an AnnData of counts."""
    n_cells, n_genes = x.shape
    return anndata.AnnData(
        form(x),
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=[f"GENE{j}" for j in range(n_genes)]),
    )


def priors(names, *, dim=6, seed=1, missing=(), poison=True):
    """Return priors for genes by these names; rows of missing genes hold numbers that must never be used."""
    n = len(names)
    rng = np.random.default_rng(seed)
    mask = np.ones(n, bool)
    mask[list(missing)] = False
    vectors = rng.standard_normal((n, dim)).astype(np.float32)
    vectors[~mask] = 1e6 if poison else 0
    return GenePriors(
        names=np.array(names, object),
        vectors=vectors,
        mask=mask,
        gene_ids=np.arange(1, n + 1),
        status=np.where(mask, "symbol", "unknown").astype(object),
        source="test",
        fingerprint="0" * 64,
    )


def weights(x, mask, weighting, *, top_n=None, expression="counts"):
    """Return the signed weights `(n_cells, n_genes)` as the definitions say, one cell and gene after the other."""
    x = x.astype(np.float64)
    total = x.sum(axis=1, keepdims=True)
    w = x if expression == "log" else np.log1p(1e4 * x / np.where(total > 0, total, 1))
    there = w[total[:, 0] > 0]
    n = len(there)
    mean = there.mean(axis=0) if n else 0
    if weighting in ("mean", "top"):
        a = w.copy()
    elif weighting == "contrast":
        a = np.clip(w - mean, 0, None)
    elif weighting == "centred":
        a = w - mean
    elif weighting == "zscore":
        sd = there.std(axis=0, ddof=1)
        a = np.where(sd > 1e-9, np.minimum((w - mean) / np.where(sd > 1e-9, sd, 1), 10), 0)
    elif weighting == "tfidf":
        a = w * np.log((1 + n) / (1 + (x > 0).sum(axis=0)))
    a[:, ~mask] = 0
    if top_n is not None:
        for row, own in zip(a, x, strict=True):
            by = own if weighting == "top" else row
            order = sorted((j for j in np.flatnonzero(mask) if own[j] > 0 and by[j] > 0), key=lambda j: (-by[j], j))
            kept = order[:top_n]
            values = row[kept].copy()
            row[:] = 0
            row[kept] = 1 if weighting == "top" else values
    return a


def embed(x, vectors, mask, weighting, **options):
    """Return cell vectors `(n_cells, dim) float64`, NaN where there is none."""
    a = weights(x, mask, weighting, **options)
    v = np.where(mask[:, None], vectors, 0).astype(np.float64)
    out = np.full((len(x), v.shape[1]), np.nan)
    for i, row in enumerate(a):
        if x[i, mask].any() and np.abs(row).sum() > 0:
            out[i] = sum(row[j] * v[j] for j in np.flatnonzero(mask)) / np.abs(row).sum()
    return out
