"""The encoder of OpenAI's embedding models, and of servers that speak as OpenAI does.

Each batch of the plan is one request, filled by an upper bound of its tokens. `stream` keeps a few requests under way
and asks for the next one only after the caller has taken (and stored) a finished one, so that a killed run loses at
most the requests that were under way.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from threading import Event, Lock, Thread

import numpy as np
from numpy.typing import NDArray

from genetext.encoders.base import Cost, Encoded, Encoder, EncoderSpec, Preset
from genetext.encoders.openai import tokens
from genetext.encoders.openai.api import Api, Retries, Stopped
from genetext.encoders.openai.batch import OpenAIBatches
from genetext.encoders.openai.pieces import MAX_TOKENS_OF_A_TEXT, Cutter, pack, share_out
from genetext.errors import EncoderError

DIMENSIONS = {"text-embedding-ada-002": 1536, "text-embedding-3-small": 1536, "text-embedding-3-large": 3072}
"""Length of a model's vectors where they are not shortened."""

PRICES_NOTED = "2026-08"
PRICES = {"text-embedding-ada-002": 0.10, "text-embedding-3-small": 0.02, "text-embedding-3-large": 0.13}
"""USD per million tokens, as OpenAI's price page had them in the month of `PRICES_NOTED`; the Batch API takes half."""

BATCH_DISCOUNT = 0.5
_NAMES = {
    "ada": "text-embedding-ada-002",
    "openai-3-small": "text-embedding-3-small",
    "openai-3-large": "text-embedding-3-large",
}
_FIXED = "text-embedding-ada-002"  # cannot shorten its vectors


