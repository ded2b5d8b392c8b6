"""Write an index's vectors in the forms that other programs read. No pickle among them."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from genetext import disk, escape
from genetext.errors import GeneIndexError, first_ten
from genetext.index import GeneIndex
from genetext.sources.notice import in_words


def export(index: GeneIndex, path: Path, *, format: str, key: str = "symbol") -> list[Path]:  # noqa: A002
    """Write the vectors of an index to one or two files, and a notice of whose text they were made of beside them.

    Parameters
    ----------
    index
        An opened index.
    path
        The file to write. `npy` writes a `.tsv` of the genes beside it, `safetensors` a `.json`; all a `.NOTICE.txt`.
    format
        `npy`, `parquet`, `word2vec` (text) or `safetensors`.
    key
        What names a gene: `symbol`, `gene_id` or `ensembl_id`. In `parquet` and `npy` all three are columns.

    Returns
    -------
    The files that were written.

    Raises
    ------
    GeneIndexError
        The format is unknown, or `key` does not name every gene once.
    """
    if format not in _WRITERS:
        raise GeneIndexError(f"unknown format {format!r}: one of {', '.join(_WRITERS)}")
    written = _WRITERS[format](index, path, key)
    notice = path.with_name(f"{path.stem}.NOTICE.txt")
    with disk.atomic_file(notice) as handle:
        handle.write(in_words(index.manifest.get("licences", ())).encode())
    return [*written, notice]


def _npy(index: GeneIndex, path: Path, _key: str) -> list[Path]:
    genes = path.with_suffix(".tsv")
    with disk.atomic_pair(path, genes) as (handle, notes):
        np.save(handle, index.matrix, allow_pickle=False)
        notes.write(escape.tsv(_rows(index)).encode())
    return [path, genes]


def _parquet(index: GeneIndex, path: Path, _key: str) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(_rows(index), preserve_index=False)
    flat = pa.array(index.matrix.ravel())
    table = table.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, index.dim))
    with disk.atomic_file(path) as handle:
        pq.write_table(table.replace_schema_metadata({"genetext": index.fingerprint}), handle, compression="zstd")
    return [path]


def _word2vec(index: GeneIndex, path: Path, key: str) -> list[Path]:
    names = _names(index, key)
    with disk.atomic_file(path) as handle:
        handle.write(f"{len(index)} {index.dim}\n".encode())
        for name, vector in zip(names, index.matrix, strict=True):
            handle.write(f"{name} {' '.join(map(repr, vector.tolist()))}\n".encode())
    return [path]


def _safetensors(index: GeneIndex, path: Path, key: str) -> list[Path]:
    from safetensors.numpy import save

    names = path.with_suffix(".json")
    # `keys` in the order of the rows: what scGPT-, GEARS- or scLAMBDA-like loaders need to make their dict of arrays.
    facts: Mapping[str, object] = {
        "keys": _names(index, key),
        "key": key,
        "tensor": "vectors",
        "index_fingerprint": index.fingerprint,
        "embedding": index.embedding_spec.to_json(),
    }
    with disk.atomic_pair(path, names) as (handle, notes):
        handle.write(save({"vectors": np.ascontiguousarray(index.matrix)}))
        notes.write(disk.json_bytes(facts))
    return [path, names]


_WRITERS: dict[str, Callable[[GeneIndex, Path, str], list[Path]]] = {
    "npy": _npy,
    "parquet": _parquet,
    "word2vec": _word2vec,
    "safetensors": _safetensors,
}


def _rows(index: GeneIndex) -> pd.DataFrame:
    genes = index.genes[index.genes["row"] >= 0].sort_values("row")
    return genes[["gene_id", "symbol", "ensembl_id", "name", "source"]].reset_index(drop=True)


def _names(index: GeneIndex, key: str) -> list[str]:
    rows = _rows(index)
    if key not in {"symbol", "gene_id", "ensembl_id"}:
        raise GeneIndexError(f"unknown key {key!r}: symbol, gene_id or ensembl_id")
    names = rows[key].astype(str).tolist()
    twice = [name for name, times in Counter(names).items() if times > 1]
    if "" in names or twice or any(" " in name for name in names):
        unnamed = names.count("")
        raise GeneIndexError(
            f"{key} does not name every gene once ({unnamed:,} without, more than once or with blanks: "
            f"{first_ten(twice)}): export with key gene_id"
        )
    return names
