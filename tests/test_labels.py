"""Labels that mean that a cell has none."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cellmodels.eval import metrics
from cellmodels.eval.bench import run as bench
from cellmodels.eval.low_sample import draws
from cellmodels.eval.topic_metrics import topic_association, topic_types
from cellmodels.groups.knn_classifier import KNNClassifier
from genetext.errors import CellsError, GenetextError
from genetext.labels import NO_LABEL, known_labels, labels_of, means_no_label
from genetext.names.rules import is_missing

WRITTEN = ["Unknown", "unknown", "unassigned", "nan", "NaN", "NA", "N/A", "None", "none", "null", "-", "?", "", " "]
WRITTEN += ["not_assigned", "Not-Assigned", "N.A.", "n.a.", "NaN.1", "NA_1", "--", ".", "??", "_", "\\N", "<unknown>"]
WRITTEN += ["[unknown]", "(unknown)", '"NA"', "b'NA'", b"NA", "no label", "Unclassified", "not annotated", "\u2014"]
WRITTEN += ["NA\u200b", "nothing", "#VALUE!", "#REF!", "#NAME?", "#DIV/0!", "un-assigned", np.ma.masked]
WRITTEN += ["undefined", "not available", "Not  Available", None, np.nan, pd.NA, pd.NaT, float("nan")]


@pytest.mark.parametrize("word", WRITTEN, ids=repr)
def test_words_for_nothing(word):
    assert means_no_label(word)


STAY = ["B cell", "NK", "doublet", "0", 0, False, "-1", "unknown 1", "Na+ channel", "T", "Nil-", "other", "NA12878"]
STAY += ["+", "n", "(B) cell", "B [CD4] T", "<2", "1.0"]


@pytest.mark.parametrize("label", STAY)
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


@example([0, 0.0, False, 1, True])
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


def test_every_null_that_is_no_name_of_a_gene_is_no_label():
    for word in ("NA", "nan", "None", "null", "nil", "<NA>", "#N/A", "-", "--", "?", "missing", "nothing", "#REF!"):
        assert is_missing(word)
        assert means_no_label(word)


def test_a_series_goes_by_the_names_of_the_cells():
    adata = anndata.AnnData(np.ones((3, 1), np.float32), obs=pd.DataFrame(index=["x", "y", "z"]))
    assert labels_of(adata, pd.Series(["c", "b", "a"], index=["z", "y", "x"])).tolist() == ["a", "b", "c"]
    assert labels_of(adata, pd.Series(["a", "b", "c"])).tolist() == ["a", "b", "c"]
    for index in (["x", "y", "w"], ["x", "y", "y"], ["x", "y"]):
        with pytest.raises(CellsError, match=r"labels: the index of the series has other names than the cells"):
            labels_of(adata, pd.Series(list("abc")[: len(index)], index=index))


@pytest.mark.parametrize("labels", [3, None, np.full((2, 2), "a"), [["a", "b"], ["a", "b"]], "twice", ["a"]])
def test_what_is_not_one_label_for_each_cell(labels):
    obs = pd.DataFrame([["a", "b"]] * 2, columns=["twice", "twice"], index=["x", "y"])
    adata = anndata.AnnData(np.ones((2, 1), np.float32), obs=obs)
    with pytest.raises(CellsError, match=r"one value for each of 2 cells|1 values for 2 cells"):
        labels_of(adata, labels)


def test_nothing_but_words_for_nothing_is_one_error():
    adata = anndata.AnnData(np.ones((2, 1), np.float32))
    with pytest.raises(CellsError, match=r"labels: none of the 2 cells has a label"):
        labels_of(adata, ["unknown", None])


# -- whoever reads labels goes by the same rule ---------------------------------------------------------------------

TYPES = np.array(["a", "b"] * 10, object)
POINTS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
ABSENT = [3, 8]


def written(word):
    labels = TYPES.copy()
    labels[ABSENT] = word
    return labels


@pytest.mark.parametrize("word", ["Unknown", "unassigned", "nan", "", np.nan])
def test_cells_without_a_label_neither_teach_nor_test(word):
    for draw in draws(written(word), m=(1, 5), seeds=[0, 1]):
        assert not np.isin(ABSENT, [*draw.train, *draw.test]).any()
    classifier = KNNClassifier.fit(POINTS, written(word))
    assert classifier.classes == ("a", "b")
    assert len(classifier.reference) == 18


def refused():
    adata = anndata.AnnData(np.ones((20, 2), np.float32), obs={"type": TYPES.astype(str)})

    def benched(labels):
        adata.obs["donor"] = labels
        return bench._truth(adata, "type", "donor")

    return {
        "accuracy": lambda labels: metrics.accuracy(labels, TYPES),
        "ari": lambda labels: metrics.ari(labels, TYPES),
        "macro_f1": lambda labels: metrics.macro_f1(labels, TYPES),
        "calibration_error": lambda labels: metrics.calibration_error(labels, TYPES, np.ones(20)),
        "matched_accuracy": lambda labels: metrics.matched_accuracy(labels, np.arange(20) % 2),
        "silhouette": lambda labels: metrics.silhouette(POINTS, labels),
        "knn_accuracy": lambda labels: metrics.knn_accuracy(POINTS, labels),
        "topic_types": lambda labels: topic_types(np.abs(POINTS), labels),
        "topic_association": lambda labels: topic_association(POINTS, labels),
        "groups of draws": lambda labels: list(draws(np.roll(np.repeat(TYPES[:2], 10), 3), groups=labels)),
        "groups of bench cells": benched,
    }


@pytest.mark.parametrize("reader", refused())
def test_where_every_cell_needs_a_label_the_words_for_nothing_are_refused(reader):
    read = refused()[reader]
    read(TYPES)
    for word, said in (("Unknown", "2 'Unknown'"), ("nan", "2 'nan'"), (None, "2 null")):
        with pytest.raises(GenetextError, match=rf"2 cells have no \w+[\w ]* \({said}\): leave them out, or name"):
            read(written(word))


def test_a_prediction_that_means_no_label_is_wrong_and_no_error():
    assert metrics.accuracy(TYPES, written("Unknown")) == pytest.approx(0.9)
    assert metrics.macro_f1(TYPES, written("")) < 1
