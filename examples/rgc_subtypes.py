"""Subtypes of mouse retinal ganglion cells (RGCs) with gene priors, from data to a report that a biologist can read.

    python examples/rgc_subtypes.py                          # a simulated atlas; no network; minutes
    python examples/rgc_subtypes.py --quick                  # the same, small; under a minute
    python examples/rgc_subtypes.py --geo                    # the adult atlas of Tran et al. 2019, downloaded
    python examples/rgc_subtypes.py --h5ad cells.h5ad --label-key cell_type --index mouse/minilm --gmt go.gmt.gz

It takes gene priors for mouse (ortholog text counted as such), classifies subtypes after m = 2 ... 50 cells of each,
with every control beside the prior, and names genes, sentences and pathways that separate resilient from vulnerable
subtypes. `report.html` holds everything; the tables lie beside it. `docs/rgc.md` says how to read it.
"""

import argparse
from pathlib import Path
from time import perf_counter

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
from rgc import arms, chapters, figures, geo, interpret, lowsample, report, simulate, themes

from genetext import GeneIndex, build_index, disk, escape
from genetext.errors import GenetextError
from genetext.escape import printable
from genetext.indices import list_indices
from genetext.labels import labels_of
from genetext.priors import GenePriors

QUICK = {
    "cells": 1200,
    "genes": 700,
    "m": [2, 10],
    "repeats": 2,
    "variable_genes": 500,
    "steps": 30,
    "topics": 12,
    "topic_epochs": 5,
}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--geo", action="store_true", help="download the adult mouse RGC atlas (GEO GSE133382)")
    data.add_argument("--h5ad", type=Path, help="any data: h5ad with counts in X")
    parser.add_argument("--geo-url", help=f"a mirror: folder with {geo.MATRIX} and {geo.LABELS} (or ${geo.MIRROR})")
    parser.add_argument("--label-key", default="cell_type", help="column of obs with the types, for --h5ad")
    parser.add_argument("--cells", type=int, default=6000, help="cells to simulate, or at most to take from the data")
    parser.add_argument("--genes", type=int, default=2500, help="genes to simulate")
    parser.add_argument("--index", help="mouse/minilm ...; default: minilm if it was built, else a lexical one, built")
    parser.add_argument("--survival", type=Path, help="CSV with type and survival (resilient, vulnerable)")
    parser.add_argument("--gmt", type=Path, help="gene sets with mouse symbols, for the pathways")
    parser.add_argument("--m", type=int, nargs="+", default=[2, 5, 10, 20, 50], help="cells per type to learn from")
    parser.add_argument("--repeats", type=int, default=5, help="draws of these cells, of models and of controls")
    parser.add_argument("--variable-genes", type=int, default=1500, help="genes to use: those that vary most")
    parser.add_argument("--prior-dim", type=int, default=128, help="principal components of the gene vectors to use")
    parser.add_argument("--steps", type=int, default=60, help="mini-batches that a contrastive model is trained on")
    parser.add_argument("--topics", type=int, default=30)
    parser.add_argument("--topic-epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-umap", action="store_true", help="maps by PCA, also where umap-learn is installed")
    parser.add_argument("--quick", action="store_true", help="small settings: the plumbing in under a minute")
    parser.add_argument("--output", type=Path, default=Path("rgc_report"), help="folder for the report and its tables")
    options = parser.parse_args(arguments)
    if options.quick:  # what was asked for by name stays as asked
        for name, value in QUICK.items():
            if getattr(options, name) == parser.get_default(name):
                setattr(options, name, value)
        options.no_umap = True
    return options


def load(options: argparse.Namespace) -> tuple[anndata.AnnData, np.ndarray]:
    """Return counts with at most `--cells` cells, and the type of each."""
    key = "cell_type"
    if options.geo:
        from genetext.cli import console

        with console.progress() as progress:
            matrix, labels = geo.download(mirror=options.geo_url, progress=progress)
            adata = geo.read_atlas(matrix, labels, progress=progress)
    elif options.h5ad:
        adata, key = anndata.read_h5ad(options.h5ad), options.label_key
        adata.uns.setdefault("title", options.h5ad.name)
        if not scipy.sparse.issparse(adata.X):
            adata.X = scipy.sparse.csr_matrix(adata.X)
    else:
        adata = simulate.simulate(simulate.Design(n_cells=options.cells, n_genes=options.genes, seed=options.seed))
    labels = labels_of(adata, key)
    adata = adata[pd.notna(labels)]
    if adata.n_obs > options.cells:
        chosen = np.random.default_rng([options.seed, 3]).permutation(adata.n_obs)[: options.cells]
        adata = adata[np.sort(chosen)]
    adata = adata.copy()
    adata.X = scipy.sparse.csr_matrix(adata.X)
    return adata, labels_of(adata, key)


