"""Which gene each name of a data set means: the names found, and the resolver's report on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genetext.errors import ResolveError, TooFewMatched
from genetext.names import columns as names

if TYPE_CHECKING:
    from genetext.names import MatchReport
    from genetext.species import Species
    from genetext.text.snapshot import Snapshot


@dataclass(frozen=True)
class Matched:
    """Names of a data set, resolved.

    Attributes
    ----------
    column
        Where the names were found: `var_names`, `var['gene_ids']` ...
    considered
        For each place that was looked at, how many of its names mean a gene.
    report
        What became of each name.
    """

    column: str
    considered: Mapping[str, int]
    report: "MatchReport"

    def to_json(self) -> dict[str, Any]:
        """Return where the names were, and the report, as JSON values."""
        return {"column": self.column, "considered": dict(self.considered), **self.report.to_json()}

    def __str__(self) -> str:
        others = [f"{label} {number:,}" for label, number in self.considered.items() if label != self.column]
        beside = f" (genes by other columns: {', '.join(others)})" if others else ""
        return f"names from {self.column}{beside}\n{self.report}"


def match(
    data: Any,
    species: "str | int | Species | None" = None,
    *,
    column: str | None = None,
    to: "str | int | Species | None" = None,
    made_unique: bool = False,
    r_names: bool = False,
    min_match: float | None = None,
    snapshot: "Snapshot | None" = None,
    root: Path | None = None,
) -> Matched:
    """Say which gene each name of a data set means, and why some mean none. Needs no index and no expression.

    Parameters
    ----------
    data
        An AnnData, its `var` frame, or a list of names.
    species
        Species of the data. Default: guessed from the names, and said.
    column
        Look only there: a column of `var`, or `"var_names"`. Default: where most names mean a gene; `var_names` win a
        tie.
    to, made_unique, r_names, min_match, snapshot, root
        As in `genetext.names.resolve`.

    Raises
    ------
    ResolveError
        There are no names, or their species cannot be told.
    TooFewMatched
        Fewer names mean a gene than `min_match` asks for; the message holds the report, `report` what would have been
        returned.
    """
    from genetext.names import Resolvers

    if min_match is not None and not 0 <= min_match <= 1:
        raise ResolveError(f"min_match is a share of the names, 0 to 1, not {min_match}")
    options: dict[str, Any] = {"to": to, "made_unique": made_unique, "r_names": r_names}
    columns = names.candidates(data, column=column)
    resolvers = Resolvers(species, snapshot=snapshot, root=root)
    reports, refused = [], []
    for found in columns:
        try:
            reports.append((found, resolvers.resolve(found.names, gene_ids=found.gene_ids, **options)))
        except ResolveError as error:
            refused.append(error)
    if not reports:
        raise refused[0]
    best, report = max(reports, key=lambda pair: pair[1].n_matched)
    matched = Matched(best.label, {one.label: found.n_matched for one, found in reports}, report)
    if min_match is not None:
        try:
            report.demand(min_match)
        except TooFewMatched as error:
            error.report = matched
            raise
    return matched
