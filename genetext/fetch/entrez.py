"""A handful of genes, and taxonomy, through NCBI's E-utilities. Names are found or reported, never guessed."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genetext.errors import FetchError, SpeciesError, first_ten
from genetext.fetch import web
from genetext.fetch.eutils import Eutils
from genetext.progress import Progress
from genetext.species import HUMAN, Species

BATCH = 200
_PAGE = 2_000  # ids of one answer
_MOST = 20_000  # ids of one query
_REPLACED = 5  # how often in a row

_ENSEMBL = re.compile(r"(ENS[A-Z]*G\d{6,}|FBgn\d+|WBGene\d+)(\.\d+)?", re.IGNORECASE)
_GENE_TYPES = {"genetype protein coding": "protein-coding", "genetype ncrna": "ncRNA", "genetype pseudo": "pseudo"}
# Which of NCBI's folders a taxon belongs to, the first that occurs in its lineage.
_GROUPS = {
    "Mammalia": "Mammalia",
    "Vertebrata": "Non-mammalian_vertebrates",
    "Metazoa": "Invertebrates",
    "Fungi": "Fungi",
    "Viridiplantae": "Plants",
    "Bacteria": "Archaea_Bacteria",
    "Archaea": "Archaea_Bacteria",
    "Viruses": "Viruses",
    "Eukaryota": "Protozoa",
}
_log = logging.getLogger("genetext")


@dataclass(frozen=True)
class Record:
    """One gene as esummary describes it; `current_id` is the GeneID that replaced it, or 0."""

    gene_id: int
    tax_id: int
    symbol: str
    name: str
    synonyms: tuple[str, ...]
    designations: tuple[str, ...]
    summary: str
    live: bool
    current_id: int

    @classmethod
    def read(cls, document: Any) -> "Record | None":
        """Read a document of esummary; None where NCBI has no such gene."""
        if "error" in document:
            return None
        text = {key: str(value) for key, value in document.items() if isinstance(value, str)}
        return cls(
            gene_id=_number(document.attributes["uid"]),
            tax_id=_number(document["Organism"]["TaxID"], most=9),
            symbol=text.get("Name", ""),
            name=text.get("NomenclatureName") or text.get("Description", ""),
            synonyms=tuple(part for part in text.get("OtherAliases", "").split(", ") if part),
            designations=tuple(
                dict.fromkeys(filter(None, map(str.strip, text.get("OtherDesignations", "").split("|"))))
            ),
            summary=text.get("Summary", "").strip(),
            live=text.get("Status") in {"0", "", None},
            current_id=_number(text.get("CurrentID") or 0),
        )


@dataclass(frozen=True)
class Genes:
    """What E-utilities had on some genes of a species.

    Attributes
    ----------
    records
        By GeneID.
    ensembl_ids
        Per GeneID the Ensembl ids, without version, by which it was asked for.
    gene_types
        Per GeneID NCBI's type of gene, where it is one of those that E-utilities can be asked for.
    orthologs
        Per GeneID the human ortholog, and whether it is the only one.
    retired
        Per retired GeneID the one that took its place (0: none) and the symbol it had.
    not_found
        Per name that was not found, or is ambiguous, the reason.
    """

    records: Mapping[int, Record]
    ensembl_ids: Mapping[int, Sequence[str]]
    gene_types: Mapping[int, str]
    orthologs: Mapping[int, tuple[Record, bool]]
    retired: Mapping[int, tuple[int, str]]
    not_found: Mapping[str, str]


def fetch_genes(
    genes: Sequence[str],
    species: Species,
    *,
    eutils: Eutils | None = None,
    progress: Progress | None = None,
) -> Genes:
    """Fetch a handful of genes, each by symbol, synonym, GeneID or Ensembl id.

    A name is never guessed: a symbol counts when it is the gene's own, a synonym when exactly one gene of the species
    has it. A replaced GeneID is followed, a discontinued one reported.

    Parameters
    ----------
    genes
        Names, of mixed kinds.
    species
        Whose genes.
    eutils
        Address, key and patience. Default: NCBI, with `$NCBI_API_KEY` and `$NCBI_EMAIL`.
    progress
        Told the number of names done.

    Raises
    ------
    Unreachable, FetchError
        As `Eutils.ask`; also where none of the names was found.
    """
    eutils = eutils or Eutils()
    names = list(dict.fromkeys(name.strip() for name in genes if name.strip()))
    with web.client(eutils.patience) as client:
        search = _Search(eutils, client, species)
        for position, batch in _batches(names):
            search.batch(batch)
            if progress is not None:
                progress("E-utilities", position + len(batch), len(names))
        if not search.records:
            why = "; ".join(f"{name}: {reason}" for name, reason in list(search.not_found.items())[:10])
            raise FetchError(f"NCBI has none of the {len(names):,} genes asked for in {species.latin}: {why}")
        types, orthologs = search.gene_types(), search.human_orthologs()
    if species.tax_id != HUMAN.tax_id and len(orthologs) < len(search.records):
        _log.info(
            "no human ortholog found at NCBI for %s: NCBI is asked for human genes that go by the same symbol",
            first_ten([record.symbol for uid, record in sorted(search.records.items()) if uid not in orthologs]),
        )
    if search.not_found:
        reasons = [f"{name} ({reason})" for name, reason in search.not_found.items()]
        _log.warning("%d of %d genes not found at NCBI: %s", len(reasons), len(names), first_ten(reasons))
    return Genes(search.records, search.ensembl, types, orthologs, search.retired, search.not_found)


def find_species(name: str, *, eutils: Eutils | None = None) -> Species:
    """Ask NCBI's taxonomy for a species that the built-in table lacks.

    Raises
    ------
    SpeciesError
        The taxonomy does not know the name, or knows several.
    Unreachable, FetchError
        As `Eutils.ask`.
    """
    eutils = eutils or Eutils()
    plain = " ".join(name.replace("_", " ").split())
    with web.client(eutils.patience) as client:
        term = f'"{_quotable(plain)}"[All Names]'
        _, ids = eutils.ask(client, "esearch", _page, db="taxonomy", term=term, retmax=10)
        if not ids:
            raise SpeciesError(f"NCBI's taxonomy does not know {name!r}: check the spelling, or give the taxonomy id")
        taxa = eutils.ask(client, "efetch", _taxa, db="taxonomy", id=",".join(map(str, ids)), retmode="xml")
    if len(taxa) > 1:
        meant = [f"{species.latin} ({species.tax_id})" for species in taxa]
        raise SpeciesError(f"{name!r} means several taxa: {first_ten(meant)}; give the taxonomy id")
    return taxa[0]


class _Search:
    """Turns names into records of one species."""

    def __init__(self, eutils: Eutils, client: web.Client, species: Species) -> None:
        self.eutils, self.client, self.species = eutils, client, species
        self.records: dict[int, Record] = {}
        self.ensembl: dict[int, list[str]] = {}
        self.not_found: dict[str, str] = {}
        self.cased: dict[str, list[str]] = {}  # name that nobody has -> what NCBI has in another letter case
        self.retired: dict[int, tuple[int, str]] = {}  # old GeneID -> what took its place, and its symbol

    def batch(self, names: Sequence[str]) -> None:
        """Find some names, at most `BATCH`."""
        ids = [name for name in names if name.isdecimal()]
        ensembl = [name for name in names if _ENSEMBL.fullmatch(name)]
        self.by_id(ids)
        for name in ensembl:
            self.by_ensembl(name)
        self.by_symbol([name for name in names if name not in {*ids, *ensembl}])

    def by_id(self, ids: Sequence[str]) -> None:
        asked = {name: int(name) for name in ids}
        known: dict[int, Record] = {}
        for _ in range(_REPLACED):  # a replaced gene's successor may itself be replaced
            missing = sorted({uid for uid in asked.values() if uid not in known})
            if not missing:
                break
            known |= self.summaries(missing)
            for name, uid in asked.items():
                record = known.get(uid)
                if record is not None and record.current_id and record.current_id != uid:
                    self.retired[uid] = (record.current_id, record.symbol)
                    asked[name] = record.current_id
        for old, (_, symbol) in list(self.retired.items()):
            self.retired[old] = (self._successor(old), symbol)
        for name, uid in asked.items():
            record = known.get(uid)
            if record is None:
                self.not_found[name] = "no such GeneID"
            elif not record.live:
                self.retired[uid] = (0, record.symbol)
                self.not_found[name] = "discontinued"
            elif record.tax_id != self.species.tax_id:
                self.not_found[name] = f"a gene of taxon {record.tax_id}, not of {self.species.latin}"
            else:
                self.records[uid] = record

    def _successor(self, uid: int) -> int:
        for _ in range(_REPLACED):
            uid = self.retired.get(uid, (uid, ""))[0]
        return uid

    def by_ensembl(self, name: str) -> None:
        plain = name.partition(".")[0]
        matches = self.search(f'"{plain}"[All Fields]')
        if len(matches) == 1:
            self.records |= matches
            self.ensembl.setdefault(next(iter(matches)), []).append(plain)
        else:
            self.not_found[name] = f"{len(matches)} genes have it" if matches else "unknown Ensembl id"

    def by_symbol(self, names: Sequence[str]) -> None:
        left = self._match(names, "Preferred Symbol", lambda record: (record.symbol,))
        left = self._match(left, "Gene Name", lambda record: record.synonyms)
        for name in left:
            cased = self.cased.get(name)
            reason = f"letter case: differs in letter case from {first_ten(cased)}" if cased else "unknown name"
            self.not_found.setdefault(name, reason)

    def _match(self, names: Sequence[str], in_field: str, names_of: Callable[[Record], Sequence[str]]) -> list[str]:
        """Take the names that exactly one gene has in a field, in their letter case, which NCBI's search disregards."""
        asked = [name for name in names if name not in self.not_found and _quotable(name)]
        terms = [f'"{_quotable(name)}"[{in_field}]' for name in asked]
        if not terms:
            return list(names)
        matches = self.search(f"({' OR '.join(terms)})")
        left = []
        for name in names:
            hits = [uid for uid, record in matches.items() if name in names_of(record)]
            if len(hits) == 1:
                self.records[hits[0]] = matches[hits[0]]
            elif hits:
                genes = first_ten([f"{matches[uid].symbol} ({uid})" for uid in sorted(hits)])
                self.not_found[name] = f"ambiguous: {genes}"
            else:
                left.append(name)
                known = [other for record in matches.values() for other in names_of(record)]
                self.cased.setdefault(name, []).extend(other for other in known if other.casefold() == name.casefold())
        return left

    def search(self, term: str, *, tax_id: int | None = None) -> dict[int, Record]:
        """Return the live genes of the species that match an Entrez query."""
        ids = self.ids(f"{term} AND {tax_id or self.species.tax_id}[Taxonomy ID] AND alive[prop]")
        return {uid: record for uid, record in self.summaries(ids).items() if record.live}

    def ids(self, term: str) -> list[int]:
        """Return all ids that match an Entrez query, however many pages they come in; none is left out unnoticed."""
        ids: dict[int, None] = {}
        came = 0
        while True:
            count, page = self.eutils.ask(
                self.client, "esearch", _page, db="gene", term=term, retmax=_PAGE, retstart=came
            )
            if count > _MOST:
                raise FetchError(
                    f"{self.eutils.where}esearch finds {count:,} genes where a handful was asked for: "
                    f"give fewer names, or fetch the whole species"
                )
            ids |= dict.fromkeys(page)
            came += len(page)
            if came >= count or not page:
                break
        if len(ids) < count:
            raise FetchError(
                f"{self.eutils.where}esearch gave {len(ids):,} of the {count:,} genes that it found: try again"
            )
        return list(ids)

    def summaries(self, ids: Iterable[int]) -> dict[int, Record]:
        records: dict[int, Record] = {}
        for _, batch in _batches(list(ids)):
            uids = ",".join(map(str, batch))
            for record in self.eutils.ask(self.client, "esummary", _documents, db="gene", id=uids, version="2.0"):
                records[record.gene_id] = record
        return records

    def gene_types(self) -> dict[int, str]:
        """Ask which genes are protein-coding, ncRNA or pseudogenes; esummary does not tell."""
        types: dict[int, str] = {}
        for _, batch in _batches(sorted(self.records)):
            either = " OR ".join(f"{uid}[uid]" for uid in batch)
            for filtered, gene_type in _GENE_TYPES.items():
                types |= dict.fromkeys(self.ids(f'({either}) AND "{filtered}"[Properties]'), gene_type)
        return types

    def human_orthologs(self) -> dict[int, tuple[Record, bool]]:
        """Find human genes that go by the genes' symbols, as far as NCBI's ortholog groups confirm them."""
        if self.species.tax_id == HUMAN.tax_id:
            return {}
        by_symbol = {record.symbol.casefold(): uid for uid, record in self.records.items()}
        confirmed: dict[int, tuple[Record, bool]] = {}
        for _, batch in _batches(sorted(by_symbol)):
            either = " OR ".join(f'"{_quotable(symbol)}"[Gene Name]' for symbol in batch)
            for human in self.search(f"({either})", tax_id=HUMAN.tax_id).values():
                names = {name.casefold() for name in (human.symbol, *human.synonyms)}
                candidates = {by_symbol[name] for name in names & by_symbol.keys()} - confirmed.keys()
                if not candidates:
                    continue
                group = self.ids(
                    f"ortholog_gene_{human.gene_id}[group] AND {self.species.tax_id}[Taxonomy ID] AND alive[prop]"
                )
                confirmed |= {uid: (human, group == [uid]) for uid in candidates.intersection(group)}
        return confirmed


