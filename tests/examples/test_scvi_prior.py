"""The scVI example where scvi-tools is absent: it imports, says what it needs, and its prior is a weight to train."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from genetext.priors import GenePriors

PATH = Path(__file__).parents[2] / "examples" / "scvi_prior.py"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.setitem(sys.modules, "scvi", None)  # as if it were not installed
    spec = importlib.util.spec_from_file_location("scvi_prior", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_scvi_tools_it_says_what_to_install(example, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scvi_prior.py"])
    with pytest.raises(SystemExit, match=r"needs scvi-tools: pip install 'genetext\[scvi\]'"):
        example.main()


def test_the_extra_is_there():
    text = (PATH.parents[1] / "pyproject.toml").read_text()
    assert 'scvi = ["scvi-tools>=1.2"]' in text.splitlines()


def test_a_prior_becomes_the_weights_that_belong_to_genes(example):
    """On layers that lie where scVI has its own."""
    first, last = nn.Linear(5, 8), nn.Linear(8, 5)
    module = SimpleNamespace(
        z_encoder=SimpleNamespace(encoder=SimpleNamespace(fc_layers=[[first]])),
        decoder=SimpleNamespace(px_scale_decoder=[last]),
    )
    rng = np.random.default_rng(0)
    priors = GenePriors.from_arrays([f"G{i}" for i in range(5)], rng.normal(size=(5, 3))).align(
        [*(f"G{i}" for i in range(4)), "junk"]
    )
    example.put_prior(SimpleNamespace(module=module), priors)
    for layer, weight in ((first, first.weight.T), (last, last.weight)):
        genes = layer.parametrizations.weight[0].genes
        assert torch.equal(weight, genes())
        before = weight.detach().clone()
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(torch.ones(1, layer.in_features)).square().sum().backward()
        optimizer.step()
        after = layer.weight.T if layer is first else layer.weight
        assert (after != before).any(dim=1).all()
    with pytest.raises(SystemExit, match="5 inputs and the priors 4 genes"):
        example.put_prior(SimpleNamespace(module=module), priors.take(slice(4)))
