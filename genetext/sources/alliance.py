"""Alliance of Genome Resources: descriptions that a program writes out of the annotations of model organisms."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from genetext.fetch.integrity import Shape
from genetext.fetch.limits import Limits
from genetext.sources import tabular
from genetext.sources.base import CC_BY, RemoteFile, TextRow, TextSource
from genetext.species import Species

_DATABASES = {
    9606: "HUMAN",
    10090: "MGI",
    10116: "RGD",
    7955: "ZFIN",
    7227: "FB",
    6239: "WB",
    559292: "SGD",
    8364: "XBXT",
    8355: "XBXL",
}
_COLUMNS = {
    "id": ("gene id", "gene_id", "GeneID"),
    "symbol": ("gene symbol", "gene_symbol", "symbol", "GeneName"),
    "text": ("description", "gene description"),
}
_NOTHING = "no description available"


class Alliance(TextSource):
    """Automated gene descriptions of the Alliance of Genome Resources, of its model organisms and human."""

    name = "alliance"
    title = "Alliance of Genome Resources, automated gene descriptions"
    licence = CC_BY
    citation = (
        "Kishore et al., Automated generation of gene summaries at the Alliance of Genome Resources. Database 2020"
    )
    url = "https://download.alliancegenome.org/"
    sections = {"description": "a summary made of annotations: function, expression, disease, orthologs"}  # noqa: RUF012
    from_go = True

    def files(self, species: Species) -> Sequence[RemoteFile]:
        """Return the file of the species' database."""
        database = _DATABASES.get(species.tax_id)
        shape = Shape(header=b"#", table="a table of the Alliance")
        return [] if database is None else [RemoteFile(f"GENE-DESCRIPTION-TSV_{database}.tsv.gz", shape=shape)]

    def rows(self, paths: Sequence[Path], species: Species, limits: Limits) -> Iterator[TextRow]:
        """Yield the description of each gene, by its symbol, else by its database's id."""
        del species
        for path in paths:
            for fields in _fields(path, limits):
                gene, symbol, text = fields
                if text and not text.lower().startswith(_NOTHING):
                    yield TextRow(tuple(filter(None, (symbol, gene))), "description", text)


def _fields(path: Path, limits: Limits) -> Iterator[tuple[str, str, str]]:
    """Yield id, symbol and description; lines with `#` are a preamble, the table may or may not name its columns."""
    for number, line in enumerate(tabular.lines(path, limits), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) < 3 or ":" not in parts[0]:
            if parts[0].lower().replace("_", " ") in _COLUMNS["id"]:
                continue
            raise tabular.unexpected(path, number, line, "an id such as MGI:98834, a symbol and a description")
        yield parts[0], parts[1], parts[2]
