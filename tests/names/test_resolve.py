"""Names to genes: what matches, what does not, and what is said about it."""

import copy
import json
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genetext.names
from genetext.errors import ResolveError, TooFewMatched
from genetext.names import STATUSES, MatchReport, Resolver, resolve
from genetext.names.species_guess import species_of
from genetext.names.tables import CONTESTED, Glance
from genetext.text.facts import open_facts
from genetext.text.snapshot import Snapshot
from tests.factory import write_ncbi, write_snapshot

Snapshots = dict[str, Snapshot]


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Snapshots:
    folder = tmp_path_factory.mktemp("resolve")
    source = write_ncbi(folder / "ncbi")
    return {of: write_snapshot(folder / of, source=source, of=of) for of in ("human", "mouse", "zebrafish")}


@pytest.fixture(scope="module")
def human(snapshots: Snapshots) -> Resolver:
    return Resolver(snapshots["human"], others=[snapshots["mouse"], snapshots["zebrafish"]])


@pytest.fixture(scope="module")
def mouse(snapshots: Snapshots) -> Resolver:
    return Resolver(snapshots["mouse"], others=[snapshots["human"]])


def one(report: MatchReport, row: int = 0) -> tuple[int, str, str]:
    return int(report.gene_id[row]), report.symbol[row], report.status[row]


@pytest.mark.parametrize(
    ("name", "gene", "status"),
    [
        ("TP53", 7157, "symbol"),
        ("P53", 7157, "synonym"),
        ("7157", 7157, "gene_id"),
        (7157, 7157, "gene_id"),
        (np.int32(7157), 7157, "gene_id"),
        (7157.0, 7157, "gene_id"),
        ("7157.0", 7157, "gene_id"),
        ("GeneID:7157", 7157, "gene_id"),
        ("ENTREZ:7157", 7157, "gene_id"),
        ("ncbigene:7157", 7157, "gene_id"),
        ("ENSG00000141510", 7157, "ensembl"),
        ("ENSG00000141510.19", 7157, "ensembl"),
        ("ENSG00000141510.19_PAR_Y", 7157, "ensembl"),
        (b"TP53", 7157, "symbol"),
        ("  TP53\t", 7157, "symbol"),
        ("900001", 94233, "previous"),
        ("MELANOPSIN1", 94233, "previous"),
        ("900002", 4735, "previous"),
        ("LOC7157", 7157, "previous"),
        ("LOC100130705", 100130705, "symbol"),
        ("MT-CO1", 4512, "symbol"),
        ("COX1", 4512, "synonym"),
        ("bA470J20.2", 401546, "synonym"),
        ("GRCh38_TP53", 7157, "symbol"),
        ("hg19_ENSG00000141510.3", 7157, "ensembl"),
        ("GRCh38___TP53", 7157, "symbol"),
        ("ENSG00000999002", 100130705, "ensembl"),
    ],
)
def test_every_kind_of_name(human: Resolver, name: object, gene: int, status: str) -> None:
    report = human.resolve([name])
    assert (int(report.gene_id[0]), report.status[0], report.via[0]) == (gene, status, status)
    assert report.own_gene_id[0] == gene
    assert report.candidates[0] == ()


def test_kinds_may_stand_mixed(human: Resolver) -> None:
    report = human.resolve(["TP53", "7157", "ENSG00000141510.2", "P53", "nonsense"])
    assert report.gene_id.tolist() == [7157] * 4 + [0]
    assert report.status.tolist() == ["symbol", "gene_id", "ensembl", "synonym", "unknown"]
    assert (report.n_matched, report.n_genes, report.matched) == (4, 1, 0.8)
    assert report.shared == {7157: ["7157", "ENSG00000141510.2", "P53", "TP53"]}
    assert report.mask.tolist() == [True] * 4 + [False]


def test_a_current_symbol_wins_over_anothers_synonym(human: Resolver) -> None:
    assert one(human.resolve(["ROR1"])) == (4919, "ROR1", "symbol")


def test_a_synonym_of_several_genes_is_ambiguous_and_lists_all(human: Resolver) -> None:
    report = human.resolve(["AIM1", "HBH"])
    assert report.gene_id.tolist() == [0, 0]
    assert report.status.tolist() == ["ambiguous"] * 2
    assert report.candidates[0] == ((9212, "AURKB"), (51151, "SLC45A2"))
    assert report.candidates[1] == ((3039, "HBA1"), (3040, "HBA2"))
    assert "AIM1 (AURKB or SLC45A2)" in str(report)


