"""Annotation of PBMCs by names, on real cells."""

import subprocess
import sys
from pathlib import Path

import pytest

from genetext import build_index

PATH = Path(__file__).parents[2] / "examples" / "annotate_pbmc.py"


@pytest.mark.real
@pytest.mark.slow
def test_it_beats_the_largest_type_on_real_cells(real_data, tmp_path):
    build_index("human", encoder="lexical", source="facts")
    data = real_data / "cells" / "pbmc3k_counts_labelled.h5ad"
    done = subprocess.run(
        [sys.executable, PATH, data, "--label", "cell_type", "--figure", tmp_path / "confusion.png"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = dict(part.rsplit(" ", 1) for part in done.stdout.strip().splitlines()[-1].split(", "))
    assert float(told["accuracy"]) > float(told["largest type"])
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
