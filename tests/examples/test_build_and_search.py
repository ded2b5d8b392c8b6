"""The first example: it answers from the bundled facts, and draws the answers."""

import os
import subprocess
import sys
from pathlib import Path

PATH = Path(__file__).parents[2] / "examples" / "build_and_search.py"


def test_it_answers_and_draws_without_a_network(tmp_path, facts_cache):
    done = subprocess.run(
        [sys.executable, "-W", "error", PATH, "-k", "5", "--background", "200", "--figure", tmp_path / "map.png"],
        capture_output=True,
        text=True,
        env={**os.environ, "GENETEXT_CACHE": str(facts_cache)},
    )
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split("voltage-gated potassium channel")[1]
    assert answers.count("KCN") >= 3
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
