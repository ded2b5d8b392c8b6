"""What servers, addresses and files write that nobody expects: one sentence, and the next request works."""

import gzip
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genetext import disk
from genetext.acquire import fetch
from genetext.errors import DiskError, FetchError, SnapshotError
from genetext.fetch import entrez, eutils
from genetext.fetch.download import Source, fetch_file, problem_with
from genetext.fetch.entrez import fetch_genes, find_species
from genetext.fetch.eutils import Eutils
from genetext.fetch.web import Patience
from genetext.species import HUMAN
from genetext.verify import verify
from tests.factory import write_ncbi
from tests.servers.ncbi import Fault, NcbiServer
from tests.servers.ncbi_eutils import Database

NAME = "gene_summary.gz"
QUICK = Patience(attempts=2, content_attempts=2, base=0.001, cap=0.002, connect=2.0, read=1.0)
LONG_LABEL = "a" * 64
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def server(tmp_path):
    with NcbiServer(write_ncbi(tmp_path / "ncbi")) as running:
        running.rates.without_key = 10**9
        yield running


def get(server):
    return fetch_file(Source.parse(server.url), NAME, patience=QUICK)


@pytest.mark.parametrize(
    "value", ['"é"', '"\x7f"', '"' + "a" * 5000 + '"', '"\udc80"'.encode("latin-1", "ignore").decode()]
)
@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("cut", [None, 1000])
def test_validators_that_cannot_be_sent_back_are_none(server, header, value, cut):
    server.etags = False
    server.fault(NAME, Fault(headers={header: value}, cut=cut), Fault(headers={header: value}))
    first = get(server)
    assert get(server).sha256 == first.sha256
    recorded = json.loads(first.path.with_name(f"{NAME}.json").read_text())
    assert value == '""' or value not in (recorded["etag"], recorded["last_modified"])


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 99 Foo 99999 99:99:99 GMT",
        "1 Jan 99999999999999999999 00:00:00",
        "yesterday",
        "(((",
    ],
)
def test_a_date_that_is_none_does_no_harm(server, date):
    server.fault(NAME, Fault(headers={"Last-Modified": date}))
    assert len(fetch("human", source=server.url, patience=QUICK).genes)


@pytest.mark.parametrize("wait", ["é", "-5", "9" * 400, "1e400", "Fri, 31 Dec 9999 23:59:59 -2359", "nan", "inf"])
def test_an_absurd_wait_is_told_or_not_heard(server, wait):
    server.fault(NAME, Fault(status=503, retry_after=wait))
    try:
        get(server)
    except FetchError as error:
        assert re.search(r"the server asks to wait [\d,]+ s", str(error))


@pytest.mark.parametrize(
    "location",
    [
        f"http://{LONG_LABEL}.example/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "http://[bad/",
        "http://",
        "http:///x",
        "ftp://127.0.0.1/x",
        "mailto:ann@example.org",
        "http://\xff\xfe/",
        "//:x@:/",
        "\x01",
        "",
        NAME,  # itself, for ever
    ],
)
def test_a_redirect_to_nonsense_is_one_sentence(server, location):
    server.fault(NAME, Fault(status=302, headers={"Location": location}, again=None))
    with pytest.raises(FetchError) as caught:
        get(server)
    assert "\n" not in str(caught.value)
    assert server.url + NAME in str(caught.value)


@pytest.mark.parametrize("span", ["bytes 0-1/9", f"bytes {'9' * 5000}-1/2", "bytes é-1/2", "nonsense", "", "bytes */*"])
def test_a_range_that_is_none_is_asked_for_again(server, span):
    server.fault(NAME, Fault(cut=1000), Fault(status=206, headers={"Content-Range": span}))
    patience = Patience(attempts=4, base=0.001, cap=0.002)
    file = fetch_file(Source.parse(server.url), NAME, patience=patience)
    assert file.sha256 == disk.sha256_file(server.folder / NAME)


