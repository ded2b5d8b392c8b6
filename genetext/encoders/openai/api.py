"""OpenAI's API through its official client: one retry loop, errors a person can act on, and a key that stays unseen.

The client's own retries are off. They would send a request again when the account is out of money, give up on a server
that asks for more than two minutes, and know nothing of replies that came but cannot be right. With two loops, one
inside the other, the number of requests would multiply.
"""

import base64
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import httpx
import numpy as np
from numpy.typing import NDArray

from genetext.errors import EncoderError, first_ten
from genetext.retry import backoff, wait_asked

if TYPE_CHECKING:
    import openai

_log = logging.getLogger("genetext")
_T = TypeVar("_T")

_KEY = "OPENAI_API_KEY"
_OPENAI = "https://api.openai.com/v1"
_LOOKS_LIKE_A_KEY = re.compile(r"\b(sk|sess)-[\w*-]{6,}")
_OUT_OF_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"}
_PASSING = {408, 409, 429}  # and everything from 500
_MOST_TOKENS = 2**31  # what a server may count for a request and be believed
_SHOWN = 300  # characters of a server's message that are shown


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How failures that may pass are met.

    Attributes
    ----------
    attempts
        How often a request is sent again after 408, 409, 429, 5xx, a timeout or a broken connection.
    again_if_wrong
        How often it is sent again after a reply that came, was paid for, and cannot be right.
    first, longest
        Seconds to wait before the first repetition, doubled each time (less up to a quarter, by chance), and at most.
        A `Retry-After` of the server that is longer is honoured, for all requests under way.
    patience
        Seconds of `Retry-After` past which the run ends instead; it can be taken up again later.
    """

    attempts: int = 8
    again_if_wrong: int = 2
    first: float = 0.5
    longest: float = 60.0
    patience: float = 900.0


class WrongReply(EncoderError):
    """A reply came that cannot be matched with what was sent."""


class Stopped(EncoderError):
    """A request was given up because the run is ending."""


class Api:
    """The official client, made when first used.

    Parameters
    ----------
    base_url
        Default: `$OPENAI_BASE_URL`, else OpenAI's.
    api_key
        Default: `$OPENAI_API_KEY`, read when the first request is sent.
    timeout
        Seconds that one request may take.
    retries
        How failures are met.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 120.0,
        retries: Retries | None = None,
    ) -> None:
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI
        self.host = _host(self.base_url)
        self._secret = _Secret(api_key)
        self._timeout = timeout
        self._retries = retries or Retries()
        self._client: openai.OpenAI | None = None
        self._guard = threading.Lock()
        self._not_before = 0.0  # monotonic time before which the server wants to hear nothing
        self._chance = random.Random()

    def __repr__(self) -> str:
        return f"Api({self.host!r})"

    def close(self) -> None:
        """Close the connections."""
        with self._guard:
            if self._client is not None:
                self._client.close()
            self._client = None

    def embed(
        self,
        inputs: Sequence[str],
        *,
        model: str,
        dim: int | None,
        dimensions: int | None = None,
        stop: threading.Event | None = None,
    ) -> tuple[NDArray[np.float32], int]:
        """Ask for the vectors of one request's texts; `dim` None takes the length that comes.

        Returns
        -------
        tuple[NDArray[np.float32], int]
            `(n, dim) float32` in the order of `inputs`, and the tokens that the server counted (0 if it does not say).
        """

        def request(client: "openai.OpenAI") -> tuple[NDArray[np.float32], int]:
            shortened = {} if dimensions is None else {"dimensions": dimensions}
            # Raw: the client's own reading takes whatever came (a page of HTML, a bare list) for embeddings.
            raw = client.embeddings.with_raw_response.create(
                model=model,
                input=list(inputs),
                encoding_format="base64",
                **shortened,  # type: ignore[arg-type]
            )
            try:
                reply = raw.http_response.json()
            except (ValueError, RecursionError):
                reply = None
            pairs, billed = entries(reply, host=self.host)
            return match(pairs, n=len(inputs), dim=dim, model=model), billed

        return self.call(f"{len(inputs):,} texts for {model}", request, stop=stop)

    def call(self, what: str, request: Callable[["openai.OpenAI"], _T], *, stop: threading.Event | None = None) -> _T:
        """Run `request` with the client, again where that may help.

        Parameters
        ----------
        what
            What is asked for, for messages.
        request
            Called with the client; raises what the client raises, or `WrongReply`.
        stop
            When set, nothing is sent any more and `Stopped` is raised.

        Raises
        ------
        EncoderError
            The server refuses, or goes on failing. No message, nor any error chained to it, holds the key.
        """
        stop = stop or threading.Event()
        sent = wrong = 0
        while True:
            self._wait(stop)
            # The errors of the client hold the request, and so the key: none is left chained to what is raised.
            outcome = self._attempt(request)
            if not isinstance(outcome, _Failure):
                return outcome
            sent += 1
            wrong += outcome.wrong
            after = outcome.after or 0.0
            if not outcome.passing or sent > self._retries.attempts or wrong > self._retries.again_if_wrong:
                self._give_up(outcome, what, sent)
            if after > self._retries.patience:
                self._give_up(outcome, what, sent, f"; it asks to wait {after:,.0f} s: run the same command again then")
            pause = backoff(sent, first=self._retries.first, longest=self._retries.longest)
            delay = max(after, pause * (1 - self._chance.random() / 4))
            _log.warning("%s: %s; again in %.1f s", what, outcome.text, delay)
            if after:
                with self._guard:
                    self._not_before = max(self._not_before, time.monotonic() + after)
            if stop.wait(delay):
                raise Stopped(f"{what}: given up, because the run is ending")

    def _wait(self, stop: threading.Event) -> None:
        """Wait while the server has asked, in its answer to any of the requests, to be left alone."""
        while not stop.is_set():
            with self._guard:
                remaining = self._not_before - time.monotonic()
            if remaining <= 0:
                return
            stop.wait(remaining)
        raise Stopped("nothing more is sent, because the run is ending")

    def _attempt(self, request: Callable[["openai.OpenAI"], _T]) -> "_T | _Failure":
        import openai

        client = self._connected()
        try:
            return request(client)
        except WrongReply as error:
            return _Failure(f"a wrong reply: {error}", passing=True, wrong=True)
        except openai.APITimeoutError:
            return _Failure(f"no answer from {self.host} within {self._timeout:g} s", passing=True)
        except openai.APIStatusError as error:
            return self._refusal(error)
        except openai.APIConnectionError as error:
            return _Failure(self.scrub(f"{self.host} cannot be reached ({error.__cause__ or error})"), passing=True)
        except openai.OpenAIError as error:
            return _Failure(self.scrub(f"{type(error).__name__}: {error}"), passing=True, wrong=True)
        except (ValueError, RecursionError) as error:  # a body that is no JSON, or nested too deep
            return _Failure(self.shown(f"a reply that cannot be read: {error}"), passing=True, wrong=True)
        except MemoryError:
            return _Failure(f"there is not enough memory for what {self.host} answers")

    def _refusal(self, error: "openai.APIStatusError") -> "_Failure":
        status, code = error.status_code, str(error.code or error.type or "")
        message = error.body.get("message") if isinstance(error.body, dict) else None
        said = self.shown(str(message or error.message))
        if status == 401:
            return _Failure(f"{self.host} refuses the key ({said}): set {_KEY} to one that is valid there")
        if code in _OUT_OF_MONEY:
            return _Failure(f"the account at {self.host} cannot pay ({code}: {said}): see its billing page")
        if status == 404:
            return _Failure(f"{self.host} does not have what was asked for ({code or status}: {said})")
        advised = error.response.headers.get("x-should-retry")
        passing = advised == "true" or (advised != "false" and (status in _PASSING or status >= 500))
        return _Failure(
            f"{self.host} answered {status} ({said})", passing=passing, after=wait_asked(error.response.headers)
        )

    def _give_up(self, failure: "_Failure", what: str, sent: int, advice: str = "") -> NoReturn:
        times = f" (sent {sent} times)" if sent > 1 else ""
        raise EncoderError(f"{what}: {failure.text}{times}{advice}. What arrived before is kept.")

    def _connected(self) -> "openai.OpenAI":
        import openai

        with self._guard:
            if self._client is None:
                self.check_key()
                key = self._secret.reveal()
                self._client = openai.OpenAI(api_key=key, base_url=self.base_url, timeout=self._timeout, max_retries=0)
            return self._client

    def check_key(self) -> None:
        """Raise `EncoderError` where there is no key, or none that can be sent."""
        key = self._secret.reveal()
        if not key:
            raise EncoderError(f"{_KEY} is not set: {self.host} wants a key (any word, where it checks none)")
        if not (key.isascii() and key.isprintable()):
            # The client would say so too, and show the key.
            raise EncoderError(f"{_KEY} holds characters that no key has (a line break? a curly quote?)")

    def shown(self, text: str) -> str:
        """Return the beginning of what a server said, without the key."""
        return self.scrub(text)[:_SHOWN]

    def scrub(self, text: str) -> str:
        """Take the key out of a text that came from elsewhere, and everything that looks like one."""
        key = self._secret.reveal()
        if key:
            text = text.replace(key, "***")
        return _LOOKS_LIKE_A_KEY.sub("***", text)


