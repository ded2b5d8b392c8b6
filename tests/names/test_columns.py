"""Where people keep gene names, and what is no list of names."""

from contextlib import suppress

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genetext.errors import CellsError, ResolveError
from genetext.names import columns as names


def data(index, **var):
    return anndata.AnnData(
        np.ones((2, len(index)), np.float32), var=pd.DataFrame(var, index=pd.Index(index, dtype=str))
    )


def labels(columns):
    return [column.label for column in columns]


def test_var_names_come_first_then_known_columns_in_their_order():
    adata = data(["a", "b"], gene_ids=["1", "2"], n_cells=[3, 4], feature_name=["x", "y"])
    columns = names.candidates(adata)
    assert labels(columns) == ["var_names", "var['feature_name']", "var['gene_ids']"]
    assert columns[1].names == ["x", "y"]
    assert labels(names.candidates(adata.var)) == labels(columns)


def test_counters_are_no_names():
    adata = data(["0", "1", "2"], gene_ids=["x", "y", "z"])
    assert labels(names.candidates(adata)) == ["var['gene_ids']"]
    with pytest.raises(ResolveError, match=r"0 to 2.*\(it has n\)"):
        names.candidates(data(["0", "1", "2"], n=[1, 2, 3]))


def test_what_a_subset_leaves_of_a_counter_is_no_name_either():
    rng = np.random.default_rng(0)
    whole = data([str(number) for number in range(4_000)])
    chosen = rng.choice(4_000, 1_000, replace=False)
    for subset in (whole[:, np.sort(chosen)], whole[:, chosen], whole[:, 1:], whole[:, [7, 19]]):
        with pytest.raises(ResolveError, match=r"may only count the genes.*column='var_names' if these are"):
            names.candidates(subset)
        assert len(names.candidates(subset, column="var_names")[0].names) == subset.n_vars
    with_names = data(["3", "7", "900"], symbol=["TP53", "RHO", "OPN4"])
    assert labels(names.candidates(with_names)) == ["var['symbol']"]


def test_a_counter_in_a_column_is_left_out_unless_it_is_named():
    n = 50
    adata = data(
        [f"G{i}" for i in range(n)],
        gene_ids=[str(i) for i in range(3, 3 + 2 * n, 2)],
        entrez_id=[str(i) for i in range(1, n + 1)],
        n_cells=[1] * n,
    )
    assert labels(names.candidates(adata)) == ["var_names"]
    assert len(names.candidates(adata, column="gene_ids")[0].names) == n
    # Small GeneIDs with gaps, under a name that says what they are.
    adata.var["entrez_id"] = [str(i) for i in range(3, 3 + 2 * n, 2)]
    assert [column.gene_ids for column in names.candidates(adata)] == [False, True]


@pytest.mark.parametrize("index", [["7157", "672", "94233"], ["1", "100506658"], ["7157.5", "8000.5"], ["1", "2", "x"]])
def test_numbers_that_count_nothing_may_be_geneids(index):
    assert labels(names.candidates(data(index))) == ["var_names"]


def test_a_list_that_counts_is_refused():
    for first in (0, 1):
        with pytest.raises(ResolveError, match=f"the numbers {first} to 1,999 in order"):
            names.candidates([str(number) for number in range(first, 2_000)])
    assert names.candidates(["1", "2", "9"])[0].names == ["1", "2", "9"]


def test_raw_adds_only_what_var_has_lost_in_the_order_of_var():
    whole = data(["a", "b", "c"], gene_ids=["1", "2", "3"], symbol=["A", "B", "C"])
    subset = whole[:, ["c", "a"]].copy()
    subset.raw = whole
    del subset.var["gene_ids"]
    columns = names.candidates(subset)
    assert labels(columns) == ["var_names", "var['symbol']", "raw.var['gene_ids']"]
    assert columns[2].names == ["3", "1"]


