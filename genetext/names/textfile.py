"""Names of genes in a text file: a list, or a table of comma- or tab-separated columns, as R and pandas write it."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from genetext.errors import ResolveError
from genetext.features import are_kinds
from genetext.lines import read_lines
from genetext.names.rules import is_missing

COLUMNS = (
    *("gene_symbols", "gene_symbol", "feature_name", "gene_name", "gene_names", "gene_short_name"),
    *("symbol", "symbols", "hgnc_symbol", "mgi_symbol", "gene", "genes", "features", "name"),
    *("gene_ids", "gene_id", "feature_id", "ensembl_id", "ensembl_ids", "ensembl_gene_id", "ensembl"),
    *("ncbi_gene_id", "ncbi_gene_ids", "entrez", "entrez_id", "entrez_gene_id", "entrezgene", "entrezgene_id"),
)
"""Columns of `var` that are looked at, in any letter case; the earlier one wins between equally good ones."""
# How people, R and pandas head the column of names, besides the names of columns in `var`.
_HEADS = frozenset(
    {
        *("", "x", "index", "unnamed: 0", "names", "row.names", "rownames", "gene symbol", "gene name", "gene id"),
        *("probe", "id", "rank", "no.", "entrezid", "hgnc"),
    }
)


def read(path: Path) -> "list[str] | pd.DataFrame":
    """Read the names of a text file.

    A first line that heads columns is recognised (`gene`, `"","x"`, R's header that is one field shorter, or a word
    above nothing but numbers in one of several columns). A first column of numbers that is not called as ids are, or
    that only counts the rows, is skipped in favour of the first one of words.

    Parameters
    ----------
    path
        Fields may be in quotes; the separator is a tab where a line has one, else a comma.

    Returns
    -------
    Without a header the names, else a frame like the `var` of an AnnData, whose index are the names.

    Raises
    ------
    ResolveError
        The file is no text, or too large (`genetext.lines`).
    """
    refusal = f"{path} is neither h5ad nor zarr nor a text of gene names"
    lines = read_lines(path, error=ResolveError, refusal=refusal)
    try:
        # A line at a time, since a stray quote may open any.
        rows = [next(csv.reader([line], delimiter="\t" if "\t" in line else ",")) for line in lines]
    except csv.Error as error:
        raise ResolveError(f"{refusal}: {error}") from error
    rows = [[field.strip() for field in row] for row in rows]
    head, body = _parted(rows)
    width = max(map(len, body), default=1)
    columns = [[row[at] if at < len(row) else "" for row in body] for at in range(width)]
    if head is None and width == 3 and are_kinds(columns[2]):
        head = ["", "gene_symbols", "feature_types"]  # Cell Ranger's features.tsv
    usable = [at for at, column in enumerate(columns) if not _counts_rows(column)] if width > 1 else [0]
    # Numbers are values or counters rather than names, unless they come first, under a name of ids or none.
    first_is_named = head is None or head[0].lower() in {"", "id", "entrezid", "gene id"} or head[0].lower() in COLUMNS
    usable = [at for at in usable if (at == 0 and first_is_named) or not _is_numeric(columns[at])] or usable or [0]
    if head is None:
        return columns[usable[0]]
    head += [f"column {at + 1}" for at in range(len(head), width)]
    kept = {at: columns[at] for at in range(width) if at != usable[0]}
    frame = pd.DataFrame(kept, index=pd.Index(columns[usable[0]], dtype=object), dtype=object)
    return frame.set_axis([head[at] for at in kept], axis=1)


def _parted(rows: list[list[str]]) -> tuple[list[str] | None, list[list[str]]]:
    """Part the header, where there is one, from the other rows."""
    if len(rows) < 2:
        return None, rows
    first, body = rows[0], rows[1:]
    if all(len(row) == len(first) + 1 for row in body) and (len(first) > 1 or _counts_rows([row[0] for row in body])):
        return ["", *first], body
    if first[0].lower() in _HEADS or any(name.lower() in COLUMNS for name in first):
        return first, body
    width = min(map(len, rows))
    above_numbers = (_is_word(first[at]) and _is_numeric([row[at] for row in body]) for at in range(width))
    return (first, body) if width > 1 and any(above_numbers) else (None, rows)


def _is_word(text: str) -> bool:
    return text[:1].isalpha() and not is_missing(text) and not _is_numeric([text])


def _is_numeric(values: Sequence[str]) -> bool:
    return bool(pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").notna().all())


def _counts_rows(names: Sequence[str]) -> bool:
    """Whether a column of a table beside others counts its rows: then even two numbers do."""
    numbers = [name.removesuffix(".0") for name in names]
    first = next(iter(numbers), "")
    if first not in {"0", "1"}:
        return False
    return numbers == [str(number) for number in range(int(first), int(first) + len(numbers))]
