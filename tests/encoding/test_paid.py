"""Nothing is sent to a paid encoder that was not confirmed, whatever the way to it."""

import hashlib

import numpy as np
import pytest

from genetext import encoders
from genetext.build import build, build_index
from genetext.encoders.base import Cost
from genetext.encoders.lexical import LexicalEncoder
from genetext.encoding.batches import fill
from genetext.encoding.paid import Payment
from genetext.encoding.run import encode
from genetext.encoding.store import VectorStore
from genetext.errors import CostLimit, EncoderError
from tests.encoding.test_run import BatchSensitive
from tests.factory import write_ncbi
from tests.servers.openai import OpenAIServer

TEXTS = [f"text {number}" for number in range(9)]
DIGESTS = [hashlib.sha256(text.encode()).hexdigest() for text in TEXTS]


class Dear(BatchSensitive):
    """A paid encoder of a dollar for each text."""

    paid = True
    batch_matters = False
    price = 1e6

    def estimate(self, texts, *, batch=False):
        return Cost(model="dear", texts=len(texts), tokens=len(texts), price_per_million=self.price, terms="test")


def run(encoder, root, payment=None, texts=slice(None)):
    with VectorStore(root / "vectors") as store:
        return encode(encoder, TEXTS[texts], DIGESTS[texts], store=store, root=root, payment=payment)


@pytest.mark.parametrize(
    ("payment", "message"),
    [
        (None, r"9 texts would be sent to batch-sensitive, which is paid for; nothing was sent. Pass confirm=True"),
        (Payment(), "which is paid for"),
        (Payment(confirm=lambda cost: False), r"not confirmed: 9 texts.*\$9\.00"),
        (Payment(max_cost=8.5), r"\$9\.00.*allowed are \$8\.50"),
        (Payment(confirm=True, max_cost=8.5), "allowed are"),
        (Payment(confirm=True, max_cost=float("nan")), "allowed are"),
        (Payment(confirm=True, batch_api=True), "has no batch service"),
        (Payment(confirm=True, offline=True), "offline, and 9 texts"),
    ],
)
def test_what_is_not_allowed_is_not_sent(payment, message, tmp_path):
    encoder = Dear()
    with pytest.raises(EncoderError, match=message):
        run(encoder, tmp_path, payment)
    assert encoder.seen == []


@pytest.mark.parametrize("payment", [Payment(confirm=True), Payment(max_cost=9), Payment(confirm=lambda cost: True)])
def test_what_is_allowed_is_sent_once(payment, tmp_path):
    encoder = Dear()
    assert run(encoder, tmp_path, payment).n_made == 9
    assert sorted(encoder.seen) == sorted(TEXTS)
    assert run(encoder, tmp_path).n_made == 0, "what is in the store needs no money"


def test_an_unknown_price_is_never_below_a_limit(tmp_path):
    encoder = Dear()
    encoder.price = None
    with pytest.raises(CostLimit, match="not known"):
        run(encoder, tmp_path, Payment(confirm=True, max_cost=100))
    assert encoder.seen == []


def test_only_what_has_no_vector_is_asked_about_damaged_ones_included(tmp_path):
    asked = []
    confirming = Payment(confirm=lambda cost: asked.append(cost.texts) or True)
    first = run(Dear(batch=1), tmp_path, confirming, slice(0, 6))
    run(Dear(batch=1), tmp_path, confirming)
    (database,) = (tmp_path / "vectors").glob("*/cache.db")
    content = bytearray(database.read_bytes())
    content[content.find(first.encoded.vectors[2].astype("<f4").tobytes())] ^= 1
    database.write_bytes(content)
    with pytest.raises(CostLimit, match="1 texts would be sent"):
        run(Dear(), tmp_path)
    run(Dear(), tmp_path, confirming)
    assert asked == [6, 3, 1]


def test_free_encoders_are_never_asked_about(tmp_path):
    assert run(BatchSensitive(), tmp_path, Payment(confirm=lambda cost: pytest.fail("asked"))).n_made == 9
    encoder = LexicalEncoder()
    assert encoder.estimate(TEXTS).usd == 0


