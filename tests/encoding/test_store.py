import logging
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import diskcache
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genetext.encoding.store import VectorStore
from genetext.errors import DiskError, StoreError

FINGERPRINT = "f" * 64


def digests(n, start=0):
    return [f"{start + row:064x}" for row in range(n)]


def vectors(n, dim=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)


def write(store, names, rows, fingerprint=FINGERPRINT):
    store.write(fingerprint, names, rows, np.arange(len(names)), np.arange(len(names)) % 3)


@pytest.fixture
def store(tmp_path):
    with VectorStore(tmp_path / "vectors") as store:
        yield store


def database(store, fingerprint=FINGERPRINT):
    return sqlite3.connect(store.directory / fingerprint / "cache.db", isolation_level=None)


def test_it_is_in_the_cache_root_by_default(own_cache):
    assert VectorStore().directory == own_cache / "vectors"
    assert not own_cache.exists(), "looking for a store must not make one"


def test_an_empty_store_has_nothing_and_makes_nothing(store):
    got = store.read(FINGERPRINT, digests(3))
    assert got.vectors.shape == (3, 0)
    assert got.vectors.dtype == np.float32
    assert not got.mask.any()
    assert not store.contains(FINGERPRINT, digests(3)).any()
    assert store.fingerprints() == {}
    assert store.verify() == []
    assert not store.directory.exists()


def test_what_is_written_is_read_back_in_the_order_asked(store):
    names, rows = digests(5), vectors(5)
    write(store, names, rows)
    asked = [names[3], "absent", names[0], names[3]]
    got = store.read(FINGERPRINT, asked)
    np.testing.assert_array_equal(got.vectors, np.stack([rows[3], np.zeros(8), rows[0], rows[3]]))
    np.testing.assert_array_equal(got.n_tokens, [3, 0, 0, 3])
    np.testing.assert_array_equal(got.cut, [0, 0, 0, 0])
    np.testing.assert_array_equal(got.mask, [True, False, True, True])
    assert (got.n_tokens.dtype, got.cut.dtype, got.mask.dtype) == (np.int32, np.int8, np.bool_)
    np.testing.assert_array_equal(store.contains(FINGERPRINT, asked), got.mask)
    np.testing.assert_array_equal(store.read(FINGERPRINT, names).cut, [0, 1, 2, 0, 1])


def test_encoders_do_not_see_each_others_vectors(store):
    write(store, digests(2), vectors(2), "a")
    write(store, digests(2), vectors(2, dim=3, seed=1), "b")
    assert store.read("a", digests(2)).vectors.shape == (2, 8)
    np.testing.assert_array_equal(store.read("b", digests(2)).vectors, vectors(2, dim=3, seed=1))


