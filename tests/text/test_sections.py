"""Sections of sources in a text: order, budgets, alternatives, and what is left out."""

import pyarrow as pa
import pytest

from genetext.errors import TextError
from genetext.text import budget, filters, repeats
from genetext.text.compose import Template, compose
from genetext.text.layer import SCHEMA, Passage, TextLayer
from genetext.text.material import most_central_first
from tests.text.test_compose import by_symbol, small_snapshot

GENES = [
    {"gene_id": 1, "id_tax_id": 9606, "symbol": "AA1", "name": "light sensor", "gene_type": "protein-coding"},
    {"gene_id": 2, "id_tax_id": 9606, "symbol": "BB1", "gene_type": "protein-coding"},
    {"gene_id": 3, "id_tax_id": 9606, "symbol": "CC1", "gene_type": "protein-coding"},
]
SUMMARIES = [
    {"gene_id": 1, "tax_id": 9606, "source": "RefSeq", "text": "It is old. It is slow.", "text_date": "2020-05"}
]


def layer(path, rows, *, name="notes", sections=("note", "place"), tax_id=9606, from_go=False):
    """Write a layer of (gene, section, text, date)."""
    places: dict[tuple[int, str], int] = {}
    columns = {name: [] for name in SCHEMA.names}
    for gene_id, section, text, date in rows:
        place = places[gene_id, section] = places.get((gene_id, section), -1) + 1
        for column, value in zip(SCHEMA.names, (gene_id, section, place, text, [], date), strict=True):
            columns[column].append(value)
    source = {"name": name, "sections": dict.fromkeys(sections, ""), "from_go": from_go}
    return TextLayer.write(
        path, rows=pa.table(columns, schema=SCHEMA), content={"source": source, "species": {"tax_id": tax_id}}
    )


@pytest.fixture
def world(tmp_path):
    snapshot = small_snapshot(tmp_path / "s", genes=GENES, summaries=SUMMARIES)
    notes = layer(
        tmp_path / "l",
        [
            (1, "note", "Seen in the dark", "2010"),
            (1, "note", "Mice lacking this gene are blind", "2024-02-01"),
            (1, "place", "In the eye.", ""),
            (2, "note", "Enables x binding. It is round.", "2022-01"),
        ],
    )
    return snapshot, [notes]


def texts(world, *sections, **options):
    snapshot, layers = world
    composed = compose(snapshot, Template(sections=sections, **options), layers=layers)
    return composed.frame.set_index("symbol")["text"].to_dict()


def test_sections_stand_in_the_order_in_which_they_are_named(world):
    assert texts(world, "symbol", "name", "notes.place", "summary")["AA1"] == (
        "AA1: light sensor. In the eye. It is old. It is slow."
    )
    assert texts(world, "summary", "notes.place", "name")["AA1"] == "It is old. It is slow. In the eye. light sensor."
    every = texts(world, "notes")["AA1"]
    assert every == "Mice lacking this gene are blind. Seen in the dark. In the eye."


def test_of_alternatives_the_first_counts_that_a_gene_has(world):
    assert texts(world, "symbol", "summary/notes.note") == {
        "AA1": "AA1. It is old. It is slow.",
        "BB1": "BB1. Enables x binding. It is round.",
        "CC1": "",
    }


def test_what_is_cut_is_counted(world):
    snapshot, layers = world
    composed = compose(snapshot, Template(sections=("symbol", "summary:4", "notes.note:3")), layers=layers)
    frame = by_symbol(composed)
    assert frame.loc["AA1", "text"] == "AA1. It is old. Mice lacking this."
    assert frame["n_words_cut"].to_dict() == {"AA1": 3 + 7, "BB1": 3, "CC1": 0}
    assert frame.loc["AA1", "sections"] == "symbol,summary,notes.note"
    use = composed.use["notes.note"]
    assert (use.genes, use.words, use.genes_cut, use.words_cut) == (2, 6, 2, 10)


@pytest.mark.parametrize(
    ("words", "text", "left_out"),
    [
        (None, "One two three. Four five. Six", 0),
        (6, "One two three. Four five. Six", 0),
        (5, "One two three. Four five", 1),
        (4, "One two three.", 3),
        (2, "One two.", 4),
    ],
)
def test_a_budget_keeps_whole_sentences_where_it_can(words, text, left_out):
    assert budget.within(["One two three. Four five", "Six"], words) == (text, left_out)


def test_passages_come_newest_first_or_as_given_or_central(world):
    assert texts(world, "notes.note", order="given")["AA1"] == "Seen in the dark. Mice lacking this gene are blind"
    assert texts(world, "notes.note")["AA1"] == "Mice lacking this gene are blind. Seen in the dark"
    said = [
        Passage(text)
        for text in ("a tale of cows", "it senses blue light", "light that is blue it senses", "blue light")
    ]
    assert most_central_first({(1, "x"): said})[1, "x"][-1].text == "a tale of cows"
    assert most_central_first({(1, "x"): said[:2]})[1, "x"] == said[:2]


def test_each_filter_takes_out_what_it_says_and_nothing_else(world):
    plain = texts(world, "symbol", "summary", "notes")
    assert texts(world, "symbol", "summary", "notes", drop=("phenotypes",)) == plain | {
        "AA1": "AA1. It is old. It is slow. Seen in the dark. In the eye."
    }
    assert texts(world, "symbol", "summary", "notes", drop=("templates",)) == plain | {"BB1": "BB1. It is round."}
    assert texts(world, "symbol", "summary", "notes", before="2024-02") == plain | {
        "AA1": "AA1. It is old. It is slow. Seen in the dark. In the eye."
    }
    assert texts(world, "symbol", "summary", "notes", before="2010-06") == {
        "AA1": "AA1. In the eye.",  # dated 2010: it may be later than June
        "BB1": "",
        "CC1": "",
    }


