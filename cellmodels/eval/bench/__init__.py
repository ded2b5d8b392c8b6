"""Whether gene text helps on somebody's own cells: clustering and labelling from a few cells, beside every control."""

from typing import TYPE_CHECKING

from genetext.exports import load_when_used

if TYPE_CHECKING:
    from cellmodels.eval.bench.embeddings import Known as Known
    from cellmodels.eval.bench.protocol import Protocol as Protocol
    from cellmodels.eval.bench.report import CellsBenchmark as CellsBenchmark
    from cellmodels.eval.bench.run import bench_cells as bench_cells

_EXPORTS = {
    "CellsBenchmark": "cellmodels.eval.bench.report",
    "Known": "cellmodels.eval.bench.embeddings",
    "Protocol": "cellmodels.eval.bench.protocol",
    "bench_cells": "cellmodels.eval.bench.run",
}
__all__ = [*_EXPORTS]

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_when_used(__name__, _EXPORTS)
