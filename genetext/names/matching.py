"""Which gene each name of a data set means: where its names are, and what became of each."""

from typing import Any, Unpack

from genetext.names.columns import candidates
from genetext.names.options import NameKeywords, NameOptions
from genetext.names.report import MatchReport, best_of
from genetext.names.resolver import Resolvers
from genetext.species import Species


def match(
    data: Any,
    species: str | int | Species | None = None,
    *,
    to: str | int | Species | None = None,
    **options: Unpack[NameKeywords],
) -> MatchReport:
    """Say which gene each name of a data set means, and why some mean none. Needs no index and no expression.

    Parameters
    ----------
    data
        An AnnData, its `var` frame, or a list of names.
    species, to, options
        `column`, `made_unique`, `r_names`, `min_match`, `snapshot` and `root`: as in `NameOptions`.

    Returns
    -------
    MatchReport
        On the column in which most names mean a gene; `column` says which, `considered` what the others have.

    Raises
    ------
    ResolveError
        There are no names, or their species cannot be told.
    TooFewMatched
        Fewer names mean a gene than `min_match` asks for; the message holds the report, `report` is what would have
        been returned.
    """
    chosen = NameOptions(species=species, to=to, **options)
    report = best_of(Resolvers(chosen).resolve_columns(candidates(data, column=chosen.column)))
    return report.demand(chosen.min_match)
