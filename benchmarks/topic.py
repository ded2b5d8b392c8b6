"""The topic model beside PCA with Leiden and beside the authors' code, with its prior, with controls and with none.

    python benchmarks/topic.py DATA_DIR --index human/minilm --sets reactome_human.gmt.gz --out topic.jsonl
    python benchmarks/topic.py DATA_DIR --methods authors paper --authors PATH_TO_scE2TM --topics 100 --batch 512
    python benchmarks/topic.py DATA_DIR --out topic.jsonl --table

Every method of every data set runs in a process of its own, all seeds one after the other; its peak memory is that of
the process. Results are appended to --out, and what is there is not run again. Labels are used for scores alone:

    ari_1, nmi_1   Leiden at resolution 1 on 15 neighbours, the same for all, no label read
    ari_k, nmi_k   k-means told the number of types, as papers do
    knn            accuracy of 15 nearest neighbours, 5-fold
    td, tc, tq     strict diversity of the ten top genes of each topic (by beta), their NPMI in gene sets, the product

`authors` trains the authors' module and data set by their own loop (RMSprop, halving) on the
matrix and the view that ours gets; only their evaluation, which needs files that the repository does not hold, is left
out, and the view is filled with zeros up to the 512 entries that their code expects. `paper` is ours with the same
settings, and `paper, view cut` with the 50 first components of the view, as by default. The other methods are ours with
our defaults. Seconds are those of the processor, one thread, so that what else the machine does counts little.
"""

import argparse
import importlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import torch

from cellmodels.data.inputs import read_cells
from cellmodels.eval import metrics, topic_metrics
from cellmodels.groups.clusters import cluster
from cellmodels.groups.graphs import knn_graph
from cellmodels.groups.leiden import Leiden
from cellmodels.groups.pca import principal_components
from cellmodels.groups.variable_genes import variable_genes
from cellmodels.topic import TopicModel
from cellmodels.topic.external_view import cell_view
from cellmodels.topic.network import TopicConfig
from genetext import disk
from genetext.escape import printable
from genetext.index import GeneIndex
from genetext.priors import GenePriors

DATA = (
    "human_retina_multiome_1000",
    "kang_pbmc_ifnb_labelled",
    "zeisel2018_mousebrain_3types_1099",
    "baron_human1_pancreas",
    "pbmc3k_counts_labelled",
    "paul15_mouse_myeloid",
)
# name -> (what the priors are, what the view is, hyper-parameters)
OURS: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "prior": ("prior", "prior", {}),
    "permuted": ("permuted", "prior", {}),
    "random": ("random", "prior", {}),
    "none": ("none", None, {}),
    "view only": ("prior", "prior", {"gene_prior": "none"}),
    "permuted view only": ("permuted", "prior", {"gene_prior": "none"}),
    "genes only": ("prior", None, {}),
    "pull": ("prior", "prior", {"gene_prior": "pull"}),
    "frozen": ("prior", "prior", {"gene_prior": "frozen"}),
    "pca view": ("none", "pca", {}),
}
METHODS = ("pca", *OURS, "paper", "paper, view cut", "authors")


def load(path: Path, index: str, n_genes: int) -> tuple[anndata.AnnData, GenePriors]:
    """Return cells cut down to variable genes, log-normalised over all of theirs, and the priors of these genes."""
    whole = anndata.read_h5ad(path)
    logs = read_cells(whole, needs="log")
    chosen = variable_genes(logs.matrix, n_genes)
    adata = anndata.AnnData(logs.matrix[:, chosen], obs=whole.obs[["cell_type"]], var=whole.var[[]].iloc[chosen])
    return adata, GenePriors.open(index).align(whole).take(chosen)


