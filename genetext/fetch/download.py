"""NCBI's bulk files: from NCBI, a mirror or a folder, checked, and downloaded no more than once.

A download lies in `<cache>/downloads/<source>/` under the path that NCBI gives it, so that this folder itself can serve
as a source. Beside each file a small JSON file records the validators (ETag, Last-Modified) that make the next fetch
cost one `304 Not Modified`, and the sha256. A broken download is continued where it stopped, in this run or a later
one. Nothing takes the file's place that is not whole, gzipped and a table.
"""

import hashlib
import json
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from genetext import disk
from genetext.errors import FetchError
from genetext.fetch import web
from genetext.fetch.integrity import GZIP, BadContent, describe, read_through
from genetext.fetch.web import Patience, Tries
from genetext.progress import Progress
from genetext.species import is_file_name

NCBI = "https://ftp.ncbi.nlm.nih.gov/gene/DATA/"


class _Again(Exception):
    """No bytes came, for a reason that may pass; `wait` is what the server asks for, in seconds."""

    def __init__(self, error: FetchError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.wait = error, wait


@dataclass(frozen=True)
class Source:
    """Where bulk files come from: a base URL or a folder, either with NCBI's layout of `gene/DATA/`.

    Attributes
    ----------
    url
        Base URL with a slash at the end and without credentials, or None for a folder.
    folder
        The folder, or None for a URL.
    auth
        User and password out of the URL, or None.
    """

    url: str | None = None
    folder: Path | None = None
    auth: tuple[str, str] | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, where: str | Path) -> "Source":
        """Read a URL or a folder's path.

        Raises
        ------
        FetchError
            It is neither an http(s) URL without query, nor a folder that exists.
        """
        text = str(where)
        if "://" not in text:
            folder = Path(text).expanduser()
            inner = folder / "gene" / "DATA"
            if not folder.is_dir():
                raise FetchError(f"the source {text} is neither a URL (https://...) nor a folder that exists")
            return cls(folder=inner if inner.is_dir() else folder)
        try:
            parts, url = urlsplit(text), httpx.URL(text)
            shown = web.public(text)
        except (ValueError, httpx.InvalidURL) as error:  # the text itself may hold a password: it is not shown
            raise FetchError(f"the source is not a URL that can be read ({error}): check host and port") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise FetchError(f"the source {shown} must be an http:// or https:// URL of a folder, no query")
        auth = (url.username, url.password) if url.username or url.password else None
        return cls(url=shown.rstrip("/") + "/", auth=auth)

    @property
    def where(self) -> str:
        """What a manifest records: the base URL without credentials, or `folder`."""
        return self.url or "folder"

    @property
    def id(self) -> str:
        """The name of the folder that holds this URL's downloads."""
        assert self.url is not None, "a folder is read in place"
        host = urlsplit(self.url).netloc.replace(":", "-")
        return f"{host}-{hashlib.sha256(self.url.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class File:
    """A bulk file on this machine, whole and checked.

    Attributes
    ----------
    path
        Where it lies.
    name
        Its path below the source, with slashes.
    sha256, size
        Of the gzipped bytes.
    etag, last_modified
        As the server told them; empty where it did not, and for a folder.
    """

    path: Path
    name: str
    sha256: str
    size: int
    etag: str = ""
    last_modified: str = ""


