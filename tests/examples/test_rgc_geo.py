"""The atlas from GEO, by way of a server on loopback that serves small files of the same names and layout."""

import gzip

import numpy as np
import pytest

from examples.rgc import geo
from genetext.errors import FetchError
from genetext.fetch.web import Patience
from tests.servers.ncbi import Fault, NcbiServer

HASTY = Patience(base=0.001, cap=0.002, connect=2, read=2)
ONCE = Patience(attempts=1, first_attempts=1, connect=2, read=2)
COUNTS = np.array([[3, 0, 1, 0], [0, 2, 0, 7], [1, 1, 1, 1]])
GENES = ["Opn4", "Spp1", "Rbpms"]
CELLS = ["aRGC1_AAAC-1", "aRGC1_CCCA-1", "aRGC2_GGGT-1", "aRGC2_TTTT-1"]


def matrix_text(cells=CELLS):
    lines = [",".join(["", *(f'"{cell}"' for cell in cells)])]
    lines += [",".join([f'"{gene}"', *map(str, row)]) for gene, row in zip(GENES, COUNTS, strict=True)]
    return "\n".join(lines) + "\n"


LABELS = "\n".join(
    "\t".join(row)
    for row in (
        ("NAME", "X", "Y", "Cluster", "Subcluster", "SampleID", "BatchID", "Background"),
        ("TYPE", "numeric", "numeric", "group", "group", "group", "group", "group"),
        ("aRGC1_AAAC-1", "1.5", "2", "33_M1", "Atlas", "aRGC1", "Batch1", "Vg"),
        ("aRGC1_CCCA-1", "1", "2", "41_AlphaONT", "Atlas", "aRGC1", "Batch1", "Vg"),
        ("aRGC2_TTTT-1", "1", "2", "33_M1", "Atlas", "aRGC2", "Batch1", "Vg"),
    )
)


@pytest.fixture
def folder(tmp_path):
    """A mirror; its matrix has 60 kB of nothing behind the table, so that there is something to break off."""
    path = tmp_path / "mirror"
    path.mkdir()
    noise = np.random.default_rng(0).bytes(60_000)
    name = noise.hex().encode()
    with gzip.GzipFile(path / geo.MATRIX, "wb", mtime=0) as handle:
        handle.write(matrix_text().encode())
        handle.write(b'"' + name + b'",0,0,0,0\n')
    (path / geo.LABELS).write_text(LABELS + "\n")
    return path


@pytest.fixture
def server(folder):
    with NcbiServer(folder) as running:
        yield running


def statuses(server, name):
    return [entry.status for entry in server.requests(name)]


def test_both_files_come_and_are_read(server, tmp_path):
    told = []
    matrix, labels = geo.download(
        mirror=server.url, root=tmp_path / "cache", patience=HASTY, progress=lambda *step: told.append(step)
    )
    assert (geo.MATRIX, matrix.stat().st_size, matrix.stat().st_size) in told
    atlas = geo.read_atlas(matrix, labels)
    assert list(atlas.obs_names) == [CELLS[0], CELLS[1], CELLS[3]]  # the third has no label
    assert list(atlas.obs["cell_type"]) == ["33_M1", "41_AlphaONT", "33_M1"]
    assert list(atlas.obs["sample"]) == ["aRGC1", "aRGC1", "aRGC2"]
    np.testing.assert_array_equal(atlas[:, GENES].X.toarray(), COUNTS.T[[0, 1, 3]])
    geo.download(mirror=server.url, root=tmp_path / "cache", patience=HASTY)
    assert statuses(server, geo.MATRIX) == [200]  # known by then


def test_the_mirror_may_stand_in_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv(geo.MIRROR, server.url.rstrip("/"))
    matrix, _ = geo.download(root=tmp_path / "cache", patience=HASTY)
    assert matrix.read_bytes() == (server.folder / geo.MATRIX).read_bytes()


def test_a_break_costs_what_had_not_arrived(server, tmp_path):
    server.fault(geo.MATRIX, Fault(cut=20_000), Fault(status=503), Fault(cut=10_000))
    matrix, _ = geo.download(mirror=server.url, root=tmp_path / "cache", patience=HASTY)
    assert matrix.read_bytes() == (server.folder / geo.MATRIX).read_bytes()
    assert statuses(server, geo.MATRIX) == [200, 503, 206, 206]
    assert sum(entry.sent for entry in server.requests(geo.MATRIX) if entry.status != 503) == matrix.stat().st_size


def test_a_later_run_goes_on(server, tmp_path):
    server.fault(geo.MATRIX, Fault(cut=20_000))
    with pytest.raises(FetchError, match=geo.MATRIX):
        geo.download(mirror=server.url, root=tmp_path / "cache", patience=ONCE)
    part = tmp_path / "cache" / "downloads" / geo.FOLDER / f"{geo.MATRIX}.part"
    assert part.stat().st_size == 20_000
    matrix, _ = geo.download(mirror=server.url, root=tmp_path / "cache", patience=ONCE)
    assert statuses(server, geo.MATRIX) == [200, 206]
    assert matrix.read_bytes() == (server.folder / geo.MATRIX).read_bytes()
    assert not part.exists()


