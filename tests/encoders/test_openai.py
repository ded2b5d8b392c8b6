import gc
import hashlib
import io
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from genetext import encoders
from genetext.encoders.base import TRUNCATED, WHOLE, WINDOWED, EncoderSpec
from genetext.encoders.openai import replies, tokens
from genetext.encoders.openai.api import Retries
from genetext.encoders.openai.encoder import OpenAIEncoder
from genetext.encoders.openai.pieces import MAX_INPUTS, MAX_TOKENS, pack, share_out
from genetext.encoding.paid import Payment, confirmed
from genetext.encoding.store import VectorStore
from genetext.errors import CostLimit, EncoderError
from tests.servers.openai import Fault, OpenAIServer, body, status, vector

MODEL = "text-embedding-3-small"
DIM = 24
SPEC = EncoderSpec(
    kind="openai",
    model=MODEL,
    pooling="none",
    normalize=True,
    max_tokens=8191,
    long_texts="window-mean",
    dimensions=DIM,
)
QUICK = Retries(attempts=4, first=0.01, longest=0.05)


def texts(n, start=0):
    return [f"Gene number {row} takes part in process {row % 7}." for row in range(start, start + n)]


def estimate(spec, some, *, table=None, batch=False):
    return OpenAIEncoder(spec, table=table).estimate(some, batch=batch)


def digests(some):
    return [hashlib.sha256(text.encode()).hexdigest() for text in some]


def expected(some, dim=DIM):
    return np.stack([vector(text, dim) for text in some])


