import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from genetext import disk
from genetext.encoders.base import WHOLE, WINDOWED, EncoderSpec
from genetext.encoders.openai import batch
from genetext.encoders.openai.api import Retries
from genetext.encoders.openai.encoder import OpenAIEncoder
from genetext.encoding import batches
from genetext.encoding.store import VectorStore
from genetext.errors import EncoderError
from tests.encoders.test_openai import DIM, LONG, SPEC, WORDS, digests, expected, policy, texts
from tests.servers.openai import OpenAIServer

FINGERPRINT = SPEC.fingerprint


@pytest.fixture
def server():
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def store(own_cache):
    with VectorStore() as store:
        yield store


@pytest.fixture
def make(server):
    made = []

    def make(spec=SPEC, **kwargs):
        quick = Retries(attempts=3, first=0.01, longest=0.05)
        kwargs = {"base_url": server.base_url, "api_key": server.key, "retries": quick, "confirmed": True, **kwargs}
        made.append(OpenAIEncoder(spec, **kwargs))
        return made[-1]

    yield make
    for encoder in made:
        encoder.close()


@pytest.fixture
def small_lines(monkeypatch):
    monkeypatch.setattr(batch, "INPUTS_OF_A_LINE", 4)


def fill(encoder, some, store, **kwargs):
    return batches.fill(encoder, some, digests(some), store=store, **{"poll": 0.01, **kwargs})


def ledgers(own_cache):
    return sorted((own_cache / "batches").glob("*"))


def assert_all_there(store, some):
    got = store.read(FINGERPRINT, digests(some))
    assert got.mask.all()
    np.testing.assert_allclose(got.vectors, expected(some), atol=1e-6)


def submitted(server):
    """Every text of every batch that was made, as often as it was."""
    return [
        text
        for batch in server.batches.values()
        for line in server.files[batch["input_file_id"]].decode().splitlines()
        for text in json.loads(line)["body"]["input"]
    ]


def test_a_batch_fills_the_store_with_every_vector_in_its_row(server, make, store, own_cache, small_lines):
    server.polls_until_done = 3
    some = texts(50)
    told = []
    pending = fill(make(), some, store, progress=lambda *args: told.append(args))
    assert pending == []
    assert_all_there(store, some)
    assert len(server.batches) == 1
    (batch,) = server.batches.values()
    assert batch["polls"] == 3
    assert batch["endpoint"] == "/v1/embeddings"
    lines = [json.loads(line) for line in server.files[batch["input_file_id"]].decode().splitlines()]
    assert len(lines) == 13
    assert len({line["custom_id"] for line in lines}) == 13
    assert all(len(line["custom_id"]) <= 64 and line["body"]["dimensions"] == DIM for line in lines)
    assert ledgers(own_cache) == []
    assert told[0] == ("batch", 0, 50)
    assert told[-1] == ("batch", 50, 50)
    assert store.fingerprints()[FINGERPRINT].note["model"] == SPEC.model


def test_what_is_in_the_store_is_not_submitted(server, make, store):
    fill(make(), texts(10), store)
    fill(make(), texts(15), store)
    assert sorted(submitted(server)) == sorted(texts(15))
    fill(make(), texts(15), store)
    assert len(server.batches) == 2


def test_long_texts_are_put_together_from_their_windows(server, make, store):
    encoder = make(policy("window-mean"), table=WORDS)
    some = ["short", LONG, "words"]
    fill(encoder, some, store)
    got = store.read(encoder.spec.fingerprint, digests(some))
    np.testing.assert_array_equal(got.cut, [WHOLE, WINDOWED, WHOLE])
    assert got.n_tokens[1] == 28
    np.testing.assert_allclose(got.vectors, encoder.encode(some).vectors, atol=1e-6)


def test_batches_keep_their_limits(server, make, store, monkeypatch):
    monkeypatch.setattr(batch, "INPUTS_OF_A_LINE", 5)
    monkeypatch.setattr(batch, "MAX_INPUTS", 12)
    fill(make(), texts(40), store)
    assert [len(server.files[batch["input_file_id"]].splitlines()) for batch in server.batches.values()] == [2] * 4
    assert_all_there(store, texts(40))
    monkeypatch.setattr(batch, "MAX_BYTES", 1000)
    fill(make(), texts(40, start=100), store)
    sizes = [len(server.files[batch["input_file_id"]]) for batch in list(server.batches.values())[4:]]
    assert max(sizes) <= 1000
    assert len(sizes) > 2
    assert_all_there(store, texts(40, start=100))


