import os
import subprocess
import sys
from pathlib import Path

import pytest

from genetext import disk, locks
from genetext.errors import DamagedFile, DiskError


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


def dead_signature():
    """What a writer that was killed has in the names of its temporaries."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host, _, began, unique = disk._signature().split("-")
    return f"{host}-{ended.pid}-{began}-{unique}"


def test_a_directory_set_aside_by_a_killed_writer_is_put_back(tmp_path):
    aside = tmp_path / f"index.old-{dead_signature()}"
    aside.mkdir()
    (aside / "a").write_bytes(b"one")
    disk.remove_leftovers(tmp_path / "index")
    assert (tmp_path / "index" / "a").read_bytes() == b"one"
    aside.mkdir()
    disk.remove_leftovers(tmp_path / "index")
    assert not aside.exists()


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    path = tmp_path / "index"
    leftover = tmp_path / f"index.tmp-{dead_signature()}"
    leftover.mkdir()
    (leftover / "a").write_bytes(b"half")
    other = tmp_path / "index2"
    other.mkdir()
    with disk.atomic_directory(path):
        pass
    assert not leftover.exists()
    assert other.exists()


def test_the_next_writer_removes_a_killed_ones_file_and_no_file_of_a_living_one(tmp_path):
    path = tmp_path / "cells[1].h5ad"
    code = (
        "import os, signal, sys; from pathlib import Path; from genetext import disk\n"
        "with disk.atomic_file(Path(sys.argv[1])) as handle:\n"
        " handle.write(bytes(1000)); handle.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    (leftover,) = tmp_path.iterdir()
    assert disk.is_abandoned(leftover)
    elsewhere, old = (tmp_path / f"{path.name}.tmp-{name}-1-a" for name in ("otherhost", "oldhost"))
    elsewhere.write_bytes(b"")
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    with disk.atomic_file(path) as handle:
        handle.write(b"first")
        handle.flush()
        with disk.atomic_file(path) as other:
            other.write(b"second")
        assert Path(handle.name).exists()
    assert path.read_bytes() == b"first"
    assert sorted(tmp_path.iterdir()) == sorted([path, elsewhere])


def test_a_number_that_another_process_has_by_now_is_not_the_writer_s(tmp_path):
    host, _, began, unique = disk._signature().split("-")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        earlier = tmp_path / f"a.tmp-{host}-{other.pid}-{int(began) - 1}-{unique}"
        same = tmp_path / f"a.tmp-{host}-{other.pid}-{disk._began(other.pid)}-{unique}"
        assert (disk.is_abandoned(earlier), disk.is_abandoned(same)) == (True, False)
        other.communicate(b"\n")
    assert disk.is_abandoned(same)


def test_a_writer_in_a_container_with_the_name_of_this_host_is_left_alone(tmp_path):
    """Its process id means another process here, or none."""
    path = tmp_path / "out.h5ad"
    code = (
        "import sys; from pathlib import Path; from genetext import disk\n"
        "with disk.atomic_file(Path(sys.argv[1])) as handle:\n print('writing', flush=True); sys.stdin.read()"
    )
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", code, str(path)]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **streams) as other:
        if other.stdout.readline() != "writing\n":
            pytest.skip("no right to make a namespace of processes here")
        with disk.atomic_file(path) as handle:
            handle.write(b"of this one")
        assert len(list(tmp_path.iterdir())) == 2, "the other is at work"
        other.communicate()
    assert other.returncode == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.h5ad"]


def test_a_temporary_that_is_gone_and_a_folder_that_cannot_be_made_are_one_sentence(tmp_path):
    with pytest.raises(DiskError, match=r"cannot write .*a: .*\.tmp-.* another process removed it"):
        with disk.atomic_file(tmp_path / "a") as handle:
            Path(handle.name).unlink()
    with pytest.raises(DiskError, match="cannot write /proc/none/a"), disk.atomic_file(Path("/proc/none/a")):
        pass
    with pytest.raises(DiskError, match="locks cannot be made"), locks.lock("x", root=Path("/proc/none")):
        pass


def test_damaged_json_is_named(tmp_path):
    path = tmp_path / "note.json"
    with pytest.raises(FileNotFoundError):
        disk.read_json(path)
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(DamagedFile, match=r"note.json is damaged and cannot be read \("):
            disk.read_json(path)


def test_a_home_directory_that_nobody_knows_is_one_sentence(monkeypatch):
    monkeypatch.setenv("GENETEXT_CACHE", "~nosuchuser/cache")
    with pytest.raises(DiskError, match=r"~nosuchuser/cache: the home directory of that user is not known"):
        disk.cache_dir()


def test_an_error_about_a_file_that_is_read_meanwhile_is_not_one_of_the_output(tmp_path):
    with pytest.raises(PermissionError), disk.atomic_file(tmp_path / "out") as handle:
        handle.write(b"x")
        raise PermissionError(13, "Permission denied", str(tmp_path / "in"))
    assert list(tmp_path.iterdir()) == []


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
    with pytest.raises(DiskError, match="no space is left"), disk.writing(Path("/dev/full")):
        with Path("/dev/full").open("wb", buffering=0) as handle:
            handle.write(b"x")


def test_other_operating_system_errors_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), disk.writing(tmp_path):
        (tmp_path / "absent").read_bytes()


def test_canonical_json_has_one_digest(tmp_path):
    assert disk.sha256_json({"b": 1, "a": [1, "é"]}) == disk.sha256_json({"a": [1, "é"], "b": 1})
    disk.write_json(tmp_path / "a", {"b": 1, "a": "é"})
    assert (tmp_path / "a").read_text(encoding="utf-8") == '{\n "a": "é",\n "b": 1\n}\n'


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("GENETEXT_CACHE", str(tmp_path / "there"))
    assert disk.cache_dir() == tmp_path / "there"
    monkeypatch.delenv("GENETEXT_CACHE")
    assert disk.cache_dir().name == "genetext"
