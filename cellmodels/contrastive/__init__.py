"""Cells by what is written about their genes, by their expression, or both, learned by contrast."""

from cellmodels.contrastive.config import ContrastiveConfig
from cellmodels.contrastive.model import ContrastiveModel

__all__ = ["ContrastiveConfig", "ContrastiveModel"]