def test_raw_of_other_genes_is_left_alone():
    subset = data(["a", "b"])
    subset.raw = data(["a", "x"], gene_ids=["1", "2"])
    assert labels(names.candidates(subset)) == ["var_names"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series(pd.Categorical(["A", None, "B"])), ["A", "", "B"]),
        (pd.Series([b"A", " B ", np.nan], dtype=object), ["A", "B", ""]),
        (pd.Series([7157.0, np.nan, 6010.0]), ["7157", "", "6010"]),
        (pd.array([7157, None, 6010], dtype="Int64"), ["7157", "", "6010"]),
        (pd.Series(["A", None, "B"], dtype="string"), ["A", "", "B"]),
        (np.array(["A", "", "B"]), ["A", "", "B"]),
        (iter(["A", None, 3]), ["A", "", "3"]),
    ],
)
def test_strings_of_all_that_pandas_makes_of_names(values, expected):
    assert names.strings(values) == expected


@given(st.lists(st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.binary())))
def test_strings_of_anything(values):
    texts = names.strings(values)
    assert len(texts) == len(values)
    assert all(isinstance(name, str) and name == name.strip() for name in texts)


def test_one_column_by_name():
    adata = data(["a", "b"], mine=["x", "y"])
    assert names.candidates(adata, column="mine") == [names.NameColumn("var['mine']", ["x", "y"])]
    assert names.candidates(adata, column="var_names")[0].names == ["a", "b"]
    with pytest.raises(ResolveError, match="no column 'gene': it has mine"):
        names.candidates(adata, column="gene")
    with pytest.raises(ResolveError, match="a list of names has no column"):
        names.candidates(["a"], column="gene")


def test_a_list_is_a_list_and_a_string_is_not():
    assert names.candidates(pd.Index(["a", "b"]))[0] == names.NameColumn("names", ["a", "b"])
    assert names.candidates([])[0].names == []
    with pytest.raises(ResolveError, match="one string"):
        names.candidates("TP53")


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_files_are_read_without_their_expression(tmp_path, form):
    whole = data(["a", "b", "c"], gene_ids=pd.Categorical(["1", "2", "3"]))
    subset = whole[:, ["c", "a"]].copy()
    subset.raw = whole
    del subset.var["gene_ids"]
    path = tmp_path / f"x.{form}"
    getattr(subset, f"write_{form}")(path)
    assert names.candidates(names.read(path)) == names.candidates(subset)


def test_text_files(tmp_path):
    path = tmp_path / "names.csv"
    path.write_bytes("\ufeffTP53,x\n\n RHO \n".encode())
    assert names.read(path) == ["TP53", "RHO"]
    # As R's write.csv and write.table leave it.
    path.write_text('"","x"\n"TP53",1\n"NKX2,5",2\n\'RHO,3\n"PAX6\n')
    assert names.read(path).index.tolist() == ["TP53", "NKX2,5", "'RHO", "PAX6"]
    path.write_text('"TP53"\t"a, b"\nRHO\t"open\nPAX6\t3\n')
    assert names.read(path) == ["TP53", "RHO", "PAX6"]
    path.write_text("x" * 200_000)
    with pytest.raises(ResolveError, match="nor a text of gene names"):
        names.read(path)
    with pytest.raises(ResolveError, match="there is no"):
        names.read(tmp_path / "absent.txt")
    path.write_bytes("TP53\n".encode("utf-16"))
    with pytest.raises(ResolveError, match="neither h5ad nor zarr.* line 1 is not UTF-8: save the file as UTF-8"):
        names.read(path)


