"""Bulk files: once, whole, resumed, and nothing but what they should be."""

import gzip
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from genetext import disk
from genetext.errors import FetchError, Unreachable
from genetext.fetch import download, web
from genetext.fetch.download import Source, fetch_file
from genetext.fetch.integrity import check_gzip
from genetext.fetch.web import Again, Patience
from tests.servers.ncbi import HTML, Fault, NcbiServer, empty, html

NAME = "gene_summary.gz"
QUICK = Patience(attempts=4, base=0.01, cap=0.02, connect=2.0, read=0.3)


def noise(size, seed=0):
    """A gzipped table that does not get smaller."""
    return gzip.compress(b"#tax_id\tGeneID\n" + random.Random(seed).randbytes(size), 0, mtime=0)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "ncbi" / "gene" / "DATA"
    path.mkdir(parents=True)
    (path / NAME).write_bytes(noise(400_000))
    return path


@pytest.fixture
def server(folder):
    with NcbiServer(folder) as running:
        yield running


def get(server, patience=QUICK, **options):
    return fetch_file(Source.parse(server.url), NAME, patience=patience, **options)


def place(server):
    """Where the download lies."""
    return disk.cache_dir() / "downloads" / Source.parse(server.url).id / NAME


def test_a_file_arrives_whole_with_its_record(server, folder):
    file = get(server)
    assert file.path == place(server)
    assert file.path.read_bytes() == (folder / NAME).read_bytes()
    record = json.loads((file.path.parent / f"{NAME}.json").read_text())
    assert record["url"] == server.url + NAME
    assert record["sha256"] == file.sha256 == disk.sha256_file(folder / NAME)
    assert record["size"] == file.size == (folder / NAME).stat().st_size
    assert record["etag"].startswith('"')
    assert record["last_modified"].endswith("GMT")
    assert sorted(path.name for path in file.path.parent.iterdir()) == [NAME, f"{NAME}.json"]


@pytest.mark.parametrize("etags", [True, False])
def test_a_second_fetch_costs_nothing_but_a_304(folder, etags):
    with NcbiServer(folder, etags=etags) as server:
        first = get(server)
        told = first.path.stat().st_mtime_ns
        assert get(server) == first
        assert [(entry.status, entry.sent) for entry in server.log] == [(200, first.size), (304, 0)]
        assert ("If-None-Match" in server.log[1].headers) == etags
        assert first.path.stat().st_mtime_ns == told


def test_a_changed_file_is_fetched_anew(server, folder):
    first = get(server)
    (folder / NAME).write_bytes(noise(1000, seed=1))
    second = get(server)
    assert second.sha256 != first.sha256
    assert second.path.read_bytes() == (folder / NAME).read_bytes()


def test_a_damaged_copy_is_fetched_anew(server, folder):
    file = get(server)
    damaged = bytearray(file.path.read_bytes())
    damaged[5000] ^= 1
    file.path.write_bytes(damaged)
    assert get(server).path.read_bytes() == (folder / NAME).read_bytes()
    assert [entry.status for entry in server.log] == [200, 200]


