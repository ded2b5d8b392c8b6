"""The FAISS file of an index's vectors: exact inner product up to a million, an HNSW graph beyond."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext.errors import GeneIndexError

EXACT_LIMIT = 1_000_000
"""Up to this many vectors the search is exact; beyond it goes by an HNSW graph."""


def write(vectors: NDArray[np.float32], path: Path) -> dict[str, Any]:
    """Write vectors `(n, dim) float32`; return how they are searched, in words for the manifest."""
    import faiss

    searcher, kind = _searcher(vectors)
    # Through Python's own file, so that a full disk is an OSError here and not an abort inside FAISS.
    with path.open("wb") as handle:
        faiss.write_index(searcher, faiss.PyCallbackIOWriter(handle.write))  # type: ignore[attr-defined]
    return kind


def shape(path: Path) -> tuple[int, int]:
    """Return number and length of a file's vectors, by its first bytes; -1 and -1 where it has none."""
    with path.open("rb") as handle:
        head = handle.read(16)
    dim, n_vectors = struct.unpack("<iq", head[4:16]) if len(head) == 16 else (-1, -1)
    return n_vectors, dim


def read(path: Path) -> Any:
    """Return the FAISS index, memory-mapped where it is exact.

    Raises
    ------
    GeneIndexError
        FAISS cannot read it, or it is of a kind that genetext does not write.
    """
    import faiss

    try:
        searcher = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except (RuntimeError, MemoryError) as error:
        raise GeneIndexError(f"{path} cannot be read: {error}") from error
    if not isinstance(searcher, faiss.IndexFlat | faiss.IndexHNSWFlat) or searcher.ntotal != shape(path)[0]:
        raise GeneIndexError(f"{path} is a {type(searcher).__name__}, which genetext never writes: build it again")
    return searcher


def matrix(searcher: Any) -> NDArray[np.float32]:
    """Return all vectors of a FAISS index, `(n, dim) float32`, read-only; without a copy where it is exact."""
    exact = hasattr(searcher, "get_xb")
    vectors: NDArray[np.float32] = (
        np.asarray(_Mapped(searcher)) if exact else searcher.reconstruct_n(0, searcher.ntotal)
    )
    vectors.flags.writeable = False
    return vectors


class _Mapped:
    """The vectors of a flat FAISS index, which stays open for as long as an array looks into it."""

    def __init__(self, searcher: Any) -> None:
        import faiss

        self._searcher = searcher
        flat = faiss.rev_swig_ptr(searcher.get_xb(), searcher.ntotal * searcher.d)
        self.__array_interface__ = flat.reshape(searcher.ntotal, searcher.d).__array_interface__


def _searcher(vectors: NDArray[np.float32]) -> tuple[Any, dict[str, Any]]:
    import faiss

    n_vectors, dim = vectors.shape
    if n_vectors <= EXACT_LIMIT:
        flat = faiss.IndexFlatIP(dim)
        flat.add(np.ascontiguousarray(vectors))
        return flat, {"kind": "exact"}
    graph = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = 200, 128
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # insertion order, and so the graph, depends on the number of threads
    try:
        graph.add(np.ascontiguousarray(vectors))
    finally:
        faiss.omp_set_num_threads(threads)
    return graph, {"kind": "hnsw", "m": 32, "ef_construction": 200, "ef_search": 128}