@pytest.mark.parametrize(
    ("name", "reason", "note"),
    [
        ("Opn4", "other species", "a mouse symbol; did you mean species mouse?"),
        ("pax6a", "other species", "a zebrafish symbol"),
        ("22059", "other species", r"a GeneID of mouse \(Trp53\)"),
        ("GeneID:22059", "other species", "a GeneID of mouse"),
        ("ENSMUSG00000059552.3", "other species", "an Ensembl id of mouse"),
        ("ENSXYZG00000059552", "other species", "of another species"),
        ("mm10_Trp53", "other species", "the prefix says a gene of mouse"),
        ("GRCm39_TP53", "other species", "the prefix says a gene of mouse"),
        ("tp53", "other species", "a zebrafish symbol"),
        ("Tp53", "letter case", "differs in letter case from TP53"),
        ("OPN1sw", "letter case", "differs in letter case from OPN1SW"),
        ("ENSG00000000999", "unknown Ensembl id", "retired by Ensembl"),
        ("ENST00000269305.9", "no gene id", "an Ensembl id of a transcript"),
        ("900004", "withdrawn", "GeneID 900004 was withdrawn"),
        ("LOC900004", "withdrawn", "GeneID 900004 was withdrawn"),
        ("123456789", "unknown GeneID", "no gene of human has the GeneID 123456789"),
        ("ERCC-00002", "spike-in", "ERCC spike-in"),
        ("TP53-1", "made unique", "looks like a duplicate of TP53 "),
        ("P53.1", "made unique", r"looks like a duplicate of P53 \(TP53\)"),
        ("RP11-34P13.7", "clone or placeholder", "clone or prediction"),
        ("AC012345.1", "clone or placeholder", "clone or prediction"),
        ("2.31E+19", "spreadsheet number", "a number that a spreadsheet made"),
        *((null, "missing", "empty or null") for null in ("", None, float("nan"), pd.NA, "   ")),
        *((text, "missing", "a missing value") for text in ("-", "NA", "NaN", "nan", "None", "<NA>", "#N/A", "NA.1")),
        ("TP53 gene", "not in the snapshot", ""),
    ],
)
def test_a_name_without_a_gene_has_a_reason(human: Resolver, name: object, reason: str, note: str) -> None:
    report = human.resolve([name])
    assert one(report) == (0, "", "unknown")
    assert report.reason[0] == reason
    assert pd.Series([report.note[0]]).str.contains(note).all()
    assert report.reasons == {reason: 1}


@pytest.mark.parametrize(
    ("name", "likely"),
    [
        *((name, {"MARCHF1"}) for name in ("1-Mar", "01-Mar", "1-mar", "Mar-01", "1-Mar-20", "2020-03-01", "43891")),
        *((name, {"SEPTIN2"}) for name in ("Sep-02", "2-Sep", "2-Sept", "02-Sep", "2002-09-01", "2020-09-02 00:00:00")),
        ("3/1/2020", {"MARCHF1"}),
        ("44076", {"SEPTIN2"}),
        ("9-Apr", set()),
    ],
)
def test_dates_that_a_spreadsheet_made(human: Resolver, name: str, likely: set[str]) -> None:
    report = human.resolve([name])
    assert one(report) == (0, "", "unknown")
    assert report.reason[0] == "spreadsheet date"
    assert {symbol for _, symbol in report.candidates[0]} == likely


@pytest.mark.parametrize("name", ["2-\u017fep", "\u017fep-02", "\u0662-Sep"])
def test_letters_that_only_fold_to_those_of_a_month_are_no_date(human: Resolver, name: str) -> None:
    assert human.resolve([name]).reason[0] == "not in the snapshot"


def test_a_serial_number_of_no_gene_like_date_is_an_unknown_gene_id(human: Resolver) -> None:
    assert human.resolve(["43900"]).reason[0] == "unknown GeneID"


def test_case_is_never_changed_across_species(human: Resolver, mouse: Resolver) -> None:
    for resolver, names in ((human, ["Opn4", "Pax6", "Rho"]), (mouse, ["OPN4", "PAX6", "RHO"])):
        report = resolver.resolve(names)
        assert report.gene_id.tolist() == [0, 0, 0]
        assert set(report.reason) == {"other species"}
    assert mouse.resolve(["TP53"]).note[0] == "a human symbol; did you mean species human?"
    assert mouse.resolve(["Tp53"]).symbol[0] == "Trp53"


def test_made_unique_names_match_only_when_asked(human: Resolver) -> None:
    report = human.resolve(["TP53-1", "TP53.2", "AIM1-1", "7157-1", "TP53-100"], made_unique=True)
    assert report.gene_id.tolist() == [7157, 7157, 0, 0, 0]
    assert "a tool made unique" in report.note[0]


def test_a_field_with_several_names(human: Resolver) -> None:
    report = human.resolve(["7157|94233", "TP53;P53", "TP53///7157", "TP53,nonsense", "AIM1|TP53", "a|b", "|", "TP53|"])
    assert report.gene_id.tolist() == [0, 7157, 7157, 0, 0, 0, 0, 0]
    assert report.status.tolist() == ["ambiguous", "symbol", "symbol", *["ambiguous"] * 2, *["unknown"] * 3]
    assert report.candidates[0] == ((7157, "TP53"), (94233, "OPN4"))
    assert report.candidates[3] == ((7157, "TP53"),)
    assert len(report.candidates[4]) == 3
    assert report.reason[5] == "several names"


