"""Tables of marker genes: of which types of cells a gene is a marker."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from genetext.fetch.limits import Limits
from genetext.sources import tabular
from genetext.sources.base import UNKNOWN, TextRow, TextSource
from genetext.species import Species

_COLUMNS = {
    # As HuBMAP's ASCT+B tables, PanglaoDB, CellMarker and people head them.
    "gene": (
        "marker",
        "gene",
        "gene_name",
        "official gene symbol",
        "symbol",
        "gene_symbol",
        "marker gene",
        "marker_id",
        "gene_id",
    ),
    "type": ("cell_type", "cell type", "cell_name", "celltype", "type", "cluster", "cell ontology name"),
    "tissue": ("anatomical_structure", "tissue", "tissue_type", "organ", "uberonongyname"),
    "species": ("species", "speciestype", "organism"),
    "kind": ("marker_kind",),
    "table": ("hra_table", "organ"),
}
_OPTIONAL = ("tissue", "species", "kind", "table")
_OLDER_COPIES = frozenset({"intestine-large", "vasculature"})  # of ASCT+B; their rows stand in newer tables, too
_SPECIES = {9606: ("hs", "human", "homo sapiens"), 10090: ("mm", "mouse", "mus musculus")}


class Markers(TextSource):
    """A table with a gene and a type of cell in each row: HuBMAP ASCT+B, PanglaoDB, CellMarker, or the user's own."""

    name = "markers"
    title = "table of marker genes"
    licence = UNKNOWN
    citation = "the table's own"
    sections = {"types": "types of cells that the gene is a marker of"}  # noqa: RUF012

    def rows(self, paths: Sequence[Path], species: Species, limits: Limits) -> Iterator[TextRow]:
        """Yield one sentence a gene, the types that most rows name first."""
        yield from sentences(paths, species, limits, section="types")


def sentences(
    paths: Sequence[Path],
    species: Species,
    limits: Limits,
    *,
    section: str,
    readable: Callable[[str], str] = str.strip,
) -> Iterator[TextRow]:
    """Yield one sentence a gene: `Marker of TYPE, TYPE.`, the types that most rows name first.

    Parameters
    ----------
    paths, species, limits
        As for `TextSource.rows`.
    section
        Whose rows they are.
    readable
        Makes the name of a type as it is told.
    """
    types: dict[str, Counter[str]] = {}
    for path in paths:
        for _, row in tabular.records(
            path, _COLUMNS, limits, optional=_OPTIONAL, quoted=True, separator=None, provider="marker genes"
        ):
            name = readable(row["type"])
            if name and row["gene"] and _is_meant(row, species):
                types.setdefault(row["gene"], Counter())[name] += 1
    for gene, counts in types.items():
        yield TextRow((gene,), section, f"Marker of {', '.join(name for name, _ in counts.most_common())}.")


def _is_meant(row: dict[str, str], species: Species) -> bool:
    """Whether a row is of a gene of the species, and of a table that is not an older copy."""
    if row["kind"] not in {"", "gene", "genes", "BGene"} or row["table"] in _OLDER_COPIES:
        return False
    written = row["species"].lower()
    names = _SPECIES.get(species.tax_id, (species.name.lower(), species.latin.lower()))
    return not written or any(name in (written, *written.split()) or name in written for name in names)
