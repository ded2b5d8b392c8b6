import hashlib
import random
import re

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genetext import species
from genetext.errors import TextError
from genetext.text import hygiene, parse
from genetext.text.compose import COLUMNS, SOURCES, Template, compose, is_informative
from genetext.text.designations import telling
from genetext.text.sections import DEFAULT, OF_THE_SNAPSHOT
from genetext.text.snapshot import SCHEMAS, Snapshot
from tests.factory import edit_summaries, write_ncbi, write_snapshot

TAIL = re.compile(r"\[\s*(?:provided|supplied) by", re.IGNORECASE)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshots")
    source = write_ncbi(folder / "ncbi")
    return {of: write_snapshot(folder / of, source=source, of=of) for of in ("human", "mouse", "zebrafish")}


def by_symbol(texts):
    return texts.frame.set_index("symbol")


def small_snapshot(path, *, genes, summaries=(), go=(), orthologs=(), designations=(), tax_id=9606):
    """Write a snapshot of rows given as dictionaries; what they leave out is empty."""
    known = species.find(tax_id)
    empty = {pa.types.is_list: [], pa.types.is_string: "", pa.types.is_integer: 0, pa.types.is_boolean: False}
    tables = {}
    given = {"genes": genes, "summaries": summaries, "go": go, "orthologs": orthologs, "designations": designations}
    for name, rows in given.items():
        full = [
            {
                field.name: row.get(field.name, next(value for test, value in empty.items() if test(field.type)))
                for field in SCHEMAS[name]
            }
            for row in rows
        ]
        tables[name] = pa.Table.from_pylist(full, schema=SCHEMAS[name])
    content = {
        "species": {"tax_id": known.tax_id, "name": known.name, "latin": known.latin},
        "source": {"kind": "test"},
    }
    return Snapshot.write(path, tables=tables, content=content)


def test_a_text_is_a_heading_and_the_summary(snapshots):
    texts = by_symbol(compose(snapshots["human"]))
    assert texts.loc["OPN4", "text"] == (
        "OPN4: opsin 4. The light sensor of those retinal ganglion cells that see without rods and cones. It sets the "
        "body clock and the width of the pupil."
    )
    row = texts.loc["OPN4"]
    assert (row["source"], row["provider"], row["text_date"], row["fallback"]) == ("RefSeq", "RefSeq", "2008-07", False)
    assert row["ensembl_id"] == "ENSG00000122375"
    assert row["n_words"] == len(row["text"].split())
    assert pd.isna(row["ortholog_gene_id"])


NAMED = Template(sections=(*DEFAULT, "designations"))
ALWAYS = ("symbol", "name", "summary/ortholog.summary", "facts")


def test_designations_follow_the_summary_where_they_are_asked_for(snapshots):
    plain, named = (by_symbol(compose(snapshots["human"], template)) for template in (None, NAMED))
    assert named.loc["OPN4", "text"] == (
        f"{plain.loc['OPN4', 'text']} Also called: melanopsin; light receptor of the circadian clock."
    )
    assert named.loc["TP53", "text"].endswith(" Also called: guardian of the genome.")
    changed = plain["text"] != named["text"]
    assert changed[changed].index.tolist() == ["TP53", "OPN4"]
    assert named["source"].equals(plain["source"])
    assert named.loc["OPN4", "n_words"] == plain.loc["OPN4", "n_words"] + 9
    # What is no default changes no text, and no digest, of those who do not ask for it.
    assert "designations" not in Template().to_json()["sections"]


def test_a_gene_may_be_known_by_its_designations_alone(tmp_path):
    genes = [
        {"gene_id": 1, "symbol": "C9orf152", "name": "chromosome 9 open reading frame 152", "gene_type": "x"},
        {"gene_id": 2, "symbol": "LOC2", "name": "uncharacterized LOC2", "gene_type": "x"},
    ]
    listed = [
        {"gene_id": 1, "place": 1, "designation": "wasabi receptor"},
        {"gene_id": 1, "place": 0, "designation": "uncharacterized protein C9orf152"},
        {"gene_id": 2, "place": 0, "designation": "uncharacterized protein LOC2"},
    ]
    snapshot = small_snapshot(tmp_path / "s", genes=genes, designations=listed)
    texts = by_symbol(compose(snapshot, NAMED, gene_types=None))
    assert texts.loc["C9orf152", ["text", "source"]].tolist() == ["C9orf152. Also called: wasabi receptor.", "name"]
    assert texts.loc["LOC2", ["text", "source"]].tolist() == ["", "none"]


