"""Antibodies, hashtags and peaks beside genes: no gene, no expression, in no verb."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cellmodels.data.inputs import read_cells
from genetext.cells import cell_sentences, embed_cells, measure_background
from genetext.errors import CellsError
from genetext.features import not_genes
from genetext.names.columns import candidates
from tests.cells import reference

N_GENES = 12


def with_antibodies(column="feature_types", kinds=("Gene Expression", "Antibody Capture")):
    """Return cells with three antibodies among their genes, and the same cells without."""
    x = reference.counts(30, N_GENES)
    plain = reference.data(x)
    places = [0, 5, 9]
    wider = anndata.AnnData(
        sparse.csr_matrix(np.insert(x, places, 5000, axis=1)),
        obs=plain.obs,
        var=pd.DataFrame(index=np.insert(plain.var_names.to_numpy(object), places, ["CD4", "CD8A", "HTO1"])),
    )
    antibody = ~wider.var_names.isin(plain.var_names)
    wider.var[column] = np.where(antibody, kinds[1], kinds[0])
    return wider, plain, antibody


@pytest.mark.parametrize(
    ("column", "kinds", "marked"),
    [
        ("feature_types", ("Gene Expression", "Antibody Capture"), True),
        ("feature_types", ("Gene Expression", "something new"), True),
        ("feature_types", ("gex", "HTO"), True),
        ("modality", ("rna", "prot"), True),
        ("Feature_Type", ("Gene Expression", "Peaks"), True),
        ("feature_type", ("protein_coding", "lncRNA"), False),  # the kind of gene, as CELLxGENE has it
        ("feature_type", ("protein_coding", "Custom"), True),
        ("feature_types", ("Gene Expression", None), False),
        ("feature_type", ("gene", "protein_coding"), False),
        ("feature_type", ("mRNA", "lncRNA"), False),
        ("feature_type", ("RNA", "protein_coding"), False),
        ("feature_types", ("Gene Expression", "NA"), False),
        ("Type", ("Gene Expression", "Antibody Capture"), True),  # DropletUtils
        ("feature_types-0", ("Gene Expression", "Antibody Capture"), True),  # anndata.concat
        ("feature.types", ("Gene.Expression", "Antibody.Capture"), True),  # R's make.names
        ("genome", ("GRCh38", "Antibody Capture"), False),
    ],
)
def test_what_is_no_gene(column, kinds, marked):
    wider, _, antibody = with_antibodies(column, kinds)
    assert np.array_equal(not_genes(wider.var), antibody & marked)


def test_two_columns_of_one_name_are_both_looked_at():
    wider, _, antibody = with_antibodies()
    var = pd.concat([wider.var.assign(feature_types="Gene Expression"), wider.var], axis=1)
    assert np.array_equal(not_genes(var), antibody)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
@pytest.mark.parametrize("weighting", ["mean", "zscore"])
def test_cells_are_as_without_them(form, weighting, caplog):
    wider, plain, antibody = with_antibodies()
    wider.X = form(wider.X.toarray())
    known = reference.priors(list(wider.var_names))
    with caplog.at_level(logging.WARNING, "genetext"):
        embed_cells(wider, known, weighting=weighting)
    assert "no genes are left out of X: 3 Antibody Capture" in caplog.text
    embed_cells(plain, known.take(~antibody), weighting=weighting)
    np.testing.assert_array_equal(wider.obsm["X_genetext"], plain.obsm["X_genetext"])
    assert np.array_equal(measure_background(wider).total, measure_background(plain).total)
    assert cell_sentences(wider, 5) == cell_sentences(plain, 5)


def test_models_read_zeros_in_their_place_and_the_totals_of_genes():
    wider, plain, antibody = with_antibodies()
    for needs in ("counts", "log"):
        cells, expected = read_cells(wider, needs=needs), read_cells(plain, needs=needs)
        assert np.array_equal(cells.dense(slice(None))[:, ~antibody], expected.dense(slice(None)))
        assert not cells.dense(slice(None))[:, antibody].any()
        assert np.array_equal(cells.totals, expected.totals)


def test_counts_in_raw_are_without_them_too():
    wider, plain, antibody = with_antibodies()
    logged = wider.copy()
    logged.raw = wider
    logged.X = sparse.csr_matrix(np.log1p(wider.X.toarray()))
    cells = read_cells(logged, needs="counts")
    assert cells.label == "raw.X"
    assert np.array_equal(cells.totals, read_cells(plain, needs="counts").totals)
    assert np.array_equal(cells.dense(slice(None))[:, ~antibody], plain.X.toarray())


def test_an_antibody_called_as_a_gene_is_not_that_gene():
    wider, _, antibody = with_antibodies()
    wider.var_names = [name.replace("GENE", "TP") for name in wider.var_names]
    (place,) = candidates(wider)
    assert [name for name, other in zip(place.names, antibody, strict=True) if other] == ["", "", ""]
    assert place.names[1] == "TP0"
    wider.var["gene_symbols"] = wider.var_names
    assert candidates(wider, column="gene_symbols")[0].names == place.names


def test_a_file_of_antibodies_alone_is_one_sentence():
    wider, _, antibody = with_antibodies()
    with pytest.raises(CellsError, match=r"no column of X is gene expression"):
        read_cells(wider[:, antibody].copy(), needs="counts")