@pytest.mark.parametrize(
    ("name", "gene"),
    [
        *((name, 7157) for name in ("GRCh38-TP53", "hg19-TP53", "GRCh38---TP53", "GRCh38.p13_TP53", "GRCh38_TP53")),
        *((name, 7157) for name in ("TP53_ENSG00000141510", "ENSG00000141510_TP53", "ENSG00000141510.19-TP53")),
        *((name, 7157) for name in ("TP53 (7157)", "TP53|7157", "TP53 (GeneID:7157)", "GRCh38_ENSG00000141510_TP53")),
        *((name, 7157) for name in ("P53_ENSG00000141510", "ENSGR0000141510", "ENSGR0000141510.5")),
    ],
)
def test_prefixes_of_genomes_and_symbols_joined_with_ids(human: Resolver, name: str, gene: int) -> None:
    report = human.resolve([name])
    assert (int(report.gene_id[0]), report.mask[0]) == (gene, True)


@pytest.mark.parametrize(
    "name",
    [
        *("ENSG00000141510 (TP53)", "7157 (TP53)", "gene-TP53", "gene:ENSG00000141510.3", "HUMAN_TP53", "human-P53"),
        *("TP53...ENSG00000141510", "ENSG00000141510...TP53"),
        *('"TP53"', "TP53\u200b", "\ufeffTP53", "gene-7157"),
    ],
)
def test_names_as_the_files_of_the_field_write_them(human: Resolver, name: str) -> None:
    assert human.resolve([name]).gene_id.tolist() == [7157]


def test_hyphens_of_another_kind_are_hyphens(human: Resolver) -> None:
    assert human.resolve(["MT\u2011CO1", "MT\u2010CO1"]).gene_id.tolist() == [4512, 4512]


@pytest.mark.parametrize("prefix", ["GRCh38_", "hg19-", "HUMAN_"])
@pytest.mark.parametrize(
    "name", ["tp53", "Opn4", "ERCC-00002", "1-Mar", "TP53-1", "NegPrb1", "NA", "900004", "ENST00000269305.9", "Zzz"]
)
def test_a_prefix_of_the_genome_hides_no_reason(human: Resolver, prefix: str, name: str) -> None:
    bare, prefixed = human.resolve([name]), human.resolve([prefix + name])
    assert prefixed.reason.tolist() == bare.reason.tolist()
    assert prefixed.note[0].endswith(bare.note[0])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_reports_can_be_sent_to_other_processes(human: Resolver, copied: Callable[[Any], Any]) -> None:
    report = human.resolve(["TP53", "NOPE1", "Opn4"])
    back = copied(report)
    pd.testing.assert_frame_equal(back.to_frame(nearest=False), report.to_frame(nearest=False))
    assert str(back).startswith("3 names of human")
    assert len(pickle.dumps(report)) < 5_000
    assert copied(human).resolve(["TP53", "Opn4"]).reason.tolist() == ["", "other species"]


@pytest.mark.parametrize(
    "name", ["OPN4_ENSG00000141510", "ENSG00000141510.1-OPN4", "OPN4 (7157)", "OPN4_ENSG00009999999"]
)
def test_a_symbol_and_an_id_that_disagree_have_a_reason_of_their_own(human: Resolver, name: str) -> None:
    report = human.resolve([name])
    assert (report.status[0], report.reason[0]) == ("unknown", "symbol and id")
    assert (94233, "OPN4") in report.candidates[0]


@pytest.mark.parametrize(
    ("reason", "names"),
    [
        ("other species", ["mm10---Trp53", "GRCm39-Trp53"]),
        ("other database", ["HGNC:11998", "MGI:98834", "UniProtKB:P04637", "P04637", "1007_s_at", "ILMN_1779356"]),
        ("other database", ["hgnc:11998", "mgi:98834"]),
        ("no gene id", ["nm_000546.6", "XR_001.1"]),
        ("made unique", ["TP53_1", "P53_12"]),
        ("no gene id", ["NM_000546.6", "NP_000537", "XR_001234567.1", "ENST00000269305", "ENSP00000269305.4"]),
        (
            "control probe",
            ["NegPrb", "NegPrb12", "BLANK-1", "Blank-12", "BLANK_0001", "NegControlProbe_00042", "Negative 3"],
        ),
        ("control probe", ["SystemControl7", "antisense_PROKR2", "NegControlCodeword_0500", "UnassignedCodeword_0001"]),
        (
            "antibody or hashtag",
            ["CD3_TotalSeqB", "CD4_TotalSeqC-1", "CD8a-TotalSeqA", "Hashtag1", "HTO_A", "ADT-CD19", "CMO301"],
        ),
        ("spike-in", ["ERCC-00002", "ERCC.00002"]),
    ],
)
def test_names_that_are_no_genes_by_their_form_have_a_reason(human: Resolver, reason: str, names: list[str]) -> None:
    report = human.resolve(names)
    assert report.reason.tolist() == [reason] * len(names)
    assert all(report.note)


