"""Files whose groups hold themselves, or lie too deep, are told from others before a reader goes down."""

import threading

import h5py
import pytest

from genetext import anndata_io
from genetext.errors import CellsError


@pytest.fixture
def file(tmp_path):
    import anndata
    import numpy as np

    path = tmp_path / "in.h5ad"
    anndata.AnnData(np.ones((3, 2), np.float32), uns={"a": {"b": {"c": 1}}}).write_h5ad(path)
    return path


def deep(opened):
    group = opened["uns"]
    for _ in range(1200):
        group = group.create_group("x")


def circle(opened):
    opened["uns/circle"] = opened["uns"]


def circles(opened):
    for name in "abcdefgh":
        opened[f"uns/circle{name}"] = opened["uns"]


def soft_circle(opened):
    opened["uns/x"] = h5py.SoftLink("/uns")


@pytest.mark.parametrize(
    ("change", "says"),
    [(deep, "50 groups deep"), (circle, "holds itself"), (circles, "holds itself"), (soft_circle, "holds itself")],
)
def test_a_file_without_an_end_is_one_sentence_and_other_threads_go_on(file, change, says):
    with h5py.File(file, "r+") as opened:
        change(opened)
    with pytest.raises(CellsError, match=says):
        anndata_io.read(file)

    def elsewhere():
        with h5py.File(file, "r") as opened:
            list(opened)

    thread = threading.Thread(target=elsewhere, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_a_group_of_two_names_and_links_that_lead_nowhere_are_no_circle(file):
    with h5py.File(file, "r+") as opened:
        opened["uns/again"] = opened["uns/a"]
        opened["uns/nowhere"] = h5py.SoftLink("/nowhere")
        del opened["uns/nowhere"]
    assert anndata_io.read(file).uns["again"]["b"]["c"] == 1
