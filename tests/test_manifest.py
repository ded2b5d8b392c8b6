from concurrent.futures import ThreadPoolExecutor

import pytest

from genetext import disk, manifest
from genetext.errors import GeneIndexError, SnapshotError


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "sub" / "b.bin").write_bytes(b"de")
    manifest.write(tmp_path, format="thing", format_version=3, content={"answer": 42})
    return tmp_path


def read(directory, **wanted):
    return manifest.read(directory, **{"format": "thing", "format_version": 3, "error": GeneIndexError, **wanted})


def test_round_trip(directory):
    recorded = read(directory)
    assert recorded["answer"] == 42
    assert recorded.get("absent", "default") == "default"
    assert set(recorded.files) == {"a.bin", "sub/b.bin"}
    assert manifest.verify(directory, recorded) == []
    assert manifest.kind(directory) == "thing"


def test_the_digest_depends_on_every_byte_and_on_nothing_else(directory):
    before = read(directory).digest
    manifest.write(directory, format="thing", format_version=3, content={"answer": 42})
    assert read(directory).digest == before
    (directory / "a.bin").write_bytes(b"abd")
    manifest.write(directory, format="thing", format_version=3, content={"answer": 42})
    assert read(directory).digest != before


def test_other_formats_and_versions_are_refused_with_both_values(directory):
    with pytest.raises(SnapshotError, match=r"is a thing, not a snapshot"):
        read(directory, format="snapshot", error=SnapshotError)
    with pytest.raises(GeneIndexError, match=r"version 3, this genetext reads version 4"):
        read(directory, format_version=4)


def test_missing_and_shortened_files_are_found_on_opening(directory):
    (directory / "a.bin").write_bytes(b"ab")
    with pytest.raises(GeneIndexError, match=r"a.bin has 2 bytes, the manifest says 3 bytes"):
        read(directory)
    (directory / "a.bin").unlink()
    with pytest.raises(GeneIndexError, match=r"a.bin is missing"):
        read(directory)


def test_a_changed_byte_is_found_by_verify(directory):
    recorded = read(directory)
    (directory / "sub" / "b.bin").write_bytes(b"dx")
    (problem,) = manifest.verify(directory, recorded)
    assert "b.bin has sha256" in problem


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format": 1}'])
def test_an_unreadable_manifest_is_an_error_of_the_right_kind(directory, content):
    (directory / manifest.FILE).write_text(content)
    with pytest.raises(GeneIndexError):
        read(directory)
    assert isinstance(manifest.kind(directory), str)


def test_no_manifest(tmp_path):
    with pytest.raises(GeneIndexError, match="it has no manifest.json"):
        read(tmp_path)
    assert manifest.kind(tmp_path) == "directory without a manifest"


def test_a_manifest_that_was_changed_is_refused(directory):
    path = directory / manifest.FILE
    path.write_text(path.read_text().replace("42", "43"))
    with pytest.raises(GeneIndexError, match=r"manifest.json was changed after it was written \(its digest differs\)"):
        read(directory)


def test_samples_find_swapped_files_of_the_same_size(tmp_path):
    for name, byte in (("a.bin", b"a"), ("b.bin", b"b")):
        (tmp_path / name).write_bytes(byte * 1_000_000)
    manifest.write(tmp_path, format="thing", format_version=3, content={})
    (tmp_path / "a.bin").rename(tmp_path / "c.bin")
    (tmp_path / "b.bin").rename(tmp_path / "a.bin")
    (tmp_path / "c.bin").rename(tmp_path / "b.bin")
    with pytest.raises(GeneIndexError, match=r"a.bin is not the file that the manifest was written for"):
        read(tmp_path)


def test_values_of_another_type_are_named(directory):
    assert read(directory, content={"answer": int})["answer"] == 42
    with pytest.raises(GeneIndexError, match=r"manifest.json has '42' for answer, which is a text"):
        read(directory, content={"answer": str})
    with pytest.raises(GeneIndexError, match=r"manifest.json lacks question"):
        read(directory, content={"question": {"asked": str}})


def test_only_a_directory_of_the_same_format_is_replaced_and_only_its_own_files(directory, tmp_path_factory):
    def refuse(path, format="thing"):  # noqa: A002
        manifest.refuse_to_replace(path, format=format, error=GeneIndexError, names=("*.bin",))

    empty = tmp_path_factory.mktemp("empty")
    refuse(empty)
    refuse(empty / "absent")
    refuse(directory)
    with pytest.raises(GeneIndexError, match="is there already and is no other: name another folder"):
        refuse(directory, "other")
    (directory / manifest.FILE).write_text("{")
    refuse(directory)
    (directory / "sub" / "notes.txt").write_text("mine")
    with pytest.raises(GeneIndexError, match=r"would be lost: sub/notes.txt; move them"):
        refuse(directory)
    with pytest.raises(GeneIndexError, match="is a file"):
        refuse(directory / "sub" / "notes.txt")


def test_a_directory_that_is_replaced_while_it_is_read_is_the_old_or_the_new_one(tmp_path):
    place = tmp_path / "thing"

    def write(size):
        with disk.atomic_directory(place) as new:
            (new / "a.bin").write_bytes(bytes(size))
            manifest.write(new, format="thing", format_version=3, content={"size": size})

    write(1)
    with ThreadPoolExecutor(1) as others:
        replaced = others.submit(lambda: [write(size) for size in range(2, 60)])
        sizes = []
        while not replaced.done():
            recorded = read(place)
            sizes.append((recorded["size"], recorded.files["a.bin"]["size"]))
        replaced.result()
    assert sizes
    assert all(size == held for size, held in sizes)
