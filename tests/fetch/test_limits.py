"""A few bytes that unpack to more than memory or patience has are refused by name, and nothing of them is kept."""

import gzip
import time
import tracemalloc

import pytest

from genetext import disk
from genetext.acquire import fetch
from genetext.errors import FetchError
from genetext.fetch.download import Source, fetch_file
from genetext.fetch.integrity import check_gzip
from genetext.fetch.limits import Limits
from genetext.fetch.web import Patience
from genetext.species import HUMAN
from genetext.text import parse, tables
from genetext.text.snapshot import list_snapshots
from tests.factory import HEADERS, write_ncbi
from tests.servers.ncbi import Fault, NcbiServer

QUICK = Patience(attempts=2, content_attempts=2, base=0.01, cap=0.02)
SUMMARY = "\t".join(HEADERS["gene_summary"]) + "\n"


def write(path, *blocks):
    with gzip.open(path, "wb", compresslevel=1) as handle:
        for block in blocks:
            handle.write(block)
    return path


@pytest.fixture
def newlines(tmp_path):
    """A table of 96 MiB of empty lines, in 0.4 MB."""
    return write(tmp_path / "gene_summary.gz", SUMMARY.encode(), *[b"\n" * (1 << 20)] * 96)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(file=10_000), "is too large: it unpacks to more than 10,000 bytes.*GENETEXT_MAX_FILE"),
        (Limits(), "is too large: it unpacks to more than 200 times its packed size.*GENETEXT_MAX_RATIO"),
    ],
    ids=["file", "ratio"],
)
def test_a_bomb_is_not_read_to_its_end(newlines, limits, message):
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(FetchError, match=rf"gene_summary\.gz {message}"):
            parse.summaries_table(newlines, HUMAN, limits=limits)
        with pytest.raises(FetchError, match=rf"gene_summary\.gz {message}"):
            check_gzip(newlines, "gene_summary.gz", limits=limits)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 20


def test_what_is_long_and_right_is_read(newlines):
    with pytest.raises(FetchError, match="a header and no rows"):
        parse.summaries_table(newlines, HUMAN, limits=Limits(ratio=2000))


@pytest.mark.parametrize("line", [1, 5_000], ids=["header", "row"])
def test_a_line_has_a_limit(tmp_path, line):
    row = f"9606\t1\tRefSeq\t{'x' * line}\n"
    path = write(tmp_path / "gene_summary.gz", SUMMARY.encode(), b"9606\t2\tRefSeq\tIt is.\n", row.encode())
    limit = len(SUMMARY) - 20 if line == 1 else 1000
    with pytest.raises(FetchError) as caught:
        parse.summaries_table(path, HUMAN, limits=Limits(line=limit))
    number = 1 if line == 1 else 3
    assert str(caught.value) == (
        f"{path}, line {number}: it has more than {limit:,} bytes: if that is right, set GENETEXT_MAX_LINE higher"
    )


@pytest.mark.parametrize("name", ["gene_summary", "gene2go", "gene2ensembl", "gene_history"])
def test_the_rows_of_one_gene_have_a_limit(tmp_path, name):
    fields = dict.fromkeys(HEADERS[name], "-") | {"#tax_id": "9606", "GeneID": "7157", "Discontinued_GeneID": "3"}
    row = "\t".join(fields[column] for column in HEADERS[name]) + "\n"
    path = write(tmp_path / f"{name}.gz", ("\t".join(HEADERS[name]) + "\n" + row * 1000).encode())
    readers = {
        "gene_summary": parse.summaries_table,
        "gene2go": parse.go_table,
        "gene2ensembl": parse.read_ensembl,
        "gene_history": parse.read_history,
    }
    readers[name](path, HUMAN, limits=Limits())
    message = rf"{name}\.gz, line \d+: the rows of GeneID '7157' have more than 5,000 bytes.*GENETEXT_MAX_GENE"
    with pytest.raises(FetchError, match=message):
        readers[name](path, HUMAN, limits=Limits(gene=5000))


def test_a_bomb_from_a_server_is_refused_and_not_kept(tmp_path, newlines):
    with NcbiServer(write_ncbi(tmp_path / "ncbi")) as server:
        server.fault("gene_summary.gz", Fault(body=newlines.read_bytes(), again=None))
        with pytest.raises(FetchError, match="too large: it unpacks to more than 200 times .*; nothing of it was kept"):
            fetch("human", source=server.url, patience=QUICK)
        assert not list_snapshots()
        assert not list((disk.cache_dir() / "downloads").rglob("gene_summary.gz*"))


def test_a_body_without_an_end_is_not_received(tmp_path):
    with NcbiServer(write_ncbi(tmp_path / "ncbi")) as server:
        source = Source.parse(server.url)
        with pytest.raises(FetchError, match="too large: it has more than 1,000 bytes"):
            fetch_file(source, "gene_summary.gz", patience=QUICK, limits=Limits(file=1000))
        assert not list((disk.cache_dir() / "downloads").rglob("*.gz*"))


def test_limits_come_from_python_or_the_environment(tmp_path, monkeypatch):
    folder = write_ncbi(tmp_path / "ncbi")
    with pytest.raises(FetchError, match="more than 30 bytes"):
        fetch("human", source=folder, limits=Limits(line=30))
    monkeypatch.setenv("GENETEXT_MAX_LINE", "40")
    assert Limits.from_environment() == Limits(line=40)
    with pytest.raises(FetchError, match="more than 40 bytes"):
        fetch("human", source=folder)
    for value in ("0", "-1", "1e9", "many", "9" * 30):
        monkeypatch.setenv("GENETEXT_MAX_LINE", value)
        with pytest.raises(FetchError, match=r"(GENETEXT_MAX_LINE|limit line) is .*: it has to be .*1"):
            list(tables.rows(folder / "gene_info.gz", columns={}, tax_ids=[9606]))
    with pytest.raises(FetchError, match="the limit gene is 0: it has to be 1 or more"):
        Limits(gene=0)