def test_a_symbol_nearly_so_is_nearer_than_an_accession_of_the_same_form(tmp_path: Path) -> None:
    resolver = Resolver(_snapshot(tmp_path / "s", [_gene(1, "P2RY11"), _gene(2, "H2AC13")]), others=())
    report = resolver.resolve(["P2RY15", "H2AC18", "P04637"])
    assert report.reason.tolist() == ["not in the snapshot", "not in the snapshot", "other database"]
    assert [report.nearest(name) for name in report.names] == [("P2RY11",), ("H2AC13",), ()]


NULLS = st.sampled_from(
    [
        "NA",
        "na",
        "NaN",
        "nan",
        "None",
        "NULL",
        "null",
        "<NA>",
        "#N/A",
        "n/a",
        "-",
        "",
        "NaT",
        "#NAME?",
        "nil",
        "missing",
    ]
)


@settings(deadline=None)
@given(null=NULLS, suffix=st.from_regex(r"([-._][0-9]{1,3}){0,2}", fullmatch=True))
def test_missing_values_in_any_written_form_are_no_genes(null: str, suffix: str) -> None:
    for resolver in (_shipped("human"), _shipped("mouse")):
        report = resolver.resolve([f"{null}{suffix}", "TP53"], made_unique=True, r_names=True)
        assert (report.status[0], report.reason[0], report.gene_id[0]) == ("unknown", "missing", 0)


@cache
def _shipped(of: str) -> Resolver:
    return Resolver(open_facts(genetext.species.find(of)), others=())


@settings(max_examples=200, deadline=None)
@given(
    name=st.text(max_size=30)
    | st.from_regex(r"[-_.|;(]{0,9}(NA|ENSG|TP53|hg19|GRCh38|blank|neg|9+)[-_. ()|:0-9]{0,40}")
)
def test_no_text_raises_at_any_door(name: str) -> None:
    resolver = _shipped("human")
    report = resolver.resolve([name, name.encode(errors="replace"), float("inf"), 10**5_000, 1e300])
    assert len(report.to_frame()) == 5
    assert str(report) and json.dumps(report.to_json()).encode()
    assert isinstance(resolver.nearest(name), tuple)


def test_names_that_went_through_r_match_only_when_asked(tmp_path: Path) -> None:
    genes = [
        _gene(1, "HLA-A"),
        _gene(2, "NKX6-1"),
        _gene(3, "OTHER", synonyms=["NKX6.1", "A.B"]),
        _gene(4, "1110059E24Rik"),
        _gene(5, "X-Y"),
        _gene(6, "X/Y"),
    ]
    resolver = Resolver(_snapshot(tmp_path / "s", genes), others=())
    names = ["HLA.A", "NKX6.1", "A.B", "X1110059E24Rik", "X.Y", "HLA-A", "HLA.B"]
    plain = resolver.resolve(names)
    assert plain.gene_id.tolist() == [0, 3, 3, 0, 0, 1, 0]
    assert plain.reason.tolist() == ["name in R", "", "", "name in R", "name in R", "", "not in the snapshot"]
    assert plain.note[0] == "HLA-A as R's make.names writes it; r_names=True counts it so"
    asked = resolver.resolve(names, r_names=True)
    assert asked.gene_id.tolist() == [1, 2, 3, 4, 0, 1, 0]
    assert asked.status.tolist() == [*["symbol"] * 2, "synonym", "symbol", "ambiguous", "symbol", "unknown"]
    assert asked.candidates[4] == ((5, "X-Y"), (6, "X/Y"))


def test_a_former_symbol_wins_over_synonyms_and_says_so(tmp_path: Path) -> None:
    genes = [
        _gene(1, "SEPTIN2", previous=["SEPT2", "BOTH"]),
        _gene(2, "SEPTIN6", synonyms=["SEPT2"]),
        _gene(3, "THIRD", previous=["BOTH"], synonyms=["THIRD", "-", ""]),
    ]
    resolver = Resolver(_snapshot(tmp_path / "s", genes), others=())
    report = resolver.resolve(["SEPT2", "BOTH", "THIRD", "-"])
    assert report.gene_id.tolist() == [1, 0, 3, 0]
    assert report.status.tolist() == ["previous", "ambiguous", "symbol", "unknown"]
    assert report.note[0] == "a former symbol; also a synonym of SEPTIN6"
    assert "other genes have the name too: SEPT2 (SEPTIN2)" in str(report)


def test_an_ensembl_id_of_several_genes(tmp_path: Path) -> None:
    ids = [f"ENSG0000000000{number}" for number in range(4)]
    genes = [
        _gene(1, "MCL1", ensembl=ids[:2]),
        _gene(2, "MCL1-AS1", kind="ncRNA", ensembl=[ids[0]]),
        _gene(3, "LOC3", ensembl=[ids[1], ids[3]]),
        _gene(4, "A", ensembl=[ids[2]]),
        _gene(5, "B", ensembl=[ids[2]]),
        _gene(6, "LOC6", ensembl=[ids[3]]),
    ]
    resolver = Resolver(_snapshot(tmp_path / "s", genes), others=())
    report = resolver.resolve([ids[0] + ".7", *ids])
    assert report.gene_id.tolist() == [1, 1, 1, 0, 0]
    assert report.reason.tolist() == [CONTESTED] * 3 + [""] * 2
    assert report.note[0] == "NCBI gives this Ensembl id to MCL1-AS1 too"
    assert report.candidates[3] == ((4, "A"), (5, "B"))