@pytest.mark.parametrize(
    ("text", "expected", "column"),
    [
        ('"","gene"\n"1","TP53"\n"2","RHO"\n"3","OPN4"\n', ["TP53", "RHO", "OPN4"], "var_names"),
        (",symbol,n\n0,TP53,4\n1,RHO,5\n", ["TP53", "RHO"], "var_names"),
        ("x\n1,TP53\n2,RHO\n", ["TP53", "RHO"], "var_names"),
        ("1\tTP53\n2\tRHO\n", ["TP53", "RHO"], "names"),
        ("gene\nTP53\nRHO\n", ["TP53", "RHO"], "var_names"),
        ("n_cells\tmean\nTP53\t3\t0.5\nRHO\t2\t0.1\n", ["TP53", "RHO"], "var_names"),
        ("rank,hit\n1,TP53\n2,BRCA1\n3,EGFR\n", ["TP53", "BRCA1", "EGFR"], "var_names"),
        ("rank,score,hits\n1,0.5,TP53\n2,0.1,RHO\n", ["TP53", "RHO"], "var_names"),
        ("Unnamed: 0,Sym\n0,TP53\n1,RHO\n", ["TP53", "RHO"], "var_names"),
        ("cluster,marker\n0,TP53\n0,RHO\n1,OPN4\n", ["TP53", "RHO", "OPN4"], "var_names"),
        ("word,n\nTP53,3\nRHO,2\n", ["TP53", "RHO"], "var_names"),
        ("entrez_id,n\n7157,3\n6010,2\n", ["7157", "6010"], "var_names"),
        ("TP53,NA\nRHO,3\nOPN4,2\n", ["TP53", "RHO", "OPN4"], "names"),
        ("TP53,inf\nRHO,3\nOPN4,2\n", ["TP53", "RHO", "OPN4"], "names"),
        ("TP53,<0.1\nRHO,3\nOPN4,2\n", ["TP53", "RHO", "OPN4"], "names"),
        ("ENTREZID\n7157\n6010\n", ["7157", "6010"], "var_names"),
        ("TP53\n7157\n6010\n", ["TP53", "7157", "6010"], "names"),
        ("TP53,7157\nRHO,6010\n", ["TP53", "RHO"], "names"),
        ("TP53\nNA\nRHO\n", ["TP53", "NA", "RHO"], "names"),
        ("ENSG00000141510\tTP53\tGene Expression\n", ["ENSG00000141510"], "var_names"),
        (
            "ENSG00000141510\tTP53\tGene Expression\nCD4\tCD4\tAntibody Capture\n",
            ["ENSG00000141510", ""],
            "var_names",
        ),
        ("ENSG00000141510\tTP53\tx\n", ["ENSG00000141510"], "names"),
    ],
)
def test_headers_and_columns_that_count_rows_of_text_files(tmp_path, text, expected, column):
    path = tmp_path / "names.csv"
    path.write_text(text)
    first = names.candidates(names.read(path))[0]
    assert (first.names, first.label) == (expected, column)


def test_a_table_has_its_other_columns_too(tmp_path):
    path = tmp_path / "var.csv"
    path.write_text("id,gene_symbol,n\ng1,TP53,3\ng2,RHO,4\ng3,,5\n")
    assert labels(names.candidates(names.read(path))) == ["var_names", "var['gene_symbol']"]
    assert names.candidates(names.read(path), column="gene_symbol")[0].names == ["TP53", "RHO", ""]


@settings(deadline=None)
@given(
    n=st.integers(12, 60),
    first=st.integers(0, 1),
    form=st.sampled_from(["{}", "{}.0", "X{}", "V{}", "0{}"]),
    missing=st.integers(0, 3),
    doubled=st.integers(0, 5),
)
def test_counters_in_any_written_form_are_no_names(n, first, form, missing, doubled):
    counter = [form.format(number) for number in range(first, first + n)]
    written = [*counter, *["NA"] * missing, *(f"{name}-1" for name in counter[:doubled] if "." not in name)]
    with pytest.raises(ResolveError, match="count"):
        names.candidates(written)
    var = pd.DataFrame({"symbol": written}, index=[f"TP{place}" for place in range(len(written))])
    assert labels(names.candidates(var)) == ["var_names"]


def test_a_column_that_stands_twice(tmp_path):
    var = pd.DataFrame([["TP53", "x"], ["RHO", "y"]], index=["a", "b"], columns=["symbol", "symbol"])
    assert names.candidates(var)[1].names == ["TP53", "RHO"]
    assert names.candidates(var, column="symbol")[0].names == ["TP53", "RHO"]


@settings(deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with suppress(ResolveError):
        names.candidates(names.read(path))


def test_a_damaged_h5ad(tmp_path):
    path = tmp_path / "x.h5ad"
    path.write_bytes(b"not hdf5")
    with pytest.raises(CellsError, match="is no .h5ad file"):
        names.read(path)
