"""A world for benchmarks: a cache with a snapshot, an index of its texts, and files of terms on its genes."""

import shutil

import pytest

from genetext.build import build
from tests.factory import _THEMES, EXTRA_FIRST_ID, write_ncbi, write_snapshot

N_EXTRA = 160


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Return a cache with `human/lexical` over invented genes, each of which answers to one of twelve themes."""
    root = tmp_path_factory.mktemp("bench")
    source = write_ncbi(root / "ncbi", n_extra=N_EXTRA)
    snapshot = write_snapshot(root / "snapshots" / "human" / "ncbi-test", source=source)
    build("human", encoder="lexical", snapshot=snapshot, root=root)
    shutil.rmtree(root / "locks", ignore_errors=True)
    return root


@pytest.fixture
def cache(world, own_cache):
    """Give the test a copy of that cache of its own."""
    shutil.copytree(world, own_cache)
    return own_cache


@pytest.fixture
def themes(tmp_path):
    """Write the terms to a file."""
    return write_themes(tmp_path / "themes.gmt")


def write_themes(path):
    """Write a GMT of the genes that answer to each of six themes, which their texts name."""
    lines = []
    for number, theme in enumerate(_THEMES[:6]):
        genes = [f"EXTRA{i}" for i in range(N_EXTRA) if (EXTRA_FIRST_ID + i) % len(_THEMES) == number]
        lines.append("\t".join([theme.upper(), "x", *genes]))
    path.write_text("\n".join(lines) + "\n")
    return path