@pytest.mark.parametrize("fault", ["partial", "expired", "short", "duplicate"])
def test_only_what_failed_is_submitted_again(server, make, store, own_cache, small_lines, fault):
    server.batch_faults.append(fault)
    some = texts(40)
    fill(make(), some, store)
    assert_all_there(store, some)
    assert len(server.batches) == 2
    again = submitted(server)[40:]
    whole = fault in ("short", "duplicate")  # then every line is wrong
    assert len(again) == (40 if whole else 20)
    assert server.sent_again_after_delivery() == []
    assert ledgers(own_cache) == []


def test_shuffled_answers_are_put_in_order(server, make, store, small_lines):
    server.batch_faults.append("shuffle")
    fill(make(), texts(40), store)
    assert_all_there(store, texts(40))
    assert len(server.batches) == 1


def test_what_goes_on_failing_is_an_error_that_says_why_and_keeps_the_rest(server, make, store, small_lines):
    server.batch_faults.extend(["partial"] * 3)
    with pytest.raises(EncoderError, match=r"4 texts have no vector after 3 batches.*500: oops"):
        fill(make(), texts(32), store)
    assert store.contains(FINGERPRINT, digests(texts(32))).sum() == 28


def test_a_batch_that_fails_as_a_whole_is_an_error_and_can_be_tried_again(server, make, store, own_cache):
    server.batch_faults.append("failed")
    with pytest.raises(EncoderError, match=r"batch_0 \(5 texts\) failed: bad line 1"):
        fill(make(), texts(5), store)
    assert ledgers(own_cache) == []
    fill(make(), texts(5), store)
    assert_all_there(store, texts(5))


def test_a_batch_that_is_under_way_is_found_again_and_not_submitted_twice(server, make, store, own_cache):
    server.polls_until_done = 3
    (pending,) = fill(make(), texts(20), store, wait=False)
    assert pending.batch_id == "batch_0"
    assert pending.texts == 20
    assert pending.ledger.is_file()
    assert batches.under_way(FINGERPRINT) == set(digests(texts(20)))
    (again,) = fill(make(), texts(25), store, wait=False)[:1]
    assert again == pending
    assert sorted(submitted(server)) == sorted(texts(25)), "only the five new ones are in the second batch"
    fill(make(), texts(25), store)
    assert len(server.batches) == 2
    assert_all_there(store, texts(25))
    assert batches.under_way(FINGERPRINT) == set()


def test_a_batch_is_collected_for_whoever_comes(server, make, store):
    server.polls_until_done = 2
    fill(make(), texts(20), store, wait=False)
    fill(make(), texts(3, start=100), store)
    assert_all_there(store, texts(20))


def test_a_batch_whose_id_was_not_written_down_is_found_by_its_name(server, make, store, own_cache):
    server.polls_until_done = 3
    fill(make(), texts(20), store, wait=False)
    (path,) = ledgers(own_cache)
    disk.write_json(path, {**json.loads(path.read_text()), "batch_id": None})
    fill(make(), texts(20), store)
    assert len(server.batches) == 1
    assert_all_there(store, texts(20))


def test_a_ledger_without_a_file_is_no_batch(server, make, store, own_cache):
    server.polls_until_done = 3
    fill(make(), texts(20), store, wait=False)
    (path,) = ledgers(own_cache)
    disk.write_json(path, {**json.loads(path.read_text()), "batch_id": None, "input_file_id": None})
    server.batches.clear()
    fill(make(), texts(20), store)
    assert len(server.batches) == 1
    assert_all_there(store, texts(20))
    assert ledgers(own_cache) == []


def test_an_answer_that_is_lost_does_not_make_a_second_batch(server, make, store, monkeypatch):
    encoder = make(timeout=0.4)
    server.delay = 1.0  # the batch is made, but its answer comes too late
    thread = threading.Timer(0.6, lambda: setattr(server, "delay", 0.0))
    thread.start()
    fill(encoder, texts(5), store)
    thread.join()
    assert len(server.batches) == 1
    assert_all_there(store, texts(5))


def test_a_damaged_ledger_is_an_error_that_says_what_to_look_for(server, make, store, own_cache):
    server.polls_until_done = 9
    fill(make(), texts(2), store, wait=False)
    (path,) = ledgers(own_cache)
    path.write_text("{")
    with pytest.raises(EncoderError, match=rf"genetext={path.stem}"):
        fill(make(), texts(2), store)