def fetch_file(
    source: Source,
    name: str,
    *,
    client: web.Client | None = None,
    root: Path | None = None,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> File | None:
    """Bring one file of a source onto this machine, or find that the copy here is current.

    Parameters
    ----------
    source
        Where from. A folder's file is used in place; what is in it shows when it is parsed.
    name
        Path below the source, for example `GENE_INFO/Mammalia/Homo_sapiens.gene_info.gz`.
    client
        HTTP client to use; None makes one for this call.
    root
        The cache root. Default: `disk.cache_dir()`.
    patience
        Timeouts and retries.
    progress
        Told the bytes as they arrive.

    Returns
    -------
    File or None
        None where the source has no such file (404, 410, or absent from the folder).

    Raises
    ------
    Unreachable
        The server cannot be reached, after all tries.
    FetchError
        The file is empty, truncated, damaged or an HTML page, or the server refuses it. An earlier good copy is kept.
        Or `name` leads out of the source.
    """
    _check_name(name)
    patience = patience or Patience()
    if source.folder is not None:
        return _in_folder(source.folder, name)
    root = root or disk.cache_dir()
    with ExitStack() as stack:
        stack.enter_context(disk.lock(f"download-{source.id}-{name}", root=root))  # two writers would mix one part
        if client is None:
            client = stack.enter_context(web.client(patience))
        return _Download(source, name, client, root, patience, progress).run()


def cached_file(source: Source, name: str, *, root: Path | None = None) -> File | None:
    """Return the file of a folder, or the downloaded copy of a URL's file, without asking any server; or None."""
    _check_name(name)
    if source.folder is not None:
        return _in_folder(source.folder, name)
    return _Sidecar.current((root or disk.cache_dir()) / "downloads" / source.id / name, name)


def _check_name(name: str) -> None:
    """Refuse a name that would lead out of the source and of the cache: species' names come from servers, too."""
    if not all(is_file_name(part) for part in name.split("/")):
        raise FetchError(f"{name!r} is no name of a file below a source: only letters, digits, _, - and . may be in it")


def forget_validators(file: File) -> None:
    """Make the next fetch of a downloaded file unconditional: what came is whole, but not what it should be."""
    _sidecar_path(file.path).unlink(missing_ok=True)


def _in_folder(folder: Path, name: str) -> File | None:
    path = folder / name
    if not path.is_file():
        return None
    try:  # the bytes alone: reading them as a table finds whatever is wrong with them, and is not done twice
        return File(path, name, disk.sha256_file(path), path.stat().st_size)
    except OSError as error:
        raise FetchError(f"{path} cannot be read: {error.strerror or error}") from error


def _sidecar_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


@dataclass(frozen=True)
class _Sidecar:
    """What is recorded beside a download."""

    url: str
    etag: str
    last_modified: str
    sha256: str
    size: int
    mtime_ns: int

    @classmethod
    def current(cls, path: Path, name: str) -> File | None:
        """Return the downloaded file if it is there and as recorded."""
        try:
            recorded = cls(**json.loads(_sidecar_path(path).read_bytes()))
            status = path.stat()
        except (OSError, ValueError, TypeError):
            return None
        if status.st_size != recorded.size:
            return None
        # A copied cache has other times; only then is the file read to be sure that it is the one.
        if status.st_mtime_ns != recorded.mtime_ns and disk.sha256_file(path) != recorded.sha256:
            return None
        return File(path, name, recorded.sha256, recorded.size, recorded.etag, recorded.last_modified)


@dataclass(frozen=True)
class _Validators:
    """By which a server recognises a version of a file."""

    etag: str = ""
    last_modified: str = ""

    @classmethod
    def of(cls, headers: httpx.Headers) -> "_Validators":
        return cls(headers.get("ETag", ""), headers.get("Last-Modified", ""))

    @property
    def for_range(self) -> str:
        """What `If-Range` may carry: a strong ETag, else the date; empty: ranges cannot be trusted."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class _Download:
    """One file on its way from a URL into the cache."""

    def __init__(
        self,
        source: Source,
        name: str,
        client: web.Client,
        root: Path,
        patience: Patience,
        progress: Progress | None,
    ) -> None:
        assert source.url is not None
        self.url = source.url + name
        self.auth = httpx.BasicAuth(*source.auth) if source.auth else None
        self.name, self.client, self.patience, self.progress = name, client, patience, progress
        self.began = False  # whether the current try got as far as an answer
        self.path = root / "downloads" / source.id / name
        self.part = self.path.with_name(f"{self.path.name}.part")
        self.part_record = self.path.with_name(f"{self.path.name}.part.json")

    def run(self) -> File | None:
        """Download until the file is whole or there is no use in trying; None where it does not exist."""
        have = _Sidecar.current(self.path, self.name)
        with disk.saying_where(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        tries = Tries(self.url, self.patience)
        while True:
            before, wait, content, self.began = self._part_size(), None, False, False
            try:
                return self._try(have)
            except _Again as cause:
                error, wait = cause.error, cause.wait
            except httpx.RequestError as cause:
                error = web.no_answer(self.url, cause, self.patience, began=self.began)
            except BadContent as cause:
                error, content = FetchError(f"{self.url} is {cause}; nothing of it was kept"), True
                self._drop_part()
            if self._part_size() > before:
                tries.progressed()
            tries.after(error, answered=self.client.answered, wait=wait, content=content)

    def _try(self, have: File | None) -> File | None:
        """Ask once: the file, or None where the source has none."""
        offset, known = self._resumable()
        headers = {}
        if offset:
            headers = {"Range": f"bytes={offset}-", "If-Range": known.for_range}
        elif have is not None:
            headers = {"If-None-Match": have.etag} if have.etag else {"If-Modified-Since": have.last_modified}
            headers = {key: value for key, value in headers.items() if value}
        with self.client.stream("GET", self.url, headers=headers, auth=self.auth, follow_redirects=True) as response:
            status, self.began = response.status_code, True
            if status == 304 and have is not None and not offset:
                self._tell(have.size, have.size)
                return have
            if status in {404, 410}:
                return None
            sent = _Validators.of(response.headers)
            # Killed between the last byte and the check, a part is whole, and nothing is left to ask for.
            whole = status == 416 and offset and _size_of_unmet_range(response.headers) == offset
            if status == 416 and not (whole and sent.for_range in {"", known.for_range}):
                self._drop_part()  # it is no part of what the server has now
                raise _Again(web.bad_status(self.url, response), 0.0)
            if status == 416:
                self._tell(offset, offset)
                return self._accept(known, offset)
            if status in web.AGAIN:
                raise _Again(web.bad_status(self.url, response), web.retry_after(response.headers))
            if status not in {200, 206}:
                raise web.bad_status(self.url, response)
            if status == 206:
                start, total = _content_range(response.headers)
                if start != offset or (sent.for_range and sent.for_range != known.for_range):
                    self._drop_part()
                    raise _Again(FetchError(f"{self.url}: the server sent another range than asked for"), 0.0)
            else:
                offset, total = 0, _length(response.headers)
            self._receive(response, offset, total, sent if status == 200 else known)
        return self._accept(known if status == 206 else sent, total)

    def _receive(self, response: httpx.Response, offset: int, total: int | None, validators: _Validators) -> None:
        """Write the body behind the first `offset` bytes of the part."""
        with disk.saying_where(self.part):
            if not offset:
                self._drop_part()
            if validators.for_range:
                disk.write_json(self.part_record, {"url": self.url, **asdict(validators)})
            with self.part.open("ab") as handle:
                self._tell(offset, total)
                # As it comes from the socket: what has arrived before a cut is in the part, nothing in a buffer.
                for block in response.iter_raw():
                    if not offset and not GZIP.startswith(block[:2]):
                        raise BadContent(f"not gzip: {describe(block)}")  # no need to load a whole page
                    handle.write(block)
                    offset += len(block)
                    self._tell(offset, total)
                handle.flush()
                os.fsync(handle.fileno())

    def _accept(self, validators: _Validators, total: int | None) -> File:
        """Check the part, and let it take the file's place."""
        size = self._part_size()
        if total is not None and size != total:
            raise BadContent(f"not whole: {size:,} bytes arrived, the server announced {total:,}")
        sha256 = read_through(self.part)
        with disk.saying_where(self.path):
            # Without its record a file counts as absent: a kill between these steps costs a download, never a mix-up.
            _sidecar_path(self.path).unlink(missing_ok=True)
            self.part.replace(self.path)
            disk.sync_directory(self.path.parent)
            record = _Sidecar(
                self.url, validators.etag, validators.last_modified, sha256, size, self.path.stat().st_mtime_ns
            )
            disk.write_json(_sidecar_path(self.path), asdict(record))
            self.part_record.unlink(missing_ok=True)
        return File(self.path, self.name, sha256, size, validators.etag, validators.last_modified)

    def _resumable(self) -> tuple[int, _Validators]:
        """How many bytes of the part can be built upon, and of which version of the file they are."""
        try:
            recorded: dict[str, Any] = json.loads(self.part_record.read_bytes())
            known = _Validators(recorded["etag"], recorded["last_modified"])
            same = recorded["url"] == self.url
        except (OSError, ValueError, KeyError, TypeError):
            return 0, _Validators()
        return (self._part_size(), known) if same and known.for_range else (0, known)

    def _part_size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _drop_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.part_record.unlink(missing_ok=True)

    def _tell(self, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(self.name, done, total)


def _length(headers: httpx.Headers) -> int | None:
    value = headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None


def _size_of_unmet_range(headers: httpx.Headers) -> int | None:
    """Read the whole size out of the `Content-Range: bytes */10` of a 416."""
    unit, _, rest = headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.strip().partition("/")
    return int(total) if unit == "bytes" and span == "*" and total.isdecimal() else None


def _content_range(headers: httpx.Headers) -> tuple[int, int | None]:
    """Read `Content-Range: bytes 5-9/10` as the first byte and the whole size; (-1, None) where it is nonsense."""
    unit, _, rest = headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isdecimal():
        return -1, None
    return int(first), int(total) if total.isdecimal() else None
