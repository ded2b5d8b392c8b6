"""Encode texts through the vector store, so that a killed run goes on and ends with the same bytes.

Rounding depends on which texts share a batch. A run therefore writes down its plan (which texts are missing from the
store, and in which batches they will be encoded) before it encodes the first of them. The run that follows a killed
one finds that plan and goes on with the same batches, not with a new division of what is left.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.encoders.base import Encoded, Encoder
from genetext.encoding.store import VectorStore
from genetext.errors import StoreError, first_ten
from genetext.progress import Progress

_ROWS_PER_WRITE = 512


@dataclass(frozen=True)
class Encoding:
    """Vectors of distinct texts, and how many of them had to be made.

    Attributes
    ----------
    encoded
        One row per text, in the order given.
    n_made
        How many texts this run encoded; the others were in the store.
    """

    encoded: Encoded
    n_made: int


def encode(
    encoder: Encoder,
    texts: Sequence[str],
    digests: Sequence[str],
    *,
    store: VectorStore,
    journals: Path,
    progress: Progress | None = None,
) -> Encoding:
    """Return the vectors of distinct texts: from the store where it has them, else encoded and stored.

    Parameters
    ----------
    encoder
        A loaded encoder.
    texts, digests
        Distinct, non-empty texts and their sha256.
    store
        Where vectors are kept by (text digest, encoder fingerprint).
    journals
        Folder for plans of runs that are under way.
    progress
        Told `("encode", texts done, texts in all)`.
    """
    if encoder.corpus_bound:
        return _encode_corpus(encoder, texts, progress)
    fingerprint = encoder.spec.fingerprint
    store.note(fingerprint, encoder.spec.to_json())
    journal = journals / f"{disk.sha256_json([fingerprint, *sorted(digests)])}.json"
    position = {digest: row for row, digest in enumerate(digests)}
    # Read, not just looked up: a vector that was damaged on the disk counts as missing, and is made again.
    stored = store.read(fingerprint, digests)
    found, n_made = stored.found, 0
    if not found.all():
        done = int(found.sum())
        batches = [
            np.array([position[digest] for digest in batch], np.int64)
            for batch in _planned(encoder, texts, digests, found, journal)
        ]
        open_batches = [batch for batch in batches if not found[batch].all()]
        if not encoder.batch_matters:
            open_batches = [batch[~found[batch]] for batch in open_batches]
        _tell(progress, done, len(texts))
        for rows, encoded in _gathered(encoder.stream(texts, open_batches), 1 if encoder.paid else _ROWS_PER_WRITE):
            store.write(
                fingerprint,
                [digests[row] for row in rows.tolist()],
                encoded.vectors,
                encoded.n_tokens,
                encoded.cut,
            )
            n_made += len(rows)
            done += int((~found[rows]).sum())
            _tell(progress, done, len(texts))
        stored = store.read(fingerprint, digests)
        if not stored.found.all():
            lost = [digests[row][:12] for row in np.flatnonzero(~stored.found).tolist()]
            raise StoreError(f"vectors that were just written cannot be read back from {store!r}: {first_ten(lost)}")
        journal.unlink(missing_ok=True)
    return Encoding(Encoded(stored.vectors, stored.n_tokens, stored.cut), n_made)


def _gathered(
    stream: Iterator[tuple[NDArray[np.int64], Encoded]], at_least: int
) -> Iterator[tuple[NDArray[np.int64], Encoded]]:
    """Gather finished batches until they have `at_least` rows, since each transaction of the store costs a flush.

    What is finished is passed on before an error or Ctrl-C out of the stream is.
    """
    waiting: list[tuple[NDArray[np.int64], Encoded]] = []
    try:
        for batch, encoded in stream:
            waiting.append((batch, encoded))
            if sum(len(rows) for rows, _ in waiting) >= at_least:
                yield _together(waiting)
                waiting = []
    except (Exception, KeyboardInterrupt):
        if waiting:
            yield _together(waiting)
        raise
    if waiting:
        yield _together(waiting)


def _together(parts: Sequence[tuple[NDArray[np.int64], Encoded]]) -> tuple[NDArray[np.int64], Encoded]:
    return np.concatenate([rows for rows, _ in parts]), Encoded(
        np.concatenate([encoded.vectors for _, encoded in parts]),
        np.concatenate([encoded.n_tokens for _, encoded in parts]),
        np.concatenate([encoded.cut for _, encoded in parts]),
    )


def _planned(
    encoder: Encoder, texts: Sequence[str], digests: Sequence[str], found: NDArray[np.bool_], journal: Path
) -> list[list[str]]:
    """Return the batches, as digests, of this run or of the killed one that it continues."""
    if journal.exists():
        batches: list[list[str]] = json.loads(journal.read_text())
        planned = {digest for batch in batches for digest in batch}
        if all(digest in planned for digest, there in zip(digests, found, strict=True) if not there):
            return batches
    missing = np.flatnonzero(~found).tolist()
    plan = encoder.plan([texts[row] for row in missing])
    batches = [[digests[missing[member]] for member in batch.tolist()] for batch in plan]
    disk.write_json(journal, batches)
    return batches


def _encode_corpus(encoder: Encoder, texts: Sequence[str], progress: Progress | None) -> Encoding:
    encoder.fit(texts)
    parts, done = [], 0
    for batch, encoded in encoder.stream(texts, encoder.plan(texts)):
        parts.append((batch, encoded))
        done += len(batch)
        _tell(progress, done, len(texts))
    rows, encoded = _together(parts)
    back = np.argsort(rows, kind="stable")
    return Encoding(Encoded(encoded.vectors[back], encoded.n_tokens[back], encoded.cut[back]), len(texts))


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress("encode", done, total)
