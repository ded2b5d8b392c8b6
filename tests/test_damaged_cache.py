"""One damaged file in the cache: what is whole is listed, matched, verified and built on, without a traceback."""

import shutil

import numpy as np
import pytest

from tests.cli.run import genetext
from tests.factory import write_ncbi
from tests.models import write_bert
from tests.servers.ncbi import NcbiServer

DAMAGES = {
    "nothing": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "garbage": lambda content: np.random.default_rng(0).bytes(max(len(content), 100)),
    "a list": lambda content: b"[1, 2]",
    "wrong types": lambda content: b'{"format": 1, "format_version": [], "files": 3, "sha256": {}, "scores": 1}',
    "nested": lambda content: b"[" * 200_000,
}
COMMANDS = {
    "list": ["list"],
    "cache list": ["cache", "list"],
    "verify": ["verify"],
    "prune": ["cache", "prune", "--dry-run"],
    "match": ["match", "names.txt", "--species", "human"],
    "info": ["info", "human/other"],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A cache that builds have filled, from a server, with a model's vectors, a journal and a second index."""
    place = tmp_path_factory.mktemp("world")
    write_bert(place / "model")
    (place / "names.txt").write_text("TP53\nOPN4\nRHO\n")
    with NcbiServer(write_ncbi(place / "ncbi")) as server:
        for how in (["-e", "lexical"], ["-e", "lexical", "--name", "other"], ["-e", "model", "--name", "tiny"]):
            ran = genetext(place, "build-index", *how, "--source", server.url)
            assert ran.returncode == 0, ran.stderr
        yield place, server.url


def side_files(cache):
    """One file of each kind, by its path below the cache."""
    kinds = {}
    for path in sorted(cache.rglob("*")):
        if path.is_file() and path.suffix != ".lock":
            kinds.setdefault((path.relative_to(cache).parts[0], path.name), path.relative_to(cache))
    return list(kinds.values())


def test_one_damaged_file_stops_nothing_else(world, tmp_path):
    place, _ = world
    files = side_files(place / "cache")
    assert {path.parts[0] for path in files} >= {"downloads", "snapshots", "vectors", "indices"}
    names = list(DAMAGES)
    shutil.copytree(place / "cache", tmp_path / "cache")
    for name in ("names.txt", "ncbi", "model"):
        source = place / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    for number, file in enumerate(files):
        whole = (place / "cache" / file).read_bytes()
        damage = names[number % len(names)]
        content = DAMAGES[damage](whole)
        for name, command in COMMANDS.items():
            (tmp_path / "cache" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "cache" / file).write_bytes(content)
            ran = genetext(tmp_path, *command)
            case = f"{file}, {damage}, {name}: {ran.stderr}"
            assert "Traceback" not in ran.stderr, case
            one_of_three = name == "info" and file.parts[:3] == ("indices", "human", "other")
            whole_again = content == whole
            expected = {0, 1} if name == "verify" or one_of_three or whole_again else {0}
            assert ran.returncode in expected, case
        (tmp_path / "cache" / file).write_bytes(whole)


def test_a_build_goes_on_past_a_damaged_file(world, tmp_path):
    place, url = world
    rng = np.random.default_rng(1)
    names = list(DAMAGES)
    for number, file in enumerate(side_files(place / "cache")):
        if rng.random() < 0.5 and file.parts[0] not in ("downloads", "journals"):
            continue
        root = tmp_path / str(number)
        shutil.copytree(place / "cache", root / "cache")
        shutil.copytree(place / "model", root / "model")
        path = root / "cache" / file
        path.write_bytes(DAMAGES[names[number % len(names)]](path.read_bytes()))
        encoder = "model" if file.parts[0] == "vectors" else "lexical"
        name = "tiny" if encoder == "model" else "lexical"
        ran = genetext(root, "build-index", "-e", encoder, "--name", name, "--source", url)
        assert "Traceback" not in ran.stderr, f"{file}: {ran.stderr}"
        if file.parts[0] != "vectors":
            assert ran.returncode == 0, f"{file}: {ran.stderr}"
        shutil.rmtree(root)
