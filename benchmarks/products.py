"""Products of the sizes that models have: torch's own beside oneDNN, and sparse ones beside dense ones and SciPy's.

    python benchmarks/products.py --threads 1

On Intel's processors both dense products are about as fast and torch's own is taken; `taken` says which is here.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import sparse

from cellmodels.nn.dense_product import _onednn
from cellmodels.nn.sparse_product import SparseMatrix

DENSE = [(64, 100, 100), (440, 100, 2000), (256, 2000, 512), (1000, 1500, 1500)]
SPARSE = [(512, 2000, 200, 0.07), (1000, 2000, 256, 0.1), (1000, 2000, 1500, 0.1), (1000, 2000, 1500, 0.3)]


def median(work: Callable[[], Any], repeats: int) -> float:
    """Return the median milliseconds of a call, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=31)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    product = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    taken = "torch's own" if _onednn() is None else "oneDNN"
    print(f"float32, {options.threads} thread(s), median of {options.repeats}, ms; taken here: {taken}\n")
    print("| product | torch | oneDNN | torch / oneDNN | GFLOP/s by oneDNN | largest difference |\n|" + "---|" * 6)
    for n, k, m in DENSE if product is not None else ():
        a, b = torch.randn(n, k), torch.randn(k, m)
        by_torch, by_onednn = a @ b, product(a, b.T, None, "none", [], "")
        slow = median(lambda a=a, b=b: a @ b, options.repeats)
        fast = median(lambda a=a, b=b: product(a, b.T, None, "none", [], ""), options.repeats)
        apart = float((by_torch - by_onednn).abs().max())
        speed = 2e-6 * n * k * m / fast
        print(f"| {n} x {k} x {m} | {slow:.3f} | {fast:.3f} | {slow / fast:.2f} | {speed:.0f} | {apart:.1e} |")
    print("\n| sparse product | not zero | sparse here | SciPy | dense by torch |\n|" + "---|" * 5)
    for n, k, m, filled in SPARSE:
        matrix = sparse.random(n, k, filled, "csr", dtype=np.float32, random_state=0)
        rows, dense, weight = SparseMatrix.of(matrix), torch.from_numpy(matrix.toarray()), torch.randn(k, m)
        works = (lambda: rows @ weight, lambda: matrix @ weight.numpy(), lambda: dense @ weight)  # noqa: B023
        times = [f"{median(work, options.repeats):.2f}" for work in works]
        print(f"| {n} x {k} x {m} | {filled:.0%} | " + " | ".join(times) + " |")


if __name__ == "__main__":
    main()
