"""Topics as points among texts, beside float64 NumPy."""

import numpy as np
import pytest

from cellmodels.data.genes import Genes
from cellmodels.topic.naming import coherence_z, cosines, describe, set_vectors, topic_vectors
from genetext.errors import ModelError
from genetext.index import GeneIndex

RNG = np.random.default_rng(0)


def test_a_topic_is_the_weighted_mean_of_its_genes_directions():
    weights, vectors = RNG.gamma(1, size=(3, 5)), RNG.normal(size=(5, 4))
    described = topic_vectors(weights, vectors)
    for row, members in zip(described, weights, strict=True):
        expected = sum(w * v / np.linalg.norm(v) for w, v in zip(members, vectors, strict=True)) / members.sum()
        np.testing.assert_allclose(row, expected, atol=1e-12)
    assert not topic_vectors(np.zeros((1, 5)), vectors).any()


def test_cosines_with_what_has_no_direction_are_zero():
    assert cosines(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[6.0, 8.0], [4.0, -3.0]])) == pytest.approx(
        np.array([[1, 0], [0, 0]])
    )


def test_coherence_is_high_for_like_genes_and_none_for_genes_at_random():
    vectors = RNG.normal(size=(200, 20))
    vectors[:10] += 3
    weights = np.zeros((40, 200))
    weights[0, :10] = 1
    for row in range(1, 39):
        weights[row, RNG.choice(np.arange(10, 200), 10, replace=False)] = 1
    weights[39, 3] = 1  # one gene is like itself: nothing to be seen
    z = coherence_z(weights, vectors, np.arange(200))
    assert z[0] > 8
    assert abs(z[1:39].mean()) < 1
    assert np.isnan(z[39])


def test_mean_vectors_of_sets_with_five_known_genes():
    names = np.array([f"G{i}" for i in range(8)])
    vectors = RNG.normal(size=(6, 3))
    position = np.array([0, 1, 2, 3, 4, 5, -1, -1])
    terms, centres = set_vectors({"few": ("G0", "G1", "G6"), "five": tuple(names)}, names, vectors, position)
    assert terms == ["five"]
    expected = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(centres, [expected], atol=1e-12)


@pytest.fixture(scope="module")
def index(facts_cache):
    return GeneIndex.open("human/lexical", root=facts_cache)


def test_words_of_an_index_by_gene_id(index):
    """A topic of haemoglobins, under names that the index does not have: it is found by GeneIDs."""
    rows = index.genes.set_index("symbol")
    globins = ["HBA1", "HBA2", "HBB", "HBD", "HBG1", "HBG2", "HBE1", "HBZ"]
    others = [str(name) for name in rows.index[rows["row"] >= 0][:200] if name not in globins]
    ids = rows.loc[[*globins, *others], "gene_id"].to_numpy(np.int64)
    genes = Genes(np.array([f"gene{i}" for i in range(len(ids))], object), ids, "human")
    lift = np.zeros((2, len(ids)))
    lift[0, :8], lift[1, 8:16] = 1, 1
    share = np.array([0.5, 0.5])
    how = {"share": share, "leads": np.array([1, 1]), "dead": np.zeros(2, bool), "n_named": 8}
    table = describe(beta=lift, lift=lift, genes=genes, index=index, **how)
    assert all(word.split(": ")[1].startswith("hemoglobin") for word in table["texts"][0].split("; "))
    assert table["text_z"][0] > 8
    nothing = describe(beta=lift, lift=-lift, genes=genes, index=index, **how)  # topics that raise no gene
    assert nothing["texts"].tolist() == ["", ""]
    assert nothing["text_z"].isna().all()
    nameless = Genes(genes.names, np.zeros(len(ids), np.int64), "")
    with pytest.raises(ModelError, match="fitted without priors"):
        describe(beta=lift, lift=lift, genes=nameless, index=index, **how)
