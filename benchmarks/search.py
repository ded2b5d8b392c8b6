"""Latency of one search by vector, beside bare FAISS and plain NumPy on the same vectors in the same run.

    python benchmarks/search.py [--sizes 20000 1000000] [--dim 384] [--queries 50]

Every index is written by `GeneIndex.write`, opened memory-mapped and asked one vector at a time, as `genetext search`
does after its encoder. The NumPy reference multiplies the whole matrix and takes the best ten by `argpartition`.
Medians in milliseconds. Up to a million vectors the search is exact, beyond it an HNSW graph (`same`: the share of the
ten that plain NumPy finds too).
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from genetext.index import GeneIndex
from genetext.vectors import EmbeddingSpec, TextEmbedding


def timed(ask, queries) -> float:
    ask(queries[0])
    seconds = []
    for query in queries:
        start = perf_counter()
        ask(query)
        seconds.append(perf_counter() - start)
    return 1000 * statistics.median(seconds)


def write(vectors: np.ndarray, folder: Path) -> GeneIndex:
    n = len(vectors)
    genes = pd.DataFrame({"gene_id": np.arange(n), "symbol": np.arange(n).astype(str), "row": np.arange(n, dtype="i4")})
    genes = genes.assign(name="", source="RefSeq", text="", ensembl_id="", synonyms=[[]] * n)
    content = {"species": {"tax_id": 9606, "name": "human", "latin": "Homo sapiens"}, "snapshot": {}}
    made_by = TextEmbedding(EmbeddingSpec(()), [])
    return GeneIndex.write(folder / "index", genes=genes, vectors=vectors, embedding=made_by, content=content)


def row(n_vectors: int, dim: int, n_queries: int, folder: Path) -> str:
    import faiss

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n_vectors, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = rng.standard_normal((n_queries, dim), dtype=np.float32)
    write(vectors, folder)
    start = perf_counter()
    opened = GeneIndex.open(folder / "index")
    opened.search(queries[0])
    opening = 1000 * (perf_counter() - start)
    bare = faiss.read_index(str(folder / "index" / "index.faiss"), faiss.IO_FLAG_MMAP_IFC)

    def plain(query: np.ndarray) -> np.ndarray:
        scores = vectors @ query
        best = np.argpartition(scores, -10)[-10:]
        return best[np.argsort(scores[best])[::-1]]

    ours = timed(lambda query: opened.search(query), queries)
    searcher = timed(lambda query: bare.search(query[None], 10), queries)
    numpy = timed(plain, queries)
    agree = np.mean([len(set(plain(query)) & set(opened.search(query)["gene_id"])) / 10 for query in queries])
    times = f"{opening:>12.1f}{ours:>10.2f}{searcher:>10.2f}{numpy:>10.2f}{ours / numpy:>8.2f}"
    return f"{n_vectors:>10,}{dim:>6}{times}{agree:>8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=50)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, median of {arguments.queries} queries, ten neighbours")
    names = ("first ms", 12), ("index ms", 10), ("FAISS ms", 10), ("NumPy ms", 10), ("ratio", 8), ("same", 8)
    print(f"{'vectors':>10}{'dim':>6}" + "".join(f"{name:>{width}}" for name, width in names))
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            print(row(size, arguments.dim, arguments.queries, Path(folder)))


if __name__ == "__main__":
    main()
