"""Annotation of PBMCs by names, on real cells."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "examples" / "annotate_pbmc.py"


@pytest.mark.real
def test_it_beats_the_largest_type_on_real_cells(real_data, facts_cache, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("annotate_pbmc", PATH)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    figure = tmp_path / "confusion.png"
    monkeypatch.setenv("GENETEXT_CACHE", str(facts_cache))
    data = real_data / "cells" / "pbmc3k_counts_labelled.h5ad"
    monkeypatch.setattr(sys, "argv", [str(PATH), str(data), "--label", "cell_type", "--figure", str(figure)])
    example.main()
    scores = dict(part.rsplit(" ", 1) for part in capsys.readouterr().out.strip().splitlines()[-1].split(", "))
    assert float(scores["accuracy"]) > float(scores["largest type"])
    assert figure.read_bytes().startswith(b"\x89PNG")
