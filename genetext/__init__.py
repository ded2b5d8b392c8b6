"""genetext: what is written about genes, as vectors that single-cell models can use.

Names are loaded when first used, so that `import genetext` costs nothing of torch, faiss or anndata.
"""

from typing import TYPE_CHECKING

from genetext.exports import load_when_used

if TYPE_CHECKING:
    from genetext.build import build_index as build_index
    from genetext.cells import cell_sentences as cell_sentences
    from genetext.cells import embed_cells as embed_cells
    from genetext.errors import GenetextError as GenetextError
    from genetext.explanation import explain as explain
    from genetext.index import GeneIndex as GeneIndex
    from genetext.names import MatchReport as MatchReport
    from genetext.names import Resolver as Resolver
    from genetext.names import resolve as resolve
    from genetext.names.matching import match as match
    from genetext.priors import GenePriors as GenePriors
    from genetext.text.snapshot import Snapshot as Snapshot

__version__ = "0.1.0"

_EXPORTS = {
    "GeneIndex": "genetext.index",
    "GenePriors": "genetext.priors",
    "GenetextError": "genetext.errors",
    "MatchReport": "genetext.names",
    "Resolver": "genetext.names",
    "Snapshot": "genetext.text.snapshot",
    "build_index": "genetext.build",
    "cell_sentences": "genetext.cells",
    "embed_cells": "genetext.cells",
    "explain": "genetext.explanation",
    "match": "genetext.names.matching",
    "resolve": "genetext.names",
}
__all__ = [*_EXPORTS, "__version__"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_when_used(__name__, _EXPORTS)