@pytest.mark.parametrize(
    "sentence",
    [
        "Knockout mice are blind.",
        "Mice deficient in this protein die early.",
        "Mutations in this gene cause night blindness.",
        "Defects in the gene are a cause of anemia.",
        "Loss-of-function leads to tumors.",
        "Homozygous null embryos are not viable.",
        "Knockdown of the gene slows growth.",
        "Disruption of this gene is embryonic lethal.",
        "Polymorphisms in this gene are associated with asthma.",
    ],
)
def test_sentences_on_phenotypes_are_known(sentence):
    assert filters.is_on_phenotype(sentence)
    assert filters.without(f"It senses light. {sentence}", ["phenotypes"]) == "It senses light."


@pytest.mark.parametrize(
    "sentence",
    [
        "It senses light in the retina.",
        "The encoded protein is a kinase.",
        "It is expressed in patients and healthy people alike.",
        "Alternative splicing gives several variants.",
        "This gene is a member of the opsin family.",
        "It binds DNA and activates transcription in cells.",
    ],
)
def test_other_sentences_stay(sentence):
    assert not filters.is_on_phenotype(sentence)


@pytest.mark.parametrize(
    ("sentence", "kinds"),
    [
        ("Enables GTP binding.", {"go", "templates"}),
        ("Is expressed in brain and eye.", {"templates"}),
        ("Human ortholog(s) of this gene implicated in asthma.", {"templates"}),
        ("Involved in vision.", {"go", "templates"}),
        ("It enables vision.", set()),
    ],
)
def test_template_sentences_of_go_are_told_from_others(sentence, kinds):
    for kind in ("go", "templates"):
        assert (filters.without(sentence, [kind]) == "") == (kind in kinds)


def test_a_layer_made_of_go_goes_with_go(tmp_path):
    snapshot = small_snapshot(tmp_path / "s", genes=GENES)
    made = layer(tmp_path / "l", [(1, "note", "It does things.", "")], from_go=True)
    kept, dropped = (
        compose(snapshot, Template(sections=("symbol", "notes"), drop=drop), layers=[made]).frame["text"][0]
        for drop in ((), ("go",))
    )
    assert (kept, dropped) == ("AA1. It does things.", "")


def test_sections_of_the_human_ortholog(tmp_path):
    mouse = [{"gene_id": 11, "id_tax_id": 10090, "symbol": "Aa1", "gene_type": "protein-coding"}]
    partners = [{"gene_id": 11, "human_gene_id": 1, "human_symbol": "AA1", "one_to_one": True}]
    snapshot = small_snapshot(tmp_path / "s", tax_id=10090, genes=mouse, orthologs=partners)
    human = layer(tmp_path / "h", [(1, "note", "Of human.", "")])
    own = layer(tmp_path / "m", [(11, "place", "Of mouse.", "")], tax_id=10090)
    template = Template(sections=("symbol", "notes.note/ortholog.notes.note", "ortholog.notes.place/notes.place"))
    composed = compose(snapshot, template, layers=[human, own])
    row = composed.frame.iloc[0]
    assert row["text"] == "Aa1. Of human. Of mouse."
    assert (row["source"], row["ortholog_gene_id"], row["sections"]) == (
        "ortholog:notes.note",
        1,
        "symbol,ortholog.notes.note,notes.place",
    )
    assert composed.coverage["ortholog"] == 1


def test_a_section_that_nobody_has_is_named_with_those_there_are(world):
    with pytest.raises(
        TextError, match=r"unknown section notes.colour; known are symbol, .*notes, notes.note, notes.place"
    ):
        texts(world, "symbol", "notes.colour")


def test_go_terms_by_evidence(tmp_path):
    def term(number, evidence, rank):
        return {
            **{"gene_id": 1, "tax_id": 9606, "go_id": f"GO:{number}", "term": f"term {number}", "category": "Process"},
            **{"evidence": evidence, "rank": rank},
        }

    snapshot = small_snapshot(tmp_path / "s", genes=GENES, go=[term(1, "IEA", 0), term(2, "IDA", 1), term(3, "IMP", 2)])
    sections = ("symbol", "facts")

    def of(**options):
        return compose(snapshot, Template(sections=sections, **options)).frame["text"][0]

    assert of() == "AA1. Role in: term 1; term 2; term 3."
    assert of(go_evidence=("experimental",)) == "AA1. Role in: term 2; term 3."
    assert of(go_evidence=("IMP",), max_terms=1) == "AA1. Role in: term 3."
    assert of(drop=("go",)) == ""
    blind = small_snapshot(tmp_path / "b", genes=GENES, go=[term(1, "", 0)])
    with pytest.raises(TextError, match="have no evidence codes"):
        compose(blind, Template(sections=sections, go_evidence=("experimental",)))


def test_of_texts_that_say_nearly_the_same_the_newest_stays():
    rows = [
        ("2012", "it stops the cell cycle after damage", 0),
        ("2019", "it stops the cell cycle after damage.", 1),
        ("2015", "It Stops The Cell Cycle After Damage", 2),
        ("", "it binds a wholly different partner", 3),
    ]
    assert repeats.without(rows, near=True) == [1, 3]
    assert repeats.without(rows) == [0, 1, 3]
    many = [("", f"note number {number} on thing {number % 7}", number) for number in range(500)]
    kept = repeats.without(many, near=True)
    words = [frozenset(many[at][1].split()) for at in kept]
    shared = [len(a & b) / len(a | b) for i, a in enumerate(words) for b in words[:i]]
    assert max(shared) < 0.8
