"""E-utilities answered out of a folder of bulk files, in NCBI's own XML."""

import gzip
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.sax.saxutils import escape

_DTD = "https://eutils.ncbi.nlm.nih.gov/eutils/dtd"
_TOKEN = re.compile(r'\s*(\(|\)|AND\b|OR\b|NOT\b|(?:"([^"]*)"|([^\s()\[\]"]+))\s*\[([^\]]+)\])')

# tax id: Latin name, other names, lineage.
TAXA: dict[int, tuple[str, tuple[str, ...], str]] = {
    9606: ("Homo sapiens", ("human",), "cellular organisms; Eukaryota; Metazoa; Chordata; Vertebrata; Mammalia"),
    10090: (
        "Mus musculus",
        ("house mouse", "mouse", "Mus domesticus"),
        "cellular organisms; Eukaryota; Metazoa; Chordata; Vertebrata; Mammalia",
    ),
    9685: (
        "Felis catus",
        ("cat", "domestic cat", "Felis domesticus"),
        "cellular organisms; Eukaryota; Metazoa; Chordata; Vertebrata; Mammalia; Carnivora; Felidae",
    ),
    7460: ("Apis mellifera", ("honey bee",), "cellular organisms; Eukaryota; Metazoa; Ecdysozoa; Arthropoda; Insecta"),
    581: ("Morganella", ("Morganella",), "cellular organisms; Bacteria; Pseudomonadota"),
    90690: ("Morganella", ("Morganella",), "cellular organisms; Eukaryota; Fungi; Basidiomycota"),
}


@dataclass(frozen=True)
class Gene:
    """A row of gene_info."""

    tax_id: int
    gene_id: int
    symbol: str
    synonyms: tuple[str, ...]
    references: tuple[str, ...]
    name: str
    gene_type: str
    designations: str


