"""Write the reference of the public names of Python from the packages' own lists of them."""

import ast
import inspect
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = {
    "genetext": ("genetext", "What `import genetext` has.", ["genetext"]),
    "cellmodels": (
        "cellmodels",
        "What `import cellmodels` has. It needs torch, which is loaded when a name is first used.",
        ["cellmodels"],
    ),
    "text": (
        "genetext.text",
        "From a source to one text per gene. [Fetching text](../fetching.md) is the guide.",
        [
            *("genetext.acquire", "genetext.layers", "genetext.sources"),
            *("genetext.text.snapshot", "genetext.text.layer", "genetext.text.template", "genetext.text.compose"),
        ],
    ),
    "encoders": (
        "genetext.encoders",
        "Encoders by name. [The guide](../encoders.md) says which there are, and where each pooling comes from.",
        ["genetext.encoders"],
    ),
    "resolution": (
        "genetext.names",
        "From names to genes. [The guide](../resolve.md) has the rules.",
        ["genetext.names"],
    ),
    "priors": (
        "genetext.priors",
        "What `GenePriors` comes with. [The guide](../priors.md) says what to do with it.",
        ["genetext.priors"],
    ),
    "cells": ("genetext.cells", "Cell vectors. [The guide](../cells.md) has the weightings.", ["genetext.cells"]),
    "bench": (
        "genetext.bench",
        "Benchmarks of gene vectors. [The guide](../bench-genes.md) has the protocol.",
        ["genetext.bench"],
    ),
    "files": (
        "Files and keys",
        "What reads, writes and checks files. [File formats](../formats.md) says what is in them.",
        [
            "genetext.keys",
            "genetext.gene_sets",
            "genetext.manifest",
            "genetext.export",
            "genetext.verify",
            "genetext.disk",
        ],
    ),
    "errors": (
        "Errors",
        "Every error that is raised on purpose. The command line prints the message alone; `--debug` adds the "
        "traceback. `genetext.errors` has the tree in one drawing.",
        ["genetext.errors"],
    ),
}
"""Page below `reference/` -> title, a sentence, and the modules whose public names it has."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to the site."""
    shown: set[str] = set()
    for page, (title, sentence, modules) in PAGES.items():
        paths = [path for module in modules for path in public(module) if path not in shown]
        shown.update(paths)
        blocks = [_block(path, modules[0]) for path in paths]
        content = "\n".join([f"# {title}\n", f"{sentence}\n", *blocks])
        files.append(File.generated(config, f"reference/{page}.md", content=content))
    return files


def _block(path: str, package: str) -> str:
    """Return what mkdocstrings replaces: a name under the path that it is imported by."""
    name = path.rpartition(".")[2]
    shown = f"{package}.{name}" if hasattr(import_module(package), "__path__") else path
    return f"::: {path}\n    options:\n      heading: {shown}\n      toc_label: {name}\n"


def public(name: str) -> list[str]:
    """Return the dotted path of each public name of a module, where it is defined.

    These are the names in `__all__`, sorted; without one, the module's own classes and functions, in their order.
    """
    module = import_module(name)
    listed: list[str] | None = getattr(module, "__all__", None)
    if listed is None:
        defined = (value for value in vars(module).values() if getattr(value, "__module__", None) == name)
        return [f"{name}.{value.__name__}" for value in defined if not value.__name__.startswith("_")]
    paths = []
    for public_name in sorted(listed, key=str.lower):
        home = getattr(module, "_EXPORTS", {}).get(public_name)
        if public_name.startswith("__") or (home is not None and find_spec(home) is None):
            continue  # a module that this checkout lacks is told of by the tests of the package
        value = getattr(module, public_name)
        # A class or function knows its module; a constant does not.
        where = value.__module__ if hasattr(value, "__qualname__") else _home(module, public_name)
        paths.append(f"{where}.{public_name}")
    return paths


def _home(module: ModuleType, name: str) -> str:
    """Return the module that assigns a name, along the imports by which others have it."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom) and node.module and name in {alias.name for alias in node.names}:
            return _home(import_module(node.module), name)
    return module.__name__
