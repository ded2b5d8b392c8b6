"""Fixtures that every test may use."""

import logging
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: a file stays with one worker, and one that is begun last lets the other wait."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture
def real_data() -> Path:
    """Return the folder of real data, or skip."""
    path = Path(os.environ.get("GENETEXT_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data at {path}; set GENETEXT_REAL_DATA to a folder that has them")
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache of its own, and no keys or offline switches of the person who runs it."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("GENETEXT_CACHE", str(cache))
    for name in ("NCBI_API_KEY", "NCBI_EMAIL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return cache


@pytest.fixture(scope="session")
def facts_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache with `human/lexical` of the bundled facts, made once for all processes that run tests."""
    from genetext import build_index

    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "facts-cache"
    build_index("human", encoder="lexical", source="facts", root=cache)  # who comes second waits, and finds it done
    return cache


@pytest.fixture(autouse=True)
def plain_log() -> None:
    """Give every test the logger as it is after import: commands and libraries run in this process set levels."""
    log = logging.getLogger("genetext")
    log.disabled, log.propagate = False, True
    log.setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)
