"""Models of single cells that use gene priors beside expression.

Names are loaded when first used, so that `import cellmodels` costs nothing of torch.
"""

from typing import TYPE_CHECKING

from genetext.exports import load_when_used

if TYPE_CHECKING:
    from cellmodels.annotation import Annotation as Annotation
    from cellmodels.annotation import CellTypes as CellTypes
    from cellmodels.annotation import annotate as annotate
    from cellmodels.annotation import refine_logits as refine_logits
    from cellmodels.base import CellModel as CellModel
    from cellmodels.contrastive import ContrastiveModel as ContrastiveModel
    from cellmodels.groups.graphs import knn_graph as knn_graph
    from cellmodels.load import load_model as load_model
    from cellmodels.nn.layers import GenePriorEmbedding as GenePriorEmbedding
    from cellmodels.refinement import RefinementModel as RefinementModel
    from cellmodels.registry import FitOption as FitOption
    from cellmodels.registry import ModelEntry as ModelEntry
    from cellmodels.registry import register as register
    from cellmodels.topic import TopicModel as TopicModel
    from cellmodels.train.config import TrainConfig as TrainConfig
    from cellmodels.train.loop import Trainer as Trainer

_EXPORTS = {
    "Annotation": "cellmodels.annotation",
    "CellModel": "cellmodels.base",
    "CellTypes": "cellmodels.annotation",
    "ContrastiveModel": "cellmodels.contrastive",
    "FitOption": "cellmodels.registry",
    "GenePriorEmbedding": "cellmodels.nn.layers",
    "ModelEntry": "cellmodels.registry",
    "RefinementModel": "cellmodels.refinement",
    "TopicModel": "cellmodels.topic",
    "TrainConfig": "cellmodels.train.config",
    "Trainer": "cellmodels.train.loop",
    "annotate": "cellmodels.annotation",
    "knn_graph": "cellmodels.groups.graphs",
    "load_model": "cellmodels.load",
    "refine_logits": "cellmodels.annotation",
    "register": "cellmodels.registry",
}
__all__ = [*_EXPORTS]

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_when_used(__name__, _EXPORTS)
