"""How fast, and in how much memory: embed_cells beside scipy's and torch's bare product and a loop over cells.

Every measurement runs in a process of its own, on the same synthetic counts in an HDF5 file. Peak memory is that of
the whole process less that of one which has only imported its libraries. Those that need the matrix in memory load it
first, which is part of their memory, not of their time.

    python benchmarks/embed_cells.py --cells 10000 100000 1000000 --genes 20000 --nonzeros 2000 --dim 384
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy import sparse

METHODS = ("file", "memory", "contrast", "top 100", "bare product", "scipy", "torch", "row loop")
_BLOCK = 4096


def synthetic(path: Path, *, n_cells: int, n_genes: int, nonzeros: int, seed: int = 0) -> None:
    """Write counts as an h5ad, block by block: gene frequencies fall like a power law, depth varies twofold."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, n_genes + 1) ** 0.6
    rng.shuffle(chance)
    # Enough different cells that nothing can be cached, few enough that writing a million takes minutes.
    keys = rng.exponential(size=(_BLOCK, n_genes)) / chance
    counts = np.clip(rng.normal(nonzeros, nonzeros / 6, _BLOCK).astype(int), 1, n_genes)
    cells = [np.sort(np.argpartition(row, n - 1)[:n]).astype(np.int32) for row, n in zip(keys, counts, strict=True)]
    indptr = np.concatenate([[0], np.cumsum(np.resize(counts, n_cells), dtype=np.int64)])
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_cells, n_genes]})
        group.create_dataset("indptr", data=indptr)
        stored = group.create_dataset("data", (indptr[-1],), np.float32, chunks=(1 << 18,))
        indices = group.create_dataset("indices", (indptr[-1],), np.int32, chunks=(1 << 18,))
        joined = np.concatenate(cells)
        for start in range(0, n_cells, _BLOCK):
            stop = min(start + _BLOCK, n_cells)
            n = int(indptr[stop] - indptr[start])
            stored[indptr[start] : indptr[stop]] = rng.geometric(0.4, n).astype(np.float32)
            indices[indptr[start] : indptr[stop]] = joined[:n]
        for frame, n in (("obs", n_cells), ("var", n_genes)):
            made = file.create_group(frame)
            made.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
            made.attrs["column-order"] = np.array([], dtype=h5py.string_dtype())
            names = made.create_dataset("_index", data=[f"{frame}{i}" for i in range(n)], dtype=h5py.string_dtype())
            names.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        for name in ("layers", "obsm", "varm", "uns", "obsp", "varp"):
            file.create_group(name).attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})


def gene_priors(n_genes: int, dim: int) -> Any:
    """Return Gaussian vectors for nine of ten genes."""
    from genetext.priors import GenePriors

    rng = np.random.default_rng(1)
    names = np.array([f"var{j}" for j in range(n_genes)], object)
    mask = rng.random(n_genes) < 0.9
    vectors = np.where(mask[:, None], rng.standard_normal((n_genes, dim)), 0).astype(np.float32)
    status = np.where(mask, "name", "unknown").astype(object)
    return GenePriors(names, vectors, mask, np.arange(1, n_genes + 1), status, "synthetic", "0" * 64)


def run(method: str, path: Path, dim: int, limit: int | None) -> dict[str, Any]:
    """Run one method in this process; return seconds, cells done, and the process's peak memory in MB."""
    with h5py.File(path) as file:
        n_cells, n_genes = (int(size) for size in file["X"].attrs["shape"])
    priors = gene_priors(n_genes, dim)
    n = min(n_cells, limit or n_cells)
    work = _prepared(method, path, priors, n)
    start, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"seconds": seconds, "cpu": cpu, "cells": n, "peak_mb": _peak()}


