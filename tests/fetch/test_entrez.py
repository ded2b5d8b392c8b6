"""E-utilities: names found and not guessed, the limit kept, the key never shown."""

import io
import json
import logging
import shutil
import socket
import threading
import traceback
from pathlib import Path

import httpx
import pytest

from genetext import disk
from genetext.errors import FetchError, SpeciesError, Unreachable
from genetext.fetch import entrez, web
from genetext.fetch import eutils as eutils_module
from genetext.fetch.entrez import fetch_genes, find_species
from genetext.fetch.eutils import Eutils
from genetext.fetch.web import Patience
from genetext.species import HUMAN, MOUSE, Species
from genetext.text import parse
from genetext.text.snapshot import SCHEMAS
from tests.factory import EXTRA_FIRST_ID, write_ncbi
from tests.servers.ncbi import Fault, NcbiServer, html

QUICK = Patience(attempts=3, base=0.01, cap=0.02, connect=2.0, read=0.5)
KEY = "0123456789abcdef0123456789abcdef0123"


@pytest.fixture
def server(tmp_path):
    with NcbiServer(write_ncbi(tmp_path / "ncbi")) as running:
        running.rates.without_key = 10_000  # the limit has tests of its own
        yield running


@pytest.fixture
def eutils(server):
    return Eutils(url=server.eutils_url, interval=0, patience=QUICK)


def rows(found, name):
    return parse.tables_of(found)[name].to_pylist()


def test_names_of_mixed_kinds(eutils):
    found = fetch_genes(["OPN4", "7157", "ENSG00000012048.23", "SEPT2", "ROR1", "RHO"], HUMAN, eutils=eutils)
    assert found.not_found == {}
    assert [row["symbol"] for row in rows(found, "genes")] == ["BRCA1", "SEPTIN2", "ROR1", "RHO", "TP53", "OPN4"]
    assert {name: table.schema for name, table in parse.tables_of(found).items()} == dict(SCHEMAS)
    brca1, _, _, _, tp53, _ = rows(found, "genes")
    assert brca1["ensembl_ids"] == ["ENSG00000012048"]
    assert tp53 == {
        "gene_id": 7157,
        "id_tax_id": 9606,
        "symbol": "TP53",
        "name": "tumor protein p53",
        "synonyms": ["BCC7", "LFS1", "P53", "TRP53"],
        "previous": [],
        "ensembl_ids": [],
        "gene_type": "protein-coding",
        "gene_groups": [],
    }
    assert rows(found, "designations")[1] == {"gene_id": 7157, "place": 1, "designation": "guardian of the genome"}
    assert [row["gene_id"] for row in rows(found, "designations")] == [7157] * 3 + [94233] * 3


def test_summaries_are_cleaned_as_the_bulk_files_are(eutils):
    (row,) = rows(fetch_genes(["INS"], HUMAN, eutils=eutils), "summaries")
    assert row["summary"].endswith("[provided by RefSeq, Jun 2020]")
    assert row["text"].endswith("neonatal diabetes.")
    assert (row["source"], row["provider"], row["text_date"]) == ("RefSeq", "RefSeq", "2020-06")
    assert row["pmids"] == ["17855560"]
    (row,) = rows(fetch_genes(["Gnai3"], MOUSE, eutils=eutils), "summaries")[1:]
    assert (row["tax_id"], row["source"]) == (10090, "Alliance")


def test_gene_types_are_asked_for(eutils):
    found = fetch_genes(["A2MP1", "XIST", "INS"], HUMAN, eutils=eutils)
    assert [row["gene_type"] for row in rows(found, "genes")] == ["pseudo", "protein-coding", "ncRNA"]


