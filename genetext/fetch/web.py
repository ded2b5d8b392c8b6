"""How this project speaks HTTP: patience, waiting between tries, and URLs that may be shown.

Downloads and E-utilities share one idea of when to try again (a refused connection, a stall, 408, 425, 429, 5xx), of
how long to wait (exponential backoff with full jitter, or what `Retry-After` says) and of when to give up.
"""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

import genetext
from genetext.errors import FetchError, Unreachable

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
# The service is not there, although something in front of it answers.
_NOT_THERE = frozenset({502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a request may take, how often it is tried, and how long to wait in between.

    Attributes
    ----------
    attempts
        Tries without any progress before giving up; a download that gets further starts counting anew.
    first_attempts
        The same as long as the server has never answered: where there is no network, that should be known soon.
    content_attempts
        Tries when the server answers well but with bad content (an HTML page, an empty or truncated file).
    base, cap
        Seconds: before try `n + 1` the wait is drawn from 0 to `min(cap, base * 2**n)`.
    longest
        Longest `Retry-After` in seconds that is waited for; beyond, the request fails and says so.
    connect, read
        Seconds to wait for a connection, and for the next byte (a stall).
    """

    attempts: int = 6
    first_attempts: int = 3
    content_attempts: int = 3
    base: float = 1.0
    cap: float = 60.0
    longest: float = 300.0
    connect: float = 10.0
    read: float = 60.0

    @property
    def timeout(self) -> httpx.Timeout:
        """The same limits as httpx takes them."""
        return httpx.Timeout(self.read, connect=self.connect)


@dataclass
class Tries:
    """Counts the failures of one request and waits between tries.

    Attributes
    ----------
    what
        What is asked for, as messages name it.
    patience
        The limits.
    """

    what: str
    patience: Patience
    failures: int = 0
    content_failures: int = 0
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def progressed(self) -> None:
        """Start counting anew: the last try got further than those before."""
        self.failures = 0

    def after(self, error: FetchError, *, answered: bool, wait: float | None = None, content: bool = False) -> None:
        """Wait before the next try, or raise `error` when there have been enough.

        Parameters
        ----------
        error
            What went wrong.
        answered
            Whether the server has ever answered.
        wait
            Seconds the server asked for with `Retry-After`.
        content
            Whether the answer was bad, rather than missing.
        """
        self.failures += 1
        self.content_failures += content
        attempts = self.patience.attempts if answered else min(self.patience.attempts, self.patience.first_attempts)
        if self.failures >= attempts or self.content_failures >= self.patience.content_attempts:
            raise error
        if wait is not None and wait > self.patience.longest:
            raise type(error)(f"{error}; the server asks to wait {wait:,.0f} s: run the same command again after that")
        # Full jitter, so that many clients that failed together do not come back together.
        drawn = self._random.uniform(0, min(self.patience.cap, self.patience.base * 2 ** (self.failures - 1)))
        time.sleep(drawn if wait is None else wait + drawn)


class Client(httpx.Client):
    """An HTTP client that knows whether any server has answered it; it opens no connection before the first request."""

    answered = False

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request, as httpx does."""
        response = super().send(request, **options)
        self.answered = True
        return response


def client(patience: Patience) -> Client:
    """Make the HTTP client."""
    # Identity: a gzip file must arrive as the bytes that the server keeps, or neither ranges nor hashes mean anything.
    headers = {"User-Agent": f"genetext/{genetext.__version__}", "Accept-Encoding": "identity"}
    return Client(timeout=patience.timeout, headers=headers)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` (a number or an HTTP date) asks to wait, or None."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def public(url: str | httpx.URL) -> str:
    """Return `url` as it may be shown and recorded: without user, password, query and fragment."""
    parts = urlsplit(str(url))
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def no_answer(what: str, error: httpx.RequestError, patience: Patience, *, began: bool = False) -> FetchError:
    """Say in a sentence why no (whole) answer came: an `Unreachable`, or a `FetchError` where the answer had begun."""
    match error:
        case httpx.ConnectTimeout():
            return Unreachable(f"{what}: no connection within {patience.connect:g} s")
        case httpx.TimeoutException():
            kind = FetchError if began else Unreachable
            return kind(f"{what}: nothing arrived for {patience.read:g} s")
        case httpx.ConnectError():
            return Unreachable(f"{what}: cannot connect ({error})")
        case httpx.ProxyError():
            return Unreachable(f"{what}: the proxy refuses the connection ({error})")
        case httpx.UnsupportedProtocol():
            return FetchError(f"{what}: the server refers to something that is neither http:// nor https://")
        case _:
            return FetchError(f"{what}: the connection broke off ({type(error).__name__})")


def bad_status(what: str, response: httpx.Response) -> FetchError:
    """Say in a sentence which HTTP status came instead of the content."""
    kind = Unreachable if response.status_code in _NOT_THERE else FetchError
    return kind(f"{what}: the server answered {response.status_code} {response.reason_phrase}".rstrip())
