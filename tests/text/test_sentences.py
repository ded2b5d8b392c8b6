"""Sentences end where they end, and not after an abbreviation."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genetext.text.sentences import split

ABBREVIATIONS = [
    *("No", "Nos", "Cf", "St", "e.g", "i.e", "vs", "approx", "al", "Fig", "Figs", "Dr"),
    *("Mr", "Prof", "ref", "sp", "subsp", "var", "U.S", "R.J", "Ph.D"),
]


@pytest.mark.parametrize(
    "sentences",
    [
        # One that begins with an abbreviation, behind another one.
        ["It is.", "Cf. Smith for details.", "No. 5 is.", "St. Louis is.", "Dr. No said."],
        ["It is.", "J. Smith found it.", "S. cerevisiae has it.", "Fig. 2 shows it.", "I.e. DNA is."],
        ["It maps to No. 5 of the list.", "It was born in St. Louis.", "It binds e.g. ATP.", "It is X vs. Y."],
        ["Smith et al. Found it.", "It is in approx. 5 kDa.", "It is of R.J. Smith.", "Found in the U.S. Army."],
        ["In the U.S.", "The gene is rare."],
        ["Found with Saccharomyces cerevisiae var. Boulardii.", "An endomannosidase (E.C. 3.2.1.130) cuts it."],
        ["Patients with MS.", "It makes NO.", "No.", "It lasts 5 ms.", "Released with Ca.", "At Ser.", "Done."],
        ["1. Foo binds it.", "2. Bar binds it."],
        ["It is 0.5 of 3.2-fold.", "Isoform 2.", "Alpha-2.", "It binds hepatitis C.", "It is vitamin K-dependent."],
        ["It binds p53.", "p21 acts.", "microRNAs act."],
    ],
)
def test_sentences_are_told_apart(sentences):
    assert split(" ".join(sentences)) == sentences


words = st.sampled_from(
    [*ABBREVIATIONS, "It", "binds", "the", "gene", "E", "coli", "B", "p53", "2", "12q1.3", "(see", "x)"]
)
texts = st.lists(st.tuples(words, st.sampled_from([" ", ". ", ".", ", ", "? ", ".) ", "-"])), max_size=30).map(
    lambda pairs: "".join(f"{word}{behind}" for word, behind in pairs)
)


@given(texts | st.text())
def test_joined_sentences_give_the_text_back(text):
    assert "".join("".join(split(text)).split()) == "".join(text.split())


@given(texts)
def test_no_sentence_but_the_last_ends_with_an_abbreviation(text):
    for sentence in split(text)[:-1]:
        last = re.split(r"[\s(]", sentence)[-1].removesuffix(".")
        # "No." is an answer where no number follows, and the U.S. may end a sentence.
        assert last not in set(ABBREVIATIONS) - {"No", "Nos", "U.S", "R.J"}, sentence
