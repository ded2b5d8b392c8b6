"""Genes of human and mouse out of the tables of NCBI, HGNC, MGI and Ensembl, and which are orthologs."""

import ast
import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from genetext.species import HUMAN, MOUSE
from scripts.facts_inputs import rows_of

# Types that have no symbol a data set would use: stretches of the genome, and records that are not yet understood.
LEFT_OUT = frozenset({"biological-region", "unknown"})
HGNC_TYPES = {"protein-coding gene": "protein-coding", "non-coding RNA": "ncRNA", "pseudogene": "pseudo"}


@dataclass(frozen=True)
class Gene:
    """One gene, as a row of the table `genes`."""

    gene_id: int
    symbol: str
    name: str = ""
    synonyms: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    ensembl_ids: tuple[str, ...] = ()
    gene_type: str = ""
    gene_groups: tuple[str, ...] = ()
    id_tax_id: int = HUMAN.tax_id


def parts(cell: str | None) -> tuple[str, ...]:
    """Split a cell of several values; NCBI's `-` and quotation marks of HGNC's own files are not values."""
    return tuple(part.strip() for part in (cell or "").strip('"').split("|") if part.strip() not in {"", "-"})


def distinct(values: Iterable[str], *, but: Iterable[str] = ()) -> tuple[str, ...]:
    """Return each value once, in order of first appearance, without those in `but`."""
    left_out = set(but)
    return tuple(value for value in dict.fromkeys(values) if value not in left_out)


def read_gene_info(path: Path, tax_id: int) -> dict[int, Gene]:
    """Read NCBI's gene_info. The human file also holds Neanderthals, under a tax id of their own."""
    genes = {}
    for row in rows_of(path):
        if row["#tax_id"] != str(tax_id) or row["type_of_gene"] in LEFT_OUT:
            continue
        ensembl = (x.removeprefix("Ensembl:") for x in parts(row["dbXrefs"]) if x.startswith("Ensembl:"))
        genes[int(row["GeneID"])] = Gene(
            gene_id=int(row["GeneID"]),
            symbol=row["Symbol"],
            name="" if row["description"] == "-" else row["description"],
            synonyms=distinct(parts(row["Synonyms"]), but=[row["Symbol"]]),
            ensembl_ids=distinct(ensembl),
            gene_type=row["type_of_gene"],
            id_tax_id=tax_id,
        )
    return genes


def merge_hgnc(genes: Mapping[int, Gene], rows: Iterable[Mapping[str, str]]) -> dict[int, Gene]:
    """Lay HGNC's approved symbols, names and Ensembl ids over NCBI's genes.

    HGNC tells previous symbols from synonyms, and its file is the newer one: where NCBI has another symbol, that one
    becomes a previous symbol. The type is NCBI's, but for genes that HGNC has since called protein-coding. A symbol
    and an Ensembl id mean one gene: the one HGNC gives them to; a gene that HGNC does not know, whose symbol is
    another's too, is left out.
    """
    approved: dict[int, Gene] = {}
    owners: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if not row["entrez_id"] or row["status"] != "Approved":
            continue
        symbol = row["symbol"]
        old = genes.get(int(row["entrez_id"]), Gene(int(row["entrez_id"]), symbol))
        hgnc_type = HGNC_TYPES.get(row["locus_group"], "other")
        previous = distinct((*parts(row["prev_symbol"]), old.symbol), but=[symbol])
        approved[old.gene_id] = replace(
            old,
            symbol=symbol,
            name=row["name"],
            previous=previous,
            synonyms=distinct((*parts(row["alias_symbol"]), *old.synonyms), but=[symbol, *previous]),
            ensembl_ids=distinct((*parts(row["ensembl_gene_id"]), *old.ensembl_ids)),
            gene_type=hgnc_type if hgnc_type == "protein-coding" or not old.gene_type else old.gene_type,
            gene_groups=distinct(parts(row.get("gene_group"))),
        )
        owners[row["ensembl_gene_id"]].add(old.gene_id)
    others = {gene_id: gene for gene_id, gene in genes.items() if gene_id not in approved}
    symbols = Counter(gene.symbol for gene in (*approved.values(), *others.values()))
    merged = approved | {gene_id: gene for gene_id, gene in others.items() if symbols[gene.symbol] == 1}
    claims = Counter(ensembl_id for gene in merged.values() for ensembl_id in gene.ensembl_ids)

    def belongs(ensembl_id: str, gene_id: int) -> bool:
        return owners[ensembl_id] == {gene_id} if ensembl_id in owners else claims[ensembl_id] == 1

    return {
        gene_id: replace(gene, ensembl_ids=tuple(x for x in gene.ensembl_ids if belongs(x, gene_id)))
        for gene_id, gene in sorted(merged.items())
    }


