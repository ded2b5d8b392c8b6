"""NCBI's E-utilities: requests that keep the limit and hide the key, answers read by Biopython.

Requests are POSTed, so that neither an API key nor an e-mail address is ever part of a URL; answers are read with
Biopython's `Entrez.read`, which knows NCBI's DTDs. Biopython's own request functions are not used: their base URL
is fixed, they put the key into the URL (and so into exceptions), and they ignore `Retry-After`.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from genetext import disk
from genetext.errors import FetchError
from genetext.fetch import web
from genetext.fetch.web import Patience

EUTILS = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/"
FOLDER = "entrez"  # below the cache root
# NCBI allows 3 and 10 requests a second; requests that leave evenly do not arrive evenly, so stay a little below.
INTERVAL, INTERVAL_WITH_KEY = 0.37, 0.11
LONGEST_ANSWER = 64 << 20  # bytes; the summaries of 200 genes have about one million
T = TypeVar("T")


class _BadAnswer(Exception):
    """An answer came, and is not what was asked for; says what it is."""


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
        web.address(self.url, "the address of E-utilities")

    @property
    def where(self) -> str:
        """The address as it may be shown and recorded."""
        return web.public(self.url)

    def ask(self, client: web.Client, utility: str, read: Callable[[Any], T], /, **fields: object) -> T:
        """Call one utility and return what `read` makes of its answer, as Biopython reads that.

        An answer that `read` cannot use (it raises a `KeyError` for what is absent, a `ValueError` or `TypeError` for
        what is of another kind) is asked for again.

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
            _ask_for_email()

        def attempt() -> T:
            self._limiter.wait(interval)
            # A redirect is not followed: it could carry the key elsewhere.
            with client.stream("POST", f"{self.url}{utility}.fcgi", data=data, follow_redirects=False) as answer:
                content = bytearray()
                for block in answer.iter_bytes():
                    content += block
                    if len(content) > LONGEST_ANSWER:
                        raise FetchError(
                            f"{what}: the answer has more than {LONGEST_ANSWER:,} bytes; ask for fewer genes"
                        )
            if self.api_key:  # an answer may repeat it
                content = content.replace(self.api_key.encode(), b"***")
            if answer.status_code in {400, 401, 403} and self.api_key and b"API key" in content:
                raise FetchError(f"{what}: NCBI refuses the API key of NCBI_API_KEY; correct it or unset it")
            web.check_status(what, answer, 200)
            try:
                return _read(bytes(content), read, (self.root or disk.cache_dir()) / FOLDER)
            except _BadAnswer as problem:
                raise web.Again(FetchError(f"{what}: {problem}"), content=True) from None

        return web.persist(attempt, what=what, client=client, patience=self.patience)

    @property
    def _limiter(self) -> _Limiter:
        with _LIMITERS_LOCK:
            return _LIMITERS.setdefault(self.where, _Limiter())


@cache
def _ask_for_email() -> None:
    """Say once in this process that NCBI wants to know whom to write to before it blocks an address."""
    _log.warning(
        "NCBI asks users of E-utilities for an e-mail address, and may block those who give none: set NCBI_EMAIL"
    )


@contextmanager
def _keeping_dtds(folder: Path) -> Iterator[Any]:
    """Yield Biopython's `Entrez`, which keeps DTDs in `folder` meanwhile; its own choice is the home directory."""
    from Bio import Entrez

    biopython: Any = Entrez
    with _BIOPYTHON, disk.writing(folder):
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


def _read(content: bytes, read: Callable[[Any], T], folder: Path) -> T:
    """Parse an answer; raise `_BadAnswer` with what is wrong with it."""
    try:
        with _keeping_dtds(folder) as biopython:
            record = biopython.read(BytesIO(content), validate=False, ignore_errors=True)
    except (ValueError, RuntimeError, TypeError, LookupError, AttributeError) as error:
        head = " ".join(content[:200].decode("utf-8", "replace").split())
        raise _BadAnswer(
            f"the answer is not NCBI's XML ({type(error).__name__}); it begins with {head[:80]!r}"
        ) from None
    if isinstance(record, dict) and "ERROR" in record:
        raise _BadAnswer(f"NCBI reports an error: {str(record['ERROR'])[:200]}")
    try:
        return read(record)
    except KeyError as error:
        raise _BadAnswer(f"the answer has no {error.args[0]}") from None
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise _BadAnswer(f"the answer is not as NCBI's are: {str(error)[:200]}") from None