def _page(answer: Any) -> tuple[int, list[int]]:
    """Read an answer of esearch: how many ids there are, and those that it holds."""
    return _number(answer["Count"]), [_number(uid) for uid in answer["IdList"]]


def _documents(answer: Any) -> list[Record]:
    """Read an answer of esummary."""
    records = (Record.read(document) for document in answer["DocumentSummarySet"]["DocumentSummary"])
    return [record for record in records if record is not None]


def _taxa(answer: Any) -> list[Species]:
    """Read an answer of efetch."""
    taxa = []
    for taxon in answer:
        latin, lineage = str(taxon["ScientificName"]), set(str(taxon.get("Lineage", "")).split("; "))
        group = next((folder for rank, folder in _GROUPS.items() if rank in lineage), None)
        name = re.sub(r"[^a-z0-9]+", "-", latin.lower()).strip("-")
        taxa.append(Species(_number(taxon["TaxId"], most=9), name, latin, group))
    if not taxa:
        raise KeyError("Taxon")
    return taxa


def _number(value: Any, *, most: int = 18) -> int:
    """Return a number of at most so many digits; raise a `ValueError` that shows what stands there instead."""
    text = str(value)
    if not (text.isascii() and text.isdecimal() and len(text) <= most):
        raise ValueError(f"{text[:40]!r} where a number is due")
    return int(text)


def _quotable(name: str) -> str:
    """Take out what would end a quoted phrase of an Entrez query."""
    return re.sub(r'["\[\]*]', " ", name).strip()


def _batches(items: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
    for start in range(0, len(items), BATCH):
        yield start, items[start : start + BATCH]