def test_nothing_is_guessed(eutils, caplog):
    asked = ["AIM1", "NOSUCHGENE", "22059", "999999999", "900004", "ENSG00000000000", "HBH", '"[x', "INS"]
    found = fetch_genes(asked, HUMAN, eutils=eutils)
    assert [row["symbol"] for row in rows(found, "genes")] == ["INS"]
    assert found.not_found == {
        "22059": "a gene of taxon 10090, not of Homo sapiens",
        "999999999": "no such GeneID",
        "900004": "discontinued",
        "ENSG00000000000": "unknown Ensembl id",
        "AIM1": "ambiguous: AURKB (9212), SLC45A2 (51151)",
        "HBH": "ambiguous: HBA1 (3039), HBA2 (3040)",
        "NOSUCHGENE": "unknown name",
        '"[x': "unknown name",
    }
    (warning,) = caplog.messages
    assert warning.startswith("8 of 9 genes not found at NCBI: 22059 (a gene of taxon 10090")


def test_letter_case_is_never_changed(eutils):
    found = fetch_genes(["Trp53", "tp53", "Opn4", "OPN4"], HUMAN, eutils=eutils)  # human TP53 goes by TRP53 too
    assert [row["symbol"] for row in rows(found, "genes")] == ["OPN4"]
    assert found.not_found == {
        "Trp53": "letter case: differs in letter case from TRP53",
        "tp53": "letter case: differs in letter case from TP53",
        "Opn4": "letter case: differs in letter case from OPN4",
    }


def test_replaced_ids_are_followed_and_kept_as_history(eutils):
    found = fetch_genes(["900002", "900001", "900004", "INS"], HUMAN, eutils=eutils)
    assert [row["symbol"] for row in rows(found, "genes")] == ["INS", "SEPTIN2", "OPN4"]
    assert {row["old_gene_id"]: (row["gene_id"], row["old_symbol"]) for row in rows(found, "history")} == {
        900001: (94233, "MELANOPSIN1"),
        900002: (4735, "SEPT2A"),
        900003: (4735, "SEPT2B"),
        900004: (0, "LOC900004"),
    }


def test_a_mouse_gene_brings_its_human_ortholog(eutils, caplog):
    caplog.set_level("INFO", "genetext")
    found = fetch_genes(["Opn4", "Trp53", "Rora", "Gm5493", "Hba-a1"], MOUSE, eutils=eutils)
    assert {row["gene_id"]: (row["human_symbol"], row["one_to_one"]) for row in rows(found, "orthologs")} == {
        30044: ("OPN4", True),
        22059: ("TP53", True),  # human TP53 goes by TRP53 too
        19883: ("RORA", True),
    }
    assert [(row["tax_id"], row["gene_id"]) for row in rows(found, "summaries")] == [
        (9606, 6095),
        (9606, 7157),
        (10090, 22059),
        (9606, 94233),
    ]
    assert "no human ortholog found at NCBI for Hba-a1, Gm5493" in caplog.text


def test_a_human_gene_with_several_orthologs_is_not_one_to_one(tmp_path):
    folder = write_ncbi(tmp_path / "ncbi")
    with NcbiServer(folder) as server:
        server.rates.without_key = 10_000
        server.database.groups[94233].add(69300)
        found = fetch_genes(["Opn4"], MOUSE, eutils=Eutils(url=server.eutils_url, interval=0, patience=QUICK))
    assert [row["one_to_one"] for row in rows(found, "orthologs")] == [False]
    assert rows(found, "summaries") == []


def test_none_found_is_an_error(eutils):
    with pytest.raises(
        FetchError, match=r"none of the 2 genes asked for in Homo sapiens: 1: no such GeneID; NOPE: unk"
    ):
        fetch_genes(["1", "NOPE"], HUMAN, eutils=eutils)


def test_many_names_go_in_batches_by_post(tmp_path):
    with NcbiServer(write_ncbi(tmp_path / "ncbi", n_extra=450)) as server:
        server.rates.without_key = 10_000
        told = []
        found = fetch_genes(
            [str(EXTRA_FIRST_ID + number) for number in range(450)],
            HUMAN,
            eutils=Eutils(url=server.eutils_url, interval=0, patience=QUICK),
            progress=lambda *step: told.append(step),
        )
        assert len(rows(found, "genes")) == 450
        assert [len(entry.form["id"].split(",")) for entry in server.requests("esummary.fcgi")] == [200, 200, 50]
        assert {entry.method for entry in server.log} == {"POST"}
        assert told == [("E-utilities", done, 450) for done in (200, 400, 450)]


