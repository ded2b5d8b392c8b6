"""Transformer encoders: tokens once, batches of near-equal length, the pooling that the model's authors document."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext.encoders import registry, weights
from genetext.encoders.base import TRUNCATED, WHOLE, WINDOWED, Encoded, Encoder, EncoderSpec, Preset
from genetext.encoders.presets import PRESETS
from genetext.encoders.transformer import batching, configuration, precision, workers
from genetext.encoders.transformer.tokenizer import Tokenizer
from genetext.errors import EncoderError, first_ten

BATCH_TOKENS = 1024
BATCH_ROWS = 64
PADDING = 0.02
_TOKENIZE_AT_ONCE = 1_000
_POLICIES = ("truncate", "window-mean", "error")


@dataclass
class Statistics:
    """What an encoder has processed so far: the report of an index and the benchmark read it.

    Attributes
    ----------
    texts, tokens, padding
        Texts; tokens that went through the model, special tokens included; padding tokens beside them.
    seconds
        Time in the model, summed over cores or devices that work at once; tokenising not counted.
    """

    texts: int = 0
    tokens: int = 0
    padding: int = 0
    seconds: float = 0.0

    @property
    def padding_share(self) -> float:
        """Padding over all that went through the model."""
        return self.padding / max(self.tokens + self.padding, 1)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One rectangle of ids, and which text each of its rows belongs to."""

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    owners: NDArray[np.int64]
    n_tokens: NDArray[np.int32]
    cut: NDArray[np.int8]


