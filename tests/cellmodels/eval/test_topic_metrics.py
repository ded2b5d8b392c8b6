"""Scores of topics against values worked out by hand, and what must not change them."""

from math import log

import numpy as np
import pytest
from scipy import sparse

from cellmodels.eval import topic_metrics as tm
from genetext.errors import CellsError

GENES = ["HLA-A", "hla-a", "B", "C", "D"]
WEIGHTS = np.array([[5.0, 4, 3, 2, 1], [0, 0, 1, 1, 1]])
SETS = {"one": ["a", "b"], "two": ["a", "b", "c"], "three": ["c"], "four": ["d"]}


def test_top_genes_are_the_heaviest_and_keep_their_names():
    assert tm.top_genes(WEIGHTS, GENES, 3) == [("HLA-A", "hla-a", "B"), ("B", "C", "D")]
    assert tm.top_genes(WEIGHTS, GENES, 1) == [("HLA-A",), ("B",)]
    order = np.random.default_rng(0).permutation(5)
    assert tm.top_genes(WEIGHTS[:, order], [GENES[gene] for gene in order], 4) == tm.top_genes(WEIGHTS, GENES, 4)


def test_diversity_by_hand():
    topics = [("a", "b", "c"), ("c", "d", "e"), ("x", "y", "e")]
    assert tm.topic_diversity(topics) == pytest.approx(5 / 9)  # a b d x y
    assert tm.topic_diversity(topics, kind="distinct") == pytest.approx(7 / 9)
    assert tm.topic_diversity([("HLA-A",), ("HLA-B",), ("hla-a",)]) == 1
    alike = [("a", "b")] * 4
    assert (tm.topic_diversity(alike), tm.topic_diversity(alike, kind="distinct")) == (0, pytest.approx(1 / 4))


def test_coherence_in_sets_by_hand():
    # p(a) = p(b) = p(c) = 1/2, p(d) = 1/4; a and b meet in 1/2 of the sets, a and c, b and c in 1/4.
    by_chance = log((1 / 4) / (1 / 2 * 1 / 2)) / -log(1 / 4)
    assert by_chance == 0
    coherence = tm.coherence_in_sets([("a", "b"), ("a", "c"), ("a", "d"), ("a", "b", "unknown")], SETS)
    np.testing.assert_allclose(coherence, [1, 0, 0, 1 / 3])
    np.testing.assert_allclose(tm.coherence_in_sets([("a", "d"), ("a", "unknown")], SETS, apart=-1), [-1, 0])
    sets = {"1": ["a", "b"], "2": ["a", "b"], "3": ["a"], "4": ["b"], "5": [], "6": ["x"]}
    expected = log((2 / 6) / (3 / 6 * 3 / 6)) / -log(2 / 6)
    np.testing.assert_allclose(tm.coherence_in_sets([("a", "b")], sets), [expected])


def test_genes_that_are_everywhere_tell_nothing():
    assert tm.coherence_in_sets([("a", "b")], {"x": ["a", "b"], "y": ["b", "a"]}).tolist() == [0]


def test_a_set_of_everything_joins_every_pair_and_can_be_left_out():
    sets = {f"own {gene}": [gene] for gene in "abcdefgh"} | {"root": list("abcdefgh")}
    assert tm.coherence_in_sets([("a", "b")], sets)[0] > 0.3
    assert tm.coherence_in_sets([("a", "b")], sets, max_size=7).tolist() == [0]


def test_letter_case_tells_genes_apart():
    assert tm.coherence_in_sets([("A", "B")], SETS).tolist() == [0]


def slow_coherence(top, documents):
    """Return the same by loops over pairs and documents."""
    total, pairs = 0.0, 0
    for place, left in enumerate(top):
        for right in top[place + 1 :]:
            pairs += 1
            p_one, p_other = (np.mean([gene in document for document in documents]) for gene in (left, right))
            both = np.mean([left in document and right in document for document in documents])
            if 0 < both < 1:
                total += np.log(both / p_one / p_other) / -np.log(both)
    return total / pairs


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_coherence_in_cells_is_that_of_loops(form):
    rng = np.random.default_rng(1)
    counts = rng.poisson(0.7, (50, 12)).astype(float)
    counts[:, 3] = counts[:, 4] * 2
    genes = [f"g{number}" for number in range(12)]
    topics = [("g3", "g4", "g5", "g6"), ("g0", "g1", "missing", "g2"), ("g7", "g11", "g8", "g9")]
    for threshold in (0, 1):
        documents = [{genes[gene] for gene in np.flatnonzero(cell > threshold)} for cell in counts]
        result = tm.coherence_in_cells(topics, form(counts), genes, threshold=threshold)
        np.testing.assert_allclose(result, [slow_coherence(top, documents) for top in topics])
    rows, columns = rng.permutation(50), rng.permutation(12)
    moved = tm.coherence_in_cells(topics, form(counts[rows][:, columns]), [genes[column] for column in columns])
    np.testing.assert_allclose(moved, tm.coherence_in_cells(topics, form(counts), genes))


def test_quality_is_mean_coherence_times_diversity():
    assert tm.topic_quality(np.array([0.2, 0.4]), 0.5) == pytest.approx(0.15)
    assert tm.topic_quality(0.3, 0.5) == pytest.approx(0.15)


THETA = np.eye(3)[[0, 0, 0, 1, 1, 1, 1, 2]] * 0.7 + 0.1
TYPES = np.array(["x", "x", "y", "y", "y", "y", "x", "z"])


