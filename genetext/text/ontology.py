"""`gene2go` -> the `go` table: each gene's Gene Ontology terms, ranked from the most specific one.

How specific a term is, is measured by its information content in the file itself: the fewer genes of the species are
annotated with it, the more it says (Resnik, "Using information content to evaluate semantic similarity", 1995; here
counted on direct annotations, since the file does not hold the ontology's graph).
"""

from array import array
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from genetext.fetch.limits import Limits
from genetext.species import HUMAN, Species
from genetext.text import tables
from genetext.text.snapshot import SCHEMAS

UNRANKED = -1
_HIGHEST_RANK = int(np.iinfo(np.int16).max)
_NO_DATA = "ND"  # evidence code: somebody looked and found nothing to say


def go_table(
    path: Path, species: Species, *, human_genes: Collection[int] = (), limits: Limits | None = None
) -> pa.Table:
    """Parse `gene2go` into the `go` table: the species' rows, and those of `human_genes`.

    `rank` orders the terms of a gene within a category, 0 the term that the fewest genes of that species have in the
    whole file, ties by `go_id`; several rows (evidences) of one term share its rank. Rows that say what a gene does
    *not* do (a NOT qualifier) and rows without data (evidence ND) are kept with rank -1, and count for nothing.

    Parameters
    ----------
    path
        The file `gene2go.gz`.
    species
        The species to keep.
    human_genes
        For a species other than human: the human genes whose rows to keep beside its own, under tax_id 9606.
    limits
        As for `tables.rows`.

    Raises
    ------
    FetchError
        The file is not that table.
    """
    tax_ids = list(dict.fromkeys((species.tax_id, *([HUMAN.tax_id] if human_genes else []))))
    columns: dict[str, tables.Read] = {"tax_id": tables.number, "GeneID": tables.number}
    columns |= dict.fromkeys(("GO_ID", "Evidence", "Qualifier", "GO_term", "Category"), bytes)
    genes, taxa, terms, evidences, qualifiers = array("q"), array("i"), array("i"), array("i"), array("i")
    # A species has a few ten thousand terms in some hundred thousand rows: rows are kept as numbers.
    term_codes: dict[tuple[bytes, bytes, bytes], int] = {}
    evidence_codes: dict[bytes, int] = {}
    qualifier_codes: dict[bytes, int] = {}
    for tax_id, gene_id, go_id, evidence, qualifier, term, category in tables.rows(
        path, columns=columns, tax_ids=tax_ids, limits=limits
    ):
        genes.append(gene_id)
        taxa.append(tax_id)
        terms.append(term_codes.setdefault((category, go_id, term), len(term_codes)))
        evidences.append(evidence_codes.setdefault(evidence, len(evidence_codes)))
        qualifiers.append(qualifier_codes.setdefault(qualifier, len(qualifier_codes)))
    if not genes:
        return SCHEMAS["go"].empty_table()

    term_pool, term_code = _sorted_pool([tuple(map(tables.text, key)) for key in term_codes], terms)
    evidence_pool, evidence_code = _sorted_pool([(tables.text(key),) for key in evidence_codes], evidences)
    qualifier_pool, qualifier_code = _sorted_pool([(tables.text(key),) for key in qualifier_codes], qualifiers)
    # One row per gene, term, evidence and qualifier (the file has one per publication), sorted.
    columns_of_rows = (np.asarray(genes), np.asarray(taxa), term_code, evidence_code, qualifier_code)
    order = np.lexsort(columns_of_rows[::-1])
    row = np.stack([column[order] for column in columns_of_rows], axis=1)
    row = row[_firsts(row)]
    negated = np.array(["NOT" in name.replace("|", " ").split() for (name,) in qualifier_pool])
    without_data = np.array([name == _NO_DATA for (name,) in evidence_pool])
    rank = _ranks(row[:, :3], ~negated[row[:, 4]] & ~without_data[row[:, 3]], [pool[0] for pool in term_pool])

    keep = row[:, 1] == species.tax_id
    if human_genes:
        keep |= (row[:, 1] == HUMAN.tax_id) & np.isin(row[:, 0], np.fromiter(human_genes, np.int64))
    row, rank = row[keep], rank[keep]
    return pa.Table.from_arrays(
        [
            pa.array(row[:, 0]),
            pa.array(row[:, 1].astype(np.int32)),
            _taken([go_id for _, go_id, _ in term_pool], row[:, 2]),
            _taken([term for _, _, term in term_pool], row[:, 2]),
            _taken([category for category, _, _ in term_pool], row[:, 2]),
            _taken([name for (name,) in evidence_pool], row[:, 3]),
            _taken([name for (name,) in qualifier_pool], row[:, 4]),
            pa.array(rank),
        ],
        schema=SCHEMAS["go"],
    )


def _ranks(row: NDArray[np.int64], counts: NDArray[np.bool_], categories: list[str]) -> NDArray[np.int16]:
    """Rank the terms of each gene within its category.

    Parameters
    ----------
    row
        `(n, 3) int64`, sorted: gene, taxonomy id, term (numbered by category, then go_id).
    counts
        `(n,) bool`: which rows are ranked, and count as annotations.
    categories
        The category of each term.

    Returns
    -------
    ndarray
        `(n,) int16`, -1 where not ranked.
    """
    rank = np.full(len(row), UNRANKED, dtype=np.int16)
    if not counts.any():
        return rank
    annotations = row[counts]
    new = _firsts(annotations)
    pairs, pair_of_row = annotations[new], np.cumsum(new) - 1
    _, taxon = np.unique(pairs[:, 1], return_inverse=True)
    term_of_taxon = taxon.reshape(-1) * len(categories) + pairs[:, 2]
    genes_with = np.bincount(term_of_taxon)[term_of_taxon]
    _, category_code = np.unique(np.array(categories, dtype=object), return_inverse=True)
    category = category_code.reshape(-1)[pairs[:, 2]]
    order = np.lexsort((pairs[:, 2], genes_with, category, pairs[:, 1], pairs[:, 0]))
    first = _firsts(np.stack([pairs[order, 0], pairs[order, 1], category[order]], axis=1))
    position = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    of_pair = np.empty(len(order), dtype=np.int16)
    of_pair[order] = np.minimum(position, _HIGHEST_RANK)
    rank[counts] = of_pair[pair_of_row]
    return rank


def _firsts(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows of a sorted array differ from the one before."""
    firsts: NDArray[np.bool_] = np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)]
    return firsts


def _sorted_pool(keys: list[tuple[str, ...]], codes: "array[int]") -> tuple[list[tuple[str, ...]], NDArray[np.int64]]:
    """Return distinct values sorted, and codes into them, so that the order of rows in the file leaves no trace."""
    pool = sorted(set(keys))
    place = {key: number for number, key in enumerate(pool)}
    return pool, np.array([place[key] for key in keys], dtype=np.int64)[np.asarray(codes)]


def _taken(pool: list[str], codes: NDArray[np.int64]) -> pa.Array:
    return pa.array(pool, type=pa.string()).take(pa.array(codes))
