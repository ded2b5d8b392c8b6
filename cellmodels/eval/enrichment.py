"""Gene sets that a topic's genes are rich in: over-representation of its top genes, and GSEA of its whole row.

Both stay on this machine: gene sets are a mapping or a file, never the name of a library that somebody would have to
download. Names of genes are compared as they are; their letter case is never changed.

Over-representation is the hypergeometric test of SciPy, of all topics and sets at once. GSEA is gseapy's.
"""

import importlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from genetext.errors import CellsError, first_ten
from genetext.gene_sets import GeneSets, read_gene_sets

log = logging.getLogger("genetext")

_MANY_TIES = 0.05


def over_representation(
    topics: Sequence[Iterable[str]] | Mapping[Any, Iterable[str]],
    genes: Sequence[str],
    gene_sets: GeneSets,
    *,
    min_size: int = 1,
    max_size: int | None = None,
    corrected: Literal["tested", "overlapping"] = "tested",
) -> pd.DataFrame:
    """Test which gene sets the top genes of each topic hold more of than chance would give (ORA).

    The chance is hypergeometric: as many genes drawn from `genes`, which are all the model knows, not all that the gene
    sets name.

    Parameters
    ----------
    topics
        The top genes of each topic (`topic_metrics.top_genes`), or by name.
    genes
        The model's genes: the background. Sets are cut down to them.
    gene_sets
        A mapping or a file.
    min_size, max_size
        Sets with fewer or more of the model's genes are not tested.
    corrected
        What the false discovery rate (Benjamini-Hochberg, for each topic) runs over. `tested`: all sets. `overlapping`:
        those that share a gene with the topic, as gseapy and so the scE2TM paper have it; as the data choose what is
        tested, its rates are too low.

    Returns
    -------
    pandas.DataFrame
        A row for each topic and set that share a gene, by topic, then `p`: `topic`, `term`, `overlap`, `n` (genes of
        the set in the background), `p` (of so large an overlap or a larger one), `fdr`, `genes` (shared, with `;`).

    Raises
    ------
    CellsError
        A topic has a gene that is not in the background, or no set has `min_size` to `max_size` genes of it.
    """
    if corrected not in ("tested", "overlapping"):
        raise CellsError(f"unknown correction {corrected!r}: tested or overlapping")
    from scipy.stats import false_discovery_control, hypergeom

    names, place = _background(genes)
    tops = _tops(topics, place)
    terms, members = _within(read_gene_sets(gene_sets, error=CellsError), place, min_size, max_size)
    inside = _incidence(members, len(names))
    drawn = _incidence(list(tops.values()), len(names))
    overlap = np.asarray((drawn @ inside.T).todense()).round().astype(np.int64)
    size = np.diff(inside.indptr)
    p = hypergeom.sf(overlap - 1, len(names), size[None, :], np.diff(drawn.indptr)[:, None])
    frames = []
    for topic, shared, chance, top in zip(tops, overlap, p, tops.values(), strict=True):
        hit = np.flatnonzero(shared)
        family = chance if corrected == "tested" else chance[hit]
        rate = false_discovery_control(family) if len(family) else family
        rate = rate[hit] if corrected == "tested" else rate
        frames.append(
            pd.DataFrame(
                {
                    "topic": topic,
                    "term": [terms[number] for number in hit],
                    "overlap": shared[hit],
                    "n": size[hit].astype(np.int64),
                    "p": chance[hit],
                    "fdr": rate,
                    "genes": [";".join(names[gene] for gene in top if gene in members[number]) for number in hit],
                }
            ).sort_values(["p", "term"], ignore_index=True)
        )
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def prerank(
    weights: NDArray[Any],
    genes: Sequence[str],
    gene_sets: GeneSets,
    *,
    names: Sequence[Any] | None = None,
    min_size: int = 15,
    max_size: int = 500,
    permutations: int = 1000,
    weight: float = 1.0,
    seed: int = 0,
    threads: int = 1,
) -> pd.DataFrame:
    """Test which gene sets lie at the ends of each topic's ranking of all genes (pre-ranked GSEA, by gseapy).

    Parameters
    ----------
    weights
        `(n_topics, n_genes)`, finite: rows of the topic-gene matrix. Genes of equal weight are ranked by name, so that
        their order in the matrix plays no part.
    genes
        `(n_genes,)` names, each once.
    gene_sets
        A mapping or a file.
    names
        Of the topics. Default: from 0.
    min_size, max_size
        Sets with fewer or more of the model's genes are not tested.
    permutations
        Of genes; no p below one in so many can be told.
    weight
        Exponent of the gene weights in the running sum; 0 is the unweighted statistic.
    seed, threads
        Of gseapy; threads change nothing but the time.

    Returns
    -------
    pandas.DataFrame
        A row for each topic and set, by topic, then falling `nes`: `topic`, `term`, `overlap` (genes of the leading
        edge), `n` (genes of the set in the ranking), `es`, `nes` (positive: at the top), `p` (0: in no permutation),
        `fdr` (gseapy's q, over the sets of one topic), `genes` (the leading edge, with `;`).

    Raises
    ------
    CellsError
        gseapy is not installed; weights are not finite, or all the same in a topic; no set is of a size to be tested.
    """
    background, place = _background(genes)
    rows = np.asarray(weights, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(background):
        raise CellsError(
            f"topics by genes are needed for {len(background):,} genes: the weights have shape {rows.shape}"
        )
    if not np.isfinite(rows).all():
        raise CellsError("the weights of the topics have values that are NaN or infinite")
    labels = list(range(len(rows))) if names is None else list(names)
    if len(labels) != len(rows):
        raise CellsError(f"{len(labels):,} names for {len(rows):,} topics: give one each")
    if flat := [labels[row] for row in np.flatnonzero(np.ptp(rows, axis=1) == 0)]:
        raise CellsError(f"topics that weigh all genes the same have no ranking: {first_ten(flat)}")
    terms, members = _within(read_gene_sets(gene_sets, error=CellsError), place, min_size, max_size)
    gseapy = _gseapy()
    # gseapy takes names apart: it turns them to upper case, to numbers, or adds digits. Codes keep them as they are.
    codes = [f"G{number}" for number in range(len(background))]
    coded = {
        f"S{number}": [codes[gene] for gene in sorted(genes_of_set)] for number, genes_of_set in enumerate(members)
    }
    by_name = np.argsort(np.asarray(background), kind="stable")
    frames = []
    for label, row in zip(labels, rows, strict=True):
        order = by_name[np.argsort(-row[by_name], kind="stable")]
        if (tied := 1 - len(np.unique(row)) / len(row)) > _MANY_TIES:
            log.warning("topic %s weighs %.0f %% of its genes like others: those are ranked by name", label, 100 * tied)
        ranking = pd.DataFrame({"gene": [codes[gene] for gene in order], "weight": _untied(row[order])})
        done = gseapy.prerank(
            ranking,
            coded,
            outdir=None,
            no_plot=True,
            min_size=min_size,
            max_size=max_size,
            permutation_num=permutations,
            weight=weight,
            ascending=None,
            seed=seed,
            threads=threads,
        ).res2d
        numbers = [int(code[1:]) for code in done["Term"]]
        leading = [[background[int(code[1:])] for code in edge.split(";") if code] for edge in done["Lead_genes"]]
        frames.append(
            pd.DataFrame(
                {
                    "topic": label,
                    "term": [terms[number] for number in numbers],
                    "overlap": [len(edge) for edge in leading],
                    "n": [len(members[number]) for number in numbers],
                    "es": done["ES"].to_numpy(np.float64),
                    "nes": done["NES"].to_numpy(np.float64),
                    "p": done["NOM p-val"].to_numpy(np.float64),
                    "fdr": done["FDR q-val"].to_numpy(np.float64),
                    "genes": [";".join(edge) for edge in leading],
                }
            ).sort_values(["nes", "term"], ascending=[False, True], ignore_index=True)
        )
    return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class EnrichmentScores:
    """How much topics are enriched, as a whole.

    Attributes
    ----------
    n
        Significant pairs of topic and set (ORA_N, GSEA_N).
    unique
        Sets that are significant in one topic at least (ORA_U, GSEA_U).
    quality
        `unique / n` (ORA_Q, GSEA_Q): 1 where no two topics share a set; 0 where nothing is significant.
    """

    n: int
    unique: int
    quality: float


def enrichment_scores(table: pd.DataFrame, *, fdr: float = 0.01) -> EnrichmentScores:
    """Count what is significant in a table of `over_representation` or `prerank`.

    Of `prerank`, sets at either end of a ranking count; give `table[table["nes"] > 0]` for those at the top alone.
    """
    if missing := sorted({"topic", "term", "fdr"} - set(table.columns)):
        raise CellsError(f"a table of enrichment has the columns topic, term and fdr; here is no {first_ten(missing)}")
    significant = table[table["fdr"] <= fdr]
    n, unique = len(significant), int(significant["term"].nunique())
    return EnrichmentScores(n, unique, unique / n if n else 0.0)


def _gseapy() -> Any:
    try:
        return importlib.import_module("gseapy")
    except ImportError as error:
        raise CellsError("GSEA needs the package gseapy: pip install 'genetext[topics]'") from error


def _background(genes: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    names = [str(gene) for gene in genes]
    place = {name: number for number, name in enumerate(names)}
    if len(place) < len(names):
        counts = pd.Series(names).value_counts()
        raise CellsError(f"genes come more than once: {first_ten(sorted(counts[counts > 1].index))}; name each once")
    if not names:
        raise CellsError("the background has no genes: give the model's")
    return names, place


def _tops(topics: Sequence[Iterable[str]] | Mapping[Any, Iterable[str]], place: dict[str, int]) -> dict[Any, list[int]]:
    named = dict(topics) if isinstance(topics, Mapping) else dict(enumerate(topics))
    tops: dict[Any, list[int]] = {}
    for topic, top in named.items():
        wanted = list(dict.fromkeys(str(gene) for gene in top))
        if unknown := [gene for gene in wanted if gene not in place]:
            raise CellsError(f"topic {topic} has genes that are not the model's: {first_ten(unknown)}")
        tops[topic] = [place[gene] for gene in wanted]
    if not any(tops.values()):
        raise CellsError("there are no topics with genes")
    return tops


def _within(
    sets: Mapping[str, tuple[str, ...]], place: dict[str, int], min_size: int, max_size: int | None
) -> tuple[list[str], list[set[int]]]:
    """Return the names and members of the sets that have enough of the model's genes, and not too many."""
    cut = {term: {place[gene] for gene in members if gene in place} for term, members in sets.items()}
    largest = max_size if max_size is not None else len(place)
    kept = {term: members for term, members in cut.items() if max(min_size, 1) <= len(members) <= largest}
    if kept:
        return list(kept), list(kept.values())
    if not any(cut.values()):
        of_sets = [gene for members in sets.values() for gene in members]
        raise CellsError(
            f"none of the genes of {len(sets):,} sets is the model's: theirs are {first_ten(of_sets[:3])}, the model's "
            f"{first_ten(list(place)[:3])}; give both by the same kind of name, in the same letter case"
        )
    raise CellsError(
        f"none of {len(sets):,} gene sets has {min_size:,} to {largest:,} of the model's genes (the largest has "
        f"{max(map(len, cut.values())):,}): change min_size or max_size"
    )


def _incidence(members: Sequence[Collection[int]], n_genes: int) -> sparse.csr_matrix:
    sizes = [len(genes) for genes in members]
    columns = np.fromiter((gene for genes in members for gene in genes), np.int64, sum(sizes))
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    return sparse.csr_matrix((np.ones(len(columns)), columns, bounds), shape=(len(members), n_genes))


def _untied(falling: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower each weight by some billionths more than the one before it.

    Without ties gseapy has no order of its own to choose; and a set whose weights are all 0, which it cannot divide by,
    has some.
    """
    step = 1e-9 * np.ptp(falling) / len(falling)
    return falling - step * np.arange(1, len(falling) + 1)
