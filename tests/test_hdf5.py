"""HDF5 on a disk that is full: one error, no crash, nothing left over."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from genetext import disk, hdf5
from tests.small_disk import small_disk


def test_what_is_written_is_read_back_and_a_copy_can_be_changed(tmp_path):
    path = tmp_path / "a.h5"
    values = np.arange(3000.0).reshape(100, 30)
    with disk.atomic_file(path) as handle, hdf5.file(handle, "w") as made:
        made.create_dataset("x/y", data=values, chunks=(7, 30), compression="gzip")
        made.attrs["note"] = "é"
    with disk.atomic_file(tmp_path / "b.h5") as handle:
        handle.write(path.read_bytes())
        with hdf5.file(handle, "r+") as made:
            hdf5.check(made)
            del made["x/y"]
            made["z"] = values[:2]
    with h5py.File(path) as first, h5py.File(tmp_path / "b.h5") as second:
        assert np.array_equal(first["x/y"], values)
        assert first.attrs["note"] == second.attrs["note"] == "é"
        assert np.array_equal(second["z"], values[:2])
        assert list(second["x"]) == []
    assert sorted(item.name for item in tmp_path.iterdir() if item.suffix == ".h5") == ["a.h5", "b.h5"]


CODE = """
import sys
from pathlib import Path
import anndata, numpy as np
from anndata.io import write_elem
from genetext import disk, hdf5
from genetext.errors import DiskError
n_refused = 0
for n_cells in map(int, sys.argv[2:]):
    adata = anndata.AnnData(np.random.default_rng(0).random((n_cells, 100), np.float32))
    adata.obsm["X"] = np.ones((n_cells, 5))
    adata.obs["label"] = np.arange(n_cells).astype(str)
    path = Path(sys.argv[1]) / "cells.h5ad"
    try:
        with disk.atomic_file(path) as handle, hdf5.file(handle, "w") as made:
            write_elem(made, "/", adata)
    except DiskError as error:
        assert "no space is left" in str(error), error
        n_refused += 1
    else:
        assert np.array_equal(anndata.read_h5ad(path).X, adata.X)
        path.unlink()
    assert list(path.parent.iterdir()) == []
print(n_refused)
"""


def test_a_full_disk_is_one_error_at_whichever_byte_it_is_full(tmp_path):
    sizes = [500, 1000, *range(1900, 2200, 30), 3000, 20_000]
    with small_disk(tmp_path / "small", kilobytes=920) as folder:
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CODE, str(folder), *map(str, sizes)], capture_output=True, text=True
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert 5 < int(ran.stdout) < len(sizes)


def test_long_work_stops_at_the_first_refusal(tmp_path):
    with small_disk(tmp_path / "small", kilobytes=200) as folder:
        with pytest.raises(disk.DiskError, match=r"no space is left on the disk \(after 2\d\d,\d{3} bytes\)"):
            with disk.atomic_file(folder / "a.h5") as handle, hdf5.file(handle, "w") as made:
                values = made.create_dataset("x", shape=(10**9,), chunks=(10_000,), dtype="f8")
                for start in range(0, 10**9, 10_000):
                    values[start : start + 10_000] = np.random.default_rng(start).random(10_000)
                    hdf5.check(made)
        assert list(folder.iterdir()) == []


LIMITED = """
import os, resource, signal, sys
from pathlib import Path
import anndata, numpy as np
from anndata.io import write_elem
from genetext import anndata_io, disk, hdf5
from genetext.errors import DiskError
folder = Path(sys.argv[1])
adata = anndata.AnnData(np.random.default_rng(0).poisson(1, (40, 200)).astype(np.float32))
adata.obsm["X"] = np.ones((40, 5))
adata.obs["label"] = np.arange(40).astype(str)
anndata_io.write(adata, folder / "in.h5ad")
given = (folder / "in.h5ad").read_bytes()

def whole(path):
    anndata_io.write(adata, path)

def added(path):
    with disk.atomic_file(path) as handle:
        handle.write(given)
        with hdf5.file(handle, "r+") as made:
            write_elem(made, "obsm/more", np.ones((40, 30)))
            write_elem(made, "obs/note", np.arange(40).astype(str).astype(object))

n_refused = 0
for work in (whole, added):
    for limit in [*range(1_000, 60_000, 5_900), *range(len(given) - 100, len(given) + 20_000, 2_300)]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            work(folder / "out.h5ad")
        except DiskError:
            n_refused += 1
        else:
            anndata.read_h5ad(folder / "out.h5ad")
            (folder / "out.h5ad").unlink()
        assert os.listdir(folder) == ["in.h5ad"]
print(n_refused)
"""


def test_a_file_that_may_not_grow_is_one_error_at_whichever_byte(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert int(ran.stdout) > 20
