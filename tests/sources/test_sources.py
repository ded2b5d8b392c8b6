"""What each source reads out of its provider's file, over the wire and from the user's disk."""

import json

import pandas as pd
import pytest

from genetext import layers, sources, species
from genetext.errors import FetchError, Unreachable
from genetext.fetch import integrity
from genetext.fetch.limits import Limits
from genetext.fetch.web import Patience
from genetext.layers import Request, gather
from genetext.sources import registry, tabular
from genetext.sources.asctb import readable
from genetext.sources.table import OwnTable
from genetext.text.layer import TextLayer
from tests.factory import write_ncbi, write_snapshot
from tests.servers.ncbi import Fault, NcbiServer, html
from tests.sources import files

QUICK = Patience(attempts=2, first_attempts=2, content_attempts=2, base=0.01, read=5.0)
OF = {"generif": "human", "uniprot": "human", "hpa": "human", "reactome": "human", "alliance": "mouse"}
TP53, OPN4, INS, HBA1, HBA2 = 7157, 94233, 3630, 3039, 3040


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshots")
    source = write_ncbi(folder / "ncbi")
    return {of: write_snapshot(folder / of, source=source, of=of) for of in ("human", "mouse")}


@pytest.fixture
def server(tmp_path, monkeypatch):
    with NcbiServer(files.write_providers(tmp_path / "providers")) as running:
        for name in OF:
            monkeypatch.setenv(f"GENETEXT_{name.upper()}_URL", running.url)
        yield running


def texts(layer: TextLayer, gene_id: int) -> dict[str, list[str]]:
    said = layer.passages(layer.sections, [gene_id])
    return {section: [passage.text for passage in passages] for (_, section), passages in said.items()}


def request(tmp_path, **options) -> Request:
    return Request(root=tmp_path / "cache", patience=QUICK, **options)


def test_generif_keeps_the_newest_of_what_says_nearly_the_same(server, snapshots, tmp_path):
    layer = gather(sources.find("generif"), snapshots["human"], request=request(tmp_path))
    passages = layer.passages(["note"], [TP53])[TP53, "note"]
    assert [(passage.text, passage.date) for passage in passages] == [
        ("P53 stops the cell cycle after damage of DNA.", "2019-02-03"),
        ("Mutations in this gene cause tumors of many tissues.", "2021-02-03"),
    ]
    counts = layer.manifest["counts"]
    assert (counts["rows"], counts["rows_repeated"], counts["rows_unmatched"], counts["genes"]) == (5, 1, 1, 2)
    assert layer.manifest["unmatched"]["first"] == ["999999999"]


def test_uniprot_is_read_without_evidence_tags_and_goes_to_each_gene_of_a_protein(server, snapshots, tmp_path):
    layer = gather(sources.find("uniprot"), snapshots["human"], request=request(tmp_path))
    assert texts(layer, TP53) == {
        "function": ["Multifunctional transcription factor. Guards the genome. Does not."],
        "tissue": ["Ubiquitous."],
        "location": ["Cytoplasm. Nucleus. Moves to the nucleus."],
        "disease": ["Esophageal cancer (ESCR): A tumor."],
    }
    assert texts(layer, HBA1) == texts(layer, HBA2) == {"function": ["Carries oxygen."]}
    assert texts(layer, OPN4) == {"function": ["Photoreceptor of the clock."]}  # by its name
    asked = server.requests("stream")[0].form
    assert asked["query"] == "organism_id:9606 AND reviewed:true"
    assert {"format", "compressed", "fields"} <= set(asked)


def test_the_atlas_is_told_in_sentences_without_numbers(server, snapshots, tmp_path):
    layer = gather(sources.find("hpa"), snapshots["human"], request=request(tmp_path))
    assert texts(layer, INS) == {
        "class": ["Protein class: Cancer-related genes."],
        "tissue": ["Made above all in pancreas."],
    }
    assert texts(layer, OPN4) == {
        "class": ["Protein class: G-protein coupled receptors."],
        "location": ["Its protein was seen in: plasma membrane and cytosol."],
        "tissue": ["Made more in retina and brain."],
    }
    assert "tissue" not in texts(layer, 2597)  # expressed in all


def test_the_alliance_has_a_file_per_species(server, snapshots, tmp_path):
    layer = gather(sources.find("alliance"), snapshots["mouse"], request=request(tmp_path))
    assert layer.manifest["counts"]["genes"] == 1
    assert layer.manifest["source"]["from_go"] is True


def test_pathways_are_named_once(server, snapshots, tmp_path):
    layer = gather(sources.find("reactome"), snapshots["human"], request=request(tmp_path))
    assert texts(layer, TP53) == {"pathways": ["Pathways: Stabilization of p53; G1/S DNA Damage Checkpoints."]}


