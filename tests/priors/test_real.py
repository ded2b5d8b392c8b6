"""Alignment of real data sets to indices of the bundled facts: how many genes find a vector, and how."""

import anndata
import numpy as np
import pytest

from genetext.build import build
from genetext.priors import GenePriors

pytestmark = [pytest.mark.real, pytest.mark.slow]

# Data set, index, the status of most genes (where var_names and a column of ids are both good, either), and the least
# share of genes with a vector.
CASES = [
    ("pbmc3k_counts_labelled", "human", "symbol ensembl", 0.75),
    ("baron_human1_pancreas", "human", "symbol", 0.88),
    ("human_retina_multiome_1000", "human", "symbol ensembl", 0.58),
    ("ascend_hesc_rgc_imb", "human", "symbol ensembl", 0.78),
    ("kang_pbmc_ifnb_labelled", "human", "symbol", 0.82),
    ("sc_mixology_sc_celseq2_5cl_p1", "human", "ensembl", 0.73),
    ("paul15_mouse_myeloid", "human", "ortholog", 0.85),
    ("paul15_mouse_myeloid", "mouse", "symbol", 0.90),
    ("zeisel2018_mousebrain_3types_1099", "human", "ortholog", 0.53),
    ("zeisel2018_mousebrain_3types_1099", "mouse", "ensembl", 0.65),
]


@pytest.fixture(autouse=True)
def in_this_world():
    """Leave the cache empty: the small world of the other tests is not meant here."""


@pytest.fixture(scope="module")
def indices(facts_cache):
    return {
        species: build(species, encoder="lexical", source="facts", offline=True, root=facts_cache).index
        for species in ("human", "mouse")
    }


@pytest.mark.parametrize(("name", "species", "most", "least"), CASES)
def test_real_data_find_their_genes(real_data, indices, name, species, most, least):
    adata = anndata.read_h5ad(real_data / "cells" / f"{name}.h5ad", backed="r")
    priors = GenePriors.open(indices[species]).align(adata)
    report = priors.report
    print(f"\n{name}\n{report}")
    assert report.species == ("mouse" if "mouse" in name else "human")
    assert report.considered[report.column] == max(report.considered.values())
    assert max(report.counts, key=report.counts.get) in most.split()
    assert report.n_matched / len(priors) >= least
    # Every gene that has a vector has that of its GeneID, and the others have none.
    index = indices[species]
    assert np.array_equal(priors.vectors[priors.mask], index.matrix[index_rows(index, priors.gene_ids[priors.mask])])
    assert not priors.vectors[~priors.mask].any()
    assert not np.isin(priors.gene_ids[~priors.mask], index.gene_ids).any()


def index_rows(index, gene_ids):
    order = np.argsort(index.gene_ids)
    return order[np.searchsorted(index.gene_ids, gene_ids, sorter=order)]


def test_symbols_and_ensembl_ids_of_one_data_set_agree(real_data, indices):
    adata = anndata.read_h5ad(real_data / "cells" / "human_retina_multiome_1000.h5ad", backed="r")
    opened = GenePriors.open(indices["human"])
    symbols, ensembl = opened.align(adata, column="var_names"), opened.align(adata, column="ensembl_gene_id")
    both = symbols.mask & ensembl.mask
    assert both.sum() > 16_000
    assert (symbols.gene_ids[both] == ensembl.gene_ids[both]).mean() > 0.999
