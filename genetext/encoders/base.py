"""What an encoder is: a frozen spec with a fingerprint, and a class that turns texts into vectors batch by batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.errors import CostLimit, EncoderError

WHOLE, TRUNCATED, WINDOWED = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Everything that decides an encoder's vectors, and nothing else.

    Attributes
    ----------
    kind
        `transformer`, `lexical`, `openai`, or that of another distribution.
    model
        Hub id, local folder (its content is fingerprinted through `revision`) or API model name.
    revision
        Commit on the hub, or the sha256 of the weights; None until it is resolved, and for API models.
    pooling
        `mean` (attention-masked mean of the last layer), `cls`, `last`, or `none` where the model gives one vector.
    normalize
        Whether the encoder itself scales vectors to unit length.
    max_tokens
        Window of the model in tokens, special tokens included; None where there is none.
    long_texts
        What is done with longer texts: `truncate`, `window-mean` or `error`.
    precision
        One of `genetext.encoders.transformer.precision.KNOWN`.
    prefix, query_prefix
        Put before each gene text, and before each query.
    query_model, query_revision
        Another model for queries (MedCPT), or None.
    dimensions
        Shortened output dimension (OpenAI v3 models), or None.
    options
        Anything else that decides the vectors (lexical: n-grams, SVD size ...), JSON values.
    """

    kind: str
    model: str
    revision: str | None = None
    pooling: str = "mean"
    normalize: bool = False
    max_tokens: int | None = 512
    long_texts: str = "truncate"
    precision: str = "float32"
    prefix: str = ""
    query_prefix: str = ""
    query_model: str | None = None
    query_revision: str | None = None
    dimensions: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as a JSON object."""
        return {**asdict(self), "options": dict(self.options)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EncoderSpec":
        """Read what `to_json` wrote.

        Raises
        ------
        TypeError
            A field is unknown, lacking, or of another type than it has to be.
        """
        for item in fields(cls):
            kind: Any = Mapping if item.name == "options" else item.type
            if item.name in value and not isinstance(value[item.name], kind):
                raise TypeError(f"an encoder's {item.name} cannot be {value[item.name]!r:.60}")
        return cls(**value)

    @property
    def fingerprint(self) -> str:
        """The sha256 of the spec's canonical JSON: the second half of every key of the vector store."""
        return disk.sha256_json(self.to_json())

    def __str__(self) -> str:
        if self.revision is None:
            return self.model
        return f"{self.model}@{self.revision.removeprefix('sha256:')[:7]} ({self.precision})"


@dataclass(frozen=True)
class Encoded:
    """Vectors of some texts, and what became of each text.

    Attributes
    ----------
    vectors
        `(n, dim) float32`.
    n_tokens
        `(n,) int32`, tokens of the whole text, special tokens not counted.
    cut
        `(n,) int8`: `WHOLE`, `TRUNCATED` or `WINDOWED`.
    """

    vectors: NDArray[np.float32]
    n_tokens: NDArray[np.int32]
    cut: NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An encoder that has a name: one line of `genetext encoders`.

    Attributes
    ----------
    name
        What is given to `--encoder`.
    spec
        The encoder; its `revision` and `precision` are resolved when it is asked for.
    dim
        Length of a vector (the most it can be, where options or texts decide).
    licence
        Licence of the weights as their publisher states it.
    size_mb
        Download size of the weights in MB (float32), 0 where there are none.
    source
        Where the pooling is documented.
    note
        What a user should know before choosing it.
    """

    name: str
    spec: EncoderSpec
    dim: int | None
    licence: str = ""
    size_mb: int = 0
    source: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What encoding some texts would cost; of a free encoder, nothing.

    Attributes
    ----------
    model
        The model.
    texts, tokens
        How many texts would be sent, and their tokens: counted where `exact`, else at most so many (UTF-8 bytes;
        English has about four for each token). Free encoders count none.
    price_per_million
        USD per million tokens, None where it is not known.
    exact, table
        Whether the tokens were counted, and the name of the table for it.
    terms
        What else decides the price: the service, when the price was noted.
    under_way
        How many of the texts are in batches that are under way: to encode them now is to pay twice.
    """

    model: str
    texts: int
    tokens: int = 0
    price_per_million: float | None = 0.0
    exact: bool = True
    table: str = ""
    terms: str = ""
    under_way: int = 0

    @property
    def usd(self) -> float | None:
        """The cost in USD (at most, where not `exact`), or None where the price is not known."""
        return None if self.price_per_million is None else self.tokens * self.price_per_million / 1e6

    def __str__(self) -> str:
        count = f"{self.tokens:,} tokens (counted with {self.table})"
        if not self.exact:
            count = f"at most {self.tokens:,} tokens (bytes; the table of {self.table} could not be loaded)"
        if self.usd is None:
            price = "its price is not known"
        else:
            usd = f"{'' if self.exact else 'at most '}${self.usd:.2f}" if self.usd >= 0.01 else "less than $0.01"
            price = f"{usd} (${self.price_per_million:g} per million, {self.terms})"
        twice = f"; {self.under_way:,} of the texts are in a batch that is under way and would be paid twice"
        return f"{self.texts:,} texts, {count} by {self.model}: {price}{twice if self.under_way else ''}"


