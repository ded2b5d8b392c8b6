"""Which topics turn resting blood cells into stimulated ones, and what genes they move.

    python examples/interferon_topics.py
    python examples/interferon_topics.py --data kang.h5ad --index human/minilm --gene-sets hallmarks.gmt --figure a.png

A topic model is fitted to the cells of both conditions together, without their labels. Topics that differ between the
conditions are then moved in the resting cells to where stimulated ones have them, and decoded: the change that follows
is compared with the true one, beside as many topics drawn at random. Without `--data` it makes cells of four types, and
raises interferon genes in half of them: there the response is put in by construction, and the run shows the plumbing,
not a finding.
"""

import argparse
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

from cellmodels import TopicModel
from cellmodels.eval.enrichment import over_representation
from genetext import GeneIndex, build_index
from genetext.bench.figure import save
from genetext.escape import plot_text, printable
from genetext.gene_sets import read_gene_sets

TYPES = ("CD3E", "MS4A1", "LYZ", "NKG7")
RESPONSE = ("ISG15", "IFIT1", "MX1", "OAS1")


def make_cells(index: GeneIndex, *, n_cells: int = 600, seed: int = 0) -> anndata.AnnData:
    """Make counts: each type has a set of genes of like text, and stimulation raises genes like interferon's."""
    rng = np.random.default_rng(seed)
    symbols = index.genes.loc[index.genes["row"] >= 0, "symbol"].tolist()
    response = [name for seed_gene in RESPONSE for name in (seed_gene, *index.neighbors(seed_gene, 9)["symbol"])]
    sets = [[seed_gene, *index.neighbors(seed_gene, 24)["symbol"]] for seed_gene in TYPES]
    names = [*dict.fromkeys([*response, *(gene for genes in sets for gene in genes), *rng.choice(symbols, 400)])]
    place = {name: column for column, name in enumerate(names)}
    kind, stimulated = rng.integers(len(TYPES), size=n_cells), rng.integers(2, size=n_cells)
    rate = np.tile(rng.gamma(0.5, 0.6, len(names)), (n_cells, 1))
    for cell in range(n_cells):
        rate[cell, [place[name] for name in sets[kind[cell]]]] += 2
        if stimulated[cell]:
            rate[cell, [place[name] for name in dict.fromkeys(response)]] += 1.5
    obs = pd.DataFrame(
        {"condition": np.where(stimulated, "stim", "ctrl"), "cell_type": [TYPES[k] for k in kind]},
        index=[f"cell{i}" for i in range(n_cells)],
    )
    counts = scipy.sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=pd.Index(names)))


def draw(moved: Any, path: Path) -> None:
    """Draw predicted beside true changes, and these topics among random ones."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.axline((0, 0), slope=1, color="lightgrey")
    left.scatter(moved.true, moved.predicted, s=4)
    for row in moved.moved(5).itertuples():
        left.annotate(plot_text(row.gene), (row.true, row.predicted), fontsize=7)
    left.set_xlabel("true change of mean log expression")
    left.set_ylabel("change when topics are moved")
    for kind, drawn in moved.random.groupby("kind"):
        right.scatter(drawn["cosine"], drawn["along"], s=6, label=f"random: {kind}")
    right.scatter([moved.cosine], [moved.along], marker="*", s=80, label="these topics")
    right.set_xlabel("cosine with the true change")
    right.set_ylabel("share of the true change")
    right.legend()
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="h5ad with counts of both conditions; default: cells made up here")
    parser.add_argument("--condition", default="condition", help="column of obs with the conditions")
    parser.add_argument("--source", default="ctrl", help="the cells to move")
    parser.add_argument("--target", default="stim", help="the cells to move them towards")
    parser.add_argument("--index", help="human/minilm ...; default: a lexical index of the bundled facts")
    parser.add_argument("--gene-sets", type=Path, help="GMT; the moved genes are looked up in it")
    parser.add_argument("--topics", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--genes", type=int, default=1000, help="genes to model: those that vary most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, help="write a figure here (needs matplotlib)")
    options = parser.parse_args()

    index = GeneIndex.open(options.index) if options.index else build_index("human", encoder="lexical", source="facts")
    adata = anndata.read_h5ad(options.data) if options.data else make_cells(index, seed=options.seed)
    condition = adata.obs[options.condition].astype(str)
    source, target = adata[(condition == options.source).to_numpy()], adata[(condition == options.target).to_numpy()]
    if not (source.n_obs and target.n_obs):
        raise SystemExit(f"{options.condition} has no {options.source!r} or no {options.target!r}: {set(condition)}")

    model = TopicModel(
        n_topics=options.topics,
        n_genes=options.genes,
        epochs=options.epochs,
        lr_step=max(1, options.epochs // 4),
        seed=options.seed,
    ).fit(adata, index.path)
    moved = model.perturb(source, None, towards=target)
    topics = model.topics(8, index=index).set_index("topic")
    for topic, row in model.compare(source, target).set_index("topic").loc[list(moved.topics)].iterrows():
        print(printable(f"topic {topic:>3} {row['difference']:+.2f}  {topics.loc[topic, 'specific']}"))
        print(printable(f"             {topics.loc[topic, 'texts']}"))
    names = {"towards": "other topics, moved alike", "dealt": "the same shifts, other topics"}
    print(f"{'':<32}{'cosine':>8}{'along':>8}{'R2 of 100 genes':>17}")
    print(f"{'these topics':<32}{moved.cosine:>8.3f}{moved.along:>8.3f}{moved.r2:>17.3f}")
    for kind, drawn in moved.random.groupby("kind"):
        mean, p = drawn.mean(numeric_only=True), moved.p_random("along", kind=kind)
        print(f"{names[kind]:<32}{mean['cosine']:>8.3f}{mean['along']:>8.3f}{mean['r2']:>17.3f}   p = {p:.3f}")
    print(f"{'nothing moved':<48}{moved.r2_unmoved:>17.3f}")
    print(printable(f"most raised: {', '.join(moved.moved(20)['gene'])}"))
    if options.gene_sets:
        table = over_representation(
            [moved.moved(50)["gene"]], list(moved.genes), read_gene_sets(options.gene_sets), min_size=5
        )
        for row in table.head(5).itertuples():
            print(printable(f"{row.term}: {row.overlap} of {row.n}, fdr {row.fdr:.1e}"))
    if options.figure:
        draw(moved, options.figure)


if __name__ == "__main__":
    main()