def test_two_genes_with_one_current_symbol_or_ensembl_id_are_ambiguous(tmp_path: Path) -> None:
    genes = [_gene(1, "A", ensembl=["ENSG00000000001"]), _gene(2, "A", ensembl=["ENSG00000000001"])]
    report = Resolver(_snapshot(tmp_path / "s", genes), others=()).resolve(["A", "ENSG00000000001.3"])
    assert report.status.tolist() == ["ambiguous"] * 2
    assert report.candidates.tolist() == [((1, "A"), (2, "A"))] * 2


def test_a_borrowed_gene_id_is_no_gene_id_of_the_species(tmp_path: Path) -> None:
    genes = [_gene(159, "Adss2", of=9606), _gene(11565, "Adssl1", of=10090)]
    snapshot = _snapshot(tmp_path / "s", genes, tax_id=10090, name="mouse")
    report = Resolver(snapshot, others=()).resolve(["159", "11565", "Adss2"])
    assert report.gene_id.tolist() == [0, 11565, 159]
    assert "human ortholog" in report.note[2]


def test_nearest_names(human: Resolver) -> None:
    assert human.nearest("opn-4") == ("OPN4",)
    assert human.nearest("GAPDN") == ("GAPDH", "GAPD")
    assert human.nearest("RORB") == ("ROR1", "RORA")
    assert human.nearest("RP11-34P13.7") == ()
    assert human.nearest("completely else") == ()
    frame = human.resolve(["GAPDN", "GAPDH"]).to_frame()
    assert frame["nearest"].tolist() == ["GAPDH|GAPD", ""]
    assert human.resolve(["GAPDN"]).to_frame(nearest=False)["nearest"].tolist() == [""]


def test_mouse_to_human_through_one_to_one_orthologs(mouse: Resolver) -> None:
    names = ["Opn4", "ENSMUSG00000059552", "Rho", "Ins2", "Hba-a1", "Gm5493", "30044", "nonsense"]
    report = mouse.resolve(names, to="human")
    assert report.gene_id.tolist() == [94233, 7157, 6010, 0, 0, 0, 94233, 0]
    assert report.symbol.tolist() == ["OPN4", "TP53", "RHO", "", "", "", "OPN4", ""]
    assert report.status.tolist() == ["ortholog"] * 3 + ["ambiguous", "ambiguous", "unknown", "ortholog", "unknown"]
    assert report.via.tolist() == ["symbol", "ensembl", "symbol", "symbol", "symbol", "symbol", "gene_id", ""]
    assert report.own_gene_id.tolist() == [30044, 22059, 212541, 16334, 15122, 433023, 30044, 0]
    assert report.candidates[3] == ((3630, "INS"),)
    assert report.candidates[4] == ((3039, "HBA1"), (3040, "HBA2"))
    assert report.note[5] == "no human ortholog of Gm5493 is known"
    assert (report.species, report.target) == ("mouse", "human")
    assert report.to_frame()["own_gene_id"].tolist()[:2] == [30044, 22059]
    assert "as genes of human" in str(report)


def test_human_to_mouse_goes_the_other_way_round(human: Resolver, snapshots: Snapshots) -> None:
    report = human.resolve(["OPN4", "INS", "HBA1"], to="mouse", target=snapshots["mouse"])
    assert report.gene_id.tolist() == [30044, 0, 0]
    assert report.symbol[0] == "Opn4"
    assert report.candidates[1] == ((16333, "Ins1"), (16334, "Ins2"))


def test_orthologs_that_there_are_not(mouse: Resolver, human: Resolver, snapshots: Snapshots, tmp_path: Path) -> None:
    with pytest.raises(ResolveError, match="from mouse to zebrafish: NCBI relates each species to human"):
        mouse.resolve(["Opn4"], to="zebrafish")
    bare = Resolver(_snapshot(tmp_path / "s", [_gene(1, "Opn4", of=10090)], tax_id=10090, name="mouse"), others=())
    with pytest.raises(ResolveError, match="no orthologs between mouse and human"):
        bare.resolve(["Opn4"], to="human")
    assert human.resolve(["OPN4"], to="human").status[0] == "symbol"


def test_min_match_stops_with_the_report(human: Resolver) -> None:
    names = ["TP53", "Opn4", "Trp53", "nonsense"]
    with pytest.raises(TooFewMatched, match=r"1 of 4 names have a gene, and at least 50% must") as caught:
        human.resolve(names, min_match=0.5)
    report = caught.value.report
    assert isinstance(report, MatchReport)
    assert str(report) in str(caught.value)
    assert human.resolve(names, min_match=0.25).matched == 0.25
    with pytest.raises(ResolveError, match="0 to 1, not 50"):
        human.resolve(names, min_match=50)


