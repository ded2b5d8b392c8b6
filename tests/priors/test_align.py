"""Names of all kinds to rows of an index, and nothing that is not there made up."""

import copy
import gc
import pickle

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genetext.errors import PriorsError, ResolveError, TooFewMatched
from genetext.index import GeneIndex
from genetext.priors import GenePriors
from genetext.text.snapshot import Snapshot

SAME_IN_EVERY_CASE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MIXED = ["TP53", "ENSG00000122375.12", "94233", "SEPT2", "ROR1", "AIM1", "C9orf152", "nonsense", "", "Opn4"]


def vector(species: str, symbol: str) -> np.ndarray:
    index = GeneIndex.open(f"{species}/test")
    row = index.genes.set_index("symbol")["row"][symbol]
    return np.array(index.matrix[row])


def data(names, **var) -> anndata.AnnData:
    return anndata.AnnData(
        np.ones((2, len(names)), np.float32), var=pd.DataFrame(var, index=pd.Index(names, dtype=str))
    )


def test_names_of_every_kind_in_one_list(human):
    priors = human.align(MIXED, species="human")
    expected = ["symbol", "ensembl", "gene_id", "synonym", "symbol", "ambiguous", "no text", *["unknown"] * 3]
    assert priors.status.tolist() == expected
    assert priors.mask.tolist() == [True] * 5 + [False] * 5
    assert priors.gene_ids.tolist() == [7157, 94233, 94233, 4735, 4919, 0, 401546, 0, 0, 0]
    assert priors.vectors.dtype == np.float32
    assert priors.vectors.shape == (10, human.dim)
    for row, symbol in enumerate(["TP53", "OPN4", "OPN4", "SEPTIN2", "ROR1"]):
        assert np.array_equal(priors.vectors[row], vector("human", symbol)), symbol
    assert not priors.vectors[5:].any()
    assert priors.fingerprint == GeneIndex.open("human/test").fingerprint


def test_a_third_lost_is_said_in_words_numbers_and_names(human):
    report = human.align(MIXED, species="human").report
    text = str(report)
    assert "5 of 10 human genes (50.0 %) have a vector in human/test\n" in text
    assert "no text (of another type than protein-coding, or nothing is known): C9orf152" in text
    assert "unknown (not in the snapshot): nonsense" in text
    assert "unknown (missing): (empty)" in text
    assert "unknown (other species): Opn4" in text
    assert report.counts["unknown"] == 3
    assert report.n_repeated == 1
    frame = report.to_frame()
    assert frame["gene_id"].isna().sum() == 4
    assert frame["has_vector"].sum() == report.n_matched == 5
    assert {lost["name"]: lost["status"] for lost in report.to_json()["unmatched"]} == {
        "AIM1": "ambiguous",
        "C9orf152": "no text",
        "nonsense": "unknown",
        "": "unknown",
        "Opn4": "unknown",
    }


@pytest.mark.parametrize("policy", ["mask", "zero", "mean"])
def test_missing_genes_are_masked_whatever_stands_in_their_row(human, policy):
    priors = human.align(MIXED, species="human", missing=policy)
    assert not priors.mask[5:].any()
    if policy == "mean":
        distinct = np.stack([vector("human", symbol) for symbol in ("TP53", "OPN4", "SEPTIN2", "ROR1")])
        assert np.allclose(priors.vectors[5:], distinct.mean(axis=0), atol=1e-6)
    else:
        assert not priors.vectors[5:].any()
    assert policy in priors.description


def test_missing_error_names_the_first_ten_and_counts(human):
    with pytest.raises(PriorsError, match=r"13 of 14 genes have no vector .*JUNK0 \(unknown\).*JUNK9.* and 3 more"):
        human.align(["TP53", *[f"JUNK{i}" for i in range(13)]], species="human", missing="error")
    assert human.align(["TP53", "RHO"], species="human", missing="error").mask.all()


def test_mouse_symbols_are_never_made_human_ones_by_their_case(human):
    with pytest.raises(PriorsError, match="no gene of the data has a vector"):
        human.align(["Tp53", "Opn4", "Gapdh", "rho"], species="human")


def test_mouse_data_take_the_vectors_of_their_one_to_one_orthologs(human):
    names = ["Opn4", "Trp53", "Pax6", "ENSMUSG00000030324", "Ins1", "Hba-a1", "Gm5493", "Xist"]
    priors = human.align(names)
    assert priors.report.species == "mouse"
    assert priors.status[:4].tolist() == ["ortholog"] * 4
    assert priors.mask.tolist() == [True] * 4 + [False] * 4
    for row, symbol in enumerate(["OPN4", "TP53", "PAX6", "RHO"]):
        assert np.array_equal(priors.vectors[row], vector("human", symbol)), symbol
    # Two mouse insulins for one human gene, one mouse globin for two: no one-to-one ortholog, and no guess.
    assert priors.status[4] == "ambiguous"
    assert priors.status[5] == "ambiguous"


