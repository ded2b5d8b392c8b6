"""Zero-shot cell types on labelled data, beside controls: permuted and random gene vectors, and the largest type.

The types asked about are the data's own label names, spelled out where an abbreviation says too little (see TYPES);
with `--ontology` also their definitions and synonyms. Labels are used for the score alone.

    python benchmarks/annotate.py DATA_DIR --index human/minilm human/lexical --ontology cl.json
"""

import argparse
import json
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from cellmodels.annotation import evidence, smoothing
from cellmodels.annotation.annotation import RESOLUTIONS
from cellmodels.annotation.cell_types import CellTypes
from cellmodels.annotation.logits import Groupings, MarkerScores
from cellmodels.data.inputs import read_cells
from cellmodels.eval import metrics
from cellmodels.groups import graphs
from cellmodels.groups.leiden import Leiden
from cellmodels.groups.pca import principal_components
from genetext.index import GeneIndex
from genetext.labels import labels_of

# label -> (the name that is asked about, the label in the Cell Ontology)
TYPES: dict[str, dict[str, tuple[str, str]]] = {
    "pbmc3k_counts_labelled": {
        "CD4 T cells": ("CD4 T cells", "CD4-positive, alpha-beta T cell"),
        "CD14+ Monocytes": ("CD14+ Monocytes", "CD14-positive monocyte"),
        "B cells": ("B cells", "B cell"),
        "CD8 T cells": ("CD8 T cells", "CD8-positive, alpha-beta T cell"),
        "NK cells": ("NK cells", "natural killer cell"),
        "FCGR3A+ Monocytes": ("FCGR3A+ Monocytes", "CD14-low, CD16-positive monocyte"),
        "Dendritic cells": ("Dendritic cells", "dendritic cell"),
        "Megakaryocytes": ("Megakaryocytes", "megakaryocyte"),
    },
    "baron_human1_pancreas": {
        "beta": ("pancreatic beta cell", "type B pancreatic cell"),
        "alpha": ("pancreatic alpha cell", "pancreatic A cell"),
        "delta": ("pancreatic delta cell", "pancreatic D cell"),
        "gamma": ("pancreatic PP cell", "pancreatic PP cell"),
        "epsilon": ("pancreatic epsilon cell", "pancreatic epsilon cell"),
        "endothelial": ("endothelial cell", "endothelial cell"),
        "ductal": ("pancreatic ductal cell", "pancreatic ductal cell"),
        "acinar": ("pancreatic acinar cell", "pancreatic acinar cell"),
        "quiescent_stellate": ("pancreatic stellate cell", "pancreatic stellate cell"),
        "activated_stellate": ("pancreatic stellate cell", "pancreatic stellate cell"),
        "macrophage": ("macrophage", "macrophage"),
        "mast": ("mast cell", "mast cell"),
        "schwann": ("Schwann cell", "Schwann cell"),
        "t_cell": ("T cell", "T cell"),
    },
    "human_retina_multiome_1000": {},  # its labels are those of the ontology
}


