"""Genes that the names of types state: `CD14+ monocyte` and `FCGR3A+ monocyte` differ in nothing else.

Types whose names are alike but for such statements are siblings. What is written about genes hardly tells them apart,
but the expression of the genes that they state does. It decides among siblings only: a gene that a type has need not
mark it beside all others (CD4 is higher in monocytes than in CD4 T cells).
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cellmodels.annotation.cell_types import CellTypes
from cellmodels.annotation.evidence import Sources
from cellmodels.annotation.group_profiles import GroupProfiles
from cellmodels.groups.graphs import Floats

# A gene's name is in capitals or has a number: `T-positive` and `double-positive` state no gene.
_GENE = r"(?<![\w-])(?P<gene>[A-Z][A-Za-z]*\d+[A-Za-z0-9]*?|[A-Z]{3,}[A-Z0-9]*?)"
_HAS = re.compile(_GENE + r"(?:\++|-?(?:positive|high|hi|bright)(?![A-Za-z0-9]))")
# What cells lack is no evidence, since most other cells lack it too; but it is part of the statement.
_LACKS = re.compile(_GENE + r"(?:-(?=[\s,;/)]|$)|-?(?:negative|low|lo|dim)(?![A-Za-z0-9]))")


def stated_genes(name: str) -> list[str]:
    """Return the genes that a name says the cells have, as they are written."""
    return [hit["gene"] for hit in _HAS.finditer(name)]


def siblings(names: Sequence[str]) -> list[NDArray[np.int64]]:
    """Return the positions of types whose names are alike but for statements; families without any are left out."""
    families: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        bare = _LACKS.sub(" ", _HAS.sub(" ", name))
        families.setdefault(" ".join(re.findall(r"\w+", bare.lower())).removesuffix("s"), []).append(position)
    return [
        np.array(family)
        for family in families.values()
        if len(family) > 1 and any(stated_genes(names[position]) for position in family)
    ]


def named_genes(types: CellTypes, sources: Sources) -> Floats:
    """Find the genes that the types' names state among the genes of the data.

    Parameters
    ----------
    types
        Their names are read, not the definitions: those list what many types share.
    sources
        Indices, whose symbols and synonyms the names are looked up in, each with its priors aligned to the data.

    Returns
    -------
    `(n_types, n_vars) float64`: the share of each gene in its type's statements; rows add up to 1 where all genes are
    there, and are zeros for a type that states none. A name of several genes (`CD16`) is shared out among them.
    """
    shares = np.zeros((len(types), len(sources[0][1])))
    for row, name in enumerate(types.names):
        stated = stated_genes(name)
        for gene in stated:
            places = (np.flatnonzero(np.isin(priors.gene_ids, index.ids_of(gene))) for index, priors in sources)
            columns = next((place for place in places if len(place)), np.empty(0, np.int64))
            shares[row, columns] += 1 / (len(stated) * max(len(columns), 1))
    return shares


def named_expression(shares: Floats, profiles: GroupProfiles) -> Floats:
    """Return how far each group expresses the genes that each type's name states: `(n_groups, n_types)`.

    It is the mean of both kinds of contrast with all cells, in standard deviations of a cell and as a log2 ratio. A
    type whose name states no gene that is expressed has zeros.
    """
    return np.asarray((profiles.contrast + profiles.log_ratio) @ (shares * profiles.expressed).T / 2)


def decide_among_siblings(logits: Floats, by_name: Floats, families: Sequence[NDArray[np.int64]]) -> Floats:
    """Let the genes that names state decide among siblings; their best stays as far ahead of others as it was.

    Parameters
    ----------
    logits
        `(n, n_types)`, by what is written.
    by_name
        `(n, n_types)`, how far the rows express what names state (`named_expression`).
    families
        As `siblings` returns them.

    Returns
    -------
    `(n, n_types) float64`. In rows that a family leads, its members get `logits + by_name`, shifted so that the largest
    is the largest of `logits` there. Other rows are as they were.
    """
    out = logits.copy()
    best = logits.argmax(axis=1)
    for family in families:
        led = np.ix_(np.isin(best, family), family)
        after = logits[led] + by_name[led]
        out[led] = after + (logits[led].max(axis=1, initial=-np.inf) - after.max(axis=1, initial=-np.inf))[:, None]
    return out
