"""Where models find counts and log values."""

import anndata
import numpy as np
import pytest
from scipy import sparse

from cellmodels.data.inputs import read_cells
from genetext.errors import CellsError
from genetext.labels import labels_of
from tests.cellmodels.toy import cells


def logged(counts, target=1e4):
    x = np.asarray(counts.todense() if sparse.issparse(counts) else counts, np.float64)
    total = x.sum(axis=1, keepdims=True)
    return np.log1p(np.divide(target * x, total, out=np.zeros_like(x), where=total > 0)).astype(np.float32)


def test_counts_become_log_values_of_all_genes():
    adata = cells()
    found = read_cells(adata, needs="log")
    assert (found.kind, found.label) == ("log", "X")
    assert np.allclose(found.dense(slice(None)), logged(adata.X), atol=1e-5)
    assert np.array_equal(found.totals, adata.X.sum(axis=1, dtype=float).A1)


def test_counts_are_found_in_the_layer_in_x_or_in_raw():
    adata = cells()
    expected = adata.X.toarray()
    assert np.array_equal(read_cells(adata, needs="counts").dense(slice(None)), expected)
    adata.layers["counts"] = adata.X.copy()
    adata.X = logged(adata.X)
    assert read_cells(adata, needs="counts").label == "layers['counts']"
    assert read_cells(adata, needs="log").label == "layers['counts']"
    other = cells()
    other.raw = other.copy()
    other = other[:, 5:20].copy()
    other.X = logged(other.X)
    found = read_cells(other, needs="counts")
    assert found.label == "raw.X"
    assert np.array_equal(found.dense(slice(None)), expected[:, 5:20])
    assert np.array_equal(found.totals, expected.sum(axis=1)), "totals are of all genes measured"


def test_log_values_are_taken_where_there_are_no_counts_and_not_logged_again():
    adata = cells()
    adata.X = logged(adata.X)
    found = read_cells(adata, needs="log")
    assert (found.kind, found.label) == ("log", "X")
    assert np.array_equal(found.dense(slice(None)), adata.X)
    assert np.allclose(found.totals, 1e4, rtol=1e-4)
    assert found.log() is found


def test_no_counts_is_one_clear_error():
    adata = cells()
    adata.X = logged(adata.X)
    with pytest.raises(CellsError, match=r"this model needs counts: no counts found: X holds what looks like log-norm"):
        read_cells(adata, needs="counts")
    adata.X = adata.X - 1
    with pytest.raises(CellsError, match=r"needs counts or log-normalised values: no .* found: X holds negative"):
        read_cells(adata, needs="log")
    with pytest.raises(CellsError, match="there is no layer 'umis': there are none"):
        read_cells(cells(), needs="counts", layer="umis")


def test_a_layer_named_is_taken_and_nothing_else():
    adata = cells()
    adata.layers["doubled"] = adata.X * 2
    assert np.array_equal(read_cells(adata, needs="counts", layer="doubled").matrix.toarray(), adata.X.toarray() * 2)


def test_every_cell_is_checked_not_only_those_probed():
    adata = cells(2000, 6)
    x = adata.X.toarray()
    x[500, 2] = 2.5  # between the rows that are looked at first
    adata.X = sparse.csr_matrix(x)
    with pytest.raises(CellsError, match=r"X holds values that are not whole in c500 .*no counts"):
        read_cells(adata, needs="counts")


def test_genes_are_taken_in_any_order_and_those_nobody_measured_are_zeros():
    found = read_cells(cells(), needs="counts")
    taken = found.genes(np.array([4, -1, 0]))
    assert taken.matrix.shape == (60, 3)
    expected = found.matrix.toarray()
    assert np.array_equal(taken.matrix.toarray(), np.stack([expected[:, 4], np.zeros(60), expected[:, 0]], axis=1))
    assert taken.totals is found.totals


def test_a_cell_without_counts_stays_zeros():
    adata = cells(8, 12)
    x = adata.X.toarray()
    x[3] = 0
    found = read_cells(anndata.AnnData(x), needs="log")
    assert not found.dense(np.array([3])).any()
    assert np.isfinite(found.matrix.data).all()


def test_labels_are_a_column_or_one_value_per_cell():
    adata = cells(4)
    assert labels_of(adata, "group").tolist() == ["g0", "g1", "g2", "g0"]
    assert labels_of(adata, [1, None, np.nan, 2]).tolist() == ["1", None, None, "2"]
    with pytest.raises(CellsError, match="labels: 2 values for 4 cells"):
        labels_of(adata, ["a", "b"])
    with pytest.raises(CellsError, match="labels='kind' is no column of obs: there are group"):
        labels_of(adata, "kind")
