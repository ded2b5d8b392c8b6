"""NCBI on loopback: bulk files with validators and ranges, E-utilities, and faults on demand.

with NcbiServer(write_ncbi(tmp_path / "ncbi")) as server:
    server.fault("gene_summary.gz", Fault(status=503), Fault(cut=1000))   # the next two requests, one each
    fetch("human", source=server.url)
    assert [entry.status for entry in server.requests("gene_summary.gz")] == [503, 200, 206]
"""

import gzip
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.servers.ncbi_eutils import Database

DATA, EUTILS = "/gene/DATA/", "/entrez/eutils/"
HTML = b"<!DOCTYPE html><html><head><title>Scheduled maintenance</title></head><body>Back soon.</body></html>\n"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one request.

    Attributes
    ----------
    status, retry_after
        Answer with this status and nothing else.
    cut
        Send this many bytes of the body, then close the connection.
    stall, seconds
        Send this many bytes of the body, then nothing for `seconds`.
    truncate
        Serve the file as if it had this many bytes.
    body, content_type
        Answer 200 with this body.
    header
        Serve the gzipped table with this header line.
    headers
        Answer with these HTTP headers beside those of the status or file, in place of its own of the same name.
    again
        How many requests it strikes; None for all from now on.
    """

    status: int | None = None
    retry_after: str | None = None
    cut: int | None = None
    stall: int | None = None
    seconds: float = 30.0
    truncate: int | None = None
    body: bytes | None = None
    content_type: str = "application/x-gzip"
    header: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    again: int | None = 1


def html(*, again: int | None = 1) -> Fault:
    """A web page with status 200."""
    return Fault(body=HTML, content_type="text/html", again=again)


def empty(*, again: int | None = 1) -> Fault:
    """A body of no bytes with status 200."""
    return Fault(body=b"", again=again)


@dataclass
class Entry:
    """One request and what became of it."""

    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]
    at: float
    status: int = 0
    sent: int = 0


@dataclass
class Rates:
    """NCBI's limit of requests per second and key."""

    without_key: int = 3
    with_key: int = 10
    refused: int = 0
    _recent: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def allows(self, key: str) -> bool:
        """Count a request; whether it is within the limit."""
        with self._lock:
            now, recent = time.monotonic(), self._recent[key]
            while recent and recent[0] <= now - 1:
                recent.popleft()
            if len(recent) >= (self.with_key if key else self.without_key):
                self.refused += 1
                return False
            recent.append(now)
            return True


