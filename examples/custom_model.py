"""A gene prior in a model written from scratch: a cell classifier, trained with the prior, two controls and none.

    python examples/custom_model.py
    python examples/custom_model.py --data cells.h5ad --label cell_type --donor donor --index human/minilm

Without `--data` it makes cells whose types are sets of genes with neighbouring texts, so there the prior helps by
construction: that run shows the plumbing, not a finding. Accuracy is that on donors that were not trained on.
"""

import argparse
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
import torch
from torch import Tensor, nn

from cellmodels import GenePriorEmbedding
from cellmodels.data.inputs import read_cells
from cellmodels.eval.metrics import balanced_accuracy
from genetext import GeneIndex, build_index
from genetext.bench.figure import save
from genetext.escape import printable
from genetext.labels import complete_labels, labels_of
from genetext.priors import GenePriors

SEEDS = ("INS", "RHO", "CD3E", "HBB", "MYH7", "ALB")


class CellClassifier(nn.Module):
    """Cell = expression-weighted mean of gene embeddings; type = linear in it."""

    def __init__(self, priors: GenePriors, n_types: int, *, seed: int) -> None:
        super().__init__()
        self.genes = GenePriorEmbedding(priors, proj=32, trainable="residual", seed=seed)
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.head = nn.Linear(32, n_types)

    def forward(self, expression: Tensor) -> Tensor:
        """Return logits `(n_cells, n_types)` of log-normalised expression `(n_cells, n_genes)`."""
        weights = expression / expression.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return self.head(self.scale * (weights @ self.genes()))


def fit(priors: GenePriors, x: Tensor, y: Tensor, train: Tensor, *, epochs: int, seed: int) -> float:
    """Train on the cells of `train`; return the accuracy on the others, each type weighing the same."""
    torch.manual_seed(seed)
    model = CellClassifier(priors, int(y.max()) + 1, seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    for _ in range(epochs):
        for batch in torch.nonzero(train).squeeze(1).split(256):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch]) + model.genes.residual_penalty()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        predicted = model(x[~train]).argmax(dim=1)
    return balanced_accuracy(y[~train].numpy(), predicted.numpy())


def split_by_donor(donors: np.ndarray, *, seed: int) -> np.ndarray:
    """Return which cells to train on, `(n_cells,) bool`: those of half of the donors, never some cells of a donor."""
    names = np.unique(donors.astype(str))
    if len(names) < 2:
        raise SystemExit("one donor only: there is nobody to test on")
    chosen = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    return np.isin(donors, chosen)


def make_cells(index: GeneIndex, *, n_cells: int = 600, seed: int = 0) -> anndata.AnnData:
    """Make counts: a type is a set of genes with neighbouring texts, and each donor shows a half of each set."""
    rng = np.random.default_rng(seed)
    symbols = index.genes.loc[index.genes["row"] >= 0, "symbol"].tolist()
    sets = [[seed_gene, *index.neighbors(seed_gene, 39)["symbol"]] for seed_gene in SEEDS]
    chosen = [*rng.choice(symbols, 700, replace=False), *(name for genes in sets for name in genes)]
    names = [*dict.fromkeys(chosen), *(f"RP11-{number}A1.1" for number in range(100))]
    place = {name: row for row, name in enumerate(names)}
    kind, donor = rng.integers(len(sets), size=n_cells), rng.integers(8, size=n_cells)
    rate = np.full((n_cells, len(names)), 0.15)
    for cell in range(n_cells):
        shown = np.random.default_rng([seed, donor[cell], kind[cell]]).choice(sets[kind[cell]], 20, replace=False)
        rate[cell, [place[name] for name in shown]] *= 4
    obs = pd.DataFrame({"cell_type": [SEEDS[k] for k in kind], "donor": [f"D{d}" for d in donor]})
    obs.index = obs.index.astype(str)
    counts = scipy.sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=pd.Index(names)))


def normalised(adata: anndata.AnnData) -> Tensor:
    """Return log(1 + counts per 10,000), dense: an example's data are small."""
    return torch.from_numpy(read_cells(adata, needs="log").matrix.toarray()).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="h5ad with counts in X; default: cells made up here")
    parser.add_argument("--label", default="cell_type", help="column of obs with the types")
    parser.add_argument("--donor", default="donor", help="column of obs with the donors")
    parser.add_argument("--index", help="human/minilm ...; default: a lexical index of the bundled facts")
    parser.add_argument("--repeats", type=int, default=3, help="splits of the donors")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--figure", type=Path, help="write a figure of the accuracies here (needs matplotlib)")
    options = parser.parse_args()

    index = GeneIndex.open(options.index) if options.index else build_index("human", encoder="lexical", source="facts")
    adata = anndata.read_h5ad(options.data) if options.data else make_cells(index)
    labels = labels_of(adata, options.label)
    labelled = pd.notna(labels)
    adata, labels = adata[labelled].copy(), labels[labelled]
    priors = GenePriors.open(index).align(adata)
    print(printable(str(priors.report)))
    priors = priors.center().unit()
    arms = {"prior": priors, "permuted": priors.permuted(0), "random": priors.random(0), "without": priors.without()}
    x, y = normalised(adata), torch.from_numpy(pd.factorize(labels)[0])
    scores: dict[str, list[float]] = {name: [] for name in arms}
    donors = complete_labels(adata.obs[options.donor], what="donor")
    for seed in range(options.repeats):
        train = torch.from_numpy(split_by_donor(donors, seed=seed))
        for name, arm in arms.items():
            scores[name].append(fit(arm, x, y, train, epochs=options.epochs, seed=seed))
    for name, accuracies in scores.items():
        print(printable(f"{name:<9} {np.mean(accuracies):.3f} +- {np.std(accuracies):.3f}  {arms[name].description}"))
    if options.figure:
        from matplotlib.figure import Figure

        axes = (figure := Figure(figsize=(4, 3), layout="constrained")).subplots()
        means, deviations = (list(map(of, scores.values())) for of in (np.mean, np.std))
        axes.bar(list(scores), means, yerr=deviations)
        axes.set_ylabel("balanced accuracy, unseen donors")
        save(figure, options.figure)


if __name__ == "__main__":
    main()