def entries(reply: Any, *, host: str) -> tuple[list[tuple[int | None, Any]], int]:
    """Take a reply's numbered vectors, not yet looked at, and the tokens that the server counted (0: it does not say).

    Raises
    ------
    WrongReply
        The reply is something else than a list of embeddings: a page of HTML, other JSON, nothing at all.
    """
    data = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(data, list) or not all(isinstance(entry, dict) and "embedding" in entry for entry in data):
        raise WrongReply(f"what {host} sent is no list of embeddings; check OPENAI_BASE_URL")
    indices = [entry.get("index") for entry in data]
    pairs = [
        (index if type(index) is int else None, entry["embedding"]) for index, entry in zip(indices, data, strict=True)
    ]
    usage = reply.get("usage")
    billed = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return pairs, billed if type(billed) is int and 0 < billed < _MOST_TOKENS else 0


def match(
    pairs: Sequence[tuple[int | None, str | Sequence[float]]], *, n: int, dim: int | None, model: str
) -> NDArray[np.float32]:
    """Put the vectors of a reply in the order of what was sent, by their `index`.

    Parameters
    ----------
    pairs
        For each vector its index and its numbers, as a list or as base64 of float32 little endian.
    n, dim
        How many texts were sent, and how long vectors are; None where the reply decides.
    model
        For messages.

    Raises
    ------
    WrongReply
        Too few or too many vectors, an index twice or out of range, numbers that are not finite. Nothing of such a
        reply is used: a server that loses a text may have numbered the others anew.
    EncoderError
        Vectors of another length: sending again would not help.
    """
    if len(pairs) != n:
        raise WrongReply(f"{n:,} texts were sent, {len(pairs):,} vectors came back")
    indices = [index for index, _ in pairs]
    if set(indices) != set(range(n)):
        wrong = [index for index in indices if index is None or not 0 <= index < n or indices.count(index) > 1]
        raise WrongReply(f"the vectors are numbered {first_ten(wrong)}, each of 0 to {n - 1:,} was expected once")
    rows = [(index, _numbers(numbers)) for index, numbers in pairs]
    if dim is None:
        dim = rows[0][1].size if rows else 0
    vectors = np.empty((n, dim), np.float32)
    for index, row in rows:
        if row.shape != (dim,):
            raise EncoderError(
                f"{model} should give vectors of {dim} dimensions, {row.size} came back: name the right model, or pass "
                "the dimensions that this server gives"
            )
        vectors[index] = row
    if not np.isfinite(vectors).all():
        raise WrongReply(f"{int((~np.isfinite(vectors)).any(axis=1).sum()):,} vectors are not finite")
    return vectors


