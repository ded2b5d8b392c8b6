"""Reactome: the pathways that a gene takes part in, by name."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from genetext.fetch.integrity import Shape
from genetext.fetch.limits import Limits
from genetext.sources import tabular
from genetext.sources.base import Licence, RemoteFile, TextRow, TextSource
from genetext.species import Species

_STABLE_ID = re.compile(r"R-[A-Z]{3}-\d+")


class Reactome(TextSource):
    """Names of Reactome's lowest-level pathways by NCBI GeneID; or a GMT of pathways that the user has."""

    name = "reactome"
    title = "Reactome"
    licence = Licence("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/")
    citation = "Milacic et al., The Reactome Pathway Knowledgebase 2024. Nucleic Acids Research 2024"
    url = "https://reactome.org/download/current/"
    sections = {"pathways": "names of the pathways that the gene takes part in"}  # noqa: RUF012

    def files(self, species: Species) -> Sequence[RemoteFile]:
        """Return the table of NCBI GeneIDs and pathways, of all species."""
        del species
        return [RemoteFile("NCBI2Reactome.txt", shape=Shape(packing="plain", header=b"", table="Reactome's table"))]

    def rows(self, paths: Sequence[Path], species: Species, limits: Limits) -> Iterator[TextRow]:
        """Yield one sentence a gene, its pathways in the order of the file."""
        pathways: dict[int | str, dict[str, str]] = {}
        for path in paths:
            for gene, identifier, name in _pathways(path, species, limits):
                pathways.setdefault(gene, {})[name] = identifier
        for gene, named in pathways.items():
            yield TextRow((gene,), "pathways", f"Pathways: {'; '.join(named)}.", tuple(named.values()))


def _pathways(path: Path, species: Species, limits: Limits) -> Iterator[tuple[int | str, str, str]]:
    """Yield gene, stable id and name: of `NCBI2Reactome` (GeneID, id, URL, name, evidence, species), or of a GMT."""
    for number, line in enumerate(tabular.lines(path, limits), 1):
        fields = line.rstrip().split("\t")
        if not line.strip() or line.startswith("#"):
            continue
        if len(fields) == 6 and fields[0].isdigit() and _STABLE_ID.fullmatch(fields[1]):
            if fields[5] == species.latin:
                yield int(fields[0]), fields[1], fields[3]
        elif len(fields) > 2 and (_STABLE_ID.search(fields[0]) or _STABLE_ID.search(fields[1])):
            yield from _of_gmt(fields)
        else:
            raise tabular.unexpected(
                path, number, line, "NCBI2Reactome's six columns, or a GMT with names and Reactome's ids"
            )


def _of_gmt(fields: list[str]) -> Iterator[tuple[int | str, str, str]]:
    """Yield the genes of a line: a name with its id in the other column or in brackets behind it, then symbols."""
    stable_id = _STABLE_ID.search(fields[0]) or _STABLE_ID.search(fields[1])
    assert stable_id is not None
    name = next((text for text in fields[:2] if not _STABLE_ID.fullmatch(text) and text.lower() != "reactome"), "")
    name = _STABLE_ID.sub("", name).strip(" ()[]_")
    if name:
        for symbol in filter(None, fields[2:]):
            yield symbol, stable_id.group(), name
