"""Two views of cells, by themselves and along a graph, aligned and refined by a graph of genes."""

from cellmodels.refinement.config import RefinementConfig
from cellmodels.refinement.model import RefinementModel

__all__ = ["RefinementConfig", "RefinementModel"]
