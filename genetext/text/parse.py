"""NCBI's bulk files of one species -> the tables of a snapshot.

The order of rows in the files does not matter: the same content gives the same tables, to the byte.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from genetext.errors import FetchError, first_ten
from genetext.fetch import entrez
from genetext.species import HUMAN, Species
from genetext.text import hygiene, tables
from genetext.text.ontology import go_table
from genetext.text.snapshot import SCHEMAS

REQUIRED = ("gene_info", "gene_summary")
OPTIONAL = ("gene_orthologs", "gene2go", "gene_history", "gene2ensembl", "human_gene_info")

_CHUNK = 2048  # rows turned into Arrow at once, so that Python objects never pile up
_PLACEHOLDER = "NEWENTRY"  # a row of NCBI's that stands for no gene: where texts wait for a record of their own


def assemble(files: Mapping[str, Path], species: Species) -> dict[str, pa.Table]:
    """Parse NCBI's files and return the tables of `snapshot.SCHEMAS` for one species.

    Parameters
    ----------
    files
        Paths of gzipped tables by name. Required: `gene_info` (the species' own file or the one of all species) and
        `gene_summary`. Optional: `gene_orthologs`, `gene2go`, `gene_history`, `gene2ensembl`, and for a species
        other than human `human_gene_info`, from which the orthologs' symbols and names come.
    species
        The species to keep.

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
    unknown = [name for name in files if name not in REQUIRED + OPTIONAL]
    if unknown:
        raise ValueError(f"unknown files {first_ten(unknown)}; known are {', '.join(REQUIRED + OPTIONAL)}")
    absent = [name for name in REQUIRED if name not in files]
    if absent:
        raise FetchError(f"the tables of {species.name} need {' and '.join(absent)}, which were not given")
    pairs: list[tuple[int, int]] = []
    if species.tax_id != HUMAN.tax_id and "gene_orthologs" in files:
        pairs = read_orthologs(files["gene_orthologs"], species)
    single = one_to_one(pairs)
    history = read_history(files["gene_history"], species) if "gene_history" in files else []
    ensembl = read_ensembl(files["gene2ensembl"], species) if "gene2ensembl" in files else {}
    keep_human = {human for _, human in single}
    genes, designations = genes_tables(files["gene_info"], species, history=history, ensembl=ensembl)
    return {
        "genes": genes,
        "designations": designations,
        "summaries": summaries_table(files["gene_summary"], species, human_genes=keep_human),
        "go": go_table(files["gene2go"], species, human_genes=keep_human)
        if "gene2go" in files
        else SCHEMAS["go"].empty_table(),
        "orthologs": _orthologs_table(pairs, single, files.get("human_gene_info")),
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
    columns = (
        "GeneID",
        "Symbol",
        "Synonyms",
        "dbXrefs",
        "description",
        "type_of_gene",
        "Symbol_from_nomenclature_authority",
        "Full_name_from_nomenclature_authority",
        "Other_designations",
    )
    designations: list[tuple[int, int, str]] = []

    def records() -> Iterable[tuple[Any, ...]]:
        for row in tables.rows(path, columns=columns, tax_ids=[species.tax_id]):
            gene_id = tables.integer(path, row[0], "GeneID")
            ncbi, description, kind, official, full = (tables.text(row[place]) for place in (1, 4, 5, 6, 7))
            if ncbi == _PLACEHOLDER:
                continue
            symbol = official or ncbi
            known_as = [name for name in dict.fromkeys((*tables.listed(row[2]), ncbi)) if name and name != symbol]
            before = sorted({name for name in retired.get(gene_id, ()) if name != symbol})
            mapped = [
                unversioned(name.removeprefix("Ensembl:"))
                for name in tables.listed(row[3])
                if name.startswith("Ensembl:")
            ]
            ids = list(dict.fromkeys((*mapped, *ensembl.get(gene_id, ()))))
            designations.extend((gene_id, place, other) for place, other in enumerate(tables.listed(row[8])))
            yield (gene_id, species.tax_id, symbol, full or description, known_as, before, ids, kind, [])

    table = _table("genes", records())
    if not table.num_rows:
        raise tables.no_rows(path, [species.tax_id])
    ids = table["gene_id"].to_pylist()
    if len(set(ids)) < len(ids):
        twice = sorted(gene_id for gene_id, count in Counter(ids).items() if count > 1)
        raise FetchError(f"{path} names the same gene more than once: GeneID {first_ten(twice)}")
    return table, _table("designations", designations)


def summaries_table(path: Path, species: Species, *, human_genes: Collection[int] = ()) -> pa.Table:
    """Parse `gene_summary` into the `summaries` table: the species' rows, and those of `human_genes`."""
    own = species.tax_id
    tax_ids = list(dict.fromkeys((own, HUMAN.tax_id)))
    seen = False

    def records() -> Iterable[tuple[Any, ...]]:
        nonlocal seen
        for tax, gene, source, served in tables.rows(
            path, columns=("tax_id", "GeneID", "Source", "Summary"), tax_ids=tax_ids
        ):
            seen = True
            gene_id, tax_id = tables.integer(path, gene, "GeneID"), int(tax)
            if tax_id != own and gene_id not in human_genes:
                continue
            yield _summary(gene_id, tax_id, tables.text(source), tables.text(served))

    table = _table("summaries", records())
    # A species may have no summary of its own; a file without one human summary either is not the file.
    if not seen:
        raise tables.no_rows(path, tax_ids)
    return table


def read_orthologs(path: Path, species: Species) -> list[tuple[int, int]]:
    """Return the sorted pairs (gene of the species, human gene), whichever way round the file lists them."""
    pairs = set()
    own, human = str(species.tax_id).encode(), str(HUMAN.tax_id).encode()
    columns = ("tax_id", "GeneID", "relationship", "Other_tax_id", "Other_GeneID")
    for tax, gene, relationship, other_tax, other in tables.rows(
        path, columns=columns, tax_ids=[species.tax_id], tax_columns=("tax_id", "Other_tax_id")
    ):
        if relationship != b"Ortholog" or {tax, other_tax} != {own, human}:
            continue
        ids = tables.integer(path, gene, "GeneID"), tables.integer(path, other, "Other_GeneID")
        pairs.add(ids if tax == own else ids[::-1])
    return sorted(pairs)


def one_to_one(pairs: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return those pairs (gene, human gene) whose members both stand in no other pair."""
    genes, humans = Counter(gene for gene, _ in pairs), Counter(human for _, human in pairs)
    return {(gene, human) for gene, human in pairs if genes[gene] == 1 == humans[human]}


def read_history(path: Path, species: Species) -> list[tuple[int, int, str, str]]:
    """Return (retired id, the gene that stands in its place now or 0, retired symbol, date YYYYMMDD), sorted.

    Where the successor was retired in its turn, the last one of the chain is given.
    """
    columns = ("GeneID", "Discontinued_GeneID", "Discontinued_Symbol", "Discontinue_Date")
    found: dict[int, tuple[int, str, str]] = {}
    for gene, old, symbol, date in tables.rows(path, columns=columns, tax_ids=[species.tax_id]):
        successor = 0 if gene == b"-" else tables.integer(path, gene, "GeneID")
        entry = (successor, tables.text(symbol), tables.text(date))
        old_id = tables.integer(path, old, "Discontinued_GeneID")
        # Of two rows for one id the later one counts, whatever their order.
        found[old_id] = max(entry, found.get(old_id, entry), key=lambda item: (item[2], item))
    return [(old_id, _successor(found, old_id), found[old_id][1], found[old_id][2]) for old_id in sorted(found)]


def read_ensembl(path: Path, species: Species) -> dict[int, list[str]]:
    """Return the Ensembl gene ids of each gene, without versions, unique and sorted."""
    ids: dict[int, set[str]] = {}
    for gene, ensembl in tables.rows(path, columns=("GeneID", "Ensembl_gene_identifier"), tax_ids=[species.tax_id]):
        if name := unversioned(tables.text(ensembl)):
            ids.setdefault(tables.integer(path, gene, "GeneID"), set()).add(name)
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


def _successor(found: Mapping[int, tuple[int, str, str]], old_id: int) -> int:
    seen = {old_id}
    gene_id = found[old_id][0]
    while gene_id in found:
        if gene_id in seen:  # a circle: nothing stands in its place
            return 0
        seen.add(gene_id)
        gene_id = found[gene_id][0]
    return gene_id


def _orthologs_table(
    pairs: list[tuple[int, int]], single: Collection[tuple[int, int]], human_info: Path | None
) -> pa.Table:
    named: dict[int, tuple[str, str]] = {}
    if pairs and human_info is not None:
        wanted = {human for _, human in pairs}
        columns = (
            "GeneID",
            "Symbol",
            "description",
            "Symbol_from_nomenclature_authority",
            "Full_name_from_nomenclature_authority",
        )
        for row in tables.rows(human_info, columns=columns, tax_ids=[HUMAN.tax_id]):
            gene_id = tables.integer(human_info, row[0], "GeneID")
            if gene_id in wanted:
                symbol, description, official, full = (tables.text(value) for value in row[1:])
                named[gene_id] = (official or symbol, full or description)
        if not named:
            raise tables.no_rows(human_info, [HUMAN.tax_id])
    return _table(
        "orthologs",
        ((gene, human, *named.get(human, ("", "")), [], (gene, human) in single) for gene, human in pairs),
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