@pytest.mark.parametrize(
    "where",
    [
        f"https://{LONG_LABEL}.example/",
        f"https://{'a.' * 200}example/",
        "https://host:-1/",
        "https://host:99999999999999999999/",
        "https://a..b/",
        "https://ann:s3cret/x@host/",
        "https:///x",
        "nul\0byte",
        "x" * 5000,
        "://",
    ],
)
def test_an_address_that_is_none_is_one_sentence(where):
    for read in (Source.parse, lambda url: fetch("human", source="ncbi", ncbi_url=url)):
        with pytest.raises(FetchError, match="the source") as caught:
            read(where)
        assert "s3cret" not in str(caught.value)
    if "://" in where:
        with pytest.raises(FetchError, match="the address of E-utilities"):
            Eutils(url=where)


@pytest.mark.parametrize("name", ["nul\0byte", "x" * 5000])
def test_a_snapshot_that_no_path_can_name_is_one_sentence(name):
    with pytest.raises(SnapshotError, match="neither a folder nor the beginning of"):
        fetch("human", snapshot=name)


def test_the_home_of_a_user_whom_nobody_knows_is_one_sentence():
    for options in ({"source": "~nosuchuser/ncbi"}, {"snapshot": "~nosuchuser/snapshot"}):
        with pytest.raises(DiskError, match="~nosuchuser/.*: the home directory of that user is not known here"):
            fetch("human", **options)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
)
FIELDS = ("url", "etag", "last_modified", "sha256", "size", "mtime_ns")
RECORDS = st.one_of(
    st.binary(max_size=40),
    VALUES.map(json.dumps).map(str.encode),
    st.just(b"[" * 100_000),
    st.dictionaries(st.sampled_from(FIELDS), VALUES).map(json.dumps).map(str.encode),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=2).map(lambda values: ("changed", values)),
)


@settings(quick, max_examples=15)
@given(record=RECORDS, part=RECORDS)
def test_a_garbled_record_costs_a_download_and_nothing_else(server, caplog, record, part):
    whole = get(server)
    sidecar, partial = (whole.path.with_name(f"{NAME}.{end}") for end in ("json", "part.json"))
    written = json.loads(sidecar.read_bytes())
    for path, content in ((sidecar, record), (partial, part)):
        if isinstance(content, tuple):
            content = json.dumps(written | content[1]).encode()
        path.write_bytes(content)
    whole.path.with_name(f"{NAME}.part").write_bytes(whole.path.read_bytes()[:1000])
    again = get(server)
    assert again.path.read_bytes() == (server.folder / NAME).read_bytes()
    assert again.sha256 == disk.sha256_file(server.folder / NAME)
    assert problem_with(again.path) is None


@pytest.mark.parametrize("record", [b"{", b"[]", b"[" * 100_000, b'{"sha256": 5}', b"\xff", b'{"etag": "\xc3\xa9"}'])
def test_a_garbled_record_is_named_by_verify_and_set_aside_by_fetch(server, caplog, record):
    file = get(server)
    sidecar = file.path.with_name(f"{NAME}.json")
    sidecar.write_bytes(record)
    _, problems = verify()
    assert problems == [f"{sidecar} is damaged: delete it, and fetch again"]
    get(server)
    assert f"{sidecar} is damaged" in caplog.text
    assert verify() == (1, [])


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Answers as NCBI writes them, and how each is read."""
    database = Database(write_ncbi(tmp_path_factory.mktemp("ncbi")) / "gene" / "DATA")
    genes = database.answer("esummary", {"db": "gene", "id": "7157,94233"})
    search = database.answer("esearch", {"db": "gene", "term": "TP53[Gene Name]"})
    taxa = database.answer("efetch", {"db": "taxonomy", "id": "9685"})
    return [(genes, entrez._documents), (search, entrez._page), (taxa, entrez._taxa)]


def garbled(draw, answer):
    """Change some of an answer's elements and texts; the type of document stays, it is fetched from NCBI otherwise."""
    tokens = re.split(r"(<[^>]*>)", answer.decode())
    body = next(place for place, token in enumerate(tokens) if token.startswith("<!DOCTYPE")) + 1
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(body, len(tokens) - 1))
        tokens[place] = draw(
            st.sampled_from(
                ["", "x", "-1", "9" * 30, "\u0665", "<Id>x</Id>", "<Id/>", "</Id>", "<a>" * 2000, "&x;", "\0"]
            )
        )
        if draw(st.booleans()):
            del tokens[place : place + draw(st.integers(1, 12))]
    return "".join(tokens).encode()