class Encoder(ABC):
    """Turns texts into vectors; the class itself tells what encoders of its kind there are.

    Loading weights is put off until the first text. A vector depends on its text and the spec alone (up to rounding),
    except for `corpus_bound` encoders, which are fitted on all texts of an index and kept in it. A subclass is made
    from a spec and whatever keyword-only options decide how it runs, but not what comes out (a device, threads).

    A distribution adds a kind by an entry point of the group `genetext.encoders`, of the kind's name, that names its
    subclass. Its specs have that name as their `kind`, and the module that has the class must import nothing heavy.
    """

    corpus_bound: ClassVar[bool] = False
    batch_matters: ClassVar[bool] = True
    """Whether the last bits of a vector depend on which texts share its batch, as they do in all matrix arithmetic."""
    paid: ClassVar[bool] = False
    """Whether each text costs money: then `encode` and `stream` call `refuse_unconfirmed` before they send any, and a
    vector is stored as soon as it arrives."""
    confirmed: bool = False
    """Whether a paid encoder may send gene texts now. `genetext.encoding.paid.confirmed` sets it for those allowed."""
    spec: EncoderSpec

    # -- what there is of a kind -------------------------------------------------------------------------------------

    @classmethod
    def presets(cls) -> Sequence[Preset]:
        """Return the encoders of this kind that have a name."""
        return ()

    @classmethod
    def named(cls, model: str) -> EncoderSpec:
        """Return the spec of the encoder that a user calls `<kind>:<model>`.

        Raises
        ------
        EncoderError
            There is none, or the kind has presets alone.
        """
        raise EncoderError(f"{model!r} is no encoder: give one of {', '.join(preset.name for preset in cls.presets())}")

    @classmethod
    def options(cls, spec: EncoderSpec) -> tuple[str, ...]:  # noqa: ARG003
        """Return the names of the options that decide the vectors of `spec`: fields of it, and keys of its `options`.

        What is not among them is refused, since it would change the fingerprint alone.
        """
        return ()

    @classmethod
    def resolve(cls, spec: EncoderSpec, *, device: str) -> EncoderSpec:  # noqa: ARG003
        """Fill in what depends on this machine or on a hub (precision, revision); downloads no weights."""
        return spec

    @classmethod
    def present(cls, spec: EncoderSpec) -> bool | None:  # noqa: ARG003
        """Whether it can be used on this machine without a download; None where there is nothing to have."""
        return None

    @classmethod
    def pull(cls, spec: EncoderSpec) -> Path:
        """Download what `spec` needs and return its folder.

        Raises
        ------
        MissingWeights
            The hub cannot be reached or does not have them.
        EncoderError
            The encoder has no weights to fetch.
        """
        raise EncoderError(f"{spec.model} has no weights on the hub to fetch")

    # -- texts to vectors --------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of a vector."""

    @abstractmethod
    def plan(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Divide the texts into batches: arrays of positions in `texts`, each position once.

        The plan depends on the texts and the spec alone, so that the same texts are always encoded in the same batches.
        """

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode one batch of gene texts (non-empty strings)."""

    def stream(
        self, texts: Sequence[str], batches: Sequence[NDArray[np.int64]]
    ) -> Iterator[tuple[NDArray[np.int64], Encoded]]:
        """Encode batches of a plan, one after another or several at once; yield each as it is finished."""
        for batch in batches:
            yield batch, self.encode([texts[position] for position in batch])

    @abstractmethod
    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode search queries: `(n, dim) float32`, comparable with the gene texts' vectors by inner product."""

    def estimate(self, texts: Sequence[str], *, batch: bool = False) -> Cost:  # noqa: ARG002
        """Estimate what it costs to encode `texts` (by the batch service, if `batch`); nothing is sent."""
        return Cost(model=self.spec.model, texts=len(texts))

    def refuse_unconfirmed(self, n_texts: int) -> None:
        """Raise `CostLimit` where sending `n_texts` gene texts costs money and nobody has confirmed that."""
        if self.paid and not self.confirmed:
            raise CostLimit(
                f"{n_texts:,} texts would be sent to {self.spec.model}, which is paid for; nothing was sent. Pass "
                "confirm=True, a function that is shown the cost and answers, or max_cost= in USD (on the command line "
                "--yes, --max-cost); to an encoder of your own, genetext.encoders.load(spec, confirmed=True)"
            )

    def check_access(self) -> None:
        """Raise `EncoderError` where a paid encoder could not send anything, for want of a key."""

    @property
    def batch_service(self) -> "BatchService | None":
        """The provider's slower and cheaper way to the same vectors, where it has one."""
        return None

    @property
    def padding(self) -> float:
        """Share of padding in what this encoder has processed so far."""
        return 0.0

    def fit(self, texts: Sequence[str]) -> None:
        """Fit a corpus-bound encoder on all texts of an index. Others have nothing to fit."""

    def save(self, directory: Path) -> None:
        """Write what a corpus-bound encoder was fitted to (no pickle). Others have nothing to write."""

    def restore(self, directory: Path) -> None:
        """Read what `save` wrote."""


@dataclass(frozen=True)
class BatchRequest:
    """One request of a batch, which fails or succeeds as a whole.

    Attributes
    ----------
    custom_id
        What its answer carries.
    digests
        The sha256 of its texts.
    notes
        What the encoder needs to make vectors of the answer (JSON values).
    """

    custom_id: str
    digests: list[str]
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class BatchState:
    """How far a batch is.

    Attributes
    ----------
    ended
        Whether the server has done with it, well or not.
    why
        What went wrong with the batch as a whole; empty where nothing did.
    failed
        Whether to send it again is no use.
    files
        Of answers, as the server names them.
    """

    ended: bool
    why: str = ""
    failed: bool = False
    files: tuple[str, ...] = ()


class BatchService(Protocol):
    """A provider that takes many texts at once and answers later; `genetext.encoding.batches` keeps book of it."""

    host: str
    """Where the batches are."""

    def divide(
        self, texts: Sequence[str], digests: Sequence[str]
    ) -> Iterator[tuple[list[BatchRequest], Sequence[bytes]]]:
        """Divide texts into batches within the provider's limits: their requests, and what is to be sent for each."""

    def upload(self, name: str, requests: Sequence[bytes]) -> str:
        """Send what a batch is made of; return the id of that file."""

    def create(self, name: str, file_id: str) -> str:
        """Make the batch, unless one of this name and file was made before; return its id."""

    def state(self, batch_id: str) -> BatchState:
        """Ask how far a batch is."""

    def answers(
        self, state: BatchState, requests: Sequence[BatchRequest], *, scratch: Path
    ) -> Iterator[tuple[BatchRequest, Encoded] | str]:
        """Give each request's vectors, or why there are none; what is downloaded passes through the file `scratch`."""
