"""Batches that a provider answers later: a ledger, so that nothing is submitted twice.

What is under way stands in `<root>/batches/<fingerprint>-<digest>.json`, one file for each batch, written before the
batch is made: which texts are in it, how each is put together, and the ids that the server gave. A process that finds
such a file waits for that batch and puts its vectors into the store, whatever texts it was started for; only texts that
are neither in the store nor under way are submitted. If a process was killed between making a batch and writing down
its id, the batch is found again among the account's by the name it carries.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genetext import disk, locks
from genetext.encoders.base import BatchRequest, BatchService, BatchState, Encoder
from genetext.encoding.store import VectorStore
from genetext.errors import EncoderError, first_ten
from genetext.progress import Progress

_log = logging.getLogger("genetext")

ROUNDS = 3
"""How often texts whose requests failed or expired are submitted, before that is an error."""


@dataclass(frozen=True)
class Pending:
    """A batch that is under way.

    Attributes
    ----------
    batch_id
        Its id at the server.
    texts
        How many texts are in it.
    ledger
        The file that remembers it; whoever deletes it gives up what was paid for.
    """

    batch_id: str
    texts: int
    ledger: Path


def fill(
    encoder: Encoder,
    texts: Sequence[str],
    digests: Sequence[str],
    *,
    store: VectorStore,
    root: Path | None = None,
    wait: bool = True,
    poll: float = 30.0,
    progress: Progress | None = None,
) -> list[Pending]:
    """Put the vectors of `texts` into the store by way of the encoder's batch service.

    Parameters
    ----------
    encoder
        Which model, and at which server; `confirmed` where anything is to be sent, see `genetext.encoding.paid`.
    texts, digests
        Distinct, non-empty texts and their sha256; those that are in the store are not sent.
    store
        Where the vectors go.
    root
        The cache root, for the ledger. Default: `disk.cache_dir()`.
    wait
        Whether to wait for the batches (up to a day). Without, what has ended is collected, what is missing is
        submitted, and the call returns.
    poll
        Seconds between two looks at a batch.
    progress
        Told `("batch", texts in the store, texts in all)`.

    Returns
    -------
    list[Pending]
        The batches under way: empty when `wait`, and then every text is in the store.

    Raises
    ------
    CostLimit
        Something is to be sent, and nobody has confirmed to pay for it.
    EncoderError
        The encoder has no batch service, a batch failed or was cancelled, or texts are still missing after all rounds.
        What arrived is in the store.
    DiskError
        The ledger cannot be written (then nothing is submitted).
    """
    service = encoder.batch_service
    if service is None:
        raise EncoderError(f"{encoder.spec.model} has no batch service: leave it out (--batch-api, batch_api=)")
    fingerprint = encoder.spec.fingerprint
    folder = (root or disk.cache_dir()) / "batches"
    store.note(fingerprint, encoder.spec.to_json())

    def count() -> Any:
        stored = store.contains(fingerprint, digests)
        if progress is not None:
            progress("batch", int(stored.sum()), len(digests))
        return stored

    with locks.lock(f"batches-{fingerprint}", root=root):
        why = ""
        for _ in range(ROUNDS):
            left = [_resume(service, path) for path in _ledgers(folder, fingerprint)]
            open_batches = [ledger for ledger in left if ledger is not None]
            submitted = {digest for ledger in open_batches for digest in ledger.digests}
            stored = count()
            missing = [row for row, digest in enumerate(digests) if not stored[row] and digest not in submitted]
            divided = service.divide([texts[row] for row in missing], [digests[row] for row in missing])
            for requests, content in divided:
                name = f"{fingerprint}-{disk.sha256_json([request.custom_id for request in requests])[:32]}"
                ledger = _Ledger(path=folder / f"{name}.json", host=service.host, requests=requests).saved()
                ledger = ledger.saved(input_file_id=service.upload(name, content))
                open_batches.append(_create(service, ledger))
            pending = []
            for ledger in open_batches:
                count()
                state = _ended(service, ledger, wait=wait, poll=poll)
                if state is None:
                    pending.append(Pending(str(ledger.batch_id), len(ledger.digests), ledger.path))
                else:
                    why = _collect(service, fingerprint, ledger, state, store) or why
            stored = count()
            if not wait or stored.all():
                return pending
    lost = [digests[row][:12] for row in np.flatnonzero(~stored).tolist()]
    raise EncoderError(
        f"{len(lost):,} texts have no vector after {ROUNDS} batches ({first_ten(lost)}): {why or 'nobody says why'}. "
        "What arrived is kept; run again, or without the Batch API, for the rest."
    )


def under_way(fingerprint: str, *, root: Path | None = None) -> set[str]:
    """Return the digests of the texts that are in batches of this encoder: to encode them now would be to pay twice."""
    digests: set[str] = set()
    for path in _ledgers((root or disk.cache_dir()) / "batches", fingerprint):
        try:
            ledger = _Ledger.read(path)
        except EncoderError as error:
            _log.warning("%s", error)
            continue
        digests.update(ledger.digests if ledger.input_file_id is not None else ())
    return digests


@dataclass(frozen=True, kw_only=True)
class _Ledger:
    """What is known of one batch; on the disk before the batch exists."""

    path: Path
    host: str
    requests: list[BatchRequest]
    input_file_id: str | None = None
    batch_id: str | None = None

    @property
    def name(self) -> str:
        """The name that the batch carries at the server (metadata values have at most 512 characters)."""
        return self.path.stem

    @property
    def digests(self) -> list[str]:
        return [digest for request in self.requests for digest in request.digests]

    def saved(self, **changes: str) -> "_Ledger":
        """Return the ledger with changes, which are on the disk."""
        changed = replace(self, **changes)  # type: ignore[arg-type]
        lines = [
            {"custom_id": request.custom_id, "digests": request.digests, **request.notes}
            for request in changed.requests
        ]
        ids = {"input_file_id": changed.input_file_id, "batch_id": changed.batch_id}
        disk.write_json(changed.path, {"host": changed.host, "lines": lines, **ids})
        return changed

    @classmethod
    def read(cls, path: Path) -> "_Ledger":
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            requests = [
                BatchRequest(line.pop("custom_id"), list(line.pop("digests")), line) for line in value.pop("lines")
            ]
            return cls(path=path, requests=requests, **value)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise EncoderError(
                f"{path} cannot be read as the record of a batch ({error}): look whether a batch with the metadata "
                f"genetext={path.stem} is under way at the server, then delete the file"
            ) from error


def _ledgers(folder: Path, fingerprint: str) -> list[Path]:
    return sorted(folder.glob(f"{fingerprint}-*.json"))


def _create(service: BatchService, ledger: _Ledger) -> _Ledger:
    batch_id = service.create(ledger.name, str(ledger.input_file_id))
    _log.info("%s has %d texts", batch_id, len(ledger.digests))
    return ledger.saved(batch_id=batch_id)


def _resume(service: BatchService, path: Path) -> _Ledger | None:
    """Read a ledger that an earlier process left, and bring its batch under way if that process did not come so far.

    None where not even its file was taken in: there is no batch, and its texts are submitted as whatever is missing.
    """
    ledger = _Ledger.read(path)
    if ledger.host != service.host:
        raise EncoderError(
            f"{path} remembers a batch at {ledger.host}, OPENAI_BASE_URL names {service.host}: collect it there "
            "first, or delete the file to give it up"
        )
    if ledger.batch_id is not None:
        return ledger
    if ledger.input_file_id is not None:
        return _create(service, ledger)
    path.unlink()
    return None


def _ended(service: BatchService, ledger: _Ledger, *, wait: bool, poll: float) -> BatchState | None:
    """Return the state of a batch that has ended; None if it has not and is not to be waited for."""
    while True:
        state = service.state(str(ledger.batch_id))
        if state.ended:
            return state
        if not wait:
            return None
        time.sleep(poll)


def _collect(service: BatchService, fingerprint: str, ledger: _Ledger, state: BatchState, store: VectorStore) -> str:
    """Write what a batch brought into the store and forget the batch; return why there is not all, if so."""
    why = ""
    for answer in service.answers(state, ledger.requests, scratch=ledger.path.with_suffix(".answers")):
        if isinstance(answer, str):
            why = answer
            _log.warning("%s: %s", ledger.batch_id, why)
            continue
        request, encoded = answer
        store.write(fingerprint, request.digests, encoded.vectors, encoded.n_tokens, encoded.cut)
    ledger.path.unlink()
    if state.failed:
        raise EncoderError(
            f"{ledger.batch_id} ({len(ledger.digests):,} texts) {state.why or why or 'failed for no reason given'}. "
            "What arrived is kept."
        )
    return why or state.why
