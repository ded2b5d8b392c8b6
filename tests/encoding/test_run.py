"""Encoding through the store: nothing twice, the same bytes after any interruption."""

import hashlib
import json

import numpy as np
import pytest

from genetext.encoders.base import Encoded, Encoder, EncoderSpec
from genetext.encoding.run import encode
from genetext.encoding.store import VectorStore
from genetext.errors import StoreError


class BatchSensitive(Encoder):
    """An encoder whose last bits depend on the company a text has in its batch, as those of every transformer do."""

    def __init__(self, *, batch=4, stop_after=None):
        self.spec = EncoderSpec(kind="transformer", model="batch-sensitive")
        self.batch, self.stop_after = batch, stop_after
        self.seen = []

    @property
    def dim(self):
        return 8

    def plan(self, texts):
        order = np.argsort([len(text) for text in texts], kind="stable")
        return [order[start : start + self.batch] for start in range(0, len(order), self.batch)]

    def encode(self, texts):
        if self.stop_after is not None and len(self.seen) >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += texts
        company = sum(map(len, texts)) * 1e-6
        digests = [hashlib.sha256(text.encode()).digest()[:8] for text in texts]
        vectors = np.array([np.frombuffer(digest, np.uint8) for digest in digests], np.float32) + 1 + company
        counts = np.array([len(text.split()) for text in texts], np.int32)
        return Encoded(vectors.astype(np.float32), counts, np.zeros(len(texts), np.int8))

    def encode_queries(self, texts):
        return self.encode(texts).vectors


TEXTS = [f"text {'x' * (number * 7 % 13)} {number}" for number in range(41)]


def digests_of(texts):
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]


def run(encoder, root, texts=TEXTS, progress=None):
    with VectorStore(root / "vectors") as store:
        return encode(encoder, texts, digests_of(texts), store=store, root=root, progress=progress)


def test_vectors_stand_in_the_order_of_the_texts(tmp_path):
    found = run(BatchSensitive(), tmp_path)
    assert found.n_made == len(TEXTS)
    for text, vector, count in zip(TEXTS, found.encoded.vectors, found.encoded.n_tokens, strict=True):
        expected = np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], np.uint8) + 1.0
        assert np.allclose(vector, expected, atol=1e-3)
        assert count == len(text.split())


def test_a_second_run_encodes_nothing(tmp_path):
    first = run(BatchSensitive(), tmp_path)
    encoder = BatchSensitive()
    second = run(encoder, tmp_path)
    assert second.n_made == 0
    assert encoder.seen == []
    assert np.array_equal(first.encoded.vectors, second.encoded.vectors)


def test_only_new_texts_are_encoded(tmp_path):
    run(BatchSensitive(), tmp_path)
    encoder = BatchSensitive()
    changed = [*TEXTS[:30], "new one", *TEXTS[30:], "new two"]
    assert run(encoder, tmp_path, changed).n_made == 2
    assert sorted(encoder.seen) == ["new one", "new two"]


@pytest.mark.parametrize("stop_after", [0, 1, 4, 17, 40])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path, stop_after):
    whole = run(BatchSensitive(), tmp_path / "whole").encoded.vectors
    with pytest.raises(KeyboardInterrupt):
        run(BatchSensitive(stop_after=stop_after), tmp_path / "cut")
    encoder = BatchSensitive()
    assert run(encoder, tmp_path / "cut").encoded.vectors.tobytes() == whole.tobytes()
    assert len(encoder.seen) <= len(TEXTS) - stop_after
    assert list((tmp_path / "cut" / "journals").iterdir()) == []


def test_a_run_stopped_twice_still_ends_with_the_same_bytes(tmp_path):
    whole = run(BatchSensitive(), tmp_path / "whole").encoded.vectors
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            run(BatchSensitive(stop_after=8), tmp_path / "cut")
    assert run(BatchSensitive(), tmp_path / "cut").encoded.vectors.tobytes() == whole.tobytes()


def test_a_damaged_vector_is_made_again(tmp_path, caplog):
    first = run(BatchSensitive(batch=1), tmp_path).encoded.vectors
    (database,) = (tmp_path / "vectors").glob("*/cache.db")
    content = bytearray(database.read_bytes())
    victim = content.find(first[7].astype("<f4").tobytes())
    assert victim > 0
    content[victim] ^= 1
    database.write_bytes(content)
    encoder = BatchSensitive(batch=1)
    again = run(encoder, tmp_path)
    assert again.n_made == 1
    assert encoder.seen == [TEXTS[7]]
    assert np.array_equal(again.encoded.vectors, first)
    assert "damaged" in caplog.text


def test_a_plan_that_does_not_cover_what_is_missing_is_made_anew(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(BatchSensitive(stop_after=8), tmp_path)
    (journal,) = (tmp_path / "journals").iterdir()
    journal.write_text(json.dumps([digests_of(TEXTS[:2])]))
    assert run(BatchSensitive(), tmp_path).n_made > 0


@pytest.mark.parametrize(
    "content", [b"{", b"\xff\xfe", b"7", b'{"a": 1}', b"[[7]]", b'[["no digest of ours"]]', b"[" * 10**5]
)
def test_a_damaged_plan_is_named_set_aside_and_made_anew(content, tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        run(BatchSensitive(stop_after=8), tmp_path)
    (journal,) = (tmp_path / "journals").iterdir()
    journal.write_bytes(content)
    assert run(BatchSensitive(), tmp_path).n_made == len(TEXTS) - 8
    assert f"{journal}, the plan of an earlier run, is damaged" in caplog.text
    assert [path.suffix for path in (tmp_path / "journals").iterdir()] == [".damaged"]


def test_a_plan_with_a_text_twice_is_damaged(tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        run(BatchSensitive(stop_after=8), tmp_path)
    (journal,) = (tmp_path / "journals").iterdir()
    journal.write_text(json.dumps([digests_of(TEXTS), digests_of(TEXTS[:1])]))
    run(BatchSensitive(), tmp_path)
    assert "stands in it twice" in caplog.text


def test_progress_counts_every_text_once(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(BatchSensitive(stop_after=8), tmp_path)
    said = []
    run(BatchSensitive(), tmp_path, progress=lambda *event: said.append(event))
    assert said[0] == ("encode", 8, len(TEXTS))
    assert said[-1] == ("encode", len(TEXTS), len(TEXTS))
    assert [done for _, done, _ in said] == sorted(done for _, done, _ in said)


def test_an_encoder_that_changes_its_dimension_is_refused(tmp_path):
    class Longer(BatchSensitive):
        def encode(self, texts):
            encoded = super().encode(texts)
            return Encoded(np.pad(encoded.vectors, ((0, 0), (0, 1))), encoded.n_tokens, encoded.cut)

    run(BatchSensitive(), tmp_path)
    with pytest.raises(StoreError, match="8 dimensions, these have 9"):
        run(Longer(), tmp_path, [*TEXTS, "one more"])
