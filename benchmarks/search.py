"""Latency of one search by vector, beside plain NumPy on the same vectors in the same run.

    python benchmarks/search.py [--sizes 20000 1000000] [--dim 384] [--queries 50]

Every index is written, opened memory-mapped and asked one vector at a time, as `genetext search` does. The NumPy
reference multiplies the whole matrix and takes the best ten by `argpartition`. Medians in milliseconds.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np


def timed(ask, queries) -> float:
    ask(queries[0])
    seconds = []
    for query in queries:
        start = perf_counter()
        ask(query)
        seconds.append(perf_counter() - start)
    return 1000 * statistics.median(seconds)


def row(n_vectors: int, dim: int, n_queries: int, folder: Path) -> str:
    import faiss

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n_vectors, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = rng.standard_normal((n_queries, dim), dtype=np.float32)
    flat = faiss.IndexFlatIP(dim)
    flat.add(vectors)
    faiss.write_index(flat, str(folder / "index.faiss"))
    del flat
    start = perf_counter()
    opened = faiss.read_index(str(folder / "index.faiss"), faiss.IO_FLAG_MMAP_IFC)
    opening = 1000 * (perf_counter() - start)
    index = timed(lambda query: opened.search(query[None], 10), queries)

    def plain(query):
        scores = vectors @ query
        best = np.argpartition(scores, -10)[-10:]
        return best[np.argsort(scores[best])[::-1]]

    numpy = timed(plain, queries)
    agree = np.mean([set(plain(query)) == set(opened.search(query[None], 10)[1][0]) for query in queries])
    return f"{n_vectors:>10,}{dim:>6}{opening:>10.2f}{index:>10.2f}{numpy:>10.2f}{index / numpy:>8.2f}{agree:>8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=50)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, median of {arguments.queries} queries, ten neighbours")
    print(f"{'vectors':>10}{'dim':>6}{'open ms':>10}{'index ms':>10}{'NumPy ms':>10}{'ratio':>8}{'same':>8}")
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            print(row(size, arguments.dim, arguments.queries, Path(folder)))


if __name__ == "__main__":
    main()