class OpenAIEncoder(Encoder):
    """Texts to vectors by an API.

    Parameters
    ----------
    spec
        Of kind `openai`. The length of the vectors of a model that is not in `DIMENSIONS` is taken from the first
        reply, unless `dimensions` (which the server is asked for) or `options={"dim": ...}` say it.
    concurrency
        Requests under way at once.
    base_url, api_key, timeout, retries
        As for `genetext.encoders.openai.api.Api`.
    table
        Table to count tokens with. Default: that of `cl100k_base`, loaded when a text may be too long.
    confirmed
        Whether gene texts may be sent without asking: `encode`, `stream` and `batch_service` refuse them otherwise.

    Raises
    ------
    EncoderError
        The spec cannot be served, a text is empty or too long, or the server refuses or goes on failing.
    """

    # A vector does not depend on which texts share its request: of a half-stored batch only the rest is to be asked.
    batch_matters = False
    paid = True

    @classmethod
    def presets(cls) -> Sequence[Preset]:
        """Return OpenAI's models."""
        return [
            Preset(
                name=name,
                spec=cls.named(model),
                dim=DIMENSIONS[model],
                note="paid for by the token" + ("" if model == _FIXED else "; dim can be shortened"),
            )
            for name, model in _NAMES.items()
        ]

    @classmethod
    def named(cls, model: str) -> EncoderSpec:
        """Return the spec of a model by the name that its server gives it."""
        if not model:
            raise EncoderError("'openai:' wants the name of a model behind it")
        return EncoderSpec(
            kind="openai",
            model=model,
            pooling="none",
            normalize=True,
            max_tokens=MAX_TOKENS_OF_A_TEXT,
            long_texts="window-mean",
        )

    @classmethod
    def options(cls, spec: EncoderSpec) -> tuple[str, ...]:
        """Return the options that decide the vectors; `dim`, their length, only where the model is not known."""
        return ("long_texts", "max_tokens", "dimensions", *(() if spec.model in DIMENSIONS else ("dim",)))

    def __init__(
        self,
        spec: EncoderSpec,
        *,
        concurrency: int = 4,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 120.0,
        retries: Retries | None = None,
        table: tokens.Table | None = None,
        confirmed: bool = False,
    ) -> None:
        if spec.kind != "openai":
            raise EncoderError(f"an encoder of kind {spec.kind!r} is not asked through OpenAI's API")
        if spec.long_texts not in ("error", "truncate", "window-mean"):
            raise EncoderError(f"long texts can be met by error, truncate or window-mean, not {spec.long_texts!r}")
        if spec.dimensions is not None and spec.model == _FIXED:
            raise EncoderError(f"{_FIXED} cannot shorten its vectors: leave dimensions out")
        full = DIMENSIONS.get(spec.model)
        if full is not None and spec.dimensions is not None and not 0 < spec.dimensions <= full:
            raise EncoderError(f"{spec.model} has {full} dimensions, it cannot be shortened to {spec.dimensions}")
        dim = next((size for size in (spec.dimensions, spec.options.get("dim"), full) if size is not None), None)
        if dim is not None and (type(dim) is not int or dim < 1):
            raise EncoderError(
                f"vectors of {spec.model} cannot have the length {dim!r}: it is a whole number from 1 on"
            )
        if concurrency < 1:
            raise EncoderError(f"at least one request must be under way, not {concurrency}")
        self.spec, self.confirmed = spec, confirmed
        self.api = Api(base_url=base_url, api_key=api_key, timeout=timeout, retries=retries)
        self._dim = dim
        self._first = Lock()
        self._concurrency = concurrency
        self._cutter, self._given_table = Cutter(spec, table), table

    def __repr__(self) -> str:
        return f"OpenAIEncoder({self.spec.model!r}, {self.api!r})"

    @property
    def dim(self) -> int:
        """Length of a vector. Where nothing tells it, and no reply came yet, one word is sent to learn it."""
        if self._dim is None:
            self._ask(["gene"], Event())
        assert self._dim is not None  # every reply leaves it
        return self._dim

    def estimate(self, texts: Sequence[str], *, batch: bool = False) -> Cost:
        """Estimate what it costs to encode `texts`, by the Batch API if `batch`; nothing is sent.

        Tokens are counted with the table of `cl100k_base` if it can be loaded, else as UTF-8 bytes, which they cannot
        exceed.
        """
        table = self._given_table or tokens.load()
        price = PRICES.get(self.spec.model)
        total = 0
        for text in texts:
            whole = self.spec.prefix + text
            count = tokens.bound(whole) if table is None else len(table.encode_ordinary(whole))
            total += min(count, self._cutter.limit) if self.spec.long_texts == "truncate" else count
        return Cost(
            model=self.spec.model,
            texts=len(texts),
            tokens=total,
            price_per_million=price if price is None or not batch else price * BATCH_DISCOUNT,
            exact=table is not None,
            table=tokens.VOCABULARY,
            terms=f"{'Batch API, ' if batch else ''}noted {PRICES_NOTED}",
        )

    def check_access(self) -> None:
        """Raise `EncoderError` where there is no key."""
        self.api.check_key()

    @property
    def batch_service(self) -> OpenAIBatches:
        """The Batch API: half the price, an answer within a day."""
        return OpenAIBatches(self, self.api, self._cutter)

    def close(self) -> None:
        """Close the connections."""
        self.api.close()

    def plan(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Divide the texts into requests: at most 2,048 inputs and 300,000 tokens each.

        Empty texts, and too long ones under `long_texts="error"`, are refused here, before anything is paid for.
        """
        return list(pack(*self._cutter.pieces(texts).by_text()))

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode one batch of gene texts, as one request if it is one of the plan."""
        self.refuse_unconfirmed(len(texts))
        return self._encode(texts, Event())

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode search queries: `(n, dim) float32`."""
        return self._encode(texts, Event(), prefix=self.spec.query_prefix).vectors

    def stream(
        self, texts: Sequence[str], batches: Sequence[NDArray[np.int64]]
    ) -> Iterator[tuple[NDArray[np.int64], Encoded]]:
        """Encode batches, a few at once; yield each as it arrives.

        The next request is sent when the caller comes back for more. If a request fails for good, or on Ctrl-C, nothing
        more is sent, what is under way is awaited and yielded (it is paid for), and then the error is raised; a second
        Ctrl-C does not wait, and neither does the end of the process.
        """
        self.refuse_unconfirmed(sum(map(len, batches)))
        waiting = iter(batches)
        running: dict[Future[Encoded], NDArray[np.int64]] = {}
        failure: BaseException | None = None
        stop = Event()
        try:
            while True:
                while (
                    failure is None and len(running) < self._concurrency and (batch := next(waiting, None)) is not None
                ):
                    running[self._begin([texts[row] for row in batch], stop)] = batch
                if not running:
                    break
                try:
                    done = wait(running, return_when=FIRST_COMPLETED).done
                except KeyboardInterrupt as interrupt:
                    if isinstance(failure, KeyboardInterrupt):
                        raise
                    failure = interrupt
                    stop.set()
                    continue
                for future in done:
                    batch = running.pop(future)
                    error = future.exception()
                    if error is None:
                        yield batch, future.result()
                    elif failure is None or isinstance(failure, Stopped):
                        failure = error
                        stop.set()
            if failure is not None:
                raise failure
        finally:
            stop.set()

    def _begin(self, texts: Sequence[str], stop: Event) -> Future[Encoded]:
        """Encode in a thread that the end of the process does not wait for, as it does for those of an executor."""
        future: Future[Encoded] = Future()

        def run() -> None:
            try:
                future.set_result(self._encode(texts, stop))
            except BaseException as error:  # whatever it is, it belongs to whoever waits for it
                future.set_exception(error)

        Thread(target=run, daemon=True, name="genetext-openai").start()
        return future

    def _encode(self, texts: Sequence[str], stop: Event, *, prefix: str | None = None) -> Encoded:
        pieces = self._cutter.pieces(texts, prefix=prefix)
        parts = []
        billed = np.zeros(len(pieces.inputs), np.int64)
        for rows in pack(pieces.sizes, np.ones_like(pieces.sizes)):  # runs, in the order of the inputs
            vectors, counted = self._ask([pieces.inputs[row] for row in rows], stop)
            parts.append(vectors)
            billed[rows] = share_out(counted, pieces.sizes[rows])
        return self._cutter.join(pieces, np.concatenate(parts or [np.empty((0, self.dim), np.float32)]), billed)

    def _ask(self, inputs: Sequence[str], stop: Event) -> tuple[NDArray[np.float32], int]:
        vectors, counted = self.api.embed(
            inputs, model=self.spec.model, dim=self._dim, dimensions=self.spec.dimensions, stop=stop
        )
        with self._first:
            if self._dim is None:
                self._dim = vectors.shape[1]
        if vectors.shape[1] != self._dim:
            raise EncoderError(
                f"{self.spec.model} gave vectors of {self._dim} dimensions first, then of {vectors.shape[1]}"
            )
        return vectors, counted
