import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genetext.text import filters, hygiene, parse, sentences
from genetext.text.hygiene import clean
from tests.factory import SUMMARIES

BODY = "A pigment of the retina."


@pytest.mark.parametrize(
    ("tail", "provider", "date"),
    [
        ("[provided by RefSeq, Jul 2008]", "RefSeq", "2008-07"),
        (" [provided by RefSeq, July 2008].", "RefSeq", "2008-07"),
        (" [provided by RefSeq]", "RefSeq", ""),
        (" (provided by RefSeq, Jan 2010)", "RefSeq", "2010-01"),
        ("[Supplied by OMIM, Mar 2008]", "OMIM", "2008-03"),
        (" [provided by Alliance of Genome Resources, Apr 2022]", "Alliance of Genome Resources", "2022-04"),
        (" [ provided  by  RefSeq,  Dec  2020 ]", "RefSeq", "2020-12"),
        (" [provided by RefSeq, Jul 2008", "RefSeq", "2008-07"),  # cut off
        (" provided by RefSeq, Jul 2020].", "RefSeq", "2020-07"),  # the bracket lost
        (" [supplied by OMIM, Jul 2002].[provided by RefSeq, May 2010]", "OMIM; RefSeq", "2010-05"),
        ("", "", ""),
    ],
)
def test_a_providers_tail_becomes_columns(tail, provider, date):
    cleaned = clean(BODY + tail)
    assert (cleaned.text, cleaned.provider, cleaned.text_date) == (BODY, provider, date)


def test_a_tail_amid_the_text_goes_too():
    cleaned = clean("It senses light. [provided by RefSeq] It sits in cones. [provided by RefSeq, Jul 2008]")
    assert cleaned.text == "It senses light. It sits in cones."
    assert cleaned.provider == "RefSeq"


def test_an_open_tail_amid_the_text_takes_no_more_than_itself():
    open_tail = "It senses light. [provided by RefSeq " + "and a long story follows in which much is told " * 4
    assert "provided by" not in clean(open_tail).text
    assert "a long story follows" in clean(open_tail).text


def test_provided_in_prose_stays():
    prose = "The energy is provided by ATP, and a helix is supplied by v-SNARE."
    assert clean(prose).text == prose


@pytest.mark.parametrize(
    ("served", "text", "pmids"),
    [
        ("It binds zinc (PMID: 123).", "It binds zinc.", ("123",)),
        ("It binds zinc (PMID:12782716, 345678).", "It binds zinc.", ("12782716", "345678")),
        ("It binds zinc (PMIDs 11 and 22; PMID: 33).", "It binds zinc.", ("11", "22", "33")),
        ("It binds zinc [PubMed 123].", "It binds zinc.", ("123",)),
        ("It binds zinc (Smith et al., 2010 [PubMed 20933441]).", "It binds zinc (Smith et al., 2010).", ("20933441",)),
        ("It binds zinc PMID:123, 456.", "It binds zinc.", ("123", "456")),
        ("It binds zinc (see PMID 123) and iron(PMID:9).", "It binds zinc and iron.", ("123", "9")),
        ("It binds zinc (Smith, PubMed ID: 5) well.", "It binds zinc (Smith) well.", ("5",)),
        ("It binds zinc (PMID:7), 456 patients lack it.", "It binds zinc, 456 patients lack it.", ("7",)),
        ("It binds zinc PMID:7, 456 patients lack it.", "It binds zinc, 456 patients lack it.", ("7",)),
        ("It was mapped (MIM 611557) to 1q21.3.", "It was mapped (MIM 611557) to 1q21.3.", ()),
    ],
)
def test_pmids_become_a_column(served, text, pmids):
    cleaned = clean(served)
    assert (cleaned.text, cleaned.pmids) == (text, pmids)


@pytest.mark.parametrize(
    "sentence",
    [
        "Multiple transcript variants encoding different isoforms have been found for this gene.",
        "Alternative splicing results in multiple transcript variants.",
        "Alternatively spliced transcript variants have been described, but their biological validity has not been "
        "determined.",
        "Three transcript variants encoding 2 different isoforms have been found for this gene.",
        "The RefSeq represents the predicted microRNA stem-loop.",
        "Publication Note: This RefSeq record includes a subset of the publications that are available for this gene.",
        "Please see the Gene record to access additional publications.",
        "Sequence Note: This RefSeq record was created from transcript and genomic sequence data.",
    ],
)
def test_a_sentence_about_the_record_is_boilerplate(sentence):
    cleaned = clean(f"It folds proteins. {sentence} It is found in yeast.")
    assert cleaned.text == "It folds proteins. It is found in yeast."
    assert cleaned.boilerplate == (sentence,)


@pytest.mark.parametrize(
    "sentence",
    [
        "Alternative splicing results in transcript variants that are found in testis only.",
        "This gene encodes a splicing factor.",
        "The long isoform activates telomerase.",
        "The encoded protein removes introns from transcripts.",
        "This gene is a note in the record of evolution.",
    ],
)
def test_a_sentence_that_tells_something_stays(sentence):
    assert clean(sentence).text == sentence


def test_entities_unicode_and_space_are_normalised():
    assert clean("TGF-&beta;  &amp;\n\tIL&#45;2 &lt;0.5 <i>in vivo</i>\u200b").text == "TGF-β & IL-2 <0.5 in vivo"
    assert clean("Sjo\u0308gren").text == "Sjögren"


