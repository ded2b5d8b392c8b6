"""Paid encoders from the command line: a preview, a question, a limit, and nothing paid for twice."""

import json

import pytest

from genetext.index import GeneIndex
from tests.cli.run import genetext
from tests.factory import edit_summaries, write_ncbi
from tests.servers.openai import OpenAIServer

BUILD = ("build-index", "--encoder", "ada", "--name", "paid")


@pytest.fixture
def server():
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def place(tmp_path):
    write_ncbi(tmp_path / "ncbi")
    return tmp_path


def build(place, server, *more, answer=""):
    return genetext(
        place,
        *(*BUILD, "--source", str(place / "ncbi"), *more),
        answer=answer,
        OPENAI_BASE_URL=server.base_url,
        OPENAI_API_KEY=server.key,
    )


def texts_sent(server):
    return [text for request in server.received for text in request.inputs]


def test_it_shows_the_cost_and_asks_before_anything_is_sent(place, server):
    ran = build(place, server, answer="n\n")
    assert ran.returncode == 1
    assert "texts" in ran.stderr
    assert "tokens" in ran.stderr
    assert "$" in ran.stderr
    assert "nothing was sent" in ran.stderr
    assert server.received == []
    assert build(place, server, answer="y\n").returncode == 0
    assert len(texts_sent(server)) > 10


def test_a_limit_stops_it(place, server):
    ran = build(place, server, "--yes", "--max-cost", "0.000001")
    assert ran.returncode == 1
    assert "allowed are $0.00" in ran.stderr
    assert server.received == []


def test_nothing_is_paid_for_twice(place, server):
    first = build(place, server, "--yes", "--json")
    assert first.returncode == 0, first.stderr
    sent = texts_sent(server)
    assert len(sent) == len(set(sent)) == json.loads(first.stdout)["n_texts"]
    edit_summaries(place / "ncbi", {94233: "Now something else is known of it."})
    again = build(place, server, "--json")  # no --yes: one text is asked for all the same
    assert again.returncode == 1
    again = build(place, server, "--yes", "--json")
    assert json.loads(again.stdout)["n_encoded"] == 1
    assert len(texts_sent(server)) == len(sent) + 1
    unchanged = build(place, server, "--json")
    assert json.loads(unchanged.stdout)["unchanged"] is True
    index = GeneIndex.open("human/paid", root=place / "cache")
    assert index.dim == 1536
    assert index.verify() == []


def test_the_batch_service_costs_half_and_gives_the_same_index(place, server):
    dear = build(place, server, "--yes", "-o", str(place / "dear"))
    cheap = genetext(
        place,
        *(*BUILD, "--source", str(place / "ncbi"), "--yes", "--batch-api", "--json", "-o", str(place / "cheap")),
        GENETEXT_CACHE=str(place / "other"),
        OPENAI_BASE_URL=server.base_url,
        OPENAI_API_KEY=server.key,
    )
    assert dear.returncode == 0, dear.stderr
    assert cheap.returncode == 0, cheap.stderr
    assert "Batch API" in cheap.stderr
    facts = json.loads(cheap.stdout)
    assert facts["n_encoded"] == facts["n_texts"]
    assert len(server.batches) == 1
    one, other = GeneIndex.open(place / "dear"), GeneIndex.open(place / "cheap")
    assert (one.matrix == other.matrix).all()


def test_joined_with_a_free_encoder_it_asks_all_the_same(place, server):
    ran = build(place, server, "--encoder", "lexical+ada", answer="n\n")
    assert ran.returncode == 1
    assert server.received == []


def test_without_a_key_it_says_where_to_put_one(place, server):
    ran = genetext(place, *BUILD, "--source", str(place / "ncbi"), "--yes", OPENAI_BASE_URL=server.base_url)
    assert ran.returncode == 1
    assert "OPENAI_API_KEY" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_key_shows_up_nowhere(place, server):
    ran = build(place, server, "--yes")
    assert ran.returncode == 0
    assert server.key not in ran.stdout + ran.stderr
    for path in (place / "cache").rglob("*"):
        if path.is_file():
            assert server.key.encode() not in path.read_bytes(), path