def test_reactome_reads_a_gmt_with_names(snapshots, tmp_path):
    path = tmp_path / "r.gmt"
    path.write_text("Stabilization of p53\tR-HSA-69541\tTP53\tBRCA1\nOpsins [R-HSA-419771]\t-\tOPN4\n")
    layer = gather(sources.find("reactome"), snapshots["human"], files=[path], request=request(tmp_path))
    assert texts(layer, OPN4) == {"pathways": ["Pathways: Opsins."]}


@pytest.mark.parametrize("separator", ["\t", ","])
def test_markers_name_the_types_that_most_rows_name_first(snapshots, tmp_path, separator):
    path = tmp_path / "markers.tsv"
    path.write_text(files.MARKERS.replace("\t", separator))
    layer = gather(sources.find("markers"), snapshots["human"], files=[path], request=request(tmp_path))
    assert texts(layer, OPN4) == {"types": ["Marker of retinal ganglion cell, glutamatergic neuron."]}
    assert texts(layer, INS) == {}  # only in an older copy
    assert layer.manifest["counts"]["genes"] == 2


def test_markers_of_other_headings_and_species(snapshots, tmp_path):
    path = tmp_path / "panglao.tsv"
    path.write_text("species\tofficial gene symbol\tcell type\nMm Hs\tINS\tBeta cells\nMm\tOPN4\tIntrinsic cells\n")
    layer = gather(sources.find("markers"), snapshots["human"], files=[path], request=request(tmp_path))
    assert texts(layer, INS) == {"types": ["Marker of Beta cells."]}
    assert texts(layer, OPN4) == {}


FORMS = {
    "notes.tsv": "gene\ttext\tdate\tpmid\nTP53\tGuards.\t2020-01-02\t1;2\nSEPT2\tBinds GTP.\t\t\nTP53\tAnd more.\t\t\n",
    "notes.csv": 'Gene,Text\nTP53,"Guards."\nSEPT2,"Binds GTP."\nENSG00000141510.3,And more.\n',
    "semicolon.csv": "symbol;summary\nTP53;Guards.\nSEPT2;Binds GTP.\nP53;And more.\n",
    "genept.json": json.dumps({"TP53": ["Guards.", "And more."], "SEPT2": "Binds GTP.", "BRCA1": None}),
    "rows.json": json.dumps(
        [{"gene": "TP53", "text": t} for t in ("Guards.", "And more.")] + [{"gene": 4735, "text": "Binds GTP."}]
    ),
}


@pytest.mark.parametrize("name", [*FORMS, "notes.parquet", "utf16.txt", "notes.tsv.gz"])
def test_a_table_of_ones_own_has_many_forms_and_keys(snapshots, tmp_path, name):
    path = tmp_path / name
    if name == "notes.parquet":
        pd.DataFrame({"gene": ["TP53", "TP53", "SEPT2"], "text": ["Guards.", "And more.", "Binds GTP."]}).to_parquet(
            path
        )
    elif name == "utf16.txt":
        path.write_text(FORMS["notes.tsv"], encoding="utf-16")
    elif name == "notes.tsv.gz":
        path.write_bytes(files.packed(FORMS["notes.tsv"]))
    else:
        path.write_text(FORMS[name])
    layer = gather(OwnTable("mine"), snapshots["human"], files=[path], request=request(tmp_path))
    assert texts(layer, TP53) == {"text": ["Guards.", "And more."]}
    assert texts(layer, 4735) == {"text": ["Binds GTP."]}  # a former symbol, or a GeneID