def test_a_copied_cache_is_still_current(server):
    file = get(server)
    content = file.path.read_bytes()
    file.path.unlink()
    file.path.write_bytes(content)  # another time of change, as after `cp -r`
    get(server)
    assert [entry.status for entry in server.log] == [200, 304]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, retry_after="0"),
        Fault(status=503),
        Fault(status=500),
        Fault(status=408),
        Fault(cut=0),
        Fault(cut=100_000),
        Fault(stall=100_000),
        Fault(stall=0),
        Fault(truncate=100_000),
        html(),
        empty(),
    ],
    ids=str,
)
def test_what_passes_is_survived(server, folder, fault):
    server.fault(NAME, fault)
    assert get(server).path.read_bytes() == (folder / NAME).read_bytes()
    assert len(server.log) == 2


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (html(again=None), "HTML page titled 'Scheduled maintenance'"),
        (empty(again=None), "empty (0 bytes)"),
        (Fault(truncate=100_000, again=None), "truncated: the gzip stream breaks off after 100,000 bytes"),
        (Fault(body=b"\x1f\x8b" + bytes(500), again=None), "damaged"),
        (Fault(body=gzip.compress(b""), again=None), "empty (gzip of 0 bytes)"),
        (Fault(body=gzip.compress(HTML), again=None), "not a table of NCBI Gene"),
        (Fault(body=b"tax_id\tGeneID\n", again=None), "not gzip: it begins with 'tax_id GeneID'"),
        (Fault(cut=0, again=None), "broke off"),
        (Fault(status=403, again=None), "403 Forbidden"),
        (Fault(status=500, again=None), "500 Internal Server Error"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_pass_is_an_error_that_says_what_was_found(server, fault, found):
    good = get(server).path.read_bytes()
    (server.folder / NAME).write_bytes(noise(300_000, seed=2))  # else the good copy would be found current
    server.fault(NAME, fault)
    with pytest.raises(FetchError) as caught:
        get(server)
    assert found in str(caught.value)
    assert server.url + NAME in str(caught.value)
    assert not isinstance(caught.value, Unreachable)
    assert place(server).read_bytes() == good
    if fault.cut is None:  # what was cut off can be continued; what was bad is gone
        assert not place(server).with_name(f"{NAME}.part").exists()


def test_a_bad_first_download_leaves_nothing(server):
    server.fault(NAME, html(again=None))
    with pytest.raises(FetchError, match="HTML page"):
        get(server)
    assert list(place(server).parent.iterdir()) == []
    assert len(server.log) == QUICK.content_attempts


def test_a_cut_download_goes_on_where_it_stopped(server, folder):
    server.fault(NAME, Fault(cut=150_000), Fault(cut=100_000))
    file = get(server)
    assert file.path.read_bytes() == (folder / NAME).read_bytes()
    assert [entry.status for entry in server.log] == [200, 206, 206]
    assert [entry.headers.get("Range") for entry in server.log] == [None, "bytes=150000-", "bytes=250000-"]
    assert server.log[1].headers["If-Range"] == file.etag
    assert sum(entry.sent for entry in server.log) == file.size


def test_progress_starts_the_count_of_tries_anew(server):
    server.fault(NAME, *[Fault(cut=20_000)] * 10)  # more than QUICK.attempts
    assert get(server).size > 0
    assert len(server.log) == 11


def test_a_later_run_goes_on_where_an_earlier_one_stopped(server, folder):
    server.fault(NAME, Fault(cut=150_000))
    with pytest.raises(FetchError, match="broke off"):
        get(server, Patience(attempts=1, read=0.3))
    assert not place(server).exists()
    assert place(server).with_name(f"{NAME}.part").stat().st_size == 150_000
    get(server)
    assert server.log[1].headers["Range"] == "bytes=150000-"
    assert place(server).read_bytes() == (folder / NAME).read_bytes()


def test_a_killed_download_is_resumed(server, folder):
    server.fault(NAME, Fault(stall=200_000, seconds=30))
    script = (
        "from genetext.fetch.download import *; import sys\n"
        f"fetch_file(Source.parse({server.url!r}), {NAME!r}, progress=lambda *step: print(step[1], flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if int(line) == 200_000:
                break
        child.kill()
    # What the process had not flushed is lost with it; what is there is used.
    kept = place(server).with_name(f"{NAME}.part").stat().st_size
    assert 0 < kept <= 200_000
    assert get(server).path.read_bytes() == (folder / NAME).read_bytes()
    assert server.log[-1].headers["Range"] == f"bytes={kept}-"


@pytest.mark.parametrize("etags", [True, False])
def test_a_file_that_changes_between_two_tries_is_not_patched_together(folder, etags):
    with NcbiServer(folder, etags=etags) as server:
        server.fault(NAME, Fault(cut=150_000))
        with pytest.raises(FetchError):
            get(server, Patience(attempts=1))
        (folder / NAME).write_bytes(noise(400_000, seed=3))
        times = (folder / NAME).stat().st_mtime + 60  # NCBI's dates tell seconds apart
        os.utime(folder / NAME, (times, times))
        assert get(server).path.read_bytes() == (folder / NAME).read_bytes()
        assert [entry.status for entry in server.log] == [200, 200]


def test_a_server_without_ranges_sends_all_again(folder):
    with NcbiServer(folder, ranges=False) as server:
        server.fault(NAME, Fault(cut=150_000))
        assert get(server).path.read_bytes() == (folder / NAME).read_bytes()
        assert [entry.status for entry in server.log] == [200, 200]


def test_a_part_longer_than_the_file_is_dropped(server, folder):
    server.fault(NAME, Fault(cut=150_000))
    with pytest.raises(FetchError):
        get(server, Patience(attempts=1))
    with place(server).with_name(f"{NAME}.part").open("ab") as part:
        part.write(bytes(1_000_000))
    assert get(server).path.read_bytes() == (folder / NAME).read_bytes()
    assert [entry.status for entry in server.log] == [200, 416, 200]


def stop_at_the_last_byte(server):
    """Leave a whole part behind, as a kill before the check does."""

    def stop(name, done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, progress=stop)
    part = place(server).with_name(f"{NAME}.part")
    assert part.stat().st_size == (server.folder / NAME).stat().st_size
    assert not place(server).exists()
    return part


@pytest.mark.parametrize("etags", [True, False])
def test_a_part_that_is_whole_already_is_checked_and_taken(folder, etags):
    with NcbiServer(folder, etags=etags) as server:
        stop_at_the_last_byte(server)
        told = []
        file = get(server, progress=lambda *step: told.append(step))
        assert file.path.read_bytes() == (folder / NAME).read_bytes()
        assert [(entry.status, entry.sent) for entry in server.log] == [(200, file.size), (416, 0)]
        assert told[-1] == (NAME, file.size, file.size)
        assert file.last_modified.endswith("GMT")
        assert get(server) == file
        assert server.log[-1].status == 304
        assert sorted(path.name for path in file.path.parent.iterdir()) == [NAME, f"{NAME}.json"]


def test_a_whole_part_that_is_damaged_is_not_taken(server, folder):
    part = stop_at_the_last_byte(server)
    content = bytearray(part.read_bytes())
    content[5000] ^= 1
    part.write_bytes(content)
    assert get(server).path.read_bytes() == (folder / NAME).read_bytes()
    assert [entry.status for entry in server.log] == [200, 416, 200]


def test_without_the_size_in_a_416_all_is_sent_again(server, folder):
    server.unmet_ranges = False
    stop_at_the_last_byte(server)
    assert get(server).path.read_bytes() == (folder / NAME).read_bytes()
    assert [entry.status for entry in server.log] == [200, 416, 200]


@pytest.mark.parametrize(
    "name", ["../secret.gz", "GENE_INFO/../../x.gz", "/etc/passwd", "a//b", "a/./b", "", "x?y", "a\\b"]
)
def test_a_name_that_leads_out_of_the_source_is_refused(server, folder, name):
    (folder.parent / "secret.gz").write_bytes(noise(10))
    for source in (Source.parse(folder), Source.parse(server.url)):
        with pytest.raises(FetchError, match="is no name of a file below a source"):
            fetch_file(source, name, patience=QUICK)
        with pytest.raises(FetchError, match="is no name of a file below a source"):
            download.cached_file(source, name)
    assert server.log == []


def test_a_file_that_is_not_there_is_absent(server, folder):
    assert fetch_file(Source.parse(server.url), "gene_history.gz", patience=QUICK) is None
    assert fetch_file(Source.parse(folder), "gene_history.gz") is None


def test_a_refused_connection_is_unreachable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(Unreachable, match="cannot connect"):
            fetch_file(Source.parse(url), NAME, patience=QUICK)


def failing(attempts):
    """An attempt that writes itself down and fails."""

    def attempt():
        attempts.append(1)
        raise Again(Unreachable("x"))

    return attempt


def test_a_server_that_never_answered_is_given_up_soon():
    for answered, most in ((True, 6), (False, 3)):
        attempts = []
        with web.client(Patience()) as client:
            client.answered = answered
            with pytest.raises(Unreachable):
                web.persist(failing(attempts), what="x", client=client, patience=Patience(base=0))
        assert len(attempts) == most


def test_a_silent_server_is_unreachable():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(Unreachable, match=r"nothing arrived for 0\.1 s"):
            fetch_file(Source.parse(url), NAME, patience=Patience(attempts=2, base=0.01, read=0.1))


def test_a_service_that_stays_away_is_unreachable(server):
    server.fault(NAME, Fault(status=503, again=None))
    with pytest.raises(Unreachable, match="503 Service Unavailable"):
        get(server)
    assert len(server.log) == QUICK.attempts


def test_retry_after_is_waited_for(server):
    server.fault(NAME, Fault(status=429, retry_after="1"))
    get(server)
    assert 1 <= server.log[1].at - server.log[0].at < 2


def test_retry_after_as_a_date_is_waited_for(server):
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    server.fault(NAME, Fault(status=503, retry_after=format_datetime(until, usegmt=True)))
    get(server)
    assert datetime.now(UTC) >= until


def test_a_long_retry_after_is_told_and_not_waited_for(server):
    server.fault(NAME, Fault(status=503, retry_after="7200", again=None))
    start = time.monotonic()
    with pytest.raises(Unreachable, match=r"wait 7,200 s"):
        get(server)
    assert time.monotonic() - start < 2


def test_waits_grow_are_jittered_and_end(monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    attempts = []
    with web.client(Patience()) as client:
        client.answered = True
        with pytest.raises(Unreachable):
            web.persist(failing(attempts), what="x", client=client, patience=Patience(attempts=200, base=1, cap=8))
    assert (len(attempts), len(waits)) == (200, 199)
    assert max(waits[:1]) <= 1
    assert max(waits) <= 8
    assert max(waits) > 7
    assert min(waits[10:]) < 1  # full jitter: from nothing up to the whole


def test_progress_is_told_to_the_end(server):
    told = []
    file = get(server, progress=lambda *step: told.append(step))
    assert {name for name, _, _ in told} == {NAME}
    assert {total for _, _, total in told} == {file.size}
    done = [done for _, done, _ in told]
    assert done[0] == 0
    assert done == sorted(done)
    assert done[-1] == file.size
    told.clear()
    get(server, progress=lambda *step: told.append(step))
    assert told == [(NAME, file.size, file.size)]


def test_credentials_are_sent_and_never_shown(server, caplog):
    caplog.set_level("DEBUG")
    host = server.url.removeprefix("http://")
    source = Source.parse(f"http://ann:s3cret@{host}")
    file = fetch_file(source, NAME, patience=QUICK)
    assert server.log[0].headers["Authorization"].startswith("Basic ")
    server.fault(NAME, Fault(status=403, again=None))
    with pytest.raises(FetchError) as caught:
        fetch_file(source, NAME, patience=QUICK)
    written = "".join(path.read_text() for path in file.path.parent.glob("*.json"))
    for text in (str(caught.value), repr(source), source.where, source.id, written, caplog.text, str(file.path)):
        assert "s3cret" not in text
        assert "ann:" not in text


@pytest.mark.parametrize(
    "where",
    [
        "ftp://host/x",
        "https://",
        "https://host/x?token=abc",
        "/no/such/folder",
        "http://[::1",
        "https://host:abc/",
        "https://ann:abc@host:70000/",
        "https://ann:abc@[::1/",
    ],
)
def test_a_source_that_is_none(where):
    with pytest.raises(FetchError) as caught:
        Source.parse(where)
    assert "\n" not in str(caught.value)
    assert "ann" not in str(caught.value)
    assert "abc" not in str(caught.value).replace("'abc'", "")  # a port may be named, nothing else


def test_a_folder_is_used_in_place_with_or_without_its_upper_folders(folder):
    for where in (folder, folder.parents[1]):
        file = fetch_file(Source.parse(where), NAME)
        assert file.path == folder / NAME
        assert file.sha256 == disk.sha256_file(folder / NAME)
    assert not disk.cache_dir().exists()


def test_downloads_are_a_source_themselves(server):
    file = get(server)
    assert fetch_file(Source.parse(file.path.parent), NAME).sha256 == file.sha256


def test_gzip_is_read_to_its_end(tmp_path):
    path, first, second = tmp_path / "x.gz", gzip.compress(b"#a\n" * 1000), gzip.compress(b"b\n" * 1000)
    for whole in (first, first + second, first + second + bytes(512)):
        path.write_bytes(whole)
        assert check_gzip(path, "x.gz") == disk.sha256_file(path)
    for cut in [*range(1, len(first), 7), len(first) + 1, len(first) + len(second) - 1]:
        path.write_bytes((first + second)[:cut])
        with pytest.raises(FetchError, match=r"x\.gz is (truncated|not gzip)"):
            check_gzip(path, "x.gz")
    for place in range(len(first) - 8, len(first)):  # CRC and length
        path.write_bytes(first[:place] + bytes([first[place] ^ 1]) + first[place + 1 :])
        with pytest.raises(FetchError, match=r"x\.gz is damaged"):
            check_gzip(path, "x.gz")
    path.write_bytes(first + b"more")
    with pytest.raises(FetchError, match="damaged"):
        check_gzip(path, "x.gz")


def test_a_large_file_costs_no_more_memory_than_a_small_one(server, folder):
    peaks = []
    for size, padding in [(1 << 20, 1 << 20), (48 << 20, 512 << 20)]:
        with (folder / NAME).open("wb") as handle:
            handle.write(noise(size))
            with gzip.GzipFile(fileobj=handle, mode="wb", compresslevel=1, mtime=0) as member:
                for _ in range(padding >> 20):  # packed a hundredfold
                    member.write(bytes(1 << 20))
        tracemalloc.start()
        get(server)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (2 << 20)
    assert peaks[1] < 8 << 20


def test_a_full_disk_is_one_sentence_and_loses_nothing(server):
    script = (
        "import resource, sys\n"
        "from genetext.errors import DiskError\n"
        "from genetext.fetch.download import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        f"    fetch_file(Source.parse({server.url!r}), {NAME!r})\n"
        "except DiskError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.count("\n") == 1
    assert "the file would be larger than is allowed here" in said
    assert get(server).size > 100_000
    assert server.log[-1].headers["Range"] == "bytes=100000-"


def test_two_at_once_download_once(server, folder):
    results = []
    threads = [threading.Thread(target=lambda: results.append(get(server))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {file.sha256 for file in results} == {disk.sha256_file(folder / NAME)}
    assert len(results) == 4
    assert sorted(entry.status for entry in server.log) == [200, 304, 304, 304]


def test_nothing_is_asked_for_a_cached_file(server, folder):
    source = Source.parse(server.url)
    assert download.cached_file(source, NAME) is None
    file = get(server)
    asked = len(server.log)
    assert download.cached_file(source, NAME) == file
    assert len(server.log) == asked
    assert download.cached_file(Source.parse(folder), NAME).path == folder / NAME
    assert isinstance(file.path, Path)
