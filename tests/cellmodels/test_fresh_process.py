"""Saved models of every kind, read and used by another process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from cellmodels import ContrastiveModel, RefinementModel, TopicModel
from genetext.priors import GenePriors
from tests.cellmodels.toy import cells

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from pathlib import Path

import anndata
import numpy as np

from cellmodels import load_model

folder = Path(sys.argv[1])
adata = anndata.read_h5ad(folder / "new.h5ad")
for name in ("contrastive", "topic", "refinement"):
    model = load_model(folder / name)
    np.save(folder / f"{name}.npy", model.embed(adata))
    if name == "contrastive":
        model.predict(adata).to_csv(folder / "labels.csv")
    if name == "topic":
        model.topics(3).to_csv(folder / "topics.csv")
"""


def test_another_process_embeds_labels_and_names_alike(tmp_path):
    data, new = cells(120), cells(140)
    vectors = np.random.default_rng(0).normal(size=(25, 6)).astype(np.float32)
    priors = GenePriors.from_arrays([f"GENE{i}" for i in range(25)], vectors)
    small = {"epochs": 2, "n_hidden": 16}
    models = {
        "contrastive": ContrastiveModel(**small, n_latent=4, weighting="zscore", top_n=None).fit(
            data, priors, labels="group"
        ),
        "topic": TopicModel(**small, n_topics=6, n_embedding=8, n_neighbors=6).fit(data, priors),
        "refinement": RefinementModel(**small, n_latent=4, n_gene_features=8).fit(data, priors),
    }
    for name, model in models.items():
        model.save(tmp_path / name)
    new.write_h5ad(tmp_path / "new.h5ad")
    subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], check=True, cwd=ROOT, timeout=300)
    for name, model in models.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), model.embed(new), atol=1e-6)
    labels, expected = pd.read_csv(tmp_path / "labels.csv", index_col=0), models["contrastive"].predict(new)
    assert labels["label"].tolist() == expected["label"].tolist()
    assert np.allclose(labels["confidence"], expected["confidence"])
    assert pd.read_csv(tmp_path / "topics.csv")["genes"].tolist() == models["topic"].topics(3)["genes"].tolist()
