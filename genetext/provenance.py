"""What computed a number: the code and the libraries, for the keys under which results are kept.

A result that is read back stands for one computed anew only where nothing has changed that decides it. A version
number does not tell a changed module from the released one; its bytes do.
"""

import hashlib
import importlib.metadata
import importlib.resources
import sys
from collections.abc import Iterator
from functools import cache
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

_CODE = (".py", ".so", ".pyd")
_TOOLS = ("__pycache__",)


@cache
def source_digest(*modules: str) -> str:
    """Return the sha256 of the source of modules, packages with everything in them, as it is when first asked for.

    Parameters
    ----------
    modules
        Names that can be imported: `genetext`, `cellmodels.topic`.

    Raises
    ------
    ModuleNotFoundError
        There is no such module, or it has no source (a notebook's `__main__`).
    """
    digest = hashlib.sha256()
    for module in sorted(modules):
        for path, file in _files(_place(module), module):
            content = file.read_bytes()
            digest.update(f"{path}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def class_digest(kind: type) -> str | None:
    """Return the sha256 of the source of a class and its bases: of every package that one of them is in, whole.

    Those of the standard library and of torch are left out. None where there is no source, as in a notebook.
    """
    homes = {base.__module__.partition(".")[0] for base in kind.__mro__} - sys.stdlib_module_names - {"torch"}
    try:
        return source_digest(*homes)
    except ModuleNotFoundError:
        return None


def library_versions(*distributions: str) -> dict[str, str]:
    """Return the versions of distributions; those that are not installed are left out."""
    installed = {}
    for name in distributions:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def _place(module: str) -> Traversable:
    """Return the folder of a package, or the file of a module."""
    try:
        spec = find_spec(module)
    except (ValueError, ModuleNotFoundError):  # a module that runs as `__main__` has no spec
        spec = None
    if spec is not None and spec.submodule_search_locations is not None:
        return importlib.resources.files(module)
    file = spec.origin if spec is not None else getattr(sys.modules.get(module), "__file__", None)
    if file is None or not Path(file).is_file():
        raise ModuleNotFoundError(f"the source of {module} cannot be found", name=module)
    return Path(file)


def _files(place: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    """Yield every file of code below a folder, by its path there, in the order of paths."""
    if place.is_file():
        yield path, place
        return
    for child in sorted(place.iterdir(), key=lambda child: child.name):
        below = f"{path}/{child.name}"
        if child.is_dir():
            if child.name not in _TOOLS:
                yield from _files(child, below)
        elif child.name.endswith(_CODE):
            yield below, child
