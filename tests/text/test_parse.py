import gzip
import random
import re
import string
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genetext import species
from genetext.errors import FetchError
from genetext.text import hygiene, parse, tables
from genetext.text.ontology import go_table
from genetext.text.snapshot import SCHEMAS
from tests import factory
from tests.factory import HEADERS, HUMAN_TAX, MOUSE_TAX, ZEBRAFISH_TAX, ncbi_files, write_ncbi, write_table

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_ncbi(tmp_path_factory.mktemp("ncbi"))


@pytest.fixture(scope="module")
def human(source):
    return {name: table.to_pandas() for name, table in parse.assemble(ncbi_files(source), species.HUMAN).items()}


@pytest.fixture(scope="module")
def mouse(source):
    return {
        name: table.to_pandas() for name, table in parse.assemble(ncbi_files(source, "mouse"), species.MOUSE).items()
    }


def gene(frame, gene_id):
    return frame[frame["gene_id"] == gene_id].iloc[0]


def test_genes_hold_what_gene_info_says(human):
    genes = human["genes"]
    assert list(genes["gene_id"]) == sorted(row[0] for row in factory.HUMAN)
    tp53 = gene(genes, 7157)
    assert (tp53["symbol"], tp53["name"], tp53["gene_type"]) == ("TP53", "tumor protein p53", "protein-coding")
    assert list(tp53["synonyms"]) == ["BCC7", "LFS1", "P53", "TRP53"]
    nameless = gene(genes, 100130705)
    assert list(nameless["synonyms"]) == []
    assert nameless["name"] == "uncharacterized LOC100130705"
    assert set(genes["id_tax_id"]) == {HUMAN_TAX}


def test_designations_are_kept_as_listed_in_their_order(human, mouse):
    listed = human["designations"]
    assert list(zip(*listed.itertuples(index=False), strict=True)) == [
        (7157, 7157, 7157, 94233, 94233, 94233, 100130705),
        (0, 1, 2, 0, 1, 2, 0),
        (
            *("tumor protein p53", "guardian of the genome", "testicular tissue protein Li 7"),
            *("melanopsin", "opsin-4", "light receptor of the circadian clock"),
            "uncharacterized protein LOC100130705",
        ),
    ]
    assert mouse["designations"]["gene_id"].tolist() == [30044]


def test_the_authoritys_symbol_wins_and_ncbis_own_becomes_a_synonym(human):
    mitochondrial = gene(human["genes"], 4512)
    assert mitochondrial["symbol"] == "MT-CO1"
    assert list(mitochondrial["synonyms"]) == ["COI", "MTCO1", "COX1"]


def test_ensembl_ids_come_from_both_files_once_without_version(human):
    genes = human["genes"]
    assert list(gene(genes, 7157)["ensembl_ids"]) == ["ENSG00000141510"]
    assert list(gene(genes, 3039)["ensembl_ids"]) == ["ENSG00000206172", "ENSG00000999001"]
    assert list(gene(genes, 100130705)["ensembl_ids"]) == ["ENSG00000999002"]
    assert parse.unversioned("ENSG00000141510.19") == "ENSG00000141510"
    assert parse.unversioned("F54C9.2") == "F54C9.2"


def test_retired_ids_are_followed_to_the_gene_that_lives(human):
    history = human["history"].set_index("old_gene_id")
    assert history.loc[900002, "gene_id"] == 4735  # by way of 900003
    assert history.loc[900004, "gene_id"] == 0
    assert history.loc[900001, "old_symbol"] == "MELANOPSIN1"
    assert list(gene(human["genes"], 4735)["previous"]) == ["SEPT2A", "SEPT2B"]
    assert list(gene(human["genes"], 7157)["previous"]) == []


def test_retired_ids_in_a_circle_lead_nowhere(tmp_path):
    rows = [(HUMAN_TAX, 2, 1, "A", "20010101"), (HUMAN_TAX, 1, 2, "B", "20010101")]
    path = write_table(tmp_path / "gene_history.gz", HEADERS["gene_history"], rows)
    assert [entry[:2] for entry in parse.read_history(path, species.HUMAN)] == [(1, 0), (2, 0)]