class NcbiServer:
    """A threaded HTTP server on loopback.

    Attributes
    ----------
    url, eutils_url
        Base URLs of the bulk files and of E-utilities.
    log
        All requests in their order.
    faults
        Per path (below the base URL, or a utility's name such as `esummary.fcgi`) the faults to come.
    rates
        Limits of E-utilities; `rates.refused` counts what came too fast.
    api_keys
        Keys that E-utilities accept.
    etags, ranges, unmet_ranges
        Whether the bulk files carry ETags, whether ranges are served, and whether a 416 tells the file's size.
    """

    def __init__(self, folder: Path, *, etags: bool = True, ranges: bool = True) -> None:
        inner = folder / "gene" / "DATA"
        self.folder = inner if inner.is_dir() else folder
        self.etags, self.ranges, self.unmet_ranges = etags, ranges, True
        self.log: list[Entry] = []
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.rates = Rates()
        self.api_keys = {"0123456789abcdef0123456789abcdef0123"}
        self.database = Database(self.folder)
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def url(self) -> str:
        return self.origin + DATA

    @property
    def eutils_url(self) -> str:
        return self.origin + EUTILS

    def fault(self, path: str, *faults: Fault) -> None:
        """Let the coming requests for `path` go wrong, one after another."""
        with self.lock:
            self.faults[path].extend(faults)

    def requests(self, path: str) -> list[Entry]:
        """The requests for a path, as `fault` names it."""
        return [entry for entry in self.log if entry.path in {DATA + path, EUTILS + path}]

    def take_fault(self, path: str) -> Fault | None:
        with self.lock:
            waiting = self.faults[path]
            if not waiting:
                return None
            fault = waiting[0]
            if fault.again == 1:
                waiting.popleft()
            elif fault.again is not None:
                waiting[0] = Fault(**{**vars(fault), "again": fault.again - 1})
            return fault

    def __enter__(self) -> "NcbiServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    owner: NcbiServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def log_message(self, *args: object) -> None:
        """Keep quiet; the log is a list."""

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def _answer(self, body: str) -> None:
        owner, parts = self.server.owner, urlsplit(self.path)
        path = unquote(parts.path)
        form = dict(parse_qsl(parts.query) + parse_qsl(body))
        self.entry = Entry(self.command, path, dict(self.headers.items()), form, time.monotonic())
        with owner.lock:
            owner.log.append(self.entry)
        with suppress(BrokenPipeError, ConnectionResetError):
            if path.startswith(DATA):
                self._file(path.removeprefix(DATA))
            elif path.startswith(EUTILS):
                self._utility(path.removeprefix(EUTILS), form)
            else:
                self._say(404)

    def _file(self, name: str) -> None:
        owner = self.server.owner
        path, fault = owner.folder / name, owner.take_fault(name)
        if self._struck(fault):
            return
        if not path.is_file() or owner.folder.resolve() not in path.resolve().parents:
            self._say(404, HTML, "text/html")
            return
        size, modified = path.stat().st_size, path.stat().st_mtime_ns
        if fault is not None and fault.header is not None:
            table = gzip.decompress(path.read_bytes())
            self._say(200, gzip.compress(fault.header + table[table.index(b"\n") :], 1, mtime=0), "application/x-gzip")
            return
        if fault is not None and fault.truncate is not None:
            size = min(size, fault.truncate)
        validators = {"Last-Modified": self.date_time_string(modified // 10**9)}
        if owner.etags:
            validators["ETag"] = f'"{modified:x}-{size:x}"'
        validators |= fault.headers if fault is not None else {}
        if self._unchanged(validators):
            self._head(304, 0, validators)
            return
        start, span = self._range(size, validators), {}
        if start >= size > 0:
            unmet = {"Content-Range": f"bytes */{size}", **validators} if owner.unmet_ranges else {}
            self._say(416, extra=unmet)
            return
        if start:
            span = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
        accepts = {"Accept-Ranges": "bytes"} if owner.ranges else {}
        self._head(206 if start else 200, size - start, {**validators, **span, **accepts})
        self._send(path, start, size, fault)

    def _unchanged(self, validators: dict[str, str]) -> bool:
        if (etag := self.headers.get("If-None-Match")) is not None:
            return etag == validators.get("ETag")
        return self.headers.get("If-Modified-Since") == validators["Last-Modified"]

    def _range(self, size: int, validators: dict[str, str]) -> int:
        asked = self.headers.get("Range", "")
        if not asked or not self.server.owner.ranges:
            return 0
        if self.headers.get("If-Range") not in {None, *validators.values()}:
            return 0
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def _send(self, path: Path, start: int, size: int, fault: Fault | None) -> None:
        """Send the bytes from `start` to `size`, as far as the fault lets."""
        stops = None if fault is None else fault.cut if fault.cut is not None else fault.stall
        left = size - start if stops is None else min(stops, size - start)
        with path.open("rb") as handle:
            handle.seek(start)
            while left:
                block = handle.read(min(left, 1 << 16))
                self.wfile.write(block)
                self.entry.sent += len(block)
                left -= len(block)
        if fault is not None and stops is not None:
            self.wfile.flush()
            if fault.cut is None:
                self.server.owner.closing.wait(fault.seconds)
            self.close_connection = True

    def _struck(self, fault: Fault | None) -> bool:
        """Answer with the fault's own status or body, if it has one."""
        if fault is None or (fault.status is None and fault.body is None):
            return False
        extra = dict(fault.headers)
        if fault.retry_after is not None:
            extra["Retry-After"] = fault.retry_after
        if fault.status is not None:
            self._say(fault.status, HTML, "text/html", extra)
        else:
            assert fault.body is not None
            self._say(200, fault.body, fault.content_type, extra)
        return True

    def _utility(self, name: str, form: dict[str, str]) -> None:
        owner = self.server.owner
        if self._struck(fault := owner.take_fault(name)):
            return
        key = form.get("api_key", "")
        if key and key not in owner.api_keys:
            refusal = f'{{"error":"API key invalid","api-key":"{key}","type":"api-key","status":"unknown"}}\n'
            self._say(400, refusal.encode(), "application/json")
            return
        if not owner.rates.allows(key):
            limit = owner.rates.with_key if key else owner.rates.without_key
            refusal = (
                f'{{"error":"API rate limit exceeded","api-key":"{key}","count":"{limit + 1}","limit":"{limit}"}}\n'
            )
            self._say(429, refusal.encode(), "application/json", {"Retry-After": "1"})
            return
        answer = owner.database.answer(name.removesuffix(".fcgi"), form)
        if answer is None:
            self._say(404, HTML, "text/html")
        elif fault is not None and fault.cut is not None:
            self._head(200, len(answer), {"Content-Type": "text/xml; charset=UTF-8"})
            self.wfile.write(answer[: fault.cut])
            self.close_connection = True
        else:
            self._say(200, answer[: fault.truncate] if fault else answer, "text/xml; charset=UTF-8")

    def _say(
        self, status: int, body: bytes = b"", content_type: str = "text/plain", extra: dict[str, str] | None = None
    ) -> None:
        self._head(status, len(body), {"Content-Type": content_type, **(extra or {})})
        self.wfile.write(body)
        self.entry.sent += len(body)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.entry.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(length))
        self.end_headers()


def serving(folder: Path) -> Iterator[NcbiServer]:
    """For a fixture: serve a folder while the test runs."""
    with NcbiServer(folder) as server:
        yield server