def read_goatools(path: Path) -> dict[int, dict[str, Any]]:
    """Read GeneID, symbol, aliases and name out of a Python file of NCBI's gene results, without running it."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if " : NtData(" not in line:
            continue
        entry = ast.parse(f"{{{line.strip().rstrip(',')}}}", mode="eval").body
        assert isinstance(entry, ast.Dict) and isinstance(entry.values[0], ast.Call)
        row = {str(word.arg): ast.literal_eval(word.value) for word in entry.values[0].keywords}
        found[int(row["GeneID"])] = row
    return found


def match_old_symbols(current: Mapping[str, Iterable[str]], old: Mapping[int, str]) -> dict[str, int]:
    """Find the GeneIDs of today's genes by the symbols they had when the GeneIDs were listed.

    Parameters
    ----------
    current
        Key of each of today's genes: its symbol first, then its synonyms.
    old
        Symbol of each GeneID then.

    Returns
    -------
    dict
        GeneID by key, where exactly one fits: the same symbol; else one synonym that was a symbol then, that is
        nobody's symbol now, and that only one gene has. Two genes that each have the other's symbol as a synonym have
        traded places at some time, and neither is matched.
    """
    by_symbol: dict[str, set[int]] = defaultdict(set)
    for gene_id, symbol in old.items():
        by_symbol[symbol].add(gene_id)
    names = {key: list(values) for key, values in current.items()}
    symbols = Counter(values[0] for values in names.values())
    owners = Counter(name for values in names.values() for name in set(values[1:]))
    matched = {}
    synonyms_of = {symbol: set(synonyms) for symbol, *synonyms in names.values()}
    for key, (symbol, *synonyms) in names.items():
        if any(symbol in synonyms_of.get(other, ()) for other in synonyms if other != symbol):
            continue
        candidates = by_symbol.get(symbol, set()) if symbols[symbol] == 1 else set()
        if not candidates:
            usable = (name for name in synonyms if owners[name] == 1 and name not in symbols)
            candidates = {gene_id for name in usable for gene_id in by_symbol.get(name, ())}
        if len(candidates) == 1:
            (matched[key],) = candidates
    claims = Counter(matched.values())
    return {key: gene_id for key, gene_id in matched.items() if claims[gene_id] == 1}


def ortholog_row(gene_id: int, human: Gene, one_to_one: bool) -> dict[str, Any]:
    """One row of the table `orthologs`."""
    groups = list(human.gene_groups)
    row = {"gene_id": gene_id, "human_gene_id": human.gene_id, "human_symbol": human.symbol}
    return {**row, "human_name": human.name, "human_gene_groups": groups, "one_to_one": one_to_one}


def mouse_from_ncbi(files: Mapping[str, Path], human: Mapping[int, Gene]) -> tuple[dict[int, Gene], pd.DataFrame]:
    """Mouse genes and their human orthologs from gene_info and gene_orthologs."""
    genes = read_gene_info(files["mouse_info"], MOUSE.tax_id)
    genes = {gene_id: gene for gene_id, gene in genes.items() if gene.gene_type == "protein-coding"}
    pairs = {
        (int(row["Other_GeneID"]), int(row["GeneID"]))
        for row in rows_of(files["orthologs"])
        if (row["#tax_id"], row["Other_tax_id"]) == (str(HUMAN.tax_id), str(MOUSE.tax_id))
    }
    pairs = {(gene_id, human_id) for gene_id, human_id in pairs if gene_id in genes and human_id in human}
    left, right = Counter(pair[0] for pair in pairs), Counter(pair[1] for pair in pairs)
    rows = [
        ortholog_row(gene_id, human[human_id], left[gene_id] == right[human_id] == 1)
        for gene_id, human_id in sorted(pairs)
    ]
    return genes, pd.DataFrame(rows)


def mouse_from_packages(files: Mapping[str, Path], human: Mapping[int, Gene]) -> tuple[dict[int, Gene], pd.DataFrame]:
    """Mouse genes and their human orthologs from MGI's symbols, NCBI's GeneIDs of 2016, and Ensembl's homology.

    A gene whose GeneID is not found stands under its one-to-one human ortholog's GeneID, and `id_tax_id` says so;
    NCBI numbers the genes of all species in one sequence, so the two never meet. A gene with neither is left out.
    """
    old = read_goatools(files["gene_ids"])
    today = {f"MGI:{row['ID']}": row for row in rows_of(files["mgi"])}
    names = {key: (row["symbol"], *parts(row["synonyms"])) for key, row in today.items()}
    gene_ids = match_old_symbols(names, {gene_id: row["Symbol"] for gene_id, row in old.items()})
    # The first Ensembl id is HGNC's; others of the same gene are mostly read-through loci with homologs of their own.
    by_ensembl = {human_gene.ensembl_ids[0]: human_gene for human_gene in human.values() if human_gene.ensembl_ids}
    with files["homology"].open(encoding="utf-8", newline="") as lines:
        homology = [row for row in csv.DictReader(lines) if row["Human homology type"]]
    homologs: dict[str, list[tuple[Gene, bool]]] = defaultdict(list)
    for row in homology:
        ortholog = by_ensembl.get(row["Human gene stable ID"])
        if ortholog:
            homologs[row["Gene stable ID"]].append((ortholog, row["Human homology type"] == "ortholog_one2one"))
    genes: dict[int, Gene] = {}
    orthologs = []
    claims = Counter(x for row in today.values() for x in parts(row["ensembl"]))
    for key, row in today.items():
        ensembl = tuple(x for x in parts(row["ensembl"]) if claims[x] == 1)
        found = [pair for x in ensembl for pair in homologs.get(x, ())]
        single = [human_gene for human_gene, one_to_one in found if one_to_one]
        if key in gene_ids:
            then = old[gene_ids[key]]
            gene = Gene(gene_ids[key], row["symbol"], str(then["description"]), id_tax_id=MOUSE.tax_id)
            gene = replace(gene, previous=distinct([str(then["Symbol"])], but=[gene.symbol]))
            aliases = tuple(alias.strip() for alias in str(then["Aliases"]).split(",") if alias.strip())
            gene = replace(gene, gene_type="protein-coding")
        elif single:
            gene = Gene(single[0].gene_id, row["symbol"], id_tax_id=HUMAN.tax_id, gene_type=single[0].gene_type)
            aliases = ()
        else:
            continue
        synonyms = distinct((*parts(row["synonyms"]), *aliases), but=[gene.symbol, *gene.previous])
        genes[gene.gene_id] = replace(gene, synonyms=synonyms, ensembl_ids=ensembl)
        orthologs += [ortholog_row(gene.gene_id, human_gene, one_to_one) for human_gene, one_to_one in found]
    orthologs.sort(key=lambda row: (row["gene_id"], row["human_gene_id"]))
    return dict(sorted(genes.items())), pd.DataFrame(orthologs)
