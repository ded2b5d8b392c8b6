"""Cell types of blood from their names alone: no training, no list of markers.

    python examples/annotate_pbmc.py pbmc3k.h5ad --index human/minilm human/lexical
    python examples/annotate_pbmc.py pbmc3k.h5ad --index human/minilm --label cell_type --figure confusion.png

The file needs counts. With `--label` the types asked about are the names in that column, and the labels are compared
with it afterwards; they play no other part.
"""

import argparse
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from cellmodels import annotate
from cellmodels.eval import metrics
from genetext.bench.figure import save
from genetext.escape import plot_text, printable
from genetext.labels import labels_of

TYPES = [
    "CD4 T cells",
    "CD8 T cells",
    "B cells",
    "NK cells",
    "CD14+ Monocytes",
    "FCGR3A+ Monocytes",
    "Dendritic cells",
    "Megakaryocytes",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="h5ad with counts")
    parser.add_argument("--index", nargs="+", default=["human"], help="one index or several")
    parser.add_argument("--label", help="column of obs with known types, to compare with")
    parser.add_argument("--ontology", type=Path, help="JSON of an ontology that has the names")
    parser.add_argument("--figure", type=Path, help="write the confusion matrix here (needs matplotlib)")
    options = parser.parse_args()

    adata = anndata.read_h5ad(options.data)
    known = labels_of(adata, options.label) if options.label else None
    types = sorted(set(known) - {None}) if known is not None else TYPES
    annotation = annotate(adata, types, options.index, ontology=options.ontology)
    predicted = annotation.labels.astype(str)
    for name, count in annotation.counts.items():
        print(printable(f"{count:>7,} {name:<20} {', '.join(annotation.top(name, 8))}"))
    if known is None:
        return
    labelled = pd.notna(known)
    known, predicted = known[labelled].astype(str), predicted[labelled]
    print(f"accuracy {metrics.accuracy(known, predicted):.3f}", end=", ")
    print(f"balanced {metrics.balanced_accuracy(known, predicted):.3f}", end=", ")
    print(f"largest type {np.unique(known, return_counts=True)[1].max() / len(known):.3f}")
    if options.figure:
        from matplotlib.figure import Figure

        table = pd.crosstab(known, predicted, normalize="index").reindex(columns=types, fill_value=0)
        axes = (figure := Figure(figsize=(6, 5), layout="constrained")).subplots()
        axes.imshow(table.to_numpy(), vmin=0, vmax=1, cmap="Blues")
        axes.set_xticks(range(len(types)), map(plot_text, types), rotation=90)
        axes.set_yticks(range(len(table)), map(plot_text, table.index))
        axes.set_xlabel("annotated")
        axes.set_ylabel("known")
        save(figure, options.figure)


if __name__ == "__main__":
    main()