class Database:
    """The genes of a folder, read when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def answer(self, utility: str, form: dict[str, str]) -> bytes | None:
        """Answer a request; None for a utility or database that is not served."""
        match utility, form.get("db"):
            case "esearch", "gene":
                return _search_result(sorted(self._query(form["term"])), form)
            case "esearch", "taxonomy":
                return _search_result(sorted(_taxa(form["term"])), form)
            case "esummary", "gene":
                return self._summaries([int(uid) for uid in form["id"].split(",")])
            case "efetch", "taxonomy":
                return _taxa_set([int(uid) for uid in form["id"].split(",")])
        return None

    @cached_property
    def genes(self) -> dict[int, Gene]:
        found = {}
        for path in [*sorted(self.folder.glob("GENE_INFO/*/*.gene_info.gz")), self.folder / "gene_info.gz"]:
            for row in _rows(path):
                name = row[8] if row[11] == "-" else row[11]
                other = "" if row[13] == "-" else row[13]
                listed = _list(row[4]), _list(row[5])
                found[int(row[1])] = Gene(int(row[0]), int(row[1]), row[2], *listed, name, row[9], other)
        return found

    @cached_property
    def summaries(self) -> dict[int, str]:
        """One summary per gene, as Gene's record shows it: the first row that has text."""
        found: dict[int, str] = {}
        for row in _rows(self.folder / "gene_summary.gz"):
            if row[3] != "-":
                found.setdefault(int(row[1]), row[3])
        return found

    @cached_property
    def retired(self) -> dict[int, tuple[int, int, str]]:
        """Per retired GeneID: taxon, what took its place (0: nothing), symbol."""
        rows = _rows(self.folder / "gene_history.gz")
        return {int(row[2]): (int(row[0]), 0 if row[1] == "-" else int(row[1]), row[3]) for row in rows}

    @cached_property
    def groups(self) -> dict[int, set[int]]:
        """Ortholog groups by human GeneID."""
        found: dict[int, set[int]] = defaultdict(set)
        for row in _rows(self.folder / "gene_orthologs.gz"):
            for human, other in ((row[:2], row[3:]), (row[3:], row[:2])):  # either may come first
                if human[0] == "9606":
                    found[int(human[1])] |= {int(human[1]), int(other[1])}
        return found

    @cached_property
    def _index(self) -> dict[tuple[str, str], set[int]]:
        index: dict[tuple[str, str], set[int]] = defaultdict(set)
        for gene in self.genes.values():
            index["taxonomy id", str(gene.tax_id)].add(gene.gene_id)
            index["uid", str(gene.gene_id)].add(gene.gene_id)
            index["preferred symbol", gene.symbol.lower()].add(gene.gene_id)
            index["properties", f"genetype {gene.gene_type.replace('-', ' ')}".lower()].add(gene.gene_id)
            for word in (gene.symbol, *gene.synonyms):
                index["gene name", word.lower()].add(gene.gene_id)
            for word in (gene.symbol, *gene.synonyms, *gene.references):
                index["all fields", word.lower().rpartition(":")[2]].add(gene.gene_id)
        return index

    def _query(self, term: str) -> set[int]:
        tokens = list(_TOKEN.finditer(term))
        assert "".join(match[0] for match in tokens).strip() == term.strip(), f"cannot read the query {term!r}"
        result, rest = self._expression(tokens)
        assert not rest, f"cannot read the query {term!r}"
        return result

    def _expression(self, tokens: list[re.Match[str]]) -> tuple[set[int], list[re.Match[str]]]:
        """Evaluate from left to right, as Entrez does: no operator goes before another."""
        result, tokens = self._operand(tokens)
        while tokens and tokens[0][1] in {"AND", "OR", "NOT"}:
            operator = tokens[0][1]
            operand, tokens = self._operand(tokens[1:])
            result = (
                result & operand if operator == "AND" else result | operand if operator == "OR" else result - operand
            )
        return result, tokens

    def _operand(self, tokens: list[re.Match[str]]) -> tuple[set[int], list[re.Match[str]]]:
        first, rest = tokens[0], tokens[1:]
        if first[1] == "(":
            result, rest = self._expression(rest)
            assert rest and rest[0][1] == ")", "a bracket is not closed"
            return result, rest[1:]
        return self._find((first[2] if first[2] is not None else first[3]).lower(), first[4].lower()), rest

    def _find(self, word: str, in_field: str) -> set[int]:
        in_field = {"prop": "properties", "taxid": "taxonomy id"}.get(in_field, in_field)
        if in_field == "group":
            return self.groups.get(int(word.removeprefix("ortholog_gene_")), set())
        if (in_field, word) == ("properties", "alive"):
            return set(self.genes)
        if in_field == "preferred symbol":  # Entrez takes the words of a symbol one by one: more than asked comes back
            return {
                uid for (kind, key), uids in self._index.items() if kind == in_field and word in key for uid in uids
            }
        return self._index.get((in_field, word), set())

    def _summaries(self, ids: list[int]) -> bytes:
        documents = "".join(self._document(uid) for uid in ids)
        return (
            f'<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE eSummaryResult PUBLIC "-//NLM//DTD esummary gene '
            f'20150202//EN" "{_DTD}/20150202/esummary_gene.dtd">\n<eSummaryResult>\n<DocumentSummarySet status="OK">\n'
            f"<DbBuild>Build261001-0820m.1</DbBuild>\n{documents}</DocumentSummarySet>\n</eSummaryResult>\n"
        ).encode()

    def _document(self, uid: int) -> str:
        if uid in self.retired:
            tax_id, successor, symbol = self.retired[uid]
            gene, status = Gene(tax_id, uid, symbol, (), (), "", "", ""), 1 if successor else 2
        elif uid in self.genes:
            gene, successor, status = self.genes[uid], 0, 0
        else:
            return f'<DocumentSummary uid="{uid}"><error>cannot get document summary</error></DocumentSummary>\n'
        latin, names, _ = TAXA.get(gene.tax_id, (f"taxon {gene.tax_id}", ("",), ""))
        return (
            f'<DocumentSummary uid="{uid}">\n<Name>{escape(gene.symbol)}</Name>\n'
            f"<Description>{escape(gene.name)}</Description>\n<Status>{status}</Status>\n"
            f"<CurrentID>{successor}</CurrentID>\n<Chromosome>1</Chromosome>\n<GeneticSource>genomic</GeneticSource>\n"
            f"<MapLocation></MapLocation>\n<OtherAliases>{escape(', '.join(gene.synonyms))}</OtherAliases>\n"
            f"<OtherDesignations>{escape(gene.designations)}</OtherDesignations>\n<NomenclatureSymbol>{escape(gene.symbol)}</NomenclatureSymbol>\n"
            f"<NomenclatureName>{escape(gene.name)}</NomenclatureName>\n"
            f"<NomenclatureStatus>Official</NomenclatureStatus>\n<Mim>\n</Mim>\n<GenomicInfo>\n</GenomicInfo>\n"
            f"<GeneWeight>100</GeneWeight>\n<Summary>{escape(self.summaries.get(uid, ''))}</Summary>\n"
            f"<ChrSort>01</ChrSort>\n<ChrStart>1</ChrStart>\n<Organism>\n<ScientificName>{latin}</ScientificName>\n"
            f"<CommonName>{names[0]}</CommonName>\n<TaxID>{gene.tax_id}</TaxID>\n</Organism>\n"
            f"<LocationHist>\n</LocationHist>\n</DocumentSummary>\n"
        )


