"""Bulk files: from NCBI or another provider, a mirror or a folder, checked, and downloaded no more than once.

A download lies in `<cache>/downloads/<source>/` under its provider's path, so that this folder itself
can serve as a source. Beside each file a small JSON file records the validators (ETag, Last-Modified) that make the
next fetch cost one `304 Not Modified`, and the sha256. A broken download is continued where it stopped, in this run or
a later one. Nothing takes the file's place that is not whole, packed and the table that was asked for.
"""

import hashlib
import json
import logging
import os
import re
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from genetext import disk, locks
from genetext.errors import FetchError
from genetext.fetch import web
from genetext.fetch.integrity import NCBI_TABLE, BadContent, Shape, describe, read_through
from genetext.fetch.limits import Limits, exceeded
from genetext.fetch.web import Patience
from genetext.progress import Progress
from genetext.species import is_file_name

_log = logging.getLogger("genetext")
R = TypeVar("R", "_Sidecar", "_Validators")

NCBI = "https://ftp.ncbi.nlm.nih.gov/gene/DATA/"


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
            folder = existing_folder(text)
            if folder is None:
                raise FetchError(f"the source {text!r} is neither a URL (https://...) nor a folder that exists")
            inner = folder / "gene" / "DATA"
            return cls(folder=inner if inner.is_dir() else folder)
        url = web.address(text, "the source")
        if url.query:
            raise FetchError(f"the source {web.public(url)} must be the URL of a folder, without a query")
        auth = (url.username, url.password) if url.username or url.password else None
        return cls(url=web.public(url).rstrip("/") + "/", auth=auth)

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

    @classmethod
    def here(cls, path: Path, name: str) -> "File":
        """Take a file of this machine as it is; raise `FetchError` where it cannot be read."""
        try:  # the bytes alone: reading them as a table finds whatever is wrong with them, and is not done twice
            return cls(path, name, disk.sha256_file(path), path.stat().st_size)
        except OSError as error:
            raise FetchError(f"{path} cannot be read: {error.strerror or error}") from error