def authors_fit(
    folder: Path, x: np.ndarray, view: np.ndarray, *, seed: int, epochs: int, topics: int, batch: int
) -> tuple[np.ndarray, np.ndarray, list[float], list[float]]:
    """Train the authors' module; return latent means, beta, seconds of each epoch, and the last losses."""
    sys.path.insert(0, str(folder))
    network = importlib.import_module("models.scE2TM").scE2TM
    handler = importlib.import_module("utils.data.SingleCellDataHandler")
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - theirs draws from the global state
    wide = torch.from_numpy(np.pad(view, ((0, 0), (0, 512 - view.shape[1]))))
    lists = []
    for points in (x, wide.numpy()):
        row = handler.nearest_neighbors(
            points, n_neighbors=15, metric="euclidean", metric_kwds={}, angular=False, random_state=handler.random_state
        )
        lists.append(handler.mutual_nn_nearest(row[0], row[1], 15, 15, connectivity="min_tree")[2])
    cells = torch.from_numpy(x)
    data = handler.ExpressionEmbeddingNeighborDataset(cells, wide, *lists)
    genes = torch.nn.init.trunc_normal_(torch.zeros(x.shape[1], 200), std=0.02).numpy()
    arguments = argparse.Namespace(
        device=torch.device("cpu"),
        beta_temp=0.2,
        num_topics=topics,
        vocab_size=x.shape[1],
        en1_units=200,
        dropout=0.0,
        gene_embeddings=genes,
        weight_loss_ECR=100.0,
    )
    module = network(arguments)
    optimizer = torch.optim.RMSprop(module.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=125, gamma=0.5)
    loader = torch.utils.data.DataLoader(data, batch_size=batch, shuffle=True, drop_last=False)
    seconds, last = [], {}
    for epoch in range(1, epochs + 1):
        began = time.process_time()
        module.train()
        last = dict.fromkeys(("loss", "topic_model_loss", "cross_modal_loss", "ecr_loss"), 0.0)
        for part in loader:
            losses = module(*(one.float() for one in part), epoch=epoch)
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
            for name in last:
                last[name] += float(losses[name].detach()) * len(part[0]) / len(x)
        schedule.step()
        seconds.append(time.process_time() - began)
    module.eval()
    with torch.no_grad():
        latent = module.get_topic_distribution(cells).numpy()
        beta = module.get_topic_gene_distribution().numpy()
    return latent, beta, seconds, [*last.values()]


