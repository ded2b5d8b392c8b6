"""Genes by name against genes by the Ensembl id beside it, over data sets that have both: the table of docs/resolve.md.

    python benchmarks/names_agree.py shared/data/cells

Resolved by the newest human snapshot in the cache, or the facts that ship with genetext where there is none.
"""

import argparse
from pathlib import Path

import pandas as pd

from genetext.names import NameOptions, Resolver, Resolvers
from genetext.names.columns import read, strings
from genetext.names.lookup import Lookup
from genetext.names.tables import CONTESTED, Tables
from genetext.species import HUMAN, MOUSE
from genetext.text.facts import open_facts

COLUMNS = {
    "pbmc3k_counts_labelled": "gene_ids",
    "ascend_hesc_rgc_imb": "ensembl_gene_id",
    "human_retina_multiome_1000": "ensembl_gene_id",
}


def disagreements() -> int:
    """Count names of the shipped facts that `--genes` and an index (one look-up) read otherwise than `resolve`."""
    count = 0
    for species in (HUMAN, MOUSE):
        snapshot = open_facts(species)
        tables = Tables.of(snapshot)
        report = Resolver(snapshot).resolve(list(tables.exact))
        genes, _ = Lookup(tables).find(tables.exact)
        count += sum(genes.get(name, 0) != gene for name, gene in zip(report.names, report.gene_id, strict=True))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="with these h5ad files: " + ", ".join(COLUMNS))
    folder = parser.parse_args().folder
    resolvers = Resolvers(NameOptions(species="human"))
    found = []
    for file, column in COLUMNS.items():
        var = read(folder / f"{file}.h5ad").var
        by_name = resolvers.resolve(strings(var.index))
        by_id = resolvers.resolve(strings(var[column]))
        both = by_name.mask & by_id.mask
        table = {
            "resolved by": by_name.status,
            "name of others too": by_name.reason == CONTESTED,
            "id of others too": by_id.reason == CONTESTED,
            "same gene": by_name.gene_id == by_id.gene_id,
        }
        found.append(pd.DataFrame(table)[both])
    rows = pd.concat(found)
    print(rows.groupby(["resolved by", "name of others too"])["same gene"].agg(["size", "mean"]))
    contested = rows.loc[rows["id of others too"], "same gene"]
    print(f"names that the doors read differently: {disagreements()}")
    print(f"Ensembl ids of several genes: {len(contested)}, same gene {contested.mean():.2%}")


if __name__ == "__main__":
    main()
