"""Gene priors: an index's vectors, aligned to anybody's genes, for any model."""

from genetext.priors.core import GenePriors, TorchPriors

__all__ = ["GenePriors", "TorchPriors"]
