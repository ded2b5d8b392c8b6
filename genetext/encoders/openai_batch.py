"""OpenAI's Batch API: half the price, an answer within a day, and a ledger so that nothing is submitted twice.

What is under way stands in `<root>/batches/<fingerprint>-<digest>.json`, one file for each batch, written before the
batch is made: which texts are in it, how each is put together, and the ids that the server gave. A process that finds
such a file waits for that batch and puts its vectors into the store, whatever texts it was started for; only texts that
are neither in the store nor under way are submitted. If a process was killed between making a batch and writing down
its id, the batch is found again among the account's by the name it carries as metadata.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.encoders.openai import MAX_TOKENS, OpenAIEncoder, Pieces, pack, share_out
from genetext.encoders.openai_api import WrongReply, entries, match
from genetext.encoding.store import VectorStore
from genetext.errors import EncoderError, first_ten
from genetext.progress import Progress

if TYPE_CHECKING:
    import openai
    from openai.types import Batch

_log = logging.getLogger("genetext")

MAX_INPUTS = 50_000  # of one batch
MAX_BYTES = 200_000_000  # of its file
_INPUTS_OF_A_LINE = 256  # a line fails or succeeds as a whole: few enough to be cheap, enough to make a small file
_MARK = "genetext"  # metadata key
_LOOKED_THROUGH = 1_000  # batches of the account, newest first, looked through for one whose id was not written down
_ENDED = {"completed", "expired", "cancelled", "failed"}


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
    encoder: OpenAIEncoder,
    texts: Sequence[str],
    digests: Sequence[str],
    *,
    store: VectorStore,
    root: Path | None = None,
    wait: bool = True,
    poll: float = 30.0,
    rounds: int = 3,
    progress: Progress | None = None,
) -> list[Pending]:
    """Put the vectors of `texts` into the store by way of the Batch API.

    Parameters
    ----------
    encoder
        Which model, and at which server.
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
    rounds
        How often texts whose lines failed or expired are submitted anew, before that is an error.
    progress
        Told `("batch", texts in the store, texts in all)`.

    Returns
    -------
    list[Pending]
        The batches under way: empty when `wait`, and then every text is in the store.

    Raises
    ------
    EncoderError
        A batch failed or was cancelled, or texts are still missing after all rounds. What arrived is in the store.
    DiskError
        The ledger cannot be written (then nothing is submitted).
    """
    fingerprint = encoder.spec.fingerprint
    folder = (root or disk.cache_dir()) / "batches"
    store.note(fingerprint, encoder.spec.to_json())
    with disk.lock(f"batches-{fingerprint}", root=root):
        why = ""
        for _ in range(rounds):
            left = [_resume(encoder, path) for path in _ledgers(folder, fingerprint)]
            open_batches = [ledger for ledger in left if ledger is not None]
            under_way = {digest for ledger in open_batches for digest in ledger.digests}
            there = store.contains(fingerprint, digests)
            missing = [row for row, digest in enumerate(digests) if not there[row] and digest not in under_way]
            for ledger, lines in _divide(
                encoder, [texts[row] for row in missing], [digests[row] for row in missing], folder
            ):
                open_batches.append(_submit(encoder, ledger, lines))
            pending = []
            for ledger in open_batches:
                _tell(progress, store, fingerprint, digests)
                ended = _ended(encoder, ledger, wait=wait, poll=poll)
                if ended is None:
                    pending.append(Pending(str(ledger.batch_id), len(ledger.digests), ledger.path))
                else:
                    why = _collect(encoder, ledger, ended, store) or why
            _tell(progress, store, fingerprint, digests)
            there = store.contains(fingerprint, digests)
            if not wait or there.all():
                return pending
    lost = [digests[row][:12] for row in np.flatnonzero(~there).tolist()]
    raise EncoderError(
        f"{len(lost):,} texts have no vector after {rounds} batches ({first_ten(lost)}): {why or 'nobody says why'}. "
        "What arrived is kept; run again, or without the Batch API, for the rest."
    )


def under_way(fingerprint: str, *, root: Path | None = None) -> set[str]:
    """Return the digests of the texts that are in batches of this encoder: to encode them now would be to pay twice."""
    ledgers = [_Ledger.read(path) for path in _ledgers((root or disk.cache_dir()) / "batches", fingerprint)]
    return {digest for ledger in ledgers if ledger.input_file_id is not None for digest in ledger.digests}


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One request of a batch: whose texts, and how its inputs make up their vectors."""

    custom_id: str
    digests: list[str]
    owner: list[int]
    sizes: list[int]
    counted: list[int]
    cut: list[int]

    def pieces(self) -> Pieces:
        return Pieces(
            inputs=[],
            sizes=np.array(self.sizes, np.int64),
            owner=np.array(self.owner, np.int64),
            counted=np.array(self.counted, np.int64),
            cut=np.array(self.cut, np.int8),
        )


