"""What an encoder is: a frozen spec with a fingerprint, and a class that turns texts into vectors batch by batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genetext import disk

WHOLE, TRUNCATED, WINDOWED = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Everything that decides an encoder's vectors, and nothing else.

    Attributes
    ----------
    kind
        `transformer`, `lexical` or `openai`.
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
        One of `genetext.encoders.precision.KNOWN`.
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
        """Read what `to_json` wrote."""
        return cls(**value)

    @property
    def fingerprint(self) -> str:
        """The sha256 of the spec's canonical JSON: the second half of every key of the vector store."""
        return disk.sha256_json(self.to_json())


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


class Encoder(ABC):
    """Turns texts into vectors.

    Loading weights is put off until the first text. A vector depends on its text and the spec alone (up to rounding),
    except for `corpus_bound` encoders, which are fitted on all texts of an index and kept in it.
    """

    corpus_bound: ClassVar[bool] = False
    batch_matters: ClassVar[bool] = True
    """Whether the last bits of a vector depend on which texts share its batch, as they do in all matrix arithmetic."""
    paid: ClassVar[bool] = False
    """Whether each text costs money: its vector is stored as soon as it arrives."""
    spec: EncoderSpec

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

    def fit(self, texts: Sequence[str]) -> None:
        """Fit a corpus-bound encoder on all texts of an index. Others have nothing to fit."""

    def save(self, directory: Path) -> None:
        """Write what a corpus-bound encoder was fitted to (no pickle). Others have nothing to write."""

    def restore(self, directory: Path) -> None:
        """Read what `save` wrote."""
