"""OpenAI's embedding models, and servers that speak as OpenAI does.

Each batch of the plan is one request, filled by an upper bound of its tokens. `stream` keeps a few requests under way
and asks for the next one only after the caller has taken (and stored) a finished one, so that a killed run loses at
most the requests that were under way.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Lock, Thread
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from genetext.encoders import tokens
from genetext.encoders.base import TRUNCATED, WHOLE, WINDOWED, Encoded, Encoder, EncoderSpec
from genetext.encoders.openai_api import Api, Retries, Stopped
from genetext.errors import CostLimit, EncoderError, first_ten

MAX_INPUTS = 2_048  # of one request
MAX_TOKENS = 300_000  # of one request
MAX_TOKENS_OF_A_TEXT = 8_191

DIMENSIONS = {"text-embedding-ada-002": 1536, "text-embedding-3-small": 1536, "text-embedding-3-large": 3072}
"""Length of a model's vectors where they are not shortened."""

PRICES_NOTED = "2026-08"
PRICES = {"text-embedding-ada-002": 0.10, "text-embedding-3-small": 0.02, "text-embedding-3-large": 0.13}
"""USD per million tokens, as OpenAI's price page had them in the month of `PRICES_NOTED`; the Batch API takes half."""

BATCH_DISCOUNT = 0.5


OPTIONS = ("dim",)
"""What may stand in `EncoderSpec.options`: `dim`, the length of the vectors of a model that is not in `DIMENSIONS`."""

PREFIX = "openai:"
"""Before the name of a model of whatever server speaks as OpenAI does."""


def named(model: str) -> EncoderSpec:
    """Return the spec of a model by the name that its server gives it."""
    if not model:
        raise EncoderError(f"{PREFIX!r} wants the name of a model behind it")
    return EncoderSpec(
        kind="openai",
        model=model,
        pooling="none",
        normalize=True,
        max_tokens=MAX_TOKENS_OF_A_TEXT,
        long_texts="window-mean",
    )


