"""Public names of a package that are loaded when first used, so that importing the package costs nothing.

A package lists its names twice: under `if TYPE_CHECKING:` as plain imports, which type checkers and editors read, and
in a mapping, which Python reads. `tests/test_public_types.py` holds the two together.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def load_when_used(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package.

    Assign them under `if not TYPE_CHECKING:`, else a type checker takes every name, misspelt ones too, for `Any`.

    Parameters
    ----------
    package
        Its `__name__`.
    homes
        Public name -> the module that has it.
    """

    def getattribute(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(homes[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted(importlib.import_module(package).__all__)

    return getattribute, names