def test_designations_that_a_snapshot_does_not_have_are_not_passed_over_in_silence(tmp_path):
    snapshot = small_snapshot(tmp_path / "s", genes=[{"gene_id": 1, "symbol": "A", "name": "b", "gene_type": "x"}])
    with pytest.raises(TextError, match="snapshot s has no designations: .* fetch it again from NCBI, or leave"):
        compose(snapshot, NAMED, gene_types=None)


@pytest.mark.parametrize(
    ("listed", "kept"),
    [
        (["Opsin 4", "opsin-4 protein", "melanopsin", "Melanopsin (putative)"], ["melanopsin"]),
        (["testicular tissue protein Li 226", "epididymis secretory sperm binding protein"], []),
        (["protein FAM83A", "uncharacterized protein KIAA0001", "OPN4"], []),
        (["receptor 5", "receptor 6", "light receptor 6"], ["receptor 5", "light receptor 6"]),
    ],
)
def test_only_designations_that_say_more_are_told(listed, kept):
    assert telling(listed, name="opsin 4", symbol="OPN4", informative=is_informative) == kept


def test_there_is_one_row_per_gene_in_order_with_the_promised_columns(snapshots):
    for of in ("human", "mouse", "zebrafish"):
        frame = compose(snapshots[of], gene_types=None).frame
        assert tuple(frame.columns) == COLUMNS
        assert frame["gene_id"].tolist() == snapshots[of].genes["gene_id"].tolist()
        assert frame.index.tolist() == list(range(len(frame)))
        assert str(frame["ortholog_gene_id"].dtype) == "Int64"


def test_the_ranking_decides_which_summary_is_taken(snapshots):
    human = snapshots["human"]
    assert by_symbol(compose(human)).loc["BRCA1", "source"] == "RefSeq"
    other = by_symbol(compose(human, Template(ranking=("OMIM", "RefSeq"))))
    assert other.loc["BRCA1", "source"] == "OMIM"
    assert "17q21" in other.loc["BRCA1", "text"]
    assert other.loc["BRCA1", "n_summaries"] == 2
    unnamed = by_symbol(compose(human, Template(ranking=("Alliance",))))  # the others follow by name
    assert unnamed.loc["BRCA1", "source"] == "OMIM"
    assert unnamed.loc["INS", "source"] == "Alliance"


def test_an_empty_summary_gives_way_to_the_next_source(snapshots):
    rhodopsin = by_symbol(compose(snapshots["human"])).loc["RHO"]
    assert (rhodopsin["source"], rhodopsin["n_summaries"]) == ("OMIM", 1)


def test_paralogs_with_one_summary_both_keep_it(tmp_path, snapshots):
    texts = compose(snapshots["human"], Template(sections=("summary",)))
    globins = by_symbol(texts).loc[["HBA1", "HBA2"]]
    assert globins["text"].nunique() == 1
    assert (globins["text"] != "").all()
    digest = globins["text_digest"].iloc[0]
    assert texts.texts[digest] == globins["text"].iloc[0]
    assert len(texts.texts) < (texts.frame["text"] != "").sum()


def test_a_mouse_gene_without_summary_takes_its_one_to_one_orthologs(snapshots):
    texts = by_symbol(compose(snapshots["mouse"]))
    row = texts.loc["Opn4"]
    assert row["text"].startswith("Opn4: opsin 4 (melanopsin). The light sensor")
    assert (row["source"], row["fallback"], row["ortholog_gene_id"]) == ("ortholog:RefSeq", True, 94233)
    assert row["n_summaries"] == 0
    assert texts.loc["Rho", "source"] == "ortholog:OMIM"
    own = texts.loc["Trp53"]
    assert (own["source"], own["fallback"]) == ("RefSeq", False)
    assert pd.isna(own["ortholog_gene_id"])
    # Two mouse insulins, one human one: that text is nobody's.
    assert texts.loc[["Ins1", "Ins2"], "source"].tolist() == ["facts", "facts"]