def fetch_file(
    source: Source,
    name: str,
    *,
    address: str = "",
    shape: Shape = NCBI_TABLE,
    client: web.Client | None = None,
    root: Path | None = None,
    patience: Patience | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> File | None:
    """Bring one file of a source onto this machine, or find that the copy here is current.

    Parameters
    ----------
    source
        Where from. A folder's file is used in place; what is in it shows when it is parsed.
    name
        Path below the source, for example `GENE_INFO/Mammalia/Homo_sapiens.gene_info.gz`.
    address
        What follows the source's URL where that is another than `name`: of a service that makes the file when asked.
    shape
        What the file has to be.
    client
        HTTP client to use; None makes one for this call.
    root
        The cache root. Default: `disk.cache_dir()`.
    patience
        Timeouts and retries.
    progress
        Told the bytes as they arrive.
    limits
        How much a file may hold. Default: `Limits.from_environment()`.

    Returns
    -------
    File or None
        None where the source has no such file (404, 410, or absent from the folder).

    Raises
    ------
    Unreachable
        The server cannot be reached, after all tries.
    FetchError
        The file is empty, truncated, damaged, an HTML page or more than `limits` allow, or the server refuses it. An
        earlier good copy is kept. Or `name` leads out of the source.
    """
    _check_name(name)
    patience = patience or Patience()
    if source.folder is not None:
        return _in_folder(source.folder, name)
    root = root or disk.cache_dir()
    with ExitStack() as stack:
        stack.enter_context(locks.lock(f"download-{source.id}-{name}", root=root))  # two writers would mix one part
        if client is None:
            client = stack.enter_context(web.client(patience))
        limits = limits or Limits.from_environment()
        return _Download(source, name, address, shape, client, root, patience, progress, limits).run()


def cached_file(source: Source, name: str, *, root: Path | None = None) -> File | None:
    """Return the file of a folder, or the downloaded copy of a URL's file, without asking any server; or None."""
    _check_name(name)
    if source.folder is not None:
        return _in_folder(source.folder, name)
    return _Sidecar.current((root or disk.cache_dir()) / "downloads" / source.id / name, name)


def existing_folder(text: str) -> Path | None:
    """Return the folder of that name (`~` is the user's own), or None where there is none.

    Raises
    ------
    DiskError
        It begins with `~` and a user whom nobody knows.
    """
    try:
        folder = disk.expanded(text)
        return folder if folder.is_dir() else None
    except (OSError, ValueError):  # too long a name, a NUL
        return None


def problem_with(path: Path) -> str | None:
    """Compare a downloaded file with the sha256 that was written down beside it; return what differs in a sentence."""
    sidecar = _sidecar_path(path)
    if not sidecar.is_file():
        return None
    recorded = _read_record(sidecar, _Sidecar)
    if recorded is None:
        return f"{sidecar} is damaged: delete it, and fetch again"
    actual = disk.sha256_file(path)
    if recorded.sha256 == actual:
        return None
    return f"{path} has sha256 {actual[:12]}, it came with {recorded.sha256[:12]}: delete it, and fetch again"


def _check_name(name: str) -> None:
    """Refuse a name that would lead out of the source and of the cache: species' names come from servers, too."""
    if not all(is_file_name(part) for part in name.split("/")):
        raise FetchError(f"{name!r} is no name of a file below a source: only letters, digits, _, - and . may be in it")


def forget_validators(file: File) -> None:
    """Make the next fetch of a downloaded file unconditional: what came is whole, but not what it should be."""
    _sidecar_path(file.path).unlink(missing_ok=True)


def _in_folder(folder: Path, name: str) -> File | None:
    path = folder / name
    return File.here(path, name) if path.is_file() else None


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
        recorded = _read_record(_sidecar_path(path), cls)
        try:
            status = path.stat()
        except OSError:
            return None
        if recorded is None or status.st_size != recorded.size:
            return None
        # A copied cache has other times; only then is the file read to be sure that it is the one.
        if status.st_mtime_ns != recorded.mtime_ns and disk.sha256_file(path) != recorded.sha256:
            return None
        return File(path, name, recorded.sha256, recorded.size, recorded.etag, recorded.last_modified)


@dataclass(frozen=True)
class _Validators:
    """By which a server recognises a version of the file at `url`."""

    url: str
    etag: str = ""
    last_modified: str = ""

    @property
    def for_range(self) -> str:
        """What `If-Range` may carry: a strong ETag, else the date; empty: ranges cannot be trusted."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


def _read_record(path: Path, kind: type[R]) -> R | None:
    """Read what was written down beside a download; None where there is nothing, or (with a warning) nothing usable."""
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        values = None
    kinds = {field.name: int if field.type in (int, "int") else str for field in fields(kind)}
    usable = isinstance(values, dict) and all(type(values.get(name)) is kinds[name] for name in kinds)
    usable = usable and ("sha256" not in kinds or bool(re.fullmatch("[0-9a-f]{64}", values["sha256"])))
    # What a header cannot carry was taken from one by an earlier genetext, and would fail each later request.
    if usable and all(web.is_sendable(values[name]) for name in ("etag", "last_modified")):
        return kind(**{name: values[name] for name in kinds})
    _log.warning("%s is damaged and left aside: the file is downloaded again", path)
    return None


class _Download:
    """One file on its way from a URL into the cache."""

    def __init__(
        self,
        source: Source,
        name: str,
        address: str,
        shape: Shape,
        client: web.Client,
        root: Path,
        patience: Patience,
        progress: Progress | None,
        limits: Limits,
    ) -> None:
        assert source.url is not None
        self.url = source.url + (address or name)
        self.shape = shape
        self.auth = httpx.BasicAuth(*source.auth) if source.auth else None
        self.name, self.client, self.patience, self.progress, self.limits = name, client, patience, progress, limits
        self.path = root / "downloads" / source.id / name
        self.part = self.path.with_name(f"{self.path.name}.part")
        self.part_record = self.path.with_name(f"{self.path.name}.part.json")

    def run(self) -> File | None:
        """Download until the file is whole or there is no use in trying; None where it does not exist."""
        present = _Sidecar.current(self.path, self.name)
        with disk.writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)

        def attempt() -> File | None:
            try:
                return self._try(present)
            except BadContent as problem:
                self._drop_part()
                raise web.Again(FetchError(f"{self.url} is {problem}; nothing of it was kept"), content=True) from None

        return web.persist(attempt, what=self.url, client=self.client, patience=self.patience, size=self._part_size)

    def _try(self, present: File | None) -> File | None:
        """Ask once: the file, or None where the source has none."""
        offset, known = self._resumable()
        headers = {}
        if offset:
            headers = {"Range": f"bytes={offset}-", "If-Range": known.for_range}
        elif present is not None and present.etag:
            headers = {"If-None-Match": present.etag}
        elif present is not None and present.last_modified:
            headers = {"If-Modified-Since": present.last_modified}
        with self.client.stream("GET", self.url, headers=headers, auth=self.auth, follow_redirects=True) as response:
            status = response.status_code
            if status == 304 and present is not None and not offset:
                self._tell(present.size, present.size)
                return present
            if status in {404, 410}:
                return None
            sent = _Validators(self.url, *(web.validator(response.headers, name) for name in ("ETag", "Last-Modified")))
            # Killed between the last byte and the check, a part is whole, and nothing is left to ask for.
            if status == 416:
                unmet = _content_range(response.headers) == (None, offset)
                if offset and unmet and sent.for_range in {"", known.for_range}:
                    self._tell(offset, offset)
                    return self._accept(known, offset)
                self._drop_part()  # it is no part of what the server has now
                raise web.Again(
                    FetchError(f"{self.url}: the server no longer has the version that came in part"), wait=0.0
                )
            web.check_status(self.url, response, 200, 206)
            if status == 206:
                start, total = _content_range(response.headers)
                if start != offset or (sent.for_range and sent.for_range != known.for_range):
                    self._drop_part()
                    raise web.Again(FetchError(f"{self.url}: the server sent another range than asked for"), wait=0.0)
            else:
                offset, total, known = 0, _number(response.headers.get("Content-Length", "")), sent
            self._receive(response, offset, total, known)
        return self._accept(known, total)

    def _receive(self, response: httpx.Response, offset: int, total: int | None, validators: _Validators) -> None:
        """Write the body behind the first `offset` bytes of the part."""
        with disk.writing(self.part):
            if not offset:
                self._drop_part()
            if validators.for_range:
                disk.write_json(self.part_record, asdict(validators))
            with self.part.open("ab") as handle:
                self._tell(offset, total)
                # As it comes from the socket: what has arrived before a cut is in the part, nothing in a buffer.
                for block in response.iter_raw():
                    if not offset and not block.startswith(self.shape.magic[: len(block)]):
                        raise BadContent(f"not {self.shape.packing}: {describe(block)}")  # no need to load a whole page
                    handle.write(block)
                    offset += len(block)
                    if offset > self.limits.file:
                        raise BadContent(f"too large: it has {exceeded('file', self.limits.file)}")
                    self._tell(offset, total)
                handle.flush()
                os.fsync(handle.fileno())

    def _accept(self, validators: _Validators, total: int | None) -> File:
        """Check the part, and let it take the file's place."""
        size = self._part_size()
        if total is not None and size != total:
            raise BadContent(f"not whole: {size:,} bytes arrived, the server announced {total:,}")
        sha256 = read_through(self.part, self.limits, self.shape)
        with disk.writing(self.path):
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
        known = _read_record(self.part_record, _Validators)
        if known is None or known.url != self.url:
            return 0, _Validators(self.url)
        return (self._part_size() if known.for_range else 0), known

    def _part_size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _drop_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.part_record.unlink(missing_ok=True)

    def _tell(self, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(self.name, done, total)


def _content_range(headers: httpx.Headers) -> tuple[int | None, int | None]:
    """Read the first byte and the whole size of `Content-Range: bytes 5-9/10` (or `*/10`); None where it has none."""
    unit, _, span = headers.get("Content-Range", "").partition(" ")
    first, _, total = span.strip().partition("/")
    return (_number(first.partition("-")[0]), _number(total)) if unit == "bytes" else (None, None)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
