"""The digest of code: every byte of every module counts."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cellmodels
import genetext
from genetext.provenance import library_versions, source_digest

PACKAGES = [Path(package.__file__).parent for package in (genetext, cellmodels)]
DIGEST = "from genetext.provenance import source_digest; print(source_digest('genetext', 'cellmodels'))"


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    root = tmp_path_factory.mktemp("code")
    for package in PACKAGES:
        shutil.copytree(package, root / package.name, ignore=shutil.ignore_patterns("__pycache__", "*.parquet"))
    return root


def digest_of(root):
    """Return the digest of the packages below `root`, in a process that imports them from there."""
    ran = subprocess.run([sys.executable, "-B", "-c", DIGEST], cwd=root, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_a_byte_more_in_any_module_is_another_digest(copied):
    """The process-wide digest is asked for in processes of its own: it is computed once in each."""
    first = digest_of(copied)
    assert first == digest_of(copied) == source_digest("genetext", "cellmodels")
    for module in ("cellmodels/topic/network.py", "genetext/priors/align.py"):
        path = copied / module
        content = path.read_bytes()
        path.write_bytes(content + b"#")
        assert digest_of(copied) != first
        path.write_bytes(content)
    (copied / "cellmodels" / "new.py").write_bytes(b"")
    assert digest_of(copied) != first


def test_every_module_counts(copied, monkeypatch):
    monkeypatch.setattr("genetext.provenance._place", lambda module: copied / module)
    compute = source_digest.__wrapped__
    modules = sorted(path for package in PACKAGES for path in (copied / package.name).rglob("*.py"))
    assert len(modules) > 100
    digests = {compute("genetext", "cellmodels")}
    for path in modules:
        content = path.read_bytes()
        path.write_bytes(content + b"#")
        digests.add(compute("genetext", "cellmodels"))
        path.write_bytes(content)
    assert len(digests) == len(modules) + 1


def test_a_module_alone_and_one_without_source():
    assert source_digest("genetext.errors") != source_digest("genetext.keys")
    with pytest.raises(ModuleNotFoundError, match="the source of no_such_module cannot be found"):
        source_digest("no_such_module")


def test_versions_of_what_is_installed():
    assert library_versions("numpy", "no-such-distribution").keys() == {"numpy"}
