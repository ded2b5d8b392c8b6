"""What a type checker is told of the public names: their real types, and that a misspelt name is an error."""

import importlib
import re

import pytest
from mypy import api

PACKAGES = ("genetext", "cellmodels", "cellmodels.eval.bench")


@pytest.fixture(scope="module")
def revealed(tmp_path_factory):
    """What mypy reveals of every public name of the lazy packages, and its errors."""
    folder = tmp_path_factory.mktemp("types")
    snippet = folder / "snippet.py"
    names = [f"{package}.{name}" for package in PACKAGES for name in importlib.import_module(package).__all__]
    lines = [f"import {package}" for package in PACKAGES]
    lines += [f"reveal_type({name})" for name in names]
    lines += [f"{package}.no_such_name" for package in PACKAGES]
    snippet.write_text("\n".join(lines) + "\n")
    # Ours is followed and not reported on, which `make lint` does; torch and pandas would take a minute to read.
    config = folder / "mypy.ini"
    ours = ",".join(f"{package}.*" for package in ("genetext", "cellmodels"))
    config.write_text(f"[mypy]\nfollow_imports = skip\n[mypy-{ours}]\nfollow_imports = silent\n")
    options = [f"--config-file={config}", f"--cache-dir={folder}", "--no-error-summary"]
    output, error, _ = api.run([str(snippet), *options])
    assert not error
    types = dict(zip(names, re.findall(r'Revealed type is "(.*)"', output), strict=True))
    return types, [line for line in output.splitlines() if ": error:" in line]


def test_every_public_name_has_its_type(revealed):
    types, _ = revealed
    unknown = {name: shown for name, shown in types.items() if shown in ("Any", "builtins.object", "ModuleType")}
    assert unknown == {}
    assert "genetext.index.GeneIndex" in types["genetext.GeneIndex"]
    assert "genetext.index.GeneIndex" in types["genetext.build_index"]


def test_a_misspelt_name_is_an_error(revealed):
    _, errors = revealed
    assert len(errors) == len(PACKAGES)
    assert all('has no attribute "no_such_name"' in line for line in errors)


@pytest.mark.parametrize("package", PACKAGES)
def test_lazy_names_are_those_of_the_type_checker(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert dir(module) == sorted(module.__all__)
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = module.no_such_name
