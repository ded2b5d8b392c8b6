"""Labels that mean that a cell has none."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genetext.errors import CellsError
from genetext.labels import NO_LABEL, known_labels, labels_of, means_no_label

WRITTEN = ["Unknown", "unknown", "unassigned", "nan", "NaN", "NA", "N/A", "None", "none", "null", "-", "?", "", " "]
WRITTEN += ["undefined", "not available", "Not  Available", None, np.nan, pd.NA, pd.NaT, float("nan")]


@pytest.mark.parametrize("word", WRITTEN, ids=repr)
def test_words_for_nothing(word):
    assert means_no_label(word)


@pytest.mark.parametrize(
    "label", ["B cell", "NK", "doublet", "0", 0, False, "-1", "unknown 1", "Na+ channel", "T", "Nil-"]
)
def test_labels_that_stay(label):
    assert not means_no_label(label)
    assert known_labels([label]).tolist() == [str(label)]


@given(
    word=st.sampled_from(sorted(NO_LABEL)),
    upper=st.lists(st.booleans(), min_size=20, max_size=20),
    spaces=st.tuples(st.sampled_from(["", " ", "\t"]), st.sampled_from(["", "  ", "\n"])),
)
def test_letter_case_and_spaces_around_do_not_matter(word, upper, spaces):
    mixed = "".join(letter.upper() if up else letter for letter, up in zip(word, upper, strict=False))
    assert means_no_label(f"{spaces[0]}{mixed}{spaces[1]}")


@given(st.lists(st.one_of(st.none(), st.text(max_size=6), st.integers(), st.floats()), min_size=1, max_size=20))
def test_any_values_become_strings_or_none(values):
    labels = known_labels(values)
    assert len(labels) == len(values)
    for value, label in zip(values, labels, strict=True):
        assert (label is None) == means_no_label(value)
        assert label is None or label == str(value)


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_columns_of_any_kind_are_read_and_it_is_said(dtype, caplog):
    adata = anndata.AnnData(np.ones((6, 1), np.float32))
    adata.obs["type"] = pd.Series(["B", "Unknown", None, "nan", "T", "Unknown"], dtype=dtype).to_numpy(object)
    if dtype != "string":
        adata.obs["type"] = adata.obs["type"].astype(dtype)
    with caplog.at_level(logging.WARNING, "genetext"):
        assert labels_of(adata, "type").tolist() == ["B", None, None, None, "T", None]
    assert "obs['type']: 3 cells are taken as not labelled (2 'Unknown', 1 'nan')" in caplog.text


def test_nothing_but_words_for_nothing_is_one_error():
    adata = anndata.AnnData(np.ones((2, 1), np.float32))
    with pytest.raises(CellsError, match=r"labels: none of the 2 cells has a label"):
        labels_of(adata, ["unknown", None])
