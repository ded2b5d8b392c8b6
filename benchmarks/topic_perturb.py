"""Interferon in blood: topics moved from resting towards stimulated cells, with priors, with controls and with none.

    python benchmarks/topic_perturb.py kang_pbmc_ifnb_labelled.h5ad --index human/minilm --sets hallmarks.gmt.gz

Labels play no part in the fits; conditions are read when topics are moved. `--without` leaves out the cells of another
file, here those that a hyper-parameter was chosen on. One line of JSON for each fit.

    python benchmarks/topic_perturb.py kang_pbmc_ifnb_13999.h5ad --without kang_pbmc_ifnb_labelled.h5ad --sets ...
"""

import argparse
import json
from pathlib import Path
from typing import Any

import anndata

from cellmodels import TopicModel, Trainer
from cellmodels.eval.enrichment import over_representation
from genetext.priors import GenePriors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", type=Path, required=True, help="GMT in which the 50 most raised genes are looked up")
    parser.add_argument("--without", type=Path, help="leave out the cells of this file, by name")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--index", default="human/minilm")
    parser.add_argument("--arms", nargs="+", default=["none", "prior"], choices=["none", "prior", "permuted"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--draws", type=int, default=50)
    options = parser.parse_args()
    adata = anndata.read_h5ad(options.data)
    if options.without:
        adata = adata[~adata.obs_names.isin(anndata.read_h5ad(options.without, backed="r").obs_names)].copy()
    condition = adata.obs["condition"].to_numpy()
    source, target = adata[condition == "ctrl"], adata[condition == "stim"]
    priors = GenePriors.open(options.index).align(adata)
    length: dict[str, Any] = {"epochs": options.epochs, "lr_step": max(1, options.epochs // 4)}
    for seed in options.seeds:
        for arm in options.arms:
            given = {"none": None, "prior": priors, "permuted": priors.permuted(seed)}[arm]
            model = TopicModel(n_topics=20, n_genes=1000, seed=seed, **length)
            model.fit(adata, given, trainer=Trainer(device="cpu"))
            moved = model.perturb(source, None, towards=target, n_random=options.draws)
            whole = model.perturb(source, range(20), towards=target, n_random=0)
            best = over_representation([moved.moved(50)["gene"]], list(moved.genes), options.sets).iloc[0]
            row = {"n_cells": adata.n_obs, "seed": seed, "arm": arm, "topics": moved.topics}
            row |= {"cosine": moved.cosine, "along": moved.along}
            row |= {"r2": moved.r2, "r2_unmoved": moved.r2_unmoved, "all": [whole.cosine, whole.along]}
            for kind, drawn in moved.random.groupby("kind"):
                row[str(kind)] = drawn[["cosine", "along", "r2"]].mean().to_dict()
                row[f"p {kind}"] = [moved.p_random(measure, kind=kind) for measure in ("cosine", "along", "r2")]
            row |= {"set": best["term"], "fdr": best["fdr"], "overlap": int(best["overlap"]), "n": int(best["n"])}
            print(json.dumps({**row, "genes": moved.moved(10)["gene"].tolist()}), flush=True)


if __name__ == "__main__":
    main()
