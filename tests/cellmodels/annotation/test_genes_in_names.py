"""Genes that names of types state."""

import numpy as np
import pyarrow as pa
import pytest

from cellmodels.annotation.cell_types import CellTypes
from cellmodels.annotation.genes_in_names import (
    decide_among_siblings,
    named_expression,
    named_genes,
    siblings,
    stated_genes,
)
from cellmodels.annotation.group_profiles import GroupProfiles
from genetext.index_names import IndexNames
from genetext.names.lookup import Lookup
from genetext.names.tables import Tables
from genetext.priors import GenePriors
from genetext.species import find
from genetext.text.snapshot import SCHEMAS


@pytest.mark.parametrize(
    ("name", "genes"),
    [
        ("CD14+ Monocytes", ["CD14"]),
        ("FCGR3A+ Monocytes", ["FCGR3A"]),
        ("CD4-positive, alpha-beta T cell", ["CD4"]),
        ("CD14-low, CD16-positive monocyte", ["CD16"]),
        ("CD34+CD38+ cell", ["CD34", "CD38"]),
        ("CD56bright NK cell", ["CD56"]),
        ("CD123hi plasmacytoid", ["CD123"]),
        ("KIT+ mast cell", ["KIT"]),
        ("Lgr5+ stem cell", ["Lgr5"]),
        ("CD4 T cells", []),  # a name, not a statement
        ("CD16- monocyte", []),
        ("double-positive thymocyte", []),
        ("ON-OFF ganglion cell", []),
        ("pan-T", []),
        ("beta cell", []),
        ("", []),
    ],
)
def test_a_name_states_what_cells_have(name, genes):
    assert stated_genes(name) == genes


class _Index:
    """The names of an index, looked up as an index does."""

    def __init__(self, genes):
        n, self.genes = len(genes), genes
        columns = {
            "gene_id": genes["gene_id"],
            "id_tax_id": [9606] * n,
            "symbol": genes["symbol"],
            "synonyms": list(map(list, genes["synonyms"])),
            "previous": [[]] * n,
            "ensembl_ids": [[]] * n,
            "gene_type": ["protein-coding"] * n,
        }
        schema = pa.schema([SCHEMAS["genes"].field(name) for name in columns])
        table = pa.table(columns, schema=schema)
        self._lookup = Lookup(Tables.build(find("human"), "", table, SCHEMAS["history"].empty_table()))

    ids_of = IndexNames.ids_of


@pytest.fixture
def source():
    import pandas as pd

    table = pd.DataFrame(
        {
            "gene_id": [1, 2, 3, 4],
            "symbol": ["CD14", "FCGR3A", "FCGR3B", "KIT"],
            "synonyms": [np.array([]), np.array(["CD16"]), np.array(["CD16"]), np.array(["CD117"])],
        }
    )
    priors = GenePriors(
        names=np.array(["KIT", "CD14", "FCGR3B", "FCGR3A", "OTHER"], object),
        vectors=np.ones((5, 2), np.float32),
        mask=np.array([True] * 4 + [False]),
        gene_ids=np.array([4, 1, 3, 2, 0]),
        status=np.full(5, "symbol", object),
        source="test",
        fingerprint="0",
    )
    return _Index(table), priors


def test_genes_are_found_by_symbol_and_synonym(source):
    types = CellTypes.of(["CD14+ monocyte", "CD16+ monocyte", "CD14+CD117+ cell", "T cell", "CD99999+ cell"])
    shares = named_genes(types, [source])
    assert shares.tolist() == [
        [0, 1, 0, 0, 0],
        [0, 0, 0.5, 0.5, 0],  # CD16 may be either gene
        [0.5, 0.5, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


def test_a_second_index_is_asked_where_the_first_knows_nothing(source):
    index, priors = source
    empty = _Index(index.genes.iloc[:0])
    types = CellTypes.of(["CD14+ monocyte"])
    assert named_genes(types, [(empty, priors), source]).tolist() == [[0, 1, 0, 0, 0]]


def test_the_group_that_has_the_gene_bears_the_name_out():
    contrast = np.array([[2.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [-1.0, 0.0, -1.0]])
    shown = GroupProfiles(
        sizes=np.array([5, 5, 5]),
        mean=np.abs(contrast),
        contrast=contrast,
        log_ratio=2 * contrast,
        expressed=np.array([True, True, False]),
    )
    shares = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.0]])
    result = named_expression(shares, shown)
    assert result[:, 0].tolist() == [3.0, -1.5, -1.5]  # the mean of contrast and fold
    assert not result[:, 1].any()  # states nothing
    assert not result[:, 2].any()  # states a gene that nothing expresses


def test_siblings_differ_in_statements_alone():
    names = [
        "CD14+ Monocytes",
        "FCGR3A+ monocyte",
        "CD4 T cells",
        "CD14-low, CD16-positive monocyte",
        "B cell",
        "B-cells",
    ]
    assert [family.tolist() for family in siblings(names)] == [[0, 1, 3]]
    assert [f.tolist() for f in siblings(["CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell"])] == [
        [0, 1]
    ]


def test_statements_decide_among_siblings_and_touch_nobody_else():
    rng = np.random.default_rng(0)
    logits, by_name = rng.normal(size=(40, 5)), rng.normal(size=(40, 5))
    family = np.array([1, 3])
    result = decide_among_siblings(logits, by_name, [family])
    assert (result[:, [0, 2, 4]] == logits[:, [0, 2, 4]]).all()
    assert result[:, family].max(axis=1) == pytest.approx(logits[:, family].max(axis=1))
    led = np.isin(logits.argmax(axis=1), family)
    assert (result[~led] == logits[~led]).all()
    stated = logits[led] + by_name[led]
    assert (result[led][:, family].argmax(axis=1) == stated[:, family].argmax(axis=1)).all()
    assert (decide_among_siblings(logits, by_name, []) == logits).all()
    # The type that wins changes only from one sibling to another.
    before, after = logits.argmax(axis=1), result.argmax(axis=1)
    assert all(a == b or {a, b} <= {1, 3} for a, b in zip(before, after, strict=True))


def test_what_other_types_have_more_of_does_not_matter():
    """CD4 is highest in monocytes, the third row; among T cells it still tells CD4 from CD8 cells."""
    logits = np.array([[1.0, 1.1, 0.0], [1.1, 1.0, 0.0], [0.0, 0.0, 3.0]])
    by_name = np.array([[0.2, -0.5, 0.0], [-0.1, 0.5, 0.0], [5.0, -0.5, 0.0]])
    result = decide_among_siblings(logits, by_name, [np.array([0, 1])])
    assert result.argmax(axis=1).tolist() == [0, 1, 2]
    assert result[2].tolist() == [0.0, 0.0, 3.0]
