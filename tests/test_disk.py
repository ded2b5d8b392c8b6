import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genetext import disk
from genetext.errors import DiskError


def test_a_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "deep" / "file"
    with pytest.raises(RuntimeError), disk.atomic_file(path) as handle:
        handle.write(b"half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with disk.atomic_file(path) as handle:
        handle.write(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_directory_is_replaced_in_one_step_and_kept_on_failure(tmp_path):
    path = tmp_path / "index"
    for content in (b"one", b"two"):
        with disk.atomic_directory(path) as temporary:
            (temporary / "a").write_bytes(content)
            assert not path.exists() or (path / "a").read_bytes() == b"one"
    with pytest.raises(RuntimeError), disk.atomic_directory(path) as temporary:
        (temporary / "a").write_bytes(b"three")
        raise RuntimeError
    assert (path / "a").read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_the_exchange_works_without_the_system_call(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.ctypes, "CDLL", lambda *_, **__: object())
    path = tmp_path / "index"
    for content in (b"one", b"two"):
        with disk.atomic_directory(path) as temporary:
            (temporary / "a").write_bytes(content)
    assert (path / "a").read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_read_by_whoever_may_read_the_directory(tmp_path):
    with disk.atomic_directory(tmp_path / "new") as new:
        (new / "mine").write_text("x")
        (new / "mine").chmod(0o600)
    mode = (tmp_path / "new").stat().st_mode
    assert (tmp_path / "new" / "mine").stat().st_mode & 0o666 == mode & 0o666


def test_a_failed_exchange_leaves_the_old_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.ctypes, "CDLL", lambda *_, **__: object())
    path = tmp_path / "index"
    with disk.atomic_directory(path) as temporary:
        (temporary / "a").write_bytes(b"one")
    rename = Path.rename

    def fail(self, target):
        if ".tmp-" in self.name:
            raise OSError(5, "broken")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(DiskError), disk.atomic_directory(path) as temporary:
        (temporary / "a").write_bytes(b"two")
    assert (path / "a").read_bytes() == b"one"


def test_a_directory_set_aside_by_a_killed_writer_is_put_back(tmp_path):
    aside = tmp_path / "index.old-abc"
    aside.mkdir()
    (aside / "a").write_bytes(b"one")
    disk.remove_leftovers(tmp_path / "index")
    assert (tmp_path / "index" / "a").read_bytes() == b"one"
    aside.mkdir()
    disk.remove_leftovers(tmp_path / "index")
    assert not aside.exists()


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    path = tmp_path / "index"
    leftover = tmp_path / "index.tmp-abc"
    leftover.mkdir()
    (leftover / "a").write_bytes(b"half")
    other = tmp_path / "index2"
    other.mkdir()
    with disk.atomic_directory(path):
        pass
    assert not leftover.exists()
    assert other.exists()


def test_an_open_reader_keeps_what_it_opened(tmp_path):
    path = tmp_path / "index"
    with disk.atomic_directory(path) as temporary:
        (temporary / "a").write_bytes(b"one")
    with (path / "a").open("rb") as reader:
        with disk.atomic_directory(path) as temporary:
            (temporary / "a").write_bytes(b"two")
        assert reader.read() == b"one"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DiskError, match=r"cannot write .*permission is denied"):
        disk.write_json(tmp_path / "a.json", {})


def test_a_full_disk_is_one_sentence():
    if not Path("/dev/full").exists():
        pytest.skip("this platform has no /dev/full")
    with pytest.raises(DiskError, match="no space is left"), disk.saying_where(Path("/dev/full")):
        with Path("/dev/full").open("wb", buffering=0) as handle:
            handle.write(b"x")


def test_other_operating_system_errors_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), disk.saying_where(tmp_path):
        (tmp_path / "absent").read_bytes()


def test_a_lock_is_waited_for_and_says_so(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from genetext import disk\n"
        "with disk.lock('x/y', root=Path(sys.argv[1])):\n print('held', flush=True); time.sleep(1)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DiskError, match="another process holds"), disk.lock("x/y", root=tmp_path, timeout=0.05):
            pass
        before = time.monotonic()
        with disk.lock("x/y", root=tmp_path) as waited:
            assert waited
            assert time.monotonic() - before > 0.2
    with disk.lock("x/y", root=tmp_path) as waited:
        assert not waited


def test_canonical_json_has_one_digest(tmp_path):
    assert disk.sha256_json({"b": 1, "a": [1, "é"]}) == disk.sha256_json({"a": [1, "é"], "b": 1})
    disk.write_json(tmp_path / "a", {"b": 1, "a": "é"})
    assert (tmp_path / "a").read_text(encoding="utf-8") == '{\n "a": "é",\n "b": 1\n}\n'


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("GENETEXT_CACHE", str(tmp_path / "there"))
    assert disk.cache_dir() == tmp_path / "there"
    monkeypatch.delenv("GENETEXT_CACHE")
    assert disk.cache_dir().name == "genetext"
