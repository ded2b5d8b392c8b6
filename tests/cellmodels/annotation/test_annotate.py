"""annotate on cells whose types express the genes that are written about them, and on what is not such cells."""

import gzip
import json
import logging
import shutil
import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from cellmodels import CellTypes, annotate, knn_graph, refine_logits
from cellmodels.annotation import evidence
from cellmodels.annotation.annotation import RESOLUTIONS
from cellmodels.annotation.cell_types import affirmed, read_ontology
from cellmodels.annotation.group_profiles import GroupProfiles
from cellmodels.annotation.logits import MarkerScores, margins
from cellmodels.data.inputs import read_cells
from cellmodels.eval import metrics
from cellmodels.groups.leiden import Leiden
from cellmodels.groups.pca import principal_components
from genetext.build import build
from genetext.errors import CellsError, GeneIndexError
from genetext.index import GeneIndex
from genetext.priors import GenePriors
from tests.factory import _PLACES, EXTRA_FIRST_ID, write_ncbi

N_GENES = 330
PLACES = ("retina", "liver", "kidney")
TYPES = {place: f"A cell of the {place}, which answers in the {place}." for place in PLACES}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = tmp_path_factory.mktemp("annotate")
    source = write_ncbi(root / "ncbi", n_extra=N_GENES)
    built = build("human", encoder="lexical", source=source, offline=True, root=root).index
    return GeneIndex.open(built.path)


@pytest.fixture(autouse=True)
def in_this_world(index, own_cache, monkeypatch):
    monkeypatch.setenv("GENETEXT_CACHE", str(index.path.parents[2]))


def make_cells(sizes=(60, 50, 40), *, fold=8.0, seed=0):
    """Counts in which a cell of a type has `fold` times as much of the genes written about its place."""
    rng = np.random.default_rng(seed)
    names = [f"EXTRA{number}" for number in range(N_GENES)]
    place = np.array([_PLACES[(EXTRA_FIRST_ID + number) % len(_PLACES)] for number in range(N_GENES)])
    kind = np.repeat(PLACES, sizes)
    rate = np.where(place[None] == kind[:, None], 0.4 * fold, 0.4)
    order = rng.permutation(len(kind))
    counts = rng.poisson(rate).astype(np.float32)[order]
    obs = pd.DataFrame({"kind": kind[order]}, index=[f"c{i}" for i in range(len(kind))])
    return anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=names))


@pytest.fixture(scope="module")
def cells():
    return make_cells()


@pytest.mark.parametrize("method", ["markers", "vectors"])
def test_cells_get_the_type_that_their_genes_are_written_about(cells, index, method):
    done = annotate(cells, TYPES, index, method=method, copy=True)
    assert metrics.accuracy(cells.obs["kind"], done.labels) > 0.95
    assert sum(done.counts.values()) == cells.n_obs
    shuffled = GenePriors.open(index).align(cells).permuted(1)
    control = annotate(cells, TYPES, index, priors=shuffled, method=method, copy=True)
    assert metrics.accuracy(cells.obs["kind"], control.labels) < 0.9


def test_the_genes_that_spoke_are_those_of_the_type(cells, index):
    done = annotate(cells, TYPES, index, copy=True)
    for place in PLACES:
        theirs = [_PLACES[(EXTRA_FIRST_ID + int(gene[5:])) % len(_PLACES)] for gene in done.top(place, 10)]
        assert theirs == [place] * 10
    assert set(done.groups.columns) >= {"grouping", "group", "n_cells", "type", "second", "margin"}
    assert done.groups.groupby("grouping")["n_cells"].sum().eq(cells.n_obs).all()


def test_what_is_written_and_read_again(cells, index, tmp_path):
    copied = annotate(cells, TYPES, index, copy=True, key_added="kinds")
    assert not [key for key in cells.obs if key.startswith("kinds")]
    assert "kinds" not in cells.uns
    copied.adata.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert again.obs["kinds"].tolist() == copied.labels.tolist()
    assert list(again.obs["kinds"].cat.categories) == list(PLACES)
    np.testing.assert_array_equal(again.obs["kinds_confidence"], copied.confidence)
    assert again.obsm["kinds_logits"].shape == again.obsm["kinds_refined"].shape == (cells.n_obs, 3)
    recorded = again.uns["kinds"]["annotate"]
    assert recorded["types"].tolist() == list(PLACES)
    assert recorded["lam"] == 1.0
    graph = knn_graph(principal_components(read_cells(cells, needs="log").matrix), 15)
    np.testing.assert_allclose(copied.refined, refine_logits(copied.logits, graph, 1.0))


