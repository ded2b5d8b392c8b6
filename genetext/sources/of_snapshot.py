"""Whose text every snapshot holds: NCBI Gene, and the Gene Ontology through it."""

from collections.abc import Collection

from genetext.fetch.download import NCBI
from genetext.sources.base import CC_BY, PUBLIC_DOMAIN, Described


class _OfSnapshot(Described):
    @property
    def place(self) -> str:
        """Where its text comes from, in a few words."""
        return "every snapshot"


class NcbiGene(_OfSnapshot):
    """Names, designations and summaries; the latter of RefSeq, OMIM and the Alliance, as NCBI serves them."""

    name = "ncbi"
    title = "NCBI Gene"
    licence = PUBLIC_DOMAIN
    citation = (
        "Sayers et al., Database resources of the National Center for Biotechnology Information. Nucleic Acids Research"
    )
    url = NCBI
    sections = {  # noqa: RUF012
        "symbol": "the current symbol",
        "name": "the full name, where it says anything",
        "summary": "what RefSeq, OMIM or the Alliance writes about the gene",
        "designations": "further names of the gene's product, those that say something",
    }


class GeneOntology(_OfSnapshot):
    """Terms that are annotated to a gene, by NCBI's gene2go or as they ship with genetext."""

    name = "go"
    title = "Gene Ontology annotations"
    licence = CC_BY
    citation = "The Gene Ontology Consortium, The Gene Ontology knowledgebase in 2023. Genetics 2023"
    url = NCBI
    sections = {"facts": "gene groups and the most specific Gene Ontology terms"}  # noqa: RUF012
    from_go = True


def of_sections(names: Collection[str]) -> list[Described]:
    """Return the sources of some sections of a snapshot."""
    return [source for source in (NcbiGene(), GeneOntology()) if set(source.sections) & set(names)]
