"""Cells as mixtures of topics, which are points among the genes and so among their texts."""

from cellmodels.topic.config import TopicConfig
from cellmodels.topic.model import TopicModel

__all__ = ["TopicConfig", "TopicModel"]