def table(*merges):
    """A real tiktoken vocabulary, small: every byte, and whole words given; splits before spaces as cl100k does."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    for word in merges:
        for end in range(2, len(word) + 1):
            ranks.setdefault(word[:end], len(ranks))
    return tiktoken.Encoding("small", pat_str=r" ?\S+|\s+", mergeable_ranks=ranks, special_tokens={})


@pytest.fixture
def server():
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def make(server):
    made = []

    def make(spec=SPEC, **kwargs):
        defaults = {"base_url": server.base_url, "api_key": server.key, "retries": QUICK, "timeout": 20}
        kwargs = {**defaults, "confirmed": True, **kwargs}
        encoder = OpenAIEncoder(spec, **kwargs)
        made.append(encoder)
        return encoder

    yield make
    for encoder in made:
        encoder.close()


def batches(n, size):
    return [np.arange(start, min(start + size, n)) for start in range(0, n, size)]


def test_vectors_stand_in_their_texts_rows(server, make):
    some = texts(30)
    got = make().encode(some)
    np.testing.assert_allclose(got.vectors, expected(some), atol=1e-6)
    assert got.vectors.dtype == np.float32
    np.testing.assert_array_equal(got.cut, np.full(30, WHOLE))
    assert got.n_tokens.sum() == sum(server.count_tokens(text) for text in some), "what was billed, shared out"
    assert (got.n_tokens.dtype, got.cut.dtype) == (np.int32, np.int8)
    (request,) = server.received
    assert request.body["dimensions"] == DIM
    assert request.body["model"] == MODEL


def test_ada_is_not_asked_to_shorten(server, make):
    got = make(encoders.spec("ada")).encode(texts(2))
    assert got.vectors.shape == (2, 1536)
    assert "dimensions" not in server.received[0].body


def test_key_and_address_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", server.key)
    encoder = OpenAIEncoder(SPEC, confirmed=True)
    assert encoder.encode(texts(1)).vectors.shape == (1, DIM)
    encoder.close()


def test_no_key_is_one_clear_error_and_nothing_is_sent(server, make):
    with pytest.raises(EncoderError, match="OPENAI_API_KEY is not set"):
        make(api_key=None).encode(texts(1))
    assert server.received == []


def test_a_key_with_a_line_break_is_used_without_it_and_one_with_odd_characters_is_not_shown(server, make):
    assert make(api_key=server.key + "\n").encode(texts(1)).vectors.shape == (1, DIM)
    for odd in ("sk-abcdef\nghijkl", "\u201csk-abcdef\u201d"):
        with pytest.raises(EncoderError, match="no key has") as caught:
            make(api_key=odd).encode(texts(1))
        assert "abcdef" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("address", ["api.openai.com/v1", "ftp://host/v1", "http://"])
def test_an_address_that_is_none_is_refused_at_once(address):
    with pytest.raises(EncoderError, match="OPENAI_BASE_URL must be an address"):
        OpenAIEncoder(SPEC, base_url=address)


def test_shortened_vectors_have_unit_length(server, make, monkeypatch):
    monkeypatch.setattr("tests.servers.openai.vector", lambda text, dim: 0.3 * vector(text, dim))
    np.testing.assert_allclose(np.linalg.norm(make().encode(texts(5)).vectors, axis=1), 1, atol=1e-6)
    raw = make(EncoderSpec.from_json({**SPEC.to_json(), "normalize": False})).encode(texts(5)).vectors
    np.testing.assert_allclose(np.linalg.norm(raw, axis=1), 0.3, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "transformer"}, "kind 'transformer'"),
        ({"long_texts": "ignore"}, "not 'ignore'"),
        ({"model": "text-embedding-ada-002"}, "cannot shorten"),
        ({"dimensions": 1537}, "has 1536 dimensions"),
        ({"model": "nomic", "dimensions": None, "options": {"dim": 0}}, "vectors of nomic cannot have the length 0"),
    ],
)
def test_specs_that_cannot_be_served_are_refused_before_any_request(changes, message):
    with pytest.raises(EncoderError, match=message):
        OpenAIEncoder(EncoderSpec.from_json({**SPEC.to_json(), **changes}))


def test_another_servers_model_is_named_by_its_own_name(server, monkeypatch):
    """The way of docs/openai.md: an address, `openai:<model>`, and the length of its vectors from the first reply."""
    server.dimensions["nomic-embed-text"] = 10
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", server.key)
    spec = encoders.spec("openai:nomic-embed-text")
    encoder = encoders.load(spec, concurrency=2, confirmed=True)
    some = texts(9)
    got = {}
    for batch, encoded in encoder.stream(some, batches(9, 3)):
        got.update(zip(batch.tolist(), encoded.vectors, strict=True))
    np.testing.assert_allclose([got[row] for row in range(9)], expected(some, 10), atol=1e-6)
    assert encoder.dim == 10
    assert sorted(server.texts) == sorted(some)
    assert "dimensions" not in server.received[0].body
    server.script(None, body('{"data": [{"index": 0, "embedding": [1.0, 2.0]}]}'))
    encoder.encode(texts(1))
    with pytest.raises(EncoderError, match="vectors of 10 dimensions, 2 came back"):
        encoder.encode(texts(1))
    encoder.close()

    before = encoders.load(spec, confirmed=True)
    assert before.dim == 10
    assert server.texts[-1] == "gene"
    before.close()
    assert encoders.spec("openai:text-embedding-3-small") == encoders.spec("openai-3-small")
    for changes in ({"dimensions": 4}, {"options": {"dim": 4}}):
        assert encoders.load(encoders.spec("openai:nomic-embed-text", **changes)).dim == 4
    with pytest.raises(EncoderError, match="wants the name of a model"):
        encoders.spec("openai:")
    with pytest.raises(EncoderError, match="no weights on the hub"):
        encoders.pull("openai:nomic-embed-text")


def test_another_servers_model_can_have_its_length_told(make, server):
    server.dimensions["nomic"] = 10
    spec = EncoderSpec(kind="openai", model="nomic", pooling="none", max_tokens=2048, options={"dim": 10})
    np.testing.assert_allclose(make(spec).encode(texts(2)).vectors, expected(texts(2), 10), atol=1e-6)
    assert "dimensions" not in server.received[0].body


# --- Limits -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), max_size=40), counts=st.data(), most=st.integers(1, 80), inputs=st.integers(1, 9)
)
def test_packing_keeps_order_and_limits(sizes, counts, most, inputs):
    each = np.array([counts.draw(st.integers(1, 4)) for _ in sizes], np.int64)
    sizes = np.array(sizes, np.int64)
    runs = list(pack(sizes, each, max_size=most, max_inputs=inputs))
    assert np.concatenate([*runs, np.array([], int)]).tolist() == list(range(len(sizes)))
    for run in runs:
        assert len(run) == 1 or (sizes[run].sum() <= most and each[run].sum() <= inputs)


@settings(max_examples=50, deadline=None)
@given(total=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 500), min_size=1, max_size=30))
def test_shares_sum_to_the_total(total, sizes):
    shares = share_out(total, np.array(sizes, np.int64))
    assert shares.sum() == (total or sum(sizes))
    assert (shares >= 0).all()


def test_the_plan_keeps_both_limits_of_a_request(make, server):
    short = [f"g{row}" for row in range(5000)]
    plan = make().plan(short)
    assert [len(batch) for batch in plan] == [MAX_INPUTS, MAX_INPUTS, 5000 - 2 * MAX_INPUTS]
    long = ["x" * 8000 for _ in range(100)]
    plan = make().plan(long)
    assert np.concatenate(plan).tolist() == list(range(100))
    assert all(8000 * len(batch) <= MAX_TOKENS for batch in plan)
    assert len(plan) == 3
    assert [batch.tolist() for batch in make().plan(long)] == [batch.tolist() for batch in plan]
    assert server.received == []


def test_requests_at_the_limits_are_accepted(make, server):
    server.count_tokens = lambda text: len(text.encode())  # the worst that can be
    some = ["x" * 8191] * 36 + [f"g{row}" for row in range(2100)]
    encoder = make(EncoderSpec.from_json({**SPEC.to_json(), "dimensions": 2}))
    for batch, encoded in encoder.stream(some, encoder.plan(some)):
        np.testing.assert_allclose(encoded.vectors, expected([some[row] for row in batch], 2), atol=1e-6)


@pytest.mark.parametrize("bad", ["", "  \n"])
def test_empty_texts_are_refused_before_anything_is_sent(make, server, bad):
    with pytest.raises(EncoderError, match=r"1 texts are empty, at the positions 1"):
        make().plan(["fine", bad])
    assert server.received == []


def test_a_text_that_is_not_unicode_is_refused(make):
    with pytest.raises(EncoderError, match="not valid Unicode"):
        make().plan(["broken \ud800"])


# --- Long texts -------------------------------------------------------------------------------------------------------

WORDS = table(b" kinase", b" binds", b" receptor")


def policy(name, max_tokens=10):
    return EncoderSpec.from_json({**SPEC.to_json(), "long_texts": name, "max_tokens": max_tokens})


LONG = "x" + " kinase binds receptor" * 9  # 28 tokens by WORDS, 200 bytes
FITS = "x" + " kinase binds receptor" * 3  # 10 tokens, 67 bytes


def test_long_texts_are_an_error_by_name_before_anything_is_sent(make, server):
    with pytest.raises(EncoderError, match=r"1 texts are longer than the 10 tokens .* position 1 \(28 tokens\)"):
        make(policy("error"), table=WORDS).plan(["short", LONG, FITS])
    assert server.received == []


def test_long_texts_are_truncated_at_a_token(make, server):
    got = make(policy("truncate"), table=WORDS).encode(["short", LONG, FITS])
    assert server.texts == ["short", "x" + " kinase binds receptor" * 3, FITS]
    np.testing.assert_array_equal(got.cut, [WHOLE, TRUNCATED, WHOLE])
    assert got.n_tokens[1:].tolist() == [28, 10]
    np.testing.assert_allclose(got.vectors, expected(server.texts), atol=1e-6)


def test_windows_are_averaged_by_their_tokens(make, server):
    got = make(policy("window-mean"), table=WORDS).encode(["short", LONG, FITS])
    assert "".join(server.texts[1:4]) == LONG
    np.testing.assert_array_equal(got.cut, [WHOLE, WINDOWED, WHOLE])
    counts = np.array([len(WORDS.encode_ordinary(text)) for text in server.texts[1:4]])
    assert counts.sum() == 28
    assert counts.max() <= 10
    assert np.ptp(counts) <= 2, "windows are nearly equal"
    mean = (expected(server.texts[1:4]).astype(np.float64) * counts[:, None]).sum(0)
    np.testing.assert_allclose(got.vectors[1], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(got.vectors[[0, 2]], expected(["short", FITS]), atol=1e-6)


def test_windows_count_for_the_limits_of_a_request(make, server):
    spec = policy("window-mean", max_tokens=4)
    some = ["y" + " kinase" * 7999] * 3  # 2,000 windows each
    encoder = make(spec, table=WORDS, timeout=60)
    plan = encoder.plan(some)
    assert [len(batch) for batch in plan] == [1, 1, 1]
    got = encoder.encode(some[:1])
    assert len(server.received) == 1
    assert got.n_tokens.tolist() == [8000]


def test_a_text_of_more_than_one_request_is_put_together(make, server):
    some = ["z" + " kinase" * 9999, "ok"]
    encoder = make(policy("window-mean", max_tokens=4), table=WORDS, timeout=60)
    got = encoder.encode(some)
    assert [len(request.inputs) for request in server.received] == [2048, 453]
    windows = server.texts[:-1]
    assert "".join(windows) == some[0]
    mean = (expected(windows) * 4.0).sum(0)
    np.testing.assert_allclose(got.vectors[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_without_a_table_only_texts_that_surely_fit_are_sent(make, server, monkeypatch):
    monkeypatch.setattr(tokens, "load", lambda: None)
    encoder = make(policy("truncate", max_tokens=10))
    encoder.encode(["ten bytes."])
    with pytest.raises(EncoderError, match=r"more than 10 bytes.*cl100k_base"):
        encoder.plan(["ten bytes.", "eleven byte"])
    assert server.texts == ["ten bytes."]


def test_a_table_that_cannot_be_loaded_in_time_is_none(monkeypatch):
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: time.sleep(5))
    start = time.monotonic()
    assert tokens.load(patience=0.05) is None
    assert time.monotonic() - start < 2
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: 1 / 0)
    assert tokens.load() is None
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: WORDS)
    assert tokens.load() is WORDS


@pytest.mark.network
def test_the_real_table_counts_as_the_api_does():
    loaded = tokens.load()
    if loaded is None:
        pytest.skip("the table of cl100k_base cannot be had here: no network, and none at TIKTOKEN_CACHE_DIR")
    assert len(loaded.encode_ordinary("hello world")) == 2
    text = "The protein encoded by this gene is a kinase. " * 2000
    windows = tokens.windows(text, 8191, loaded)
    assert "".join(piece for piece, _ in windows) == text
    assert max(count for _, count in windows) <= 8191


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60), limit=st.integers(6, 12))
def test_windows_hold_the_whole_text_and_keep_the_limit(text, limit):
    windows = tokens.windows(text, limit, WORDS)
    assert "".join(piece for piece, _ in windows) == text
    for piece, count in windows:
        assert count == len(WORDS.encode_ordinary(piece)) <= limit
    assert len(WORDS.encode_ordinary(text)) <= tokens.bound(text)


# --- Replies that are wrong, and servers that fail --------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["short", "duplicate", "unnumbered", "nan", "garbage", "cut"])
def test_a_reply_that_cannot_be_right_is_not_used_and_asked_again(make, server, fault, caplog):
    some = texts(9)
    server.script(fault)
    with caplog.at_level(logging.WARNING, "genetext"):
        got = make().encode(some)
    np.testing.assert_allclose(got.vectors, expected(some), atol=1e-6)
    assert len(server.received) == 2
    assert len(caplog.records) == 1


def test_shuffled_replies_are_put_in_order_without_asking_again(make, server):
    some = texts(50)
    server.script("shuffle")
    np.testing.assert_allclose(make().encode(some).vectors, expected(some), atol=1e-6)
    assert len(server.received) == 1


def test_wrong_replies_are_not_paid_for_without_end(make, server):
    server.script(*["short"] * 20)
    with pytest.raises(EncoderError, match=r"9 texts were sent, 8 vectors came back.*sent 3 times"):
        make().encode(texts(9))
    assert len(server.received) == 1 + QUICK.again_if_wrong


@pytest.mark.parametrize(
    "fault",
    [
        body("<!doctype html><title>Sign in</title>", "text/html"),
        body("", "text/plain"),
        body("[]"),
        body("null"),
        body('{"data": "oops"}'),
        body('{"data": [[1.0, 2.0], [3.0, 4.0]]}'),
        body('{"data": [{"index": 0}, {"index": 1}]}'),
        body('{"embedding": [1.0, 2.0]}'),
    ],
    ids=lambda fault: fault.message[:20],
)
def test_a_reply_that_is_no_embedding_is_one_clear_error(make, server, fault):
    server.script(*[fault] * 9)
    message = r"what 127.0.0.1:\d+ sent is no list of embeddings; check OPENAI_BASE_URL \(sent 3 times\)"
    with pytest.raises(EncoderError, match=message):
        make().encode(texts(2))


@pytest.mark.parametrize("vector", ["null", "[]", "{}", "[[1.0], [2.0]]", '["a"]', '"no base64!"', "[1e999, {}]"])
def test_a_vector_that_is_none_is_one_clear_error(make, server, vector):
    entry = '{"index": %s, "embedding": %s}'
    server.script(*[body(f'{{"data": [{entry % (0, vector)}], "usage": "none"}}')] * 9)
    with pytest.raises(EncoderError, match="a vector that"):
        make().encode(texts(1))
    server.faults.clear()
    server.script(*[body(f'{{"data": [{entry % ("[0]", "[1.0]")}]}}')] * 9)
    with pytest.raises(EncoderError, match="numbered None"):
        make().encode(texts(1))


def test_another_dimension_is_an_error_at_once_with_both_values(make, server):
    server.script("dimension")
    with pytest.raises(EncoderError, match=r"of 24 dimensions, 12 came back"):
        make().encode(texts(2))
    assert len(server.received) == 1


def test_a_vector_of_zeros_is_an_error(make, server):
    server.script("zeros")
    with pytest.raises(EncoderError, match="1 vectors of zeros"):
        make().encode(texts(2))


@pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503])
def test_failures_that_may_pass_are_asked_again(make, server, code):
    server.script(status(code), status(code))
    assert make().encode(texts(3)).vectors.shape == (3, DIM)
    assert len(server.received) == 3, "one loop of retries, not one in another"


def test_a_server_that_goes_on_failing_is_an_error_after_all_attempts(make, server):
    server.script(*[status(503, message="overloaded")] * 50)
    with pytest.raises(EncoderError, match=r"answered 503 \(overloaded\) \(sent 5 times\)"):
        make().encode(texts(3))
    assert len(server.received) == 1 + QUICK.attempts


@pytest.mark.parametrize("form", ["seconds", "milliseconds", "date"])
def test_retry_after_is_honoured(make, server, form):
    if form == "seconds":
        server.script(status(429, retry_after=0.4))
        least = 0.4
    elif form == "milliseconds":
        server.script(status(429, **{"retry-after-ms": "300"}))
        least = 0.3
    else:
        from email.utils import formatdate

        server.script(status(429, retry_after=formatdate(time.time() + 2, usegmt=True)))
        least = 0.7  # dates have whole seconds
    make().encode(texts(1))
    first, second = server.received
    assert second.at - first.at >= least


def test_retry_after_holds_back_every_request(make, server):
    server.script(status(429, retry_after=0.5))
    encoder = make(concurrency=3)
    some = texts(40)
    list(encoder.stream(some, batches(40, 1)))
    first = server.received[0].at
    early = [request for request in server.received if request.at - first < 0.45]
    assert len(early) <= 8, "only what was under way when the server asked for quiet"
    assert len(server.received) == 41


def test_a_server_that_asks_to_wait_for_hours_ends_the_run(make, server):
    server.script(status(429, retry_after=7200))
    with pytest.raises(EncoderError, match=r"wait 7,200 s: run the same command again then"):
        make().encode(texts(1))
    assert len(server.received) == 1


def test_a_timeout_is_asked_again(make, server):
    from tests.servers.openai import Fault

    server.script(Fault("hang", seconds=1.0))
    assert make(timeout=0.3).encode(texts(1)).vectors.shape == (1, DIM)
    assert len(server.received) == 2


def test_a_server_that_is_not_there_is_an_error_that_names_it(make):
    with pytest.raises(EncoderError, match=r"127.0.0.1:9 cannot be reached"):
        make(base_url="http://127.0.0.1:9/v1").encode(texts(1))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(429, error_code="insufficient_quota", message="You exceeded"), "cannot pay .*billing"),
        (status(404, error_code="model_not_found", message="no such model"), "does not have .*no such model"),
        (status(400, message="bad input"), r"answered 400 \(bad input\)"),
        (status(403, message="not in your country"), "answered 403"),
        (status(500, x_should_retry="false"), "answered 500"),
    ],
)
def test_failures_that_will_not_pass_are_errors_at_once(make, server, fault, message):
    server.script(fault)
    with pytest.raises(EncoderError, match=message):
        make().encode(texts(1))
    assert len(server.received) == 1


# --- The key ----------------------------------------------------------------------------------------------------------


def test_the_key_appears_nowhere(server, make, caplog, capfd):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG):
            secret = "sk-secret-AbCdEf0123456789"
            server.key = "another"
            encoder = make(api_key=secret)
            with pytest.raises(EncoderError, match=r"refuses the key .*OPENAI_API_KEY") as wrong:
                encoder.encode(texts(1))
            server.key = secret
            encoder.encode(texts(1))
            server.script(status(400, message=f"your key {secret} and sk-proj-other1234567"))
            with pytest.raises(EncoderError) as echoed:
                encoder.encode(texts(1))
            server.script(*[status(500, message=f"key {secret}")] * 9)
            with pytest.raises(EncoderError) as failing:
                encoder.encode(texts(1))
    finally:
        root.removeHandler(handler)
    assert "sk-proj" not in str(echoed.value)
    told = [repr(encoder), repr(encoder.api), repr(encoder.__dict__), repr(vars(encoder.api)), stream.getvalue()]
    for caught in (wrong, echoed, failing):
        assert caught.value.__context__ is None, "an error of the client would carry the request"
        told += ["".join(traceback.format_exception(caught.value)), str(caught.value), repr(caught.value)]
    out, err = capfd.readouterr()
    told += [out, err, *(record.getMessage() for record in caplog.records), repr([r.__dict__ for r in caplog.records])]
    assert "HTTP Request" in stream.getvalue(), "the client's own log was not captured"
    for text in told:
        assert secret not in text
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(encoder.api._secret)


# --- Several requests at once -----------------------------------------------------------------------------------------


def test_the_stream_gives_every_batch_once_and_keeps_its_bounds(make, server):
    server.delay = 0.02
    some = texts(60)
    got = np.zeros((60, DIM))
    seen = []
    for batch, encoded in make(concurrency=3).stream(some, batches(60, 4)):
        asked = len(server.received)
        seen.append(batch)
        assert asked <= len(seen) - 1 + 3, "a request was sent before a finished batch was taken"
        got[batch] = encoded.vectors
    assert sorted(np.concatenate(seen).tolist()) == list(range(60))
    np.testing.assert_allclose(got, expected(some), atol=1e-6)
    assert server.most_at_once == 3
    assert len(server.received) == 15


def test_nothing_is_asked_while_the_caller_still_holds_a_batch(make, server):
    stream = make(concurrency=2).stream(texts(20), batches(20, 2))
    next(stream)
    time.sleep(0.2)
    assert len(server.received) == 2
    stream.close()
    time.sleep(0.1)
    assert len(server.received) == 2


def test_what_arrived_is_given_before_an_error_is_raised(make, server):
    server.delay = 0.1
    server.script(None, status(400, message="refused"), None)
    got, stream = [], make(concurrency=3).stream(texts(40), batches(40, 4))
    with pytest.raises(EncoderError, match="refused"):
        for batch, _ in stream:
            got.append(batch.tolist())
    assert len(server.received) <= 5, "something was asked after the failure"
    delivered = [request.inputs for request in server.received if request.delivered]
    assert sorted(texts(40)[batch[0]] for batch in got) == sorted(inputs[0] for inputs in delivered)


def test_a_failure_ends_the_waiting_of_the_others(make, server):
    server.script(status(429, retry_after=30), status(400, message="refused"))
    start = time.monotonic()
    with pytest.raises(EncoderError, match="refused"):
        list(make(concurrency=2).stream(texts(8), batches(8, 2)))
    assert time.monotonic() - start < 10


def test_ctrl_c_gives_what_is_under_way_before_it_ends(make, server, monkeypatch):
    import concurrent.futures

    from genetext.encoders.openai import encoder as module

    real, calls = concurrent.futures.wait, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "wait", interrupted)
    server.delay = 0.05
    got = []
    with pytest.raises(KeyboardInterrupt):
        for batch, _ in make(concurrency=2).stream(texts(40), batches(40, 4)):
            got.append(batch)
    assert 2 <= len(got) == len(server.received) < 10


INTERRUPTED = """
import sys
import numpy as np
from genetext import encoders
encoder = encoders.load(encoders.spec("openai-3-small", dimensions=24), timeout=60, confirmed=True)
some = [f"Gene number {row}." for row in range(8)]
try:
    for batch, _ in encoder.stream(some, [np.arange(row, row + 2) for row in range(0, 8, 2)]):
        print("arrived", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
"""


def test_a_second_ctrl_c_does_not_wait(server):
    """Not even for the threads whose requests still hang when the process ends."""
    server.script(*[Fault("hang", seconds=30)] * 4)
    environment = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": server.key}
    command = [sys.executable, "-c", INTERRUPTED]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while len(server.received) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.7)
        assert process.poll() is None, "the first waits for what is under way"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
        process.communicate()
    assert out.split() == ["interrupted"], err
    assert process.returncode != 0


def test_threads_are_gone_afterwards(make, server):
    import threading

    list(make().stream(texts(8), batches(8, 2)))
    gc.collect()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        left = [thread for thread in threading.enumerate() if "genetext-openai" in thread.name]
        if not left:
            return
        time.sleep(0.02)
    pytest.fail(f"threads are left: {left}")


# --- Through the store ------------------------------------------------------------------------------------------------


def encode_into(store, encoder, some, *, size=4):
    names = digests(some)
    missing = np.flatnonzero(~store.contains(encoder.spec.fingerprint, names))
    todo = [missing[start : start + size] for start in range(0, len(missing), size)]
    for batch, got in encoder.stream(some, todo):
        store.write(encoder.spec.fingerprint, [names[row] for row in batch], got.vectors, got.n_tokens, got.cut)


def test_nothing_is_sent_twice_and_no_vector_is_in_a_wrong_row_whatever_happens(make, server, tmp_path):
    rng = np.random.default_rng(3)
    kinds = [
        None,
        None,
        "shuffle",
        "short",
        "duplicate",
        "nan",
        "cut",
        "garbage",
        status(429, retry_after=0.02),
        status(500),
    ]
    server.script(*[kinds[pick] for pick in rng.integers(0, len(kinds), 60)])
    some = texts(200)
    retries = Retries(attempts=20, again_if_wrong=20, first=0.001, longest=0.01)
    with VectorStore(tmp_path / "vectors") as store:
        encode_into(store, make(retries=retries), some)
        got = store.read(SPEC.fingerprint, digests(some))
    assert got.mask.all()
    np.testing.assert_allclose(got.vectors, expected(some), atol=1e-6)
    assert server.sent_again_after_delivery() == []
    assert sorted(server.delivered) == sorted(some)


def test_a_run_that_failed_goes_on_with_what_is_missing(make, server, tmp_path):
    some = texts(60)
    server.script(*[None] * 5, status(401, message="revoked"))
    with VectorStore(tmp_path / "vectors") as store:
        with pytest.raises(EncoderError, match="revoked"):
            encode_into(store, make(concurrency=2), some)
        encode_into(store, make(concurrency=2), some)
        np.testing.assert_allclose(store.read(SPEC.fingerprint, digests(some)).vectors, expected(some), atol=1e-6)
    assert server.sent_again_after_delivery() == []


PROGRAM = """
import sys
from pathlib import Path
from genetext.encoders.base import EncoderSpec
from genetext.encoders.openai.encoder import OpenAIEncoder
from genetext.encoding.store import VectorStore
from tests.encoders import test_openai as here
with VectorStore(Path(sys.argv[1])) as store:
    here.encode_into(store, OpenAIEncoder(here.SPEC, concurrency=3, confirmed=True), here.texts(120))
"""


def test_a_kill_in_the_middle_costs_at_most_what_was_under_way(server, tmp_path):
    environment = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": server.key}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "vectors")]
    server.delay = 0.15
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(server.received) < 10 and time.monotonic() < deadline:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    _, err = first.communicate(timeout=60)
    before = list(server.received)
    assert 10 <= len(before) < 30, err
    with VectorStore(tmp_path / "vectors") as store:
        stored = {
            text
            for text, there in zip(texts(120), store.contains(SPEC.fingerprint, digests(texts(120))), strict=True)
            if there
        }
        assert len(stored) >= 4 * (len(before) - 3), "more was lost than was under way"
        assert store.verify() == []
        server.delay = 0
        second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert second.returncode == 0, second.stderr
        after = [text for request in server.received[len(before) :] for text in request.inputs]
        assert sorted(after) == sorted(set(texts(120)) - stored), "only what is missing is sent"
        got = store.read(SPEC.fingerprint, digests(texts(120)))
    np.testing.assert_allclose(got.vectors, expected(texts(120)), atol=1e-6)


# --- Queries and costs ------------------------------------------------------------------------------------------------


def test_queries_have_their_own_prefix(make, server):
    spec = EncoderSpec.from_json({**SPEC.to_json(), "prefix": "passage: ", "query_prefix": "query: "})
    got = make(spec).encode_queries(["iron transport"])
    np.testing.assert_allclose(got, expected(["query: iron transport"]), atol=1e-6)
    make(spec).encode(["iron transport"])
    assert server.texts == ["query: iron transport", "passage: iron transport"]


def test_a_cost_is_counted_where_there_is_a_table(server):
    cost = estimate(encoders.spec("openai-3-large"), [LONG, FITS], table=WORDS)
    assert (cost.texts, cost.tokens, cost.exact) == (2, 38, True)
    assert cost.usd == pytest.approx(38 * 0.13 / 1e6)
    assert "counted with" in str(cost)
    halved = estimate(encoders.spec("openai-3-large"), [LONG, FITS], table=WORDS, batch=True)
    assert halved.usd == pytest.approx(cost.usd / 2)
    assert "Batch API" in str(halved)


def test_truncated_tokens_are_not_paid_for():
    assert estimate(policy("truncate"), [LONG, FITS], table=WORDS).tokens == 20
    assert estimate(policy("window-mean"), [LONG, FITS], table=WORDS).tokens == 38


def test_without_a_table_the_cost_is_a_bound_and_says_so(monkeypatch):
    monkeypatch.setattr(tokens, "load", lambda: None)
    cost = estimate(encoders.spec("ada"), ["αβ" * 1_000_000])
    assert (cost.tokens, cost.exact) == (4_000_000, False)
    assert cost.usd == pytest.approx(0.4)
    assert "at most $0.40" in str(cost)
    assert "bytes" in str(cost)


def test_a_limit_on_the_cost_is_kept():
    some = ["x" * 1000] * 1000
    encoder = OpenAIEncoder(encoders.spec("ada"), api_key="sk-x", table=table())
    with confirmed(encoder, some, Payment(max_cost=0.11)):
        assert encoder.confirmed
    assert not encoder.confirmed
    refused = pytest.raises(CostLimit, match=r"\$0\.10 .*allowed are \$0\.09")
    with refused, confirmed(encoder, some, Payment(max_cost=0.09)):
        pytest.fail("allowed")


def test_an_unknown_price_is_never_within_a_limit():
    spec = EncoderSpec(kind="openai", model="nomic", options={"dim": 8})
    assert estimate(spec, texts(1), table=WORDS).usd is None
    assert "not known" in str(estimate(spec, texts(1), table=WORDS))
    encoder = OpenAIEncoder(spec, api_key="sk-x", table=WORDS)
    with pytest.raises(CostLimit, match="not known"), confirmed(encoder, texts(1), Payment(max_cost=100)):
        pytest.fail("allowed")


def numbered(*vectors, **others):
    data = [{"index": number, "embedding": vector} for number, vector in enumerate(vectors)]
    return json.dumps({"data": data, **others})


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("[" * 200_000, "no list of embeddings"),
        ('{"data": ' + "[" * 200_000, "no list of embeddings"),
        (numbered([[[[0.5]]]]), "no list of numbers"),
        (numbered({"0": 1}), "no list of numbers"),
        (numbered(["1"] * DIM), "no list of numbers"),
        (numbered([True] * DIM), "no list of numbers"),
        (numbered([None] * DIM), "no list of numbers"),
        (numbered([1e300] * DIM), "not finite"),
        (numbered([10**400] * DIM), "cannot be read"),
        (numbered([float("nan")] * DIM), "not finite"),
        (numbered("é" * 8), "cannot be read"),
        (json.dumps({"data": [{"embedding": [0.5] * DIM}]}), "numbered None"),
        (json.dumps({"data": [{"index": "0", "embedding": [0.5] * DIM}]}), "numbered None"),
        (json.dumps({"data": {"0": 1}}), "no list of embeddings"),
        (json.dumps({"data": [None]}), "no list of embeddings"),
    ],
)
def test_an_odd_reply_is_one_sentence(message, reason, make, server):
    server.script(*[body(message)] * 9)
    with pytest.raises(EncoderError, match=reason):
        make().encode(texts(1))


@pytest.mark.parametrize("count", [10**400, -7, "many", None, 2**40, True])
def test_a_server_that_cannot_count_is_not_believed(count, make, server):
    vector = [1.0] + [0.0] * (DIM - 1)
    server.script(body(numbered(vector, usage={"prompt_tokens": count})))
    encoded = make().encode(texts(1))
    assert encoded.n_tokens[0] == len(texts(1)[0].encode())


def test_too_little_memory_for_a_reply_is_one_sentence(make):
    def request(client):
        raise MemoryError

    with pytest.raises(EncoderError, match="not enough memory"):
        make().api.call("what was asked", request)


@pytest.mark.parametrize(
    "address",
    ["http://" + "a" * 64 + ".org/v1", "http://a..org/v1", "http://[::1/v1", "http://x:99999/v1", "http://x:y/v1",
     "ftp://x/v1", "api.openai.com", "http://", "http://" + "a." * 500 + "org"],
)  # fmt: skip
def test_an_address_that_is_none_is_one_sentence(address, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    with pytest.raises(EncoderError, match="OPENAI_BASE_URL must be an address like https://api.openai.com/v1"):
        encoders.load(SPEC)


NAMES = st.sampled_from(["data", "index", "embedding", "usage", "prompt_tokens"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
)


@given(JSON)
def test_any_reply_is_vectors_or_one_error(reply):
    try:
        data = reply.get("data") if isinstance(reply, dict) else None
        n = len(data) if isinstance(data, list) else 1
        vectors, billed = replies.vectors(reply, n=n, dim=None, model="m", host="here")
    except EncoderError:
        return
    assert np.isfinite(vectors).all()
    assert billed >= 0


def test_the_official_client_is_not_imported_before_it_is_needed():
    code = "import sys, genetext.encoders.openai.encoder; assert not {'openai', 'tiktoken'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