def test_saying_that_the_text_is_the_orthologs_is_an_option(snapshots):
    texts = by_symbol(compose(snapshots["mouse"], Template(say_ortholog=True)))
    assert texts.loc["Opn4", "text"].endswith("human ortholog OPN4.")
    assert "ortholog" not in texts.loc["Trp53", "text"]
    assert not compose(snapshots["mouse"]).frame["text"].str.contains("human ortholog OPN4").any()


def test_the_ortholog_section_can_be_switched_off(snapshots):
    texts = compose(snapshots["mouse"], Template(sections=("symbol", "name", "summary")))
    assert texts.coverage["ortholog"] == 0
    assert by_symbol(texts).loc["Opn4", "source"] == "name"
    assert texts.frame["ortholog_gene_id"].isna().all()


def test_without_the_summary_section_no_summary_is_told(snapshots):
    names = compose(snapshots["human"], Template(sections=("symbol", "name")))
    assert by_symbol(names).loc["TP53", ["text", "source"]].tolist() == ["TP53: tumor protein p53.", "name"]
    assert names.coverage["summary"] == 0
    summaries = compose(snapshots["human"], Template(sections=("summary",)))
    assert by_symbol(summaries).loc["TP53", "text"].startswith("A tumor suppressor")


def test_facts_of_the_ortholog_do_not_mix_with_the_genes_own_summary(tmp_path):
    facts = [{"gene_id": 9, "tax_id": 9606, "go_id": "GO:1", "term": "phototransduction", "category": "Process"}]
    genes = [{"gene_id": 1, "id_tax_id": 10090, "symbol": "Aa1", "gene_type": "protein-coding"}]
    orthologs = [{"gene_id": 1, "human_gene_id": 9, "one_to_one": True}]
    for tax_id, gene_id, expected in (
        (10090, 1, "Aa1. It is old."),
        (9606, 9, "Aa1. It is old."),
    ):
        both = Template(sections=ALWAYS)
        rows = [{"gene_id": gene_id, "tax_id": tax_id, "source": "RefSeq", "text": "It is old."}]
        snapshot = small_snapshot(
            tmp_path / str(tax_id), tax_id=10090, genes=genes, summaries=rows, go=facts, orthologs=orthologs
        )
        assert compose(snapshot, both).frame["text"].tolist() == [expected]


def test_facts_stand_in_where_there_is_no_summary(snapshots):
    texts = by_symbol(compose(snapshots["human"]))
    assert texts.loc["AURKB", "text"] == (
        "AURKB: aurora kinase B. Activity: protein serine/threonine kinase activity. Role in: cell division."
    )
    assert (texts.loc["AURKB", "source"], texts.loc["AURKB", "fallback"]) == ("facts", True)
    # All that is annotated to it is "protein binding", which says nothing.
    assert texts.loc["MARCHF1", "source"] == "name"


def test_facts_may_be_always_or_never_and_never_negated(snapshots):
    human = snapshots["human"]
    always = by_symbol(compose(human, Template(sections=ALWAYS)))
    assert always.loc["OPN4", "text"].endswith("Role in: thermotaxis; visual perception. Place: plasma membrane.")
    assert "retina development" not in always.loc["OPN4", "text"]
    assert always.loc["OPN4", "source"] == "RefSeq"
    never = compose(human, Template(sections=("symbol", "name", "summary/ortholog.summary")))
    assert never.coverage["facts"] == 0
    assert by_symbol(never).loc["AURKB", "source"] == "name"
    without_go = compose(human, Template(sections=ALWAYS, go=()))
    assert not without_go.frame["text"].str.contains("thermotaxis|Role in").any()
    one = by_symbol(compose(human, Template(sections=ALWAYS, max_terms=1, go=("Process",))))
    assert one.loc["OPN4", "text"].endswith("pupil. Role in: thermotaxis.")