def open_index(name: str | None) -> GeneIndex:
    """Open the index named; without a name mouse/minilm where it was built, else build a lexical one of the facts."""
    if name is not None:
        return GeneIndex.open(name)
    built = {f"{path.parent.name}/{path.name}" for path in list_indices()}
    if "mouse/minilm" in built:
        return GeneIndex.open("mouse/minilm")
    return build_index("mouse", encoder="lexical", source="facts")


def most_variable(adata: anndata.AnnData, n: int) -> np.ndarray:
    """Return the columns of the genes that vary most; labels play no part, and all arms get the same genes."""
    from cellmodels.data.inputs import read_cells
    from cellmodels.groups.variable_genes import variable_genes

    return variable_genes(read_cells(adata, needs="log").matrix, n)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    try:
        run(options)
    except GenetextError as error:
        raise SystemExit(str(error)) from error


def run(options: argparse.Namespace) -> None:
    began = perf_counter()
    adata, labels = load(options)
    simulated, name = simulate.is_simulated(adata), str(adata.uns["title"])
    titled = "simulated data" if simulated else name
    index = open_index(options.index)
    whole = GenePriors.open(index).align(adata)
    print(printable(str(whole.report)))

    columns = most_variable(adata, options.variable_genes)
    cells, priors = adata[:, columns].copy(), whole.take(columns).pca(options.prior_dim).unit()
    models = arms.contrastive(cells, priors, steps=options.steps)
    baselines = arms.baselines(cells)
    compared = [*models, *arms.untrained(cells, priors), *baselines]
    table = lowsample.curves(labels, compared, sizes=options.m, repeats=options.repeats, seed=options.seed, log=print)
    print("topics ...")
    topics = themes.fit(
        cells,
        priors,
        index,
        labels,
        n_topics=options.topics,
        epochs=options.topic_epochs,
        seed=options.seed,
        gene_sets=options.gmt,
    )
    contrast = interpret.contrast(adata, whole, index, labels, survival_of(options.survival))

    sections = [chapters.data(adata, labels, name=name), chapters.matched(whole, index)]
    section, summary = chapters.compared(table, compared, title=f"Low-sample classification ({titled})")
    sections.append(section)
    sections.append(maps(labels, models[0], baselines[0], options, titled))
    sections.append(chapters.topics(topics, title=f"Topics by type ({titled})"))
    sections.append(chapters.separated(contrast, title=f"Resilient and vulnerable types ({titled})"))
    pathways = None if options.gmt is None or contrast is None else interpret.enrichment(contrast, options.gmt)
    sections.append(chapters.enriched(pathways, source=options.gmt.name if options.gmt else ""))

    options.output.mkdir(parents=True, exist_ok=True)
    tables = {"scores": table, "topics": topics.table, "pathways": pathways}
    tables["genes"] = None if contrast is None else contrast.genes
    for name, frame in tables.items():
        if frame is not None:
            with disk.atomic_file(options.output / f"{name}.tsv") as handle:
                handle.write(escape.tsv(frame).encode())
    html = report.render(
        sections,
        title=f"Subtypes of retinal ganglion cells: {name}",
        subtitle=f"Gene priors from {index.path.parent.name}/{index.path.name}: {priors.n_matched:,} of the "
        f"{len(priors):,} most variable genes have a vector.",
        summary=summary,
        simulated=simulated,
        footer=f"Made by examples/rgc_subtypes.py of genetext, seed {options.seed}.",
    )
    report.write(options.output / "report.html", html)
    print(printable("\n".join([*summary, f"{options.output / 'report.html'} ({perf_counter() - began:.0f} s)"])))


def survival_of(path: Path | None) -> dict[str, str]:
    """Return what is known of the survival of types, from a file or from the example's own table."""
    return interpret.read_survival(simulate.TYPES if path is None else path)


def maps(
    labels: np.ndarray, arm: lowsample.Arm, baseline: lowsample.Arm, options: argparse.Namespace, titled: str
) -> report.Section:
    """Let an arm learn from the most cells; show those it then names, and the same cells by a baseline."""
    m = max(options.m)
    named = lowsample.name_cells(labels, arm, m, seed=options.seed)
    other = lowsample.name_cells(labels, baseline, m, seed=options.seed)
    panels = {}
    for name, points in ((arm.name, named.embedding), (baseline.name, other.embedding)):
        plane, method = figures.project(points[named.rows], seed=options.seed, umap=not options.no_umap)
        panels[f"{method} of: {name}"] = plane
    known = labels[named.rows]
    return chapters.maps(panels, known, named.given, of=arm.name, m=m, title=f"Unseen cells ({titled})")


if __name__ == "__main__":
    main()