def test_purity_and_types_by_hand():
    assert tm.interpretation_purity(THETA, TYPES) == pytest.approx((2 + 3 + 1) / 8)
    table = tm.topic_types(THETA, TYPES).set_index("type")
    assert table.index.tolist() == ["z", "x", "y"]
    assert table["topic"].to_dict() == {"x": 0, "y": 1, "z": 2}
    assert table.loc["x", ["precision", "recall", "f1"]].tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    assert table.loc["y", ["precision", "recall", "f1"]].tolist() == pytest.approx([3 / 4, 3 / 4, 3 / 4])
    assert table.loc["z", "f1"] == 1
    cells, topics = np.random.default_rng(2).permutation(8), [2, 0, 1]
    assert tm.interpretation_purity(THETA[cells][:, topics], TYPES[cells]) == tm.interpretation_purity(THETA, TYPES)
    assert tm.interpretation_purity(np.ones((8, 1)), TYPES) == pytest.approx(4 / 8)


def test_association_finds_the_topic_of_a_type():
    rng = np.random.default_rng(3)
    kinds = np.repeat(["x", "y"], 60)
    scores = rng.normal(size=(120, 3))
    scores[kinds == "x", 1] += 3
    table = tm.topic_association(scores, kinds).set_index(["topic", "type"])
    row = table.loc[(1, "x")]
    within, without = scores[:60, 1], scores[60:, 1]
    assert row["difference"] == pytest.approx(within.mean() - without.mean())
    assert row["auc"] == pytest.approx((within[:, None] > without).mean())
    assert table.loc[(1, "y"), "auc"] == pytest.approx(1 - row["auc"])
    assert row["fdr"] < 1e-10
    assert table.drop([(1, "x"), (1, "y")])["fdr"].min() > 0.01


def test_runs_with_the_same_topics_in_another_order_are_stable():
    rng = np.random.default_rng(4)
    topics = rng.normal(size=(5, 40))
    order = rng.permutation(5)
    rows, columns, cosine = tm.match_topics(topics, 3 * topics[order])
    np.testing.assert_array_equal(order[columns], rows)
    np.testing.assert_allclose(cosine, 1)
    noise = rng.normal(size=(5, 40))
    stability = tm.topic_stability([topics, topics[order], noise])
    assert stability.shape == (3,)
    assert stability[0] == pytest.approx(1)
    assert max(stability[1:]) < 0.5
    np.testing.assert_allclose(stability[1], stability[2])


def test_matching_by_hand():
    left = np.array([[1.0, 0, 0], [0.8, 0.6, 0]])
    right = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 2]])
    rows, columns, cosine = tm.match_topics(left, right)
    # 0 with 0 and 1 with anything else: 1 + 0; the other way round 0.8 + 0.
    assert (rows.tolist(), columns.tolist()[0], cosine.tolist()) == ([0, 1], 0, [1, 0])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: tm.top_genes(WEIGHTS, GENES, 6), "6 top genes of 5"),
        (lambda: tm.top_genes(WEIGHTS, GENES[:4]), "4 names"),
        (lambda: tm.top_genes(WEIGHTS, ["a", "a", "b", "c", "d"], 2), "more than once: a"),
        (lambda: tm.top_genes(WEIGHTS * np.nan, GENES), "NaN"),
        (lambda: tm.topic_diversity([]), "one at least"),
        (lambda: tm.topic_diversity([("a", "a")]), "a gene twice"),
        (lambda: tm.topic_diversity([("a",)], kind="loose"), "unknown diversity"),
        (lambda: tm.coherence_in_sets([("a",)], SETS), "pairs"),
        (lambda: tm.coherence_in_sets([("a", "b")], {}), "no gene sets"),
        (lambda: tm.coherence_in_sets([("a", "b")], SETS, max_size=0), "raise max_size"),
        (lambda: tm.coherence_in_cells([("a", "b")], np.ones((3, 2)), ["a"]), "shape"),
        (lambda: tm.coherence_in_cells([("a", "b")], np.full((3, 2), np.nan), ["a", "b"]), "NaN"),
        (lambda: tm.coherence_in_cells([("a", "b")], np.ones((3, 2)), ["a", "b"], threshold=-1), "threshold"),
        (lambda: tm.interpretation_purity(THETA, TYPES[:3]), "label for each"),
        (lambda: tm.interpretation_purity(THETA * np.inf, TYPES), "infinite"),
        (lambda: tm.topic_types(THETA, np.array([None] * 8)), "8 cells have no label"),
        (lambda: tm.topic_association(THETA, ["x"] * 8), "two types"),
        (lambda: tm.match_topics(WEIGHTS, WEIGHTS[:, :3]), "5 and 3"),
        (lambda: tm.topic_stability([WEIGHTS]), "two at least"),
    ],
)
def test_what_cannot_be_scored(call, says):
    with pytest.raises(CellsError, match=says):
        call()


@pytest.mark.real
def test_hallmarks_are_coherent_and_genes_at_random_are_not(real_data):
    from cellmodels.eval.enrichment import read_gene_sets

    hallmarks = read_gene_sets(real_data / "genesets" / "h.all.v2025.1.Hs.symbols.gmt.gz")
    reference = read_gene_sets(real_data / "genesets" / "reactome_human.gmt.gz")
    known = sorted(set().union(*reference.values()))
    topics = [tuple(gene for gene in members if gene in set(known))[:10] for members in list(hallmarks.values())[:20]]
    rng = np.random.default_rng(5)
    random = [tuple(rng.choice(known, 10, replace=False)) for _ in range(20)]
    result, chance = (tm.coherence_in_sets(tops, reference).mean() for tops in (topics, random))
    assert result > 0.2
    assert chance < 0.15  # not 0: pairs that are never together cost nothing
    assert tm.coherence_in_sets(random, reference, apart=-1).mean() < -0.5
