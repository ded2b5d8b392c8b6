"""OpenAI's Batch API: half the price, an answer within a day."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genetext import disk
from genetext.encoders.base import BatchRequest, BatchState, Encoded, Encoder
from genetext.encoders.openai import replies
from genetext.encoders.openai.api import Api
from genetext.encoders.openai.pieces import MAX_TOKENS, Cutter, Pieces, pack, share_out
from genetext.encoders.openai.replies import WrongReply
from genetext.errors import EncoderError

if TYPE_CHECKING:
    import openai

MAX_INPUTS = 50_000  # of one batch
MAX_BYTES = 200_000_000  # of its file
INPUTS_OF_A_LINE = 256  # a line fails or succeeds as a whole: few enough to be cheap, enough to make a small file
MARK = "genetext"  # metadata key
_LOOKED_THROUGH = 1_000  # batches of the account, newest first, looked through for one whose id was not written down
_WHY_IT_ENDED = {"completed": "", "expired": "it expired", "cancelled": "was cancelled", "failed": "failed"}


class OpenAIBatches:
    """The batches of a model: a `genetext.encoders.base.BatchService`.

    Parameters
    ----------
    encoder
        Whose batches: it says which model, and refuses what nobody has confirmed to pay for.
    api
        The server.
    cutter
        How texts are sent, and answers joined.
    """

    def __init__(self, encoder: Encoder, api: Api, cutter: Cutter) -> None:
        self._encoder, self._api, self._cutter = encoder, api, cutter
        self.host = api.host

    def divide(
        self, texts: Sequence[str], digests: Sequence[str]
    ) -> Iterator[tuple[list[BatchRequest], Sequence[bytes]]]:
        """Divide texts into batches of at most 50,000 inputs and 200 MB.

        Raises
        ------
        EncoderError
            A text is empty, or too long for one request.
        """
        if not texts:
            return
        self._encoder.refuse_unconfirmed(len(texts))
        pieces = self._cutter.pieces(texts)
        sizes, inputs = pieces.by_text()
        if sizes.max() > MAX_TOKENS or inputs.max() > INPUTS_OF_A_LINE:
            raise EncoderError(
                f"a text of {int(sizes.max()):,} tokens in {int(inputs.max()):,} windows is too long for the Batch API "
                f"(at most {MAX_TOKENS:,} in {INPUTS_OF_A_LINE}); encode without it, or with long_texts=truncate"
            )
        first = np.searchsorted(pieces.owner, np.arange(len(texts) + 1))
        requests: list[BatchRequest] = []
        lines: list[bytes] = []
        n_inputs = 0
        for rows in pack(sizes, inputs, max_inputs=INPUTS_OF_A_LINE):
            members = slice(first[rows[0]], first[rows[-1] + 1])
            of_these = [digests[row] for row in rows]
            notes = {
                "owner": (pieces.owner[members] - rows[0]).tolist(),
                "sizes": pieces.sizes[members].tolist(),
                "counted": pieces.counted[rows].tolist(),
                "cut": pieces.cut[rows].tolist(),
            }
            request = BatchRequest(disk.sha256_json(of_these)[:48], of_these, notes)
            line = self._line(request.custom_id, pieces.inputs[members])
            more = members.stop - members.start
            if lines and (n_inputs + more > MAX_INPUTS or sum(map(len, lines)) + len(line) > MAX_BYTES):
                yield requests, lines
                requests, lines, n_inputs = [], [], 0
            requests.append(request)
            lines.append(line)
            n_inputs += more
        yield requests, lines

    def upload(self, name: str, requests: Sequence[bytes]) -> str:
        """Send the file of a batch; return its id."""
        self._encoder.refuse_unconfirmed(len(requests))
        content = b"".join(requests)
        return self._api.call(
            f"the file of a batch of {len(requests):,} requests",
            lambda client: _text(client.files.create(file=(f"{name}.jsonl", content), purpose="batch"), "id"),
        )

    def create(self, name: str, file_id: str) -> str:
        """Make the batch, unless it was made before: by a killed process, or by a request whose answer got lost."""

        def request(client: "openai.OpenAI") -> str:
            for number, batch in enumerate(client.batches.list(limit=100)):
                metadata = getattr(batch, "metadata", None)
                marked = isinstance(metadata, dict) and metadata.get(MARK) == name
                if marked and batch.input_file_id == file_id:
                    return _text(batch, "id")
                if number >= _LOOKED_THROUGH:
                    break
            made = client.batches.create(
                input_file_id=file_id, endpoint="/v1/embeddings", completion_window="24h", metadata={MARK: name}
            )
            return _text(made, "id")

        self._encoder.refuse_unconfirmed(1)
        return self._api.call(f"the batch {name}", request)

    def state(self, batch_id: str) -> BatchState:
        """Ask how far a batch is."""

        def request(client: "openai.OpenAI") -> BatchState:
            batch = client.batches.retrieve(batch_id)
            status = _text(batch, "status")
            errors = getattr(getattr(batch, "errors", None), "data", None)
            said = [str(getattr(error, "message", error)) for error in errors] if isinstance(errors, list) else []
            files = (getattr(batch, name, None) for name in ("output_file_id", "error_file_id"))
            return BatchState(
                ended=status in _WHY_IT_ENDED,
                why=": ".join(filter(None, (_WHY_IT_ENDED.get(status), self._api.shown(", ".join(said[:10]))))),
                failed=status in ("failed", "cancelled"),
                files=tuple(name for name in files if isinstance(name, str) and name),
            )

        return self._api.call(f"the state of {batch_id}", request)

    def answers(
        self, state: BatchState, requests: Sequence[BatchRequest], *, scratch: Path
    ) -> Iterator[tuple[BatchRequest, Encoded] | str]:
        """Give the vectors of each answered request, or why there are none.

        An answer to nothing that was asked, or a second one, is passed over. The files pass through the disk, since
        50,000 vectors can be half a gigabyte.
        """
        asked = {request.custom_id: request for request in requests}
        for file_id in state.files:
            for row in self._rows(file_id, scratch):
                try:
                    answer = json.loads(row)
                except (ValueError, RecursionError):
                    yield "a line of the answers cannot be read"
                    continue
                response = _mapping(_mapping(answer).get("response"))
                if response.get("status_code") != 200:
                    yield self._api.shown(_reason(_mapping(answer), response))
                    continue
                request = asked.pop(str(answer.get("custom_id")), None)
                if request is None:
                    continue
                try:
                    yield request, self._vectors(request, response.get("body"))
                except WrongReply as error:
                    yield f"a wrong reply: {error}"

    def _vectors(self, request: BatchRequest, body: Any) -> Encoded:
        pieces, model = Pieces.of_notes(request.notes), self._encoder.spec.model
        vectors, billed = replies.vectors(body, n=len(pieces.owner), dim=self._encoder.dim, model=model, host=self.host)
        return self._cutter.join(pieces, vectors, share_out(billed, pieces.sizes))

    def _line(self, custom_id: str, inputs: Sequence[str]) -> bytes:
        spec = self._encoder.spec
        body: dict[str, Any] = {"model": spec.model, "input": inputs, "encoding_format": "base64"}
        if spec.dimensions is not None:
            body["dimensions"] = spec.dimensions
        line = {"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": body}
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"

    def _rows(self, file_id: str, scratch: Path) -> Iterator[bytes]:
        def request(client: "openai.OpenAI") -> None:
            with client.files.with_streaming_response.content(file_id) as response:
                response.stream_to_file(scratch)

        try:
            with disk.writing(scratch):
                self._api.call(f"the answers in {file_id}", request)
                with scratch.open("rb") as handle:
                    yield from handle
        finally:
            scratch.unlink(missing_ok=True)


def _reason(answer: dict[str, Any], response: dict[str, Any]) -> str:
    error = _mapping(answer.get("error")) or _mapping(_mapping(response.get("body")).get("error"))
    return f"{response.get('status_code') or error.get('code') or 'error'}: {error.get('message') or 'no message'}"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(reply: Any, name: str) -> str:
    """Return a field of what the server said, which the client does not check."""
    value = getattr(reply, name, None)
    if not isinstance(value, str) or not value:
        raise WrongReply(f"what came has no {name!r}")
    return value
