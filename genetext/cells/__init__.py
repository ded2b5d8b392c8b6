"""Expression times gene vectors: one vector per cell, from memory, from disk or through Dask, never made dense."""

from genetext.cells.api import embed_cells, measure_background
from genetext.cells.files import embed_file
from genetext.cells.job import Options
from genetext.cells.sentences import cell_sentences
from genetext.cells.weighting import WEIGHTINGS, Background

__all__ = ["WEIGHTINGS", "Background", "Options", "cell_sentences", "embed_cells", "embed_file", "measure_background"]
