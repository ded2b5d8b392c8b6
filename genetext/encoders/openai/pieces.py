"""Texts as a request takes them: whole, cut, or as windows; and requests filled with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext.encoders.base import TRUNCATED, WHOLE, WINDOWED, Encoded, EncoderSpec
from genetext.encoders.openai import tokens
from genetext.errors import EncoderError, first_ten

MAX_INPUTS = 2_048  # of one request
MAX_TOKENS = 300_000  # of one request
MAX_TOKENS_OF_A_TEXT = 8_191


@dataclass(frozen=True)
class Pieces:
    """Texts as they are sent.

    Attributes
    ----------
    inputs
        What is sent, m strings; empty where it was sent before.
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

    @classmethod
    def of_notes(cls, notes: Mapping[str, Any]) -> "Pieces":
        """Read what a batch's ledger remembers of them."""
        sizes, owner, counted = (np.array(notes[name], np.int64) for name in ("sizes", "owner", "counted"))
        return cls([], sizes, owner, counted, np.array(notes["cut"], np.int8))

    def by_text(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return tokens and number of inputs of each text, both `(n,) int64`."""
        n = len(self.cut)
        sizes = np.bincount(self.owner, weights=self.sizes, minlength=n).astype(np.int64)
        return sizes, np.bincount(self.owner, minlength=n)


class Cutter:
    """Makes of texts what is sent, and of what comes back one vector for each text.

    Parameters
    ----------
    spec
        Says how long a text may be, what is done with longer ones, and what stands before each.
    table
        Table to count tokens with. Default: that of `cl100k_base`.
    """

    def __init__(self, spec: EncoderSpec, table: tokens.Table | None = None) -> None:
        self._spec, self._given = spec, table

    @property
    def limit(self) -> int:
        """Tokens of the longest text that is sent whole."""
        return min(self._spec.max_tokens or MAX_TOKENS_OF_A_TEXT, MAX_TOKENS_OF_A_TEXT)

    @cached_property
    def table(self) -> tokens.Table:
        """The table to count with, loaded when a text may be too long."""
        table = self._given or tokens.load()
        if table is None:
            raise EncoderError(
                f"some texts have more than {self.limit:,} bytes, so they may be too long for "
                f"{self._spec.model}; their tokens can only be counted with the table of {tokens.VOCABULARY}, which "
                "could not be loaded: install tiktoken and run once online, or point TIKTOKEN_CACHE_DIR at a copy"
            )
        return table

    def pieces(self, texts: Sequence[str], *, prefix: str | None = None) -> Pieces:
        """Make of each text what is sent: itself, or by the spec's `long_texts` its beginning or its windows."""
        prefix = self._spec.prefix if prefix is None else prefix
        empty = [position for position, text in enumerate(texts) if not text.strip()]
        if empty:
            raise EncoderError(f"{len(empty):,} texts are empty, at the positions {first_ten(empty)}")
        limit = self.limit
        counted = np.full(len(texts), -1, np.int64)
        cut = np.full(len(texts), WHOLE, np.int8)
        sent: list[tuple[str, int, int]] = []
        too_long: list[str] = []
        for position, plain in enumerate(texts):
            text = prefix + plain
            size = tokens.bound(text)
            if size > limit:
                size = counted[position] = len(self.table.encode_ordinary(text))
            if size <= limit:
                sent.append((text, size, position))
            elif self._spec.long_texts == "error":
                too_long.append(f"position {position} ({size:,} tokens)")
            elif self._spec.long_texts == "truncate":
                cut[position] = TRUNCATED
                sent.append((*tokens.head(text, limit, self.table), position))
            else:
                cut[position] = WINDOWED
                sent.extend((piece, count, position) for piece, count in tokens.windows(text, limit, self.table))
        if too_long:
            raise EncoderError(
                f"{len(too_long):,} texts are longer than the {limit:,} tokens of {self._spec.model}: "
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
        if self._spec.normalize:
            lengths = np.linalg.norm(sums, axis=1, keepdims=True)
            if not (lengths > 0).all():
                raise EncoderError(f"{self._spec.model} gave {int((lengths == 0).sum()):,} vectors of zeros")
            sums /= lengths
        shares = np.bincount(pieces.owner, weights=billed, minlength=n).astype(np.int64)
        return Encoded(
            vectors=sums.astype(np.float32),
            n_tokens=np.where(pieces.counted >= 0, pieces.counted, shares).astype(np.int32),
            cut=pieces.cut,
        )


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
