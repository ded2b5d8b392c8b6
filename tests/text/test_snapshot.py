import hashlib
import json

import pandas as pd
import pyarrow as pa
import pytest

from genetext import disk, manifest, species
from genetext.errors import SnapshotError
from genetext.text.snapshot import FORMAT, SCHEMAS, Snapshot, list_snapshots
from tests.factory import edit_summaries, write_ncbi, write_snapshot

CONTENT = {"species": {"tax_id": 9606, "name": "human", "latin": "Homo sapiens"}, "source": {"kind": "test"}}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_ncbi(tmp_path_factory.mktemp("ncbi"))


def test_what_is_written_is_what_is_opened(source, tmp_path):
    written = write_snapshot(tmp_path / "human", source=source)
    opened = Snapshot.open(tmp_path / "human")
    assert opened.digest == written.digest
    assert opened.species is species.HUMAN
    assert opened.manifest["counts"]["genes"] == len(opened.genes) == 26
    for name, schema in SCHEMAS.items():
        assert opened.table(name).schema == schema
    assert opened.summaries["summary"].str.contains("provided by").any()
    assert opened.frame("genes", columns=["symbol"], filters=[("gene_id", "=", 94233)])["symbol"].tolist() == ["OPN4"]


def test_a_snapshot_from_before_there_were_designations_reads_as_one_without_and_keeps_its_digest(source, tmp_path):
    path = write_snapshot(tmp_path / "human", source=source).path
    recorded = json.loads((path / manifest.FILE).read_text())
    del recorded["files"]["designations.parquet"], recorded["counts"]["designations"], recorded["digest"]
    (path / manifest.FILE).write_text(json.dumps(recorded))
    (path / "designations.parquet").unlink()
    opened = Snapshot.open(path)
    assert opened.digest == disk.sha256_json({name: one["sha256"] for name, one in recorded["files"].items()})
    assert opened.table("designations").schema == SCHEMAS["designations"]
    assert opened.frame("designations", columns=["designation"]).shape == (0, 1)
    assert len(opened.genes) == 26


def test_a_table_that_the_manifest_names_must_be_there(source, tmp_path):
    path = write_snapshot(tmp_path / "human", source=source).path
    opened = Snapshot.open(path)
    (path / "designations.parquet").unlink()
    with pytest.raises(SnapshotError, match="designations.parquet cannot be read"):
        opened.table("designations")
    with pytest.raises(SnapshotError, match=r"designations.parquet is missing"):
        Snapshot.open(path)


@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_a_damaged_table_is_one_sentence(source, tmp_path, place):
    written = write_snapshot(tmp_path / "human", source=source)
    file = written.path / "genes.parquet"
    size = file.stat().st_size
    start = {"start": 0, "middle": 0, "end": size - 40}[place]
    stop = {"start": 8, "middle": size // 2, "end": size}[place]
    content = bytearray(file.read_bytes())
    content[start:stop] = b"\xa5" * (stop - start)
    file.write_bytes(content)
    with pytest.raises(SnapshotError, match="genes.parquet is not the file .*snapshot is damaged, fetch it again"):
        Snapshot.open(written.path)  # every size fits


def test_equal_input_has_equal_bytes_and_another_summary_another_digest(source, tmp_path):
    first = write_snapshot(tmp_path / "a", source=source)
    again = write_snapshot(tmp_path / "b", source=write_ncbi(tmp_path / "ncbi"))
    assert again.digest == first.digest
    hashes = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in one.path.iterdir()}
        for one in (first, again)
    ]
    assert hashes[0] == hashes[1]
    edit_summaries(tmp_path / "ncbi", {7157: "It is new."})
    assert write_snapshot(tmp_path / "b", source=tmp_path / "ncbi").digest != first.digest


def test_the_digest_does_not_depend_on_where_it_came_from(tmp_path):
    one = Snapshot.write(tmp_path / "a", tables={}, content=CONTENT)
    other = Snapshot.write(tmp_path / "b", tables={}, content={**CONTENT, "source": {"kind": "a mirror"}})
    assert one.digest == other.digest
    assert one.manifest.digest != other.manifest.digest


def test_absent_tables_are_empty_and_frames_are_taken(tmp_path):
    history = pd.DataFrame({"old_gene_id": [1], "gene_id": [0], "old_symbol": ["A"], "date": ["20010101"]})
    snapshot = Snapshot.write(tmp_path / "a", tables={"history": history}, content=CONTENT)
    assert snapshot.manifest["counts"] == {**dict.fromkeys(SCHEMAS, 0), "history": 1}
    assert snapshot.frame("history").equals(history)
    assert len(snapshot.orthologs) == 0


def test_a_table_without_its_columns_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(SnapshotError, match=r"history lacks the columns gene_id, old_symbol, date"):
        Snapshot.write(tmp_path / "a", tables={"history": pd.DataFrame({"old_gene_id": [1]})}, content=CONTENT)
    with pytest.raises(KeyError):
        Snapshot.write(tmp_path / "a", tables={"history": pa.table({"gene_id": [1]})}, content=CONTENT)
    assert list(tmp_path.glob("a*")) == []


def test_a_species_that_is_not_built_in_is_itself(tmp_path):
    content = {"species": {"tax_id": 34839, "name": "chinchilla", "latin": "Chinchilla lanigera"}}
    found = Snapshot.write(tmp_path / "a", tables={}, content=content).species
    assert (found.tax_id, found.name, found.latin) == (34839, "chinchilla", "Chinchilla lanigera")


def test_what_is_no_snapshot_is_refused(source, tmp_path):
    with pytest.raises(SnapshotError, match="has no manifest"):
        Snapshot.open(tmp_path)
    snapshot = write_snapshot(tmp_path / "human", source=source)
    table = snapshot.path / "go.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:-7])
    with pytest.raises(SnapshotError, match=r"go\.parquet has .* bytes"):
        Snapshot.open(snapshot.path)
    table.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert [str(table) in problem for problem in manifest.verify(snapshot.path, snapshot.manifest)] == [True]
    raw = snapshot.manifest.to_json()
    for key, value in (("format_version", 99), ("format", "genetext-index")):
        disk.write_json(snapshot.path / "manifest.json", {**raw, key: value})
        with pytest.raises(SnapshotError, match=FORMAT if key == "format" else "version 99"):
            Snapshot.open(snapshot.path)


def test_a_damaged_snapshot_is_named_once(source, tmp_path, caplog):
    damaged = write_snapshot(tmp_path / "snapshots" / "human" / "ncbi-1", source=source)
    (damaged.path / "manifest.json").write_text("{")
    assert list_snapshots("human", root=tmp_path) == list_snapshots(root=tmp_path) == []
    (warning,) = caplog.messages
    assert warning.startswith("a snapshot is left out, and names mean what the others say: ")
    assert str(damaged.path) in warning
