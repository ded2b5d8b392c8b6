"""Enrichment against the hypergeometric law written out, against gseapy, and with names that gseapy would change."""

import builtins
import gzip
import logging
import socket
from math import comb

import numpy as np
import pandas as pd
import pytest

from cellmodels.eval.enrichment import enrichment_scores, over_representation, prerank
from cellmodels.eval.topic_metrics import top_genes
from genetext.errors import CellsError
from genetext.gene_sets import read_gene_sets

GENES = [f"Gene{number}" for number in range(40)]
SETS = {
    "first": [*GENES[:6], "elsewhere"],
    "second": GENES[4:12],
    "apart": GENES[30:],
    "strange": ["elsewhere", "nowhere"],
}
TOPICS = [GENES[:5], GENES[4:9], GENES[20:25]]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("enrichment used the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def by_hand(overlap, n, drawn, background):
    """Return the chance of `overlap` or more."""
    ways = sum(comb(n, hit) * comb(background - n, drawn - hit) for hit in range(overlap, min(n, drawn) + 1))
    return ways / comb(background, drawn)


def test_over_representation_by_hand():
    table = over_representation(TOPICS, GENES, SETS)
    assert list(table.columns) == ["topic", "term", "overlap", "n", "p", "fdr", "genes"]
    rows = table.set_index(["topic", "term"])
    assert set(rows.index) == {(0, "first"), (0, "second"), (1, "second"), (1, "first")}
    assert rows.loc[(0, "first"), ["overlap", "n"]].tolist() == [5, 6]
    assert rows.loc[(0, "first"), "genes"] == "Gene0;Gene1;Gene2;Gene3;Gene4"
    for topic, term in rows.index:
        row = rows.loc[(topic, term)]
        assert row["p"] == pytest.approx(by_hand(row["overlap"], row["n"], 5, 40))
    # Three sets have genes of the background: the least p is corrected by three.
    assert rows.loc[(0, "first"), "fdr"] == pytest.approx(3 * by_hand(5, 6, 5, 40))
    few = over_representation(TOPICS, GENES, SETS, corrected="overlapping").set_index(["topic", "term"])
    assert few.loc[(0, "first"), "fdr"] == pytest.approx(2 * by_hand(5, 6, 5, 40))


def test_over_representation_is_that_of_gseapy():
    gseapy = pytest.importorskip("gseapy")
    rng = np.random.default_rng(0)
    genes = [f"G{number}" for number in range(300)]
    sets = {f"set {number}": rng.choice(genes, rng.integers(5, 40), replace=False).tolist() for number in range(30)}
    top = rng.choice(genes, 10, replace=False).tolist()
    table = over_representation([top], genes, sets, corrected="overlapping").set_index("term")
    reference = gseapy.enrich(top, sets, background=genes, outdir=None, no_plot=True).res2d.set_index("Term")
    assert set(table.index) == set(reference.index)
    reference = reference.loc[table.index]
    np.testing.assert_allclose(table["p"], reference["P-value"].astype(float), rtol=1e-9)
    np.testing.assert_allclose(table["fdr"], reference["Adjusted P-value"].astype(float), rtol=1e-9)
    assert (table["overlap"].astype(str) + "/" + table["n"].astype(str)).tolist() == reference["Overlap"].tolist()


def test_order_of_genes_sets_and_topics_changes_nothing():
    rng = np.random.default_rng(1)
    shuffled = {term: rng.permutation(SETS[term]).tolist() for term in reversed(SETS)}
    turned = over_representation(
        {topic: rng.permutation(TOPICS[topic]).tolist() for topic in (2, 1, 0)},
        rng.permutation(GENES).tolist(),
        shuffled,
    )
    keys = ["topic", "term"]
    left, right = (
        frame.drop(columns="genes").sort_values(keys, ignore_index=True)
        for frame in (turned, over_representation(TOPICS, GENES, SETS))
    )
    pd.testing.assert_frame_equal(left, right)


def test_letter_case_is_never_changed():
    sets = {"upper": [gene.upper() for gene in GENES[:20]], "as written": GENES[:5]}
    assert over_representation(TOPICS[:1], GENES, sets)["term"].tolist() == ["as written"]
    weights = np.random.default_rng(2).random((1, 40))
    pytest.importorskip("gseapy")
    assert prerank(weights, GENES, sets, min_size=2, permutations=50)["term"].tolist() == ["as written"]


def test_a_topic_without_any_set_and_sets_of_other_sizes():
    table = over_representation(TOPICS[2:], GENES, SETS)
    assert table.empty
    assert enrichment_scores(table).quality == 0
    assert set(over_representation(TOPICS, GENES, SETS, min_size=7)["term"]) == {"second"}
    assert set(over_representation(TOPICS, GENES, SETS, max_size=7)["term"]) == {"first"}


def test_scores_count_pairs_and_sets():
    table = pd.DataFrame({"topic": [0, 0, 1, 2], "term": ["a", "b", "a", "c"], "fdr": [0.001, 0.01, 0.0, 0.2]})
    scores = enrichment_scores(table)
    assert (scores.n, scores.unique, scores.quality) == (3, 2, pytest.approx(2 / 3))
    assert enrichment_scores(table, fdr=0.5).n == 4


def running_sum(ranked, weights, members, exponent=1.0):
    """Return the enrichment score: the farthest point of the weighted walk from 0."""
    hit = np.isin(ranked, members)
    step = np.where(hit, np.abs(weights) ** exponent, 0)
    walk = np.cumsum(step / step.sum() - ~hit / (~hit).sum())
    return walk[np.abs(walk).argmax()]


@pytest.fixture
def ranking():
    rng = np.random.default_rng(3)
    weights = rng.random((3, 40))
    weights[0, :6] += 1
    weights[1, 4:12] += 1
    return weights


def test_prerank_is_the_running_sum(ranking):
    pytest.importorskip("gseapy")
    table = prerank(ranking, GENES, SETS, min_size=5, permutations=200, seed=1)
    assert list(table.columns) == ["topic", "term", "overlap", "n", "es", "nes", "p", "fdr", "genes"]
    assert len(table) == 9
    for row in table.itertuples():
        order = np.argsort(-ranking[row.topic])
        expected = running_sum(np.array(GENES)[order], ranking[row.topic][order], SETS[row.term])
        assert row.es == pytest.approx(expected, abs=1e-6)
        assert row.n == len(set(SETS[row.term]) & set(GENES))
        assert set(row.genes.split(";")) <= set(SETS[row.term])
        assert row.overlap == len(row.genes.split(";"))
    best = table.loc[table.groupby("topic")["nes"].idxmax()].set_index("topic")
    assert best.loc[0, ["term", "es"]].tolist() == ["first", pytest.approx(1)]
    assert best.loc[1, "term"] == "second"
    assert best.loc[[0, 1], "p"].max() < 0.02
    again = prerank(ranking, GENES, SETS, min_size=5, permutations=200, seed=1)
    pd.testing.assert_frame_equal(table, again)


def test_prerank_does_not_know_the_order_of_genes_even_with_ties(ranking, caplog):
    pytest.importorskip("gseapy")
    tied = np.round(ranking, 1)
    order = np.random.default_rng(4).permutation(40)
    with caplog.at_level(logging.WARNING, "genetext"):
        item = prerank(tied, GENES, SETS, min_size=5, permutations=100)
        alternative = prerank(tied[:, order], [GENES[gene] for gene in order], SETS, min_size=5, permutations=100)
    pd.testing.assert_frame_equal(item, alternative)
    assert "ranked by name" in caplog.text


def test_prerank_of_weights_that_are_mostly_zero(capfd):
    pytest.importorskip("gseapy")
    weights = np.zeros((1, 40))
    weights[0, :3] = [3, 2, 1]
    table = prerank(weights, GENES, SETS, min_size=5, permutations=100).set_index("term")
    assert np.isfinite(table[["es", "nes", "p", "fdr"]].to_numpy()).all()
    assert table["nes"].idxmax() == "first"
    assert capfd.readouterr() == ("", "")


def test_gene_sets_from_files(tmp_path):
    text = "first\tx\tG1\tG2\tG1\nsecond\t\thla-A\n"
    (tmp_path / "a.gmt").write_text(text)
    (tmp_path / "a.gmt.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.gmt", "a.gmt.gz"):
        assert read_gene_sets(tmp_path / name) == {"first": ("G1", "G2"), "second": ("hla-A",)}
    assert read_gene_sets(str(tmp_path / "a.gmt")) == read_gene_sets(tmp_path / "a.gmt")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: over_representation([["Gene0", "X"]], GENES, SETS), "topic 0 has genes that are not the model's: X"),
        (lambda: over_representation([[]], GENES, SETS), "no topics"),
        (lambda: over_representation(TOPICS, [*GENES, "Gene1"], SETS), "more than once: Gene1"),
        (lambda: over_representation(TOPICS, [], SETS), "no genes"),
        (lambda: over_representation(TOPICS, GENES, {"x": ["GENE1"]}), "none of the genes of 1 sets .*GENE1.*Gene0"),
        (lambda: over_representation(TOPICS, GENES, SETS, min_size=20), "largest has 10"),
        (lambda: over_representation(TOPICS, GENES, {}), "no gene sets"),
        (lambda: over_representation(TOPICS, GENES, "no-such-file.gmt"), "no-such-file"),
        (lambda: over_representation(TOPICS, GENES, SETS, corrected="all"), "unknown correction"),
        (lambda: prerank(np.ones((2, 40)), GENES, SETS, min_size=2), "no ranking: 0, 1"),
        (lambda: prerank(np.full((2, 40), np.nan), GENES, SETS), "NaN"),
        (lambda: prerank(np.ones((2, 3)), GENES, SETS), "shape"),
        (lambda: prerank(np.ones((2, 40)), GENES, SETS, names=["a"]), "1 names for 2"),
        (lambda: enrichment_scores(pd.DataFrame({"topic": []})), "no fdr, term"),
    ],
)
def test_what_cannot_be_tested(call, says):
    with pytest.raises(CellsError, match=says):
        call()