def test_the_same_seed_gives_the_same_bits(cells, index):
    one, other = (annotate(cells, TYPES, index, copy=True) for _ in range(2))
    np.testing.assert_array_equal(one.refined, other.refined)
    np.testing.assert_array_equal(one.confidence, other.confidence)


def test_confidence_is_high_for_the_prior_and_low_for_shuffled_genes(cells, index):
    shuffled = GenePriors.open(index).align(cells).permuted(3)
    own = annotate(cells, TYPES, index, copy=True).confidence
    other = annotate(cells, TYPES, index, priors=shuffled, copy=True).confidence
    assert own.mean() > other.mean() + 0.1
    assert 0 <= own.min() <= own.max() <= 1


@pytest.mark.parametrize("lam", [0, 1.0, 20.0])
def test_shuffled_genes_go_through_what_the_genes_go_through(cells, index, lam):
    """Smoothing makes margins smaller: beside margins that were not smoothed, confidence would fall with `lam`."""
    shuffled = GenePriors.open(index).align(cells)
    draws = [
        annotate(cells, TYPES, index, priors=shuffled.permuted(seed), lam=lam, shuffles=20, copy=True).confidence
        for seed in range(100, 106)
    ]
    # Of genes that say nothing the margins are as those of the shuffles: ranks are even, on average.
    assert 0.3 < np.mean(draws) < 0.7


def test_confidence_ranks_margins_of_like_kind(cells, index):
    done = annotate(cells, TYPES, index, lam=20.0, copy=True)
    matrix = read_cells(cells, needs="log").matrix
    links = knn_graph(principal_components(matrix), 15)
    leiden = Leiden(links)
    members = [leiden.cut(resolution) for resolution in RESOLUTIONS]
    groupings = [(str(place), member, range(member.max() + 1)) for place, member in enumerate(members)]
    types, sources = CellTypes.of(TYPES), evidence.open_sources([index], cells)
    affinity = evidence.affinity(types, sources)
    scores = MarkerScores(affinity, types, sources, matrix, groupings)
    np.testing.assert_allclose(done.logits, scores.of_blocks(affinity)[scores.block])
    null = np.concatenate(
        [
            margins(refine_logits(scores.of_blocks(affinity.permuted(seed))[scores.block], links, 20.0))
            for seed in range(20)
        ]
    )
    smaller = (null[None] < margins(done.refined)[:, None]).mean(axis=1)
    np.testing.assert_allclose(done.confidence, smaller, atol=2e-3)


def test_log_ratio_is_of_geometric_means():
    """It is documented so: not of arithmetic means of the normalised counts."""
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(1.0, (60, 7)).astype(np.float32))
    groups = np.repeat([0, 1, 2], 20)
    profiles = GroupProfiles.of(counts.log1p(), groups)
    typical = np.stack([np.exp(np.log1p(counts[groups == g].toarray()).mean(axis=0)) - 1 for g in range(3)])
    np.testing.assert_allclose(profiles.log_ratio, np.log2((typical + 0.5) / (typical.mean(axis=0) + 0.5)), atol=1e-6)


def test_cells_below_the_confidence_have_no_label(cells, index):
    done = annotate(cells, TYPES, index, shuffles=0, copy=True)
    limit = float(np.median(done.confidence))
    strict = annotate(cells, TYPES, index, shuffles=0, min_confidence=limit, copy=True)
    np.testing.assert_array_equal(pd.isna(strict.labels), done.confidence < np.float32(limit))
    assert strict.n_abstained == strict.adata.obs["annotation"].isna().sum() > 0


def test_logits_of_another_model_are_refined_without_an_index(cells):
    kinds = pd.Categorical(cells.obs["kind"], categories=PLACES).codes
    rng = np.random.default_rng(0)
    wrong = np.where(rng.random(cells.n_obs) < 0.3, rng.integers(0, 3, cells.n_obs), kinds)
    cells = cells.copy()
    cells.obsm["theirs"] = np.eye(3)[wrong]
    done = annotate(cells, list(PLACES), logits="theirs")
    assert metrics.accuracy(cells.obs["kind"], done.labels) > (wrong == kinds).mean() + 0.1
    np.testing.assert_allclose(done.refined.sum(axis=1), 1, atol=1e-4)
    assert done.genes is None
    untouched = annotate(cells, list(PLACES), logits=cells.obsm["theirs"], lam=0, copy=True)
    np.testing.assert_array_equal(untouched.refined, cells.obsm["theirs"])