def test_an_answer_of_several_pages_is_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(entrez, "_PAGE", 7)
    with NcbiServer(write_ncbi(tmp_path / "ncbi", n_extra=40)) as server:
        server.rates.without_key = 10_000
        eutils = Eutils(url=server.eutils_url, interval=0, patience=QUICK)
        names = [f"EXTRA{number}" for number in range(40)]
        found = fetch_genes(names, HUMAN, eutils=eutils)
        assert found.not_found == {}
        assert [row["symbol"] for row in rows(found, "genes")] == names
        assert {row["gene_type"] for row in rows(found, "genes")} == {"protein-coding"}
        starts = [int(entry.form["retstart"]) for entry in server.requests("esearch.fcgi")]
        assert starts[:6] == [0, 7, 14, 21, 28, 35]


def listing(count, *ids):
    """An answer of esearch that announces `count` ids."""
    listed = "".join(f"<Id>{uid}</Id>" for uid in ids)
    return Fault(
        body=b'<?xml version="1.0" ?>\n<!DOCTYPE eSearchResult PUBLIC "-//NLM//DTD esearch 20060628//EN" '
        b'"https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20060628/esearch.dtd">\n'
        + f"<eSearchResult><Count>{count}</Count><RetMax>9</RetMax><RetStart>0</RetStart><IdList>{listed}</IdList>"
        f"</eSearchResult>".encode()
    )


@pytest.mark.parametrize("second", [listing(3), listing(3, 3630, 3630)], ids=["nothing more", "the same again"])
def test_a_cut_answer_is_no_unknown_name(server, eutils, second):
    server.fault("esearch.fcgi", listing(3, 3630), second)
    with pytest.raises(FetchError, match="esearch gave 1 of the 3 genes that it found: try again"):
        fetch_genes(["INS", "TP53"], HUMAN, eutils=eutils)


def test_a_query_that_finds_a_genome_is_told(server, eutils):
    server.fault("esearch.fcgi", listing(193_000, 3630))
    with pytest.raises(FetchError, match="finds 193,000 genes where a handful was asked for"):
        fetch_genes(["INS"], HUMAN, eutils=eutils)


def test_an_answer_without_its_count_is_asked_for_again(server, eutils):
    whole = listing(1, 3630).body
    server.fault("esearch.fcgi", Fault(body=whole.replace(b"<Count>1</Count>", b"")))
    assert len(rows(fetch_genes(["INS"], HUMAN, eutils=eutils), "genes")) == 1


def test_a_name_of_nothing_but_signs_is_unknown(eutils):
    assert fetch_genes(["INS", "**"], HUMAN, eutils=eutils).not_found == {"**": "unknown name"}


def test_dtds_are_kept_below_the_root_asked_for(server, tmp_path, monkeypatch):
    from Bio import Entrez

    # A DTD that Biopython does not bring: where it is not found on the disk, it would be loaded from NCBI.
    (dtd,) = Path(Entrez.__path__[0]).glob("DTDs/eSearch_020511.dtd")
    body = listing(1, 3630).body
    new = b"20060628/esearch.dtd", b"20990101/esearch_of_another_year.dtd"

    def refuse(url):
        raise AssertionError(f"{url} is asked for, although it is here")

    monkeypatch.setattr("Bio.Entrez.Parser.urlopen", refuse)
    for root in (tmp_path / "one", tmp_path / "two"):
        kept = root / eutils_module.FOLDER / "Bio" / "Entrez" / "DTDs"
        kept.mkdir(parents=True)
        shutil.copy(dtd, kept / new[1].partition(b"/")[2].decode())
        server.fault("esearch.fcgi", Fault(body=body.replace(*new)))
        eutils = Eutils(url=server.eutils_url, interval=0, patience=QUICK, root=root)
        assert len(rows(fetch_genes(["INS"], HUMAN, eutils=eutils), "genes")) == 1
        shutil.rmtree(root)
    assert not (disk.cache_dir() / eutils_module.FOLDER).exists()
    assert not (tmp_path / "one").exists()


