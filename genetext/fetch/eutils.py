"""NCBI's E-utilities: requests that keep the limit and hide the key, answers read by Biopython.

Requests are POSTed, so that neither an API key nor an e-mail address is ever part of a URL; answers are read with
Biopython's `Entrez.read`, which knows NCBI's DTDs. Biopython's own request functions are not used: their base URL
is fixed, they put the key into the URL (and so into exceptions), and they ignore `Retry-After`.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx

from genetext import disk
from genetext.errors import FetchError
from genetext.fetch import web
from genetext.fetch.web import Patience, Tries

EUTILS = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/"
FOLDER = "entrez"  # below the cache root
# NCBI allows 3 and 10 requests a second; requests that leave evenly do not arrive evenly, so stay a little below.
INTERVAL, INTERVAL_WITH_KEY = 0.37, 0.11


class _Limiter:
    """Lets requests of all threads of this process leave no closer than an interval."""

    def __init__(self) -> None:
        self._lock, self._next = threading.Lock(), 0.0

    def wait(self, interval: float) -> None:
        with self._lock:
            now = time.monotonic()
            leave = max(now, self._next)
            self._next = leave + interval
        time.sleep(leave - now)


# NCBI counts requests per address, whoever in this process makes them: the one thing here that has to be shared.
_LIMITERS: dict[str, _Limiter] = {}
_LIMITERS_LOCK = threading.Lock()
# Biopython has one folder for DTDs in a process.
_BIOPYTHON = threading.Lock()
_log = logging.getLogger("genetext")


@dataclass(frozen=True)
class Eutils:
    """NCBI's E-utilities at some address.

    Attributes
    ----------
    url
        Base URL with a slash at the end.
    email
        Sent with each request, as NCBI asks. Default: `$NCBI_EMAIL`.
    api_key
        Raises the limit from 3 to 10 requests a second. Default: `$NCBI_API_KEY`. Never shown.
    interval
        Seconds between requests. Default: what NCBI allows with or without a key.
    patience
        Timeouts and retries.
    root
        The cache root; DTDs that Biopython lacks are kept in `<root>/entrez`. Default: `disk.cache_dir()`.

    Raises
    ------
    FetchError
        `url` is no URL.
    """

    url: str = EUTILS
    email: str | None = field(default_factory=lambda: os.environ.get("NCBI_EMAIL") or None)
    api_key: str | None = field(default_factory=lambda: os.environ.get("NCBI_API_KEY") or None, repr=False)
    interval: float | None = None
    patience: Patience = field(default_factory=Patience)
    root: Path | None = None

    def __post_init__(self) -> None:
        try:
            web.public(httpx.URL(self.url))
        except (ValueError, httpx.InvalidURL) as error:
            raise FetchError(
                f"the address of E-utilities is not a URL that can be read ({error}): check host and port"
            ) from None

    @property
    def where(self) -> str:
        """The address as it may be shown and recorded."""
        return web.public(self.url)

    def ask(self, client: web.Client, utility: str, /, *path: str, needs: Sequence[str] = (), **fields: object) -> Any:
        """Call one utility and return its answer, or the part of it under the keys `path`, as Biopython reads it.

        An answer without these keys, or without the keys `needs` in what is returned, is asked for again.

        Raises
        ------
        Unreachable
            No answer after all tries.
        FetchError
            NCBI refuses the request or the key, or answers with something else than its XML.
        """
        what = self.where + utility
        form = {"tool": "genetext", "email": self.email, "api_key": self.api_key, **fields}
        data = {name: str(value) for name, value in form.items() if value is not None}
        interval = self.interval if self.interval is not None else INTERVAL_WITH_KEY if self.api_key else INTERVAL
        if self.email is None:
            _tell_of_email()
        tries = Tries(what, self.patience)
        while True:
            self._limiter.wait(interval)
            wait, content = None, False
            try:
                # A redirect is not followed: it could carry the key elsewhere.
                answer = client.post(f"{self.url}{utility}.fcgi", data=data, follow_redirects=False)
            except httpx.RequestError as cause:
                error = web.no_answer(what, cause, self.patience)
            else:
                if answer.status_code == 200:
                    record, problem = _read(answer.content, path, needs, (self.root or disk.cache_dir()) / FOLDER)
                    if problem is None:
                        return record
                    error, content = FetchError(f"{what}: {self._scrub(problem)}"), True
                elif answer.status_code in web.AGAIN:
                    error, wait = web.bad_status(what, answer), web.retry_after(answer.headers)
                elif self.api_key and b"API key" in answer.content:
                    raise FetchError(f"{what}: NCBI refuses the API key of NCBI_API_KEY; correct it or unset it")
                else:
                    raise web.bad_status(what, answer)
            tries.after(error, answered=client.answered, wait=wait, content=content)

    @property
    def _limiter(self) -> _Limiter:
        with _LIMITERS_LOCK:
            return _LIMITERS.setdefault(self.where, _Limiter())

    def _scrub(self, text: str) -> str:
        return text.replace(self.api_key, "***") if self.api_key else text


@cache
def _tell_of_email() -> None:
    """Say once in this process that NCBI wants to know whom to write to before it blocks an address."""
    _log.warning(
        "NCBI asks users of E-utilities for an e-mail address, and may block those who give none: set NCBI_EMAIL"
    )


@contextmanager
def _keeping_dtds(folder: Path) -> Iterator[Any]:
    """Yield Biopython's `Entrez`, which keeps DTDs in `folder` meanwhile; its own choice is the home directory."""
    from Bio import Entrez

    biopython: Any = Entrez
    with _BIOPYTHON, disk.saying_where(folder):
        before, biopython.local_cache = biopython.local_cache, str(folder)
        try:
            from Bio.Entrez.Parser import DataHandler  # the first import of it makes the folder

            handler: Any = DataHandler
            places = {name: getattr(handler, name) for name in ("_directory", "local_dtd_dir", "local_xsd_dir")}
            handler.directory = str(folder)
            try:
                yield biopython
            finally:
                for name, place in places.items():
                    setattr(handler, name, place)
        finally:
            biopython.local_cache = before


def _read(content: bytes, path: Sequence[str], needs: Sequence[str], folder: Path) -> tuple[Any, str | None]:
    """Parse an answer: the part of it under `path`, or what is wrong with it."""
    try:
        with _keeping_dtds(folder) as biopython:
            record = biopython.read(BytesIO(content), validate=False, ignore_errors=True)
    except (ValueError, RuntimeError) as error:
        head = " ".join(content[:200].decode("utf-8", "replace").split())
        return None, f"the answer is not NCBI's XML ({type(error).__name__}); it begins with {head[:80]!r}"
    if isinstance(record, dict) and "ERROR" in record:
        return None, f"NCBI reports an error: {record['ERROR']}"
    for key in path:
        if key not in record:
            return None, f"the answer has no {key}"
        record = record[key]
    for key in needs:
        if key not in record:
            return None, f"the answer has no {key}"
    return record, None