def test_gene_groups_and_the_facts_of_the_ortholog(tmp_path):
    go = [{"gene_id": 10, "tax_id": 9606, "go_id": "GO:1", "term": "phototransduction", "category": "Process"}]
    snapshot = small_snapshot(
        tmp_path / "s",
        tax_id=10090,
        genes=[
            {
                "gene_id": 1,
                "id_tax_id": 10090,
                "symbol": "Aa1",
                "gene_type": "protein-coding",
                "gene_groups": ["Opsins"],
            },
            {"gene_id": 10, "id_tax_id": 9606, "symbol": "Bb1", "gene_type": "protein-coding"},
        ],
        go=go,
        orthologs=[
            {"gene_id": 1, "human_gene_id": 9, "one_to_one": True},
            {"gene_id": 10, "human_gene_id": 10, "human_gene_groups": ["G proteins"], "one_to_one": True},
        ],
    )
    texts = compose(snapshot)
    assert texts.frame["text"].tolist() == [
        "Aa1. Family: Opsins.",
        "Bb1. Family: G proteins. Role in: phototransduction.",
    ]
    assert texts.frame["source"].tolist() == ["facts", "ortholog-facts"]
    assert texts.frame["ortholog_gene_id"].tolist() == [pd.NA, 10]
    assert texts.frame["id_tax_id"].tolist() == [10090, 9606]
    assert texts.coverage == {"genes": 2, "summary": 0, "ortholog": 0, "facts": 2, "other": 0, "name": 0, "none": 0}
    assert compose(snapshot, Template(gene_groups=False)).frame["source"].tolist() == ["none", "ortholog-facts"]


def test_a_gene_with_nothing_to_say_is_there_without_text(snapshots):
    texts = by_symbol(compose(snapshots["human"]))
    for symbol in ("C9orf152", "LOC100130705"):
        assert texts.loc[symbol, ["text", "text_digest", "source"]].tolist() == ["", "", "none"]
        assert texts.loc[symbol, "n_words"] == 0
    mouse = by_symbol(compose(snapshots["mouse"]))
    assert set(mouse.index[mouse["source"] == "none"]) == {"1700001C02Rik", "Gm5493"}


def test_a_gene_with_only_a_name_says_its_name(snapshots):
    row = by_symbol(compose(snapshots["human"])).loc["ROR1"]
    assert row["text"] == "ROR1: receptor tyrosine kinase like orphan receptor 1."
    assert (row["source"], row["fallback"]) == ("name", True)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "-",
            "ABC1",
            "abc1",
            "uncharacterized LOC100130705",
            "hypothetical protein",
            "RIKEN cDNA 1700001C02 gene",
        ),
        *("predicted gene 5493", "predicted gene, 12345", "chromosome 9 open reading frame 152", "cDNA sequence BC1"),
        *(
            "expressed sequence AI1",
            "DNA segment, Chr 1, ERATO Doi 1",
            "KIAA0100",
            "zgc:12345",
            "si:ch211-1",
            "novel protein",
        ),
    ],
)
def test_names_that_only_number_the_locus_say_nothing(name):
    assert not is_informative(name, "ABC1")


@pytest.mark.parametrize(
    "name", ["rhodopsin", "zinc finger protein 7", "novel nuclear factor", "simian virus receptor"]
)
def test_names_that_tell_something_do(name):
    assert is_informative(name, "ABC1")


def test_template_sentences_can_be_dropped(snapshots):
    mouse = snapshots["mouse"]
    assert "Is expressed in" in by_symbol(compose(mouse)).loc["Gnai3", "text"]
    dropped = compose(mouse, Template(drop=("templates",)))
    assert not any(hygiene.template_sentences(text) for text in dropped.texts.values())
    assert by_symbol(dropped).loc["Gnai3", "source"] == "name"
    # With the template gone the fish takes what is written about the human gene.
    fish = by_symbol(compose(snapshots["zebrafish"], Template(drop=("templates",))))
    assert fish.loc["rho", "source"] == "ortholog:OMIM"


def test_no_text_holds_a_tail_a_pmid_or_boilerplate(snapshots):
    for snapshot in snapshots.values():
        for template in (Template(), Template(sections=ALWAYS, say_ortholog=True), Template(sections=("summary",))):
            for text in compose(snapshot, template, gene_types=None).texts.values():
                assert not TAIL.search(text)
                assert not re.search("pmid|pubmed|splicing|Publication Note|RefSeq", text, re.IGNORECASE)


def test_digests_are_those_of_the_texts(snapshots):
    texts = compose(snapshots["mouse"], gene_types=None)
    for text, digest in zip(texts.frame["text"], texts.frame["text_digest"], strict=True):
        assert digest == (hashlib.sha256(text.encode()).hexdigest() if text else "")
    assert {hashlib.sha256(text.encode()).hexdigest(): text for text in texts.texts.values()} == texts.texts
    assert "" not in texts.texts


