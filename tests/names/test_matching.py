"""Which gene each name of a data set means, and what that costs."""

import anndata
import numpy as np
import pandas as pd
import pytest

from genetext.errors import ResolveError, TooFewMatched
from genetext.names import MatchReport, Resolver, match, snapshots
from genetext.names.tables import Tables


def data(index, **var):
    return anndata.AnnData(
        np.ones((1, len(index)), np.float32), var=pd.DataFrame(var, index=pd.Index(index, dtype=str))
    )


@pytest.fixture
def adata():
    return data(
        ["TP53", "RHO", "RP11-1A1.2"],
        gene_ids=["ENSG00000141510", "ENSG00000122375", "x"],
        symbol=["TP53", "OPN4", "RHO"],
    )


@pytest.fixture
def counted(monkeypatch, own_cache):
    """Count how often tables are read and lists resolved."""
    times = {"tables": 0, "glances": 0, "lists": 0}

    def count(owner, name, key):
        original = getattr(owner, name)

        def counting(*arguments, **options):
            times[key] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    count(Tables, "of", "tables")
    count(snapshots, "glances", "glances")
    count(Resolver, "report", "lists")
    return times


def test_the_best_column_and_what_was_considered(adata, own_cache):
    report = match(adata)
    assert report.column == "var['symbol']"
    assert report.considered == {"var_names": 2, "var['symbol']": 3, "var['gene_ids']": 2}
    assert report.gene_id.tolist() == [7157, 94233, 6010]


@pytest.mark.parametrize("species", [None, "human"])
def test_columns_share_what_is_read(adata, counted, species):
    match(adata, species)
    assert counted == {"tables": 1, "glances": 1, "lists": 3}


def test_min_match_resolves_nothing_once_more_and_gives_the_whole_answer(adata, counted):
    with pytest.raises(TooFewMatched, match="2 of 3 names have a gene, and at least 90% must") as caught:
        match(adata, "human", column="gene_ids", min_match=0.9)
    assert counted["lists"] == 1
    assert isinstance(caught.value.report, MatchReport)
    assert caught.value.report.considered == {"var['gene_ids']": 2}
    assert match(adata, "human", column="gene_ids", min_match=0.6).n_matched == 2
    with pytest.raises(ResolveError, match="0 to 1, not 50"):
        match(adata, "human", min_match=50)


@pytest.mark.parametrize("species", [None, "human"])
def test_what_counts_genes_is_never_matched(species, own_cache):
    with pytest.raises(ResolveError, match="count genes"):
        match([str(number) for number in range(1, 2_001)], species)
    whole = data([str(number) for number in range(4_000)])
    with pytest.raises(ResolveError, match="may only count the genes"):
        match(whole[:, np.sort(np.random.default_rng(0).choice(4_000, 1_000, replace=False))], species)


def test_a_list_of_bare_numbers_needs_its_species(own_cache):
    numbers = ["7157", "94233", "6010"]
    with pytest.raises(ResolveError, match="bare numbers"):
        match(numbers)
    assert match(numbers, "human").n_matched == 3
    assert match(data(["a", "b", "c"], entrez_id=numbers)).species == "human"