def test_biopythons_own_folder_is_left_to_others(server, tmp_path, monkeypatch):
    from Bio import Entrez
    from Bio.Entrez.Parser import DataHandler

    before = DataHandler.directory
    try:
        DataHandler.directory = str(tmp_path / "mine")
        monkeypatch.setattr(Entrez, "local_cache", str(tmp_path / "mine"))
        fetch_genes(
            ["INS"], HUMAN, eutils=Eutils(url=server.eutils_url, interval=0, patience=QUICK, root=tmp_path / "root")
        )
        assert DataHandler.directory == Entrez.local_cache == str(tmp_path / "mine")
        assert DataHandler.local_dtd_dir.startswith(str(tmp_path / "mine"))
        assert (tmp_path / "root" / eutils_module.FOLDER).is_dir()
    finally:
        DataHandler.directory = before


@pytest.mark.parametrize("email", ["ann@example.org", None])
def test_without_an_email_one_warning_says_so(server, monkeypatch, caplog, email):
    eutils_module._ask_for_email.cache_clear()
    monkeypatch.delenv("NCBI_EMAIL", raising=False)
    if email:
        monkeypatch.setenv("NCBI_EMAIL", email)
    for _ in range(2):
        fetch_genes(["INS", "TP53"], HUMAN, eutils=Eutils(url=server.eutils_url, interval=0, patience=QUICK))
    assert caplog.text.count("set NCBI_EMAIL") == (0 if email else 1)


@pytest.mark.parametrize("url", ["https://ann:s3cret@host:abc/", "http://[::1/"])
def test_an_address_that_is_none(url):
    with pytest.raises(FetchError, match="the address of E-utilities is not a URL") as caught:
        Eutils(url=url)
    assert "s3cret" not in str(caught.value)


def test_tool_and_email_are_sent(server, monkeypatch):
    monkeypatch.setenv("NCBI_EMAIL", "ann@example.org")
    monkeypatch.setenv("NCBI_API_KEY", KEY)
    fetch_genes(["INS"], HUMAN, eutils=Eutils(url=server.eutils_url, interval=0, patience=QUICK))
    assert {(entry.form["tool"], entry.form["email"], entry.form["api_key"]) for entry in server.log} == {
        ("genetext", "ann@example.org", KEY)
    }


@pytest.mark.parametrize(("key", "most"), [(None, 3), (KEY, 10)])
def test_the_limit_is_kept_by_all_threads_together(tmp_path, key, most):
    with NcbiServer(write_ncbi(tmp_path / "ncbi")) as server:
        eutils = Eutils(url=server.eutils_url, api_key=key, patience=QUICK)
        assert server.rates.without_key == 3

        def ask():
            with web.client(QUICK) as client:
                for _ in range(most // 2 + 1):
                    eutils.ask(client, "esearch", entrez._page, db="gene", term="INS[Preferred Symbol]")

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.log) == 3 * (most // 2 + 1)
        assert server.rates.refused == 0
        at = [entry.at for entry in server.log]
        assert all(late - early > 1 for early, late in zip(at, at[most:], strict=False))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, retry_after="0"),
        Fault(status=500),
        Fault(status=502),
        Fault(cut=200),
        Fault(truncate=300),
        html(),
        Fault(body=b'<?xml version="1.0" ?>\n<!DOCTYPE eSearchResult PUBLIC "-//NLM//DTD esearch 20060628//EN" '
        b'"https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20060628/esearch.dtd">\n'
        b"<eSearchResult><ERROR>Search Backend failed: read failed</ERROR></eSearchResult>"),
    ],
    ids=["429", "500", "502", "cut", "truncated", "html", "error"],
)  # fmt: skip
def test_what_passes_is_survived(server, eutils, fault):
    server.fault("esearch.fcgi", fault)
    server.fault("esummary.fcgi", Fault(status=503))
    assert len(rows(fetch_genes(["INS"], HUMAN, eutils=eutils), "genes")) == 1


def test_too_fast_is_slowed_down_by_retry_after(tmp_path):
    with NcbiServer(write_ncbi(tmp_path / "ncbi")) as server:
        server.rates.without_key = 2
        eutils = Eutils(url=server.eutils_url, interval=0, patience=QUICK)
        with web.client(QUICK) as client:
            for _ in range(3):
                eutils.ask(client, "esearch", entrez._page, db="gene", term="INS[Preferred Symbol]")
        assert [entry.status for entry in server.log] == [200, 200, 429, 200]
        assert server.log[3].at - server.log[2].at >= 1


