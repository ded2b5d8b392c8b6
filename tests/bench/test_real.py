"""Two terms of the Gene Ontology benchmark, on the texts that come with NCBI's files."""

import pytest

from genetext.bench import ControlOptions, Selection, controls
from genetext.bench.genes import bench_genes
from genetext.build import build

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_texts_beat_permuted_ones_on_gene_ontology(real_data, tmp_path):
    from genetext.text.compose import Template

    build(
        "human",
        encoder="lexical",
        name="lexical",
        source=str(real_data / "ncbi" / "gene" / "DATA"),
        template=Template(sections=("symbol", "name", "summary")),
        root=tmp_path,
    )
    found = bench_genes(
        real_data / "genes" / "ylab_go_terms.tsv.gz",
        ["human/lexical"],
        selection=Selection(terms=("GO:0007601", "GO:0006693")),
        control=ControlOptions(draws=1),
        jobs=2,
        root=tmp_path,
    )
    table = found.table.set_index("method")
    assert found.about["n_terms"] == 2
    assert table["auroc"]["human/lexical"] > 0.8
    assert table["auroc"]["human/lexical"] > table["auroc"][controls.PERMUTED] + 0.2
    assert table["fold_auroc"][controls.PERMUTED] < 0.65
