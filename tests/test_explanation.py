"""explain: contributions that add up to the whole, and sentences that say why."""

import numpy as np
import pandas as pd
import pytest

from genetext.build import build
from genetext.cells import WEIGHTINGS, embed_cells
from genetext.errors import CellsError, CostLimit, EncoderError, IndexMismatch
from genetext.explanation import explain
from genetext.index import GeneIndex
from genetext.priors import GenePriors
from tests.cells import reference
from tests.factory import write_ncbi
from tests.servers.openai import OpenAIServer

ALL = [(name, top_n) for name in WEIGHTINGS for top_n in (None, 5) if not (name == "top" and top_n is None)]


@pytest.fixture
def adata():
    x = reference.counts(90, 20, seed=2)
    x[:30, :5] += 6
    x[4] = 0
    adata = reference.data(x)
    adata.obs["kind"] = pd.Categorical(["a"] * 30 + ["b"] * 40 + ["c"] * 17 + [None] * 3)
    return adata


@pytest.fixture
def priors(adata):
    return reference.priors(list(adata.var_names), missing=[3, 11])


@pytest.mark.parametrize(("weighting", "top_n"), ALL)
def test_contributions_add_up_to_the_distance_between_mean_vectors(adata, priors, weighting, top_n):
    told = explain(adata, priors, "kind", weighting=weighting, top_n=top_n)
    cells = embed_cells(adata, priors, weighting=weighting, top_n=top_n, copy=True).obsm["X_genetext"].astype(float)
    has = ~np.isnan(cells).any(axis=1) & adata.obs["kind"].notna().to_numpy()
    for number, (group, n_cells, distance) in enumerate(told.groups.itertuples(index=False)):
        own = has & (adata.obs["kind"] == group).to_numpy()
        place = cells[own].mean(axis=0) - cells[has & ~own].mean(axis=0)
        assert n_cells == own.sum()
        np.testing.assert_allclose(distance, np.linalg.norm(place), rtol=1e-4)
        np.testing.assert_allclose(told.directions[number], place / np.linalg.norm(place), atol=1e-4)
        table = told.genes[told.genes["group"] == group]
        np.testing.assert_allclose(table["contribution"].sum(), distance, rtol=1e-9)
        np.testing.assert_allclose(table["share"].sum(), 1, rtol=1e-9)
        assert table["contribution"].is_monotonic_decreasing
    assert set(told.genes["gene"]) == set(adata.var_names[priors.mask])


def test_weights_are_mean_shares(adata, priors):
    told = explain(adata, priors, "kind")
    for group in "abc":
        table = told.top(group, 100)
        assert table["weight_in"].sum() == pytest.approx(1)
        assert table["weight_out"].sum() == pytest.approx(1)
    top = told.top("a", 100).set_index("gene")
    more = top.loc[[f"GENE{j}" for j in (0, 1, 2, 4)]]
    assert (more["weight_in"] > more["weight_out"]).all()


def test_a_common_part_of_all_vectors_changes_no_contribution(adata, priors):
    """Texts about genes have much in common; centring takes it out of the table."""
    moved = reference.priors(list(adata.var_names), missing=[3, 11])
    moved.vectors[:] += 50
    one, other = explain(adata, priors, "kind"), explain(adata, moved, "kind")
    pd.testing.assert_frame_equal(one.genes, other.genes, rtol=1e-3, atol=1e-5)


def test_groups_and_blocks(adata, priors):
    all_of_them = explain(adata, priors, "kind", threads=1)
    one = explain(adata, priors, "kind", groups=["b"], block_size=1, threads=2)
    assert one.groups["group"].tolist() == ["b"]
    wanted = all_of_them.genes[all_of_them.genes["group"] == "b"].reset_index(drop=True)
    pd.testing.assert_frame_equal(one.genes, wanted)


def test_plot_draws_a_panel_per_group(adata, priors, tmp_path):
    pytest.importorskip("matplotlib")
    told = explain(adata, priors, "kind")
    figure = told.plot(n=7)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["a", "b", "c"]
    assert len(figure.axes[0].patches) == 7
    figure.savefig(tmp_path / "explain.png")
    assert (tmp_path / "explain.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (pd.Categorical(["x", "b", "a"], categories=["x", "b", "a", "never"]), ["x", "b", "a"]),
        ([10, 2, 1], ["1", "2", "10"]),
    ],
)
def test_groups_have_the_order_of_their_column(adata, priors, values, order):
    adata.obs["group"] = pd.Series(values).take(pd.factorize(adata.obs["kind"])[0]).to_numpy()
    if isinstance(values, pd.Categorical):
        adata.obs["group"] = pd.Categorical(adata.obs["group"], categories=values.categories)
    explanation = explain(adata, priors, "group")
    assert explanation.groups["group"].tolist() == order
    first = adata.obs["group"].iloc[0]
    assert explain(adata, priors, "group", groups=[first]).groups["group"].tolist() == [str(first)]
    assert len(explanation.top(first)) > 0


def test_what_cannot_be_explained(adata, priors):
    with pytest.raises(CellsError, match="'cluster' is no column of obs: there are kind"):
        explain(adata, priors, "cluster")
    with pytest.raises(CellsError, match="no group z"):
        explain(adata, priors, "kind", groups=["z"])
    with pytest.raises(CellsError, match="no group 'z'"):
        explain(adata, priors, "kind").top("z")
    with pytest.raises(CellsError, match="it takes two"):
        explain(adata[:30].copy(), priors, "kind")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    build("human", encoder="lexical", source=str(write_ncbi(root / "ncbi")), root=root)
    return root