def test_human_data_on_a_mouse_index(mouse):
    priors = mouse.align(["OPN4", "TP53", "PAX6", "ENSG00000163914", "GAPDH", "BRCA1", "XIST"])
    assert priors.report.species == "human"
    assert priors.status[:4].tolist() == ["ortholog"] * 4
    assert np.array_equal(priors.vectors[1], vector("mouse", "Trp53"))


def test_mouse_data_on_a_mouse_index_go_directly(mouse):
    priors = mouse.align(["Opn4", "Trp53", "Pax6", "ENSMUSG00000030324", "Gm5493"])
    assert priors.status.tolist() == ["symbol", "symbol", "symbol", "ensembl", "no text"]
    assert np.array_equal(priors.vectors[1], vector("mouse", "Trp53"))


def test_no_prior_is_aligned_like_a_prior(human):
    none = human.without().align(["Opn4", "Trp53", "junk"], species="mouse", min_match=0.5)
    assert (none.dim, none.n_matched, none.control) == (0, 0, "without")
    assert none.gene_ids.tolist() == human.align(["Opn4", "Trp53", "junk"], species="mouse").gene_ids.tolist()


def test_without_orthologs_another_species_is_refused(human):
    with pytest.raises(PriorsError, match="data are of mouse .* vectors of human"):
        human.align(["Opn4", "Trp53", "Pax6"], orthologs=False)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("gene_symbols", ["TP53", "OPN4", "RHO"]),
        ("feature_name", pd.Categorical(["TP53", "OPN4", "RHO"])),
        ("gene_ids", ["ENSG00000141510.19", "ENSG00000122375", "ENSG00000163914"]),
        ("Ensembl_ID", ["ENSG00000141510", "ENSG00000122375", "ENSG00000163914"]),
        ("ncbi_gene_ids", [7157, 94233, 6010]),
        ("entrez_id", [7157.0, 94233.0, 6010.0]),
    ],
)
@pytest.mark.parametrize("index", [["0", "1", "2"], ["a", "b", "c"]])
def test_names_are_found_where_people_keep_them(human, column, values, index):
    priors = human.align(data(index, **{column: values}))
    assert priors.report.column == f"var[{column!r}]"
    assert priors.gene_ids.tolist() == [7157, 94233, 6010]
    assert priors.var_names.tolist() == index


def test_the_column_with_the_most_genes_wins_and_var_names_win_a_tie(human):
    adata = data(
        ["TP53", "RP11-1A1.1", "RP11-1A1.2"],
        gene_ids=["ENSG00000141510", "ENSG00000122375", "ENSG00000163914"],
        symbol=["TP53", "OPN4", "RHO"],
    )
    report = human.align(adata, species="human").report
    assert report.column == "var['symbol']"
    assert report.considered == {"var_names": 1, "var['symbol']": 3, "var['gene_ids']": 3}
    adata.var_names = ["TP53", "OPN4", "RHO"]
    assert human.align(adata).report.column == "var_names"
    assert human.align(adata, column="gene_ids").report.column == "var['gene_ids']"
    with pytest.raises(ResolveError, match="no column 'ids'"):
        human.align(adata, column="ids")


def test_names_that_only_raw_still_has(human):
    adata = data(["a", "b", "c", "d"], gene_ids=["ENSG00000141510", "ENSG00000122375", "ENSG00000163914", "x"])
    adata.raw = adata.copy()
    adata = adata[:, ["c", "a"]].copy()
    del adata.var["gene_ids"]
    priors = human.align(adata)
    assert priors.report.column == "raw.var['gene_ids']"
    assert priors.gene_ids.tolist() == [6010, 7157]


def test_numbers_that_count_genes_are_not_taken_for_geneids(human):
    with pytest.raises(ResolveError, match="var_names are the numbers 0 to 9"):
        human.align(data([str(i) for i in range(10)]), species="human")
    whole = data([str(i) for i in range(8_000)])
    chosen = np.sort(np.append(np.random.default_rng(0).choice(8_000, 1_000, replace=False), 7157))
    for species in (None, "human"):
        with pytest.raises(ResolveError, match="may only count the genes"):
            human.align(whole[:, chosen], species=species)
    with pytest.raises(ResolveError, match="bare numbers"):
        human.align(whole[:, chosen], column="var_names")
    # Who says what the numbers are is believed.
    assert 7157 in human.align(whole[:, chosen], column="var_names", species="human").gene_ids


