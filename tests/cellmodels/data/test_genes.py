"""How a model finds its genes in other data: by name, by GeneID, in other species, or not at all."""

import anndata
import numpy as np
import pandas as pd
import pytest

from cellmodels.data.genes import Genes
from genetext.errors import GenesMissing, ModelError
from tests.cellmodels.toy import ToyModel
from tests.factory import HUMAN, MOUSE, ORTHOLOGS
from tests.priors.conftest import human, in_this_world, world  # noqa: F401

SYMBOLS = {gene[0]: gene[1] for gene in (*HUMAN, *MOUSE)}
ENSEMBL = {gene[0]: gene[3] for gene in (*HUMAN, *MOUSE)}
PAIRS = {5080: 18508, 5457: 18996, 6010: 212541, 7157: 22059, 94233: 30044, 2597: 14433}
"""Human genes and their mouse orthologs, one to one."""


def expressed(names, *, column=None, seed=0, n=12):
    x = np.random.default_rng(seed).poisson(3, (n, len(names))).astype(np.float32)
    index = [str(i) for i in range(len(names))] if column else list(names)
    var = pd.DataFrame({column: list(names)} if column else None, index=index)
    return anndata.AnnData(x, var=var, obs=pd.DataFrame(index=[f"c{i}" for i in range(n)]))


@pytest.fixture
def fitted(human):  # noqa: F811
    """A model that was fitted with a prior, and so knows the GeneIDs of its genes."""
    adata = expressed([SYMBOLS[gene] for gene in PAIRS])
    return ToyModel(epochs=1, n_latent=2).fit(adata, human.align(adata, species="human")), adata


def test_a_column_that_measures_no_gene_is_not_the_gene_of_its_name():
    genes = Genes.of(expressed(["CD3E", "CD4"]), np.array([0, 1]))
    with pytest.warns(UserWarning, match="not unique"):
        data = expressed(["CD4", "CD3E", "CD4"])
    data.var["feature_types"] = ["Antibody Capture", "Gene Expression", "Gene Expression"]
    assert genes.find(data).columns.tolist() == [1, 2]
    data.var["feature_types"] = ["Gene Expression", "Antibody Capture", "Antibody Capture"]
    with pytest.raises(GenesMissing, match="CD3E"):
        genes.find(data)
    assert genes.find(data, min_covered=0.5).columns.tolist() == [-1, 0]


def test_the_pairs_are_orthologs_one_to_one():
    tables = [(a, b) for _, a, _, b in ORTHOLOGS]
    for pair in PAIRS.items():
        assert pair in tables or pair[::-1] in tables


def test_genes_are_found_by_name_in_any_order():
    adata = expressed(["A", "B", "C"])
    genes = Genes.of(adata, np.array([2, 0]))
    found = genes.find(expressed(["C", "x", "A"]))
    assert found.columns.tolist() == [0, 2]
    assert (found.by, found.share, found.missing) == ("var_names", 1.0, [])
    assert str(found) == "2 of the model's 2 genes found by var_names"


def test_a_name_that_stands_twice_in_other_data_is_not_guessed(caplog):
    genes = Genes.of(expressed(["A", "B"]), np.array([0, 1]))
    with pytest.warns(UserWarning, match="not unique"):
        twice = expressed(["A", "A", "B"])
    with pytest.raises(GenesMissing, match=r"absent: A\nthe data lack 1 of the 2 genes [^-]*$"):
        genes.find(twice)
    with caplog.at_level("WARNING", "genetext"):
        assert genes.find(twice, min_covered=0.5).columns.tolist() == [-1, 2]
    assert "1 of the model's 2 genes are not in the data" in caplog.text


def test_without_a_prior_genes_go_by_their_names_alone():
    adata = expressed([SYMBOLS[gene] for gene in PAIRS])
    model = ToyModel(epochs=1).fit(adata)
    with pytest.raises(GenesMissing, match="lack 6 of the 6 genes"):
        model.embed(expressed([ENSEMBL[gene] for gene in PAIRS]))


@pytest.mark.parametrize("column", [None, "ensembl_id"])
def test_data_with_ensembl_names_are_embedded_by_gene_id(fitted, column):
    model, adata = fitted
    names = [ENSEMBL[gene] for gene in PAIRS]
    other = expressed(names, column=column)
    coverage = model.genes.find(other)
    assert coverage.by == "NCBI GeneID"
    assert "6 of the model's 6 genes found by NCBI GeneID" in str(coverage)
    assert np.allclose(model.embed(other), model.embed(adata), atol=1e-6)
    assert np.allclose(model.embed(other[:, ::-1].copy()), model.embed(adata), atol=1e-6)


@pytest.mark.parametrize("of", [SYMBOLS, ENSEMBL])
def test_mouse_cells_go_through_orthologs_into_a_human_model(fitted, of):
    model, adata = fitted
    mouse = expressed([of[gene] for gene in PAIRS.values()])
    assert np.allclose(model.embed(mouse), model.embed(adata), atol=1e-6)


def test_genes_absent_are_named_with_what_became_of_the_names(fitted):
    model, _ = fitted
    part = expressed([ENSEMBL[gene] for gene in list(PAIRS)[1:]])
    with pytest.raises(GenesMissing, match=r"(?s)absent: PAX6\n.*lack 1 of the 6 genes.*--min-covered 0\.83") as caught:
        model.embed(part)
    assert caught.value.report.missing == ["PAX6"]
    assert caught.value.report.report.n_matched == 5
    assert model.embed(part, min_covered=0.83).shape == (12, 2)


def test_names_that_mean_no_gene_are_missing_and_no_failure_of_the_resolver(fitted):
    model, _ = fitted
    with pytest.raises(GenesMissing, match="lack 6 of the 6 genes"):
        model.embed(expressed(["x1", "x2", "x3"]))


def test_one_gene_under_two_names_is_counted_once(fitted):
    model, _ = fitted
    names = [ENSEMBL[gene] for gene in PAIRS]
    twice = expressed(["TP53", *names])  # TP53 is ENSG00000141510 too
    found = model.genes.find(twice)
    assert (found.columns >= 0).all()
    assert len(set(found.columns.tolist())) == 6
    assert found.columns[list(PAIRS).index(7157)] == 0


def test_the_share_that_has_to_be_covered_is_a_share():
    genes = Genes.of(expressed(["A", "B"]), np.array([0, 1]))
    for wrong in (0.0, 1.5, -1.0):
        with pytest.raises(ModelError, match="give a share of the model's genes"):
            genes.find(expressed(["A", "B"]), min_covered=wrong)
