"""Cell types from their names or definitions alone: evidence of genes, smoothed along a graph of cells."""

from cellmodels.annotation.annotation import Annotation, annotate
from cellmodels.annotation.cell_types import CellTypes
from cellmodels.annotation.smoothing import refine_logits

__all__ = ["Annotation", "CellTypes", "annotate", "refine_logits"]
