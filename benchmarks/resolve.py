"""Time to resolve 60,000 mixed names, beside the dictionary look-ups that notebooks use, in the same run.

    python benchmarks/resolve.py [--names 60000] [--repeats 7] [--snapshot FOLDER]

The names are drawn from a snapshot with a fixed seed, and for each one the gene that it was drawn for is kept:
current and former symbols, synonyms, Ensembl ids (half with a version), GeneIDs, mouse symbols, names that no gene
has, with repetitions. The look-ups:

- `exact`: one dictionary of current symbols, `names.map(dictionary)`.
- `upper`: the same after upper-casing both sides, as done to bring mouse symbols to human ones.
- `alias`: current symbols, then former ones and synonyms, the first hit taken.

A look-up is wrong where it gives a gene that the name was not drawn for: another one, or any for a name of no human
gene. A name of several genes counts as wrong when one of them is taken.
CPU seconds of one thread; medians of the repeats.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from time import process_time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from genetext.names import Resolver
from genetext.species import HUMAN, MOUSE
from genetext.text.facts import open_facts
from genetext.text.snapshot import Snapshot

SHARES = {"symbol": 0.45, "previous": 0.1, "synonym": 0.05, "ensembl": 0.15, "gene_id": 0.1, "mouse": 0.05, "none": 0.1}


def draw(snapshot: Snapshot, n: int, seed: int = 0) -> tuple[list[str], list[set[int]]]:
    """Return names and, for each one, the genes that it may mean (none for names of no human gene)."""
    random = np.random.default_rng(seed)
    genes = snapshot.genes
    current = genes.groupby("symbol")["gene_id"].agg(set).to_dict()
    former = genes[["gene_id", "previous"]].explode("previous").dropna().groupby("previous")["gene_id"].agg(set)
    others = genes[["gene_id", "synonyms"]].explode("synonyms").dropna().groupby("synonyms")["gene_id"].agg(set)
    ensembl = (
        genes[["gene_id", "ensembl_ids"]].explode("ensembl_ids").dropna().groupby("ensembl_ids")["gene_id"].agg(set)
    )
    by_kind = {
        "symbol": current,
        "previous": former.to_dict(),
        "synonym": others.to_dict(),
        "ensembl": {
            name + (f".{len(name) % 9 + 1}" if i % 2 else ""): g for i, (name, g) in enumerate(ensembl.items())
        },
        "gene_id": {str(gene_id): {gene_id} for gene_id in genes["gene_id"]},
        "mouse": {name: set() for name in open_facts(MOUSE).genes["symbol"]},
        "none": {f"{'RP11' if i % 2 else 'CTD'}-{i}X{i % 97}.{i % 7}": set() for i in range(20_000)},
    }
    # A name counts by the first kind that has it: a symbol is not also drawn as somebody else's synonym.
    names: list[str] = []
    meant: list[set[int]] = []
    taken: set[str] = set()
    for kind, share in SHARES.items():
        pool = [name for name in by_kind[kind] if name not in taken]
        taken.update(by_kind[kind])
        if pool:
            for at in random.integers(len(pool), size=round(share * n)):
                names.append(pool[at])
                meant.append(by_kind[kind][pool[at]])
    order = random.permutation(len(names))
    return [names[at] for at in order], [meant[at] for at in order]


def timed(task: Callable[[], object], repeats: int) -> tuple[float, object]:
    seconds, result = [], None
    for _ in range(repeats):
        start = process_time()
        result = task()
        seconds.append(process_time() - start)
    return statistics.median(seconds), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", type=int, default=60_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--snapshot", type=Path, help="a human snapshot; default: the facts that ship with genetext")
    arguments = parser.parse_args()
    snapshot = Snapshot.open(arguments.snapshot) if arguments.snapshot else open_facts(HUMAN)
    names, meant = draw(snapshot, arguments.names)
    series = pd.Series(names)

    genes = snapshot.genes
    exact = dict(zip(genes["symbol"], genes["gene_id"], strict=True))
    upper = {symbol.upper(): gene_id for symbol, gene_id in exact.items()}
    alias: dict[str, int] = {}
    for column in ("previous", "synonyms"):
        for gene_id, listed in zip(genes["gene_id"], genes[column], strict=True):
            for name in listed:
                alias.setdefault(name, gene_id)
    alias |= exact

    opening, resolver = timed(lambda: Resolver(snapshot), arguments.repeats)
    resolver.resolve(names[:1000])  # the other species' symbols and the folded names are read when first needed
    rows = [
        ("genetext", *timed(lambda: resolver.resolve(names).gene_id, arguments.repeats)),
        ("exact", *timed(lambda: series.map(exact).fillna(0).to_numpy(int), arguments.repeats)),
        ("upper", *timed(lambda: series.str.upper().map(upper).fillna(0).to_numpy(int), arguments.repeats)),
        ("alias", *timed(lambda: series.map(alias).fillna(0).to_numpy(int), arguments.repeats)),
    ]
    print(f"{len(names):,} names ({series.nunique():,} different), {len(genes):,} genes, median of {arguments.repeats}")
    print(f"opening the tables: {opening:.2f} s")
    print(f"{'':10}{'CPU s':>9}{'names/s':>12}{'right':>8}{'wrong':>8}{'ambiguous or unknown':>22}")
    several = np.array([len(may) > 1 for may in meant])
    for label, seconds, gene_ids in rows:
        hit = gene_ids != 0
        right = np.array([gene in may for gene, may in zip(gene_ids.tolist(), meant, strict=True)]) & ~several
        print(
            f"{label:10}{seconds:9.3f}{len(names) / seconds:12,.0f}{right.mean():8.1%}{(hit & ~right).mean():8.1%}"
            f"{(~hit).mean():22.1%}"
        )
    print("limit: 60,000 names in 1 CPU second")


if __name__ == "__main__":
    main()