def run(path: Path, method: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Fit one method once and score it."""
    adata, priors = load(path, options.index, options.genes)
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    beta, seconds, losses = None, [], {}
    if method == "pca":
        began = time.process_time()
        embedding = principal_components(read_cells(adata, needs="log").matrix, 50, n_genes=adata.n_vars)
        seconds = [time.process_time() - began]
    elif method == "authors":
        view, _ = cell_view(adata, read_cells(adata, needs="log"), priors, "prior", TopicConfig())
        x = read_cells(adata, needs="log").dense(slice(None))
        how = {"seed": seed, "epochs": options.epochs, "topics": options.topics, "batch": options.batch}
        embedding, beta, seconds, last = authors_fit(options.authors, x, view, **how)
        losses = dict(zip(("loss", "topic", "cross", "ecr"), last, strict=True))
    else:
        paper = method.startswith("paper")
        arm, view, changes = ("prior", "prior", {}) if paper else OURS[method]
        # As many draws of a control as seeds.
        given = {"prior": priors, "permuted": priors.permuted(seed), "random": priors.random(seed), "none": None}[arm]
        if view == "pca":
            view = principal_components(read_cells(adata, needs="log").matrix, 50, n_genes=adata.n_vars)
        size = {"n_topics": options.topics, "epochs": options.epochs, "batch_size": options.batch, "seed": seed}
        made = (
            TopicModel.preset("paper", **size, view_components=None if method == "paper" else 50)
            if paper
            else TopicModel(n_genes=None, **size, lr_step=max(1, options.epochs // 4), **changes)
        )
        ticks = [time.process_time()]
        made.fit(adata, given, view=view, progress=lambda *_: ticks.append(time.process_time()))
        # The first one has the search for neighbours in it.
        seconds = np.diff(ticks)[1:].tolist()
        embedding, beta = made.latent(adata), made.beta
        losses = made.history.iloc[-1].to_dict()
    row: dict[str, Any] = {"data": path.stem, "method": method, "seed": seed, "n_cells": adata.n_obs}
    row |= {"epochs": options.epochs, "topics": options.topics, "batch": options.batch, "genes": adata.n_vars}
    row |= {"s_epoch": float(np.median(seconds)), "s_total": float(np.sum(seconds)), "losses": losses}
    parts = Leiden(knn_graph(embedding, 15)).cut(1.0, seed=seed)
    means = cluster(embedding, len(set(labels)), seed=seed).labels
    row |= {"ari_1": metrics.ari(labels, parts), "nmi_1": metrics.nmi(labels, parts), "n_1": int(parts.max()) + 1}
    row |= {"ari_k": metrics.ari(labels, means), "nmi_k": metrics.nmi(labels, means)}
    row["knn"] = metrics.knn_accuracy(embedding, labels)
    if beta is not None:
        # By human symbols, which the sets have, whatever the data call their genes.
        known = GeneIndex.open(options.index).genes.set_index("gene_id")["symbol"]
        symbols = pd.Series(adata.var_names)
        names = (
            known.reindex(priors.gene_ids)
            .reset_index(drop=True)
            .fillna(symbols)
            .where(lambda s: ~s.duplicated(), symbols)
        )
        tops = topic_metrics.top_genes(beta, names.tolist())
        row["td"] = topic_metrics.topic_diversity(tops)
        if options.sets:
            coherence = topic_metrics.coherence_in_sets(tops, options.sets, max_size=500)
            row |= {"tc": float(coherence.mean()), "tq": topic_metrics.topic_quality(coherence, row["td"])}
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row


def table(results: pd.DataFrame) -> str:
    """Return mean and standard deviation over seeds of each score, as Markdown."""
    scores = ["ari_1", "nmi_1", "ari_k", "nmi_k", "knn", "td", "tc", "tq", "s_epoch", "peak_mb"]
    lines = ["| data | method | seeds | " + " | ".join(scores) + " |", "|---" * (len(scores) + 3) + "|"]
    for (data, _, _, method), runs in results.groupby(["data", "topics", "batch", "method"], sort=False):
        cells = []
        for score in scores:
            values = runs[score].dropna() if score in runs else pd.Series(dtype=float)
            digits = 0 if score == "peak_mb" else 3
            spread = f" ± {values.std(ddof=0):.{digits}f}" if len(values) > 1 and digits else ""
            cells.append(f"{values.mean():.{digits}f}{spread}" if len(values) else "")
        lines.append(f"| {data} | {method} | {runs['seed'].nunique()} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--index", default="human/minilm")
    parser.add_argument("--sets", type=Path, help="GMT for the coherence of topics")
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--methods", nargs="+", default=["pca", *OURS], choices=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--topics", type=int, default=30)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--authors", type=Path, help="a checkout of the authors' repository")
    parser.add_argument("--out", type=Path, default=Path("topic.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print the table of what is in --out")
    parser.add_argument("--one", nargs=2, metavar=("DATA", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    recorded = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    key = ("data", "method", "seed", "epochs", "topics", "batch", "genes")
    done = {tuple(row[name] for name in key) for row in recorded}
    if options.one:
        torch.set_num_threads(options.threads)
        data, method = options.one
        for seed in options.seeds:
            same = (data, method, seed, options.epochs, options.topics, options.batch, options.genes)
            if same not in done:
                row = run(options.folder / f"{data}.h5ad", method, seed, options)
                with disk.writing(options.out), options.out.open("a") as file:
                    file.write(json.dumps({**row, "genes": options.genes}) + "\n")
        return
    if not options.table:
        for data in options.data:
            for method in options.methods:
                if method == "authors" and not options.authors:
                    sys.exit("--authors: a checkout of the authors' repository is needed for the method authors")
                subprocess.run([sys.executable, *sys.argv, "--one", data, method], check=True)
    recorded = [json.loads(line) for line in options.out.read_text().splitlines()]
    print(printable(table(pd.DataFrame(recorded))))


if __name__ == "__main__":
    main()
