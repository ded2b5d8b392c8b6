"""Files of gene sets: whatever is in them is read or refused in a sentence that names the file and the line."""

import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genetext.errors import BenchError, CellsError
from genetext.gene_sets import read_gene_sets, read_terms

GMT = b"LIGHT\tx\tRHO\tOPN4\nEYE\t\tPAX6\tRHO\tRHO\n"
SETS = {"LIGHT": ("RHO", "OPN4"), "EYE": ("PAX6", "RHO")}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gmt", GMT),
        ("a.gmt.gz", gzip.compress(GMT, mtime=0)),
        ("zipped_and_not_named_so.gmt", gzip.compress(GMT, mtime=0)),
        ("a.gmt", GMT.replace(b"\n", b"\r\n")),
        ("a.csv", b'"term","gene"\n"LIGHT","RHO"\n"LIGHT","OPN4"\n"EYE","PAX6"\n"EYE","RHO"\n'),
        ("a.csv", b"gs_name,gene_symbol\nLIGHT,RHO\nLIGHT,OPN4\nEYE,PAX6\nEYE,RHO\n"),
        ("a.csv", b"gs_cat,gene_symbol,gs_name\nH,RHO,LIGHT\nH,OPN4,LIGHT\nH,PAX6,EYE\nH,RHO,EYE\n"),
        ("a.tsv", b"gene\tterm\nRHO\tLIGHT\nOPN4\tLIGHT\nPAX6\tEYE\nRHO\tEYE\n"),
    ],
)
def test_every_form_gives_the_same_sets(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert read_gene_sets(tmp_path / name) == SETS == read_gene_sets(SETS)


def test_lines_end_at_line_feeds_alone(tmp_path):
    (tmp_path / "a.gmt").write_text("A\x0bB\tx\tRHO\u2028\tOPN4\n")
    assert read_gene_sets(tmp_path / "a.gmt") == {"A\x0bB": ("RHO", "OPN4")}


def damaged():
    packed = bytearray(gzip.compress(GMT * 50, mtime=0))
    packed[15:20] = b"\xff" * 5
    return bytes(packed)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (damaged(), "invalid"),
        (gzip.compress(GMT * 50, mtime=0)[:60], "ended before the end-of-stream"),
        (b"A\tx\tB\nA\tx\t\xe4\n", "line 2 is not UTF-8"),
        (b"A\tx\tB\nA\n", "see line 2"),
        (b"", "is empty"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path, content, words):
    (tmp_path / "a.gmt").write_bytes(content)
    for error in (BenchError, CellsError):
        with pytest.raises(error, match=f"from .*a.gmt: .*{words}"):
            read_terms(tmp_path / "a.gmt", error=error)


def test_a_file_is_not_unpacked_beyond_the_limit(tmp_path):
    (tmp_path / "bomb.gmt").write_bytes(gzip.compress(b"\n" * 10**7, mtime=0))
    with pytest.raises(BenchError, match="more than 1,000 bytes when unpacked"):
        read_terms(tmp_path / "bomb.gmt", max_bytes=1000)


@given(
    st.binary() | st.text(alphabet='Aé\t,"\n\r#term gene split result01').map(str.encode),
    st.sampled_from(["gmt", "tsv"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_is_read_or_refused(tmp_path, content, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    try:
        rows, _ = read_terms(path)
    except BenchError as error:
        assert str(path) in str(error)
    else:
        assert list(rows.columns) == ["term", "gene", "label", "split"]
        assert len(rows)