@settings(quick, max_examples=150)
@given(data=st.data())
def test_garbled_answers_of_eutilities_are_bad_answers(answers, tmp_path, data):
    answer, read = data.draw(st.sampled_from(answers))
    try:
        eutils._read(garbled(data.draw, answer), read, tmp_path)
    except eutils._BadAnswer as problem:
        assert "\n" not in str(problem)


@pytest.mark.parametrize(
    ("utility", "instead", "message"),
    [
        ("esearch.fcgi", (rb"<Id>\d+", b"<Id>seven"), "'seven' where a number is due"),
        ("esearch.fcgi", (rb"<Count>\d+</Count>", b""), "the answer has no Count"),
        ("esearch.fcgi", (rb"<Count>\d+", b"<Count>" + b"9" * 30), "where a number is due"),
        ("esummary.fcgi", (rb'uid="\d+"', b'uid="x"'), "'x' where a number is due"),
        ("esummary.fcgi", (rb' uid="\d+"', b""), "the answer has no uid"),
        ("esummary.fcgi", (rb"<TaxID>\d+", b"<TaxID>9606.5"), "'9606.5' where a number is due"),
        ("esummary.fcgi", (rb"(?s)<Organism>.*</Organism>", b""), "the answer has no Organism"),
        ("esummary.fcgi", (rb"(?s)<DocumentSummarySet.*</DocumentSummarySet>", b""), "the answer has no"),
        ("efetch.fcgi", (rb"<TaxId>\d+", b"<TaxId>cat"), "'cat' where a number is due"),
        ("efetch.fcgi", (rb"<ScientificName>.*</ScientificName>", b""), "the answer has no ScientificName"),
        ("efetch.fcgi", (rb"(?s)<Taxon>.*</Taxon>", b""), "the answer has no Taxon"),
    ],
)
def test_fields_that_are_absent_or_no_numbers_are_one_sentence(server, utility, instead, message):
    asked = Eutils(url=server.eutils_url, interval=0, patience=QUICK)
    form = {"db": "gene", "id": "7157", "term": "TP53[Gene Name]"}
    if utility == "efetch.fcgi":
        form = {"db": "taxonomy", "id": "9685"}
    answer = server.database.answer(utility.removesuffix(".fcgi"), form)
    body = re.sub(*instead, answer)
    assert body != answer
    server.fault(utility, Fault(body=body, content_type="text/xml", again=None))
    with pytest.raises(FetchError, match=message) as caught:
        if utility == "efetch.fcgi":
            find_species("felis catus", eutils=asked)
        else:
            fetch_genes(["TP53"], HUMAN, eutils=asked)
    assert str(caught.value).startswith(server.eutils_url)
    assert len(server.requests(utility)) == QUICK.content_attempts


def test_an_answer_without_an_end_is_refused(server, monkeypatch):
    monkeypatch.setattr(eutils, "LONGEST_ANSWER", 1000)
    server.fault("esearch.fcgi", Fault(body=gzip.compress(b"x" * 10_000), headers={"Content-Encoding": "gzip"}))
    with pytest.raises(FetchError, match="the answer has more than 1,000 bytes"):
        fetch_genes(["TP53"], HUMAN, eutils=Eutils(url=server.eutils_url, interval=0, patience=QUICK))
