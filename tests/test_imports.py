"""Importing the package and asking for help must not cost a deep-learning stack."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "sentence_transformers", "faiss", "anndata", "sklearn")


def loaded_after(code):
    tail = f"\nimport sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return ran.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import genetext",
        "import cellmodels",
        "import genetext.cli",
        "import genetext.build, genetext.index, genetext.encoding.store, genetext.acquire, genetext.encoders",
    ],
)
def test_importing_loads_nothing_heavy(code):
    assert loaded_after(code) == "[]"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["build-index", "--help"], ["annotate", "--help"], ["bench", "genes", "--help"], ["--version"]],
)
def test_help_loads_nothing_heavy(arguments):
    code = (
        f"import sys; sys.argv = ['genetext', *{arguments!r}]\n"
        "from genetext.cli import main\ntry:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code"
    )
    assert loaded_after(code) == "[]"