class TransformerEncoder(Encoder):
    """A hub model or a local folder as an encoder.

    Parameters
    ----------
    spec
        Of kind `transformer`. A missing revision and the precision `auto` are resolved here; `self.spec` has both.
    device
        `auto`, `cpu`, `cuda`, `cuda:1`, or several (`cuda:0,cuda:1`; `cpu,cpu` for two processes).
    threads
        Cores to use on each processor device. Default: as many threads as torch is set to.

    Raises
    ------
    MissingWeights
        The weights are not on this machine and the hub does not give them.
    EncoderError
        The weights are not the ones that the spec names, or say otherwise than the preset how they are to be pooled,
        or the device or precision cannot be had.
    """

    @classmethod
    def presets(cls) -> Sequence[Preset]:
        """Return the models that the field uses for gene text."""
        return tuple(PRESETS.values())

    @classmethod
    def named(cls, model: str) -> EncoderSpec:
        """Return the spec of a hub id or of a local folder, as its sentence-transformers configuration has it."""
        local = weights.is_local(model)
        if not local and "/" not in model:
            presets = first_ten([preset.name for preset in registry.presets()])
            raise EncoderError(
                f"encoder {model!r} is unknown: give a preset ({presets}), a hub id (org/model), a local folder, or "
                "openai:<model> for a model of the server at OPENAI_BASE_URL"
            )
        files = weights.configuration(model, None)
        recipe = configuration.recipe(files.folder)
        return EncoderSpec(
            kind="transformer",
            model=str(files.folder) if local else model,
            revision=files.revision,
            pooling=recipe.pooling,
            normalize=recipe.normalize,
            max_tokens=recipe.max_tokens,
            prefix=recipe.prefix,
            query_prefix=recipe.query_prefix,
        )

    @classmethod
    def options(cls, spec: EncoderSpec) -> tuple[str, ...]:
        """Return the options that decide the vectors; `query_max_tokens` where queries have a model of their own."""
        return ("precision", "long_texts", "max_tokens", *(("query_max_tokens",) if spec.query_model else ()))

    @classmethod
    def resolve(cls, spec: EncoderSpec, *, device: str) -> EncoderSpec:
        """Resolve precision and revisions, as far as they can be told without downloading weights."""
        query_model = spec.query_model
        return replace(
            spec,
            precision=precision.resolve(spec.precision, device=precision.devices(device)[0]),
            revision=weights.revision(spec.model, spec.revision),
            query_revision=query_model and weights.revision(query_model, spec.query_revision),
        )

    @classmethod
    def present(cls, spec: EncoderSpec) -> bool:
        """Whether the weights, and those of the query model, are on this machine."""
        models = [(spec.model, spec.revision), (spec.query_model, spec.query_revision)]
        return all(weights.find(model, revision) is not None for model, revision in models if model is not None)

    @classmethod
    def pull(cls, spec: EncoderSpec) -> Path:
        """Download the weights, and those of the query model, into the hub's cache; return the folder."""
        if weights.is_local(spec.model):
            raise EncoderError(f"{spec.model} is a local folder: it has no weights on the hub to fetch")
        if "/" not in spec.model:
            raise EncoderError(f"encoder {spec.model!r} is unknown: give a preset or a hub id (org/model)")
        if spec.query_model is not None:
            weights.pull(spec.query_model, spec.query_revision)
        present = weights.find(spec.model, spec.revision) if spec.revision is not None else None
        if present is None:
            return weights.pull(spec.model, spec.revision).folder
        weights.check(present)  # exactly these weights came as a package, or were pulled before
        return present.folder

    def __init__(self, spec: EncoderSpec, *, device: str = "auto", threads: int | None = None) -> None:
        if spec.long_texts not in _POLICIES:
            raise EncoderError(f"long texts can be treated by {', '.join(_POLICIES)}, not {spec.long_texts!r}")
        self.devices = precision.devices(device)
        self.threads = threads
        self.statistics = Statistics()
        self._weights = weights.obtain(spec.model, spec.revision)
        configuration.compare_with_repository(spec, self._weights.folder)
        query_revision = spec.query_revision
        if spec.query_model is not None:
            query_revision = weights.obtain(spec.query_model, query_revision).revision
        self.spec = replace(
            spec,
            revision=self._weights.revision,
            query_revision=query_revision,
            precision=precision.resolve(spec.precision, device=self.devices[0]),
        )
        self._tokens = Tokenizer(self._weights.folder, self.spec)
        self._ready: dict[str, NDArray[np.integer[Any]]] = {}

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return configuration.dimension(self._weights.folder, pooling=self.spec.pooling)

    @property
    def padding(self) -> float:
        """Share of padding in what went through the model so far."""
        return self.statistics.padding_share

    def plan(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Tokenise all texts once, sort by length, divide by tokens; the ids wait for `encode`."""
        self._ready.clear()
        lengths = np.empty(len(texts), dtype=np.int64)
        for start in range(0, len(texts), _TOKENIZE_AT_ONCE):
            chunk = texts[start : start + _TOKENIZE_AT_ONCE]
            tokens = self._tokens.ids(chunk, self.spec.prefix)
            self._ready.update(zip(chunk, tokens, strict=True))
            lengths[start : start + len(chunk)] = [len(ids) for ids in tokens]
        self._tokens.refuse_long(texts, lengths)
        if self._tokens.capacity is not None and self.spec.long_texts == "truncate":
            lengths = np.minimum(lengths, self._tokens.capacity)
        return batching.by_budget(
            lengths + self._tokens.n_special, budget=BATCH_TOKENS, padding=PADDING, rows=BATCH_ROWS
        )

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode one batch of gene texts (non-empty strings)."""
        job = self._prepare(texts)
        with workers.use_threads(self.threads):
            result = self._runtime.timed(job.ids, job.mask)
        return self._conclude(job, *result)

    def stream(
        self, texts: Sequence[str], batches: Sequence[NDArray[np.int64]]
    ) -> Iterator[tuple[NDArray[np.int64], Encoded]]:
        """Encode batches of a plan, one on each core or device at a time; yield each, in the order of the plan.

        On a GPU neighbouring batches run together, so that the plan does not depend on the device.
        """
        with self._team() as team:
            waiting: deque[tuple[list[NDArray[np.int64]], _Job, Future[tuple[NDArray[np.float32], float]]]] = deque()
            for group in batching.groups(batches, team.batches_at_once):
                job = self._prepare([texts[position] for batch in group for position in batch.tolist()])
                waiting.append((group, job, team.submit(job.ids, job.mask)))
                if len(waiting) > 2 * team.size:
                    yield from self._collect(*waiting.popleft())
            while waiting:
                yield from self._collect(*waiting.popleft())

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode search queries with the query prefix or the query model: `(n, dim) float32`. Long ones are cut."""
        if self._query_encoder is not None:
            return self._query_encoder.encode_queries(texts)
        tokens = self._tokens.ids(texts, self.spec.query_prefix)
        sequences = [self._tokens.framed(ids[: self._tokens.capacity]) for ids in tokens]
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        with workers.use_threads(self.threads):
            for batch in batching.by_budget(lengths, budget=BATCH_TOKENS, padding=PADDING, rows=BATCH_ROWS):
                ids, mask = batching.pad([sequences[place] for place in batch], self._tokens.pad_id)
                raw, seconds = self._runtime.timed(ids, mask)
                self._count(mask, seconds)
                vectors[batch] = self._finish(raw)
        return vectors

    def _prepare(self, texts: Sequence[str]) -> _Job:
        """Take the waiting token ids (or make them), cut, frame and pad them."""
        tokens: list[Any] = [self._ready.pop(text, None) for text in texts]
        absent = [place for place, ids in enumerate(tokens) if ids is None]
        fresh = self._tokens.ids([texts[place] for place in absent], self.spec.prefix)
        for place, ids in zip(absent, fresh, strict=True):
            tokens[place] = ids
        n_tokens = np.array([len(ids) for ids in tokens], dtype=np.int32)
        self._tokens.refuse_long(texts, n_tokens)
        long = n_tokens > (self._tokens.capacity or np.iinfo(np.int32).max)
        windowed = self.spec.long_texts == "window-mean"
        parts = [
            self._tokens.windows(text, ids) if is_long and windowed else [ids[: self._tokens.capacity]]
            for text, ids, is_long in zip(texts, tokens, long, strict=True)
        ]
        ids, mask = batching.pad([self._tokens.framed(piece) for part in parts for piece in part], self._tokens.pad_id)
        return _Job(
            ids=ids,
            mask=mask,
            owners=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
            n_tokens=n_tokens,
            cut=np.where(long, WINDOWED if windowed else TRUNCATED, WHOLE).astype(np.int8),
        )

    def _conclude(self, job: _Job, raw: NDArray[np.float32], seconds: float) -> Encoded:
        """Average the windows of each text, scale to unit length where the spec says so, and count."""
        if len(job.owners) > len(job.n_tokens):
            sums = np.zeros((len(job.n_tokens), raw.shape[1]), dtype=np.float64)
            np.add.at(sums, job.owners, raw)
            raw = (sums / np.bincount(job.owners)[:, None]).astype(np.float32)
        self._count(job.mask, seconds)
        self.statistics.texts += len(job.n_tokens)
        return Encoded(vectors=self._finish(raw), n_tokens=job.n_tokens, cut=job.cut)

    def _collect(
        self,
        group: list[NDArray[np.int64]],
        job: _Job,
        future: "Future[tuple[NDArray[np.float32], float]]",
    ) -> Iterator[tuple[NDArray[np.int64], Encoded]]:
        """Wait for a group of batches and give each batch its own rows."""
        done = self._conclude(job, *future.result())
        start = 0
        for batch in group:
            rows = slice(start, start + len(batch))
            start += len(batch)
            yield batch, Encoded(vectors=done.vectors[rows], n_tokens=done.n_tokens[rows], cut=done.cut[rows])

    def _count(self, mask: NDArray[np.int64], seconds: float) -> None:
        self.statistics.tokens += int(mask.sum())
        self.statistics.padding += int((1 - mask).sum())
        self.statistics.seconds += seconds

    def _team(self) -> "AbstractContextManager[workers.Team]":
        if len(self.devices) > 1:
            weights.check(self._weights)
            return workers.processes(self._weights.folder, self.spec, devices=self.devices, threads=self.threads)
        return workers.team(self._runtime, threads=self.threads)

    def _finish(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if not np.isfinite(vectors).all():
            raise EncoderError(f"{self.spec.model} gave vectors that are not finite in {self.spec.precision}")
        if self.spec.normalize:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
        return vectors.astype(np.float32, copy=False)

    @cached_property
    def _runtime(self) -> Any:
        """The loaded model. Loading is put off until the first text."""
        weights.check(self._weights)
        from genetext.encoders.transformer.runtime import TorchRuntime

        return TorchRuntime(self._weights.folder, self.spec, device=self.devices[0])

    @cached_property
    def _query_encoder(self) -> "TransformerEncoder | None":
        if self.spec.query_model is None:
            return None
        spec = replace(
            self.spec,
            model=self.spec.query_model,
            revision=self.spec.query_revision,
            max_tokens=self.spec.options.get("query_max_tokens", self.spec.max_tokens),
            query_model=None,
            query_revision=None,
        )
        return TransformerEncoder(spec, device=self.devices[0], threads=self.threads)
