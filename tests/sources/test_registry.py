"""A source of another distribution, or of a program, is fetched, composed, built and listed like those here."""

import json
import sys

import pytest

from genetext import build_index, sources
from genetext.errors import FetchError
from genetext.sources import Licence, TextRow, TextSource, registry
from genetext.text.template import Template
from tests.cli.run import genetext
from tests.factory import write_ncbi, write_table
from tests.servers.ncbi import NcbiServer

PLUGIN = '''
from genetext.sources import Licence, RemoteFile, TextRow, TextSource
from genetext.text import tables


class Curated(TextSource):
    """Notes of curators."""

    name = "curated"
    title = "Notes of curators"
    licence = Licence("CC BY-NC-SA 4.0", "https://example.org/terms", share_alike=True, non_commercial=True)
    citation = "Curators, 2026"
    url = "https://example.org/notes/"
    sections = {"note": "what curators note"}

    def files(self, species):
        return [RemoteFile("notes.tsv.gz")]

    def rows(self, paths, species, limits):
        columns = {"GeneID": tables.number, "note": tables.text}
        for path in paths:
            for gene_id, note in tables.rows(path, columns=columns, tax_ids=[species.tax_id], limits=limits):
                yield TextRow((gene_id,), "note", note)
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A distribution with a source, installed; its folder."""
    place = tmp_path / "site"
    info = place / "curatednotes-1.0.dist-info"
    info.mkdir(parents=True)
    (place / "curatednotes.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: curatednotes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\ncurated = curatednotes:Curated\n")
    monkeypatch.syspath_prepend(place)
    registry._added.cache_clear()
    yield place
    registry._added.cache_clear()
    sys.modules.pop("curatednotes", None)


@pytest.fixture
def ncbi(tmp_path):
    return write_ncbi(tmp_path / "ncbi")


def test_a_source_of_another_distribution_is_fetched_built_and_listed(tmp_path, plugin, ncbi, monkeypatch):
    write_table(
        tmp_path / "notes" / "notes.tsv.gz",
        ("#tax_id", "GeneID", "note"),
        [(9606, 94233, "Curators saw it in the dark"), (10090, 30945, "A mouse gene")],
    )
    with NcbiServer(tmp_path / "notes") as server:
        monkeypatch.setenv("GENETEXT_CURATED_URL", server.url)
        asked = ["build-index", "-e", "lexical", "--source", str(ncbi), "--sections", "+curated:4", "-o", "index"]
        ran = genetext(tmp_path, *asked)
        assert ran.returncode == 0, ran.stderr
        err = ran.stderr
        assert "curated: 1 genes of human, CC BY-NC-SA 4.0 (share-alike and non-commercial)" in err
        assert "curated: cut to its budget in 1 texts, by 2 words" in err
        assert json.loads(genetext(tmp_path, *asked, "--json").stdout)["unchanged"] is True
        assert [entry.status for entry in server.requests("notes.tsv.gz")] == [200, 304]
    printed = genetext(tmp_path, "sources").stdout
    assert "curated.note" in printed
    assert "what curators note" in printed


def test_an_index_says_whose_text_is_in_it(tmp_path, plugin, ncbi):
    notes = tmp_path / "mine.tsv"
    notes.write_text("gene\ttext\nOPN4\tA note of mine.\nnobody\tOf no gene.\n")
    table = write_table(tmp_path / "c.tsv.gz", ("#tax_id", "GeneID", "note"), [(9606, 7157, "Guards.")])
    index = build_index(
        "human", encoder="lexical", source=str(ncbi), texts=[notes, f"{table}=curated"], root=tmp_path / "cache"
    )
    said = {entry["name"]: entry for entry in index.manifest["licences"]}
    assert list(said) == ["ncbi", "go", "curated", "mine"]
    assert said["curated"]["licence"]["non_commercial"] is True
    assert said["curated"]["citation"] == "Curators, 2026"
    genes = index.genes.set_index("symbol")
    assert genes.loc["OPN4", "text"].endswith("pupil. A note of mine.")
    assert genes.loc["OPN4", "sections"] == "symbol,name,summary,mine"
    assert genes.loc["TP53", "text"].endswith(" Guards.")
    assert index.manifest["sections"]["mine"] == {"genes": 1, "words": 4, "genes_cut": 0, "words_cut": 0}


def test_a_table_by_itself_is_an_index(tmp_path, ncbi):
    notes = tmp_path / "llm.json"
    notes.write_text(json.dumps({"OPN4": "It senses blue light.", "TP53": "It guards the genome."}))
    template = Template(sections=("symbol", "llm"))
    index = build_index(
        "human", encoder="lexical", source=str(ncbi), template=template, texts=[notes], root=tmp_path / "cache"
    )
    genes = index.genes[index.genes["text"] != ""].set_index("symbol")
    assert genes["text"].to_dict() == {"TP53": "TP53. It guards the genome.", "OPN4": "OPN4. It senses blue light."}
    assert set(genes["source"]) == {"llm"}
    assert index.search("blue light", k=1)["symbol"].tolist() == ["OPN4"]


@pytest.fixture
def nothing_registered(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})


class Plain(TextSource):
    """One sentence."""

    name = "plain"
    title = "Plain"
    licence = Licence("CC0")
    citation = "nobody"
    sections = {"line": "a line"}  # noqa: RUF012

    def rows(self, paths, species, limits):
        """Yield one row."""
        yield TextRow(("OPN4",), "line", paths[0].read_text())


def test_a_source_of_a_program_is_registered(nothing_registered):
    assert sources.register(Plain) is Plain
    assert isinstance(sources.find("plain"), Plain)
    with pytest.raises(FetchError, match="there is a source of text called 'plain'"):
        sources.register(Plain)
    with pytest.raises(FetchError, match=r"no source of text called 'plian'; known are generif, .*plain"):
        sources.find("plian")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Upper Case"}, "lower-case letters"),
        ({"sections": {}}, "has no sections"),
        ({"title": None}, None),
    ],
)
def test_a_source_that_does_not_say_who_it_is_is_refused(nothing_registered, changes, message):
    if message is None:
        made = type("Nameless", (TextSource,), {"name": "nameless", "rows": Plain.rows})
        message = "says nothing of its title, licence, citation, sections"
    else:
        made = type("Other", (Plain,), changes)
    with pytest.raises(FetchError, match=message):
        sources.register(made)


@pytest.mark.parametrize(
    ("line", "message"),
    [("curated = curatednotes:Nobody", "cannot be loaded"), ("curated = json:dumps", "is no subclass")],
)
def test_a_distribution_whose_source_cannot_be_used_is_named(plugin, caplog, line, message):
    (plugin / "curatednotes-1.0.dist-info" / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{line}\n")
    registry._added.cache_clear()
    with pytest.raises(FetchError, match=f"of the distribution curatednotes.*{message}"):
        sources.find("curated")
    assert "curated" not in [source.name for source in registry.all_sources()]
    assert "it is left out" in caplog.text


def test_texts_are_listed_verified_and_pruned_like_snapshots(tmp_path, ncbi):
    from genetext import cache
    from genetext.verify import verify

    notes, others = tmp_path / "mine.tsv", tmp_path / "other.tsv"
    notes.write_text("gene\ttext\nOPN4\tA note of mine.\n")
    others.write_text("gene\ttext\nTP53\tOf nobody.\n")
    root = tmp_path / "cache"
    build_index("human", encoder="lexical", source=str(ncbi), texts=[notes], root=root)
    from genetext.layers import Request, gather
    from genetext.sources.table import OwnTable
    from genetext.text.snapshot import list_snapshots

    unused = gather(OwnTable("other"), list_snapshots(root=root)[0], files=[others], request=Request(root=root))
    kinds = {
        entry.name.partition("/")[2].partition("-")[0]: entry
        for entry in cache.entries(root=root)
        if entry.kind == "text"
    }
    assert {name: bool(entry.used_by) for name, entry in kinds.items()} == {"mine": True, "other": False}
    assert verify(root=root)[1] == []
    assert len(cache.prune(root=root)) == 1
    assert not unused.path.exists()
    rows = kinds["mine"].path / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:-1] + b"x")
    assert "rows.parquet" in verify(root=root)[1][0]


def test_sources_are_fetched_where_there_is_a_network_for_a_build_where_there_is_none(
    tmp_path, plugin, ncbi, monkeypatch
):
    write_table(tmp_path / "notes" / "notes.tsv.gz", ("#tax_id", "GeneID", "note"), [(9606, 94233, "Seen in the dark")])
    with NcbiServer(tmp_path / "notes") as server:
        monkeypatch.setenv("GENETEXT_CURATED_URL", server.url)
        ran = genetext(tmp_path, "fetch", "--source", str(ncbi), "--sections", "+curated")
        assert ran.returncode == 0, ran.stderr
        assert "curated: 1 genes of human, CC BY-NC-SA 4.0 (share-alike and non-commercial)" in ran.stderr
        assert len(ran.stdout.splitlines()) == 2
    asked = [
        "build-index",
        "-e",
        "lexical",
        "--source",
        str(ncbi),
        "--sections",
        "+curated",
        "--offline",
        "-o",
        "index",
    ]
    ran = genetext(tmp_path, *asked)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(genetext(tmp_path, "info", "index", "--gene", "OPN4").stdout)["text"].endswith("Seen in the dark")


def test_keys_are_read_by_all_names_of_the_species_where_a_few_genes_are_built(tmp_path):
    """MUM1 is a synonym of several genes: that IRF4 alone is built does not make it IRF4's."""
    notes = tmp_path / "mine.tsv"
    notes.write_text("gene\ttext\nIRF4\tIts own.\nMUM1\tOf somebody.\nCD19\tNot built.\n")
    index = build_index(
        "human", encoder="lexical", source="facts", genes=["IRF4", "TP53"], texts=[notes], root=tmp_path / "cache"
    )
    texts = index.genes.set_index("symbol")["text"]
    assert texts["IRF4"].endswith("Its own.")
    assert not texts.str.contains("Of somebody").any()
    (layer,) = list((tmp_path / "cache" / "texts" / "human").iterdir())
    from genetext.text.layer import TextLayer

    assert TextLayer.open(layer).manifest["unmatched"]["reasons"] == {"ambiguous": 1}
