"""Text from data, made fit for a terminal, a spreadsheet, a figure and JSON."""

import csv
import io
import json
import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genetext.errors import first_ten
from genetext.escape import cell, json_text, printable, tsv

ANY_TEXT = st.text(st.characters(codec=None))
"""Letters, controls, bidirectional overrides, lone surrogates."""
HOSTILE = ["\x1b]8;;http://x\x07y", "\x9b31m", "a\u202eb", "\u2066x", "\ud800", "\x7f", "a\rb", "\U000e0041", "\u2028"]


def is_seen(letter):
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or letter in "\u200c\u200d"


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_obey_is_written_out(text):
    shown = printable(text)
    assert shown != text
    assert all(map(is_seen, shown))
    assert "\\" in shown


@given(ANY_TEXT)
def test_nothing_invisible_is_left_but_new_lines_and_tabs(text):
    shown = printable(text)
    assert all(is_seen(letter) or letter in "\n\t" for letter in shown)
    shown.encode()
    if all(map(is_seen, text)):
        assert shown == text
    assert "\n" not in first_ten([text])


@given(st.lists(ANY_TEXT, min_size=1))
def test_a_table_keeps_its_rows_and_computes_nothing(texts):
    written = tsv(pd.DataFrame({"name": texts, "score": -1.5}))
    rows = list(csv.reader(io.StringIO(written), delimiter="\t"))
    assert len(rows) == len(texts) + 1
    assert all(len(row) == 2 and row[1] == "-1.5" for row in rows[1:])
    assert not any(row[0].startswith(("=", "@")) for row in rows)


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A0", "+1+2", "-2+3", "@SUM(A1)", "-a", "=1"])
def test_formulas_are_text(text):
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["-1.5", "+3", "-1e-05", "-1,200", "-", "+", "-inf", "-5%", "TP53", "HLA-A", "1-Mar", ""]
)
def test_numbers_and_names_stay(text):
    assert cell(text) == text


@given(st.recursive(ANY_TEXT, lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner)))
def test_json_is_the_same_value_and_safe_to_look_at(value):
    shown = json_text(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(shown) == value
    assert all(is_seen(letter) or letter == "\n" for letter in shown)
