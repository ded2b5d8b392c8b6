"""Gene priors: an index's vectors, aligned to anybody's genes, for any model."""

from genetext.priors.align import AlignmentReport
from genetext.priors.core import GenePriors, TorchPriors

__all__ = ["AlignmentReport", "GenePriors", "TorchPriors"]
