"""The benchmark from a file to a table, on texts that name the answer."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from genetext.bench import controls
from genetext.bench.classify import Protocol, Score
from genetext.bench.controls import ControlOptions
from genetext.bench.genes import bench_genes
from genetext.bench.ledger import Ledger
from genetext.bench.tasks import Selection
from genetext.errors import BenchError, DiskError, GeneIndexError
from genetext.priors import GenePriors
from genetext.text.template import Template
from tests.bench.conftest import N_EXTRA, write_themes

SELECTION, PROTOCOL, CONTROL = Selection(min_genes=10), Protocol(folds=3, c_values=(1, 100)), ControlOptions(draws=2)
FEW = {"selection": SELECTION, "protocol": PROTOCOL, "control": CONTROL}


@pytest.fixture(scope="module")
def cache(world, tmp_path_factory):
    """One copy of the cache for all tests here: what is asked twice is known the second time."""
    return shutil.copytree(world, tmp_path_factory.mktemp("genes") / "cache")


@pytest.fixture(scope="module")
def themes(tmp_path_factory):
    return write_themes(tmp_path_factory.mktemp("themes") / "themes.gmt")


@pytest.fixture(scope="module")
def found(cache, themes):
    return bench_genes(themes, ["human/lexical"], **FEW, root=cache)


def test_texts_that_name_the_answer_win_and_controls_are_at_chance(found):
    table = found.table.set_index("method")
    assert table["auroc"]["human/lexical"] > 0.95
    assert table["auroc"][controls.TFIDF] > 0.95
    # Six terms of 13 genes: a mean over terms within 0.15 of chance.
    for name in (controls.PERMUTED, controls.RANDOM, controls.LENGTH):
        assert table["auroc"][name] == pytest.approx(0.5, abs=0.15)
    # The names of invented genes say nothing of their themes.
    assert table["auroc"][controls.NAME] < 0.75


def test_every_control_is_in_the_table(found):
    assert found.table["method"].tolist() == [
        "human/lexical",
        controls.PERMUTED,
        controls.RANDOM,
        controls.LENGTH,
        controls.NAME,
        controls.TFIDF,
        *(f"{controls.TFIDF}, {label}" for label in controls.VARIANTS),
    ]
    assert found.table["control"].tolist() == [False] + [True] * 8
    assert found.about["not_measured"] == {}
    assert len(found.scores) == 9 * 6


def test_known_scores_are_not_computed_again_and_come_back_to_the_bit(cache, themes, found, monkeypatch):
    def never(*_):
        raise AssertionError("a known score was computed again")

    monkeypatch.setattr("genetext.bench.genes._score", never)
    assert bench_genes(themes, ["human/lexical"], **FEW, root=cache).to_json() == found.to_json()


@pytest.mark.slow
def test_processes_do_not_change_numbers(world, themes, found, tmp_path):
    anew = shutil.copytree(world, tmp_path / "anew")
    assert bench_genes(themes, ["human/lexical"], **FEW, jobs=2, root=anew).to_json() == found.to_json()


def test_more_terms_compute_only_what_is_new(world, themes, tmp_path):
    cache, counts = shutil.copytree(world, tmp_path / "anew"), []

    def progress(name, done, total):
        counts.append((name, done, total))

    some = bench_genes(
        themes,
        ["human/lexical"],
        **{**FEW, "selection": dataclasses.replace(SELECTION, every=2)},
        root=cache,
        progress=progress,
    )
    # Each method by its own vectors: where no text of a variant differs, its scores are those of TF-IDF.
    distinct = 1 + 2 * 2 + 3 + sum("no text differs" not in note for note in some.table["note"].iloc[-3:])
    assert counts[-1] == ("bench", 3 * distinct, 3 * distinct)
    counts.clear()
    whole = bench_genes(themes, ["human/lexical"], **FEW, root=cache, progress=progress)
    assert counts[-1] == ("bench", 3 * distinct, 3 * distinct)
    both = some.wide.index
    pd.testing.assert_frame_equal(some.wide, whole.wide.loc[both])


def test_genes_without_a_vector_are_left_out_of_every_method_or_get_the_mean(cache, themes, tmp_path):
    priors = GenePriors.open("human/lexical", root=cache)
    priors.take(priors.gene_ids % 10 != 0).save(tmp_path / "fewer.parquet")
    methods = ["human/lexical", str(tmp_path / "fewer.parquet")]
    dropped = bench_genes(themes, methods, **FEW, root=cache)
    lacking = dropped.about["n_without"]
    assert 0 < lacking < 20
    assert dropped.table["n_without"].tolist()[:2] == [0, lacking]
    wide = dropped.wide
    # Over the same genes the same vectors score the same.
    assert np.array_equal(wide[methods[0]], wide[methods[1]])
    assert "left out of every method" in str(dropped)

    averaged = bench_genes(
        themes, methods, **{**FEW, "protocol": dataclasses.replace(PROTOCOL, missing="mean")}, root=cache
    )
    assert averaged.about["n_genes"] == dropped.about["n_genes"] + lacking
    assert averaged.table["auroc"][1] < averaged.table["auroc"][0]
    assert "given the mean vector" in str(averaged)


def test_the_answer_in_go_facts_goes_with_them(cache, tmp_path):
    """Genes without summary are told by facts: without those of GO, nothing says which gene sees light."""
    from genetext.index import GeneIndex

    texts = controls.Texts.of(GeneIndex.open("human/lexical", root=cache), root=cache)
    frame = texts.frame.set_index("symbol")["text"]
    assert "cell division" in frame["AURKB"]
    without = texts.composed(controls.variants(texts.template)["no GO terms"])
    assert "cell division" not in without.set_index("symbol")["text"]["AURKB"]
    made, missing = controls.text_controls(texts)
    notes = {method.name: method.note for method in made}
    assert missing == {}
    changed = int((without["text"].to_numpy() != texts.frame["text"].to_numpy()).sum())
    assert notes["TF-IDF, no GO terms"].startswith(f"{changed} of ")


def test_what_designations_bring_has_controls_of_its_own(cache, tmp_path):
    """Where texts have designations, the table says what they are worth without the rest, and the rest without them."""
    from genetext.index import GeneIndex

    plain = controls.Texts.of(GeneIndex.open("human/lexical", root=cache), root=cache)
    assert controls.variants(plain.template).keys() == controls.VARIANTS.keys()
    template = dataclasses.replace(plain.template, sections=(*plain.template.sections, "designations"))
    named = dataclasses.replace(plain, template=template, frame=plain.composed(template))
    made, missing = controls.text_controls(named)
    assert missing == {}
    by_name = {method.name: method for method in made}
    changed = int((named.frame["text"].to_numpy() != plain.frame["text"].to_numpy()).sum())
    assert changed == 2
    assert by_name["TF-IDF, no designations"].note.startswith(f"{changed} of ")
    assert by_name["TF-IDF, no designations"].fingerprint == controls.text_controls(plain)[0][2].fingerprint
    alone = by_name[controls.NAMES]
    names = named.composed(Template(sections=("symbol", "name", "designations")))
    assert names.set_index("symbol")["text"]["TP53"] == "TP53: tumor protein p53. Also called: guardian of the genome."
    assert alone.fingerprint == controls._tfidf("", names).fingerprint


def test_without_its_snapshot_an_index_says_what_was_not_measured(world, themes, tmp_path):
    cache = shutil.copytree(world, tmp_path / "anew")
    shutil.rmtree(cache / "snapshots")
    options = {
        "selection": Selection(min_genes=4),
        "protocol": Protocol(folds=2, inner_folds=2),
        "control": ControlOptions(draws=1),
    }
    # Names are then resolved by the facts, which know real genes.
    themes = tmp_path / "real.gmt"
    themes.write_text("LIGHT\tx\tRHO\tOPN4\tOPN1SW\tOPN1MW\tOPN1LW\nOTHER\tx\tBRCA1\tTP53\tINS\tGAPDH\tPAX6\tRORA\n")
    found = bench_genes(themes, ["human/lexical"], **options, root=cache)
    assert set(found.about["not_measured"]) == {f"{controls.TFIDF}, {label}" for label in controls.VARIANTS}
    assert "is not here" in str(found)


def test_an_indexs_own_encoder_on_other_texts(cache, themes):
    found = bench_genes(
        themes, ["human/lexical"], **{**FEW, "control": dataclasses.replace(CONTROL, reencode=True)}, root=cache
    )
    table = found.table.set_index("method")
    for label in controls.VARIANTS:
        assert table["auroc"][f"human/lexical, {label}"] == pytest.approx(table["auroc"][f"TF-IDF, {label}"], abs=0.01)


def test_given_splits_end_to_end(cache, tmp_path):
    genes = [f"EXTRA{i}" for i in range(N_EXTRA)]
    member = [(20_000_001 + i) % 12 in (0, 1, 2) for i in range(N_EXTRA)]
    table = pd.DataFrame(
        {
            "term": "GO:1",
            "split": [("fold1", "fold2", "fold3", "holdout")[i // 12 % 4] for i in range(N_EXTRA)],
            "gene": genes,
            "result": np.array(member, int),
        }
    )
    table.to_csv(tmp_path / "given.tsv", sep="\t", index=False)
    found = bench_genes(tmp_path / "given.tsv", ["human/lexical"], control=ControlOptions(draws=1), root=cache)
    assert found.about["given_splits"]
    assert found.table["auroc"][0] > 0.9
    assert found.scores["c"].map(len).max() == 1
    # One term has no spread, and nothing to test.
    assert np.isnan(found.table["sd"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": []}, "name at least one index"),
        ({"methods": ["human/lexical", "human/lexical"]}, "named twice"),
        ({"selection": Selection(min_genes=100)}, "no term of themes.gmt can be asked: .*fewer than 100"),
    ],
)
def test_what_makes_no_sense_is_refused(cache, themes, options, message):
    with pytest.raises(BenchError, match=message):
        bench_genes(themes, **{"methods": ["human/lexical"], **options}, root=cache)


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (Protocol, {"missing": "zero"}, "drop or mean"),
        (Selection, {"every": 0}, "at least 1"),
        (Selection, {"min_genes": 0}, "at least 1"),
        (Selection, {"negatives": -1}, "at least 0"),
        (ControlOptions, {"draws": 0}, "at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, values, message):
    with pytest.raises(BenchError, match=message):
        options(**values)


def test_names_that_are_all_unknown(cache, tmp_path):
    (tmp_path / "odd.gmt").write_text("T\tx\tNOTHING1\tNOTHING2\n")
    with pytest.raises(BenchError, match="none of the 2 names in odd.gmt is a known human gene: NOTHING1, NOTHING2"):
        bench_genes(tmp_path / "odd.gmt", ["human/lexical"], root=cache)


def test_an_index_that_is_not_there(cache, themes):
    with pytest.raises(GeneIndexError, match="human/none"):
        bench_genes(themes, ["human/none"], root=cache)


def test_a_ledger_keeps_what_two_runs_wrote(tmp_path):
    one, other = (Ledger(tmp_path, {"c": [1]}, decode=float) for _ in range(2))
    one.add({"a": 0.5})
    other.add({"b": 0.7})
    assert Ledger(tmp_path, {"c": [1]}, decode=float).scores == {"a": 0.5, "b": 0.7} == other.scores
    assert Ledger(tmp_path, {"c": [1, 10]}, decode=float).scores == {}
    assert json.loads(one.path.read_text())["conditions"] == {"c": [1]}


@pytest.mark.parametrize(
    "content", ["{", "[]", "3", '{"scores": 1}', '{"scores": {"a": null}}', '{"scores": {"a": {}}}', "[" * 9999]
)
def test_a_damaged_ledger_is_named(tmp_path, content):
    ledger = Ledger(tmp_path, {}, decode=Score.from_json)
    ledger.add({"a": Score(0.5, 0.6, (1.0,)).to_json()})
    ledger.path.write_text(content)
    with pytest.raises(DiskError, match=f"{ledger.path.name} is damaged"):
        Ledger(tmp_path, {}, decode=Score.from_json)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_figure(found, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    from genetext.bench import figure

    path = tmp_path / f"table{suffix}"
    figure.draw(found, path)
    assert path.read_bytes().startswith({".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix])


def test_figures_of_unknown_form(tmp_path):
    from genetext.bench import figure

    with pytest.raises(BenchError, match="tell the form of table.gif"):
        figure.require(tmp_path / "table.gif")