@pytest.mark.parametrize(
    ("fault", "kind", "found"),
    [
        (Fault(status=429, again=None), FetchError, "429 Too Many Requests"),
        (Fault(status=503, again=None), Unreachable, "503 Service Unavailable"),
        (Fault(status=404, again=None), FetchError, "404 Not Found"),
        (html(again=None), FetchError, "begins with '<!DOCTYPE html>"),
        (Fault(status=307, again=None), FetchError, "307 Temporary Redirect"),
        (Fault(body=b'{"error":"API key ' + KEY.encode() + b'"}', again=None), FetchError, "not NCBI's XML"),
        (Fault(stall=0, cut=0, again=None), FetchError, "broke off"),
    ],
    ids=["429", "503", "404", "html", "307", "json", "cut"],
)  # fmt: skip
def test_errors_name_the_utility_and_never_the_key(server, caplog, fault, kind, found):
    caplog.set_level(logging.DEBUG)
    eutils = Eutils(url=server.eutils_url, api_key=KEY, interval=0, patience=QUICK)
    server.fault("esearch.fcgi", fault)
    with pytest.raises(FetchError) as caught:
        fetch_genes(["INS"], HUMAN, eutils=eutils)
    assert type(caught.value) is kind
    assert f"{server.eutils_url}esearch: " in str(caught.value)
    assert found in str(caught.value)
    assert len(server.log) == (1 if found[:3] in {"404", "307"} else 3)
    assert_hidden(caught.value, caplog.text, repr(eutils))
    assert all(KEY not in entry.path and KEY not in json.dumps(entry.headers) for entry in server.log)


def test_a_refused_key_is_told_without_the_key(server, caplog):
    caplog.set_level(logging.DEBUG)
    wrong = "fedcba9876543210fedcba9876543210fedc"
    eutils = Eutils(url=server.eutils_url, api_key=wrong, interval=0, patience=QUICK)
    with pytest.raises(FetchError, match="NCBI refuses the API key of NCBI_API_KEY") as caught:
        fetch_genes(["INS"], HUMAN, eutils=eutils)
    assert len(server.log) == 1
    assert_hidden(caught.value, caplog.text, secret=wrong)


def test_unreachable_eutils_hide_the_key(caplog):
    caplog.set_level(logging.DEBUG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        eutils = Eutils(url=f"http://127.0.0.1:{taken.getsockname()[1]}/", api_key=KEY, interval=0, patience=QUICK)
        with pytest.raises(Unreachable, match="cannot connect") as caught:
            fetch_genes(["INS"], HUMAN, eutils=eutils)
    assert_hidden(caught.value, caplog.text)


def assert_hidden(error, *texts, secret=KEY):
    """The secret is in no message of the chain of errors, nor in what else was said."""
    chain = io.StringIO()
    while error is not None:
        traceback.print_exception(error, file=chain, chain=False)
        chain.write(repr(error) + repr(vars(error)) * (not isinstance(error, httpx.HTTPError)))
        error = error.__cause__ or error.__context__
    for text in (chain.getvalue(), *texts):
        assert secret not in text


def test_a_species_out_of_the_taxonomy(server, eutils):
    cat = find_species("felis_catus", eutils=eutils)
    assert cat == Species(9685, "felis-catus", "Felis catus", "Mammalia")
    assert find_species("honey bee", eutils=eutils).group == "Invertebrates"
    assert find_species("Mus domesticus", eutils=eutils).tax_id == 10090


def test_a_species_that_the_taxonomy_does_not_know_or_knows_twice(eutils):
    with pytest.raises(SpeciesError, match=r"does not know 'Felix catus'"):
        find_species("Felix catus", eutils=eutils)
    with pytest.raises(SpeciesError, match=r"several taxa: Morganella \(581\), Morganella \(90690\)"):
        find_species("Morganella", eutils=eutils)
