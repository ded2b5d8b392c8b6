"""Any name of a gene to its NCBI GeneID, with a report on every name; never a guess.

Symbols, former symbols, synonyms, Ensembl gene ids and GeneIDs may stand mixed in one list. Nothing is asked over the
network: what a snapshot of the species says is what counts.
"""

import sys
from types import ModuleType
from typing import Any

from genetext.resolve.report import MatchReport
from genetext.resolve.resolver import Resolver, resolve
from genetext.resolve.tables import STATUSES

__all__ = ["STATUSES", "MatchReport", "Resolver", "resolve"]


class _Callable(ModuleType):
    """Lets `genetext.resolve(names)` work: this package and the function share the name, and the package wins it."""

    def __call__(self, *args: Any, **options: Any) -> MatchReport:
        return resolve(*args, **options)


sys.modules[__name__].__class__ = _Callable
