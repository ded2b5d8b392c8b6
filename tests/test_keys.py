"""AnnData keys: those that the docs promise, and what an h5ad file gives back."""

import anndata
import numpy as np
import pytest

from genetext.errors import CellsError
from genetext.keys import Keys


def test_the_promised_keys():
    keys = Keys()
    assert (keys.vectors, keys.gene_id, keys.status) == ("genetext", "genetext_id", "genetext_status")
    assert (keys.cells, keys.uns, Keys.model("topic")) == ("X_genetext", "genetext", "X_topic")


def test_another_base_shares_no_key():
    def names(base):
        keys = Keys(base)
        return {keys.vectors, keys.gene_id, keys.status, keys.cells, keys.uns}

    assert not names("genetext") & names("other")


@pytest.mark.parametrize("base", ["", "a/b", "_index"])
def test_a_base_that_no_file_can_hold(base):
    with pytest.raises(CellsError, match="cannot name a key"):
        Keys(base)


def test_records_stand_beside_each_other_and_come_back_from_a_file(tmp_path):
    adata = anndata.AnnData(np.ones((2, 2), np.float32))
    keys = Keys("mine")
    priors = {"steps": ["a", "b"], "dim": 3, "share": 0.5, "control": "", "nested": {"seeds": [1, 2]}}
    keys.record(adata, "priors", priors)
    keys.record(adata, "cells", {"top_n": 20})
    keys.record(adata, "cells", {"top_n": 30})
    adata.write_h5ad(tmp_path / "a.h5ad")
    for one in (adata, anndata.read_h5ad(tmp_path / "a.h5ad")):
        assert keys.recorded(one, "priors") == priors
        assert keys.recorded(one, "cells") == {"top_n": 30}
        assert keys.recorded(one, "absent") == {}
    assert Keys("other").recorded(adata, "priors") == {}


def test_a_foreign_uns_entry_is_replaced_and_not_mixed():
    adata = anndata.AnnData(np.ones((2, 2), np.float32), uns={"genetext": "a string"})
    Keys().record(adata, "cells", {"a": 1})
    assert adata.uns["genetext"] == {"cells": {"a": 1}}
