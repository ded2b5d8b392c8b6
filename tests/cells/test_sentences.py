"""Cells as sentences."""

import numpy as np
import pytest

from genetext.cells import cell_sentences
from genetext.errors import CellsError
from tests.cells import reference


def test_names_in_falling_order_and_ties_by_the_order_of_genes():
    x = np.array([[0, 3, 3, 9, 1], [0, 0, 0, 0, 0], [2, 0, 0, 0, 0]], np.float32)
    adata = reference.data(x)
    assert cell_sentences(adata, 3) == ["GENE3 GENE1 GENE2", "", "GENE0"]
    assert cell_sentences(adata, names=list("abcde"), separator=", ")[0] == "d, b, c, e"
    assert cell_sentences(adata, names=["a", "b", "", "d", "b"])[0] == "d b"


def test_counts_and_log_values_say_the_same():
    x = reference.counts(50, 30)
    logged = reference.data(np.log1p(x))
    assert cell_sentences(reference.data(x), 10) == cell_sentences(logged, 10, expression="log")
    for sentence, row in zip(cell_sentences(reference.data(x), 10), x, strict=True):
        order = sorted(np.flatnonzero(row), key=lambda j: (-row[j], j))[:10]
        assert sentence == " ".join(f"GENE{j}" for j in order)


def test_wrong_numbers():
    adata = reference.data(reference.counts(5, 4))
    with pytest.raises(CellsError, match="n is 0"):
        cell_sentences(adata, 0)
    with pytest.raises(CellsError, match="2 names for 4 genes"):
        cell_sentences(adata, names=["a", "b"])