def test_coverage_adds_up(snapshots):
    coverage = compose(snapshots["human"]).coverage
    assert coverage == {"genes": 23, "summary": 15, "ortholog": 0, "facts": 3, "other": 0, "name": 3, "none": 2}
    coverage = compose(snapshots["mouse"]).coverage
    assert coverage == {"genes": 15, "summary": 2, "ortholog": 8, "facts": 2, "other": 0, "name": 1, "none": 2}


def test_types_and_genes_choose_the_rows(snapshots):
    human = snapshots["human"]
    assert set(compose(human, gene_types=("ncRNA",)).frame["symbol"]) == {"XIST", "MIR21"}
    assert len(compose(human, gene_types=None).frame) == 26
    assert compose(human, genes=[94233, 7503]).frame["symbol"].tolist() == ["XIST", "OPN4"]
    with pytest.raises(TextError, match=r"GeneID 1, 2"):
        compose(human, genes=[2, 1, 94233])
    with pytest.raises(TextError, match=r"gene type protein_coding; known are ncRNA, protein-coding, pseudo"):
        compose(human, gene_types=("protein_coding",))
    assert compose(human, genes=[]).coverage["genes"] == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sections": ("symbol", "sum mry")}, r"'sum mry' is no section"),
        ({"sections": ("symbol", "summary:0")}, r"'summary:0' is no section"),
        ({"sections": ("symbol", "summary:many")}, r"'summary:many' is no section"),
        ({"sections": ("symbol", "summary/")}, r"'summary/' is no section"),
        ({"sections": ("summary", "facts/summary")}, r"more than once: summary"),
        ({"sections": ()}, r"no section"),
        ({"sections": ("+markers", "symbol")}, r"either all sections begin with \+"),
        ({"order": "oldest"}, r"oldest; known are newest, central, given"),
        ({"drop": ("everything",)}, r"everything; known are templates, go, phenotypes"),
        ({"before": "March"}, r"before='March' is no date"),
        ({"go": ("Localisation",)}, r"Localisation; known are Function, Process, Component"),
        ({"max_terms": 0}, "max_terms is 0"),
        ({"version": 99}, "version 99"),
    ],
)
def test_a_template_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(TextError, match=message):
        Template(**wrong)


def test_an_unknown_source_in_the_ranking_is_refused_with_those_there_are(snapshots):
    with pytest.raises(TextError, match=r"source UniProt; known are Alliance, OMIM, RefSeq"):
        compose(snapshots["human"], Template(ranking=("RefSeq", "UniProt")))


def test_a_template_survives_json_and_equal_ones_have_equal_digests():
    template = Template(sections=("summary:90", "facts"), ranking=("OMIM",), drop=("go",), go=("Process",), max_terms=2)
    assert Template.from_json(template.to_json()) == template
    assert Template.from_json(template.to_json()).digest == template.digest
    assert template.digest != Template().digest
    assert Template(sections=("+uniprot:60",)) == Template(sections=(*DEFAULT, "uniprot:60"))
    assert Template(sections=(" summary / ortholog",)) == Template(sections=("summary/ortholog.summary",))
    assert Template(drop=("go", "templates")).digest == Template(drop=("templates", "go")).digest
    assert Template(sections=("summary", "symbol")).digest != Template(sections=("symbol", "summary")).digest
    with pytest.raises(TextError, match="composed by version 1 of the template, this genetext composes version 2"):
        Template.from_json({"sections": ["symbol"], "facts": "always", "version": 1})
    with pytest.raises(TextError, match="not a text template"):
        Template.from_json({**template.to_json(), "colour": "red"})
    for other in (["symbol"], {"sections": 5, "version": 2}, {"max_terms": "many", "version": 2}):
        with pytest.raises(TextError, match="not a text template"):
            Template.from_json(other)


