"""Whether gene text helps on somebody's own cells: clustering and labelling from a few cells, beside every control.

Names are loaded when first used.
"""

import importlib
from typing import Any

_EXPORTS = {
    "CellsBenchmark": "cellmodels.eval.bench.report",
    "Protocol": "cellmodels.eval.bench.protocol",
    "bench_cells": "cellmodels.eval.bench.run",
}
__all__ = ["CellsBenchmark", "Protocol", "bench_cells"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'cellmodels.eval.bench' has no attribute {name!r}")
