"""Any name of a gene to its NCBI GeneID, with a report on every name; never a guess.

Symbols, former symbols, synonyms, Ensembl gene ids and GeneIDs may stand mixed in one list. Nothing is asked over the
network: what a snapshot of the species says is what counts.
"""

from genetext.names.matching import match
from genetext.names.options import NameOptions
from genetext.names.report import MatchReport
from genetext.names.resolver import Resolver, Resolvers, resolve
from genetext.names.tables import STATUSES

__all__ = ["STATUSES", "MatchReport", "NameOptions", "Resolver", "Resolvers", "match", "resolve"]