def test_what_is_no_list_of_names(human: Resolver) -> None:
    for wrong in ("TP53", b"TP53"):
        with pytest.raises(ResolveError, match="is one string"):
            human.resolve(wrong)
    with pytest.raises(ResolveError, match=r"adata\.var_names"):
        human.resolve(pd.DataFrame({"a": ["TP53"]}))
    assert len(human.resolve([])) == 0
    assert human.resolve([]).matched == 0.0
    assert human.resolve([]).to_frame().empty
    assert "0 names" in str(human.resolve([]))


def test_any_iterable_of_names(human: Resolver) -> None:
    expected = human.resolve(["TP53", "OPN4"]).gene_id.tolist()
    for names in (
        np.array(["TP53", "OPN4"]),
        pd.Index(["TP53", "OPN4"]),
        pd.Series(["TP53", "OPN4"], dtype="category"),
    ):
        assert human.resolve(names).gene_id.tolist() == expected
    assert human.resolve(name for name in ("TP53", "OPN4")).gene_id.tolist() == expected
    assert human.resolve(pd.Series([7157, None], dtype="Int64")).gene_id.tolist() == [7157, 0]
    assert human.resolve(np.array([7157.0, np.nan])).gene_id.tolist() == [7157, 0]


@pytest.mark.parametrize(
    "name",
    [
        *("A" * 100_000, "hg19_" * 3_000 + "TP53", "RP11-" * 20_000, "1" * 100_000, "A-" * 50_000, "|" * 100_000),
        *(
            "A|" * 2_000,
            "." * 100_000,
            "GeneID:" + "9" * 5_000,
            "9" * 5_000 + ".0",
            "hg" + "1." * 50_000,
            "E+" * 10_000,
        ),
        *("\u0667\u0661\u0665\u0667", "GeneID:\u0667\u0661\u0665\u0667", "LOC\u00b2", "\x00", "\ud800"),
    ],
    ids=lambda name: ascii(name[:12]),
)
def test_no_string_is_too_strange(human: Resolver, tmp_path: Path, name: str) -> None:
    report = human.resolve([name, "TP53"], made_unique=True, r_names=True)
    assert report.status.tolist() == ["unknown", "symbol"]
    assert len(str(report)) < 500
    report.write_tsv(tmp_path / "report.tsv")
    assert "TP53" in (tmp_path / "report.tsv").read_text(encoding="utf-8")


# -- the report -----------------------------------------------------------------------------------------------------


