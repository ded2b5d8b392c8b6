"""Smoothing of logits along a graph of cells: time, and memory beyond the graph, beside SciPy's solvers.

    python benchmarks/smoothing.py --cells 100000 500000 --classes 20
    python benchmarks/smoothing.py --cells 100000 --classes 20 --shuffles 20

Every cell has links to 15 others on a ring of neighbours with shortcuts; each row is a process of its own. `direct`
(a sparse LU of the whole system) is run where the cells are few: its factor is dense before long. With `--shuffles`
as many sets of logits are smoothed as `annotate` does for its confidence: of cells in three groupings (20, 35 and 50
groups), by `refine_blocks`, and by `refine_logits` one after the other.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from cellmodels.annotation.smoothing import refine_blocks, refine_logits
from cellmodels.groups.graphs import laplacian

LAM = 5.0
GROUPS = (20, 35, 50)


def ring(n: int, k: int = 15, seed: int = 0) -> sparse.csr_matrix:
    """Return a symmetric graph: each cell with the next `k - 3`, and three anywhere."""
    rng = np.random.default_rng(seed)
    start = np.repeat(np.arange(n), k)
    step = np.concatenate([np.tile(np.arange(1, k - 2), (n, 1)), rng.integers(1, n, (n, 3))], axis=1)
    end = (start + step.ravel()) % n
    graph = sparse.csr_matrix((np.ones(n * k), (start, end)), shape=(n, n))
    graph = graph.maximum(graph.T)
    graph.setdiag(0)
    graph.eliminate_zeros()
    return graph.tocsr()


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def shuffled(n: int, c: int, shuffles: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return logits of blocks, the mean over the groupings, for each shuffle; and the block of each cell."""
    rng = np.random.default_rng(2)
    members = np.stack([np.arange(n) * groups // n for groups in GROUPS], axis=1)
    groups_of_block, block = np.unique(members, axis=0, return_inverse=True)
    scores = [[rng.normal(size=(groups, c)) for groups in GROUPS] for _ in range(shuffles)]
    sets = [np.mean([of[groups_of_block[:, at]] for at, of in enumerate(each)], axis=0) for each in scores]
    return sets, block.reshape(-1)


def measure(method: str, file: str, c: int, shuffles: int) -> None:
    graph = sparse.load_npz(file)
    n = graph.shape[0]
    logits = np.random.default_rng(1).normal(size=(n, c))
    sets, block = shuffled(n, c, shuffles)
    before, size = peak(), sum(a.nbytes for a in (graph.data, graph.indices, graph.indptr)) / 2**20
    started, clock = time.perf_counter(), time.process_time()
    if method == "refine_blocks":
        for _ in refine_blocks(sets, block, graph, LAM, kind="unnormalised"):
            pass
    elif shuffles:
        for each in sets:
            refine_logits(each[block], graph, LAM)
    elif method == "refine_logits":
        refine_logits(logits, graph, LAM)
    else:
        system = (sparse.identity(n) + LAM * laplacian(graph)).tocsc()
        if method == "direct":
            linalg.splu(system).solve(logits)
        else:
            rows, diagonal = system.tocsr(), system.diagonal()
            inverse = linalg.LinearOperator(system.shape, lambda x: x / diagonal, dtype=float)
            np.column_stack([linalg.cg(rows, column, x0=column, rtol=1e-6, M=inverse)[0] for column in logits.T])
    wall, cpu = time.perf_counter() - started, time.process_time() - clock
    print(f"| {n:,} | {c} | {method} | {wall:.1f} | {cpu:.1f} | {size:,.0f} | {peak() - before:,.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[100_000, 500_000])
    parser.add_argument("--classes", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--direct-below", type=int, default=5_000)
    parser.add_argument("--shuffles", type=int, default=0)
    parser.add_argument("--single", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.single:
        method, file, c = options.single
        measure(method, file, int(c), options.shuffles)
        return
    print("| cells | classes | method | seconds | CPU seconds | graph MB | more MB at the peak |", flush=True)
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for n in options.cells:
            file = f"{folder}/{n}.npz"
            sparse.save_npz(file, ring(n), compressed=False)
            for c in options.classes:
                methods = ["refine_logits", "refine_blocks"] if options.shuffles else ["refine_logits", "cg per class"]
                for method in [*methods, *(["direct"] if n <= options.direct_below and not options.shuffles else [])]:
                    single = ["--single", method, file, str(c), "--shuffles", str(options.shuffles)]
                    subprocess.run([sys.executable, __file__, *single], check=True)


if __name__ == "__main__":
    main()
