"""A kind of task that another distribution adds: pairs of genes, of which no gene of a held-out pair is trained on."""

import sys
from pathlib import Path

import numpy as np
import pytest

from genetext.bench import bench_genes, registry
from genetext.bench.classify import Protocol
from genetext.bench.controls import ControlOptions
from genetext.errors import BenchError
from tests.bench.conftest import N_EXTRA

MODULE = """
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genetext.bench import Task, TaskKind
from genetext.bench.classify import score
from genetext.gene_sets import HOLDOUT


@dataclass
class Pairs:
    name: str
    report: Any
    frame: pd.DataFrame
    given_splits = True

    @classmethod
    def read(cls, path, resolver, *, to=None, selection=None):
        raw = pd.read_csv(path, sep="\\t", dtype=str)
        report = resolver.resolve(pd.unique(raw[["a", "b"]].to_numpy().ravel()), to=to)
        ids = dict(zip(report.names, report.gene_id))
        frame = pd.DataFrame({"a": raw["a"].map(ids), "b": raw["b"].map(ids), "label": raw["label"] == "1"})
        return cls(path.name, report, frame[(frame["a"] > 0) & (frame["b"] > 0)])

    @property
    def gene_ids(self):
        return np.unique(self.frame[["a", "b"]].to_numpy(np.int64))

    @property
    def about(self):
        return {"pairs": len(self.frame)}

    def among(self, universe, *, at_least=1):
        pairs, labels = self.frame[["a", "b"]].to_numpy(np.int64), self.frame["label"].to_numpy()
        part = pairs % 3  # of the genes: those of part 0 are held out, and so is every pair that has one
        held_out, one_fold = (part == 0).all(axis=1), part[:, 0] == part[:, 1]
        rows = held_out | (one_fold & (part > 0).all(axis=1))
        splits = np.where(held_out, HOLDOUT, part[:, 0]).astype(np.int16)
        return [Task("alike", pairs[rows], labels[rows], splits[rows])], {}


def features(vectors):
    return np.concatenate([vectors[:, 0] * vectors[:, 1], np.abs(vectors[:, 0] - vectors[:, 1])], axis=1)


PAIRS = TaskKind(name="pairs", summary="pairs", read=Pairs.read, score=score, features=features)
"""


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """Install the distribution, and write pairs of genes that answer to one theme, and as many that do not."""
    site = tmp_path / "site"
    (site / "pairs-1.0.dist-info").mkdir(parents=True)
    (site / "genepairs.py").write_text(MODULE)
    (site / "pairs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pairs\nVersion: 1.0\n")
    (site / "pairs-1.0.dist-info" / "entry_points.txt").write_text(
        "[genetext.bench_tasks]\npairs = genepairs:PAIRS\nabsent = nowhere:KIND\nother = genepairs:PAIRS\n"
        "text = genepairs:HOLDOUT\n"
    )
    monkeypatch.syspath_prepend(site)
    registry.find.cache_clear()
    rng = np.random.default_rng(0)
    lines = ["a\tb\tlabel"]
    for _ in range(600):
        a, b = rng.choice(N_EXTRA, 2, replace=False)
        b = a + 12 * ((b - a) // 12) if rng.random() < 0.5 else b  # there are twelve themes, in turn
        if a != b and 0 <= b < N_EXTRA:
            lines.append(f"EXTRA{a}\tEXTRA{b}\t{int((a - b) % 12 == 0)}")
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n")
    yield tmp_path / "pairs.tsv"
    sys.modules.pop("genepairs", None)
    registry.find.cache_clear()


def test_a_kind_of_another_distribution_is_asked_beside_all_controls(cache, pairs):
    quick = {"protocol": Protocol(c_values=(1, 10)), "control": ControlOptions(draws=1), "root": Path(cache)}
    report = bench_genes(pairs, ["human/lexical"], kind="pairs", **quick)
    assert report.about["kind"] == "pairs"
    assert report.about["pairs"] > 300
    table = report.table.set_index("method")
    assert len(table) == 9
    assert table["auroc"]["human/lexical"] > 0.8
    assert abs(table["auroc"]["random vectors"] - 0.5) < 0.25
    assert report.to_json() == bench_genes(pairs, ["human/lexical"], kind="pairs", **quick).to_json()


def test_what_is_no_kind_is_said(pairs):
    with pytest.raises(BenchError, match="tasks of kind 'triples' are unknown: terms, absent, other, pairs, text"):
        registry.find("triples")
    with pytest.raises(BenchError, match="nowhere:KIND, tasks of kind 'absent', cannot be loaded: No module"):
        registry.find("absent")
    for name in ("other", "text"):
        with pytest.raises(BenchError, match=f"is no TaskKind with the name '{name}'"):
            registry.find(name)
    assert registry.find("terms") is registry.KINDS["terms"]
