"""OpenAI's API through its official client: one retry loop, errors a person can act on, and a key that stays unseen.

The client's own retries are off. They would send a request again when the account is out of money, give up on a server
that asks for more than two minutes, and know nothing of replies that came but cannot be right. With two loops, one
inside the other, the number of requests would multiply.
"""

import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import urlsplit

import httpx
import numpy as np
from numpy.typing import NDArray

from genetext.encoders.openai import replies
from genetext.encoders.openai.replies import WrongReply
from genetext.errors import EncoderError
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
            return replies.vectors(reply, n=len(inputs), dim=dim, model=model, host=self.host)

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
