"""Low-sample curves: cells labelled from m cells of each type, in embeddings with a prior, its controls, and none.

Fixed embeddings: principal components, a bag of the top genes, averaged gene vectors. Fitted ones: the three forms of
`ContrastiveModel` in three ways, `self` (no labels), `few` (the m labelled cells of each type and no others) and `semi`
(all cells, of which m of each type have labels). `pca`, `self` and `semi` see the expression of the test cells, and no
way sees their labels. Where a data set has donors, the test cells are those of a donor that training has none of.

    python benchmarks/contrastive.py DATA_DIR --out curves.csv --ways fixed self
    python benchmarks/contrastive.py DATA_DIR --out curves.csv --ways few --m 5 20 --permutations 10
    python benchmarks/contrastive.py --table curves.csv
"""

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

from cellmodels.contrastive import ContrastiveModel
from cellmodels.data.inputs import read_cells
from cellmodels.eval.low_sample import low_sample_curve
from cellmodels.groups import pca
from genetext import disk
from genetext.cells import embed_cells
from genetext.escape import printable
from genetext.priors import GenePriors

DATA = {
    "pbmc3k_counts_labelled": "",
    "baron_human1_pancreas": "",
    "human_retina_multiome_1000": "",
    "paul15_mouse_myeloid": "",
    "zeisel2018_mousebrain_3types_1099": "",
    "kang_pbmc_ifnb_labelled": "donor",
}
FORMS = ("prior", "expression", "two-tower")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--names", nargs="+", default=list(DATA))
    parser.add_argument("--index", default="human/lexical")
    parser.add_argument("--post", default="center", help="transforms of the gene vectors")
    parser.add_argument("--ways", nargs="+", default=["fixed"], choices=["fixed", "self", "few", "semi"])
    parser.add_argument("--forms", nargs="+", default=list(FORMS))
    parser.add_argument("--m", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--permutations", type=int, default=10)
    parser.add_argument("--random", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--set", nargs="*", default=[], help="hyper-parameters: weighting=contrast top_n=200")
    parser.add_argument("--tag", default="", help="a word for the rows of this run")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--score", default="macro_f1")
    args = parser.parse_args()
    if args.table is not None:
        print(printable(table(pd.read_csv(args.table, keep_default_na=False), args.score)))
        return
    for name in args.names:
        for rows in run(name, args):
            known = args.out.exists()
            with disk.writing(args.out):
                rows.to_csv(args.out, mode="a", header=not known, index=False)
            means = rows.groupby("m")[args.score].mean().round(3).to_dict()
            print(
                name, *rows.iloc[0][["way", "method", "prior"]], f"{rows['seconds'].iloc[0]:.1f} s", means, flush=True
            )


def run(name: str, args: argparse.Namespace) -> Iterator[pd.DataFrame]:
    """Yield the curve of each method on one data set."""
    adata = anndata.read_h5ad(args.data / "cells" / f"{name}.h5ad")
    adata.var_names_make_unique()
    labels = adata.obs["cell_type"].astype(object).to_numpy()
    groups = None
    if DATA[name]:
        # A donor's cells of both conditions are his.
        groups = adata.obs[DATA[name]].astype(str).str.replace(r"^(stim|ctrl)", "", regex=True).to_numpy()
    opened = GenePriors.open(args.index)
    opened = opened.transform(args.post) if args.post else opened
    true = opened.align(adata)
    controls = {"true": true}
    controls |= {f"permuted {seed}": true.permuted(seed) for seed in range(args.permutations)}
    controls |= {f"random {seed}": true.random(seed) for seed in range(args.random)}
    options: dict[str, Any] = {"m": args.m, "seeds": range(args.seeds), "groups": groups}

    def curve(make: Any, way: str, method: str, prior: str, seconds: list[float]) -> pd.DataFrame:
        rows = low_sample_curve(make, labels, **options)
        facts = {"data": name, "way": way, "method": method, "prior": prior, "tag": args.tag}
        spent = float(np.mean(seconds)) if seconds else 0.0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return rows.assign(**facts, seconds=spent, peak_mb=peak)

    if "fixed" in args.ways:
        log = read_cells(adata, needs="log").matrix
        yield curve(pca.principal_components(log), "fixed", "pca", "none", [])
        yield curve(bag(log), "fixed", "bag of top 100", "none", [])
        for prior, vectors in controls.items():
            yield curve(averaged(adata, vectors), "fixed", "averaged", prior, [])
    changes = dict(part.split("=") for part in args.set)
    typed: dict[str, Any] = {key: _value(value) for key, value in changes.items()}
    if args.epochs:
        typed["epochs"] = args.epochs
    for way in ("self", "few", "semi"):
        for form in args.forms if way in args.ways else ():
            for prior, vectors in controls.items() if form != "expression" else [("none", None)]:
                yield curve(*fitted(adata, vectors, form, way, typed, prior))


def fitted(adata: Any, priors: Any, form: str, way: str, changes: dict[str, Any], prior: str) -> tuple[Any, ...]:
    """Return a factory for `low_sample_curve`, and what the rows are to say of it."""
    seconds: list[float] = []
    done: dict[int, Any] = {}

    def make(train: Any, known: Any, seed: int) -> Any:
        if way == "self" and seed in done:
            return done[seed]
        model = ContrastiveModel(form=form, seed=seed, **changes)
        started = time.perf_counter()
        if way == "few":
            model.fit(adata[train], priors, labels=known[train])
        else:
            model.fit(adata, priors, labels=None if way == "self" else known)
        seconds.append((time.perf_counter() - started) / len(model.history))
        done[seed] = model.embed(adata)
        return done[seed]

    return make, way, form, prior, seconds


def averaged(adata: Any, priors: Any, **options: Any) -> Any:
    """Return averaged vectors of the top genes, less their mean; zeros for cells without."""
    data = adata.copy()
    embed_cells(data, priors, **{"weighting": "mean", "top_n": 100, **options})
    vectors = data.obsm["X_genetext"]
    return np.nan_to_num(vectors - np.nanmean(vectors, axis=0))


def bag(log: Any, n: int = 100) -> Any:
    """Return which genes are among the `n` strongest of each cell, as 0 and 1."""
    from scipy import sparse

    rows, columns = [], []
    for cell in range(log.shape[0]):
        at = slice(log.indptr[cell], log.indptr[cell + 1])
        chosen = log.indices[at][np.argsort(-log.data[at], kind="stable")[:n]]
        rows.append(np.full(len(chosen), cell))
        columns.append(chosen)
    columns = np.concatenate(columns)
    kinds, place = np.unique(columns, return_inverse=True)
    ones = np.ones(len(columns), np.float32)
    return sparse.csr_matrix((ones, (np.concatenate(rows), place)), shape=(log.shape[0], len(kinds))).toarray()


def table(rows: pd.DataFrame, score: str) -> str:
    """Return mean and spread of a score over seeds, a row per method; controls over all their draws."""
    rows = rows.assign(control=rows["prior"].str.split().str[0], m=rows["m"].astype(int))
    keys = ["data", "way", "method", "control", "tag"]
    # The spread of a control is over its draws, each the mean of its seeds; of others over the seeds.
    per_draw = rows.groupby([*keys, "prior", "m"])[score].agg(["mean", "std"]).reset_index()
    lines = []
    for key, own in per_draw.groupby(keys, sort=False):
        cells = []
        for _, draws in own.groupby("m"):
            spread = draws["mean"].std() if len(draws) > 1 else draws["std"].iloc[0]
            cells.append(f"{draws['mean'].mean():.3f} ± {spread:.3f}")
        n_draws = own["prior"].nunique()
        named = [*key[:3], key[3] + (f" x {n_draws}" if n_draws > 1 else ""), *([key[4]] if key[4] else [])]
        lines.append("| " + " | ".join([*named, *cells]) + " |")
    numbers = sorted(rows["m"].unique())
    head = "| data | way | method | prior | " + " | ".join(f"m = {m}" for m in numbers) + " |"
    return "\n".join([head, "|---" * (4 + len(numbers)) + "|", *lines])


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None if text == "none" else text


if __name__ == "__main__":
    main()