@pytest.fixture
def index(root):
    return GeneIndex.open("human/lexical", root=root)


def retina(index, root):
    """Cells of two kinds: photoreceptors, and others."""
    names = ["RHO", "OPN1SW", "OPN1LW", "GAPDH", "TP53", "HBA1", "INS"]
    rng = np.random.default_rng(0)
    x = rng.poisson(1, (60, len(names))) + 1
    x[:30, :3] += 20
    x[30:, 4:] += 20
    adata = reference.data(x.astype(np.float32))
    adata.var_names = names
    adata.obs["kind"] = ["photoreceptor"] * 30 + ["other"] * 30
    return adata, GenePriors.open(index).align(adata, species="human", root=root)


def test_sentences_of_the_genes_are_scored(index, root):
    adata, priors = retina(index, root)
    told = explain(adata, priors, "kind", index=index, n_genes=3)
    sentences = told.sentences
    assert list(sentences.columns) == ["group", "gene", "gene_id", "sentence", "pull", "score"]
    for group, table in sentences.groupby("group"):
        assert table["score"].is_monotonic_decreasing
        assert set(table["gene"]) <= set(told.top(group, 3)["gene"])
    own = sentences[sentences["group"] == "photoreceptor"]
    genes = told.genes[told.genes["group"] == "photoreceptor"].set_index("gene")
    for row in own.itertuples():
        assert row.sentence in index.gene(int(row.gene_id))["text"]
        gene = genes.loc[row.gene]
        assert row.score == pytest.approx(row.pull * (gene["weight_in"] - gene["weight_out"]))
    # What c is: the mean vector of all cells, by embedding them.
    cells = embed_cells(adata, priors, copy=True).obsm["X_genetext"].astype(float)
    centre = cells.mean(axis=0)
    direction = told.directions[list(told.groups["group"]).index("photoreceptor")]
    pulls = (index.embedding.queries(list(own["sentence"])) - centre) @ direction
    np.testing.assert_allclose(own["pull"], pulls, atol=1e-5)
    assert own["score"].iloc[0] > 0


@pytest.fixture
def paid(tmp_path, monkeypatch):
    """A server that is paid, and an index of its vectors."""
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        build(
            "human", encoder="ada", name="paid", source=str(write_ncbi(tmp_path / "ncbi")), root=tmp_path, confirm=True
        )
        server.received.clear()
        yield server, tmp_path


def test_a_paid_encoder_is_asked_about_and_sent_each_sentence_once(paid):
    server, root = paid
    adata, priors = retina(GeneIndex.open("human/paid", root=root), root)
    asked = []

    def confirm(cost):
        asked.append(cost)
        return True

    def explained(**options):
        return explain(adata, priors, "kind", index="human/paid", n_genes=3, root=root, **options).sentences

    with pytest.raises(CostLimit, match=r"texts would be sent to text-embedding-ada-002.*confirm="):
        explained()

    def refuse(cost):
        raise CostLimit("too dear")

    with pytest.raises(CostLimit, match="too dear"):
        explained(confirm=refuse)
    with pytest.raises(CostLimit, match="not confirmed"):
        explained(confirm=lambda cost: False)
    with pytest.raises(CostLimit, match=r"allowed are \$0.00"):
        explained(confirm=True, max_cost=0)
    assert server.texts == []
    first = explained(confirm=confirm)
    assert len(first)
    assert set(first["sentence"]) == set(server.texts)
    assert asked[0].texts == len(server.texts)
    n_sent = len(server.texts)
    assert n_sent == len(set(server.texts)) > 0
    pd.testing.assert_frame_equal(explained(), first)
    assert (len(asked), len(server.texts)) == (1, n_sent)


def test_an_encoder_that_fails_is_an_error_and_not_an_empty_table(paid, monkeypatch):
    _, root = paid
    adata, priors = retina(GeneIndex.open("human/paid", root=root), root)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    options = {"index": "human/paid", "n_genes": 3, "root": root, "confirm": True}
    with pytest.raises(EncoderError, match="key"):
        explain(adata, priors, "kind", **options)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EncoderError, match="OPENAI_API_KEY"):
        explain(adata, priors, "kind", **options)


def test_sentences_without_a_known_word_are_left_out(index, root, monkeypatch):
    from genetext.text import sentences

    adata, priors = retina(index, root)
    monkeypatch.setattr(sentences, "split", lambda text: [text, "Xyzzy plugh."] if text else [])
    told = explain(adata, priors, "kind", index=index, n_genes=3, root=root).sentences
    assert len(told)
    assert "Xyzzy plugh." not in set(told["sentence"])


def test_sentences_need_the_index_that_the_vectors_come_from(index, root, adata, priors):
    with pytest.raises(IndexMismatch, match="the priors come from test"):
        explain(adata, priors, "kind", index=index)
    cells, aligned = retina(index, root)
    with pytest.raises(IndexMismatch, match=r"human/lexical \| align.* \| center"):
        explain(cells, aligned.center(), "kind", index=index)


def test_the_function_is_what_the_package_gives_whatever_was_imported_before():
    import genetext

    assert genetext.explain is genetext.explain is explain
