"""Locks between processes."""

import subprocess
import sys
import time

import pytest

from genetext import locks
from genetext.errors import DiskError


def test_two_writers_of_one_output_do_not_meet(tmp_path):
    output = tmp_path / "deep" / "model"
    code = (
        "import sys; from pathlib import Path; from genetext import locks\n"
        "with locks.sole_writer(Path(sys.argv[1])):\n print('held', flush=True); sys.stdin.read()"
    )
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(output)], text=True, **streams) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DiskError, match=r"another process is writing to .*model: wait"), locks.sole_writer(output):
            pass
        other.communicate()
    with locks.sole_writer(output), pytest.raises(DiskError, match="another process"), locks.sole_writer(output):
        pass
    assert list(output.parent.iterdir()) == []


def test_locks_can_be_removed_while_others_take_them(tmp_path):
    code = (
        "import sys; from pathlib import Path; from genetext import locks\n"
        "root = Path(sys.argv[1])\n"
        "for _ in range(60):\n"
        " with locks.cache_in_use(root), locks.lock('work', root=root):\n"
        "  (root / 'held').mkdir(); (root / 'held').rmdir()"
    )
    users = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    removed = 0
    while any(user.poll() is None for user in users):
        try:
            with locks.cache_alone(tmp_path):
                locks.remove_unheld(tmp_path)
                removed += 1
        except DiskError as error:
            assert "in use by another process" in str(error)
    assert [user.returncode for user in users] == [0, 0, 0]
    assert removed
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_waited_for_and_says_so(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from genetext import locks\n"
        "with locks.lock('x/y', root=Path(sys.argv[1])):\n print('held', flush=True); time.sleep(1)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DiskError, match="another process holds"), locks.lock("x/y", root=tmp_path, timeout=0.05):
            pass
        before = time.monotonic()
        with locks.lock("x/y", root=tmp_path) as waited:
            assert waited
            assert time.monotonic() - before > 0.2
    with locks.lock("x/y", root=tmp_path) as waited:
        assert not waited
