"""genetext: what is written about genes, as vectors that single-cell models can use.

Names are loaded when first used, so that `import genetext` costs nothing of torch, faiss or anndata.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "GeneIndex": "genetext.index",
    "GenePriors": "genetext.priors",
    "GenetextError": "genetext.errors",
    "MatchReport": "genetext.names",
    "Resolver": "genetext.names",
    "Snapshot": "genetext.text.snapshot",
    "build_index": "genetext.build",
    "cell_sentences": "genetext.cells",
    "embed_cells": "genetext.cells",
    "explain": "genetext.explanation",
    "match": "genetext.names.matching",
    "resolve": "genetext.names",
}
__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'genetext' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
