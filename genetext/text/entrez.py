"""A handful of genes, and taxonomy, from NCBI's E-utilities.

Requests are POSTed, so that neither an API key nor an e-mail address is ever part of a URL; answers are read with
Biopython's `Entrez.read`, which knows NCBI's DTDs. Biopython's own request functions are not used: their base URL
is fixed, they put the key into the URL (and so into exceptions), and they ignore `Retry-After`.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa

from genetext import disk
from genetext.errors import FetchError, SpeciesError, first_ten
from genetext.species import HUMAN, Species
from genetext.text import hygiene, web
from genetext.text.download import Progress
from genetext.text.snapshot import SCHEMAS
from genetext.text.web import Patience, Tries

EUTILS = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/"
BATCH = 200
_REPLACED = 5  # how often in a row
# NCBI allows 3 and 10 requests a second; requests that leave evenly do not arrive evenly, so stay a little below.
INTERVAL, INTERVAL_WITH_KEY = 0.37, 0.11

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


class _Limiter:
    """Lets requests of all threads of this process leave no closer than an interval."""

    def __init__(self) -> None:
        self._lock, self._next = threading.Lock(), 0.0

    def wait(self, interval: float) -> None:
        with self._lock:
            now = time.monotonic()
            leave = max(now, self._next)
            self._next = leave + interval
        time.sleep(leave - now)


# NCBI counts requests per address, whoever in this process makes them: the one thing here that has to be shared.
_LIMITERS: dict[str, _Limiter] = {}
_LIMITERS_LOCK = threading.Lock()


@dataclass(frozen=True)
class Eutils:
    """NCBI's E-utilities at some address.

    Attributes
    ----------
    url
        Base URL with a slash at the end.
    email
        Sent with each request, as NCBI asks. Default: `$NCBI_EMAIL`.
    api_key
        Raises the limit from 3 to 10 requests a second. Default: `$NCBI_API_KEY`. Never shown.
    interval
        Seconds between requests. Default: what NCBI allows with or without a key.
    patience
        Timeouts and retries.
    """

    url: str = EUTILS
    email: str | None = field(default_factory=lambda: os.environ.get("NCBI_EMAIL") or None)
    api_key: str | None = field(default_factory=lambda: os.environ.get("NCBI_API_KEY") or None, repr=False)
    interval: float | None = None
    patience: Patience = field(default_factory=Patience)

    @property
    def where(self) -> str:
        """The address as it may be shown and recorded."""
        return web.public(self.url)

    def ask(self, client: web.Client, utility: str, /, *path: str, **fields: object) -> Any:
        """Call one utility and return its answer, or the part of it under the keys `path`, as Biopython reads it.

        Raises
        ------
        Unreachable
            No answer after all tries.
        FetchError
            NCBI refuses the request or the key, or answers with something else than its XML.
        """
        what = self.where + utility
        form = {"tool": "genetext", "email": self.email, "api_key": self.api_key, **fields}
        data = {name: str(value) for name, value in form.items() if value is not None}
        interval = self.interval if self.interval is not None else INTERVAL_WITH_KEY if self.api_key else INTERVAL
        tries = Tries(what, self.patience)
        while True:
            self._limiter.wait(interval)
            wait, content = None, False
            try:
                # A redirect is not followed: it could carry the key elsewhere.
                answer = client.post(f"{self.url}{utility}.fcgi", data=data, follow_redirects=False)
            except httpx.RequestError as cause:
                error = web.no_answer(what, cause, self.patience)
            else:
                if answer.status_code == 200:
                    record, problem = _read(answer.content, path)
                    if problem is None:
                        return record
                    error, content = FetchError(f"{what}: {self._scrub(problem)}"), True
                elif answer.status_code in web.AGAIN:
                    error, wait = web.bad_status(what, answer), web.retry_after(answer.headers)
                elif self.api_key and b"API key" in answer.content:
                    raise FetchError(f"{what}: NCBI refuses the API key of NCBI_API_KEY; correct it or unset it")
                else:
                    raise web.bad_status(what, answer)
            tries.after(error, answered=client.answered, wait=wait, content=content)

    @property
    def _limiter(self) -> _Limiter:
        with _LIMITERS_LOCK:
            return _LIMITERS.setdefault(self.where, _Limiter())

    def _scrub(self, text: str) -> str:
        return text.replace(self.api_key, "***") if self.api_key else text


@dataclass(frozen=True)
class Genes:
    """What E-utilities had on some genes.

    Attributes
    ----------
    tables
        The tables of a snapshot; `go` is empty, since E-utilities' summaries have no terms.
    not_found
        Per name that was not found, or not told apart, why.
    """

    tables: Mapping[str, pa.Table]
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
        tables = search.tables()
    if search.not_found:
        told = [f"{name} ({reason})" for name, reason in search.not_found.items()]
        _log.warning("%d of %d genes not found at NCBI: %s", len(told), len(names), first_ten(told))
    return Genes(tables, dict(search.not_found))


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
        ids = [str(uid) for uid in eutils.ask(client, "esearch", "IdList", db="taxonomy", term=term, retmax=10)]
        if not ids:
            raise SpeciesError(f"NCBI's taxonomy does not know {name!r}: check the spelling, or give the taxonomy id")
        taxa = eutils.ask(client, "efetch", db="taxonomy", id=",".join(ids), retmode="xml")
    if len(taxa) > 1:
        told = [f"{taxon['ScientificName']} ({taxon['TaxId']})" for taxon in taxa]
        raise SpeciesError(f"{name!r} means several taxa: {first_ten(told)}; give the taxonomy id")
    latin, lineage = str(taxa[0]["ScientificName"]), set(str(taxa[0].get("Lineage", "")).split("; "))
    group = next((folder for taxon, folder in _GROUPS.items() if taxon in lineage), None)
    return Species(int(taxa[0]["TaxId"]), re.sub(r"[^a-z0-9]+", "-", latin.lower()).strip("-"), latin, group)


@dataclass(frozen=True)
class _Record:
    """One gene as esummary tells it."""

    gene_id: int
    tax_id: int
    symbol: str
    name: str
    synonyms: tuple[str, ...]
    summary: str
    live: bool
    current_id: int

    @classmethod
    def read(cls, document: Any) -> "_Record | None":
        if "error" in document:
            return None
        text = {key: str(value) for key, value in document.items() if isinstance(value, str)}
        return cls(
            gene_id=int(document.attributes["uid"]),
            tax_id=int(document["Organism"]["TaxID"]),
            symbol=text.get("Name", ""),
            name=text.get("NomenclatureName") or text.get("Description", ""),
            synonyms=tuple(part for part in text.get("OtherAliases", "").split(", ") if part),
            summary=text.get("Summary", "").strip(),
            live=text.get("Status") in {"0", "", None},
            current_id=int(text.get("CurrentID") or 0),
        )


class _Search:
    """Turns names into records of one species."""

    def __init__(self, eutils: Eutils, client: web.Client, species: Species) -> None:
        self.eutils, self.client, self.species = eutils, client, species
        self.records: dict[int, _Record] = {}
        self.ensembl: dict[int, list[str]] = {}
        self.not_found: dict[str, str] = {}
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
        known: dict[int, _Record] = {}
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
        found = self.search(f'"{plain}"[All Fields]')
        if len(found) == 1:
            self.records |= found
            self.ensembl.setdefault(next(iter(found)), []).append(plain)
        else:
            self.not_found[name] = f"{len(found)} genes have it" if found else "unknown Ensembl id"

    def by_symbol(self, names: Sequence[str]) -> None:
        left = self._match(names, "Preferred Symbol", lambda record: (record.symbol,))
        left = self._match(left, "Gene Name", lambda record: record.synonyms)
        self.not_found |= {name: "unknown name" for name in left if name not in self.not_found}

    def _match(self, names: Sequence[str], in_field: str, names_of: Any) -> list[str]:
        """Take the names that exactly one gene has in a field (letter case decides only where it must)."""
        terms = [f'"{_quotable(name)}"[{in_field}]' for name in names if name not in self.not_found]
        if not terms:
            return []
        found = self.search(f"({' OR '.join(terms)})")
        left = []
        for name in names:
            hits = [uid for uid, record in found.items() if name in names_of(record)] or [
                uid
                for uid, record in found.items()
                if name.casefold() in {other.casefold() for other in names_of(record)}
            ]
            if len(hits) == 1:
                self.records[hits[0]] = found[hits[0]]
            elif hits:
                told = first_ten([f"{found[uid].symbol} ({uid})" for uid in sorted(hits)])
                self.not_found[name] = f"ambiguous: {told}"
            else:
                left.append(name)
        return left

    def search(self, term: str, *, tax_id: int | None = None) -> dict[int, _Record]:
        """Return the live genes of the species that match an Entrez query."""
        ids = self.ids(f"{term} AND {tax_id or self.species.tax_id}[Taxonomy ID] AND alive[prop]")
        return {uid: record for uid, record in self.summaries(ids).items() if record.live}

    def ids(self, term: str) -> list[int]:
        found = self.eutils.ask(self.client, "esearch", "IdList", db="gene", term=term, retmax=10 * BATCH)
        return [int(uid) for uid in found]

    def summaries(self, ids: Iterable[int]) -> dict[int, _Record]:
        records = {}
        for _, batch in _batches(list(ids)):
            path = ("DocumentSummarySet", "DocumentSummary")
            uids = ",".join(map(str, batch))
            for document in self.eutils.ask(self.client, "esummary", *path, db="gene", id=uids, version="2.0"):
                record = _Record.read(document)
                if record is not None:
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

    def human_orthologs(self) -> dict[int, tuple[_Record, bool]]:
        """Find human genes that go by the genes' symbols, as far as NCBI's ortholog groups confirm them."""
        if self.species.tax_id == HUMAN.tax_id:
            return {}
        by_symbol = {record.symbol.casefold(): uid for uid, record in self.records.items()}
        confirmed: dict[int, tuple[_Record, bool]] = {}
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

    def tables(self) -> dict[str, pa.Table]:
        """Return what was found as the tables of a snapshot."""
        types, orthologs = self.gene_types(), self.human_orthologs()
        if self.species.tax_id != HUMAN.tax_id and len(orthologs) < len(self.records):
            without = [record.symbol for uid, record in sorted(self.records.items()) if uid not in orthologs]
            _log.info(
                "no human ortholog found at NCBI for %s: NCBI is asked for human genes that go by the same symbol",
                first_ten(without),
            )
        genes = [
            {
                "gene_id": uid,
                "id_tax_id": record.tax_id,
                "symbol": record.symbol,
                "name": record.name,
                "synonyms": list(record.synonyms),
                "previous": [],
                "ensembl_ids": sorted(self.ensembl.get(uid, [])),
                "gene_type": types.get(uid, "unknown"),
                "gene_groups": [],
            }
            for uid, record in sorted(self.records.items())
        ]
        texts = [*self.records.values(), *(human for human, one in orthologs.values() if one)]
        pairs = [
            {
                "gene_id": uid,
                "human_gene_id": human.gene_id,
                "human_symbol": human.symbol,
                "human_name": human.name,
                "human_gene_groups": [],
                "one_to_one": one,
            }
            for uid, (human, one) in sorted(orthologs.items())
        ]
        history = [
            {"old_gene_id": old, "gene_id": new, "old_symbol": symbol, "date": ""}
            for old, (new, symbol) in sorted(self.retired.items())
        ]
        rows = {"genes": genes, "summaries": _summary_rows(texts), "orthologs": pairs, "history": history, "go": []}
        return {name: pa.Table.from_pylist(rows[name], schema=schema) for name, schema in SCHEMAS.items()}


def _summary_rows(records: Iterable[_Record]) -> list[dict[str, Any]]:
    rows = []
    for record in sorted(records, key=lambda record: record.gene_id):
        if not record.summary:
            continue
        cleaned = hygiene.clean(record.summary)
        rows.append(
            {
                "gene_id": record.gene_id,
                "tax_id": record.tax_id,
                # esummary does not name the source as the bulk file does; the text's own tail does.
                "source": "Alliance" if cleaned.provider.startswith("Alliance") else cleaned.provider or "NCBI Gene",
                "summary": record.summary,
                "text": cleaned.text,
                "provider": cleaned.provider,
                "text_date": cleaned.text_date,
                "pmids": list(cleaned.pmids),
                "boilerplate": list(cleaned.boilerplate),
            }
        )
    return rows


def _read(content: bytes, path: Sequence[str]) -> tuple[Any, str | None]:
    """Parse an answer: the part of it under `path`, or what is wrong with it."""
    from Bio import Entrez

    biopython: Any = Entrez
    if biopython.local_cache is None:  # Biopython makes this folder, by default in the home directory
        biopython.local_cache = str(disk.cache_dir() / "entrez")
    try:
        with disk.saying_where(Path(biopython.local_cache)):
            record = biopython.read(BytesIO(content), validate=False, ignore_errors=True)
    except (ValueError, RuntimeError) as error:
        head = " ".join(content[:200].decode("utf-8", "replace").split())
        return None, f"the answer is not NCBI's XML ({type(error).__name__}); it begins with {head[:80]!r}"
    if isinstance(record, dict) and "ERROR" in record:
        return None, f"NCBI reports an error: {record['ERROR']}"
    for key in path:
        if key not in record:
            return None, f"the answer has no {key}"
        record = record[key]
    return record, None


def _quotable(name: str) -> str:
    """Take out what would end a quoted phrase of an Entrez query."""
    return re.sub(r'["\[\]*]', " ", name).strip()


def _batches(items: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
    for start in range(0, len(items), BATCH):
        yield start, items[start : start + BATCH]
