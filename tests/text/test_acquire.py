"""From a species' name to a snapshot: whole or not at all, once, and from what is at hand."""

import gzip
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from genetext import disk, manifest
from genetext.acquire import fetch, find_species
from genetext.errors import FetchError, SnapshotError, SpeciesError, Unreachable
from genetext.fetch.download import NCBI
from genetext.fetch.web import Patience
from genetext.species import Species
from genetext.text import parse
from genetext.text.snapshot import SCHEMAS, Snapshot, latest, list_snapshots
from tests.factory import EXTRA_FIRST_ID, HUMAN_INFO, edit_summaries, write_ncbi
from tests.servers.ncbi import Fault, NcbiServer, empty, html

QUICK = Patience(attempts=3, content_attempts=2, base=0.01, cap=0.02, connect=2.0, read=0.3)
FILES = [HUMAN_INFO, "gene_summary.gz", "gene2go.gz", "gene_history.gz", "gene2ensembl.gz"]


@pytest.fixture
def folder(tmp_path):
    return write_ncbi(tmp_path / "ncbi")


@pytest.fixture
def server(folder):
    with NcbiServer(folder) as running:
        running.rates.without_key = 10_000
        yield running


@pytest.fixture
def ncbi(server, monkeypatch):
    """The same server, at NCBI's own address."""
    monkeypatch.setattr("genetext.acquire.NCBI", server.url)
    return server


