"""The command `fetch`: what is asked for in a wrong way is one sentence, not a traceback."""

import re
from pathlib import Path

import pytest

from tests.cli.run import genetext
from tests.factory import write_ncbi


@pytest.fixture
def place(tmp_path):
    write_ncbi(tmp_path / "ncbi")
    return tmp_path


def fetch(place, *more, **variables):
    return genetext(place, "fetch", "--source", str(place / "ncbi"), *more, **variables)


def test_a_list_longer_than_a_file_name(place):
    ran = fetch(place, "--genes", ",".join(["OPN4", *(f"NOSUCHGENE{number}" for number in range(60))]))
    assert ran.returncode == 0, ran.stderr
    assert "60 of 61 genes not found" in ran.stderr
    assert "human: 1 genes" in ran.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_of_names(place, encoding):
    (place / "genes.txt").write_text("OPN4\n\nTP53\n", encoding=encoding)
    ran = fetch(place, "--genes", "genes.txt")
    assert ran.returncode == 0, ran.stderr
    assert "human: 2 genes" in ran.stderr
    assert "not found" not in ran.stderr


def test_a_file_that_is_not_text(place):
    (place / "genes.txt").write_bytes("OPN4\nTP53é\n".encode("utf-16"))
    ran = fetch(place, "--genes", "genes.txt")
    assert ran.returncode != 0
    assert "Traceback" not in ran.stderr
    assert "genes.txt is not a text file in UTF-8" in ran.stderr


@pytest.mark.parametrize("genes", ["", " , "])
def test_no_names(place, genes):
    ran = fetch(place, "--genes", genes)
    assert ran.returncode != 0
    assert "names no gene" in ran.stderr


@pytest.mark.parametrize("source", ["http://[::1", "https://host:abc/", "https://host:99999/"])
def test_a_source_that_is_no_url(place, source):
    ran = genetext(place, "fetch", "--source", source)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert "the source" in ran.stderr


def test_the_environment_is_told(place):
    ran = genetext(place, "fetch", "--help")
    assert ran.returncode == 0
    page = (Path(__file__).parents[2] / "docs" / "fetching.md").read_text(encoding="utf-8")
    code = Path(__file__).parents[2] / "genetext"
    read = {
        name
        for path in [code / "disk.py", code / "acquire.py", *code.glob("fetch/*.py"), *code.glob("text/*.py")]
        for name in re.findall(r'environ\.get\("([A-Z_]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert len(read) == 5
    for name in read:
        assert name in ran.stdout
        assert f"| `{name}` |" in page
