"""Do all doors read names alike, and are names right? The tables of docs/resolve.md.

    python benchmarks/names_agree.py                     # every name of the shipped facts, at every door
    python benchmarks/names_agree.py shared/data/cells   # and genes by name against the Ensembl id beside it

The doors are `resolve` (which the others are compared with), `--genes`, `GeneIndex.gene` (one name at a time: every
20th), `GenePriors.align`, `explain`, and the genes of a model found in other data. Names of cells are resolved by the
newest human snapshot in the cache, or the facts that ship with genetext where there is none.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from cellmodels.data.genes import Genes
from genetext.acquire import fetch
from genetext.encoders.base import EncoderSpec
from genetext.encoders.lexical import LexicalEncoder
from genetext.errors import GeneIndexError
from genetext.explanation import explain
from genetext.index import GeneIndex
from genetext.names import NameOptions, Resolver, Resolvers
from genetext.names.columns import read, strings
from genetext.names.lookup import Lookup
from genetext.names.tables import CONTESTED, Tables
from genetext.priors import GenePriors
from genetext.species import HUMAN, MOUSE
from genetext.text.facts import open_facts
from genetext.text.snapshot import Snapshot
from genetext.vectors import EmbeddingSpec, TextEmbedding

COLUMNS = {
    "pbmc3k_counts_labelled": "gene_ids",
    "ascend_hesc_rgc_imb": "ensembl_gene_id",
    "human_retina_multiome_1000": "ensembl_gene_id",
}


def write_index(path: Path, snapshot: Snapshot) -> GeneIndex:
    """Write an index of all genes of a snapshot, with vectors that mean nothing."""
    genes = snapshot.genes[["gene_id", "symbol", "name", "synonyms"]].assign(ensembl_id="", source="test", text="text")
    genes["row"] = np.arange(len(genes), dtype=np.int32)
    vectors = np.random.default_rng(0).normal(size=(len(genes), 4)).astype(np.float32)
    encoder = LexicalEncoder(EncoderSpec(kind="lexical", model="test", options={"min_df": 1}))
    encoder.fit(["text of genes", "text of others", "genes and others"])
    embedding = TextEmbedding(EmbeddingSpec((encoder.spec,)), [encoder])
    species = snapshot.species
    return GeneIndex.write(
        path,
        genes=genes,
        vectors=embedding.join([vectors]),
        embedding=embedding,
        content={
            "species": {"tax_id": species.tax_id, "name": species.name, "latin": species.latin},
            "snapshot": {"digest": snapshot.digest, "source": dict(snapshot.manifest["source"])},
            "text": {"gene_types": ["protein-coding"]},
        },
    )


def doors(snapshot: Snapshot, root: Path) -> Iterator[tuple[str, int, int, int]]:
    """Yield for each door: its name, how many names it was asked, how many are genes, how many it reads otherwise."""
    species = snapshot.species
    tables = Tables.of(snapshot)
    odd = [
        "NA",
        "nan",
        "GeneID:7157",
        "LOC7157",
        "7157.0",
        "Trp53",
        "tp53",
        "TP53 (7157)",
        "7157|672",
        "1-Mar",
        "HLA.A",
    ]
    names = list(dict.fromkeys([*tables.exact, *tables.withdrawn, *odd]))
    report = Resolver(snapshot, root=root).resolve(names)
    expected = dict(zip(names, report.gene_id.tolist(), strict=True))
    yield "resolve", len(names), report.n_matched, 0

    genes, _ = Lookup(tables).find(names)
    few = fetch(species, source="facts", genes=names, offline=True, root=root)
    wrong = sum(genes.get(name, 0) != gene for name, gene in expected.items())
    wrong += len(set(few.genes["gene_id"]) ^ set(report.gene_id[report.mask].tolist()))
    wrong += len(set(few.manifest["source"]["not_found"]) ^ set(report.names[~report.mask]))
    yield "--genes", len(names), len(genes), wrong

    index = write_index(root / "indices" / species.name / "all", snapshot)
    answers = {name: _gene(index, name) for name in names[::20]}
    wrong = sum(gene != expected[name] for name, gene in answers.items())
    yield "GeneIndex.gene", len(answers), sum(map(bool, answers.values())), wrong

    cells = anndata.AnnData(
        np.ones((4, len(names)), np.float32), obs=pd.DataFrame({"half": list("aabb")}, list("1234"))
    )
    cells.var_names = names
    priors = GenePriors.open(index).align(cells, species=species, column="var_names", root=root)
    wrong = int((priors.gene_ids != report.gene_id).sum())
    yield "GenePriors.align", len(names), priors.n_matched, wrong

    genes_of_half = explain(cells, priors, "half").genes.query("group == 'a'")
    explained = dict(zip(genes_of_half["gene"], genes_of_half["gene_id"].tolist(), strict=True))
    wrong = sum(explained.get(name, 0) != gene for name, gene in expected.items())
    yield "explain", len(names), len(explained), wrong

    ids = tables.gene_ids
    model = Genes(np.array([f"model {gene}" for gene in ids], object), ids, species.name)
    columns = model.find(cells, root=root).columns
    wrong = sum(report.gene_id[column] != gene for column, gene in zip(columns, ids, strict=True) if column >= 0)
    wrong += len(set(ids[columns < 0].tolist()) & set(report.gene_id.tolist()))
    yield "genes of a model", len(ids), int((columns >= 0).sum()), wrong


def _gene(index: GeneIndex, name: str) -> int:
    try:
        return int(index.gene(name)["gene_id"])
    except GeneIndexError:
        return 0


def by_name_and_id(folder: Path) -> None:
    """Print how often a name means the gene of the Ensembl id beside it."""
    resolvers = Resolvers(NameOptions(species="human"))
    tables = []
    for file, column in COLUMNS.items():
        var = read(folder / f"{file}.h5ad").var
        by_name = resolvers.resolve(strings(var.index))
        by_id = resolvers.resolve(strings(var[column]))
        table = {
            "resolved by": by_name.status,
            "name of others too": by_name.reason == CONTESTED,
            "id of others too": by_id.reason == CONTESTED,
            "same gene": by_name.gene_id == by_id.gene_id,
        }
        tables.append(pd.DataFrame(table)[by_name.mask & by_id.mask])
    rows = pd.concat(tables)
    print(rows.groupby(["resolved by", "name of others too"])["same gene"].agg(["size", "mean"]))
    contested = rows.loc[rows["id of others too"], "same gene"]
    print(f"Ensembl ids of several genes: {len(contested)}, same gene {contested.mean():.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="with these h5ad files: " + ", ".join(COLUMNS))
    folder = parser.parse_args().folder
    print(f"{'species':9}{'door':18}{'names':>9}{'genes':>9}{'read otherwise':>16}")
    for species in (HUMAN, MOUSE):
        with tempfile.TemporaryDirectory() as root:
            for door, n, matched, wrong in doors(open_facts(species), Path(root)):
                print(f"{species.name:9}{door:18}{n:9,}{matched:9,}{wrong:16,}", flush=True)
    if folder is not None:
        by_name_and_id(folder)


if __name__ == "__main__":
    main()
