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
    from cellmodels.base import load_model as load_model
    from cellmodels.contrastive import ContrastiveModel as ContrastiveModel
    from cellmodels.groups.graphs import knn_graph as knn_graph
    from cellmodels.nn.layers import GenePriorEmbedding as GenePriorEmbedding
    from cellmodels.refinement import RefinementModel as RefinementModel
    from cellmodels.topic import TopicModel as TopicModel
    from cellmodels.train.loop import Trainer as Trainer

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

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_when_used(__name__, _EXPORTS)
