"""GeneRIF: what readers of papers noted on a gene's function, a sentence each."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from genetext.fetch.download import NCBI
from genetext.fetch.limits import Limits
from genetext.sources.base import PUBLIC_DOMAIN, RemoteFile, TextRow, TextSource
from genetext.species import Species
from genetext.text import hygiene, tables

_COLUMNS: dict[str, tables.Read] = {
    "Gene ID": tables.number,
    "PubMed ID (PMID) list": tables.text,
    "last update timestamp": tables.text,
    "GeneRIF text": tables.text,
}
# What annotation projects add to thousands of genes, and says nothing of the one.
_EMPTY = re.compile(
    r"^(?:observational study of gene-disease association|(?:meta-analysis|genome-wide association study) of "
    r"gene-disease association|clinical trial of gene-disease association|see the )",
    re.IGNORECASE,
)
_CATEGORY = re.compile(r"\s*\((?:HuGE Navigator|cDNA|[A-Z]{2,5}[ -]?project)\)\.?\s*$")


class GeneRif(TextSource):
    """Gene References into Function of NCBI Gene, of any species."""

    name = "generif"
    title = "GeneRIF (Gene References into Function)"
    licence = PUBLIC_DOMAIN
    citation = (
        "Mitchell et al., Gene indexing: characterization and analysis of NLM's GeneRIFs. AMIA Annu Symp Proc 2003"
    )
    url = NCBI.removesuffix("DATA/") + "GeneRIF/"
    sections = {"note": "what readers of papers noted on the gene's function"}  # noqa: RUF012
    drop_near_duplicates = True

    def files(self, species: Species) -> Sequence[RemoteFile]:
        """Return the one file, of all species."""
        del species
        return [RemoteFile("generifs_basic.gz")]

    def rows(self, paths: Sequence[Path], species: Species, limits: Limits) -> Iterator[TextRow]:
        """Yield the notes on a species' genes; the file's columns are tax id, GeneID, PubMed ids, time and text."""
        for path in paths:
            for gene_id, pmids, updated, text in tables.rows(
                path,
                columns=_COLUMNS,
                tax_ids=[species.tax_id],
                tax_columns=("Tax ID",),
                limits=limits,
                gene_column="Gene ID",
            ):
                cleaned = hygiene.clean(text)
                if cleaned.text and not _EMPTY.match(cleaned.text):
                    said = _CATEGORY.sub("", cleaned.text)
                    references = dict.fromkeys((*filter(None, pmids.split(",")), *cleaned.pmids))
                    yield TextRow((gene_id,), "note", said[:1].upper() + said[1:], tuple(references), updated[:10])
