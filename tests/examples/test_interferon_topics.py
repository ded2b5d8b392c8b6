"""The interferon example at a small setting: it finds the response that was put in, and draws it."""

import importlib.util
import re
import sys
from pathlib import Path

PATH = Path(__file__).parents[2] / "examples" / "interferon_topics.py"


def load():
    spec = importlib.util.spec_from_file_location("interferon_topics", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_topics_move_resting_cells_towards_stimulated_ones(monkeypatch, capsys, tmp_path, facts_cache):
    monkeypatch.setenv("GENETEXT_CACHE", str(facts_cache))
    example = load()
    figure = tmp_path / "move.png"
    monkeypatch.setattr(sys, "argv", ["interferon_topics.py", "--epochs", "40", "--figure", str(figure)])
    example.main()
    out = capsys.readouterr().out
    scores = {
        name: [float(number) for number in re.search(rf"{name} +(\S+) +(\S+) +(\S+)", out).groups()]
        for name in ("these topics", "other topics, moved alike", "the same shifts, other topics")
    }
    cosine, along, _ = scores.pop("these topics")
    assert cosine > 0.5
    assert all(cosine > other[0] for other in scores.values())
    assert all(along > other[1] for other in scores.values())
    raised = re.search("most raised: (.*)", out).group(1).split(", ")
    assert len({"ISG15", "IFIT1", "MX1", "OAS1", "IFIT2", "IFIT3", "MX2", "OAS2", "OAS3"} & set(raised)) >= 3
    assert figure.stat().st_size > 5000