def test_without_gseapy_the_extra_is_named(monkeypatch, ranking):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.split(".")[0] == "gseapy":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(CellsError, match=r"pip install 'genetext\[topics\]'"):
        prerank(ranking, GENES, SETS, min_size=5)
    assert len(over_representation(TOPICS, GENES, SETS))


@pytest.mark.real
def test_interferon_genes_are_found_in_the_hallmarks(real_data):
    import anndata as ad

    from cellmodels.data.inputs import read_cells

    pytest.importorskip("gseapy")
    cells = ad.read_h5ad(real_data / "cells" / "kang_pbmc_ifnb_labelled.h5ad")
    matrix = read_cells(cells, needs="log").matrix
    stimulated = (cells.obs["condition"] == "stim").to_numpy()
    change = np.asarray(matrix[stimulated].mean(axis=0) - matrix[~stimulated].mean(axis=0))
    seen = np.flatnonzero(change[0])
    genes = cells.var_names[seen].tolist()
    hallmarks = real_data / "genesets" / "h.all.v2025.1.Hs.symbols.gmt.gz"
    table = over_representation(top_genes(change[:, seen], genes, 50), genes, hallmarks)
    interferon = {"HALLMARK_INTERFERON_ALPHA_RESPONSE", "HALLMARK_INTERFERON_GAMMA_RESPONSE"}
    assert set(table["term"][:2]) == interferon
    assert table["fdr"][1] < 1e-30
    ranked = prerank(change[:, seen], genes, hallmarks, names=["stim"], permutations=200)
    assert set(ranked["term"][:2]) == interferon
    assert ranked["fdr"][1] < 0.01