def test_duplicated_names_share_a_vector_and_are_counted(human):
    with pytest.warns(UserWarning, match="not unique"):
        adata = data(["TP53", "OPN4", "TP53"])
    priors = human.align(adata, species="human")
    assert np.array_equal(priors.vectors[0], priors.vectors[2])
    assert priors.report.n_repeated == 1


def test_names_that_went_through_r_count_only_where_the_caller_says_so(human):
    own = GenePriors.from_arrays(["MIR21", "TP53"], np.eye(2), species="human")
    names = ["hsa.mir.21", "TP53"]
    assert own.align(names, species="human").mask.tolist() == [False, True]
    assert own.align(names, species="human", r_names=True).mask.tolist() == [True, True]


def test_names_made_unique_count_only_where_the_caller_says_so(human):
    names = ["TP53", "TP53-1", "OPN4", "RHO"]
    assert human.align(names).mask.tolist() == [True, False, True, True]
    assert human.align(names, made_unique=True).mask.all()


@pytest.mark.parametrize("nothing", [[], data([]), pd.DataFrame(index=pd.Index([], dtype=str))])
def test_no_genes_give_no_rows(human, nothing):
    priors = human.align(nothing)
    assert priors.vectors.shape == (0, human.dim)
    assert str(priors.report).startswith("0 of 0 genes")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda priors: pickle.loads(pickle.dumps(priors))])
def test_aligned_priors_can_be_sent_to_other_processes(human, copied):
    priors = human.align(MIXED, species="human")
    back = copied(priors)
    assert np.array_equal(back.vectors, priors.vectors)
    pd.testing.assert_frame_equal(back.report.to_frame(nearest=False), priors.report.to_frame(nearest=False))
    assert str(back.report).splitlines()[0] == str(priors.report).splitlines()[0]


def test_min_match_stops_with_the_report(human):
    with pytest.raises(TooFewMatched, match=r"(?s)5 of 10 names have a vector in human/test, .* least 60%.*: nonsense"):
        human.align(MIXED, species="human", min_match=0.6)
    assert human.align(MIXED, species="human", min_match=0.5).n_matched == 5
    with pytest.raises(ResolveError, match="0 to 1"):
        human.align(MIXED, min_match=50)


def test_wrong_policy_is_refused(human):
    with pytest.raises(PriorsError, match="mask, error, mean or zero"):
        human.align(MIXED, missing="random")


def test_one_string_is_not_a_list_of_names(human):
    with pytest.raises(ResolveError, match="one string"):
        human.align("TP53")


def test_a_genes_vector_does_not_depend_on_the_genes_beside_it(human):
    alone = human.align(["OPN4"], species="human")
    among = human.align([*MIXED, "OPN4"], species="human")
    assert np.array_equal(alone.vectors[0], among.vectors[-1])


NAMES = st.lists(st.sampled_from([*MIXED, *(f"EXTRA{i}" for i in range(30))]), min_size=1, max_size=40)


@SAME_IN_EVERY_CASE
@given(names=NAMES, seed=st.integers(0, 2**32 - 1))
def test_shuffling_and_duplicating_change_nothing_for_the_others(human, names, seed):
    names = ["RHO", "PAX6", "TP53", *names]
    order = np.random.default_rng(seed).permutation(len(names))
    plain = human.align(names, species="human", missing="mean")
    turned = human.align([names[i] for i in order], species="human", missing="mean")
    for step in (lambda p: p, GenePriors.center, lambda p: p.permuted(3), lambda p: p.random(3)):
        one, other = step(plain), step(turned)
        assert np.array_equal(one.vectors[order], other.vectors)
        assert np.array_equal(one.mask[order], other.mask)
    doubled = human.align([*names, *names], species="human", missing="mean").center().permuted(1)
    assert np.array_equal(doubled.vectors[: len(names)], plain.center().permuted(1).vectors)


@SAME_IN_EVERY_CASE
@given(junk=st.lists(st.text(max_size=8).map(lambda text: "junk " + text), max_size=10))
def test_junk_names_change_nothing_for_the_others(human, junk):
    names = ["RHO", "PAX6", "TP53", "EXTRA1"]
    with_junk = human.align([*junk, *names], species="human")
    assert not with_junk.mask[: len(junk)].any()
    for step in (lambda p: p, GenePriors.center, lambda p: p.permuted(3), lambda p: p.random(3)):
        one, other = step(with_junk), step(human.align(names, species="human"))
        assert np.array_equal(one.vectors[len(junk) :], other.vectors)


