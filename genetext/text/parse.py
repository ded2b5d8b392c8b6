"""NCBI's bulk files of one species -> the tables of a snapshot.

The order of rows in the files does not matter: the same content gives the same tables, to the byte.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from genetext.errors import FetchError, first_ten
from genetext.fetch import entrez
from genetext.fetch.limits import Limits
from genetext.species import HUMAN, Species
from genetext.text import hygiene, tables
from genetext.text.ontology import go_table
from genetext.text.snapshot import SCHEMAS


@dataclass(frozen=True)
class BulkFile:
    """One of NCBI's files that a snapshot is made of.

    Attributes
    ----------
    name
        How `assemble` calls it.
    path
        Where it lies below `gene/DATA`; empty: where `Species.gene_info` says.
    loss
        What is lost without it; empty: nothing works without it.
    of_human
        Whether it is wanted for human, too.
    """

    name: str
    path: str
    loss: str = ""
    of_human: bool = True

    def paths(self, species: Species) -> tuple[str, ...]:
        """Where it may lie for a species, the place to prefer first."""
        return (self.path,) if self.path else species.gene_info


FILES = (
    BulkFile("gene_info", ""),
    BulkFile("gene_summary", "gene_summary.gz"),
    BulkFile("gene_orthologs", "gene_orthologs.gz", "no human orthologs", of_human=False),
    BulkFile("gene2go", "gene2go.gz", "no Gene Ontology terms"),
    BulkFile("gene_history", "gene_history.gz", "retired GeneIDs and former symbols are not known"),
    BulkFile("gene2ensembl", "gene2ensembl.gz", "Ensembl ids are those of gene_info only"),
    # Of human only the orthologs' names are wanted: not worth the file of all species.
    BulkFile("human_gene_info", HUMAN.gene_info[0], "human orthologs have no names", of_human=False),
)
"""The files, in the order in which they are fetched. A new one is a line here and its reader in `assemble`."""

_CHUNK = 2048  # rows turned into Arrow at once, so that Python objects never pile up
_NAMES = dict.fromkeys(
    ("Symbol", "description", "Symbol_from_nomenclature_authority", "Full_name_from_nomenclature_authority"),
    tables.text,
)
_PLACEHOLDER = "NEWENTRY"  # a row of NCBI's that stands for no gene: where texts wait for a record of their own


def assemble(files: Mapping[str, Path], species: Species, *, limits: Limits | None = None) -> dict[str, pa.Table]:
    """Parse NCBI's files and return the tables of `snapshot.SCHEMAS` for one species.

    Parameters
    ----------
    files
        Paths of gzipped tables by their names in `FILES`.
    species
        The species to keep.
    limits
        How much to read of a file. Default: `Limits.from_environment()`.

    Returns
    -------
    dict of pyarrow.Table
        `genes`, `designations`, `summaries`, `go`, `orthologs` and `history`, sorted. For a species other than human,
        `summaries` and `go` also hold the rows of its one-to-one human orthologs, under tax_id 9606.

    Raises
    ------
    FetchError
        A file is absent, damaged or not NCBI's table, or has nothing about the species where it must have.
    """
    known = [file.name for file in FILES]
    if unknown := [name for name in files if name not in known]:
        raise ValueError(f"unknown files {first_ten(unknown)}; known are {', '.join(known)}")
    if absent := [file.name for file in FILES if not file.loss and file.name not in files]:
        raise FetchError(f"the tables of {species.name} need {' and '.join(absent)}, which were not given")
    limits = limits or Limits.from_environment()
    pairs: list[tuple[int, int]] = []
    if species.tax_id != HUMAN.tax_id and "gene_orthologs" in files:
        pairs = read_orthologs(files["gene_orthologs"], species, limits=limits)
    single = one_to_one(pairs)
    history = read_history(files["gene_history"], species, limits=limits) if "gene_history" in files else []
    ensembl = read_ensembl(files["gene2ensembl"], species, limits=limits) if "gene2ensembl" in files else {}
    human_genes = {human for _, human in single}
    genes, designations = genes_tables(files["gene_info"], species, history=history, ensembl=ensembl, limits=limits)
    summaries = summaries_table(files["gene_summary"], species, human_genes=human_genes, limits=limits)
    go = SCHEMAS["go"].empty_table()
    if "gene2go" in files:
        go = go_table(files["gene2go"], species, human_genes=human_genes, limits=limits)
    return {
        "genes": genes,
        "designations": designations,
        "summaries": summaries,
        "go": go,
        "orthologs": _orthologs_table(pairs, single, files.get("human_gene_info"), limits),
        "history": _table("history", history),
    }


def tables_of(genes: entrez.Genes) -> dict[str, pa.Table]:
    """Return what E-utilities had on some genes as the tables of `snapshot.SCHEMAS`; they have no GO terms."""
    records = [genes.records[uid] for uid in sorted(genes.records)]
    texts = [*records, *(human for human, is_single in genes.orthologs.values() if is_single)]

    def gene(record: entrez.Record) -> tuple[Any, ...]:
        uid = record.gene_id
        kind, ids = genes.gene_types.get(uid, "unknown"), sorted(genes.ensembl_ids.get(uid, ()))
        return (uid, record.tax_id, record.symbol, record.name, list(record.synonyms), [], ids, kind, [])

    rows: dict[str, Iterable[tuple[Any, ...]]] = {
        "genes": map(gene, records),
        "designations": ((x.gene_id, place, other) for x in records for place, other in enumerate(x.designations)),
        "summaries": (_summary(x.gene_id, x.tax_id, None, x.summary) for x in texts if x.summary),
        "go": (),
        "orthologs": (
            (uid, human.gene_id, human.symbol, human.name, [], is_single)
            for uid, (human, is_single) in genes.orthologs.items()
        ),
        "history": ((old, new, symbol, "") for old, (new, symbol) in genes.retired.items()),
    }
    return {name: _table(name, rows[name]) for name in SCHEMAS}


def genes_tables(
    path: Path,
    species: Species,
    *,
    history: Iterable[tuple[int, int, str, str]] = (),
    ensembl: Mapping[int, list[str]] | None = None,
    limits: Limits | None = None,
) -> tuple[pa.Table, pa.Table]:
    """Parse a `gene_info` file into the tables `genes` and `designations`.

    `symbol` and `name` are the nomenclature authority's where it gives them (`MT-CO1`), with NCBI's own (`COX1`) among
    the synonyms. `previous` holds the symbols of retired records that now point to the gene; NCBI does not tell the
    other former symbols from synonyms. `gene_groups` stays empty: these files do not have them.
    """
    retired: dict[int, list[str]] = {}
    for _, gene_id, symbol, _ in history:
        if gene_id and symbol:
            retired.setdefault(gene_id, []).append(symbol)
    ensembl = ensembl or {}
    columns: dict[str, tables.Read] = {
        "GeneID": tables.number,
        "Synonyms": tables.listed,
        "dbXrefs": tables.listed,
        "type_of_gene": tables.text,
        "Other_designations": tables.listed,
        **_NAMES,
    }
    designations: list[tuple[int, int, str]] = []

    def records() -> Iterable[tuple[Any, ...]]:
        for gene_id, synonyms, references, kind, others, ncbi, description, official, full in tables.rows(
            path, columns=columns, tax_ids=[species.tax_id], limits=limits
        ):
            if ncbi == _PLACEHOLDER:
                continue
            symbol = official or ncbi
            known_as = [name for name in dict.fromkeys((*synonyms, ncbi)) if name and name != symbol]
            before = sorted({name for name in retired.get(gene_id, ()) if name != symbol})
            mapped = (unversioned(x.removeprefix("Ensembl:")) for x in references if x.startswith("Ensembl:"))
            ids = list(dict.fromkeys((*mapped, *ensembl.get(gene_id, ()))))
            designations.extend((gene_id, place, other) for place, other in enumerate(others))
            yield (gene_id, species.tax_id, symbol, full or description, known_as, before, ids, kind, [])

    table = _table("genes", records())
    if not table.num_rows:
        raise tables.no_rows(path, [species.tax_id])
    ids = table["gene_id"].to_pylist()
    if len(set(ids)) < len(ids):
        twice = sorted(gene_id for gene_id, count in Counter(ids).items() if count > 1)
        raise FetchError(f"{path} names the same gene more than once: GeneID {first_ten(twice)}")
    return table, _table("designations", designations)


def summaries_table(
    path: Path, species: Species, *, human_genes: Collection[int] = (), limits: Limits | None = None
) -> pa.Table:
    """Parse `gene_summary` into the `summaries` table: the species' rows, and those of `human_genes`."""
    tax_ids = list(dict.fromkeys((species.tax_id, HUMAN.tax_id)))
    columns = {"tax_id": tables.number, "GeneID": tables.number, "Source": tables.text, "Summary": tables.text}
    seen = False

    def records() -> Iterable[tuple[Any, ...]]:
        nonlocal seen
        for tax_id, gene_id, source, served in tables.rows(path, columns=columns, tax_ids=tax_ids, limits=limits):
            seen = True
            if tax_id == species.tax_id or gene_id in human_genes:
                yield _summary(gene_id, tax_id, source, served)

    table = _table("summaries", records())
    # A species may have no summary of its own; a file without one human summary either is not the file.
    if not seen:
        raise tables.no_rows(path, tax_ids)
    return table


