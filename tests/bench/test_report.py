"""Means, spreads and tests over terms."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp, wilcoxon

from genetext.bench.report import Benchmark
from genetext.bench.statistics import holm, interval, paired_t, signed_rank

N = 20


@pytest.fixture
def benchmark():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.6, 0.9, N)
    values = {
        "first": base,
        "better": base + rng.uniform(0.01, 0.05, N),
        "same": base,
        "chance": rng.normal(0.5, 0.02, N),
    }
    scores = pd.DataFrame(
        [
            {
                "method": name,
                "term": f"T{i}",
                "auroc": v,
                "fold_auroc": v - 0.01,
                "c": (1.0, 10.0),
                "n_genes": 9,
                "n_positive": 3,
            }
            for name, of_method in values.items()
            for i, v in enumerate(of_method)
        ]
    )
    methods = pd.DataFrame(
        {"method": list(values), "control": [False, False, False, True], "dim": 4, "n_without": 0, "note": ""}
    )
    about = {
        **{
            "tasks": "x.gmt",
            "n_terms": N,
            "n_genes": 9,
            "n_without": 2,
            "missing": "drop",
            "not_measured": {"y": "why"},
        },
        **{"unmatched": {"n": 3, "names": "A, B, C"}, "left_out": {"T99": "2 genes, fewer than 15"}},
    }
    return Benchmark(scores, about, methods)


def test_the_table(benchmark):
    table = benchmark.table.set_index("method")
    assert list(table.index) == ["first", "better", "same", "chance"]
    wide = benchmark.wide
    assert table["auroc"].to_numpy() == pytest.approx(wide[list(table.index)].mean().to_numpy())
    assert table["sd"].to_numpy() == pytest.approx(wide[list(table.index)].std().to_numpy())
    assert table["fold_auroc"].to_numpy() == pytest.approx(table["auroc"] - 0.01)
    assert (table["low"] < table["auroc"]).all()
    assert (table["high"] > table["auroc"]).all()
    assert np.isnan(table.loc["first", ["difference", "p"]].astype(float)).all()
    assert table.loc["better", "difference"] > 0.01
    assert table.loc["better", "p"] < 1e-4
    assert table.loc["same", "p"] == 1
    # Holm over the three rows: the smallest of the raw p values three times.
    raw = [signed_rank(wide[name].to_numpy(), wide["first"].to_numpy()) for name in ("better", "same", "chance")]
    assert table["p"].iloc[1:].to_numpy() == pytest.approx(holm(raw))


def test_pairs_are_all_there_and_corrected_together(benchmark):
    pairs = benchmark.pairs
    assert len(pairs) == 6
    assert pairs["p_holm"].to_numpy() == pytest.approx(holm(pairs["p"].to_numpy()))
    row = pairs[(pairs["first"] == "better") & (pairs["second"] == "chance")].iloc[0]
    assert row["difference"] == pytest.approx(benchmark.wide["better"].mean() - benchmark.wide["chance"].mean())


def test_json_is_json_and_tsv_has_a_line_per_method_and_term(benchmark):
    told = json.loads(json.dumps(benchmark.to_json(), allow_nan=False))
    assert told["table"][0]["p"] is None
    assert len(told["scores"]) == 4 * N
    lines = benchmark.to_tsv().splitlines()
    assert lines[0].split("\t") == ["method", "term", "auroc", "fold_auroc", "c", "n_genes", "n_positive"]
    assert len(lines) == 4 * N + 1
    assert lines[1].split("\t")[4] == "1,10"


def test_what_was_left_out_is_said(benchmark):
    said = str(benchmark)
    for part in (
        "20 terms, 9 genes",
        "3 names are no known gene: A, B, C",
        "2 genes have no vector",
        "T99 (2 genes",
        "y (why)",
    ):
        assert part in said


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        low, high = interval(rng.normal(0, 1, 40), seed=trial)
        covered += low <= 0 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_the_interval_of_a_seed_is_the_same():
    values = np.random.default_rng(0).random(12)
    assert interval(values, seed=3) == interval(values, seed=3)
    assert interval(values, seed=3) != interval(values, seed=4)


def test_signed_rank_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.random(30), rng.random(30)
    assert signed_rank(a, b) == pytest.approx(wilcoxon(a, b).pvalue)


@pytest.mark.parametrize("n", [1, 2, 5, 60])
def test_signed_rank_of_few_tied_or_equal_terms(n):
    values = np.linspace(0.5, 0.9, n)
    assert signed_rank(values, values) == 1
    assert signed_rank(values, values + 1e-15) == 1
    assert 0 < signed_rank(values, values + 0.1) <= 1


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert holm([]).shape == (0,)


def test_paired_t_is_scipys():
    values = np.random.default_rng(0).random(8)
    found, expected = paired_t(values), ttest_1samp(values, 0)
    assert (found["difference"], found["p"]) == pytest.approx((values.mean(), expected.pvalue))
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert np.isnan(paired_t(values[:1])["low"])
    assert paired_t(np.zeros(4))["p"] == 1


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_are_drawn_letter_by_letter(benchmark, tmp_path):
    """What matplotlib would read as an equation, and fail on, is a name like another."""
    pytest.importorskip("matplotlib")
    from genetext.bench import figure

    odd = "a$b^{$ \x1b[31m"
    scores = benchmark.scores.replace({"method": {"better": odd}})
    methods = benchmark.methods.replace({"method": {"better": odd}})
    renamed = Benchmark(scores, {**benchmark.about, "tasks": "$x_{.gmt"}, methods)
    figure.draw(renamed, tmp_path / "odd.svg")
    assert b"\x1b" not in (tmp_path / "odd.svg").read_bytes()


def test_a_table_for_a_spreadsheet_computes_nothing(benchmark):
    renamed = Benchmark(benchmark.scores.assign(term="=1+1"), benchmark.about, benchmark.methods)
    assert renamed.to_tsv().splitlines()[1].split("\t")[1] == "'=1+1"
    assert renamed.to_json()["scores"][0]["term"] == "=1+1"