def test_vectors_outlive_the_index_they_came_from():
    vectors = GenePriors.open("human/test").vectors
    gc.collect()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert not vectors.flags.writeable


def test_opened_priors_are_those_of_the_index(human):
    index = GeneIndex.open("human/test")
    assert len(human) == len(index) == human.n_matched
    assert human.names[human.gene_ids == 94233].tolist() == ["OPN4"]
    assert human.species == "human"
    assert human.description == "human/test"


# -- somebody's own vectors -------------------------------------------------------------------------------------------


def test_own_vectors_by_exact_name():
    own = GenePriors.from_arrays(["TP53", "weird-1", "RHO"], np.eye(3))
    priors = own.align(["RHO", "rho", "weird-1", "Trp53"])
    assert priors.mask.tolist() == [True, False, True, False]
    assert priors.vectors[0].tolist() == [0, 0, 1]
    assert priors.status.tolist() == ["name", "unknown", "name", "unknown"]


def test_own_vectors_with_a_species_are_found_by_any_name_and_through_orthologs():
    own = GenePriors.from_arrays(["TP53", "weird-1", "RHO", "OPN4"], np.eye(4), species="human", source="mine")
    priors = own.align(["ENSG00000163914", "weird-1", "94233"], species="human")
    assert priors.status.tolist() == ["ensembl", "name", "gene_id"]
    assert priors.vectors.argmax(axis=1).tolist() == [2, 1, 3]
    mouse = own.align(["Trp53", "Opn4", "Rho"], species="mouse")
    assert mouse.status.tolist() == ["ortholog"] * 3
    assert mouse.vectors.argmax(axis=1).tolist() == [0, 3, 2]


def test_a_species_that_only_a_snapshot_knows(own_cache, monkeypatch):
    monkeypatch.setenv("GENETEXT_CACHE", str(own_cache))
    genes = pd.DataFrame({"gene_id": [101, 102], "symbol": ["Pax6", "Rho"], "ensembl_ids": [["ENSHGLG001"], []]})
    genes = genes.assign(
        id_tax_id=10181, name="", synonyms=[[], []], previous=[[], []], gene_type="", gene_groups=[[], []]
    )
    Snapshot.write(
        own_cache / "snapshots" / "naked-mole-rat" / "ncbi-test",
        tables={"genes": genes},
        content={
            "species": {"tax_id": 10181, "name": "naked-mole-rat", "latin": "Heterocephalus glaber"},
            "source": {"kind": "ncbi", "where": "test", "files": {}},
        },
    )
    own = GenePriors.from_arrays(["Pax6", "Rho"], np.eye(2), species="naked mole rat")
    priors = own.align(["ENSHGLG001", "102"], species="Heterocephalus glaber")
    assert priors.status.tolist() == ["ensembl", "gene_id"]
    assert priors.vectors.tolist() == [[1, 0], [0, 1]]


def test_of_two_own_names_of_one_gene_the_surer_one_counts(caplog):
    own = GenePriors.from_arrays(["SEPT2", "SEPTIN2"], np.eye(2), species="human")
    assert own.align(["4735"], species="human").vectors.tolist() == [[0, 1]]
    assert "SEPT2" in caplog.text
    assert own.align(["SEPT2", "SEPTIN2"], species="human").vectors.tolist() == [[0, 1], [0, 1]]


def test_the_second_name_is_masked_zeroed_and_said_and_the_callers_array_is_left_alone():
    vectors = np.ones((3, 2), np.float32)
    own = GenePriors.from_arrays(["SEPT2", "SEPTIN2", "RHO"], vectors, species="human")
    assert own.mask.tolist() == [False, True, True]
    assert own.status.tolist() == ["second name", "name", "name"]
    assert own.vectors.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert (vectors == 1).all()
    assert own.to_dict().keys() == {"SEPTIN2", "RHO"}
    adata = data(own.names)
    own.to_anndata(adata)
    assert GenePriors.from_anndata(adata).mask.tolist() == own.mask.tolist()


@pytest.mark.parametrize(
    ("names", "vectors", "message"),
    [
        (["A", "A"], np.eye(2), "each name may stand once"),
        (["A", "B"], np.eye(3), r"\(2, dim\), not \(3, 3\)"),
        (["A", "B"], np.array([[1.0, np.nan], [0, 1]]), "not finite: A"),
        (["A"], np.ones(1), "dim"),
    ],
)
def test_own_vectors_that_cannot_be(names, vectors, message):
    with pytest.raises(PriorsError, match=message):
        GenePriors.from_arrays(names, vectors)
