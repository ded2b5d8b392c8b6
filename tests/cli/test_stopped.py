"""What ends a command from outside: SIGTERM, a full output, no memory, input nested too deeply."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.run import run_alone
from tests.factory import write_ncbi


def command(root: Path, *arguments: str) -> list[str]:
    code = f"import os; os.environ['GENETEXT_CACHE'] = {str(root)!r}; from genetext.cli import main; main()"
    return [sys.executable, "-c", code, *arguments]


def test_sigterm_is_handled_as_ctrl_c_is(tmp_path):
    write_ncbi(tmp_path / "ncbi", n_extra=2000)
    build = command(tmp_path / "cache", "build-index", "--encoder", "lexical", "--source", str(tmp_path / "ncbi"))
    with subprocess.Popen(build, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("cache/locks/user-*")) and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        run.send_signal(signal.SIGTERM)
        _, said = run.communicate()
    assert run.returncode == 143, said
    assert said.splitlines()[-1].endswith("run the same command again to go on from there.")
    assert "Traceback" not in said
    assert [path for path in (tmp_path / "cache").rglob("*") if ".tmp-" in path.name] == []
    assert list(tmp_path.glob("cache/locks/user-*")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this platform has no /dev/full")
def test_a_full_output_is_one_sentence(tmp_path):
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(command(tmp_path, "encoders"), stdout=full, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "No space left on device" in ran.stderr


@pytest.mark.parametrize(("error", "message"), [(MemoryError, "memory"), (RecursionError, "nested too deeply")])
def test_what_nothing_else_catches_is_one_sentence(error, message):
    def register(app):
        @app.command()
        def fails():
            raise error

    status, out, err = run_alone(register)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert message in err


def test_a_home_directory_that_nobody_knows_is_one_sentence(tmp_path):
    for arguments in (["info", "~nosuchuser/index"], ["verify", "~nosuchuser/index"]):
        ran = subprocess.run(command(tmp_path, *arguments), capture_output=True, text=True)
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1), ran.stderr
        assert "~nosuchuser/index: the home directory of that user is not known here" in ran.stderr
    ran = subprocess.run(
        [sys.executable, "-m", "genetext", "cache", "path"],
        env={**os.environ, "GENETEXT_CACHE": "~nosuchuser"},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, "home directory" in ran.stderr) == (1, True)