def test_every_summary_of_a_gene_is_kept_as_served_and_as_cleaned(human):
    summaries = human["summaries"]
    of_brca1 = summaries[summaries["gene_id"] == 672].set_index("source")
    assert set(of_brca1.index) == {"OMIM", "RefSeq"}
    assert of_brca1.loc["RefSeq", "summary"].endswith("[provided by RefSeq, May 2020]")
    assert of_brca1.loc["RefSeq", "text"].endswith("ovarian cancer.")
    assert list(of_brca1.loc["RefSeq", "pmids"]) == ["20301425"]
    assert of_brca1.loc["OMIM", "text_date"] == "2008-03"
    assert set(summaries["tax_id"]) == {HUMAN_TAX}
    assert len(summaries) == sum(row[0] == HUMAN_TAX for row in factory.SUMMARIES)


def test_mouse_also_gets_the_rows_of_its_one_to_one_human_orthologs(mouse):
    summaries, go = mouse["summaries"], mouse["go"]
    assert set(summaries.loc[summaries["tax_id"] == MOUSE_TAX, "gene_id"]) == {14679, 22059}
    of_human = set(summaries.loc[summaries["tax_id"] == HUMAN_TAX, "gene_id"])
    assert {94233, 7157, 6095} <= of_human
    assert not {3630, 3039, 3040} & of_human  # one human gene, two of mouse; and the other way round
    assert 7503 not in of_human  # no ortholog at all
    assert set(go.loc[go["tax_id"] == HUMAN_TAX, "gene_id"]) <= set(mouse["orthologs"]["human_gene_id"])
    assert 9212 not in set(go["gene_id"])


def test_orthologs_are_read_whichever_way_round_they_stand(mouse):
    orthologs = mouse["orthologs"].set_index("gene_id")
    assert orthologs.loc[19883, "human_gene_id"] == 6095  # listed as mouse -> human
    assert orthologs.loc[30044, "human_symbol"] == "OPN4"
    assert orthologs.loc[30044, "human_name"] == "opsin 4"
    assert bool(orthologs.loc[30044, "one_to_one"])
    for many in (16333, 16334):
        assert not orthologs.loc[many, "one_to_one"]
    assert list(orthologs.loc[[15122], "one_to_one"]) == [False, False]
    assert 30567 not in set(mouse["orthologs"]["human_gene_id"])  # a mouse-zebrafish pair


def test_a_species_without_a_file_of_its_own_comes_from_the_file_of_all(source):
    fish = {
        name: table.to_pandas()
        for name, table in parse.assemble(ncbi_files(source, "zebrafish"), species.find("zebrafish")).items()
    }
    assert list(fish["genes"]["symbol"]) == ["rho", "pax6a", "tp53", "pax6b"]
    assert set(fish["genes"]["id_tax_id"]) == {ZEBRAFISH_TAX}
    assert fish["orthologs"].set_index("gene_id")["one_to_one"].to_dict() == {
        30295: True,
        30567: False,
        30590: True,
        60639: False,
    }


def test_the_rarest_term_of_a_gene_ranks_first(human):
    go = human["go"]
    process = go[(go["gene_id"] == 94233) & (go["category"] == "Process")].set_index("go_id")["rank"]
    assert process.to_dict() == {"GO:0043052": 0, "GO:0007601": 1, "GO:0060041": -1}  # the last one is a NOT
    assert set(go.loc[go["evidence"] == "ND", "rank"]) == {-1}
    kinase = go[(go["gene_id"] == 9212) & (go["category"] == "Function")]
    assert kinase["evidence"].tolist() == ["IDA", "TAS", "IPI"]
    assert kinase["rank"].tolist() == [0, 0, 1]  # two evidences of one term share its rank


