"""Encode texts through the vector store, so that a killed run goes on and ends with the same bytes.

Rounding depends on which texts share a batch. A run therefore writes down its plan (which texts are missing from the
store, and in which batches they will be encoded) before it encodes the first of them. The run that follows a killed
one finds that plan and goes on with the same batches, not with a new division of what is left.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.encoders.base import Encoded, Encoder
from genetext.encoding import batches
from genetext.encoding.paid import Payment, confirmed
from genetext.encoding.store import VectorStore
from genetext.errors import StoreError, first_ten
from genetext.progress import Progress

_log = logging.getLogger("genetext")

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
    root: Path,
    payment: Payment | None = None,
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
    root
        The cache root, for plans of runs and ledgers of batches that are under way.
    payment
        What a paid encoder may be sent. Default: nothing.
    progress
        Told `("encode", texts done, texts in all)`.

    Raises
    ------
    CostLimit
        The encoder is paid, texts have no vector yet, and `payment` does not allow to send them.
    """
    if encoder.corpus_bound:
        return _encode_corpus(encoder, texts, progress)
    fingerprint = encoder.spec.fingerprint
    store.note(fingerprint, encoder.spec.to_json())
    # Read, not just looked up: a vector that was damaged on the disk counts as missing, and is made again.
    stored = store.read(fingerprint, digests)
    missing = np.flatnonzero(~stored.mask).tolist()
    payment = payment or Payment()
    allowed: AbstractContextManager[None] = nullcontext()
    if missing and encoder.paid:
        waiting = set() if payment.batch_api else batches.under_way(fingerprint, root=root)
        n_waiting = sum(digests[row] in waiting for row in missing)
        allowed = confirmed(encoder, [texts[row] for row in missing], payment, under_way=n_waiting)
    with allowed:
        if missing and encoder.paid and payment.batch_api:
            batches.fill(encoder, texts, digests, store=store, root=root, progress=progress)
            stored = store.read(fingerprint, digests)
        if not stored.mask.all():
            _encode_missing(encoder, texts, digests, stored.mask, store, root, progress)
            stored = store.read(fingerprint, digests)
    if not stored.mask.all():
        lost = [digests[row][:12] for row in np.flatnonzero(~stored.mask).tolist()]
        raise StoreError(f"vectors that were just written cannot be read back from {store!r}: {first_ten(lost)}")
    return Encoding(stored, len(missing))


def _encode_missing(
    encoder: Encoder,
    texts: Sequence[str],
    digests: Sequence[str],
    stored: NDArray[np.bool_],
    store: VectorStore,
    root: Path,
    progress: Progress | None,
) -> None:
    """Encode by plan what is not stored, and store each piece of it as soon as it is there."""
    fingerprint = encoder.spec.fingerprint
    journal = root / "journals" / f"{disk.sha256_json([fingerprint, *sorted(digests)])}.json"
    plan = [batch for batch in _planned(encoder, texts, digests, stored, journal) if not stored[batch].all()]
    if not encoder.batch_matters:
        plan = [batch[~stored[batch]] for batch in plan]
    done = int(stored.sum())
    _tell(progress, done, len(texts))
    for rows, encoded in _gathered(encoder.stream(texts, plan), 1 if encoder.paid else _ROWS_PER_WRITE):
        store.write(
            fingerprint, [digests[row] for row in rows.tolist()], encoded.vectors, encoded.n_tokens, encoded.cut
        )
        done += int((~stored[rows]).sum())
        _tell(progress, done, len(texts))
    journal.unlink(missing_ok=True)


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
    encoder: Encoder, texts: Sequence[str], digests: Sequence[str], stored: NDArray[np.bool_], journal: Path
) -> list[NDArray[np.int64]]:
    """Return the batches, as rows, of this run or of the killed one that it continues."""
    missing = np.flatnonzero(~stored).tolist()
    if journal.exists():
        plan = _read_journal(journal, {digest: row for row, digest in enumerate(digests)})
        if set(missing) <= {row for batch in plan for row in batch.tolist()}:
            return plan
    plan = [np.array(missing, np.int64)[batch] for batch in encoder.plan([texts[row] for row in missing])]
    disk.write_json(journal, [[digests[row] for row in batch.tolist()] for batch in plan])
    return plan


def _read_journal(path: Path, position: Mapping[str, int]) -> list[NDArray[np.int64]]:
    """Read the plan of a killed run; one that is damaged is named and set aside, and what is left is planned anew."""
    try:
        batches = json.loads(path.read_text(encoding="utf-8"))
        plan = [np.array([position[digest] for digest in batch], np.int64) for batch in batches if batch]
        if sum(map(len, plan)) == len({row for batch in plan for row in batch.tolist()}):
            return plan
        reason = "a text stands in it twice"
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    _log.warning("%s, the plan of an earlier run, is damaged (%s): set aside as %s", path, reason, aside.name)
    return []


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
