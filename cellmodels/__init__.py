"""Models of single cells that use gene priors beside expression.

Names are loaded when first used, so that `import cellmodels` costs nothing of torch.
"""

import importlib
from typing import Any

_EXPORTS = {
    "Annotation": "cellmodels.annotation",
    "CellModel": "cellmodels.base",
    "CellTypes": "cellmodels.annotation",
    "ContrastiveModel": "cellmodels.contrastive",
    "GenePriorEmbedding": "cellmodels.nn.layers",
    "RefinementModel": "cellmodels.refinement",
    "TopicModel": "cellmodels.topic",
    "Trainer": "cellmodels.train.loop",
    "annotate": "cellmodels.annotation",
    "knn_graph": "cellmodels.groups.graphs",
    "load_model": "cellmodels.base",
    "refine_logits": "cellmodels.annotation",
}
__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'cellmodels' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
