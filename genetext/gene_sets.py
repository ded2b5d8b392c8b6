"""Gene sets (terms) from files, plain or gzipped, as they are written.

=====================  =================================================================================================
GMT                    `term <tab> description <tab> gene <tab> gene ...`
table                  columns `term` and `gene`, or as msigdbr calls them (others are ignored), or two columns without
                       a header
table with splits      columns `term`, `split`, `gene`, `result`: negatives (`result` 0) and folds are given; the split
                       called `holdout` is the one that no choice sees
=====================  =================================================================================================
"""

import csv
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from genetext.errors import BenchError, GenetextError, first_ten
from genetext.lines import MAX_BYTES, read_lines

GeneSets = Mapping[str, Collection[str]] | str | Path
"""Gene sets by name, or a file of them."""

HOLDOUT = -1
"""In the column `split`: held out."""

_HOLDOUT_NAMES = ("holdout", "test")
# How tables call these columns, the surest first: ours, msigdbr's, and others.
_TERM = ("term", "gs_name", "gene_set", "geneset", "set", "pathway", "term_name")
_GENE = ("gene", "gene_symbol", "genes", "symbol", "gene_name", "gene_id", "entrez_gene", "ncbi_gene", "ensembl_gene")


def read_gene_sets(source: GeneSets, *, error: type[GenetextError] = BenchError) -> dict[str, tuple[str, ...]]:
    """Return gene sets by name, each gene once and as it is written.

    Parameters
    ----------
    source
        A mapping or a file; of a file with negatives, the members alone.
    error
        What to raise.

    Raises
    ------
    error
        The file cannot be read as gene sets, or there are none.
    """
    if isinstance(source, Mapping):
        sets = {str(term): tuple(dict.fromkeys(str(gene) for gene in genes)) for term, genes in source.items()}
    else:
        rows, _ = read_terms(Path(source), error=error)
        members = rows[rows["label"]].groupby("term", sort=False)["gene"]
        sets = {str(term): tuple(dict.fromkeys(genes)) for term, genes in members}
    if not any(sets.values()):
        raise error("there are no gene sets with genes: give a mapping from names to genes, or a GMT")
    return sets


def read_terms(
    path: Path, *, error: type[GenetextError] = BenchError, max_bytes: int = MAX_BYTES
) -> tuple[pd.DataFrame, bool]:
    """Read a file into columns `term`, `gene`, `label` (bool) and `split` (int16), and say whether splits were given.

    Parameters
    ----------
    path
        GMT or table.
    error
        What to raise.
    max_bytes
        Refuse a file that is larger when unpacked.

    Raises
    ------
    error
        The file is absent, damaged or too large, or has none of the three forms.
    """
    refusal = f"no gene sets can be read from {path}"
    lines = read_lines(path, error=error, refusal=refusal, max_bytes=max_bytes)
    try:
        rows, given_splits = _parsed(lines, path)
        if rows.empty:
            raise _Refused("it has a header and no rows")
    except _Refused as refused:
        raise error(f"{refusal}: {refused}") from refused.__cause__
    return rows, given_splits


class _Refused(Exception):
    """Why a file is not read, and the line."""


def _parsed(lines: list[str], path: Path) -> tuple[pd.DataFrame, bool]:
    if not lines:
        raise _Refused("it is empty; give a GMT, or a table with the columns term and gene")
    if ".gmt" in path.suffixes[-2:]:
        return _of_gmt(lines), False
    comma = "\t" not in lines[0]
    try:
        split = csv.reader(lines, strict=True) if comma else (line.split("\t") for line in lines)
        fields = [[field.strip() for field in row] for row in split]
    except csv.Error as cause:
        raise _Refused(f"it is no table: {cause}") from cause
    header = [name.lower().lstrip("#") for name in fields[0]]
    term, gene = (next((name for name in names if name in header), None) for names in (_TERM, _GENE))
    if term and gene:
        if wrong := [number for number, row in enumerate(fields, 1) if len(row) != len(header)]:
            raise _Refused(
                f"it has {len(header)} columns, and another number of them in line {first_ten(wrong)}; mend the table"
            )
        if repeated := sorted({name for name in header if header.count(name) > 1}):
            raise _Refused(f"it has columns of one name: {first_ten(repeated)}")
        table = pd.DataFrame(fields[1:], columns=header, dtype=object)
        if {"split", "result"} <= set(header):
            return _with_splits(table.rename(columns={term: "term", gene: "gene"})), True
        return _members(table[term], table[gene]), False
    if all(len(row) == 2 for row in fields):
        return _members(*zip(*fields, strict=True)), False
    if not comma and all(len(row) >= 3 for row in fields):
        return _of_gmt(lines), False
    raise _Refused(
        f"its first line is {lines[0][:80]!r}; give a GMT, a table with the columns term and gene, or one with term, "
        f"split, gene and result"
    )


def _of_gmt(lines: list[str]) -> pd.DataFrame:
    rows, wrong = [], []
    for number, line in enumerate(lines, 1):
        term, *rest = line.split("\t")
        if not rest:
            wrong.append(number)
        rows += [(term.strip(), gene.strip()) for gene in rest[1:] if gene.strip()]
    if wrong or not rows:
        raise _Refused(
            f"it is no GMT (term, description, genes, with tabs between), see line {first_ten(wrong) or '1'}"
        )
    return _members(*zip(*rows, strict=True))


def _members(terms: Collection[str], genes: Collection[str]) -> pd.DataFrame:
    table = pd.DataFrame({"term": list(terms), "gene": list(genes)}, dtype=object)
    return table.assign(label=True, split=np.int16(0))


def _with_splits(table: pd.DataFrame) -> pd.DataFrame:
    results, splits = table["result"], table["split"]
    if odd := sorted(set(results) - {"0", "1"}):
        raise _Refused(f"result is 1 for a gene of the term and 0 for another, not {first_ten(odd)}")
    folds = sorted(set(splits) - set(_HOLDOUT_NAMES))
    if len(folds) == splits.nunique() or len(folds) < 2:
        raise _Refused(f"split has to name two folds or more, and a 'holdout'; it has {first_ten(sorted(set(splits)))}")
    numbers = {**{fold: number for number, fold in enumerate(folds)}, **dict.fromkeys(_HOLDOUT_NAMES, HOLDOUT)}
    return table[["term", "gene"]].assign(
        label=(results == "1").to_numpy(), split=splits.map(numbers).to_numpy(np.int16)
    )