PRESETS = {
    "ada": named("text-embedding-ada-002"),
    "openai-3-small": named("text-embedding-3-small"),
    "openai-3-large": named("text-embedding-3-large"),
}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What encoding some texts would cost.

    Attributes
    ----------
    model
        The model.
    texts
        How many texts would be sent.
    tokens
        How many tokens they have: counted where `exact`, else at most so many (UTF-8 bytes; English has about four
        for each token).
    exact
        Whether the tokens were counted with the model's own table.
    price_per_million
        USD, or None where the price of the model is not known.
    batch_api
        Whether this is the price of the Batch API.
    """

    model: str
    texts: int
    tokens: int
    exact: bool
    price_per_million: float | None
    batch_api: bool = False

    @property
    def usd(self) -> float | None:
        """The cost in USD (at most, where not `exact`), or None where the price is not known."""
        return None if self.price_per_million is None else self.tokens * self.price_per_million / 1e6

    def __str__(self) -> str:
        count = f"{self.tokens:,} tokens (counted with {tokens.VOCABULARY})"
        if not self.exact:
            count = f"at most {self.tokens:,} tokens (bytes; the table of {tokens.VOCABULARY} could not be loaded)"
        if self.usd is None:
            return f"{self.texts:,} texts, {count} by {self.model}: its price is not known"
        how = ", Batch API" if self.batch_api else ""
        usd = f"{'' if self.exact else 'at most '}${self.usd:.2f}" if self.usd >= 0.01 else "less than $0.01"
        return (
            f"{self.texts:,} texts, {count} by {self.model}: {usd} "
            f"(${self.price_per_million:g} per million{how}, noted {PRICES_NOTED})"
        )


def estimate(
    spec: EncoderSpec,
    texts: Sequence[str],
    *,
    max_cost: float | None = None,
    batch_api: bool = False,
    table: tokens.Table | None = None,
) -> Cost:
    """Estimate what it costs to encode `texts`; nothing is sent.

    Parameters
    ----------
    spec
        An encoder of kind `openai`.
    texts
        The texts that are not in the store yet.
    max_cost
        USD that must not be exceeded.
    batch_api
        Whether the Batch API is to be used.
    table
        Table to count with. Default: that of `cl100k_base`, if it can be loaded.

    Raises
    ------
    CostLimit
        The cost (where it is not exact: what it could be at most) exceeds `max_cost`, or a limit was given and the
        price is not known.
    """
    table = table or tokens.load()
    price = PRICES.get(spec.model)
    if price is not None and batch_api:
        price *= BATCH_DISCOUNT
    total = 0
    for text in texts:
        count = tokens.bound(spec.prefix + text)
        if table is not None:
            count = len(table.encode_ordinary(spec.prefix + text))
        total += min(count, _limit(spec)) if spec.long_texts == "truncate" else count
    cost = Cost(
        model=spec.model,
        texts=len(texts),
        tokens=total,
        exact=table is not None,
        price_per_million=price,
        batch_api=batch_api,
    )
    if max_cost is not None and (cost.usd is None or cost.usd > max_cost):
        raise CostLimit(f"{cost}; allowed are ${max_cost:.2f}. Nothing was sent.")
    return cost


@dataclass(frozen=True)
class Pieces:
    """Texts as they are sent: whole, cut, or as windows.

    Attributes
    ----------
    inputs
        What is sent, m strings.
    sizes
        `(m,) int64`, tokens of each input, or a number that its tokens do not exceed.
    owner
        `(m,) int64`, the text that each input is of; ascending.
    counted
        `(n,) int64`, tokens of each whole text, -1 where they were not counted.
    cut
        `(n,) int8`, `WHOLE`, `TRUNCATED` or `WINDOWED`.
    """

    inputs: list[str]
    sizes: NDArray[np.int64]
    owner: NDArray[np.int64]
    counted: NDArray[np.int64]
    cut: NDArray[np.int8]


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
        As for `genetext.encoders.openai_api.Api`.
    table
        Table to count tokens with. Default: that of `cl100k_base`, loaded when a text may be too long.

    Raises
    ------
    EncoderError
        The spec cannot be served, a text is empty or too long, or the server refuses or goes on failing.
    """

    # A vector does not depend on which texts share its request: of a half-stored batch only the rest is to be asked.
    paid = True
    batch_matters: ClassVar[bool] = False

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
    ) -> None:
        if spec.kind != "openai":
            raise EncoderError(f"an encoder of kind {spec.kind!r} is not asked through OpenAI's API")
        if spec.long_texts not in ("error", "truncate", "window-mean"):
            raise EncoderError(f"long texts can be met by error, truncate or window-mean, not {spec.long_texts!r}")
        if spec.dimensions is not None and spec.model == "text-embedding-ada-002":
            raise EncoderError("text-embedding-ada-002 cannot shorten its vectors: leave dimensions out")
        full = DIMENSIONS.get(spec.model)
        if full is not None and spec.dimensions is not None and not 0 < spec.dimensions <= full:
            raise EncoderError(f"{spec.model} has {full} dimensions, it cannot be shortened to {spec.dimensions}")
        dim = next((said for said in (spec.dimensions, spec.options.get("dim"), full) if said is not None), None)
        if dim is not None and (type(dim) is not int or dim < 1):
            raise EncoderError(
                f"vectors of {spec.model} cannot have the length {dim!r}: it is a whole number from 1 on"
            )
        if concurrency < 1:
            raise EncoderError(f"at least one request must be under way, not {concurrency}")
        self.spec = spec
        self.api = Api(base_url=base_url, api_key=api_key, timeout=timeout, retries=retries)
        self._dim = dim
        self._first = Lock()
        self._concurrency = concurrency
        self._given_table = table

    def __repr__(self) -> str:
        return f"OpenAIEncoder({self.spec.model!r}, {self.api!r})"

    @property
    def dim(self) -> int:
        """Length of a vector. Where nothing tells it, and no reply came yet, one word is sent to learn it."""
        if self._dim is None:
            self._ask(["gene"], Event())
        assert self._dim is not None  # every reply leaves it
        return self._dim

    def close(self) -> None:
        """Close the connections."""
        self.api.close()

    def plan(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Divide the texts into requests: at most 2,048 inputs and 300,000 tokens each.

        Empty texts, and too long ones under `long_texts="error"`, are refused here, before anything is paid for.
        """
        pieces = self.pieces(texts)
        inputs = np.bincount(pieces.owner, minlength=len(texts))
        sizes = np.bincount(pieces.owner, weights=pieces.sizes, minlength=len(texts)).astype(np.int64)
        return list(pack(sizes, inputs))

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode one batch of gene texts, as one request if it is one of the plan."""
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
            except BaseException as error:  # whatever it is, it belongs to the one who waits
                future.set_exception(error)

        Thread(target=run, daemon=True, name="genetext-openai").start()
        return future

    def pieces(self, texts: Sequence[str], *, prefix: str | None = None) -> Pieces:
        """Make of each text what is sent: itself, or by the spec's `long_texts` its beginning or its windows."""
        prefix = self.spec.prefix if prefix is None else prefix
        empty = [position for position, text in enumerate(texts) if not text.strip()]
        if empty:
            raise EncoderError(f"{len(empty):,} texts are empty, at the positions {first_ten(empty)}")
        limit = _limit(self.spec)
        counted = np.full(len(texts), -1, np.int64)
        cut = np.full(len(texts), WHOLE, np.int8)
        sent: list[tuple[str, int, int]] = []
        too_long: list[str] = []
        for position, plain in enumerate(texts):
            text = prefix + plain
            size = tokens.bound(text)
            if size > limit:
                size = counted[position] = len(self._table.encode_ordinary(text))
            if size <= limit:
                sent.append((text, size, position))
            elif self.spec.long_texts == "error":
                too_long.append(f"position {position} ({size:,} tokens)")
            elif self.spec.long_texts == "truncate":
                cut[position] = TRUNCATED
                sent.append((*tokens.head(text, limit, self._table), position))
            else:
                cut[position] = WINDOWED
                sent.extend((piece, count, position) for piece, count in tokens.windows(text, limit, self._table))
        if too_long:
            raise EncoderError(
                f"{len(too_long):,} texts are longer than the {limit:,} tokens of {self.spec.model}: "
                f"{first_ten(too_long)}; pass --long-texts truncate or window-mean"
            )
        return Pieces(
            inputs=[text for text, _, _ in sent],
            sizes=np.array([size for _, size, _ in sent], np.int64),
            owner=np.array([position for _, _, position in sent], np.int64),
            counted=counted,
            cut=cut,
        )

    def join(self, pieces: Pieces, vectors: NDArray[np.float32], billed: NDArray[np.int64]) -> Encoded:
        """Make one vector of each text's inputs: the mean, weighed by their tokens, scaled to unit length.

        Parameters
        ----------
        pieces
            What was sent.
        vectors
            `(m, dim) float32`, what came back.
        billed
            `(m,) int64`, tokens of each input as shared out of the server's count.

        Returns
        -------
        Encoded
            Where a text was not counted, its tokens are its share of what the server counted for its request.
        """
        n = len(pieces.cut)
        weights = pieces.sizes.astype(np.float64)
        sums = np.zeros((n, vectors.shape[1]))
        np.add.at(sums, pieces.owner, vectors * weights[:, None])
        sums /= np.bincount(pieces.owner, weights=weights, minlength=n)[:, None]
        if self.spec.normalize:
            lengths = np.linalg.norm(sums, axis=1, keepdims=True)
            if not (lengths > 0).all():
                raise EncoderError(f"{self.spec.model} gave {int((lengths == 0).sum()):,} vectors of zeros")
            sums /= lengths
        shares = np.bincount(pieces.owner, weights=billed, minlength=n).astype(np.int64)
        return Encoded(
            vectors=sums.astype(np.float32),
            n_tokens=np.where(pieces.counted >= 0, pieces.counted, shares).astype(np.int32),
            cut=pieces.cut,
        )

    def _encode(self, texts: Sequence[str], stop: Event, *, prefix: str | None = None) -> Encoded:
        pieces = self.pieces(texts, prefix=prefix)
        parts = []
        billed = np.zeros(len(pieces.inputs), np.int64)
        for rows in pack(pieces.sizes, np.ones_like(pieces.sizes)):  # runs, in the order of the inputs
            vectors, counted = self._ask([pieces.inputs[row] for row in rows], stop)
            parts.append(vectors)
            billed[rows] = share_out(counted, pieces.sizes[rows])
        return self.join(pieces, np.concatenate(parts or [np.empty((0, self.dim), np.float32)]), billed)

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

    @cached_property
    def _table(self) -> tokens.Table:
        table = self._given_table or tokens.load()
        if table is None:
            raise EncoderError(
                f"some texts have more than {_limit(self.spec):,} bytes, so they may be too long for "
                f"{self.spec.model}; their tokens can only be counted with the table of {tokens.VOCABULARY}, which "
                "could not be loaded: install tiktoken and run once online, or point TIKTOKEN_CACHE_DIR at a copy"
            )
        return table


def pack(
    sizes: NDArray[np.int64], inputs: NDArray[np.int64], *, max_size: int = MAX_TOKENS, max_inputs: int = MAX_INPUTS
) -> Iterator[NDArray[np.int64]]:
    """Divide things of given sizes, in their order, into runs that fit a request; what fits none has its own run."""
    run: list[int] = []
    size = count = 0
    for row, (more_size, more_inputs) in enumerate(zip(sizes.tolist(), inputs.tolist(), strict=True)):
        if run and (size + more_size > max_size or count + more_inputs > max_inputs):
            yield np.array(run, np.int64)
            run, size, count = [], 0, 0
        run.append(row)
        size += more_size
        count += more_inputs
    if run:
        yield np.array(run, np.int64)


def share_out(total: int, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Share `total` out in proportion to `sizes`, as whole numbers of that sum; 0: not known, so `sizes` themselves."""
    if total <= 0:
        return sizes
    edges = np.rint(np.cumsum(sizes) * (total / sizes.sum())).astype(np.int64)
    shares: NDArray[np.int64] = np.diff(edges, prepend=0)
    return shares


def _limit(spec: EncoderSpec) -> int:
    return min(spec.max_tokens or MAX_TOKENS_OF_A_TEXT, MAX_TOKENS_OF_A_TEXT)