def test_ranks_agree_with_a_plain_count(tmp_path):
    chance = random.Random(7)
    rows = sorted(
        {
            (HUMAN_TAX, chance.randrange(1, 30), f"GO:{chance.randrange(40):07d}", chance.choice(["IDA", "ND", "IEA"]))
            for _ in range(400)
        }
    )
    full = [(*row, chance.choice(["-", "NOT enables"]), f"term {row[2]}", "-", "Process") for row in rows]
    path = write_table(tmp_path / "gene2go.gz", HEADERS["gene2go"], full)
    table = go_table(path, species.HUMAN).to_pandas()
    counted = [(row[1], row[2]) for row in full if row[3] != "ND" and not row[4].startswith("NOT")]
    genes_with = {term: len({g for g, t in counted if t == term}) for _, term in counted}
    for gene_id, rows_of in table.groupby("gene_id"):
        expected = sorted({t for g, t in counted if g == gene_id}, key=lambda term: (genes_with[term], term))
        ranked = rows_of[rows_of["rank"] >= 0].drop_duplicates("go_id").sort_values("rank")
        assert ranked["go_id"].tolist() == expected
        assert ranked["rank"].tolist() == list(range(len(expected)))


def test_schemas_are_kept_and_optional_files_may_be_absent(source):
    files = ncbi_files(source, "mouse")
    least = {name: files[name] for name in ("gene_info", "gene_summary")}
    for some in (files, least):
        result = parse.assemble(some, species.MOUSE)
        assert {name: table.schema for name, table in result.items()} == dict(SCHEMAS)
    assert result["orthologs"].num_rows == result["go"].num_rows == result["history"].num_rows == 0
    assert set(result["summaries"]["tax_id"].to_pylist()) == {MOUSE_TAX}


def test_a_file_that_is_needed_or_unheard_of_is_named(source):
    files = ncbi_files(source)
    with pytest.raises(FetchError, match="gene_summary"):
        parse.assemble({"gene_info": files["gene_info"]}, species.HUMAN)
    with pytest.raises(ValueError, match="gene_orthologues"):
        parse.assemble({**files, "gene_orthologues": files["gene_orthologs"]}, species.HUMAN)


@pytest.mark.parametrize("of", ["human", "mouse", "zebrafish"])
def test_the_order_of_rows_leaves_no_trace(source, tmp_path, of):
    chance = random.Random(3)
    files = ncbi_files(source, of)
    for name, path in files.items():
        header, *lines = gzip.decompress(path.read_bytes()).decode().rstrip("\n").split("\n")
        chance.shuffle(lines)
        files[name] = tmp_path / f"{name}.gz"
        files[name].write_bytes(gzip.compress("\r\n".join([header, *lines]).encode()))  # and other line ends
    before = parse.assemble(ncbi_files(source, of), species.find(of))
    after = parse.assemble(files, species.find(of))
    assert all(before[name].equals(after[name]) for name in SCHEMAS)


def test_columns_may_be_added_and_reordered(tmp_path):
    header = ("#GeneID", "Summary", "new column", "tax_id", "Source")
    path = write_table(tmp_path / "gene_summary.gz", header, [(1, "It is old.", "x", HUMAN_TAX, "RefSeq")])
    assert parse.summaries_table(path, species.HUMAN)["text"].to_pylist() == ["It is old."]


def test_placeholder_records_are_no_genes(tmp_path):
    def row(gene_id, symbol):
        return (HUMAN_TAX, gene_id, symbol, *["-"] * 6, "protein-coding", *["-"] * 6)

    path = write_table(tmp_path / "info.gz", HEADERS["gene_info"], [row(1, "NEWENTRY"), row(2, "ABC")])
    assert parse.genes_tables(path, species.HUMAN)[0]["symbol"].to_pylist() == ["ABC"]
    path = write_table(tmp_path / "info.gz", HEADERS["gene_info"], [row(2, "ABC"), row(2, "ABC")])
    with pytest.raises(FetchError, match="more than once: GeneID 2"):
        parse.genes_tables(path, species.HUMAN)


def compressed(text):
    return gzip.compress(text.encode(), mtime=0)


