"""The example model: it trains, it takes every arm, and it is never tested on a donor that it was trained on."""

import importlib.util
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genetext.priors import GenePriors

PATH = Path(__file__).parents[2] / "examples" / "custom_model.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("custom_model", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@given(donors=st.lists(st.sampled_from("ABCDEF"), min_size=2, max_size=50), seed=st.integers(0, 1000))
def test_no_donor_is_on_both_sides(example, donors, seed):
    donors = np.array(donors)
    if len(set(donors)) == 1:
        with pytest.raises(SystemExit, match="one donor"):
            example.split_by_donor(donors, seed=seed)
        return
    train = example.split_by_donor(donors, seed=seed)
    assert train.any()
    assert not train.all()
    assert not set(donors[train]) & set(donors[~train])


@pytest.mark.parametrize("control", ["", "permuted", "random", "without"])
def test_every_arm_trains(example, control):
    rng = np.random.default_rng(0)
    names = [f"G{i}" for i in range(60)]
    kind = rng.integers(3, size=150)
    rate = np.full((150, 70), 0.3)
    for cell in range(150):
        rate[cell, kind[cell] * 20 : kind[cell] * 20 + 20] = 4
    adata = anndata.AnnData(
        rng.poisson(rate).astype(np.float32), var=pd.DataFrame(index=[*names, *(f"J{i}" for i in range(10))])
    )
    priors = GenePriors.from_arrays(names, rng.normal(size=(60, 16))).align(adata).unit()
    arm = getattr(priors, control)() if control else priors
    train = torch.from_numpy(np.arange(150) < 75)
    score = example.fit(arm, example.normalised(adata), torch.from_numpy(kind), train, epochs=25, seed=0)
    assert score > 0.8  # a third is chance
    assert score == example.fit(arm, example.normalised(adata), torch.from_numpy(kind), train, epochs=25, seed=0)


def test_it_runs_without_data_and_network(example, facts_cache, tmp_path, monkeypatch, capsys):
    figure = tmp_path / "arms.png"
    monkeypatch.setenv("GENETEXT_CACHE", str(facts_cache))
    monkeypatch.setattr(sys, "argv", ["custom_model.py", "--repeats", "1", "--epochs", "2", "--figure", str(figure)])
    example.main()
    arms = {line.split()[0]: float(line.split()[1]) for line in capsys.readouterr().out.splitlines()[-4:]}
    assert set(arms) == {"prior", "permuted", "random", "without"}
    assert figure.read_bytes().startswith(b"\x89PNG")
