"""An OpenAI-compatible server on loopback: deterministic vectors, a log of all it received, and faults by script."""

import base64
import email.parser
import email.policy
import hashlib
import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DIMENSIONS = {"text-embedding-ada-002": 1536, "text-embedding-3-small": 1536, "text-embedding-3-large": 3072}


def vector(text, dim):
    """The vector that the server gives for a text: unit length, decided by the text and `dim` alone."""
    seed = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint32)
    row = np.random.default_rng(seed).standard_normal(dim)
    return (row / np.linalg.norm(row)).astype(np.float32)


@dataclass
class Fault:
    """What goes wrong with one request.

    `kind` is `status`, `hang` (no answer for `seconds`), `cut` (the connection ends in mid-reply), or what is wrong
    with an otherwise good reply: `shuffle`, `short`, `duplicate`, `unnumbered`, `dimension`, `nan`, `zeros`, `garbage`;
    `body` answers 200 with `message`, of the type `code`, whatever was asked (a proxy's page, another API's JSON).
    """

    kind: str
    status: int = 500
    headers: dict = field(default_factory=dict)
    code: str = ""
    message: str = "a scripted fault"
    seconds: float = 0.0


def status(code, *, retry_after=None, error_code="", message="a scripted fault", **headers):
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Fault("status", status=code, headers=headers, code=error_code, message=message)


def body(message, kind="application/json"):
    return Fault("body", message=message, code=kind)


@dataclass
class Received:
    """One request for vectors, and whether its vectors were delivered whole and right."""

    inputs: list
    body: dict
    at: float
    delivered: bool = False