@pytest.fixture
def place(tmp_path, monkeypatch):
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        yield server, {"source": str(write_ncbi(tmp_path / "ncbi")), "root": tmp_path / "cache", "name": "paid"}


WAYS = {
    "encode": lambda encoder: encoder.encode(TEXTS),
    "stream": lambda encoder: list(encoder.stream(TEXTS, encoder.plan(TEXTS))),
    "fill": lambda encoder: fill(encoder, TEXTS, DIGESTS, store=VectorStore(), poll=0.01),
    "divide": lambda encoder: list(encoder.batch_service.divide(TEXTS, DIGESTS)),
    "upload": lambda encoder: encoder.batch_service.upload("name", [b"{}"]),
    "create": lambda encoder: encoder.batch_service.create("name", "file-1"),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_encoder_itself_sends_nothing_unconfirmed(way, place, own_cache):
    server, _ = place
    encoder = encoders.load(encoders.spec("ada"))
    with pytest.raises(CostLimit, match=r"texts would be sent to text-embedding-ada-002.*load\(spec, confirmed=True\)"):
        WAYS[way](encoder)
    assert server.received == []
    assert not server.batches
    assert not list(own_cache.glob("batches/*"))


@pytest.mark.parametrize("way", ["encode", "stream", "fill"])
def test_an_encoder_of_ones_own_sends_what_was_confirmed(way, place, own_cache):
    server, _ = place
    WAYS[way](encoders.load(encoders.spec("ada"), confirmed=True))
    assert sorted(server.texts) == sorted(TEXTS)


def test_what_was_confirmed_is_confirmed_for_that_run_alone(place, own_cache):
    server, _ = place
    encoder = encoders.load(encoders.spec("ada"))
    run(encoder, own_cache, Payment(confirm=True), slice(0, 4))
    sent = len(server.texts)
    with pytest.raises(CostLimit, match="1 texts would be sent"):
        encoder.encode(["another"])
    with pytest.raises(CostLimit, match="5 texts would be sent"):
        run(encoder, own_cache)
    assert len(server.texts) == sent == 4
    assert encoder.encode_queries(["a query"]).shape == (1, 1536), "queries are no gene texts"


def test_python_asks_as_the_command_line_does(place):
    server, options = place
    for make in (build, build_index):
        with pytest.raises(CostLimit, match="texts would be sent to text-embedding-ada-002"):
            make("human", encoder="ada", **options)
    with pytest.raises(CostLimit, match=r"allowed are \$0\.00"):
        build_index("human", encoder="lexical+ada", max_cost=0, **options)
    assert server.received == []
    index = build_index("human", encoder="ada", max_cost=0.01, **options)
    assert len(server.texts) == len(set(server.texts)) > 0
    vectors = np.array(index.matrix)
    server.received.clear()
    built = build("human", encoder="ada", **options)
    assert built.report.unchanged
    assert server.received == []
    assert np.array_equal(built.index.matrix, vectors)


def test_benchmarks_on_other_texts_are_asked_about(place, tmp_path):
    from genetext.bench.classify import Protocol
    from genetext.bench.controls import ControlOptions
    from genetext.bench.genes import bench_genes
    from genetext.bench.tasks import Selection

    server, options = place
    index = build_index("human", encoder="ada", confirm=True, **options)
    symbols = index.genes["symbol"].tolist()
    (tmp_path / "tasks.gmt").write_text(f"A\tx\t{chr(9).join(symbols[::2])}\nB\tx\t{chr(9).join(symbols[1::2])}\n")
    sent = len(server.texts)
    few = {"selection": Selection(min_genes=2), "protocol": Protocol(folds=2, inner_folds=2)}
    again = ControlOptions(draws=1, reencode=True)
    with pytest.raises(CostLimit, match="texts would be sent to text-embedding-ada-002"):
        bench_genes(tmp_path / "tasks.gmt", ["human/paid"], control=again, root=options["root"], **few)
    assert len(server.texts) == sent
