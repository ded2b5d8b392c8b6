"""UniProtKB/Swiss-Prot: what curators write of a gene's protein."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlencode

from genetext.fetch.integrity import Shape
from genetext.fetch.limits import Limits
from genetext.sources import tabular
from genetext.sources.base import CC_BY, RemoteFile, TextRow, TextSource
from genetext.species import Species

_FIELDS = (
    "accession,gene_names,organism_id,xref_geneid,cc_function,cc_tissue_specificity,cc_subcellular_location,cc_disease"
)
_COLUMNS = {
    "entry": ("Entry",),
    "names": ("Gene Names",),
    "organism": ("Organism (ID)", "Organism"),
    "geneid": ("GeneID",),
    "function": ("Function [CC]",),
    "tissue": ("Tissue specificity",),
    "location": ("Subcellular location [CC]",),
    "disease": ("Involvement in disease",),
}
_EVIDENCE = re.compile(r"\s*\{ECO:[^{}]*\}")
_CITED = re.compile(r"\s*\((?:PubMed:\d+|Ref\.\d+)(?:,\s*(?:PubMed:\d+|Ref\.\d+))*\)")
_PUBMED = re.compile(r"PubMed:(\d+)")
_HEAD = re.compile(r"(?:^|(?<=[.;]\s))(?:FUNCTION|TISSUE SPECIFICITY|SUBCELLULAR LOCATION|DISEASE):\s*")
_ISOFORM = re.compile(r"\[[^\[\]]{1,80}\]:\s*")
_NOTE = re.compile(r"\bNote=")
_CROSS_REFERENCE = re.compile(r"\s*\[MIM:\d+\]")


class UniProt(TextSource):
    """Reviewed entries of UniProtKB, of any species."""

    name = "uniprot"
    title = "UniProtKB/Swiss-Prot"
    licence = CC_BY
    citation = "The UniProt Consortium, UniProt: the Universal Protein Knowledgebase. Nucleic Acids Research"
    url = "https://rest.uniprot.org/uniprotkb/"
    sections = {  # noqa: RUF012
        "function": "what the protein does",
        "tissue": "where in the body it is made",
        "location": "where in the cell it is",
        "disease": "the diseases it is involved in",
    }

    def files(self, species: Species) -> Sequence[RemoteFile]:
        """Return the answer of the REST service on the reviewed entries of a species."""
        asked = {
            "query": f"organism_id:{species.tax_id} AND reviewed:true",
            "fields": _FIELDS,
            "format": "tsv",
            "compressed": "true",
        }
        shape = Shape(header=b"Entry\t", table="UniProt's table")
        return [RemoteFile(f"reviewed_{species.tax_id}.tsv.gz", f"stream?{urlencode(asked)}", shape)]

    def rows(self, paths: Sequence[Path], species: Species, limits: Limits) -> Iterator[TextRow]:
        """Yield a row for each comment of an entry; its genes are those of its cross-reference, else by name."""
        optional = ("organism", "geneid", "tissue", "location", "disease")
        for path in paths:
            for _, entry in tabular.records(path, _COLUMNS, limits, optional=optional, provider="UniProt"):
                if (
                    entry["organism"]
                    and entry["organism"] != str(species.tax_id)
                    and species.latin not in entry["organism"]
                ):
                    continue
                ids = [int(part) for part in entry["geneid"].split(";") if part.strip().isdigit()]
                names = entry["names"].replace(";", " ").split()
                # A protein that several genes encode is text on each of them.
                keys: list[tuple[int | str, ...]] = [(gene_id,) for gene_id in ids]
                if len(ids) < 2:
                    keys = [(*ids, *names[:1])] if ids or names else []
                for section in self.sections:
                    text, pmids = plain(entry[section])
                    if text:
                        yield from (TextRow(key, section, text, pmids) for key in keys)


def plain(comment: str) -> tuple[str, tuple[str, ...]]:
    """Return a comment of UniProt as plain sentences, and the PubMed ids that stood in it."""
    pmids = tuple(dict.fromkeys(_PUBMED.findall(comment)))
    text = _EVIDENCE.sub("", comment)
    text = _CITED.sub("", text)
    for pattern in (_HEAD, _CROSS_REFERENCE, _ISOFORM, _NOTE):
        text = pattern.sub("", text)
    return " ".join(text.replace(" .", ".").replace("..", ".").split()), pmids
