"""Kinds of encoders that another distribution adds by an entry point: listed, built with, searched with."""

import json
import os
import subprocess
import sys

import pytest

from tests.factory import write_ncbi

MODULE = '''
"""Letters of a text, counted: an encoder of another distribution."""
import numpy as np
from genetext.encoders import Cost, Encoded, Encoder, EncoderSpec, Preset

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Letters(Encoder):
    batch_matters = False

    @classmethod
    def presets(cls):
        return [Preset(name="letters-all", spec=cls.named("26"), dim=26, note="counts letters")]

    @classmethod
    def named(cls, model):
        spec = EncoderSpec(kind="letters", model=model, pooling="none", max_tokens=None, options={"power": 1})
        return spec

    @classmethod
    def options(cls, spec):
        return ("power",)

    @classmethod
    def present(cls, spec):
        return True

    def __init__(self, spec, *, patience=1):
        self.spec = spec

    @property
    def dim(self):
        return int(self.spec.model)

    def plan(self, texts):
        return [np.arange(len(texts))]

    def encode(self, texts):
        counts = np.array([[text.lower().count(letter) for letter in LETTERS[: self.dim]] for text in texts], "f4")
        lengths = np.array([len(text) for text in texts], np.int32)
        return Encoded(counts ** self.spec.options["power"], lengths, np.zeros(len(texts), np.int8))

    def encode_queries(self, texts):
        return self.encode(texts).vectors
'''
PAID = """

class Dear(Letters):
    paid = True

    @classmethod
    def presets(cls):
        return []

    @classmethod
    def named(cls, model):
        return EncoderSpec(kind="dear", model=model, options={"power": 1})

    def estimate(self, texts, *, batch=False):
        return Cost(model="dear", texts=len(texts), tokens=10**6, price_per_million=2.0, terms="a test")
"""


@pytest.fixture
def installed(tmp_path):
    """Install a distribution that has two kinds that work, and one whose module is broken."""
    site = tmp_path / "site"
    (site / "letters-1.0.dist-info").mkdir(parents=True)
    (site / "lettercount.py").write_text(MODULE + PAID)
    (site / "brokenkind.py").write_text("import a_module_that_nobody_has\n")
    (site / "letters-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: letters\nVersion: 1.0\n")
    (site / "letters-1.0.dist-info" / "entry_points.txt").write_text(
        "[genetext.encoders]\nletters = lettercount:Letters\ndear = lettercount:Dear\nbroken = brokenkind:Broken\n"
        "number = lettercount:LETTERS\nlexical = lettercount:Letters\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", ".")])}
    environment |= {"GENETEXT_CACHE": str(tmp_path / "cache")}

    def run(*arguments):
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    return run


def test_a_kind_of_another_distribution_is_listed_built_and_searched(installed, tmp_path):
    source = str(write_ncbi(tmp_path / "ncbi"))
    listed = installed("-m", "genetext", "encoders", "--json")
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert (rows["letters-all"]["kind"], rows["letters-all"]["dim"], rows["letters-all"]["present"]) == (
        "letters", 26, True,
    )  # fmt: skip
    assert rows["lexical"]["model"] == "tfidf-svd", "a kind of genetext's own is not replaced"
    assert "'broken'" in listed.stderr
    assert "cannot be loaded: ModuleNotFoundError" in listed.stderr
    assert "'number'" in listed.stderr
    assert "are no subclass of genetext.encoders.Encoder" in listed.stderr
    for encoder, dim in (("letters-all", 26), ("letters:5", 5), ("letters-all+lexical", None)):
        build = ("build-index", "--encoder", encoder, "--name", "here", "--source", source, "--json")
        built = installed("-m", "genetext", *build)
        assert built.returncode == 0, built.stderr
        facts = json.loads(built.stdout)
        assert dim is None or facts["dim"] == dim
        found = installed("-m", "genetext", "search", "visual cycle", "--index", "human/here", "--json")
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout)
    again = installed("-m", "genetext", *build)
    assert json.loads(again.stdout)["unchanged"] is True
    refused = installed("-m", "genetext", *build[:2], "broken:x", *build[3:])
    assert "cannot be loaded" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_another_distribution_takes_money_for_is_asked_about_too(installed, tmp_path):
    source = str(write_ncbi(tmp_path / "ncbi"))
    build = ("-m", "genetext", "build-index", "--encoder", "dear:26", "--name", "dear", "--source", source)
    ran = installed(*build)
    assert ran.returncode == 1
    assert "$2.00" in ran.stderr
    assert "nothing was sent" in ran.stderr
    assert "allowed are $1.00" in installed(*build, "--yes", "--max-cost", "1").stderr
    assert "has no batch service" in installed(*build, "--yes", "--batch-api").stderr
    assert installed(*build, "--yes", "--max-cost", "2").returncode == 0
