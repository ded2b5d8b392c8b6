"""Text to index vector, the same way for genes and for queries: encode, post-process, join blocks, unit length.

An index is made by one encoder, or by several joined (`biobert+lexical`): each gives a block, post-processed by itself
and scaled so that every block weighs the same in an inner product. The final vectors have unit length, so that the
inner product of two of them is their cosine.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.encoders.base import Encoder, EncoderSpec
from genetext.errors import NoDirection, first_ten

FloatT = TypeVar("FloatT", bound=np.floating[Any])


@dataclass(frozen=True)
class EmbeddingSpec:
    """Which encoders, which post-processing.

    Attributes
    ----------
    encoders
        One spec per block, in the order in which the blocks stand in a vector.
    post
        Post-processing of each block, for example `"center,abtt:3"`; empty for none.
    """

    encoders: tuple[EncoderSpec, ...]
    post: str = ""

    @classmethod
    def parse(
        cls,
        encoders: str,
        *,
        post: str = "",
        precision: str = "auto",
        long_texts: str | None = None,
        dimensions: int | None = None,
        device: str = "auto",
    ) -> "EmbeddingSpec":
        """Read `minilm`, `biobert+lexical` ...; options as for `genetext.encoders.spec`.

        Raises
        ------
        EncoderError
            A name, chain or option is unknown; found before any work.
        """
        from genetext.encoders import postprocess, specs

        postprocess.parse(post)
        options: dict[str, Any] = {"precision": precision, "long_texts": long_texts, "dimensions": dimensions}
        return cls(tuple(specs(encoders, **options, device=device)), post)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as a JSON object."""
        return {"encoders": [encoder.to_json() for encoder in self.encoders], "post": self.post}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EmbeddingSpec":
        """Read what `to_json` wrote."""
        return cls(tuple(EncoderSpec.from_json(encoder) for encoder in value["encoders"]), value["post"])

    @property
    def fingerprint(self) -> str:
        """The sha256 of the canonical JSON."""
        return disk.sha256_json(self.to_json())

    def __str__(self) -> str:
        named = "+".join(map(str, self.encoders))
        return f"{named} [{self.post}]" if self.post else named


@dataclass
class TextEmbedding:
    """Loaded encoders and what was fitted to the genes of an index.

    Attributes
    ----------
    spec
        What it is made of.
    encoders
        One for each of `spec.encoders`.
    chains
        The fitted post-processing of each block.
    """

    spec: EmbeddingSpec
    encoders: list[Encoder]
    chains: list[Any] = field(default_factory=list)

    @classmethod
    def load(cls, spec: EmbeddingSpec, *, device: str = "auto", threads: int | None = None) -> "TextEmbedding":
        """Make the encoders of `spec` ready; the embedding's own `spec` has revisions and precisions resolved."""
        from genetext import encoders

        loaded = [encoders.load(encoder, device=device, threads=threads) for encoder in spec.encoders]
        return cls(EmbeddingSpec(tuple(encoder.spec for encoder in loaded), spec.post), loaded)

    def join(self, blocks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Fit the post-processing to the genes' raw vectors and return the index vectors, as `project` does."""
        from genetext.encoders import postprocess

        self.chains = [postprocess.parse(self.spec.post).fit(block) for block in blocks]
        return self.project(blocks)

    def project(self, blocks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Give raw vectors the post-processing that was fitted to the genes, and join the encoders' blocks.

        Parameters
        ----------
        blocks
            For each encoder, `(n_texts, dim_of_encoder) float32`.

        Returns
        -------
        `(n_texts, dim) float32`, unit length; zero rows where no block has anything to say about a text.
        """
        joined = []
        for block, chain in zip(blocks, self.chains, strict=True):
            # A row without content has no direction: centring must not give it one.
            known = block.any(axis=1)
            projected = chain.apply(block)
            projected[~known] = 0
            joined.append(unit_rows(projected))
        vectors = joined[0] if len(joined) == 1 else unit_rows(np.concatenate(joined, axis=1))
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode queries as the genes were: `(n, dim) float32`, unit length.

        Raises
        ------
        NoDirection
            No encoder knows a word of a query. In a joined index it is enough that one does.
        EncoderError
            An encoder failed: never passed over, since the answer would be another index's.
        """
        blocks, refusals = [], []
        for encoder in self.encoders:
            try:
                blocks.append(encoder.encode_queries(texts))
            except NoDirection as error:
                if len(self.encoders) == 1:
                    raise
                refusals.append(error)
                blocks.append(np.zeros((len(texts), encoder.dim), np.float32))
        vectors = self.project(blocks)
        empty = [text for text, vector in zip(texts, vectors, strict=True) if not vector.any()]
        if empty:
            reason = f" ({refusals[0]})" if refusals else ""
            raise NoDirection(f"no vector for the query {first_ten(empty)}{reason}: use other words")
        return vectors

    def save(self, directory: Path) -> None:
        """Write everything that was fitted, without pickle: safetensors, JSON and text."""
        from safetensors.numpy import save_file

        for position, (encoder, chain) in enumerate(zip(self.encoders, self.chains, strict=True)):
            block = directory / f"block{position}"
            block.mkdir(parents=True)
            encoder.save(block)
            if arrays := chain.to_arrays():
                save_file(
                    {name: np.ascontiguousarray(array) for name, array in arrays.items()}, block / "post.safetensors"
                )
            (block / "post.json").write_text(json.dumps(chain.to_json(), sort_keys=True) + "\n")

    def restore(self, directory: Path) -> None:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        from genetext.encoders import postprocess

        self.chains = []
        for position, encoder in enumerate(self.encoders):
            block = directory / f"block{position}"
            encoder.restore(block)
            arrays = load_file(block / "post.safetensors") if (block / "post.safetensors").exists() else {}
            self.chains.append(postprocess.Chain.from_arrays(json.loads((block / "post.json").read_text()), arrays))


@contextmanager
def without_hub(wanted: bool) -> Iterator[None]:
    """Keep encoders from asking a model hub meanwhile, where that is wanted."""
    before = os.environ.get("HF_HUB_OFFLINE")
    if wanted:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if wanted and before is None:
            del os.environ["HF_HUB_OFFLINE"]
        elif wanted and before is not None:
            os.environ["HF_HUB_OFFLINE"] = before


def unit_rows(vectors: NDArray[FloatT]) -> NDArray[FloatT]:
    """Scale rows to unit length; rows of zeros stay zero. The precision is that of the vectors."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[FloatT] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return scaled
