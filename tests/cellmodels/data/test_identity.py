"""Data sets known again by everything in them."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cellmodels.data.identity import data_digest
from tests.cellmodels.toy import cells


def full():
    adata = cells(12, 6)
    adata.layers["counts"] = adata.X.copy()
    adata.obsm["words"] = pd.DataFrame({"w": [f"word {i}" for i in range(12)]}, index=adata.obs_names)
    adata.obsm["X_pca"] = np.arange(24.0).reshape(12, 2)
    adata.varm["loadings"] = np.arange(12.0).reshape(6, 2)
    adata.obsp["connectivities"] = sparse.csr_matrix(np.eye(12))
    adata.varp["near"] = np.eye(6)
    adata.uns["names"] = {"of": np.array(["a", "b"], dtype=object), "n": 3, "list": ["x", None]}
    adata.raw = adata.copy()
    return adata


def test_equal_data_have_one_digest_also_read_from_a_file(tmp_path):
    first = full()
    assert data_digest(first) == data_digest(full())
    del first.uns["names"]["list"]
    first.write_h5ad(tmp_path / "a.h5ad")
    read = [anndata.read_h5ad(tmp_path / "a.h5ad") for _ in range(2)]
    assert data_digest(read[0]) == data_digest(read[1])


CHANGES = {
    "X": lambda adata: adata.X.data.__setitem__(0, 99),
    "obs": lambda adata: adata.obs.__setitem__("x", 1),
    "var": lambda adata: adata.var.__setitem__("x", "b"),
    "layers": lambda adata: adata.layers["counts"].data.__setitem__(0, 99),
    "obsm": lambda adata: adata.obsm["X_pca"].__setitem__((0, 0), 5),
    "words": lambda adata: adata.obsm["words"].__setitem__("w", "other"),
    "varm": lambda adata: adata.varm["loadings"].__setitem__((0, 0), 5),
    "obsp": lambda adata: adata.obsp["connectivities"].data.__setitem__(0, 2),
    "varp": lambda adata: adata.varp["near"].__setitem__((0, 0), 2),
    "uns": lambda adata: adata.uns["names"].__setitem__("n", 4),
    "text": lambda adata: adata.uns["names"]["of"].__setitem__(1, "c"),
    "raw.var": lambda adata: adata.raw.var.__setitem__("x", 1),
    "raw.X": lambda adata: adata.raw.X.data.__setitem__(0, 99),
}


@pytest.mark.parametrize("part", CHANGES)
def test_whatever_changes_is_in_the_digest(part):
    adata = full()
    CHANGES[part](adata)
    assert data_digest(adata) != data_digest(full())