@pytest.fixture
def nowhere():
    """The URL of a port that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


@pytest.fixture
def no_socket(monkeypatch):
    """Fail at the first connection, and at the first name that is looked up."""

    def refuse(*args, **options):
        raise AssertionError(f"a connection was opened: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture
def no_parse(monkeypatch):
    def refuse(*args):
        raise AssertionError("the files were parsed")

    return lambda: monkeypatch.setattr(parse, "assemble", refuse)


def get(species, where, **options):
    return fetch(species, source=where.url if isinstance(where, NcbiServer) else where, patience=QUICK, **options)


def snapshot_folders():
    return sorted((disk.cache_dir() / "snapshots").glob("*/*"))


def test_a_species_becomes_a_snapshot_that_says_where_it_is_from(server):
    human = get("human", server)
    assert human.path.parent == disk.cache_dir() / "snapshots" / "human"
    assert re.fullmatch(r"ncbi-\d{4}-\d\d-\d\d-[0-9a-f]{12}", human.path.name)
    assert human.manifest["species"] == {"tax_id": 9606, "name": "human", "latin": "Homo sapiens"}
    source = human.manifest["source"]
    assert (source["kind"], source["where"]) == ("ncbi", server.url)
    assert set(source["files"]) == {"gene_info", "gene_summary", "gene2go", "gene_history", "gene2ensembl"}
    for entry in source["files"].values():
        path = server.folder / entry["name"]
        assert entry["sha256"] == disk.sha256_file(path)
        assert entry["size"] == path.stat().st_size
        assert entry["last_modified"].endswith("GMT")
    assert human.genes["symbol"].tolist().count("OPN4") == 1
    assert human.manifest["counts"]["genes"] == len(human.genes) > 20
    assert len(human.summaries) > 15


def test_a_second_fetch_costs_304s_and_no_parse(server, no_parse):
    first = get("mouse", server)
    asked = len(server.log)
    no_parse()
    second = get("mouse", server)
    assert second.path == first.path
    assert [(entry.status, entry.sent) for entry in server.log[asked:]] == [(304, 0)] * 7


def test_species_share_their_downloads(server):
    get("human", server)
    get("mouse", server)
    sent = [entry.path for entry in server.log if entry.status == 200]
    assert len(sent) == len(set(sent)) == 7


def test_the_same_input_gives_the_same_bytes_from_wherever(server, folder, tmp_path):
    online = get("mouse", server, root=tmp_path / "one")
    again = get("mouse", server, root=tmp_path / "two")
    local = get("mouse", folder, root=tmp_path / "three")
    assert again.manifest.to_json() == online.manifest.to_json()
    assert local.digest == online.digest
    assert local.manifest["source"]["where"] == "folder"
    assert str(tmp_path) not in json.dumps(local.manifest.to_json())
    assert local.path.name.rpartition("-")[2] == online.path.name.rpartition("-")[2]


def test_a_new_date_on_the_same_content_is_the_same_snapshot(server, no_parse):
    first = get("human", server)
    for name in FILES:
        os.utime(server.folder / name, (2e9, 2e9))
    no_parse()
    assert get("human", server).path == first.path


def test_changed_content_is_a_new_snapshot_and_the_latest(server):
    first = get("human", server)
    edit_summaries(server.folder, {94233: "Sees light, in other words."})
    second = get("human", server)
    assert second.path != first.path
    assert "Sees light, in other words." in second.summaries["summary"].tolist()
    assert latest("human").path == second.path
    assert [item.path for item in list_snapshots("human")] == [second.path, first.path]
    assert list_snapshots("mouse") == []
    assert latest("mouse") is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, retry_after="0"),
        Fault(status=503),
        Fault(cut=30),
        Fault(truncate=30),
        html(),
        empty(),
    ],
    ids=["429", "503", "cut", "truncated", "html", "empty"],
)
def test_faults_that_pass_leave_no_trace(server, name, fault, tmp_path):
    server.fault(name, fault)
    assert get("human", server).digest == get("human", server.folder, root=tmp_path / "clean").digest


def test_a_stall_leaves_no_trace(server, tmp_path):
    server.fault("gene2go.gz", Fault(stall=30))
    assert get("human", server).digest == get("human", server.folder, root=tmp_path / "clean").digest


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (Fault(status=500, again=None), "500 Internal Server Error"),
        (Fault(truncate=60, again=None), "truncated"),
        (html(again=None), "HTML page titled 'Scheduled maintenance'"),
        (empty(again=None), "empty"),
        (Fault(header=b"#tax_id\tOther\tThings", again=None), "header"),
    ],
    ids=["500", "truncated", "html", "empty", "header"],
)
def test_faults_that_stay_are_told_and_nothing_enters_a_snapshot(server, name, fault, found):
    server.fault(name, fault)
    with pytest.raises(FetchError) as caught:
        get("human", server)
    assert name in str(caught.value)
    assert found in str(caught.value)
    assert snapshot_folders() == []
    server.faults.clear()
    assert len(get("human", server).genes) > 20  # and when the server is well again, so is the fetch


def test_after_a_changed_header_nothing_is_asked_conditionally(server):
    path = server.folder / "gene2go.gz"
    good = path.read_bytes()
    path.write_bytes(gzip.compress(b"#nothing\tof\tthis\n1\t2\t3\n", mtime=0))
    with pytest.raises(FetchError, match="header"):
        get("human", server)
    asked = len(server.log)
    path.write_bytes(good)
    get("human", server)
    assert all("If-None-Match" not in entry.headers for entry in server.log[asked:])


@pytest.mark.parametrize("damage", ["empty", "html", "truncated", "header"])
def test_a_bad_file_in_a_folder_is_told(folder, damage):
    path = folder / "gene_summary.gz"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "html": b"<html><title>No</title></html>",
            "truncated": whole[:-9],
            "header": gzip.compress(b"#a\tb\n" + gzip.decompress(whole).partition(b"\n")[2]),
        }[damage]
    )
    with pytest.raises(FetchError, match=r"gene_summary\.gz"):
        get("human", folder)
    assert snapshot_folders() == []


def test_a_mirror_without_the_optional_files_will_do(server, caplog):
    caplog.set_level("INFO", "genetext")
    for name in ("gene_orthologs", "gene2go", "gene_history", "gene2ensembl"):
        (server.folder / f"{name}.gz").unlink()
    mouse = get("mouse", server)
    assert len(mouse.genes) > 10
    assert mouse.manifest["counts"]["orthologs"] == mouse.manifest["counts"]["go"] == 0
    assert f"{server.url} has no gene2go.gz: no Gene Ontology terms" in caplog.messages
    assert set(mouse.manifest["source"]["files"]) == {"gene_info", "gene_summary"}


@pytest.mark.parametrize("name", ["gene_summary.gz", "gene_info"])
def test_without_a_required_file_there_is_no_snapshot(server, name):
    for path in server.folder.rglob(f"*{name}*"):
        path.unlink()
    with pytest.raises(FetchError, match=f"has no .*{name}.*, and without it there is no text of Homo sapiens"):
        get("human", server)


def test_a_species_without_a_file_of_its_own(server):
    fish = get("zebrafish", server)
    assert fish.genes["symbol"].tolist() == ["rho", "pax6a", "tp53", "pax6b"]
    assert [entry.path.rpartition("GENE_INFO")[2] for entry in server.log[:3]] == [
        "/Non-mammalian_vertebrates/Danio_rerio.gene_info.gz",
        "/Non-mammalian_vertebrates/All_Non-mammalian_vertebrates.gene_info.gz",
        "/gene/DATA/gene_info.gz",
    ]
    assert get(7955, server).path == fish.path


def test_human_names_come_from_the_file_of_all_species_where_it_is_here_anyway(server):
    (server.folder / HUMAN_INFO).unlink()
    fish = get("zebrafish", server)
    assert fish.manifest["source"]["files"]["human_gene_info"]["name"] == "gene_info.gz"
    assert "TP53" in fish.orthologs["human_symbol"].tolist()


@pytest.mark.usefixtures("ncbi")
def test_auto_takes_the_snapshot_fetched_last_when_ncbi_is_away(nowhere, caplog):
    kept = fetch("human", patience=QUICK)
    found = fetch("human", patience=QUICK, ncbi_url=nowhere)
    assert found.path == kept.path
    (line,) = caplog.messages
    assert line.startswith("NCBI cannot be reached (")
    assert f"using the snapshot {kept.path.name}" in line


@pytest.mark.parametrize("name", ["human", "mouse"])
def test_auto_takes_the_facts_when_there_is_nothing_else(nowhere, caplog, name):
    found = fetch(name, patience=QUICK, ncbi_url=nowhere)
    assert found.manifest["source"]["kind"] == "facts"
    assert len(found.genes) > 10_000
    (line,) = caplog.messages
    assert "NCBI cannot be reached" in line
    assert "bundled facts" in line
    assert caplog.records[0].levelno == logging.WARNING


def test_auto_without_anything_is_an_error(nowhere):
    with pytest.raises(Unreachable, match="there is nothing on this machine to use instead"):
        fetch("zebrafish", patience=QUICK, ncbi_url=nowhere)


def test_auto_does_not_hide_a_server_that_gives_rubbish(server):
    server.fault("gene_summary.gz", html(again=None))
    with pytest.raises(FetchError, match="HTML page"):
        fetch("human", patience=QUICK, ncbi_url=server.url)


def test_ncbi_or_a_mirror_that_is_away_is_an_error(server, nowhere):
    fetch("human", patience=QUICK, ncbi_url=server.url)
    with pytest.raises(Unreachable, match="--source auto"):
        fetch("human", source="ncbi", patience=QUICK, ncbi_url=nowhere)
    with pytest.raises(Unreachable, match="cannot connect"):
        fetch("human", source=nowhere, patience=QUICK)


def test_addresses_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("GENETEXT_NCBI_URL", server.url.rstrip("/"))
    monkeypatch.setenv("GENETEXT_EUTILS_URL", server.eutils_url.rstrip("/"))
    assert fetch("human", patience=QUICK).manifest["source"]["where"] == server.url
    assert fetch("human", genes=["INS"], patience=QUICK).manifest["source"]["where"] == server.eutils_url


@pytest.mark.usefixtures("no_socket")
def test_offline_opens_no_connection_and_takes_the_facts(caplog):
    found = fetch("human", offline=True)
    assert found.manifest["source"]["kind"] == "facts"
    assert caplog.messages == ["offline, and nothing of NCBI was fetched for human: using the bundled facts"]
    assert fetch("human", source="facts").digest == found.digest


@pytest.mark.parametrize("source", ["ncbi", "auto", "https://mirror.example.org/gene/DATA"])
@pytest.mark.usefixtures("no_socket")
def test_offline_without_anything_says_how_to_prefetch(source):
    with pytest.raises(FetchError) as caught:
        fetch("zebrafish" if source == "auto" else "human", source=source, offline=True)
    shown = {"auto": "", "ncbi": " --source ncbi"}.get(source, f" --source {source}/")
    name = "zebrafish" if source == "auto" else "human"
    assert f"run `genetext fetch --species {name}{shown}` where there is a network" in str(caught.value)


def test_offline_takes_what_was_fetched(ncbi, request):
    online = [get("human", ncbi), fetch("mouse", patience=QUICK)]
    request.getfixturevalue("no_socket")
    assert fetch("human", offline=True).path == online[0].path
    assert fetch("human", source=ncbi.url, offline=True).path == online[0].path
    assert fetch("mouse", source="ncbi", offline=True).path == online[1].path
    with pytest.raises(FetchError, match="nothing was fetched for human before"):
        fetch("human", source="https://elsewhere.example.org/", offline=True)


def test_offline_parses_files_that_were_downloaded(server, request):
    online = get("mouse", server)
    shutil.rmtree(online.path)
    request.getfixturevalue("no_socket")
    assert fetch("mouse", source=server.url, offline=True).digest == online.digest


@pytest.mark.usefixtures("no_socket")
def test_offline_reads_a_folder(folder):
    assert len(fetch("human", source=folder, offline=True).genes) > 20


def test_offline_works_on_a_cache_that_cannot_be_written(server):
    online = get("human", server)
    cache = disk.cache_dir()
    shutil.rmtree(cache / "locks")
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    assert fetch("human", source=server.url, offline=True).path == online.path
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_a_handful_of_genes_through_eutils(server, caplog, request):
    options = {"patience": QUICK, "ncbi_url": server.url, "eutils_url": server.eutils_url}
    few = fetch("human", genes=["OPN4", "TP53", "NOSUCH"], **options)
    assert few.genes["symbol"].tolist() == ["TP53", "OPN4"]
    source = few.manifest["source"]
    assert (source["kind"], source["where"], source["files"]) == ("eutils", server.eutils_url, {})
    assert (source["genes"], source["not_found"]) == (["NOSUCH", "OPN4", "TP53"], {"NOSUCH": "unknown name"})
    assert server.requests("gene_summary.gz") == []
    assert fetch("human", genes=["TP53", "OPN4", "NOSUCH"], **options).path == few.path
    assert latest("human") is None  # a handful is not the species
    request.getfixturevalue("no_socket")
    assert fetch("human", genes=["NOSUCH", "TP53", "OPN4"], offline=True).path == few.path


def test_a_handful_leaves_everything_below_the_root(server, tmp_path):
    root = tmp_path / "elsewhere"
    few = fetch("human", genes=["OPN4"], root=root, patience=QUICK, ncbi_url=server.url, eutils_url=server.eutils_url)
    assert few.path.is_relative_to(root)
    assert (root / "entrez").is_dir()
    assert not disk.cache_dir().exists()


def test_a_handful_when_ncbi_is_away(ncbi, nowhere, caplog):
    away = {"patience": QUICK, "ncbi_url": nowhere, "eutils_url": nowhere}
    few = fetch("human", genes=["OPN4"], **away)
    assert few.manifest["source"]["kind"] == "facts"
    assert few.genes["symbol"].tolist() == ["OPN4"]
    here = {"patience": QUICK, "eutils_url": ncbi.eutils_url}
    known = fetch("human", genes=["OPN4"], **here)
    assert fetch("human", genes=["OPN4"], **away).path == known.path
    whole = fetch("human", **here)
    few = fetch("human", genes=["INS"], **away)
    assert few.manifest["source"]["of"] == whole.digest
    assert caplog.text.count("NCBI cannot be reached") == 3


def test_a_handful_out_of_a_folder(folder, caplog):
    few = get("mouse", folder, genes=["Opn4", "ENSMUSG00000059552.3", "Hba1", "15122", "Gnai3", "rora", "Nope", "RP4"])
    assert few.genes["symbol"].tolist() == ["Gnai3", "Hba-a1", "Trp53", "Opn4", "Rho"]
    assert few.orthologs["human_symbol"].tolist() == ["GNAI3", "HBA1", "HBA2", "TP53", "OPN4", "RHO"]
    whole = get("mouse", folder)
    wanted = {14679, 15122, 22059, 30044, 212541, 2773, 7157, 94233, 6010}
    assert few.summaries.equals(whole.summaries[whole.summaries["gene_id"].isin(wanted)].reset_index(drop=True))
    assert {name: few.table(name).schema for name in SCHEMAS} == dict(SCHEMAS)
    assert caplog.messages == [
        "2 of 8 genes not found: rora (letter case: differs in letter case from Rora), Nope (not in the snapshot)"
    ]
    assert get("mouse", folder, genes=["Opn4"]).path != few.path
    with pytest.raises(FetchError, match=r"none of the 2 genes asked for: AIM1 \(ambiguous: AURKB \(9212\), SLC45A2"):
        get("human", folder, genes=["AIM1", "x"])


def test_a_handful_agrees_with_the_bulk_files(server, folder):
    names = ["TP53", "OPN4", "PAX6", "RORA"]
    online = fetch("human", genes=names, patience=QUICK, eutils_url=server.eutils_url)
    bulk = get("human", folder, genes=names)
    for column in ("gene_id", "symbol", "name", "gene_type"):
        assert online.genes[column].tolist() == bulk.genes[column].tolist()
    assert online.summaries["text"].tolist() == bulk.summaries["text"].tolist()


def test_names_asked_for_over_the_network_follow_the_same_rules(tmp_path):
    """No case is changed, whether a table here knows the gene (TP53, by the facts) or NCBI alone does (EXTRA...)."""
    new = EXTRA_FIRST_ID
    with NcbiServer(write_ncbi(tmp_path / "ncbi", n_extra=4)) as server:
        server.rates.without_key = 10_000
        ways = [f"GeneID:{new}", f"LOC{new + 1}", f"{new + 2}.0", "GRCh38_EXTRA3", "ENSG00000141510.19"]
        few = fetch("human", genes=[*ways, "Trp53", "tp53", "extra1"], patience=QUICK, eutils_url=server.eutils_url)
    assert few.genes["symbol"].tolist() == ["TP53", "EXTRA0", "EXTRA1", "EXTRA2", "EXTRA3"]
    assert few.manifest["source"]["not_found"].keys() == {"Trp53", "tp53", "extra1"}


def test_opening_a_snapshot_by_folder_or_digest(folder):
    human, mouse = get("human", folder), get("mouse", folder)
    assert fetch("human", snapshot=human.path).path == human.path
    assert fetch("human", snapshot=human.digest[:10]).path == human.path
    assert fetch("human", snapshot=human.path.name).path == human.path
    assert fetch("human", snapshot=human) is human
    with pytest.raises(SnapshotError, match="is a snapshot of mouse, not of human"):
        fetch("human", snapshot=mouse.path)
    with pytest.raises(SnapshotError, match=f"neither a folder nor .* here: {human.path.name}"):
        fetch("human", snapshot="ffffffffffff")


def test_a_damaged_snapshot_is_made_anew(folder, caplog):
    first = get("human", folder)
    (first.path / "genes.parquet").unlink()
    assert list_snapshots("human") == []
    second = get("human", folder)
    assert (second.path, second.digest) == (first.path, first.digest)
    assert "it is made anew" in caplog.text


def damage(snapshot, name="genes.parquet"):
    """Change some bytes of a table, and not its size."""
    file = snapshot.path / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize("table", SCHEMAS)
def test_damage_that_leaves_the_size_is_found_and_mended(folder, caplog, table):
    first = get("human", folder)
    damage(first, f"{table}.parquet")
    second = get("human", folder)
    assert (second.path, second.digest) == (first.path, first.digest)
    assert f"{table}.parquet is not the file that the manifest was written for" in caplog.text
    assert "it is made anew" in caplog.text
    assert manifest.verify(second.path, second.manifest) == []
    assert {name: second.table(name).num_rows for name in SCHEMAS} == second.manifest["counts"]


def test_damage_of_a_few_genes_is_mended(folder, caplog):
    first = get("human", folder, genes=["OPN4"])
    damage(first)
    second = get("human", folder, genes=["OPN4"])
    assert second.path == first.path
    assert second.genes["symbol"].tolist() == ["OPN4"]
    assert "it is made anew" in caplog.text


def test_a_damaged_snapshot_is_not_used_offline(server, nowhere, caplog, request):
    damage(fetch("human", source="ncbi", ncbi_url=server.url, patience=QUICK))
    away = fetch("human", ncbi_url=server.url, offline=True)  # out of the downloads
    assert manifest.verify(away.path, away.manifest) == []
    damage(away)
    shutil.rmtree(disk.cache_dir() / "downloads")
    request.getfixturevalue("no_socket")
    with pytest.raises(FetchError, match="offline, and nothing was fetched"):
        fetch("human", source="ncbi", ncbi_url=server.url, offline=True)
    assert "is not the file that the manifest was written for" in caplog.text


def test_a_damaged_snapshot_asked_for_is_told(folder):
    human = get("human", folder)
    damage(human)
    with pytest.raises(SnapshotError, match="is not the file that the manifest was written for"):
        fetch("human", snapshot=human.path)


def test_what_a_folder_gave_is_not_ncbis(folder, nowhere, caplog, request):
    local = get("human", folder)
    with caplog.at_level(logging.WARNING, logger="genetext"):
        found = fetch("human", ncbi_url=nowhere, eutils_url=nowhere, patience=QUICK)
    assert found.manifest["source"]["kind"] == "facts"
    assert "using the bundled facts" in caplog.text
    assert local.path.name not in caplog.text
    request.getfixturevalue("no_socket")
    with pytest.raises(FetchError, match="offline, and nothing was fetched"):
        fetch("human", source="ncbi", offline=True)
    assert fetch("human", offline=True).manifest["source"]["kind"] == "facts"


def test_what_a_mirror_gave_is_ncbis_only_where_it_stands_for_ncbi(server, monkeypatch):
    human = get("human", server)
    shutil.rmtree(disk.cache_dir() / "downloads")
    with pytest.raises(FetchError, match="offline, and nothing was fetched"):
        fetch("human", source="ncbi", offline=True)
    monkeypatch.setenv("GENETEXT_NCBI_URL", server.url)
    assert fetch("human", source="ncbi", offline=True).path == human.path


@pytest.mark.usefixtures("ncbi")
def test_what_ncbi_itself_gave_stays_ncbis_when_a_mirror_stands_for_it(nowhere, monkeypatch):
    human = fetch("human", source="ncbi", patience=QUICK)
    monkeypatch.setenv("GENETEXT_NCBI_URL", nowhere)
    assert fetch("human", source="ncbi", offline=True).path == human.path
    assert fetch("human", patience=QUICK).path == human.path


def test_auto_takes_downloads_that_a_folder_gave_before(server, folder, nowhere, monkeypatch):
    local = get("human", folder)
    same = fetch("human", source="ncbi", ncbi_url=server.url, patience=QUICK)
    assert same.path == local.path  # the same input: parsed once
    server.fault(HUMAN_INFO, Fault(status=503, again=None))
    assert fetch("human", ncbi_url=server.url, patience=QUICK).path == local.path


def test_a_species_out_of_the_taxonomy(server):
    cat = fetch_species(server, "Felis catus")
    assert cat == Species(9685, "felis-catus", "Felis catus", "Mammalia")
    assert fetch_species(server, "Mus domesticus").name == "mouse"
    Snapshot.write(
        disk.cache_dir() / "snapshots" / "felis-catus" / "ncbi-0",
        tables={},
        content={
            "species": {"tax_id": 9685, "name": "felis-catus", "latin": "Felis catus"},
            "source": {"kind": "ncbi", "where": NCBI, "files": {}},
        },
    )
    assert find_species("felis CATUS").tax_id == 9685  # fetched before: found without a network
    assert fetch("Felis catus", offline=True).path.name == "ncbi-0"


def fetch_species(server, name):
    from genetext.fetch.eutils import Eutils

    return find_species(name, eutils=Eutils(url=server.eutils_url, interval=0, patience=QUICK))


def test_a_name_that_nobody_knows(server, nowhere):
    for url in (server.eutils_url, nowhere):
        with pytest.raises(SpeciesError, match="unknown species 'Humann': did you mean human"):
            fetch("Humann", patience=QUICK, ncbi_url=nowhere, eutils_url=url)
    with pytest.raises(SpeciesError, match="unknown species"):
        fetch("Humann", offline=True)


def test_two_fetches_at_once_do_the_work_once(server, monkeypatch):
    parsed, really = [], parse.assemble
    monkeypatch.setattr(parse, "assemble", lambda *args, **options: parsed.append(1) or really(*args, **options))
    found = []
    threads = [threading.Thread(target=lambda: found.append(get("human", server).path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert len(parsed) == 1
    assert sum(entry.status == 200 for entry in server.log) == 5


def test_a_killed_fetch_goes_on(server):
    server.fault("gene_summary.gz", Fault(stall=500, seconds=30))
    script = f"from genetext.acquire import fetch; fetch('human', source={server.url!r}, progress=print)"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as child:
        for line in child.stdout:
            if line.startswith("gene_summary.gz 500"):
                break
        child.kill()
    assert snapshot_folders() == []
    asked = len(server.log)
    assert len(get("human", server).genes) > 20
    assert server.log[asked].path.endswith(HUMAN_INFO)
    assert server.log[asked].status == 304  # what was whole is not loaded again


@pytest.mark.real
@pytest.mark.slow
def test_real_human_and_mouse_from_a_server(real_data, no_parse):
    with NcbiServer(real_data / "ncbi") as server:
        human, mouse = get("human", server), get("mouse", server)
        genes = human.genes
        # Of 20,634 protein-coding rows 26 are mitochondrial genes of Neanderthal and Denisovan (63221, 741158).
        assert (genes["gene_type"] == "protein-coding").sum() == 20_608
        assert len(genes) > 120_000
        assert {"OPN4", "TP53", "RHO"} <= set(genes["symbol"])
        assert human.summaries["gene_id"].nunique() == 15_250
        assert human.manifest["counts"]["go"] > 300_000
        # Of 26,423 rows 52 are mitochondrial genes of four subspecies, filed under taxonomy ids of their own.
        assert (mouse.genes["gene_type"] == "protein-coding").sum() == 26_371
        assert (mouse.summaries["tax_id"] == 10090).sum() == 3_835
        assert mouse.orthologs["one_to_one"].sum() > 16_000
        assert set(human.manifest["source"]["files"]) == {"gene_info", "gene_summary", "gene2go"}
        asked = len(server.log)
        no_parse()
        assert get("human", server).path == human.path
        assert get("mouse", server).path == mouse.path
        assert {entry.status for entry in server.log[asked:]} == {304, 404}


@pytest.mark.real
@pytest.mark.slow
def test_real_files_survive_every_fault_at_once(real_data, tmp_path):
    with NcbiServer(real_data / "ncbi") as server:
        server.fault(HUMAN_INFO, Fault(status=429, retry_after="1"), Fault(cut=1_000_000), Fault(stall=500_000))
        server.fault("gene_summary.gz", html(), Fault(cut=700_000))
        server.fault("gene2go.gz", Fault(truncate=100_000), Fault(status=503), Fault(cut=2_000_000))
        stormy = get("human", server, root=tmp_path / "stormy")
        calm = get("human", real_data / "ncbi", root=tmp_path / "calm")
        assert stormy.digest == calm.digest
        assert [entry.status for entry in server.requests(HUMAN_INFO)] == [429, 200, 206, 206]