@settings(max_examples=20, deadline=None)
@given(rows=hnp.arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_every_finite_float_survives_to_the_bit(tmp_path_factory, rows):
    with VectorStore(tmp_path_factory.mktemp("bits")) as store:
        write(store, digests(3), rows)
        assert store.read(FINGERPRINT, digests(3)).vectors.tobytes() == rows.tobytes()


def test_a_later_write_wins(store):
    write(store, digests(2), vectors(2))
    write(store, digests(2), vectors(2, seed=1))
    np.testing.assert_array_equal(store.read(FINGERPRINT, digests(2)).vectors, vectors(2, seed=1))
    assert store.fingerprints()[FINGERPRINT].vectors == 2


def test_another_dimension_is_refused_with_both_values(store):
    write(store, digests(2), vectors(2))
    with pytest.raises(StoreError, match=r"holds vectors of 8 dimensions, these have 5"):
        write(store, digests(2, start=2), vectors(2, dim=5))
    assert not store.contains(FINGERPRINT, digests(2, start=2)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_by_name(store, value):
    rows = vectors(3)
    rows[1, 2] = value
    with pytest.raises(StoreError, match=digests(3)[1]):
        write(store, digests(3), rows)
    assert not store.contains(FINGERPRINT, digests(3)).any()


def test_shapes_that_do_not_fit_are_refused(store):
    with pytest.raises(StoreError, match=r"3 digests need vectors \(3, dim\)"):
        store.write(FINGERPRINT, digests(3), vectors(2), np.zeros(3), np.zeros(3))
    with pytest.raises(StoreError, match="0 dimensions"):
        write(store, digests(2), np.zeros((2, 0)))


@pytest.mark.parametrize("fingerprint", ["", "..", "a/b", "../up", ".hidden"])
def test_a_fingerprint_cannot_leave_the_directory(store, fingerprint):
    with pytest.raises(StoreError, match="not an encoder's fingerprint"):
        store.read(fingerprint, digests(1))


def test_a_write_that_fails_in_the_middle_keeps_nothing_of_it(store, monkeypatch):
    write(store, digests(2), vectors(2))
    original, calls = diskcache.Cache.set, []

    def fail_at_the_third(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(diskcache.Cache, "set", fail_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        write(store, digests(5, start=2), vectors(5))
    monkeypatch.undo()
    assert store.contains(FINGERPRINT, digests(7)).sum() == 2
    write(store, digests(5, start=2), vectors(5))
    assert store.contains(FINGERPRINT, digests(7)).all()


def test_listing_removing_and_pruning(store):
    for number, name in enumerate(["a", "b", "c"]):
        write(store, digests(number + 1), vectors(number + 1), name)
    store.note("a", {"kind": "lexical", "model": "β"})
    listed = store.fingerprints()
    assert {name: holding.vectors for name, holding in listed.items()} == {"a": 1, "b": 2, "c": 3}
    assert listed["a"].note == {"kind": "lexical", "model": "β"}
    assert listed["b"].note is None
    assert {holding.dimension for holding in listed.values()} == {8}
    assert all(holding.size > 0 for holding in listed.values())
    store.remove("b")
    store.remove("never-there")
    assert set(store.fingerprints()) == {"a", "c"}
    assert not store.contains("b", digests(2)).any()
    for name in "ac":
        store.remove(name)
    assert store.fingerprints() == {}
    write(store, digests(1), vectors(1, dim=5), "a")  # the old dimension is forgotten too
    assert store.fingerprints()["a"].dimension == 5


def test_removing_gives_room_back(store):
    write(store, digests(500), vectors(500, dim=64))
    before = store.fingerprints()[FINGERPRINT].size
    store.remove(FINGERPRINT)
    assert (store.directory / FINGERPRINT / "cache.db").stat().st_size < before / 3


def damage(store, digest, change):
    connection = database(store)
    ((blob,),) = connection.execute("SELECT value FROM Cache WHERE key = ?", (f"text/{digest}",)).fetchall()
    connection.execute("UPDATE Cache SET value = ? WHERE key = ?", (change(blob), f"text/{digest}"))
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda blob: blob[:20] + bytes([blob[20] ^ 1]) + blob[21:],
        lambda blob: blob[:8] + bytes([blob[8] ^ 1]) + blob[9:],
        lambda blob: blob[:-1],
        lambda blob: blob[:5],
        lambda blob: b"",
        lambda blob: blob + b"\0",
    ],
    ids=["vector", "tokens", "short", "header only", "empty", "long"],
)
def test_damage_is_found_named_and_mended(store, caplog, change):
    names, rows = digests(3), vectors(3)
    write(store, names, rows)
    damage(store, names[1], change)
    (problem,) = store.verify()
    assert names[1] in problem
    assert FINGERPRINT in problem
    with caplog.at_level(logging.WARNING, "genetext"):
        got = store.read(FINGERPRINT, names)
    assert names[1] in caplog.text
    np.testing.assert_array_equal(got.mask, [True, False, True])
    np.testing.assert_array_equal(got.vectors, rows * [[1], [0], [1]])
    write(store, names[1:2], rows[1:2])
    assert store.verify() == []
    assert store.read(FINGERPRINT, names).mask.all()


def test_a_vector_at_the_wrong_key_is_damage(store):
    names = digests(2)
    write(store, names, vectors(2))
    connection = database(store)
    ((blob,),) = connection.execute("SELECT value FROM Cache WHERE key = ?", (f"text/{names[0]}",)).fetchall()
    connection.execute("UPDATE Cache SET value = ? WHERE key = ?", (blob, f"text/{names[1]}"))
    connection.close()
    assert store.read(FINGERPRINT, names).mask.tolist() == [True, False]


def test_a_database_that_is_damaged_as_a_whole_is_an_error_and_can_be_removed(store):
    write(store, digests(3), vectors(3))
    write(store, digests(3), vectors(3), "other")
    store.close()
    (store.directory / FINGERPRINT / "cache.db").write_bytes(b"not a database, and long enough" * 500)
    with pytest.raises(StoreError, match=FINGERPRINT):
        store.read(FINGERPRINT, digests(3))
    assert any(FINGERPRINT in problem for problem in store.verify())
    assert store.read("other", digests(3)).mask.all()
    store.remove(FINGERPRINT)
    assert store.verify() == []


def test_whichever_byte_of_the_file_is_damaged_no_wrong_vector_is_ever_read(store):
    rows, names = vectors(40, dim=32), digests(40)
    write(store, names, rows)
    store.close()
    file = store.directory / FINGERPRINT / "cache.db"
    good = file.read_bytes()
    journal = file.with_name("cache.db-journal")
    journal.unlink(missing_ok=True)
    rng = np.random.default_rng(5)
    noticed = 0
    for position in rng.integers(0, len(good), 60).tolist():
        file.write_bytes(good[:position] + bytes([good[position] ^ (1 << int(rng.integers(8)))]) + good[position + 1 :])
        try:
            got = store.read(FINGERPRINT, names)
        except (StoreError, DiskError):
            noticed += 1
        else:
            if got.mask.any():
                np.testing.assert_array_equal(got.vectors, rows * got.mask[:, None])
            noticed += not got.mask.all()
            if not got.mask.all():
                assert store.verify() != []
        store.close()
        journal.unlink(missing_ok=True)
    assert noticed > 5, "this test damaged nothing that matters"


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("how", ["value", "key", "file"])
def test_a_pickle_is_refused_and_never_opened(store, tmp_path, how):
    bait = tmp_path / "executed"
    payload = Payload(bait)
    pickle.loads(pickle.dumps(payload))
    assert bait.exists(), "the payload of this test does nothing"
    bait.unlink()
    with diskcache.Cache(
        str(store.directory / FINGERPRINT), disk_min_file_size=0 if how == "file" else 2**20
    ) as foreign:
        if how == "key":
            foreign[(payload, 1)] = b"value"
        else:
            foreign[f"text/{digests(1)[0]}"] = payload
    if how != "key":
        with pytest.raises(StoreError, match="did not write"):
            store.read(FINGERPRINT, digests(1))
    assert any("did not write" in problem for problem in store.verify())
    write(store, digests(1, start=5), vectors(1))
    store.remove(FINGERPRINT)
    assert store.fingerprints() == {}
    assert not bait.exists()


def test_nothing_is_ever_culled_even_in_a_store_that_diskcache_set_up_to_cull(store):
    with diskcache.Cache(str(store.directory / FINGERPRINT), size_limit=1000, cull_limit=10):
        pass
    write(store, digests(300), vectors(300, dim=64))
    assert store.contains(FINGERPRINT, digests(300)).all()


def test_a_full_disk_is_a_disk_error_and_loses_nothing(store):
    write(store, digests(3), vectors(3))
    # SQLite's own limit on pages gives the very result code that a full disk gives.
    cache = store._open[FINGERPRINT]
    cache.reset("sqlite_max_page_count", 40, update=False)
    with pytest.raises(DiskError, match=r"no space is left on the disk"):
        write(store, digests(2000, start=3), vectors(2000, dim=8))
    got = store.read(FINGERPRINT, digests(2003))
    assert got.mask.sum() == 3
    np.testing.assert_array_equal(got.vectors[:3], vectors(3))
    write(store, digests(2000, start=3), vectors(2000))  # there is room again
    assert store.contains(FINGERPRINT, digests(2003)).all()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from genetext.encoding.store import VectorStore
{body}
"""


def run(body, *args, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER.format(body=body), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def test_a_file_that_may_not_grow_is_a_disk_error_and_loses_nothing(store):
    write(store, digests(3), vectors(3))
    store.close()
    process = run(
        """
import resource, signal
from genetext.errors import DiskError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
store = VectorStore(Path(sys.argv[1]))
for start in range(3, 2000, 50):
    try:
        store.write("f" * 64, [f"{start + row:064x}" for row in range(50)], np.ones((50, 8)), [1] * 50, [0] * 50)
    except DiskError as error:
        print(start, error)
        break
""",
        store.directory,
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    start = int(out.split()[0])
    assert "input/output error" in out or "no space" in out
    assert start > 3
    assert store.contains(FINGERPRINT, digests(2000)).sum() == start
    assert store.verify() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_directory_is_a_disk_error(store):
    store.directory.mkdir()
    store.directory.chmod(0o500)
    with pytest.raises(DiskError, match="permission is denied"):
        write(store, digests(1), vectors(1))
    store.directory.chmod(0o700)


def test_a_database_that_cannot_be_written_is_a_disk_error(store):
    write(store, digests(1), vectors(1))
    store._open[FINGERPRINT].reset("sqlite_query_only", 1, update=False)  # what SQLite says of a read-only file
    with pytest.raises(DiskError, match="read-only"):
        write(store, digests(1, start=1), vectors(1))
    assert store.contains(FINGERPRINT, digests(2)).tolist() == [True, False]


def test_a_place_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "vectors").write_text("in the way")
    with pytest.raises((DiskError, StoreError, OSError)):
        write(VectorStore(tmp_path / "vectors"), digests(1), vectors(1))


def test_processes_write_and_read_at_once(store):
    body = """
who, store = int(sys.argv[2]), VectorStore(Path(sys.argv[1]))
for turn in range(12):
    names = [f"{who * 1000 + turn * 10 + row:064x}" for row in range(10)] + ["shared"]
    rows = np.full((11, 16), who * 100 + turn, np.float32)
    rows[-1] = 7
    store.write("f" * 64, names, rows, [1] * 11, [0] * 11)
    got = store.read("f" * 64, names)
    assert got.mask.all() and (got.vectors == rows).all(), (who, turn)
"""
    processes = [run(body, store.directory, who) for who in range(4)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    names = [f"{who * 1000 + row:064x}" for who in range(4) for row in range(120)]
    got = store.read(FINGERPRINT, names)
    expected = np.repeat([who * 100 + turn for who in range(4) for turn in range(12)], 10)
    np.testing.assert_array_equal(got.vectors, np.repeat(expected[:, None], 16, axis=1))
    assert store.fingerprints()[FINGERPRINT].vectors == 481
    assert store.verify() == []


def test_a_kill_keeps_every_write_that_returned_and_no_half_of_one(store):
    process = run(
        """
store = VectorStore(Path(sys.argv[1]))
for turn in range(10_000):
    store.write("f" * 64, [f"{turn * 50 + row:064x}" for row in range(50)], np.full((50, 32), turn), [1] * 50, [0] * 50)
    print(turn, flush=True)
""",
        store.directory,
    )
    for _ in range(5):
        process.stdout.readline()
    time.sleep(0.013)
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    returned = 5 + len(out.split())
    found = store.contains(FINGERPRINT, digests(50 * (returned + 3)))
    assert found[: 50 * returned].all()
    assert found.sum() % 50 == 0
    assert store.verify() == []
    write(store, ["more"], vectors(1, dim=32))


def test_a_store_may_be_used_after_closing(store):
    write(store, digests(1), vectors(1))
    store.close()
    assert store.read(FINGERPRINT, digests(1)).mask.all()


def test_threads_share_a_store(store):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda who: write(store, digests(20, start=20 * who), vectors(20, seed=who)), range(8)))
    for who in range(8):
        got = store.read(FINGERPRINT, digests(20, start=20 * who))
        np.testing.assert_array_equal(got.vectors, vectors(20, seed=who))