def run(path: Path, args: argparse.Namespace) -> dict[str, object]:
    started = time.perf_counter()
    adata = anndata.read_h5ad(path)
    adata = adata[pd.notna(labels_of(adata, "cell_type"))].copy()
    if args.hashtags:
        adata = with_hashtags(adata, args.hashtags, said=args.said)
    labels = adata.obs["cell_type"].astype(str)
    names_of_labels = TYPES[path.stem] or {label: (label, label) for label in labels.unique()}
    result: dict[str, object] = {"data": path.stem, "n_cells": adata.n_obs}
    matrix = read_cells(adata, needs="log").matrix
    graph = graphs.knn_graph(principal_components(matrix), args.k)
    leiden = Leiden(graph)
    cut = [(f"{r:g}", leiden.cut(r)) for r in RESOLUTIONS]
    groupings: Groupings = [(name, member, range(int(member.max()) + 1)) for name, member in cut]
    sources = evidence.open_sources([GeneIndex.open(name) for name in args.index], adata)

    for how in ("names", "ontology") if args.ontology else ("names",):
        truth = labels.map({label: pair[how == "ontology"] for label, pair in names_of_labels.items()}).to_numpy()
        types = CellTypes.of(list(dict.fromkeys(truth)))
        types = types.with_ontology(args.ontology) if how == "ontology" else types
        names = np.array(types.names, object)
        near = evidence.affinity(types, sources)
        scores = MarkerScores(near, types, sources, matrix, groupings)

        def score(affinity: evidence.Affinity, *, by_name: bool = True) -> dict[str, float]:
            scored = scores.of_blocks(affinity, by_name=by_name)[scores.block]  # noqa: B023
            rough = names[scored.argmax(axis=1)]  # noqa: B023
            labels_given = names[smoothing.refine_logits(scored, graph, args.lam).argmax(axis=1)]  # noqa: B023
            return {
                "accuracy": metrics.accuracy(truth, labels_given),  # noqa: B023
                "balanced": metrics.balanced_accuracy(truth, labels_given),  # noqa: B023
                "macro_f1": metrics.macro_f1(truth, labels_given),  # noqa: B023
                "unrefined": metrics.accuracy(truth, rough),  # noqa: B023
            }

        random = [
            evidence.affinity(types, [(index, priors.random(seed)) for index, priors in sources])
            for seed in range(args.random)
        ]
        result[how] = {
            "n_types": len(types),
            "majority": float(np.unique(truth, return_counts=True)[1].max() / len(truth)),
            "prior": score(near),
            "prior, nothing stated": score(near, by_name=False),
            "stated": [[types.names[row] for row in family] for family in scores.siblings],
            # The names go on stating their genes: what is permuted and random is what is written about genes.
            "permuted": spread([score(near.permuted(seed)) for seed in range(args.permutations)]),
            "random": spread([score(affinity) for affinity in random]),
        }
    result["seconds"] = round(time.perf_counter() - started, 1)
    return result


def with_hashtags(adata: anndata.AnnData, n: int, *, said: bool) -> anndata.AnnData:
    """Put counts of hashtags beside the genes, one of them high in each cell; `said`: in `feature_types`."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(5, (adata.n_obs, n)).astype(np.float32)
    counts[np.arange(adata.n_obs), rng.integers(n, size=adata.n_obs)] += rng.poisson(1000, adata.n_obs)
    kinds = ["Gene Expression"] * adata.n_vars + ["Antibody Capture"] * n
    names = pd.Index([*adata.var_names, *(f"HTO_{number}" for number in range(n))])
    var = pd.DataFrame({"feature_types": kinds} if said else {}, index=names)
    return anndata.AnnData(sparse.hstack([adata.X, counts], format="csr"), adata.obs, var)


def spread(runs: list[dict[str, float]]) -> dict[str, list[float]]:
    """Return mean, standard deviation and maximum of each score."""
    return {
        key: [round(float(f([run[key] for run in runs])), 3) for f in (np.mean, np.std, np.max)] for key in runs[0]
    } | {"n": [len(runs)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--index", nargs="+", default=["human/minilm", "human/lexical"])
    parser.add_argument("--ontology", type=Path)
    parser.add_argument("--data", nargs="+", default=list(TYPES))
    parser.add_argument("--permutations", type=int, default=20)
    parser.add_argument("--random", type=int, default=10)
    parser.add_argument("--hashtags", type=int, default=0, help="columns of hashtags to put into X")
    parser.add_argument("--unsaid", dest="said", action="store_false", help="without a word of them in feature_types")
    parser.add_argument("--lam", type=float, default=1.0)
    parser.add_argument("-k", type=int, default=15)
    args = parser.parse_args()
    for name in args.data:
        print(json.dumps(run(args.folder / f"{name}.h5ad", args), indent=1), flush=True)


if __name__ == "__main__":
    main()