GOOD = "\t".join(HEADERS["gene_summary"]) + "\n" + f"{HUMAN_TAX}\t1\tRefSeq\tIt is old.\n" * 400


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Service unavailable</html>", "an HTML page"),
        (b"tax_id,GeneID\n", "not gzip"),
        (compressed(""), "empty"),
        (compressed("<html><body>busy</body></html>"), "another header"),
        (compressed("#tax_id\tGeneID\tSummary\n9606\t1\tIt is old.\n"), "lacks Source"),
        (compressed("\t".join(HEADERS["gene_summary"])), "no rows"),
        (compressed("\t".join(HEADERS["gene_summary"]) + "\n\n"), "no rows"),
        (
            compressed("\t".join(HEADERS["gene_summary"]) + "\n7955\t1\tRefSeq\tIt swims.\n"),
            "no row of taxonomy id 9606",
        ),
        (compressed("\t".join(HEADERS["gene_summary"]) + "\n9606\t1\n"), "line 2: a row of 2 fields where 4 are due"),
        (
            compressed("\t".join(HEADERS["gene_summary"]) + "\n9606\tone\tRefSeq\tIt is old.\n"),
            "line 2: 'one' where a number is due",
        ),
        (compressed("\t".join(HEADERS["gene_summary"]) + f"\n9606\t{'9' * 19}\tRefSeq\tOld.\n"), "number is due"),
        (compressed(GOOD)[:-20], "truncated"),
        (compressed(GOOD)[:40] + b"\x00" * 40 + compressed(GOOD)[80:], "damaged"),
        (compressed(GOOD)[:-8] + b"\x00" * 8, "damaged"),
    ],
)
def test_what_is_not_the_table_is_a_fetch_error_that_says_so(tmp_path, content, message):
    path = tmp_path / "gene_summary.gz"
    path.write_bytes(content)
    with pytest.raises(FetchError, match=message) as caught:
        parse.summaries_table(path, species.HUMAN)
    assert "gene_summary.gz" in str(caught.value)


def test_an_absent_file_is_a_fetch_error(tmp_path):
    with pytest.raises(FetchError, match=r"gene_summary.gz cannot be read: No such file"):
        parse.summaries_table(tmp_path / "gene_summary.gz", species.HUMAN)


@pytest.mark.parametrize("before", [b"", b"#tax_id\tGeneID\n9606\t1\n"], ids=["header", "row"])
def test_a_line_without_an_end_costs_neither_memory_nor_time(tmp_path, before):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as handle:
        handle.write(before)
        for _ in range(200):
            handle.write(b"x" * (1 << 20))
    assert path.stat().st_size < 2_000_000
    tracemalloc.start()
    try:
        with pytest.raises(FetchError, match="it has more than .* bytes: if that is right, set GENETEXT_MAX_LINE"):
            list(tables.rows(path, columns={"tax_id": bytes, "GeneID": bytes}, tax_ids=(9606,)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80e6


def test_a_long_header_is_read(tmp_path):
    path = tmp_path / "wide.gz"
    rest = "\t-" * 200_000
    others = "\t".join(f"column{number}" for number in range(200_000))  # over two blocks
    path.write_bytes(gzip.compress(f"#tax_id\tGeneID\t{others}\n9606\t7{rest}\n".encode()))
    assert list(tables.rows(path, columns={"GeneID": bytes}, tax_ids=(9606,))) == [(b"7",)]


def test_a_changed_header_shows_what_was_expected_and_what_was_found(tmp_path):
    path = write_table(tmp_path / "gene2go.gz", ("#taxon", "Gene", "Term"), [(9606, 1, "x")])
    with pytest.raises(FetchError) as caught:
        go_table(path, species.HUMAN)
    assert "GO_ID" in str(caught.value)
    assert "taxon" in str(caught.value)


def test_rows_longer_than_a_block_and_split_across_blocks_are_whole(tmp_path):
    long = "x" * (3 << 20)
    rows = [(7955, 1, "A", "short"), (HUMAN_TAX, 1, "A", long), (10090, 1, "A", long), (HUMAN_TAX, 2, "A", "end")]
    path = write_table(tmp_path / "t.gz", HEADERS["gene_summary"], rows)
    found = list(tables.rows(path, columns={"GeneID": bytes, "Summary": bytes}, tax_ids=[HUMAN_TAX]))
    assert [(gene_id, len(summary)) for gene_id, summary in found] == [(b"1", 3 << 20), (b"2", 3)]


FIELD = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), max_size=20)
TAX = st.sampled_from([9606, 96060, 960, 10090, 19606])


