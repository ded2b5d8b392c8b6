"""The simulated RGC atlas: what is known is in it, text is not, and it is neither trivial nor hopeless."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from examples.rgc import arms, lowsample, simulate
from examples.rgc.simulate import Design

SMALL = Design(n_cells=900, n_genes=500, seed=3)


@pytest.fixture(scope="module")
def atlas():
    return simulate.simulate(SMALL)


def test_it_says_that_it_is_simulated(atlas):
    assert simulate.is_simulated(atlas)
    assert "simulated" in atlas.uns["title"]
    assert "measured" in atlas.uns["simulated"]["what"]
    assert atlas.obs_names.str.startswith("simulated_").all()


def test_counts_are_whole_and_sparse(atlas):
    assert scipy.sparse.issparse(atlas.X)
    assert atlas.X.format == "csr"
    assert atlas.X.dtype == np.int32
    assert atlas.shape == (900, 500)
    assert atlas.X.data.min() >= 1
    assert atlas.var_names.is_unique


def test_the_seed_decides_everything(atlas):
    again, other = simulate.simulate(SMALL), simulate.simulate(Design(n_cells=900, n_genes=500, seed=4))
    assert (again.X != atlas.X).nnz == 0
    pd.testing.assert_frame_equal(again.obs, atlas.obs)
    assert list(again.var_names) == list(atlas.var_names)
    assert (other.X != atlas.X).nnz > 0.1 * atlas.X.nnz


def test_what_genes_are_called_plays_no_part(atlas):
    """So nothing that is written about them can: the counts are the same for symbols that mean nothing."""
    n_other = int((atlas.var["role"] == "other").sum())
    renamed = simulate.simulate(SMALL, symbols=[f"Nonsense{number:04d}" for number in range(n_other + 50)])
    assert (renamed.X != atlas.X).nnz == 0
    assert renamed.var_names[atlas.var["role"] == "other"].str.startswith("Nonsense").all()


def test_frequencies_of_types_are_the_published_ones():
    types = simulate.read_types()
    assert len(types) == 45
    assert types["cells"].sum() == 35_699
    sizes = simulate._sizes(types["cells"].to_numpy(float), 6000)
    assert sizes.sum() == 6000
    share = sizes / 6000
    assert share.min() < 0.002
    assert share.max() > 0.08
    assert np.abs(share - types["cells"] / types["cells"].sum()).max() < 0.001


def test_every_type_has_cells_in_a_small_atlas(atlas):
    assert atlas.obs["cell_type"].value_counts().min() >= simulate.MIN_CELLS
    with pytest.raises(ValueError, match="too few for 45 types: at least 180"):
        simulate.simulate(Design(n_cells=100))


def test_too_few_genes_for_the_markers_are_refused():
    with pytest.raises(ValueError, match="60 genes are not possible: at least 1"):
        simulate.simulate(Design(n_cells=300, n_genes=60))


def test_markers_are_in_their_types_and_not_there_alone():
    """In large types, whose shares of detection are sure enough."""
    atlas = simulate.simulate(Design(n_cells=3000, n_genes=500, seed=0))
    types = simulate.read_types()
    present, absent = simulate.markers(types)
    seen = atlas.X.toarray() > 0
    column = {name: place for place, name in enumerate(atlas.var_names)}
    kind = atlas.obs["cell_type"].to_numpy(dtype=object)
    elsewhere = []
    for name in types.index[types["cells"] > 900]:
        others = [other for other in types.index if other != name]
        for gene in present[name]:
            without = [other for other in others if gene not in present[other]]
            inside = seen[kind == name, column[gene]].mean()
            outside = seen[np.isin(kind, without), column[gene]].mean()
            assert inside > outside + 0.1, (name, gene, inside, outside)
            elsewhere.append(outside)
        for gene in absent[name]:
            has = [other for other in others if gene in present[other]]
            assert seen[kind == name, column[gene]].mean() < seen[np.isin(kind, has), column[gene]].mean()
    assert np.mean(elsewhere) > 0.02  # ambient RNA, and types that share a gene


def test_types_are_hard_but_not_impossible_to_tell_apart():
    atlas = simulate.simulate(Design(n_cells=1500, n_genes=800, seed=0))
    labels = atlas.obs["cell_type"].astype(str).to_numpy(dtype=object)
    scores = lowsample.curves(labels, arms.baselines(atlas)[:1], sizes=(2, 20), repeats=1).set_index("m")
    assert 0.1 < scores.loc[2, "macro_f1"] < scores.loc[20, "macro_f1"] < 0.95
    assert scores.loc[20, "rare_f1"] < scores.loc[20, "accuracy"]


def test_survival_is_only_told_with_its_certainty():
    types = simulate.read_types()
    assert set(types["survival"]) == {"resilient", "vulnerable", "unknown"}
    told = types[types["survival"] != "unknown"]
    assert (told["certainty"] != "").all()
    assert (told["note"] != "").all()
    assert (types.loc[types["survival"] == "unknown", "certainty"] == "").all()


@pytest.mark.real
def test_markers_agree_with_the_published_table(real_data):
    published = pd.read_csv(real_data / "genesets" / "mouse_RGC_45types_marker_combinations_Tran2019.csv")
    present, absent = simulate.markers(simulate.read_types())
    assert list(published["rgc_type"]) == list(present)
    for row in published.itertuples():
        told = {row.gene1: row.gene1_positive, row.gene2: row.gene2_positive, row.gene3: row.gene3_positive}
        told = {gene: sign == "T" for gene, sign in told.items() if isinstance(gene, str)}
        assert {gene for gene, sign in told.items() if sign} == set(present[row.rgc_type])
        assert {gene for gene, sign in told.items() if not sign} == set(absent[row.rgc_type])