BAD = {
    "swapped.tsv": (
        b"gene\ttext\nIt guards the genome.\tTP53\nIt binds.\tSEPTIN2\nIt senses.\tOPN4\n",
        "columns look swapped",
    ),
    "page.tsv": (b"<!DOCTYPE html><html><head><title>Login</title></head></html>", "HTML page titled 'Login'"),
    "binary.tsv": (bytes(range(256)) * 9, "no text"),
    "empty.tsv": (b"", "empty"),
    "header.tsv": (b"gene\ttext\n", "a header and no rows"),
    "headless.tsv": (b"TP53\tIt guards.\n", "no column gene or"),
    "unknown.tsv": (b"gene\ttext\nQQQ1\tIt guards.\nQQQ2\tIt binds.\n", "only 0 of 2 rows"),
    "short.tsv": (b"gene\ttext\nTP53\n", "a row of 1 fields where 2 are due"),
    "broken.json": (b'{"TP53": ', "no JSON"),
    "dates.tsv": (b"gene\ttext\tdate\nTP53\tIt guards.\t03/2024\n", "the date of 'TP53' is '03/2024'"),
    "numbers.json": (b'{"TP53": 5}', "a text or a list of texts is due"),
    "other.json": (b"[1, 2]", "no JSON of text by gene"),
    "no.parquet": (b"PAR1 and nothing more", "no Parquet"),
    "cut.tsv.gz": (files.packed(FORMS["notes.tsv"])[:-9], "truncated"),
    "two.zip": (b"PK\x03\x04 no archive", "no zip archive"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_one_clear_error(snapshots, tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FetchError, match=message) as raised:
        gather(OwnTable("mine"), snapshots["human"], files=[path], request=request(tmp_path))
    assert name in str(raised.value)
    assert not list((tmp_path / "cache").rglob("rows.parquet"))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_lines_are_the_same_wherever_blocks_end(tmp_path, monkeypatch, size):
    path = tmp_path / "windows.tsv"
    path.write_bytes(b"\xef\xbb\xbfgene\ttext\r\nTP53\tIt guards.\r\n\r\nOPN4\tIt senses \xfc.")
    monkeypatch.setattr(integrity, "_UNPACKED", size)
    assert list(tabular.lines(path, Limits())) == ["gene\ttext", "TP53\tIt guards.", "", "OPN4\tIt senses \u00fc."]
    with pytest.raises(FetchError, match="windows.tsv, line 2: it has more than 14 bytes"):
        list(tabular.lines(path, Limits(line=14)))


def test_a_bad_file_of_the_users_leaves_what_lies_beside_it(server, snapshots, tmp_path, monkeypatch):
    """What lies beside a download under the same name with `.json` is its record; beside a user's file it is his."""
    for folder, name, source in (
        ("mine", "notes.tsv", OwnTable("mine")),
        ("mirror", "proteinatlas.tsv.zip", sources.find("hpa")),
    ):
        path = tmp_path / folder / name
        path.parent.mkdir()
        path.write_bytes(b"gene\ttext\nQQQ1\tOf no gene.\n")
        beside = path.with_name(f"{name}.json")
        beside.write_text("{}")
        monkeypatch.setenv("GENETEXT_HPA_URL", str(path.parent))
        given = [path] if folder == "mine" else []
        with pytest.raises(FetchError):
            gather(source, snapshots["human"], files=given, request=request(tmp_path))
        assert beside.read_text() == "{}"


def test_too_much_text_of_one_gene_is_refused(snapshots, tmp_path):
    path = tmp_path / "many.tsv"
    path.write_text("gene\ttext\n" + "".join(f"TP53\tSentence number {number}.\n" for number in range(10_000)))
    wide = gather(OwnTable("mine"), snapshots["human"], files=[path], request=request(tmp_path))
    assert len(texts(wide, TP53)["text"]) == 10_000
    with pytest.raises(FetchError, match=r"the texts of GeneID 7157 have more than 5,000 bytes"):
        gather(
            OwnTable("other"), snapshots["human"], files=[path], request=request(tmp_path, limits=Limits(gene=5_000))
        )


def test_what_was_read_once_is_not_read_again(server, snapshots, tmp_path):
    first = gather(sources.find("hpa"), snapshots["human"], request=request(tmp_path))
    again = gather(sources.find("hpa"), snapshots["human"], request=request(tmp_path))
    assert (first.path, first.digest) == (again.path, again.digest)
    assert [entry.status for entry in server.requests("proteinatlas.tsv.zip")] == [200, 304]
    offline = gather(sources.find("hpa"), snapshots["human"], request=request(tmp_path, offline=True))
    assert offline.path == first.path
    (first.path / "rows.parquet").write_bytes(b"gone")
    mended = gather(sources.find("hpa"), snapshots["human"], request=request(tmp_path))
    assert mended.digest == first.digest
    with pytest.raises(Unreachable, match="not fetched before"):
        gather(sources.find("generif"), snapshots["human"], request=request(tmp_path, offline=True))


PATHS = {
    "generif": "generifs_basic.gz",
    "uniprot": "stream",
    "hpa": "proteinatlas.tsv.zip",
    "reactome": "NCBI2Reactome.txt",
    "alliance": "GENE-DESCRIPTION-TSV_MGI.tsv.gz",
}


@pytest.mark.parametrize("name", OF)
def test_a_page_in_place_of_the_file_never_becomes_text(server, snapshots, tmp_path, name):
    server.fault(PATHS[name], html(again=None))
    with pytest.raises(FetchError, match="HTML page"):
        gather(sources.find(name), snapshots[OF[name]], request=request(tmp_path))
    server.faults.clear()
    assert gather(sources.find(name), snapshots[OF[name]], request=request(tmp_path)).manifest["counts"]["genes"]


@pytest.mark.parametrize("name", OF)
def test_a_cut_answer_is_continued(server, snapshots, tmp_path, name):
    server.fault(PATHS[name], Fault(cut=40))
    layer = gather(sources.find(name), snapshots[OF[name]], request=request(tmp_path))
    calm = gather(sources.find(name), snapshots[OF[name]], request=Request(root=tmp_path / "calm"))
    assert layer.digest == calm.digest


def test_when_a_provider_is_away_what_it_gave_before_is_used(server, snapshots, tmp_path, monkeypatch, caplog):
    with pytest.raises(FetchError, match="has no generifs_basic.gz"):
        server.fault("generifs_basic.gz", Fault(status=404))
        gather(sources.find("generif"), snapshots["human"], request=request(tmp_path))
    before = gather(sources.find("generif"), snapshots["human"], request=request(tmp_path))
    monkeypatch.setenv("GENETEXT_GENERIF_URL", "http://127.0.0.1:9/")
    assert gather(sources.find("generif"), snapshots["human"], request=request(tmp_path)).path == before.path
    assert "using the text fetched before" in caplog.text


@pytest.mark.parametrize(
    ("name", "header", "message"),
    [
        ("generif", "#Tax\tGene\tPMIDs\twhen\ttext\n9606\t7157\t1\t2020\tx\n", "another header"),
        ("uniprot", "Entry\tName\tWhat it does\nP1\tTP53\tGuards.\n", "no column Gene Names"),
        ("hpa", "Gene\tEns\tClass\nTP53\tENSG00000141510\tEnzymes\n", "no column Ensembl"),
        ("reactome", "gene\tpathway\nTP53\tx\n", "NCBI2Reactome's six columns"),
        ("alliance", "# x\nOpn4\tMGI:1\tEnables.\n", "an id such as MGI:98834"),
    ],
)
def test_a_changed_format_is_one_clear_error(snapshots, tmp_path, name, header, message):
    path = tmp_path / "changed.tsv.gz"
    path.write_bytes(files.packed(header))
    with pytest.raises(FetchError, match=message):
        gather(sources.find(name), snapshots[OF[name]], files=[path], request=request(tmp_path))


def test_every_source_says_who_it_is():
    for source in registry.all_sources():
        assert source.title
        assert source.citation
        assert source.licence.name
        assert source.sections
        assert len(source.files(species.find("human"))) == (
            source.name in {"generif", "uniprot", "hpa", "reactome", "alliance"}
        )


def test_the_markers_that_ship_need_no_network(snapshots, tmp_path):
    layer = gather(sources.find("asctb"), snapshots["human"], request=request(tmp_path, offline=True))
    assert layer.manifest["counts"]["genes"] > 1500
    said = layer.passages(["types"], [6010, 3630])
    assert said[6010, "types"][0].text.startswith("Marker of retinal rod cell")
    assert all("_" not in text and "(Hsap)" not in text for of in said.values() for text, *_ in of)
    assert layer.manifest["source"]["licence"]["name"] == "CC BY 4.0"
    with pytest.raises(FetchError, match="FILE=asctb"):
        gather(sources.find("asctb"), snapshots["mouse"], request=request(tmp_path))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Amacrine Cell", "amacrine cell"),
        (
            "DLIT_144 Deep-layer intratelencephalic Neuron of cerebral cortex",
            "deep-layer intratelencephalic neuron of cerebral cortex",
        ),
        (
            "Inh L1-5 VIP LINC01013 primary motor cortex GABAergic interneuron (Hsap)",
            "primary motor cortex GABAergic interneuron",
        ),
        ("CD16-negative, CD56-bright natural killer cell, human", "CD16-negative, CD56-bright natural killer cell"),
        ("T cell", "T cell"),
    ],
)
def test_types_are_told_without_codes_of_clusters(name, told):
    assert readable(name) == told


def test_a_source_without_a_server_or_a_species_says_so(snapshots, tmp_path):
    with pytest.raises(FetchError, match="FILE=markers"):
        gather(sources.find("markers"), snapshots["human"], request=request(tmp_path))
    with pytest.raises(FetchError, match="does not cover mouse"):
        gather(sources.find("hpa"), snapshots["mouse"], request=request(tmp_path))
    with pytest.raises(FetchError, match="is no file"):
        gather(sources.find("hpa"), snapshots["human"], files=[tmp_path / "none"], request=request(tmp_path))
    assert layers.list_layers(root=tmp_path / "cache") == []