def test_a_batch_at_another_server_is_not_looked_for_here(server, make, store):
    server.polls_until_done = 9
    fill(make(), texts(2), store, wait=False)
    with OpenAIServer(key=server.key) as other:
        encoder = OpenAIEncoder(SPEC, base_url=other.base_url, api_key=other.key, confirmed=True)
        with pytest.raises(EncoderError, match="collect it there first"):
            fill(encoder, texts(2), store)
        encoder.close()
        assert other.batches == {}


def test_a_key_in_an_answer_is_not_shown(server, make, store, monkeypatch):
    monkeypatch.setattr(server, "refuse", lambda body: (400, "x", f"key {server.key} is odd"))
    monkeypatch.setattr(batches, "ROUNDS", 1)
    with pytest.raises(EncoderError, match="is odd") as caught:
        fill(make(), texts(2), store)
    assert server.key not in str(caught.value)


PROGRAM = """
import sys
from genetext.encoders.openai.encoder import OpenAIEncoder
from genetext.encoding import batches
from genetext.encoding.store import VectorStore
from tests.encoders import test_openai as here
some = here.texts(30)
with VectorStore() as store:
    batches.fill(OpenAIEncoder(here.SPEC, confirmed=True), some, here.digests(some), store=store, poll=0.02)
"""


@pytest.mark.parametrize("moment", ["while the batch is made", "while it is waited for"])
def test_a_killed_process_finds_its_batch_again(server, store, own_cache, moment):
    environment = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": server.key}
    command = [sys.executable, "-c", PROGRAM]
    server.polls_until_done = 10**9
    if moment == "while the batch is made":
        server.delay = 3.0
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    waits = "batches" if moment == "while the batch is made" else "polls"
    while time.monotonic() < deadline:
        if server.batches and (waits == "batches" or any(b.get("polls", 0) > 2 for b in server.batches.values())):
            break
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    _, err = first.communicate(timeout=60)
    assert len(server.batches) == 1, err
    (path,) = ledgers(own_cache)
    assert (json.loads(path.read_text())["batch_id"] is None) == (moment == "while the batch is made")
    server.delay, server.polls_until_done = 0.0, 1
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert second.returncode == 0, second.stderr
    assert len(server.batches) == 1
    assert_all_there(store, texts(30))
    assert ledgers(own_cache) == []


def test_failures_that_may_pass_are_asked_again(server, make, store, monkeypatch):
    from tests.servers import openai as served

    real, calls = served._Handler.do_GET, []

    def sometimes(self):
        calls.append(1)
        if len(calls) % 2:
            self._error(503, "", "busy")
        else:
            real(self)

    monkeypatch.setattr(served._Handler, "do_GET", sometimes)
    fill(make(), texts(6), store)
    assert len(server.batches) == 1
    assert_all_there(store, texts(6))


def test_the_same_vectors_as_without_the_batch_api(server, make, store):
    spec = EncoderSpec.from_json({**SPEC.to_json(), "prefix": "gene: "})
    encoder = make(spec)
    fill(encoder, texts(12), store)
    np.testing.assert_array_equal(
        store.read(spec.fingerprint, digests(texts(12))).vectors, encoder.encode(texts(12)).vectors
    )


def answered(line):
    """What a batch of one request answers with `line`."""
    return json.dumps(line) if not isinstance(line, str) else line


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[" * 200_000, "a line of the answers cannot be read"),
        ("7", "error: no message"),
        ({"custom_id": "x", "response": "oops", "error": ["no"]}, "error: no message"),
        ({"custom_id": "x", "response": {"status_code": 500, "body": "html"}}, "500: no message"),
        ({"custom_id": None, "response": {"status_code": 200, "body": []}}, "nobody says why"),
    ],
)
def test_an_odd_answer_of_a_batch_is_one_sentence(line, reason, server, make, store, monkeypatch):
    from genetext.encoders.openai.batch import OpenAIBatches

    monkeypatch.setattr(OpenAIBatches, "_rows", lambda self, file_id, scratch: iter([answered(line).encode()]))
    monkeypatch.setattr(batches, "ROUNDS", 1)
    with pytest.raises(EncoderError, match=f"1 texts have no vector after 1 batches.*{reason}"):
        fill(make(), texts(1), store)


def test_a_damaged_ledger_does_not_stop_what_only_asks(server, make, store, own_cache, caplog):
    server.polls_until_done = 9
    fill(make(), texts(2), store, wait=False)
    (path,) = ledgers(own_cache)
    path.write_text("[" * 100_000)
    assert batches.under_way(FINGERPRINT) == set()
    assert str(path) in caplog.text
