"""How this project speaks HTTP: patience, waiting between tries, and URLs that may be shown.

Downloads and E-utilities share one loop, `persist`, which knows when to try again (a refused connection, a stall, 408,
425, 429, 5xx), how long to wait (exponential backoff with full jitter, or what `Retry-After` says) and when to give up.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

import genetext
from genetext import retry
from genetext.errors import FetchError, Unreachable

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
# The service is not there, although something in front of it answers.
_NOT_THERE = frozenset({502, 503, 504})
_LONGEST_VALIDATOR = 1024
T = TypeVar("T")


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


class Again(Exception):
    """A try failed for a reason that may pass.

    Parameters
    ----------
    error
        What to raise when it does not pass.
    wait
        Seconds that the server asked to wait; None: it asked nothing.
    content
        Whether the answer was bad, rather than missing.
    """

    def __init__(self, error: FetchError, *, wait: float | None = None, content: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.wait, self.content = error, wait, content


class Client(httpx.Client):
    """An HTTP client that opens no connection before the first request.

    Attributes
    ----------
    answered
        Whether any server has ever answered it.
    began
        Whether one has since this was last set to False.
    """

    answered = began = False

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request, as httpx does; an address that cannot be used is an `httpx.UnsupportedProtocol`."""
        try:
            response = super().send(request, **options)
        except (httpx.InvalidURL, UnicodeError, OverflowError) as error:  # of a redirect: a host or port that is none
            raise httpx.UnsupportedProtocol(str(error), request=request) from error
        self.answered = self.began = True
        return response


def client(patience: Patience) -> Client:
    """Make the HTTP client."""
    # Identity: a gzip file must arrive as the bytes that the server keeps, or neither ranges nor hashes mean anything.
    headers = {"User-Agent": f"genetext/{genetext.__version__}", "Accept-Encoding": "identity"}
    return Client(timeout=patience.timeout, headers=headers)


def persist(
    attempt: Callable[[], T], *, what: str, client: Client, patience: Patience, size: Callable[[], int] | None = None
) -> T:
    """Return what `attempt` returns, calling it again after an `Again` or a failed request while there is patience.

    Parameters
    ----------
    attempt
        Sends one request by `client`.
    what
        What is asked for, as messages name it.
    client, patience
        The client, and the limits.
    size
        How many bytes have arrived so far, for downloads that go on where they stopped: a try that got further starts
        the counting of failures anew.

    Raises
    ------
    Unreachable, FetchError
        What the last try failed by; at once where asking again cannot help.
    """
    failures = content_failures = 0
    while True:
        before, client.began = size() if size else 0, False
        try:
            return attempt()
        except Again as again:
            error, wait, content = again.error, again.wait, again.content
        except httpx.RequestError as cause:
            error, wait, content = (
                _no_answer(what, cause, patience, began=client.began and size is not None),
                None,
                False,
            )
        failures = 1 if size and size() > before else failures + 1
        content_failures += content
        attempts = patience.attempts if client.answered else min(patience.attempts, patience.first_attempts)
        if failures >= attempts or content_failures >= patience.content_attempts:
            raise error
        if wait is not None and wait > patience.longest:
            raise type(error)(f"{error}; the server asks to wait {wait:,.0f} s: run the same command again after that")
        # Full jitter, so that many clients that failed together do not come back together.
        drawn = random.uniform(0, retry.backoff(failures, first=patience.base, longest=patience.cap))
        time.sleep(drawn + (wait or 0.0))


def check_status(what: str, response: httpx.Response, *expected: int) -> None:
    """Say in a sentence which HTTP status came instead of the expected ones.

    Raises
    ------
    Again
        The status may pass.
    Unreachable, FetchError
        It will not.
    """
    if response.status_code in expected:
        return
    kind = Unreachable if response.status_code in _NOT_THERE else FetchError
    error = kind(f"{what}: the server answered {response.status_code} {response.reason_phrase}".rstrip())
    if response.status_code in _AGAIN:
        raise Again(error, wait=retry.wait_asked(response.headers))
    raise error


def validator(headers: httpx.Headers, name: str) -> str:
    """Return an `ETag` or `Last-Modified` that can be sent back, else an empty string."""
    value = headers.get(name, "")
    return value if is_sendable(value) else ""


def is_sendable(value: str) -> bool:
    """Whether a header can carry the value."""
    return value.isascii() and (value.isprintable() or not value) and len(value) <= _LONGEST_VALIDATOR


def address(text: str, what: str) -> httpx.URL:
    """Read the URL of `what`.

    Raises
    ------
    FetchError
        It is no URL with a host and a port that can exist. The URL is not shown, since it may hold a password.
    """
    try:
        url = httpx.URL(text)
        public(url)
        url.raw_host.decode().encode("idna")  # as sockets do: labels of more than 63 letters fail
        if len(url.raw_host) > 253:
            raise ValueError("no host has so long a name")
    except (ValueError, httpx.InvalidURL):
        raise FetchError(f"{what} is not a URL that can be read: check its host and port") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise FetchError(f"{what} ({public(url)}) must be an http:// or https:// URL")
    return url


def public(url: str | httpx.URL) -> str:
    """Return `url` as it may be shown and recorded: without user, password, query and fragment."""
    parts = urlsplit(str(url))
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _no_answer(what: str, error: httpx.RequestError, patience: Patience, *, began: bool) -> FetchError:
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
        case httpx.UnsupportedProtocol() | httpx.TooManyRedirects():
            raise FetchError(f"{what}: the server refers to an address that cannot be used ({error})") from error
        case _:
            return FetchError(f"{what}: the connection broke off ({type(error).__name__})")