def test_given_groups_graph_and_coordinates_are_used(cells, index):
    cells = cells.copy()
    cells.obs["own"] = cells.obs["kind"].map({"retina": "r", "liver": "l", "kidney": "k"}).astype("category")
    cells.obsm["X_flat"] = np.random.default_rng(0).normal(size=(cells.n_obs, 2))
    cells.obsp["links"] = knn_graph(cells.obsm["X_flat"], 4)
    done = annotate(cells, TYPES, index, groups="own", graph="links", copy=True)
    assert done.groups["group"].tolist() == ["k", "l", "r"]
    assert done.groups["type"].tolist() == ["kidney", "liver", "retina"]
    np.testing.assert_allclose(done.refined, refine_logits(done.logits, cells.obsp["links"], 1.0))
    same = annotate(cells, TYPES, index, groups="own", rep="X_flat", k=4, copy=True)
    np.testing.assert_allclose(same.refined, done.refined)


def test_a_rare_type_is_warned_of(index, caplog):
    cells = make_cells((60, 50, 6))
    with caplog.at_level(logging.WARNING, logger="genetext"):
        done = annotate(cells, TYPES, index, groups="kind")
    assert done.rare == ("kidney",)
    assert "kidney (6 before" in caplog.text


def test_empty_cells_have_no_label(index):
    cells = make_cells()
    x = cells.X.toarray()
    x[[3, 8]] = 0
    cells.X = sparse.csr_matrix(x)
    done = annotate(cells, TYPES, index)
    assert [i for i, label in enumerate(done.labels) if label is None] == [3, 8]
    assert done.confidence[[3, 8]].tolist() == [0, 0]


def test_one_type_is_everybodys(cells, index):
    done = annotate(cells, ["retina"], index, copy=True)
    assert done.counts == {"retina": cells.n_obs}
    assert (done.confidence == 1).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"types": []}, "no types"),
        ({"types": ["retina", "retina"]}, "more than once: retina"),
        ({"types": ["xyzzyq", "retina"]}, "knows a word of xyzzyq"),
        ({"method": "guess"}, "unknown method 'guess'"),
        ({"index": None}, "give index="),
        ({"k": 150}, "150 cells"),
        ({"min_confidence": 2.0}, "min_confidence is 2"),
        ({"groups": "no"}, "no obs"),
        ({"groups": np.zeros(3)}, "150 cells need a group each"),
        ({"groups": np.zeros(150)}, "one group"),
        ({"resolutions": ()}, "no resolutions"),
        ({"resolutions": (0.0,)}, "resolution is 0"),
        ({"rep": "X_no"}, "no obsm"),
        ({"graph": "no"}, "no obsp"),
        ({"graph": np.zeros((3, 3))}, "graph of as many"),
        ({"logits": "no"}, "no obsm"),
        ({"logits": np.zeros((150, 2))}, "150 cells and 3 types"),
        ({"logits": np.full((150, 3), np.nan)}, "150 cells have logits"),
        ({"lam": -1.0}, "lam is -1"),
        ({"layer": "no"}, "no layer 'no'"),
    ],
)
def test_bad_input_is_said_in_a_sentence(cells, index, change, says):
    given = {"types": TYPES, "index": index} | change
    with pytest.raises(CellsError, match=says):
        annotate(cells, given.pop("types"), given.pop("index"), copy=True, **given)


def test_one_cell_and_none(index):
    with pytest.raises(CellsError, match="two cells"):
        annotate(make_cells()[:1].copy(), TYPES, index)
    with pytest.raises(CellsError, match="no cells"):
        annotate(make_cells()[:0].copy(), TYPES, index)


def test_a_damaged_index_is_an_error_never_a_type_without_words(cells, index, tmp_path):
    broken = GeneIndex.open(shutil.copytree(index.path, tmp_path / "human" / "broken"))
    next(broken.path.rglob("vocabulary.json")).unlink()
    with pytest.raises(GeneIndexError, match="vocabulary.json is missing: the index is damaged, build it again"):
        annotate(cells, TYPES, [index, broken], copy=True)