def read_orthologs(path: Path, species: Species, *, limits: Limits | None = None) -> list[tuple[int, int]]:
    """Return the sorted pairs (gene of the species, human gene), whichever way round the file lists them."""
    pairs = set()
    columns: dict[str, tables.Read] = {"relationship": bytes} | dict.fromkeys(
        ("tax_id", "GeneID", "Other_tax_id", "Other_GeneID"), tables.number
    )
    for relationship, tax_id, gene_id, other_tax_id, other_id in tables.rows(
        path, columns=columns, tax_ids=[species.tax_id], tax_columns=("tax_id", "Other_tax_id"), limits=limits
    ):
        if relationship == b"Ortholog" and {tax_id, other_tax_id} == {species.tax_id, HUMAN.tax_id}:
            pairs.add((gene_id, other_id) if tax_id == species.tax_id else (other_id, gene_id))
    return sorted(pairs)


def one_to_one(pairs: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return those pairs (gene, human gene) whose members both stand in no other pair."""
    genes, humans = Counter(gene for gene, _ in pairs), Counter(human for _, human in pairs)
    return {(gene, human) for gene, human in pairs if genes[gene] == 1 == humans[human]}


def read_history(path: Path, species: Species, *, limits: Limits | None = None) -> list[tuple[int, int, str, str]]:
    """Return (retired id, the gene that stands in its place now or 0, retired symbol, date YYYYMMDD), sorted.

    Where the successor was retired in its turn, the last one of the chain is given.
    """
    columns = {
        "GeneID": lambda value: 0 if value == b"-" else tables.number(value),
        "Discontinued_GeneID": tables.number,
        "Discontinued_Symbol": tables.text,
        "Discontinue_Date": tables.text,
    }
    entries: dict[int, tuple[int, str, str]] = {}
    for successor, old_id, symbol, date in tables.rows(path, columns=columns, tax_ids=[species.tax_id], limits=limits):
        entry = (successor, symbol, date)
        # Of two rows for one id the later one counts, whatever their order.
        entries[old_id] = max(entry, entries.get(old_id, entry), key=lambda item: (item[2], item))
    return [(old_id, _successor(entries, old_id), *entries[old_id][1:]) for old_id in sorted(entries)]


def read_ensembl(path: Path, species: Species, *, limits: Limits | None = None) -> dict[int, list[str]]:
    """Return the Ensembl gene ids of each gene, without versions, unique and sorted."""
    ids: dict[int, set[str]] = {}
    columns = {"GeneID": tables.number, "Ensembl_gene_identifier": tables.text}
    for gene_id, ensembl_id in tables.rows(path, columns=columns, tax_ids=[species.tax_id], limits=limits):
        if ensembl_id:
            ids.setdefault(gene_id, set()).add(unversioned(ensembl_id))
    return {gene_id: sorted(names) for gene_id, names in ids.items()}


def unversioned(ensembl_id: str) -> str:
    """Cut the version of an Ensembl id (`ENSG00000141510.19`); ids of other databases may have a dot of their own."""
    return ensembl_id.partition(".")[0] if ensembl_id.startswith("ENS") else ensembl_id


def _summary(gene_id: int, tax_id: int, source: str | None, served: str) -> tuple[Any, ...]:
    """Return a row of `summaries`; E-utilities do not name the source (None) as the bulk file does, the tail does."""
    cleaned = hygiene.clean(served)
    provider, pmids, boilerplate = cleaned.provider, list(cleaned.pmids), list(cleaned.boilerplate)
    if source is None:
        source = "Alliance" if provider.startswith("Alliance") else provider or "NCBI Gene"
    return (gene_id, tax_id, source, served, cleaned.text, provider, cleaned.text_date, pmids, boilerplate)


def _successor(entries: Mapping[int, tuple[int, str, str]], old_id: int) -> int:
    seen = {old_id}
    gene_id = entries[old_id][0]
    while gene_id in entries:
        if gene_id in seen:  # a circle: nothing stands in its place
            return 0
        seen.add(gene_id)
        gene_id = entries[gene_id][0]
    return gene_id


def _orthologs_table(
    pairs: list[tuple[int, int]], single: Collection[tuple[int, int]], human_info: Path | None, limits: Limits
) -> pa.Table:
    names: dict[int, tuple[str, str]] = {}
    if pairs and human_info is not None:
        wanted = {human for _, human in pairs}
        columns = {"GeneID": tables.number, **_NAMES}
        for gene_id, symbol, description, official, full in tables.rows(
            human_info, columns=columns, tax_ids=[HUMAN.tax_id], limits=limits
        ):
            if gene_id in wanted:
                names[gene_id] = (official or symbol, full or description)
        if not names:
            raise tables.no_rows(human_info, [HUMAN.tax_id])
    return _table(
        "orthologs",
        ((gene, human, *names.get(human, ("", "")), [], (gene, human) in single) for gene, human in pairs),
    )


def _table(name: str, records: Iterable[tuple[Any, ...]]) -> pa.Table:
    """Build one of the snapshot's tables from rows, in chunks, sorted by all columns that are not lists."""
    schema = SCHEMAS[name]
    batches: list[pa.RecordBatch] = []
    chunk: list[tuple[Any, ...]] = []

    def flush() -> None:
        columns = zip(*chunk, strict=True)
        arrays = [pa.array(values, type=kind) for values, kind in zip(columns, schema.types, strict=True)]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
        chunk.clear()

    for record in records:
        chunk.append(record)
        if len(chunk) == _CHUNK:
            flush()
    if chunk:
        flush()
    if not batches:
        return schema.empty_table()
    table = pa.Table.from_batches(batches, schema=schema)
    keys = [(field.name, "ascending") for field in schema if not pa.types.is_list(field.type)]
    return table.sort_by(keys).combine_chunks()
