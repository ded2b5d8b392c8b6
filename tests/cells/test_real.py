"""Real cells: every one gets a vector, files agree with memory, and what weightings are worth beside their controls."""

import anndata
import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from genetext.build import build
from genetext.cells import Options, cell_sentences, embed_cells, embed_file
from genetext.explanation import explain
from genetext.priors import GenePriors

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def index(facts_cache):
    return build("human", encoder="lexical", source="facts", offline=True, root=facts_cache).index


@pytest.fixture(params=["pbmc3k_counts_labelled", "kang_pbmc_ifnb_labelled"])
def path(real_data, request):
    return real_data / "cells" / f"{request.param}.h5ad"


def accuracy(vectors, labels, donors):
    """10-NN accuracy by cosine: five folds of cells, or a fold per donor, so that none is on both sides."""
    if donors is None:
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
    else:
        folds = StratifiedGroupKFold(len(np.unique(donors)))
        for train, test in folds.split(vectors, labels, donors):
            assert not set(donors[train]) & set(donors[test])
    neighbours = KNeighborsClassifier(10, metric="cosine")
    return cross_val_score(neighbours, vectors, labels, groups=donors, cv=folds).mean()


def test_every_cell_gets_a_vector_from_memory_and_from_disk(path, index, tmp_path):
    adata = anndata.read_h5ad(path)
    priors = GenePriors.open(index).align(adata)
    embed_cells(adata, priors, weighting="contrast")
    assert (adata.obs["genetext_status"] == "ok").all()
    assert np.isfinite(adata.obsm["X_genetext"]).all()
    assert adata.obs["genetext_share"].median() > 0.7
    done = embed_file(path, tmp_path / "out.h5ad", priors, Options(weighting="contrast"), block_size=300, threads=1)
    assert np.array_equal(anndata.read_h5ad(done.path).obsm["X_genetext"], adata.obsm["X_genetext"])
    assert all(len(sentence.split(" ")) == 50 for sentence in cell_sentences(adata, 50))


def test_what_weightings_are_worth_beside_controls(path, index, capsys):
    """Prints what holds here; asserts only that no weighting with the true vectors falls to guessing."""
    adata = anndata.read_h5ad(path)
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    donors = adata.obs["donor"].astype(str).to_numpy() if "donor" in adata.obs else None
    guess = np.unique(labels, return_counts=True)[1].max() / len(labels)
    priors = GenePriors.open(index).align(adata).center()
    split = "cells in five folds" if donors is None else f"one of {len(set(donors))} donors held out"
    lines = [f"{path.stem}: 10-NN accuracy of cell types, {split}, largest class {guess:.3f}"]
    for weighting, top_n in (("mean", None), ("mean", 100), ("contrast", None), ("zscore", None), ("tfidf", None)):
        scores = {}
        for name, own in (("true", priors), ("permuted", priors.permuted(0)), ("random", priors.random(0))):
            embed_cells(adata, own, weighting=weighting, top_n=top_n)
            scores[name] = accuracy(adata.obsm["X_genetext"], labels, donors)
        told = "  ".join(f"{name} {score:.3f}" for name, score in scores.items())
        lines.append(f"  {weighting:<9} top_n {top_n!s:<5} {told}")
        assert scores["true"] > guess + 0.1
    with capsys.disabled():
        print("\n" + "\n".join(lines))


def test_markers_explain_their_cells(real_data, index):
    adata = anndata.read_h5ad(real_data / "cells" / "pbmc3k_counts_labelled.h5ad")
    priors = GenePriors.open(index).align(adata)
    told = explain(adata, priors, "cell_type", weighting="contrast", index=index, n_genes=5)
    group = next(name for name in told.groups["group"] if name.lower().startswith("b"))
    top = told.top(group, 30)
    assert {"CD79A", "MS4A1", "CD79B"} & set(top["gene"])
    assert told.sentences is not None
    assert len(told.sentences)