def test_a_part_that_is_whole_is_not_asked_for_again(server, tmp_path):
    """Killed between the last byte and the check."""
    server.fault(geo.MATRIX, Fault(cut=20_000))
    with pytest.raises(FetchError):
        geo.download(mirror=server.url, root=tmp_path / "cache", patience=ONCE)
    part = tmp_path / "cache" / "downloads" / geo.FOLDER / f"{geo.MATRIX}.part"
    part.write_bytes((server.folder / geo.MATRIX).read_bytes())
    matrix, _ = geo.download(mirror=server.url, root=tmp_path / "cache", patience=ONCE)
    assert statuses(server, geo.MATRIX) == [200, 416]
    assert matrix.read_bytes() == (server.folder / geo.MATRIX).read_bytes()


def test_a_file_that_changed_meanwhile_is_not_mixed(server, tmp_path):
    server.fault(geo.MATRIX, Fault(cut=20_000))
    with pytest.raises(FetchError):
        geo.download(mirror=server.url, root=tmp_path / "cache", patience=ONCE)
    other = gzip.compress(matrix_text().encode() + b"\n" + np.random.default_rng(1).bytes(40_000), mtime=0)
    (server.folder / geo.MATRIX).write_bytes(other)
    matrix, _ = geo.download(mirror=server.url, root=tmp_path / "cache", patience=HASTY)
    assert matrix.read_bytes() == other
    assert statuses(server, geo.MATRIX) == [200, 200]


def test_a_server_without_ranges_costs_time_only(folder, tmp_path):
    with NcbiServer(folder, ranges=False) as server:
        server.fault(geo.MATRIX, Fault(cut=20_000))
        matrix, _ = geo.download(mirror=server.url, root=tmp_path / "cache", patience=HASTY)
        assert statuses(server, geo.MATRIX) == [200, 200]
    assert matrix.read_bytes() == (folder / geo.MATRIX).read_bytes()


def test_what_came_first_decides_what_may_come_later(server, tmp_path):
    matrix, _ = geo.download(mirror=server.url, root=tmp_path / "cache", patience=HASTY)
    matrix.unlink()
    (server.folder / geo.MATRIX).write_bytes(gzip.compress(b"another\n", mtime=0))
    with pytest.raises(FetchError, match=r"is not the file it should be: its sha256 is not [0-9a-f]{64}.*delete "):
        geo.download(mirror=server.url, root=tmp_path / "cache", patience=HASTY)
    assert not matrix.exists()


def test_a_damaged_copy_is_fetched_again(server, tmp_path):
    matrix, _ = geo.download(mirror=server.url, root=tmp_path / "cache", patience=HASTY)
    matrix.write_bytes(matrix.read_bytes()[:-7])
    matrix, _ = geo.download(mirror=server.url, root=tmp_path / "cache", patience=HASTY)
    assert matrix.read_bytes() == (server.folder / geo.MATRIX).read_bytes()


def test_labels_without_a_mirror_are_held_to_the_known_hash(server, tmp_path, monkeypatch):
    monkeypatch.setattr(geo, "GEO_URL", server.url)
    monkeypatch.setattr(geo, "LABELS_URL", server.url + geo.LABELS)
    with pytest.raises(FetchError, match=f"its sha256 is not {geo.LABELS_SHA256}"):
        geo.download(root=tmp_path / "cache", patience=HASTY)


def test_a_missing_file_is_named(server, tmp_path):
    (server.folder / geo.LABELS).unlink()
    with pytest.raises(FetchError, match=rf"{geo.LABELS}: the server answered 404"):
        geo.download(mirror=server.url, root=tmp_path / "cache", patience=HASTY)


def test_names_of_cells_may_have_come_through_r(tmp_path):
    (tmp_path / "m.csv").write_text(matrix_text([cell.replace("-", ".") for cell in CELLS]))
    (tmp_path / "l.txt").write_text(LABELS)
    assert list(geo.read_atlas(tmp_path / "m.csv", tmp_path / "l.txt").obs_names) == [CELLS[0], CELLS[1], CELLS[3]]


def test_files_that_are_not_what_they_should_be(tmp_path):
    labels, matrix = tmp_path / "l.txt", tmp_path / "m.csv"
    labels.write_text(LABELS)
    matrix.write_text(matrix_text().rstrip("\n").rpartition(",")[0] + "\n")
    with pytest.raises(FetchError, match=r"line 4 of .* has 3 values for 4 cells"):
        geo.read_atlas(matrix, labels)
    matrix.write_text(matrix_text(["a", "b", "c", "d"]))
    with pytest.raises(FetchError, match="no cell of .* has a label"):
        geo.read_atlas(matrix, labels)
    labels.write_text("NAME\tType\nx\ty\n")
    with pytest.raises(FetchError, match="has no column Cluster: it has NAME, Type"):
        geo.read_labels(labels)