@quick
@given(st.lists(st.tuples(TAX, st.integers(1, 10**17), FIELD, FIELD), min_size=1, max_size=30))
def test_rows_make_the_round_trip(tmp_path, written):
    path = write_table(tmp_path / "t.gz", HEADERS["gene_summary"], written)
    expected = [(g, s, t) for tax, g, s, t in written if tax == HUMAN_TAX]
    found = [
        (int(g), s.decode(), t.decode())
        for g, s, t in tables.rows(
            path, columns=dict.fromkeys(("GeneID", "Source", "Summary"), bytes), tax_ids=[HUMAN_TAX]
        )
    ]
    assert found == expected
    both = list(tables.rows(path, columns={"GeneID": bytes}, tax_ids=[9606, 10090], tax_columns=("GeneID", "tax_id")))
    assert len(both) == sum(tax in (9606, 10090) or g in (9606, 10090) for tax, g, _, _ in written)


@quick
@given(st.lists(st.tuples(TAX, st.integers(1, 10**9), FIELD, FIELD), min_size=1, max_size=20))
def test_summaries_make_the_round_trip(tmp_path, written):
    path = write_table(tmp_path / "t.gz", HEADERS["gene_summary"], written)
    own = [row for row in written if row[0] == HUMAN_TAX]
    if not own:
        with pytest.raises(FetchError):
            parse.summaries_table(path, species.HUMAN)
        return
    frame = parse.summaries_table(path, species.HUMAN).to_pandas()
    served = [(g, "" if t == "-" else t.strip()) for _, g, _, t in own]
    assert sorted(zip(frame["gene_id"], frame["summary"], strict=True)) == sorted(served)
    assert [hygiene.clean(summary).text for summary in frame["summary"]] == list(frame["text"])


@quick
@given(
    st.lists(
        st.tuples(FIELD, st.lists(FIELD, max_size=4), FIELD, FIELD),
        min_size=1,
        max_size=10,
        unique_by=lambda row: row[0],
    )
)
def test_genes_make_the_round_trip(tmp_path, written):
    rows = [
        (
            HUMAN_TAX,
            gene_id,
            symbol,
            "-",
            "|".join(names) or "-",
            "-",
            "-",
            "-",
            full,
            "other",
            official,
            "-",
            "-",
            "-",
            "-",
            "-",
        )
        for gene_id, (symbol, names, official, full) in enumerate(written, start=1)
    ]
    path = write_table(tmp_path / "t.gz", HEADERS["gene_info"], rows)
    frame = parse.genes_tables(path, species.HUMAN)[0].to_pandas()
    for gene_id, (symbol, names, official, full) in enumerate(written, start=1):
        known = [name.strip() if name != "-" else "" for name in (symbol, official, full)]
        current = known[1] or known[0]
        row = gene(frame, gene_id)
        assert (row["symbol"], row["name"]) == (current, known[2])
        others = [part.strip() for name in names for part in name.split("|") if part != "-"] + [known[0]]
        assert list(row["synonyms"]) == [name for name in dict.fromkeys(others) if name not in ("", current)]