class OpenAIServer:
    """Use as a context manager; `base_url` and `key` are what a client needs.

    Attributes
    ----------
    received
        Requests for vectors, in the order of their arrival.
    most_at_once
        How many were under way at the same time.
    batches, files
        What was submitted.
    """

    def __init__(self, *, key="sk-loopback-0123456789abcdef", dimensions=None, count_tokens=None):
        self.key = key
        self.dimensions = {**DIMENSIONS, **(dimensions or {})}
        self.count_tokens = count_tokens or (lambda text: max(1, len(text.encode()) // 4))
        self.faults = deque()
        self.received = []
        self.delay = 0.0
        self.under_way = self.most_at_once = 0
        self.files = {}
        self.batches = {}
        self.polls_until_done = 1
        self.batch_faults = deque()
        self.guard = threading.Lock()
        self._server = _Quiet(("127.0.0.1", 0), _Handler)
        self._server.state = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def script(self, *faults):
        """Make the next requests go wrong, one fault each; None leaves one as it is."""
        self.faults.extend(Fault(fault) if isinstance(fault, str) else fault for fault in faults)

    @property
    def texts(self):
        """Every text received, as often as it was."""
        return [text for request in self.received for text in request.inputs]

    @property
    def delivered(self):
        """Every text whose vector was delivered, as often as it was."""
        return [text for request in self.received if request.delivered for text in request.inputs]

    def sent_again_after_delivery(self):
        """Texts that were received once more after their vector had been delivered."""
        seen, again = set(), []
        for request in self.received:
            again += [text for text in request.inputs if text in seen]
            if request.delivered:
                seen.update(request.inputs)
        return again

    def refuse(self, body):
        """What the API would say against a request for vectors, or None."""
        inputs = body["input"]
        if body["model"] not in self.dimensions:
            return 404, "model_not_found", f"The model `{body['model']}` does not exist"
        if "dimensions" in body and "text-embedding-3" not in body["model"]:
            return 400, "", "This model does not support specifying dimensions."
        if not inputs or len(inputs) > 2048:
            return 400, "", f"'$.input' has {len(inputs)} entries"
        if not all(inputs):
            return 400, "", "'$.input' holds an empty string"
        counts = [self.count_tokens(text) for text in inputs]
        if max(counts) > 8192:
            return 400, "context_length_exceeded", f"maximum context length is 8192 tokens, requested {max(counts)}"
        if sum(counts) > 300_000:
            return 400, "max_tokens_per_request", f"Requested {sum(counts)} tokens, max 300000 tokens per request"
        return None

    def reply(self, body):
        dim = body.get("dimensions") or self.dimensions[body["model"]]
        as_text = body.get("encoding_format") == "base64"
        data = []
        for index, text in enumerate(body["input"]):
            row = vector(text, dim)
            numbers = base64.b64encode(row.astype("<f4").tobytes()).decode() if as_text else row.tolist()
            data.append({"object": "embedding", "index": index, "embedding": numbers})
        used = sum(self.count_tokens(text) for text in body["input"])
        usage = {"prompt_tokens": used, "total_tokens": used}
        return {"object": "list", "data": data, "model": body["model"], "usage": usage}

    def spoil(self, reply, kind):
        data = reply["data"]
        dim = len(_floats(data[0]["embedding"]))
        if kind == "shuffle":
            np.random.default_rng(0).shuffle(data)
        elif kind == "short":  # a text is lost and the rest numbered anew: the nastiest way to be short
            del data[len(data) // 2]
            for index, entry in enumerate(data):
                entry["index"] = index
        elif kind == "duplicate":
            data[-1]["index"] = 0
        elif kind == "unnumbered":
            for entry in data:
                del entry["index"]
        elif kind == "dimension":
            for entry in data:
                entry["embedding"] = [0.5] * (dim // 2)
        elif kind in ("nan", "zeros"):
            data[0]["embedding"] = [float("nan") if kind == "nan" else 0.0] * dim
        return reply

    def run_batch(self, batch):
        """Answer a batch's lines as the scripted batch fault says."""
        fault = self.batch_faults.popleft() if self.batch_faults else None
        kind = getattr(fault, "kind", fault)
        if kind == "failed":
            batch.update(status="failed", errors={"object": "list", "data": [{"code": "x", "message": "bad line 1"}]})
            return
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].decode().splitlines()]
        good, bad = [], []
        for number, line in enumerate(lines):
            answer = {"id": f"r{number}", "custom_id": line["custom_id"], "response": None, "error": None}
            refusal = self.refuse(line["body"])
            if kind == "expired" and number % 2:
                bad.append({**answer, "error": {"code": "batch_expired", "message": "not in time"}})
            elif kind == "partial" and number % 2:
                bad.append({**answer, "response": {"status_code": 500, "body": {"error": {"message": "oops"}}}})
            elif refusal:
                said = {"error": {"code": refusal[1], "message": refusal[2]}}
                bad.append({**answer, "response": {"status_code": refusal[0], "body": said}})
            else:
                body = self.reply(line["body"])
                if kind in ("short", "duplicate", "shuffle"):
                    body = self.spoil(body, kind)
                request = Received(
                    line["body"]["input"], line["body"], time.monotonic(), kind not in ("short", "duplicate")
                )
                self.received.append(request)
                good.append({**answer, "response": {"status_code": 200, "request_id": "q", "body": body}})
        np.random.default_rng(1).shuffle(good)
        for name, answers in (("output_file_id", good), ("error_file_id", bad)):
            if answers:
                file = f"file-{batch['id']}-{name}"
                self.files[file] = "".join(json.dumps(answer) + "\n" for answer in answers).encode()
                batch[name] = file
        batch["status"] = "expired" if kind == "expired" else "completed"


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that are killed or give up


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def state(self):
        return self.server.state

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._allowed():
            return
        if self.path == "/v1/embeddings":
            with self.state.guard:
                self.state.under_way += 1
                self.state.most_at_once = max(self.state.most_at_once, self.state.under_way)
            try:
                self._embeddings(json.loads(content))
            finally:
                with self.state.guard:
                    self.state.under_way -= 1
        elif self.path == "/v1/files":
            self._file(content)
        elif self.path == "/v1/batches":
            self._batch(json.loads(content))
        else:
            self._error(404, "", f"no {self.path}")

    def do_GET(self):
        if not self._allowed():
            return
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[1] == "files" and parts[-1] == "content" and parts[2] in self.state.files:
            self._send(200, self.state.files[parts[2]], kind="application/octet-stream")
        elif parts[1:] == ["batches"]:
            data = list(reversed(self.state.batches.values()))
            self._json(200, {"object": "list", "data": data, "has_more": False})
        elif parts[1] == "batches" and parts[2] in self.state.batches:
            batch = self.state.batches[parts[2]]
            with self.state.guard:
                batch["polls"] = batch.get("polls", 0) + 1
                if batch["status"] == "in_progress" and batch["polls"] >= self.state.polls_until_done:
                    self.state.run_batch(batch)
            self._json(200, batch)
        else:
            self._error(404, "", f"no {self.path}")

    def _allowed(self):
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given != self.state.key:
            self._error(401, "invalid_api_key", f"Incorrect API key provided: {given}.")
            return False
        return True

    def _embeddings(self, body):
        if isinstance(body["input"], str):
            body["input"] = [body["input"]]
        with self.state.guard:
            request = Received(list(body["input"]), body, time.monotonic())
            self.state.received.append(request)
            fault = self.state.faults.popleft() if self.state.faults else None
        kind = fault.kind if fault else None
        if self.state.delay:
            time.sleep(self.state.delay)
        if kind == "status":
            self._error(fault.status, fault.code, fault.message, fault.headers)
            return
        if kind == "hang":
            time.sleep(fault.seconds)
            self.close_connection = True
            return
        if refusal := self.state.refuse(body):
            self._error(*refusal)
            return
        if kind == "body":
            self._send(200, fault.message.encode(), kind=fault.code)
            return
        reply = self.state.spoil(self.state.reply(body), kind)
        if kind == "garbage":
            self._send(200, b'{"object": "list", "data": [')
        elif kind == "cut":
            whole = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole[: len(whole) // 2])
            self.wfile.flush()
            self.close_connection = True
        else:
            with self.state.guard:
                request.delivered = kind in (None, "shuffle")
            self._json(200, reply)

    def _file(self, content):
        header = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(header + content)
        parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
        assert parts["purpose"].get_content().strip() == "batch"
        with self.state.guard:
            name = f"file-{len(self.state.files)}"
            self.state.files[name] = parts["file"].get_payload(decode=True)
        size = len(self.state.files[name])
        answer = {"id": name, "object": "file", "bytes": size, "created_at": 1, "filename": "x.jsonl"}
        self._json(200, {**answer, "purpose": "batch", "status": "processed"})

    def _batch(self, body):
        with self.state.guard:
            name = f"batch_{len(self.state.batches)}"
            self.state.batches[name] = {
                "id": name,
                "object": "batch",
                "endpoint": body["endpoint"],
                "completion_window": body["completion_window"],
                "input_file_id": body["input_file_id"],
                "metadata": body.get("metadata"),
                "status": "in_progress",
                "created_at": 1,
            }
        if self.state.delay:
            time.sleep(self.state.delay)
        self._json(200, self.state.batches[name])

    def _error(self, status, code, message, headers=()):
        kind = "requests" if status == 429 else "invalid_request_error"
        self._json(status, {"error": {"message": message, "type": kind, "code": code or None}}, headers)

    def _json(self, status, value, headers=()):
        self._send(status, json.dumps(value).encode(), headers=headers)

    def _send(self, status, content, *, kind="application/json", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in dict(headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)


def _floats(numbers):
    return np.frombuffer(base64.b64decode(numbers), "<f4") if isinstance(numbers, str) else np.asarray(numbers)