def test_ten_new_summaries_are_ten_new_texts(tmp_path):
    source = write_ncbi(tmp_path / "ncbi", n_extra=40)
    before = compose(write_snapshot(tmp_path / "a", source=source))
    changed = [20_000_001 + 3 * number for number in range(10)]
    edit_summaries(source, {gene_id: f"A new finding about number {gene_id}." for gene_id in changed})
    after = compose(write_snapshot(tmp_path / "b", source=source))
    assert len(set(after.texts) - set(before.texts)) == 10
    differs = before.frame["text_digest"] != after.frame["text_digest"]
    assert after.frame.loc[differs, "gene_id"].tolist() == changed


NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
SERVED = st.lists(
    st.sampled_from(
        [
            "It senses light.",
            "[provided by RefSeq, Jul 2008]",
            " ",
            "[supplied by OMIM]",
            "Enables x.",
            "(PMID: 1)",
            "β",
        ]
    )
    | NAME,
    max_size=5,
).map("".join)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    genes=st.lists(st.tuples(NAME, NAME), min_size=1, max_size=6),
    summaries=st.lists(st.tuples(st.integers(0, 7), st.sampled_from([*SOURCES, "FlyBase"]), SERVED), max_size=12),
    sections=st.lists(st.sampled_from([*OF_THE_SNAPSHOT, "ortholog.summary:3"]), min_size=1, unique=True),
    drop=st.booleans(),
    seed=st.integers(0, 99),
)
def test_whatever_the_input_texts_are_clean_and_ordered(tmp_path, genes, summaries, sections, drop, seed):
    gene_rows = [
        {"gene_id": number, "symbol": symbol, "name": name, "gene_type": "protein-coding"}
        for number, (symbol, name) in enumerate(genes)
    ]
    rows = []
    for gene_id, source, served in summaries:
        cleaned = hygiene.clean(served)
        rows.append({"gene_id": gene_id, "tax_id": 9606, "source": source, "summary": served, "text": cleaned.text})
    template = Template(sections=tuple(sections), drop=("templates",) if drop else ())
    listed = [{"gene_id": row["gene_id"], "place": 0, "designation": f"{row['name']} receptor"} for row in gene_rows]
    texts = compose(small_snapshot(tmp_path / "a", genes=gene_rows, summaries=rows, designations=listed), template)
    assert len(texts.frame) == len(genes)
    assert sum(count for kind, count in texts.coverage.items() if kind != "genes") == len(genes)
    for text, digest, source in texts.frame[["text", "text_digest", "source"]].itertuples(index=False):
        assert not TAIL.search(text)
        assert digest == (hashlib.sha256(text.encode()).hexdigest() if text else "")
        assert (text == "") == (source == "none")
    chance = random.Random(seed)
    chance.shuffle(gene_rows)
    chance.shuffle(rows)
    chance.shuffle(listed)
    again = compose(small_snapshot(tmp_path / "b", genes=gene_rows, summaries=rows, designations=listed), template)
    pd.testing.assert_frame_equal(texts.frame, again.frame)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("of", "file", "genes", "own", "own_or_ortholog"),
    [
        ("human", "Homo_sapiens", 20608, 0.626, 0.626),
        ("mouse", "Mus_musculus", 26371, 0.097, 0.46),
    ],
)
def test_coverage_of_the_real_files(real_data, tmp_path, of, file, genes, own, own_or_ortholog):
    folder = real_data / "ncbi" / "gene" / "DATA"
    info = folder / "GENE_INFO" / "Mammalia"
    files = {name: folder / f"{name}.gz" for name in ("gene_summary", "gene_orthologs", "gene2go")}
    files |= {"gene_info": info / f"{file}.gene_info.gz", "human_gene_info": info / "Homo_sapiens.gene_info.gz"}
    known = species.find(of)
    content = {
        "species": {"tax_id": known.tax_id, "name": known.name, "latin": known.latin},
        "source": {"kind": "ncbi"},
    }
    snapshot = Snapshot.write(tmp_path / "s", tables=parse.assemble(files, known), content=content)
    texts = compose(snapshot)
    coverage = texts.coverage
    assert coverage["genes"] == genes
    assert coverage["summary"] / genes == pytest.approx(own, abs=0.001)
    assert (coverage["summary"] + coverage["ortholog"]) / genes == pytest.approx(own_or_ortholog, abs=0.01)
    assert not any(TAIL.search(text) for text in texts.texts.values())
    melanopsin = by_symbol(texts).loc["OPN4" if of == "human" else "Opn4"]
    assert "opsin" in melanopsin["text"]