def test_the_report_as_text_frame_json_and_tsv(human: Resolver, tmp_path: Path) -> None:
    names = ["TP53", "P53", "AIM1", "Opn4", "1-Mar", "GAPDN", "TP53"]
    report = human.resolve(names)
    assert str(report).splitlines() == [
        "7 names of human: 3 matched (42.9 %), 1 gene",
        "names by the snapshot human (from ncbi)",
        "        2   28.6 %  symbol",
        "        1   14.3 %  synonym: P53 (TP53)",
        "        1   14.3 %  ambiguous: AIM1 (AURKB or SLC45A2)",
        "        1   14.3 %  unknown (not in the snapshot): GAPDN (GAPDH or GAPD?)",
        "        1   14.3 %  unknown (other species): Opn4 (OPN4?)",
        "        1   14.3 %  unknown (spreadsheet date): 1-Mar (MARCHF1)",
        "  2 names mean a gene that another name means too: P53 = TP53",
    ]
    frame = report.to_frame()
    assert frame["gene_id"].tolist()[:2] == [7157, 7157]
    assert frame["gene_id"].isna().tolist() == [False, False, True, True, True, True, False]
    assert frame.loc[2, "candidates"] == "AURKB (9212)|SLC45A2 (51151)"
    value = json.loads(json.dumps(report.to_json()))
    assert value["counts"] == {"symbol": 2, "synonym": 1, "ambiguous": 1, "unknown": 3}
    assert [lost["name"] for lost in value["unmatched"]] == ["AIM1", "Opn4", "1-Mar", "GAPDN"]
    report.write_json(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == value
    report.write_tsv(tmp_path / "report.tsv")
    again = pd.read_csv(
        tmp_path / "report.tsv", sep="\t", dtype={"gene_id": "Int64"}, keep_default_na=False, na_values={"gene_id": ""}
    )
    assert again["gene_id"].tolist()[:2] == [7157, 7157]
    assert again["note"].tolist() == frame["note"].tolist()


def test_ten_names_of_each_kind_are_shown_and_the_rest_counted(human: Resolver) -> None:
    text = str(human.resolve([f"nonsense{number}" for number in range(25)]))
    assert "nonsense9 and 15 more" in text
    assert "nonsense10" not in text


def test_a_report_does_not_change(human: Resolver) -> None:
    with pytest.raises(AttributeError):
        human.resolve(["TP53"]).species = "mouse"  # type: ignore[misc]


# -- what the list around a name must not change ----------------------------------------------------------------------

NAMES = ["TP53", "P53", "AIM1", "Opn4", "1-Mar", "ENSG00000141510.2", "7157", "900001", "TP53-1", "ROR1", "GRCh38_INS"]
JUNK = st.one_of(
    st.text(max_size=12),
    st.none(),
    st.floats(),
    st.integers(),
    st.from_regex(r"[A-Z]{1,4}[0-9]{0,3}[-.]?[0-9a-z]{0,2}", fullmatch=True),
    st.sampled_from(
        ["ERCC-00004", "MT-", "-", ".", "ENSG", "ENSG1.", "GRCh38_", "LOC", "E+1", "hg19__", "1/1/1", "\x00"]
    ),
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_shuffling_duplicating_and_junk_change_nothing_for_the_others(human: Resolver, data: st.DataObject) -> None:
    alone = dict(zip(NAMES, human.resolve(NAMES).to_frame().itertuples(index=False), strict=True))
    junk = data.draw(st.lists(JUNK, max_size=8))
    mixed = data.draw(st.permutations([*NAMES, *data.draw(st.lists(st.sampled_from(NAMES), max_size=5)), *junk]))
    report = human.resolve(mixed, made_unique=False)
    assert len(report) == len(mixed)
    for name, row in zip(report.names, report.to_frame().itertuples(index=False), strict=True):
        assert name not in alone or str(row) == str(alone[name])
    assert set(report.status) <= set(STATUSES)
    assert ((report.gene_id != 0) == ~np.isin(report.status, ["ambiguous", "unknown"])).all()
    assert str(report)


@settings(max_examples=100, deadline=None)
@given(names=st.lists(JUNK, max_size=30))
def test_only_genes_of_the_species_are_ever_given(snapshots: Snapshots, human: Resolver, names: list[object]) -> None:
    everything = [*names, *snapshots["mouse"].genes["symbol"], *snapshots["mouse"].genes["gene_id"]]
    ids = set(human.resolve(everything).gene_id.tolist()) - {0}
    assert ids <= set(snapshots["human"].genes["gene_id"])


# -- which species ----------------------------------------------------------------------------------------------------


def test_the_species_is_guessed_and_said(snapshots: Snapshots) -> None:
    choice = [Glance.of(snapshots[of]) for of in ("human", "mouse", "zebrafish")]
    for names, species, sentence in (
        (["TP53", "OPN4", "RHO", "junk"], "human", "3 of 4 names are evidence (human: 3 symbols"),
        (["Trp53", "Opn4", "Rho"], "mouse", "many symbols of rat look the same"),
        (["pax6a", "pax6b"], "zebrafish", "2 symbols"),
        (["ENSRNOG00000010756.5"], "rat", "1 Ensembl ids"),
        (["FBgn0003996"], "fruit-fly", "1 Ensembl ids"),
        (["GeneID:22059", "ENTREZ:30044"], "mouse", "2 GeneIDs"),
        (["mm10_Actb", "mm10_Zzz"], "mouse", "2 names with the prefix of a genome"),
        (["ENSG00000141510", "ENSG00000111640", "TP53"], "human", "2 Ensembl ids, 1 symbols"),
    ):
        guessed, evidence = species_of(names, choice)
        assert guessed.name == species
        assert sentence in evidence


def test_bare_numbers_decide_no_species_unless_their_column_says_what_they_are(snapshots: Snapshots) -> None:
    choice = [Glance.of(snapshots[of]) for of in ("human", "mouse")]
    with pytest.raises(ResolveError, match="name it .*; 2 are bare numbers"):
        species_of(["22059", "30044.0"], choice)
    with pytest.raises(ResolveError, match=r"only 1 of 4 names tell the species \(human: 1 symbols\)"):
        species_of(["22059", "30044", "30045", "TP53"], choice)
    guessed, evidence = species_of(["22059", "30044"], choice, gene_ids=True)
    assert guessed.name == "mouse"
    assert "2 GeneIDs" in evidence


def test_a_tie_or_too_little_evidence_asks(snapshots: Snapshots) -> None:
    choice = [Glance.of(snapshots[of]) for of in ("human", "mouse")]
    with pytest.raises(ResolveError, match=r"could be of human or of mouse .*: name it"):
        species_of(["GRCh38_TP53", "GRCh38_OPN4", "mm10_Trp53", "mm10_Opn4"], choice)
    with pytest.raises(ResolveError, match=r"none of the 2 names \(alpha, beta\) tells the species"):
        species_of(["alpha", "beta"], choice)
    with pytest.raises(ResolveError, match="only 1 of 4 names tell the species"):
        species_of(["TP53", "a", "b", "c"], choice)
    with pytest.raises(ResolveError, match="none of the 0 names"):
        species_of([], choice)


def test_resolve_by_what_ships_with_genetext() -> None:
    report = resolve(["TP53", "ENSG00000122375.12", "SEPT2", "nonsense"], "human")
    assert report.symbol.tolist() == ["TP53", "OPN4", "SEPTIN2", ""]
    assert report.guessed == ""
    report = genetext.resolve(["Opn4", "Trp53", "Rho"])
    assert report.species == "mouse"
    assert "species guessed: 3 of 3 names" in str(report)
    report = resolve(["Opn4", "Trp53", "Rho"], to="human")
    assert report.gene_id.tolist() == [94233, 7157, 6010]
    report = resolve(["Opn4", "TP53"], "human")
    assert report.note[0] == "a mouse symbol; did you mean species mouse?"


def test_resolve_prefers_the_newest_snapshot_in_the_cache(
    own_cache: Path, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_cache / "snapshots" / "human" / "ncbi-1"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(snapshots["human"].path)
    assert resolve(["TP53", "EGFR"], "human").gene_id.tolist() == [7157, 0]
    assert resolve(["TP53", "EGFR"], snapshot=open_facts(genetext.species.HUMAN)).gene_id.tolist() == [7157, 1956]


def test_resolve_refuses_what_cannot_be_meant(snapshots: Snapshots) -> None:
    with pytest.raises(ResolveError, match="no snapshot of zebrafish here.*genetext fetch --species zebrafish"):
        resolve(["pax6a"], "zebrafish")
    with pytest.raises(ResolveError, match="is of human, and species='mouse' was asked for"):
        resolve(["TP53"], "mouse", snapshot=snapshots["human"])
    assert resolve(["TP53"], "Homo sapiens", snapshot=snapshots["human"]).matched == 1


# -- real names -------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "column", "species", "least"),
    [
        ("pbmc3k_counts_labelled", None, "human", 0.84),
        ("pbmc3k_counts_labelled", "gene_ids", "human", 0.89),
        ("baron_human1_pancreas", None, "human", 0.96),
        ("human_retina_multiome_1000", None, "human", 0.78),
        ("human_retina_multiome_1000", "ncbi_gene_ids", "human", 0.6),
        ("ascend_hesc_rgc_imb", None, "human", 0.87),
        ("paul15_mouse_myeloid", None, "mouse", 0.80),
        ("zeisel2018_mousebrain_3types_1099", None, "mouse", 0.6),
        ("kang_pbmc_ifnb_labelled", None, "human", 0.85),
        ("sc_mixology_sc_celseq2_5cl_p1", None, "human", 0.90),
    ],
)
def test_real_data_sets(real_data: Path, file: str, column: str | None, species: str, least: float) -> None:
    import h5py
    from anndata.io import read_elem

    with h5py.File(real_data / "cells" / f"{file}.h5ad") as handle:
        var = read_elem(handle["var"])
    names = var.index if column is None else var[column]
    report = resolve(names, species if column == "ncbi_gene_ids" else None)
    print(f"\n{file} {column or 'var_names'}\n{report}")
    assert report.species == species
    assert report.matched >= least


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "column"),
    [
        ("pbmc3k_counts_labelled", "gene_ids"),
        ("ascend_hesc_rgc_imb", "ensembl_gene_id"),
        ("human_retina_multiome_1000", "ensembl_gene_id"),
    ],
)
def test_symbols_agree_with_the_ensembl_ids_beside_them(real_data: Path, file: str, column: str) -> None:
    import h5py
    from anndata.io import read_elem

    with h5py.File(real_data / "cells" / f"{file}.h5ad") as handle:
        var = read_elem(handle["var"])
    by_name, by_id = resolve(var.index, "human"), resolve(var[column], "human")
    both = by_name.mask & by_id.mask
    for status in ("symbol", "previous", "synonym"):
        rows = both & (by_name.status == status)
        agree = np.mean(by_name.gene_id[rows] == by_id.gene_id[rows]) if rows.any() else 1.0
        print(f"\n{file} {status}: {rows.sum():,} names, {agree:.2%} agree")
        assert agree > (0.99 if status != "synonym" else 0.95)
    contested = both & (by_name.reason == CONTESTED)
    agree = int(np.sum(by_name.gene_id[contested] == by_id.gene_id[contested]))
    print(f"{file} former symbols that others have as synonyms: {agree} of {contested.sum()} agree")
    assert agree >= 0.95 * contested.sum()


def _gene(
    gene_id: int,
    symbol: str,
    *,
    of: int = 9606,
    synonyms: list[str] | None = None,
    previous: list[str] | None = None,
    ensembl: list[str] | None = None,
    kind: str = "protein-coding",
) -> dict[str, object]:
    return {
        "gene_id": gene_id,
        "id_tax_id": of,
        "symbol": symbol,
        "name": "",
        "synonyms": synonyms or [],
        "previous": previous or [],
        "ensembl_ids": ensembl or [],
        "gene_type": kind,
        "gene_groups": [],
    }


def _snapshot(path: Path, genes: list[dict[str, object]], *, tax_id: int = 9606, name: str = "human") -> Snapshot:
    content = {"species": {"tax_id": tax_id, "name": name, "latin": ""}, "source": {"kind": "ncbi"}}
    return Snapshot.write(path, tables={"genes": pd.DataFrame(genes)}, content=content)