def test_priors_that_were_projected_are_refused(cells, index):
    with pytest.raises(CellsError, match="only aligned"):
        annotate(cells, TYPES, index, priors=GenePriors.open(index).align(cells).center(), copy=True)


def test_affinities_are_standardised_and_shuffles_keep_them(cells, index):
    near = evidence.affinity(CellTypes.of(TYPES), evidence.open_sources([index], cells))
    known = near.values[near.mask]
    np.testing.assert_allclose(known.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(known.std(axis=0), 1, atol=1e-6)
    other = near.permuted(0)
    np.testing.assert_array_equal(other.mask, near.mask)
    assert sorted(map(tuple, other.values[other.mask])) == sorted(map(tuple, known))
    assert not np.array_equal(other.values, near.values, equal_nan=True)


def test_a_text_file_of_types(tmp_path):
    path = tmp_path / "types.txt"
    path.write_text("# comment\nB cell\n\nT cell\tA lymphocyte.\n", encoding="utf-8-sig")
    types = CellTypes.read(path)
    assert (types.names, types.definitions) == (("B cell", "T cell"), ("", "A lymphocyte."))
    path.write_text("# nothing\n")
    with pytest.raises(CellsError, match="names no type"):
        CellTypes.read(path)
    with pytest.raises(CellsError, match="cannot be read"):
        CellTypes.read(tmp_path / "absent.txt")


def obo(path):
    node = {
        "id": "http://purl.obolibrary.org/obo/CL_1",
        "lbl": "B cell",
        "type": "CLASS",
        "meta": {
            "definition": {"val": "A lymphocyte that is negative for CD3."},
            "synonyms": [
                {"pred": "hasExactSynonym", "val": "B lymphocyte"},
                {"pred": "hasBroadSynonym", "val": "cell"},
            ],
        },
    }
    old = {"id": "x/CL_2", "lbl": "obsolete B", "meta": {"deprecated": True}}
    path.write_text(json.dumps({"graphs": [{"nodes": [node, old, {"id": "x/CL_3", "lbl": "T cell"}]}]}))
    return path


def mapped(path):
    terms = {
        "CL:1": {
            "label": "B cell",
            "description": "A lymphocyte that is negative for CD3.",
            "synonyms": ["B lymphocyte"],
        },
        "CL:2": {"label": "obsolete B", "deprecated": True},
        "CL:3": {"label": "T cell"},
    }
    path.write_bytes(gzip.compress(json.dumps(terms).encode()))
    return path


@pytest.mark.parametrize("write", [obo, mapped])
def test_terms_of_an_ontology(tmp_path, write):
    path = write(tmp_path / "cl.json")
    assert set(read_ontology(path)) == {"CL:1", "CL:3"}
    types = CellTypes.of(["B lymphocytes", "CL:3"]).with_ontology(path)
    assert types.terms == ("CL:1", "CL:3")
    assert types.definitions[0] == "A lymphocyte that is negative for CD3."
    assert types.synonyms[0] == ("B cell",)
    assert not any("CD3" in text for texts in types.texts()[0] for text in texts)
    with pytest.raises(CellsError, match=r"no term .* T cel \(nearest: T cell, B cell\)"):
        CellTypes.of(["T cel"]).with_ontology(path)


def test_files_that_are_no_ontology(tmp_path):
    path = tmp_path / "cl.json"
    for text, says in (("{", "as JSON"), ('{"a": 1}', "neither"), ("{}", "no term"), ("[]", "neither")):
        path.write_text(text)
        with pytest.raises(CellsError, match=says):
            read_ontology(path)


@pytest.mark.parametrize(
    ("definition", "left"),
    [
        ("A monocyte that expresses CD14 and is negative for CD3, CD19, and CD20.", "A monocyte that expresses CD14."),
        ("Cells are lineage negative (CD3-negative, CD19-negative).", "Cells are lineage negative."),
        ("A CD4-positive, CD8-negative cell.", "A CD4-positive, cell."),
        ("A cell that lacks CD56. It secretes insulin.", "A cell. It secretes insulin."),
        ("A cell that secretes glucagon.", "A cell that secretes glucagon."),
    ],
)
def test_what_a_type_lacks_is_not_asked_about(definition, left):
    assert affirmed(definition) == left


@pytest.mark.real
@pytest.mark.slow
def test_names_alone_do_better_than_the_largest_type_on_blood(real_data, tmp_path, facts_cache):
    adata = anndata.read_h5ad(real_data / "cells" / "pbmc3k_counts_labelled.h5ad")
    true = adata.obs["cell_type"].astype(str).to_numpy()
    index = build("human", encoder="lexical", source="facts", offline=True, root=facts_cache).index
    done = annotate(adata, sorted(set(true)), index, shuffles=0, root=tmp_path)
    assert metrics.balanced_accuracy(true, done.labels) > 2 / len(set(true))
    assert metrics.accuracy(true[true == "B cells"], done.labels[true == "B cells"]) > 0.8


@pytest.mark.parametrize("word", ["Unknown", "unassigned", "nan", "N/A", "", "  ", "-", None, np.nan])
def test_names_that_mean_no_type_are_left_out_and_it_is_said(word, caplog):
    with caplog.at_level(logging.WARNING, "genetext"):
        types = CellTypes.of(["B cell", word, "T cell"])
    assert types.names == ("B cell", "T cell")
    assert len(types.definitions) == len(types.synonyms) == len(types.terms) == 2
    assert "left out of the types" in caplog.text
    with pytest.raises(CellsError, match="there are no types: .* mean that a cell has none"):
        CellTypes.of([word])


def test_a_column_of_the_users_is_not_replaced(cells, index):
    before = cells.obs["kind"].copy()
    with pytest.raises(CellsError, match=r"obs\['kind'\] is a column that annotate did not write"):
        annotate(cells, TYPES, index, key_added="kind")
    assert cells.obs["kind"].equals(before)
    for _ in range(2):  # its own it writes anew
        annotate(cells, TYPES, index, shuffles=0)


def test_cells_without_a_group_get_no_label_and_change_no_other(cells, index, caplog):
    groups = cells.obs["kind"].astype(str).to_numpy(object)
    groups[[0, 7]] = "Unknown", None
    with caplog.at_level("WARNING", "genetext"):
        given = annotate(cells, TYPES, index, groups=groups, copy=True, lam=0, shuffles=3)
    assert "groups: 1 cells are taken as not labelled (1 'Unknown')" in caplog.text
    inside = np.delete(np.arange(cells.n_obs), [0, 7])
    alone = annotate(cells[inside].copy(), TYPES, index, groups=groups[inside], lam=0, shuffles=3)
    assert given.labels[[0, 7]].tolist() == [None, None]
    assert given.labels[inside].tolist() == alone.labels.tolist()
    np.testing.assert_array_equal(given.confidence[inside], alone.confidence)
    with pytest.raises(CellsError, match="no cell has a group in groups"):
        annotate(cells, TYPES, index, groups=np.full(cells.n_obs, "nan"), copy=True)


@pytest.mark.parametrize("name", ["B\x00cell", "T\ncell", "\x1b[31mNK", 7, b"B"])
def test_names_that_are_no_text_are_refused(name):
    with pytest.raises(CellsError, match="control characters"):
        CellTypes(("monocyte", name))


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"graphs": [{"nodes": [{"id": "a", "lbl": 7}]}]}',
        '{"graphs": [{"nodes": [{"id": "a", "lbl": "x", "meta": {"definition": {"val": ["y"]}}}]}]}',
        '{"CL:1": {"label": "x", "synonyms": [1]}}',
        '{"CL:1": {"label": {"en": "x"}}}',
        "7",
        '{"graphs": 7}',
        '{"graphs": [7]}',
    ],
)
def test_an_ontology_of_another_form_is_said_in_a_sentence(content, tmp_path):
    path = tmp_path / "cl.json"
    path.write_text(content)
    with pytest.raises(CellsError, match=r"cl\.json"):
        CellTypes.of(["x"]).with_ontology(path)
    (tmp_path / "cl.json").write_bytes(gzip.compress(b"{}")[:-9])
    with pytest.raises(CellsError, match="cannot be read as JSON"):
        CellTypes.of(["x"]).with_ontology(path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["graphs", "nodes", "id", "lbl", "meta", "label", "synonyms", "val", "CL:1"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_terms_or_one_error(value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cl.json"
        path.write_text(json.dumps(value))
        try:
            terms = read_ontology(path)
        except CellsError:
            return
        assert all(isinstance(text, str) for term in terms.values() for text in term.texts)
