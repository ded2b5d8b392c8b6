"""A held-out loss that compares the cells of a batch does not depend on the order of the file."""

import numpy as np
import pytest

from cellmodels import ContrastiveModel, RefinementModel, TopicModel
from tests.cellmodels.toy import ToyModel, cells

STILL = {"epochs": 1, "lr": 1e-9, "held_out": 0.5, "batch_size": 32}
MODELS = {
    "contrastive": (ContrastiveModel, {"n_hidden": 16, "n_latent": 4}),
    "topic": (TopicModel, {"n_topics": 4, "n_hidden": 8, "n_embedding": 8}),
    "refinement": (RefinementModel, {"n_hidden": 8, "n_latent": 4, "n_gene_features": 8, "dropout": 0.0}),
    "toy": (ToyModel, {"dropout": 0.0}),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_held_out_loss_of_a_sorted_file_is_that_of_a_shuffled_one(name):
    model, options = MODELS[name]
    data = cells(400)
    files = [data, data[np.argsort(data.obs["group"], kind="stable")].copy()]
    losses = [model(**options, **STILL).fit(each).history.iloc[-1] for each in files]
    # What is left is that other cells are held out.
    spread = 0.05 * abs(losses[0]["loss"])
    assert losses[0]["held_out"] == pytest.approx(losses[1]["held_out"], abs=spread)
