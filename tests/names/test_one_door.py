"""Whoever asks which gene a name means gets the same answer: `resolve`, `--genes`, an index, priors, models."""

from pathlib import Path

import anndata
import numpy as np
import pytest

from cellmodels.data.genes import Genes
from genetext.acquire import fetch
from genetext.index import GeneIndex
from genetext.names import MatchReport, Resolver, resolve
from genetext.names.lookup import Lookup
from genetext.names.tables import Tables
from genetext.priors import GenePriors
from genetext.species import HUMAN, MOUSE, Species
from genetext.text.facts import open_facts
from genetext.text.snapshot import Snapshot
from tests.priors.conftest import write_index

ODD = [
    *(
        "SEPT2",
        "ENSG00000141510.19",
        "LOC7157",
        "GeneID:7157",
        "7157.0",
        "Trp53",
        "tp53",
        "NA",
        "nan",
        "-",
        "NA-14",
        "NOPE",
    ),
    *("GRCh38-TP53", "mm10---Trp53", "TBCE_ENSG00000284770", "TP53_ENSG00000284770", "TP53 (7157)", "ENSGR0000182378"),
    *("HLA.A", "TP53-1", "1-Mar", "BLANK-1", "7157|672", "9" * 30, "", "\u0667\u0661\u0665\u0667"),
]


@pytest.fixture(scope="module", params=[HUMAN, MOUSE], ids=["human", "mouse"])
def facts(request: pytest.FixtureRequest) -> Snapshot:
    return open_facts(request.param)


@pytest.fixture(scope="module")
def names(facts: Snapshot) -> list[str]:
    """Every symbol, former symbol, synonym, Ensembl id and GeneID of the facts, retired ones too, and odd ones."""
    genes, history = facts.genes, facts.frame("history")
    lists = [name for column in ("synonyms", "previous", "ensembl_ids") for name in genes[column].explode().dropna()]
    ids = [*genes["gene_id"].astype(str), *history["old_gene_id"].astype(str)]
    return list(dict.fromkeys([*ODD, *genes["symbol"], *lists, *ids]))


@pytest.fixture(scope="module")
def report(facts: Snapshot, names: list[str]) -> MatchReport:
    return Resolver(facts).resolve(names)


@pytest.fixture(scope="module")
def index(facts: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> GeneIndex:
    root = tmp_path_factory.mktemp("cache")
    write_index(root / "indices" / facts.species.name / "test", facts, seed=0)
    return GeneIndex.open(f"{facts.species.name}/test", root=root)


def test_a_subset_and_an_index_give_the_gene_that_resolve_gives(
    facts: Snapshot, names: list[str], report: MatchReport, index: GeneIndex
) -> None:
    expected = dict(zip(report.names, report.gene_id.tolist(), strict=True))
    found, not_found = Lookup(Tables.of(facts)).find(names)
    assert len(names) > 140_000
    assert {name: found.get(name, 0) for name in names} == {name: expected[name.strip()] for name in names}
    assert found.keys() | not_found.keys() == set(names)
    ids = index.genes["gene_id"].to_numpy()
    for name in [*ODD, *names[::20]]:
        position, refusal = index._names.find(name)
        assert (0 if position is None else ids[position]) == expected[name.strip()], name
        assert (position is None) == bool(refusal)


def test_refusals_are_the_same(facts: Snapshot, report: MatchReport, index: GeneIndex) -> None:
    rows = np.flatnonzero(~report.mask)
    for row in rows[:: max(1, len(rows) // 200)]:
        _, refusal = index._names.find(report.names[row])
        assert refusal.startswith(report.reason[row] if report.status[row] == "unknown" else "ambiguous")


def test_a_handful_of_genes_are_those_that_resolve_gives(
    facts: Snapshot, names: list[str], report: MatchReport, own_cache: Path
) -> None:
    chosen = np.unique([*range(len(ODD)), *np.random.default_rng(0).choice(len(names), 1_000)])
    few = fetch(facts.species, source="facts", genes=[names[row] for row in chosen], offline=True)
    assert set(few.genes["gene_id"]) == set(report.gene_id[chosen]) - {0}
    assert set(few.manifest["source"]["not_found"]) == {names[row] for row in chosen if not report.mask[row]}


def test_priors_and_models_take_the_same_genes(facts: Snapshot, report: MatchReport, index: GeneIndex) -> None:
    rows = np.random.default_rng(1).choice(len(report), 2_000, replace=False)
    some = report.names[rows].tolist()
    aligned = GenePriors.open(index).align(some, species=facts.species)
    assert aligned.gene_ids.tolist() == report.gene_id[rows].tolist()
    ids = report.gene_id[rows][report.mask[rows]]
    model = Genes(np.array([f"model {gene}" for gene in ids], object), ids, facts.species.name)
    adata = anndata.AnnData(np.ones((1, len(some)), np.float32))
    adata.var["symbol"] = some
    coverage = model.find(adata, min_covered=0.5)
    assert (report.gene_id[rows][coverage.columns[coverage.columns >= 0]] == ids[coverage.columns >= 0]).all()
    assert coverage.share > 0.99


def test_an_index_takes_former_symbols_versions_and_placeholders(index: GeneIndex) -> None:
    if index.species.tax_id != HUMAN.tax_id:
        return
    for name, symbol in (("SEPT2", "SEPTIN2"), ("ENSG00000141510.19", "TP53"), ("LOC7157", "TP53"), (7157, "TP53")):
        assert index.gene(name)["symbol"] == symbol


def test_an_index_without_any_snapshot_goes_by_its_own_genes(tmp_path: Path, facts: Snapshot) -> None:
    rat = Species(10116, "rat", "Rattus norvegicus")
    genes = facts.genes.head(50).assign(id_tax_id=rat.tax_id)
    species = {"tax_id": rat.tax_id, "name": "rat", "latin": rat.latin}
    content = {"species": species, "source": {"kind": "ncbi", "where": "x"}}
    snapshot = Snapshot.write(tmp_path / "elsewhere", tables={"genes": genes}, content=content)
    index = GeneIndex.open(write_index(tmp_path / "indices" / "rat" / "test", snapshot, seed=1).path, root=tmp_path)
    for gene in snapshot.genes.itertuples():
        assert index.gene(gene.symbol)["gene_id"] == gene.gene_id


def test_letter_case_and_missing_values_are_no_genes_of_any_door(index: GeneIndex, own_cache: Path) -> None:
    names = ["NA", "nan", "NaN", "None", "tP53"]
    assert not resolve(names, index.species.name).mask.any()
    assert [index._names.find(name)[0] for name in [*names, True]] == [None] * 6