class _Secret:
    """A key that shows itself nowhere: not in a repr, not in a pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is not written anywhere")

    def reveal(self) -> str:
        return (self._value or os.environ.get(_KEY) or "").strip()


@dataclass(frozen=True)
class _Failure:
    text: str
    passing: bool = False
    wrong: bool = False
    after: float | None = None


def _numbers(numbers: Any) -> NDArray[np.float32]:
    try:
        if isinstance(numbers, str):
            row = np.frombuffer(base64.b64decode(numbers, validate=True), "<f4")
        elif isinstance(numbers, list) and all(type(number) in (int, float) for number in numbers):
            with np.errstate(over="ignore"):  # infinite then, which is refused with what else is not finite
                row = np.array(numbers, np.float64).astype(np.float32)
        else:
            raise WrongReply("a vector that is no list of numbers")
    except (ValueError, OverflowError) as error:
        raise WrongReply(f"a vector that cannot be read: {error}") from None
    if not row.size:
        raise WrongReply("a vector that has no numbers")
    return row


def _host(address: str) -> str:
    """Return an address's server and port, without whatever else it may hold, which nobody is to see.

    Raises
    ------
    EncoderError
        It is no address of a server.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
        if len(host.encode("idna")) > 253:  # as the resolver will; it refuses parts of more than 63 characters
            raise UnicodeError
        httpx.URL(address)
    except (ValueError, httpx.InvalidURL) as error:
        reason = "a part of the server's name is empty or too long" if isinstance(error, UnicodeError) else "malformed"
        raise EncoderError(f"OPENAI_BASE_URL must be an address like {_OPENAI}; this one is not: {reason}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise EncoderError(f"OPENAI_BASE_URL must be an address like {_OPENAI}; it starts with {address[:8]!r}")
    return host if port is None else f"{host}:{port}"
