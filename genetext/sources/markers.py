"""Tables of marker genes: of which types of cells a gene is a marker."""

from collections.abc import Iterator, Sequence
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
        types: dict[str, dict[str, int]] = {}
        for path in paths:
            optional = ("tissue", "species", "kind", "table")
            for _, row in tabular.records(
                path, _COLUMNS, limits, optional=optional, quoted=True, separator=None, provider="marker genes"
            ):
                if _is_meant(row, species) and row["gene"] and row["type"]:
                    counts = types.setdefault(row["gene"], {})
                    name = row["type"].strip()
                    counts[name] = counts.get(name, 0) + 1
        for gene, counts in types.items():
            ranked = sorted(counts, key=lambda name: -counts[name])
            yield TextRow((gene,), "types", f"Marker of {', '.join(ranked)}.")


def _is_meant(row: dict[str, str], species: Species) -> bool:
    """Whether a row is of a gene of the species, and of a table that is not an older copy."""
    if row["kind"] not in {"", "gene", "genes", "BGene"} or row["table"] in _OLDER_COPIES:
        return False
    written = row["species"].lower()
    names = _SPECIES.get(species.tax_id, (species.name.lower(), species.latin.lower()))
    return not written or any(name in (written, *written.split()) or name in written for name in names)
