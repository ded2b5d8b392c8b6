"""Expression times gene vectors: one vector per cell, from memory, from disk or through Dask, never made dense."""

from genetext.cells.embed import embed_cells, measure_background
from genetext.cells.weighting import WEIGHTINGS, Background

__all__ = ["WEIGHTINGS", "Background", "embed_cells", "measure_background"]