@dataclass(frozen=True, kw_only=True)
class _Ledger:
    """What is known of one batch; on the disk before the batch exists."""

    path: Path
    host: str
    lines: list[_Line]
    input_file_id: str | None = None
    batch_id: str | None = None

    @property
    def name(self) -> str:
        """The name that the batch carries at the server (metadata values have at most 512 characters)."""
        return self.path.stem

    @property
    def digests(self) -> list[str]:
        return [digest for line in self.lines for digest in line.digests]

    def saved(self, **changes: str) -> "_Ledger":
        """Return the ledger with changes, which are on the disk."""
        changed = replace(self, **changes)  # type: ignore[arg-type]
        value = {key: content for key, content in asdict(changed).items() if key != "path"}
        disk.write_json(self.path, value)
        return changed

    @classmethod
    def read(cls, path: Path) -> "_Ledger":
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            lines = [_Line(**line) for line in value.pop("lines")]
            return cls(path=path, lines=lines, **value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise EncoderError(
                f"{path} cannot be read as the record of a batch ({error}): look whether a batch with the metadata "
                f"{_MARK}={path.stem} is under way at the server, then delete the file"
            ) from error


def _divide(
    encoder: OpenAIEncoder, texts: Sequence[str], digests: Sequence[str], folder: Path
) -> Iterator[tuple[_Ledger, list[bytes]]]:
    """Divide texts into batches within the limits; give for each its ledger and the lines of its file."""
    if not texts:
        return
    pieces = encoder.pieces(texts)
    inputs = np.bincount(pieces.owner, minlength=len(texts))
    sizes = np.bincount(pieces.owner, weights=pieces.sizes, minlength=len(texts)).astype(np.int64)
    if sizes.max() > MAX_TOKENS or inputs.max() > _INPUTS_OF_A_LINE:
        raise EncoderError(
            f"a text of {int(sizes.max()):,} tokens in {int(inputs.max()):,} windows is too long for the Batch API; "
            "encode without it, or with long_texts=truncate"
        )
    first = np.searchsorted(pieces.owner, np.arange(len(texts) + 1))
    lines: list[_Line] = []
    written: list[bytes] = []
    for rows in pack(sizes, inputs, max_inputs=_INPUTS_OF_A_LINE):
        members = slice(first[rows[0]], first[rows[-1] + 1])
        line = _Line(
            custom_id=disk.sha256_json([digests[row] for row in rows])[:48],
            digests=[digests[row] for row in rows],
            owner=(pieces.owner[members] - rows[0]).tolist(),
            sizes=pieces.sizes[members].tolist(),
            counted=pieces.counted[rows].tolist(),
            cut=pieces.cut[rows].tolist(),
        )
        content = _request(encoder, line.custom_id, pieces.inputs[members])
        full = sum(len(one.owner) for one in lines) + len(line.owner) > MAX_INPUTS
        if lines and (full or sum(map(len, written)) + len(content) > MAX_BYTES):
            yield _ledger(encoder, lines, folder), written
            lines, written = [], []
        lines.append(line)
        written.append(content)
    yield _ledger(encoder, lines, folder), written


def _ledger(encoder: OpenAIEncoder, lines: list[_Line], folder: Path) -> _Ledger:
    digest = disk.sha256_json([line.custom_id for line in lines])[:32]
    return _Ledger(path=folder / f"{encoder.spec.fingerprint}-{digest}.json", host=encoder.api.host, lines=lines)


def _request(encoder: OpenAIEncoder, custom_id: str, inputs: list[str]) -> bytes:
    body: dict[str, Any] = {"model": encoder.spec.model, "input": inputs, "encoding_format": "base64"}
    if encoder.spec.dimensions is not None:
        body["dimensions"] = encoder.spec.dimensions
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": body}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _submit(encoder: OpenAIEncoder, ledger: _Ledger, lines: list[bytes]) -> _Ledger:
    ledger = ledger.saved()
    content = b"".join(lines)
    file = encoder.api.call(
        f"the file of a batch of {len(ledger.digests):,} texts",
        lambda client: client.files.create(file=(f"{ledger.name}.jsonl", content), purpose="batch"),
    )
    return _create(encoder, ledger.saved(input_file_id=file.id))


def _create(encoder: OpenAIEncoder, ledger: _Ledger) -> _Ledger:
    """Make the batch, unless it was made before: by a killed process, or by a request whose answer got lost."""

    def request(client: "openai.OpenAI") -> "Batch":
        for number, batch in enumerate(client.batches.list(limit=100)):
            if (batch.metadata or {}).get(_MARK) == ledger.name and batch.input_file_id == ledger.input_file_id:
                return batch
            if number >= _LOOKED_THROUGH:
                break
        return client.batches.create(
            input_file_id=str(ledger.input_file_id),
            endpoint="/v1/embeddings",
            completion_window="24h",
            metadata={_MARK: ledger.name},
        )

    batch = encoder.api.call(f"a batch of {len(ledger.digests):,} texts", request)
    _log.info("%s has %d texts", batch.id, len(ledger.digests))
    return ledger.saved(batch_id=batch.id)


def _ledgers(folder: Path, fingerprint: str) -> list[Path]:
    return sorted(folder.glob(f"{fingerprint}-*.json"))


def _resume(encoder: OpenAIEncoder, path: Path) -> _Ledger | None:
    """Read a ledger that an earlier process left, and bring its batch under way if that process did not come so far.

    None where not even its file was taken in: there is no batch, and its texts are submitted as whatever is missing.
    """
    ledger = _Ledger.read(path)
    if ledger.host != encoder.api.host:
        raise EncoderError(
            f"{path} remembers a batch at {ledger.host}, OPENAI_BASE_URL names {encoder.api.host}: collect it there "
            "first, or delete the file to give it up"
        )
    if ledger.batch_id is not None:
        return ledger
    if ledger.input_file_id is not None:
        return _create(encoder, ledger)
    path.unlink()
    return None


def _ended(encoder: OpenAIEncoder, ledger: _Ledger, *, wait: bool, poll: float) -> "Batch | None":
    """Return a batch that has ended; None if it has not and is not to be waited for."""
    while True:
        batch = encoder.api.call(
            f"the state of {ledger.batch_id} (recorded in {ledger.path})",
            lambda client: client.batches.retrieve(str(ledger.batch_id)),
        )
        if batch.status in _ENDED:
            return batch
        if not wait:
            return None
        time.sleep(poll)


def _collect(encoder: OpenAIEncoder, ledger: _Ledger, batch: "Batch", store: VectorStore) -> str:
    """Write what a batch brought into the store and forget the batch; return why there is not all, if so."""
    why = ""
    lines = {line.custom_id: line for line in ledger.lines}
    for answer in _download(encoder, ledger, batch.output_file_id):
        line = lines.pop(str(answer.get("custom_id")), None)
        if line is None:
            continue  # an answer to nothing that was asked, or a second one
        try:
            _keep(encoder, line, answer, store)
        except WrongReply as error:
            why = f"a wrong reply: {error}"
    for answer in _download(encoder, ledger, batch.error_file_id):
        why = encoder.api.scrub(_reason(answer))[:300]
    if batch.status in ("failed", "cancelled"):
        told = [str(error.message) for error in (batch.errors.data or [])] if batch.errors else []
        ledger.path.unlink()
        raise EncoderError(
            f"{batch.id} ({len(ledger.digests):,} texts) {'failed' if batch.status == 'failed' else 'was cancelled'}: "
            f"{encoder.api.scrub(first_ten(told)) or why or 'no reason was given'}. What arrived is kept."
        )
    ledger.path.unlink()
    return why or ("it expired" if batch.status == "expired" else "")


def _keep(encoder: OpenAIEncoder, line: _Line, answer: Mapping[str, Any], store: VectorStore) -> None:
    response = answer.get("response") or {}
    if response.get("status_code") != 200:
        raise WrongReply(_reason(answer))
    pairs, used = entries(response.get("body"), host=encoder.api.host)
    vectors: NDArray[np.float32] = match(pairs, n=len(line.owner), dim=encoder.dim, model=encoder.spec.model)
    pieces = line.pieces()
    encoded = encoder.join(pieces, vectors, share_out(used, pieces.sizes))
    store.write(encoder.spec.fingerprint, line.digests, encoded.vectors, encoded.n_tokens, encoded.cut)


def _download(encoder: OpenAIEncoder, ledger: _Ledger, file_id: str | None) -> Iterator[Mapping[str, Any]]:
    """Give the lines of a file of answers; it passes through the disk, since 50,000 vectors can be half a gigabyte."""
    if not file_id:
        return
    path = ledger.path.with_suffix(".answers")

    def request(client: "openai.OpenAI") -> None:
        with client.files.with_streaming_response.content(file_id) as response:
            response.stream_to_file(path)

    try:
        with disk.writing(path):
            encoder.api.call(f"the answers of {ledger.batch_id}", request)
            with path.open("rb") as handle:
                for row in handle:
                    try:
                        answer = json.loads(row)
                    except ValueError:
                        answer = None
                    if isinstance(answer, dict):
                        yield answer
                    else:  # its texts stay missing, and are asked for again
                        _log.warning("a line of the answers of %s cannot be read", ledger.batch_id)
    finally:
        path.unlink(missing_ok=True)


def _reason(answer: Mapping[str, Any]) -> str:
    response = answer.get("response") or {}
    error = answer.get("error") or (response.get("body") or {}).get("error") or {}
    return f"{response.get('status_code') or error.get('code') or 'error'}: {error.get('message') or 'no message'}"


def _tell(progress: Progress | None, store: VectorStore, fingerprint: str, digests: Sequence[str]) -> None:
    if progress is not None:
        progress("batch", int(store.contains(fingerprint, digests).sum()), len(digests))