def _prepared(method: str, path: Path, priors: Any, n: int) -> Callable[[], Any]:
    import anndata

    from genetext.cells import embed_cells, embed_file

    if method == "nothing":
        return lambda: None
    if method == "file":
        output = path.with_name("out.h5ad")

        def stream() -> None:
            embed_file(path, output, priors)
            output.unlink()

        return stream
    adata = anndata.read_h5ad(path)[:n].copy() if n < _n_obs(path) else anndata.read_h5ad(path)
    options = {"contrast": {"weighting": "contrast"}, "top 100": {"weighting": "mean", "top_n": 100}}.get(method, {})
    if method in ("memory", "contrast", "top 100"):
        return lambda: embed_cells(adata, priors, **options)
    x = adata.X
    v = priors.vectors
    if method == "scipy":
        return lambda: x @ v
    if method == "bare product":
        return lambda: np.concatenate([x[at : at + 256].tocsc() @ v for at in range(0, n, 256)])
    if method == "torch":
        import warnings

        import torch

        warnings.filterwarnings("ignore", category=UserWarning)  # torch calls its CSR beta
        arrays = (torch.from_numpy(x.indptr.astype(np.int64)), torch.from_numpy(x.indices.astype(np.int64)))
        matrix = torch.sparse_csr_tensor(*arrays, torch.from_numpy(x.data), x.shape)
        return lambda: (matrix @ torch.from_numpy(v)).numpy()
    return lambda: _row_loop(x, priors)


def _row_loop(x: Any, priors: Any) -> Any:
    """Embed as notebooks do it: normalise, then look up one cell after the other, gene by gene."""
    table = priors.to_dict()
    zeros = np.zeros(priors.dim, np.float32)
    lookup = np.stack([table.get(name, zeros) for name in priors.names])
    normal = sparse.csr_matrix(x.multiply(1e4 / x.sum(axis=1)))
    normal.data = np.log1p(normal.data)
    out = []
    for row in normal:
        dense = row.toarray().ravel()
        out.append(lookup.T @ dense / dense.sum())
    return np.stack(out)


def _n_obs(path: Path) -> int:
    with h5py.File(path) as file:
        return int(file["X"].attrs["shape"][0])


def _peak() -> float:
    """Return the largest memory this process has held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage also counts what the parent held before this process became another program
        return next(float(line.split()[1]) / 1024 for line in status.read_text().splitlines() if "VmHWM" in line)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))


def _child(pipe: Any, arguments: tuple[Any, ...]) -> None:
    pipe.send(run(*arguments))
    pipe.close()


def measure(*arguments: Any) -> dict[str, Any] | None:
    """Run in a fresh process; None where it was killed, as when memory ran out."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, arguments))
    process.start()
    theirs.close()
    try:
        told: dict[str, Any] = ours.recv()
    except EOFError:
        return None
    finally:
        process.join()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--nonzeros", type=int, default=2_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--in-memory-limit", type=int, default=200_000, help="Cells up to which matrices are loaded.")
    parser.add_argument("--loop-limit", type=int, default=5_000, help="Cells that the row loop goes through at most.")
    parser.add_argument("--folder", type=Path, help="Where to put the synthetic files. Default: a temporary folder.")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="embed_cells-", dir=chosen.folder))
    rows = []
    try:
        for n_cells in chosen.cells:
            path = folder / f"{n_cells}.h5ad"
            synthetic(path, n_cells=n_cells, n_genes=chosen.genes, nonzeros=chosen.nonzeros)
            floor = measure("nothing", path, chosen.dim, None)
            for method in chosen.methods:
                limit = chosen.loop_limit if method == "row loop" else None
                if method != "file" and n_cells > chosen.in_memory_limit:
                    continue
                told = measure(method, path, chosen.dim, limit)
                row: dict[str, Any] = {"cells": n_cells, "method": method}
                if told is not None and floor is not None:
                    row["seconds"] = told["seconds"] * n_cells / told["cells"]
                    row["cpu_seconds"] = told["cpu"] * n_cells / told["cells"]
                    row["cells_per_second"] = told["cells"] / told["seconds"]
                    row["memory_mb"] = told["peak_mb"] - floor["peak_mb"]
                    row["extrapolated"] = told["cells"] < n_cells
                rows.append(row)
                if not chosen.json:
                    print(_line(row), flush=True)
            path.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if chosen.json:
        print(json.dumps(rows, indent=1))


def _line(row: dict[str, Any]) -> str:
    head = f"{row['cells']:>9,} cells  {row['method']:<14}"
    if "seconds" not in row:
        return f"{head} was killed (no memory left?)"
    note = "  (extrapolated)" if row["extrapolated"] else ""
    took = f"{row['seconds']:>9.1f} s {row['cpu_seconds']:>9.1f} s of cores {row['cells_per_second']:>9,.0f} cells/s"
    return f"{head} {took} {row['memory_mb']:>8,.0f} MB{note}"


if __name__ == "__main__":
    main()