READERS = {
    "gene_info": lambda path: parse.genes_tables(path, species.HUMAN)[0],
    "gene_summary": lambda path: parse.summaries_table(path, species.HUMAN),
    "gene2go": lambda path: go_table(path, species.HUMAN),
    "gene_orthologs": lambda path: parse.read_orthologs(path, species.MOUSE),
    "gene_history": lambda path: parse.read_history(path, species.HUMAN),
    "gene2ensembl": lambda path: parse.read_ensembl(path, species.HUMAN),
}
JUNK_FIELD = st.one_of(
    st.sampled_from(
        [
            *(b"9606", b"10090", b"-", b"", b"1", b"|", b"Ensembl:|", b"NOT", b"0", b"9" * 20, b"9" * 5000),
            *(b"\xff\xfe", b"\xed\xa0\x80", b"\0", b"\xd9\xa5", b"\r", b"x" * 5000),
        ]
    ),
    st.binary(max_size=6),
)
JUNK_LINES = st.lists(st.lists(JUNK_FIELD, max_size=18).map(b"\t".join), max_size=6).map(b"\n".join)


@pytest.mark.parametrize("name", sorted(READERS))
@quick
@given(data=st.data())
def test_junk_is_a_fetch_error_or_a_table(tmp_path, name, data):
    path = tmp_path / f"{name}.gz"
    header = "\t".join(HEADERS[name]).encode()
    content = data.draw(
        st.one_of(
            st.binary(max_size=200),
            st.binary(max_size=200).map(gzip.compress),
            JUNK_LINES.map(lambda lines: gzip.compress(header + b"\n" + lines)),
            JUNK_LINES.map(lambda lines: gzip.compress(header + b"\n9606\t1\t" + lines)),
            st.integers(1, 60).map(lambda cut: gzip.compress(header + b"\n9606\t1\tx\ty\n")[:-cut]),
        )
    )
    path.write_bytes(content)
    try:
        table = READERS[name](path)
    except FetchError as error:
        assert path.name in str(error)
        if re.search(r"fields where|where a number", str(error)):
            assert re.search(r"\.gz, line \d+: ", str(error))
        else:  # what is wrong with the file, not with one of its lines
            assert re.search(r"is (not gzip|empty|truncated|damaged)|header|no row|more than once", str(error))
    else:
        if name in ("gene_info", "gene_summary", "gene2go"):
            table.validate(full=True)


def test_fixture_bytes_are_the_same_on_every_run(source, tmp_path):
    again = write_ncbi(tmp_path)
    first = {path.relative_to(source): path.read_bytes() for path in source.rglob("*.gz")}
    assert {path.relative_to(again): path.read_bytes() for path in again.rglob("*.gz")} == first


@pytest.mark.real
@pytest.mark.slow
def test_the_real_human_files_are_read_whole(real_data):
    folder = real_data / "ncbi" / "gene" / "DATA"
    start = time.perf_counter()
    result = parse.assemble(
        {
            "gene_info": folder / "GENE_INFO/Mammalia/Homo_sapiens.gene_info.gz",
            "gene_summary": folder / "gene_summary.gz",
            "gene2go": folder / "gene2go.gz",
        },
        species.HUMAN,
    )
    print(f"human assembled in {time.perf_counter() - start:.1f} s")
    genes = result["genes"].to_pandas()
    coding = genes[genes["gene_type"] == "protein-coding"]
    # 26 of the file's 20,634 protein-coding rows belong to Neanderthals and Denisovans: other taxa.
    assert len(coding) == 20608
    assert genes["gene_id"].is_unique
    assert set(coding.loc[coding["symbol"].str.startswith("MT-"), "symbol"]) >= {"MT-CO1", "MT-ND1", "MT-ATP6"}
    assert (coding["ensembl_ids"].str.len() > 0).mean() > 0.93
    go = result["go"].to_pandas()
    assert len(go) == 348116
    assert go.loc[go["rank"] >= 0].groupby(["gene_id", "category"], observed=True)["rank"].min().eq(0).all()
    melanopsin = go[(go["gene_id"] == 94233) & (go["rank"] == 0)]
    assert not set(melanopsin["term"]) & {"protein binding", "membrane", "plasma membrane"}
    assert np.array_equal(genes["gene_id"].to_numpy(), np.sort(genes["gene_id"].to_numpy()))


def test_alphabet_of_the_fixture_reaches_beyond_ascii():
    assert any(set(row[3]) - set(string.printable) for row in factory.SUMMARIES)
