"""Human Protein Atlas: where a human gene is made, in sentences of our own and without numbers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from genetext.fetch.integrity import Shape
from genetext.fetch.limits import Limits
from genetext.sources import tabular
from genetext.sources.base import Licence, RemoteFile, TextRow, TextSource
from genetext.species import HUMAN, Species

# The headings of the tables of 2018 (seen) and of later versions (as documented); what a table lacks is not told.
_COLUMNS = {
    "symbol": ("Gene",),
    "ensembl": ("Ensembl",),
    "class": ("Protein class",),
    "location": ("Subcellular main location", "Subcellular location"),
    "tissue category": ("RNA tissue specificity", "RNA tissue category"),
    "tissues": ("RNA tissue specific nTPM", "RNA tissue specific NX", "RNA TS TPM"),
    "cell category": ("RNA single cell type specificity",),
    "cells": ("RNA single cell type specific nTPM", "RNA single cell type specific NX"),
    "blood category": ("RNA blood cell specificity",),
    "bloods": ("RNA blood cell specific nTPM", "RNA blood cell specific NX"),
}
_HOW = {
    "tissue enriched": "Made above all in",
    "group enriched": "Made above all in",
    "cell type enriched": "Made above all in",
    "immune cell enriched": "Made above all in",
    "tissue enhanced": "Made more in",
    "cell type enhanced": "Made more in",
    "immune cell enhanced": "Made more in",
}
_CLASSES_WITHOUT_NEWS = ("predicted intracellular", "predicted membrane", "predicted secreted", "mapped to uniprot")


class ProteinAtlas(TextSource):
    """The table of genes of the Human Protein Atlas, of human only."""

    name = "hpa"
    title = "Human Protein Atlas"
    licence = Licence("CC BY-SA 4.0", "https://www.proteinatlas.org/about/licence", share_alike=True)
    citation = "Uhlen et al., Tissue-based map of the human proteome. Science 2015; proteinatlas.org"
    url = "https://www.proteinatlas.org/download/"
    sections = {  # noqa: RUF012
        "tissue": "tissues that make the gene's RNA above others",
        "cell_type": "types of cells that make it above others",
        "class": "classes of proteins that it belongs to",
        "location": "where in the cell its protein was seen",
    }

    def files(self, species: Species) -> Sequence[RemoteFile]:
        """Return the table of all genes, for human."""
        shape = Shape(packing="zip", header=b"Gene\t", table="a table of the Human Protein Atlas")
        return [RemoteFile("proteinatlas.tsv.zip", shape=shape)] if species.tax_id == HUMAN.tax_id else []

    def rows(self, paths: Sequence[Path], species: Species, limits: Limits) -> Iterator[TextRow]:
        """Yield up to four sentences a gene, by its Ensembl id, else its symbol."""
        del species
        optional = tuple(name for name in _COLUMNS if name not in {"symbol", "ensembl"})
        for path in paths:
            for _, row in tabular.records(
                path, _COLUMNS, limits, optional=optional, quoted=True, provider="the Human Protein Atlas"
            ):
                keys = tuple(filter(None, (row["ensembl"], row["symbol"])))
                cells = [_where(row["cell category"], row["cells"]), _where(row["blood category"], row["bloods"])]
                sentences = {
                    "tissue": _where(row["tissue category"], row["tissues"]),
                    "cell_type": " ".join(filter(None, cells)),
                    "class": _classes(row["class"]),
                    "location": _places(row["location"]),
                }
                yield from (TextRow(keys, section, text) for section, text in sentences.items() if text)


def _where(category: str, amounts: str) -> str:
    """Say where a gene is made, of `Tissue enriched` and `liver: 12.3;kidney: 3.1`; nothing where that is anywhere."""
    how = _HOW.get(category.lower())
    places = [name.strip() for amount in amounts.split(";") if (name := amount.rpartition(":")[0]).strip()]
    return f"{how} {_listed(places)}." if how and places else ""


def _classes(written: str) -> str:
    classes = [name.strip() for name in written.split(",")]
    kept = [name for name in classes if name and not name.lower().startswith(_CLASSES_WITHOUT_NEWS)]
    return f"Protein class: {'; '.join(kept)}." if kept else ""


def _places(written: str) -> str:
    places = list(
        dict.fromkeys(place.strip().lower() for place in written.replace(";", ",").replace("<br>", ",").split(","))
    )
    places = [place for place in places if place]
    return f"Its protein was seen in: {_listed(places)}." if places else ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