@pytest.mark.parametrize(
    "sentence",
    [
        "Enables GTPase activity.",
        "Contributes to ubiquitin protein ligase activity.",
        "Involved in several processes, including cell cycle; cell division; and mitosis.",
        "Acts upstream of or within negative regulation of synaptic transmission.",
        "Located in cytosol.",
        "Part of ribosome.",
        "Is active in nucleus.",
        "Predicted to enable DNA binding activity.",
        "Predicted to be an integral component of membrane.",
        "Predicted to be located in Golgi apparatus.",
        "Is expressed in several structures, including early conceptus; inner ear; and oocyte.",
        "Human ortholog(s) of this gene implicated in auriculocondylar syndrome 1.",
        "Orthologous to human GNAI3 (G protein subunit alpha i3).",
        "Used to study Huntington's disease.",
        "Biomarker of colorectal cancer.",
        "Implicated in retinitis pigmentosa 4.",
        "PARTICIPATES IN insulin signaling pathway; INTERACTS WITH ethanol.",
    ],
)
def test_template_sentences_are_recognised_and_dropped(sentence):
    assert hygiene.template_sentences(f"It senses light. {sentence}") == [sentence]
    assert filters.without(f"It senses light. {sentence} It resets the clock.", ["templates"]) == (
        "It senses light. It resets the clock."
    )
    assert filters.without(sentence, ["templates"]) == ""


@pytest.mark.parametrize(
    "sentence",
    [
        "Involved in the making of eyes, this factor binds DNA.",
        "Part of the RNA mimics a response element.",
        "Associated with lung function, this protein is secreted.",
        "The protein is located in the nucleus.",
        "It is expressed in retina.",
    ],
)
def test_a_writers_sentence_is_no_template(sentence):
    assert filters.without(sentence, ["templates"]) == sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It halts growth, e.g. after damage. It is old.", 2),
        ("It acts late, i.e. After dawn. It is old.", 2),
        ("Mr. Hyde found it. It is old.", 2),
        ("The H. sapiens gene is long. It differs from E. coli.", 2),
        ("It binds p53. It is old.", 2),
        ("The frequency is 0.56 here. 14-3-3 proteins bind it.", 2),
        ("Shown by Smith et al. (2010) in mice. It is old.", 2),
        ("It needs vitamin D. This gene is old. It needs coenzyme Q. Complex I makes it.", 4),
        ("It was cloned. p97 binds it. microRNAs block it. cAMP drives it.", 4),
        ("It was cloned in haste.The end came soon.", 2),
        ("Is it old? It is! (It was.) 'So it is.' Done.", 5),
        ("Found by J. Smith in 2001.", 1),
        ("", 0),
    ],
)
def test_sentences_are_split_where_they_end(text, expected):
    assert len(sentences.split(text)) == expected


FRAGMENTS = st.sampled_from(
    [
        *(row[3] for row in SUMMARIES if row[3]),
        *("[provided by RefSeq, Jul 2008]", "[provided by", "provided by X, Jul 2008]", "(supplied by OMIM)", "[", "]"),
        *(
            "PMID:",
            "PMID: 12, 34",
            "[PubMed 5]",
            "(",
            ")",
            ",",
            ".",
            " ",
            "..",
            "&amp;",
            "&lt;i&gt;",
            "amp;",
            "&",
            "<i>",
        ),
        *(
            "Alternative splicing results in multiple transcript variants.",
            "e.g.",
            "H.",
            "p53.",
            "The",
            "Note:",
            "\u0308",
        ),
    ]
)


@settings(max_examples=300)
@given(st.lists(st.one_of(FRAGMENTS, st.text(max_size=12)), max_size=10).map("".join))
def test_cleaning_what_is_clean_changes_nothing(summary):
    once = clean(summary)
    assert clean(once.text).text == once.text
    assert not re.search(r"\[\s*(provided|supplied)\s+by", once.text, re.IGNORECASE)
    assert once.text == once.text.strip()
    assert unicodedata.is_normalized("NFC", once.text)


@given(st.lists(st.one_of(FRAGMENTS, st.text(max_size=12)), max_size=10).map("".join))
def test_splitting_loses_nothing_but_space(text):
    assert "".join("".join(sentences.split(text)).split()) == "".join(text.split())


@pytest.mark.real
def test_on_the_real_human_summaries(real_data):
    from genetext import species

    path = real_data / "ncbi" / "gene" / "DATA" / "gene_summary.gz"
    frame = parse.summaries_table(path, species.HUMAN).to_pandas()
    assert not frame["text"].str.contains(r"\[\s*(?:provided|supplied) by", regex=True).any()
    assert not frame["text"].str.contains(r"pmid|pubmed", case=False, regex=True).any()
    assert (frame["text"] != "").all()
    # Every text that the Alliance says it wrote is template throughout; no other text has a template sentence.
    alliance = frame["provider"].str.startswith("Alliance")
    assert alliance.sum() > 100
    assert (frame.loc[alliance, "text"].map(lambda text: filters.without(text, ["templates"])) == "").all()
    others = frame.loc[~alliance, "text"]
    assert (others.map(hygiene.template_sentences).str.len() == 0).all()
    assert 0.4 < (frame["boilerplate"].str.len() > 0).mean() < 0.7
    sample = frame["text"].iloc[::25]
    assert [clean(text).text for text in sample] == list(sample)
