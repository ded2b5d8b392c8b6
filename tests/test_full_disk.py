"""Every writer on a disk that is full: one `DiskError` that names the path, and nothing left over."""

import gzip
import json
import subprocess

import numpy as np
import pytest

from genetext import anndata_io, disk
from genetext.build import build_index
from genetext.errors import DiskError
from genetext.export import export
from genetext.fetch.download import Source, fetch_file
from genetext.index import GeneIndex
from genetext.priors import GenePriors
from genetext.text.snapshot import Snapshot
from tests.factory import write_ncbi, write_snapshot
from tests.servers.ncbi import NcbiServer
from tests.small_disk import small_disk

SIZE = 16  # kilobytes: less than any of the writers needs


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An index, its priors, cells in memory and in a file, a snapshot and a model."""
    import anndata
    import pandas as pd

    from tests.cellmodels.toy import ToyModel, cells

    root = tmp_path_factory.mktemp("world")
    source = write_ncbi(root / "ncbi", n_extra=80)
    index = build_index("human", encoder="lexical", source=str(source), root=root)
    adata = anndata.AnnData(
        np.random.default_rng(0).poisson(2, (200, len(index))).astype(np.float32),
        var=pd.DataFrame(index=index.genes["symbol"][index.genes["row"] >= 0].tolist()),
    )
    path = root / "cells.h5ad"
    anndata_io.write(adata, path)
    return {
        "index": index,
        "adata": adata,
        "cells": path,
        "priors": GenePriors.open(index.path).align(adata, species="human"),
        "snapshot": write_snapshot(root / "snapshot", source=source),
        "model": ToyModel(epochs=1).fit(cells()),
    }


def embed(suffix):
    def write(world, folder):
        from genetext.cells.files import embed_file

        embed_file(world["cells"], folder / f"out{suffix}", world["priors"])

    return write


def exported(name):
    return lambda world, folder: export(
        world["index"], folder / name, format="word2vec" if name.endswith("vec") else name.split(".")[1]
    )


def write_priors(world, folder):
    from genetext.priors.anndata import write_h5ad

    write_h5ad(world["priors"], world["cells"], folder / "out.h5ad")


def write_index(world, folder):
    index = world["index"]
    content = {key: index.manifest[key] for key in ("species", "snapshot")}
    GeneIndex.write(
        folder / "index", genes=index.genes, vectors=index.matrix, embedding=index.embedding, content=content
    )


def write_checkpoint(world, folder):
    import torch

    from cellmodels.train import checkpoint

    checkpoint.write(folder / "state", {"module": {"weight": torch.rand(100, 100)}}, {"identity": "x"})


def write_snapshot_again(world, folder):
    snapshot = world["snapshot"]
    tables = {"genes": snapshot.genes, "summaries": snapshot.summaries}
    Snapshot.write(folder / "snapshot", tables=tables, content={"species": {}, "source": {}})


def write_report(world, folder):
    from genetext.names import resolve

    resolve([f"NO{number}" for number in range(3000)], species="human").write_tsv(folder / "report.tsv")


def write_figure(world, folder):
    from matplotlib.figure import Figure

    from genetext.bench.figure import save

    figure = Figure()
    figure.subplots().imshow(np.random.default_rng(0).random((200, 200)))
    save(figure, folder / "figure.png")


def write_scores(world, folder):
    import pandas as pd

    from genetext.bench.report import Report
    from genetext.cli.bench import write

    write(Report(pd.DataFrame({"score": np.random.default_rng(0).random(5000)}), {}), folder / "a.tsv", None, None)


WRITERS = {
    "json": lambda world, folder: disk.write_json(folder / "a.json", list(range(10_000))),
    "report": write_report,
    "snapshot": write_snapshot_again,
    "index": write_index,
    **{f"export {name}": exported(name) for name in ("v.npy", "v.parquet", "v.vec", "v.safetensors")},
    "priors safetensors": lambda world, folder: world["priors"].save(folder / "p.safetensors"),
    "priors parquet": lambda world, folder: world["priors"].save(folder / "p.parquet"),
    "priors h5ad": write_priors,
    "cells h5ad": lambda world, folder: anndata_io.write(world["adata"], folder / "cells.h5ad"),
    "embedded h5ad": embed(".h5ad"),
    "embedded zarr": embed(".zarr"),
    "model": lambda world, folder: world["model"].save(folder / "model"),
    "checkpoint": write_checkpoint,
    "figure": write_figure,
    "scores": write_scores,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_error_and_leaves_nothing(world, tmp_path, name):
    with small_disk(tmp_path / "small", kilobytes=SIZE) as folder:
        with pytest.raises(DiskError, match=rf"cannot write {folder}.*no space is left on the disk"):
            WRITERS[name](world, folder)
        assert [path.name for path in folder.rglob("*")] == []


def test_a_ledger_keeps_what_it_had_when_the_disk_is_full(tmp_path):
    from genetext.bench.ledger import Ledger

    with small_disk(tmp_path / "small", kilobytes=SIZE) as folder:
        ledger = Ledger(folder, {}, decode=float)
        ledger.add({"first": 1.0})
        with pytest.raises(DiskError, match=rf"cannot write {ledger.path}.*no space is left on the disk"):
            ledger.add({f"score {number}": float(number) for number in range(2000)})
        assert Ledger(folder, {}, decode=float).scores == {"first": 1.0}
        assert [path.name for path in ledger.path.parent.iterdir()] == [ledger.path.name]


def test_a_download_that_fills_the_disk_goes_on_where_there_is_room(tmp_path):
    content = gzip.compress(b"#tax_id\tGeneID\n" + np.random.default_rng(0).bytes(200_000), mtime=0)
    (tmp_path / "gene" / "DATA").mkdir(parents=True)
    (tmp_path / "gene" / "DATA" / "gene_info.gz").write_bytes(content)
    with small_disk(tmp_path / "small", kilobytes=64) as folder, NcbiServer(tmp_path / "gene" / "DATA") as server:
        source = Source.parse(server.url)
        with pytest.raises(DiskError, match=r"cannot write .*gene_info.gz.part: no space is left on the disk"):
            fetch_file(source, "gene_info.gz", root=folder)
        assert not list(folder.rglob("gene_info.gz"))
        subprocess.run(["mount", "-o", "remount,size=1m", folder], check=True)
        file = fetch_file(source, "gene_info.gz", root=folder)
        assert file.path.read_bytes() == content
        assert [entry.status for entry in server.requests("gene_info.gz")] == [200, 206]
        assert not list(folder.rglob("*.part*"))


def test_the_disk_is_large_enough_for_something(tmp_path):
    with small_disk(tmp_path / "small", kilobytes=SIZE) as folder:
        disk.write_json(folder / "a.json", [1])
        assert json.loads((folder / "a.json").read_text()) == [1]