def _search_result(ids: list[int], form: dict[str, str]) -> bytes:
    start = int(form.get("retstart", 0))
    page = ids[start : start + int(form.get("retmax", 20))]
    listed = "\n".join(f"<Id>{uid}</Id>" for uid in page)
    errors = "" if ids else "<ErrorList><PhraseNotFound>that</PhraseNotFound></ErrorList>"
    return (
        f'<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE eSearchResult PUBLIC "-//NLM//DTD esearch 20060628//EN" '
        f'"{_DTD}/20060628/esearch.dtd">\n<eSearchResult><Count>{len(ids)}</Count>'
        f"<RetMax>{len(page)}</RetMax>"
        f"<RetStart>{start}</RetStart><IdList>\n{listed}\n</IdList><TranslationSet/><QueryTranslation></QueryTranslation>"
        f"{errors}</eSearchResult>\n"
    ).encode()


def _taxa(term: str) -> set[int]:
    match = re.fullmatch(r'"([^"]*)"\[All Names\]', term)
    assert match, f"cannot read the query {term!r}"
    wanted = match[1].lower()
    return {uid for uid, (latin, names, _) in TAXA.items() if wanted in {latin.lower(), *(n.lower() for n in names)}}


def _taxa_set(ids: list[int]) -> bytes:
    taxa = "".join(
        f"<Taxon>\n<TaxId>{uid}</TaxId>\n<ScientificName>{TAXA[uid][0]}</ScientificName>\n<ParentTaxId>1</ParentTaxId>\n"
        f"<Rank>species</Rank>\n<Division>Unassigned</Division>\n<Lineage>{TAXA[uid][2]}</Lineage>\n</Taxon>\n"
        for uid in ids
    )
    return (
        f'<?xml version="1.0" ?>\n<!DOCTYPE TaxaSet PUBLIC "-//NLM//DTD Taxon, 14th January 2002//EN" '
        f'"https://www.ncbi.nlm.nih.gov/entrez/query/DTD/taxon.dtd">\n<TaxaSet>{taxa}</TaxaSet>\n'
    ).encode()


def _rows(path: Path) -> Iterator[list[str]]:
    if not path.is_file():
        return
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        for line in handle:
            if not line.startswith("#"):
                yield line.rstrip("\n").split("\t")


def _list(value: str) -> tuple[str, ...]:
    return () if value == "-" else tuple(value.split("|"))
