"""What decides which gene a name means: one frozen set of options for every verb that takes names."""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

from genetext.errors import ResolveError
from genetext.names import snapshots
from genetext.species import Species
from genetext.text.snapshot import Snapshot


class ReadKeywords(TypedDict, total=False):
    """Options that every verb takes as keywords; `NameOptions` says what they mean."""

    made_unique: bool
    r_names: bool
    min_match: float | None


class NameKeywords(ReadKeywords, total=False):
    """Options that verbs on a whole data set take as keywords; `NameOptions` says what they mean."""

    column: str | None
    snapshot: Snapshot | None
    root: Path | None


@dataclass(frozen=True, kw_only=True)
class NameOptions:
    """How names of genes are read.

    Attributes
    ----------
    species
        Whose genes they are: a common name, a Latin name or a taxonomy id. Default: guessed from the names, and said.
    column
        Look for names only here: a column of `var`, or `"var_names"`. Default: where most names mean a gene;
        `var_names` win a tie.
    to
        Give the genes of this species instead, through one-to-one orthologs: human, or any species with a snapshot of
        its own when the names are human.
    made_unique
        Whether `GENE-1` and `GENE.1`, where they are no names of their own, count as `GENE`: set it where a tool made
        names unique. Default: they are unknown, and the report says what they look like.
    r_names
        Whether names may have gone through R's `make.names`, so that `HLA.A` counts as `HLA-A`. Default: as above.
    min_match
        Raise `TooFewMatched` if a smaller share of the names has a gene, 0 to 1.
    snapshot
        Resolve by this snapshot. Default: the newest one of the species in the cache, else the facts that ship with
        genetext.
    target
        The snapshot of `to`; names of that species are resolved by it too. Default: as for `snapshot`.
    root
        The cache root. Default: `disk.cache_dir()`.

    Raises
    ------
    ResolveError
        `min_match` is no share, or `snapshot` is of another species than `species`.
    SpeciesError
        `species` or `to` is not known.
    """

    species: str | int | Species | None = None
    column: str | None = None
    to: str | int | Species | None = None
    made_unique: bool = False
    r_names: bool = False
    min_match: float | None = None
    snapshot: Snapshot | None = None
    target: Snapshot | None = None
    root: Path | None = None

    def __post_init__(self) -> None:
        if self.min_match is not None and not 0 <= self.min_match <= 1:
            raise ResolveError(f"min_match is a share of the names, 0 to 1, not {self.min_match}")
        if self.snapshot is None or self.species is None:
            return
        if snapshots.find_species(self.species, root=self.root).tax_id != self.snapshot.species.tax_id:
            raise ResolveError(
                f"the snapshot {self.snapshot.path} is of {self.snapshot.species.name}, and species={self.species!r} "
                f"was asked for"
            )

    def keywords(self) -> dict[str, Any]:
        """Return what is not the default, as keywords for verbs such as `match` and `GenePriors.align`."""
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name)) != item.default}

    @cached_property
    def source_species(self) -> Species | None:
        """The species of the names; None where it is to be guessed."""
        if self.snapshot is not None:
            return self.snapshot.species
        return None if self.species is None else snapshots.find_species(self.species, root=self.root)

    @cached_property
    def target_species(self) -> Species | None:
        """The species whose genes are given; None where that is the species of the names."""
        return None if self.to is None else snapshots.find_species(self.to, root=self.root)

    def snapshot_of(self, species: Species) -> Snapshot:
        """Return the snapshot that names of a species are resolved by.

        Raises
        ------
        ResolveError
            There is none.
        """
        for snapshot in (self.snapshot, self.target):
            if snapshot is not None and snapshot.species.tax_id == species.tax_id:
                return snapshot
        return snapshots.default(species, root=self.root)
