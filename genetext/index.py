"""GeneIndex: the directory of gene vectors that answers questions.

    <cache>/indices/<species>/<name>/
        genes.parquet      one row per gene, `row` is its place among the vectors (-1: it has none)
        index.faiss        the vectors: exact inner product up to a million, HNSW beyond
        embedding/         what the encoders and the post-processing were fitted to
        manifest.json      everything that decided the bytes above, and their sha256

It is written in one step, opened read-only and memory-mapped, and never holds a pickle.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from genetext import disk, manifest, species, vector_file
from genetext.errors import GeneIndexError, GenetextError, IndexMismatch, first_ten
from genetext.index_names import IndexNames
from genetext.indices import locate
from genetext.manifest import Manifest
from genetext.vectors import EmbeddingSpec, TextEmbedding

FORMAT = "genetext-index"
FORMAT_VERSION = 2
_CONTENT = {
    "species": {"tax_id": int, "name": str, "latin": str},
    "snapshot": {"digest": str, "source": {"kind": str}},
    "embedding": {"encoders": list, "post": str},
    "dim": int,
    "n_vectors": int,
}
_NAMES = ("genes.parquet", "index.faiss", "embedding/block*/*")
_WHOLE_LIMIT = 512_000_000
"""Vectors of up to this many bytes are compared with their sha256 before the first question (0.1 s for 60 MB)."""


class GeneIndex:
    """Vectors of the genes of one species, opened read-only.

    Attributes
    ----------
    path
        The directory.
    manifest
        Its manifest.

    Examples
    --------
    >>> index = GeneIndex.open("human/minilm")  # doctest: +SKIP
    >>> index.search("photopigment of retinal ganglion cells", k=5)  # doctest: +SKIP
    """

    def __init__(self, path: Path, recorded: Manifest, *, root: Path | None = None) -> None:
        self.path = path
        self.manifest = recorded
        self._root = root
        self._table_checked = False

    # -- opening and writing ----------------------------------------------------------------------------------------

    @classmethod
    def open(cls, name: str | Path, *, encoder: str | None = None, root: Path | None = None) -> "GeneIndex":
        """Open an index by name (`human/minilm`), by species (`human`, if it has only one) or by path.

        Parameters
        ----------
        name
            Name below the cache's `indices/`, or the path of an index directory.
        encoder
            Refuse an index that was built with another encoder (`minilm`, `biobert+lexical`).
        root
            The cache root. Default: `genetext.disk.cache_dir()`.

        Raises
        ------
        GeneIndexError
            There is no such index (the message lists those there are), or its files are damaged.
        IndexMismatch
            It was built with another encoder than `encoder`; the message holds both.
        """
        path = locate(name, root=root)
        recorded = manifest.read(
            path, format=FORMAT, format_version=FORMAT_VERSION, error=GeneIndexError, content=_CONTENT
        )
        index = cls(path, recorded, root=root)
        try:
            if not index.species or index.embedding_spec.fingerprint != recorded["embedding_fingerprint"]:
                raise ValueError("its embedding and the fingerprint of that differ")
            if lacking := {"genes.parquet", "index.faiss"} - set(recorded.files):
                raise ValueError(f"it names no {first_ten(sorted(lacking))}")
        except (GenetextError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise GeneIndexError(f"{path / manifest.FILE} holds what genetext never writes ({error})") from error
        shape = vector_file.shape(path / "index.faiss")
        if shape != (len(index), index.dim):
            raise GeneIndexError(
                f"{path / 'index.faiss'} holds {shape[0]:,} x {shape[1]}, the manifest says {len(index):,} x "
                f"{index.dim}: build it again"
            )
        if encoder is not None:
            index._refuse_other_encoder(encoder)
        return index

    @classmethod
    def write(
        cls,
        path: Path,
        *,
        genes: pd.DataFrame,
        vectors: NDArray[np.float32],
        embedding: TextEmbedding,
        content: Mapping[str, Any],
        root: Path | None = None,
    ) -> "GeneIndex":
        """Write an index directory in one step and open it.

        Parameters
        ----------
        path
            The directory to make; an existing index there is replaced, readers of it keep what they opened.
        genes
            One row per gene; column `row` holds its row of `vectors`, or -1.
        vectors
            `(n, dim) float32`, unit length.
        embedding
            The fitted encoders.
        content
            What else the manifest records.
        root
            The cache root, as for `open`.
        """
        manifest.refuse_to_replace(path, format=FORMAT, error=GeneIndexError, names=_NAMES)
        with disk.atomic_directory(path) as temporary:
            pq.write_table(
                pa.Table.from_pandas(genes, preserve_index=False).replace_schema_metadata(None),
                temporary / "genes.parquet",
                compression="zstd",
            )
            kind = vector_file.write(vectors, temporary / "index.faiss")
            embedding.save(temporary / "embedding")
            manifest.write(
                temporary,
                format=FORMAT,
                format_version=FORMAT_VERSION,
                content={
                    **content,
                    "embedding": embedding.spec.to_json(),
                    "embedding_fingerprint": embedding.spec.fingerprint,
                    "dim": int(vectors.shape[1]),
                    "n_vectors": int(vectors.shape[0]),
                    "metric": "inner product of unit vectors",
                    "search": kind,
                },
            )
        return cls.open(path, root=root)

    # -- what is in it ----------------------------------------------------------------------------------------------

    @property
    def species(self) -> species.Species:
        """The species whose genes these are."""
        recorded = self.manifest["species"]
        return species.Species(recorded["tax_id"], recorded["name"], recorded["latin"])

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.manifest["dim"])

    @property
    def embedding_spec(self) -> EmbeddingSpec:
        """Which encoders and post-processing made the vectors."""
        return EmbeddingSpec.from_json(self.manifest["embedding"])

    @property
    def fingerprint(self) -> str:
        """The sha256 that stands for all bytes of the index."""
        return self.manifest.digest

    def __len__(self) -> int:
        return int(self.manifest["n_vectors"])

    def __repr__(self) -> str:
        return f"GeneIndex({self.species.name}, {self.embedding_spec}, {len(self):,} genes x {self.dim}, {self.path})"

    @cached_property
    def genes(self) -> pd.DataFrame:
        """One row per gene, vectors or not, ordered by `gene_id`; `row` is its place in `matrix`, or -1."""
        frame: pd.DataFrame = self._table().to_pandas()
        return frame

    @cached_property
    def gene_ids(self) -> NDArray[np.int64]:
        """GeneIDs of the rows of `matrix`: `(n,) int64`."""
        table = self._table(columns=["gene_id", "row"])
        ids, rows = table["gene_id"].to_numpy(), table["row"].to_numpy()
        ordered = np.empty(int((rows >= 0).sum()), np.int64)
        ordered[rows[rows >= 0]] = ids[rows >= 0]
        return ordered

    @cached_property
    def matrix(self) -> NDArray[np.float32]:
        """All vectors, `(n, dim) float32`, read-only; memory-mapped where the index is exact."""
        return vector_file.matrix(self._searcher)

    @cached_property
    def embedding(self) -> TextEmbedding:
        """The encoders, loaded, as they were when the genes were encoded.

        Raises
        ------
        IndexMismatch
            The encoder's weights on this machine are not those that the index was built with.
        """
        embedding = TextEmbedding.load(self.embedding_spec)
        recorded, spec = self.embedding_spec, embedding.spec
        if spec != recorded:
            raise IndexMismatch(
                f"index {self.path} was built with {recorded} ({recorded.fingerprint[:12]}), the encoder at hand is "
                f"{spec} ({spec.fingerprint[:12]}): use the one it was built with, or build an index with the other"
            )
        self._refuse_changed(*(name for name in self.manifest.files if name.startswith("embedding/")))
        embedding.restore(self.path / "embedding")
        return embedding

    # -- questions --------------------------------------------------------------------------------------------------

    def search(self, query: str | NDArray[np.float32], k: int = 10) -> pd.DataFrame:
        """Find the genes nearest to a text or a vector.

        Parameters
        ----------
        query
            A text, or a vector `(dim,) float32` (any length but zero).
        k
            How many genes.

        Returns
        -------
        A frame of at most `k` rows, best first: `gene_id`, `symbol`, `name`, `score` (cosine), `source`, `text`.
        """
        if isinstance(query, str):
            if not query.strip():
                raise GeneIndexError("the query is empty: give a text, for example a function or a cell type")
            vector = self.embedding.queries([query])[0]
        else:
            vector = np.asarray(query, dtype=np.float32)
            if vector.shape != (self.dim,):
                raise IndexMismatch(
                    f"the query has shape {vector.shape}, the index {self.path} has dimension {self.dim}"
                )
            if not np.isfinite(vector).all() or not vector.any():
                raise GeneIndexError("the query vector is zero or not finite")
            vector = vector / np.linalg.norm(vector)
        return self._nearest(vector, k)

    def neighbors(self, gene: str | int, k: int = 10) -> pd.DataFrame:
        """Find the genes whose vectors are nearest to a gene's own, without the gene itself; a frame as of `search`.

        Parameters
        ----------
        gene
            As in `gene`.
        k
            How many genes.
        """
        position = self._names.position(gene)
        row = int(self.genes["row"].iloc[position])
        if row < 0:
            raise GeneIndexError(
                f"{self.genes['symbol'].iloc[position]} has no vector in {self.path}: nothing is written about it "
                f"(source: {self.genes['source'].iloc[position]})"
            )
        nearest = self._nearest(self.matrix[row], k + 1)
        others: pd.DataFrame = nearest[nearest["gene_id"] != self.genes["gene_id"].iloc[position]]
        return others.head(k).reset_index(drop=True)

    def vectors(self, genes: Sequence[str | int]) -> NDArray[np.float32]:
        """Return the vectors of some genes, each named as in `gene`: `(len(genes), dim) float32`.

        Raises
        ------
        GeneIndexError
            A name is unknown or its gene has no vector. For names that may be missing, align priors instead.
        """
        positions = [self._names.find(gene)[0] for gene in genes]
        rows = [-1 if position is None else int(self.genes["row"].iloc[position]) for position in positions]
        lacking = [(gene, position) for gene, position, row in zip(genes, positions, rows, strict=True) if row < 0]
        if lacking:
            unknown = [gene for gene, position in lacking if position is None]
            silent = [gene for gene, position in lacking if position is not None]
            reasons = (("not among its genes", unknown), ("nothing is written about", silent))
            said = "; ".join(f"{reason}: {first_ten(names)}" for reason, names in reasons if names)
            raise GeneIndexError(f"no vector in {self.path} for {len(lacking):,} names; {said}")
        return self.matrix[rows]

    def gene(self, gene: str | int) -> dict[str, Any]:
        """Return everything the index holds of one gene but its vector, as JSON values.

        Parameters
        ----------
        gene
            Any name that `genetext.names.resolve` takes for one gene of the species: a symbol, a former one, a synonym
            of one gene only, an Ensembl id, a GeneID; as a number, the GeneID that the index itself has.

        Raises
        ------
        GeneIndexError
            The name is that of no gene or of several, or the index was built without the gene.
        """
        columns: dict[str, Any] = json.loads(self.genes.iloc[[self._names.position(gene)]].to_json(orient="records"))[0]
        return columns

    def ids_of(self, name: str) -> NDArray[np.int64]:
        """Return the GeneIDs that a name may mean, `(n,) int64`: of one gene, of several that share it, or of none."""
        return self._names.ids_of(name)

    def verify(self) -> list[str]:
        """Compare every byte with the manifest; return one sentence for each problem (empty: all is well)."""
        return manifest.verify(self.path, self.manifest)

    # -- inside -----------------------------------------------------------------------------------------------------

    @cached_property
    def _searcher(self) -> Any:
        path = self.path / "index.faiss"
        if path.stat().st_size <= _WHOLE_LIMIT:
            self._refuse_changed(path.name)
        return vector_file.read(path)

    def _refuse_changed(self, *names: str) -> None:
        """Raise where a file's bytes are not those that the manifest was written for."""
        problems = [problem for name in names if (problem := manifest.changed(self.path, self.manifest, name))]
        if problems:
            raise GeneIndexError(f"{first_ten(problems)}: the index is damaged, build it again")

    def _table(self, columns: list[str] | None = None) -> pa.Table:
        path = self.path / "genes.parquet"
        if not self._table_checked:
            self._refuse_changed(path.name)
            self._table_checked = True
        try:
            table = pq.read_table(path, columns=columns)
            rows = table["row"].to_numpy()
            if not np.array_equal(np.sort(rows[rows >= 0]), np.arange(len(self))):
                raise ValueError(f"its rows are not those of {len(self):,} vectors")
            if columns is None:
                table.select(["gene_id", "symbol", "name", "source", "text"])
            return table
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise GeneIndexError(f"{path} is damaged ({error}): build the index again") from error

    @cached_property
    def _answers(self) -> pd.DataFrame:
        """What `search` tells of the genes, in the order of the vectors."""
        genes = self.genes[self.genes["row"] >= 0].sort_values("row")
        return genes[["gene_id", "symbol", "name", "source", "text"]]

    @cached_property
    def _names(self) -> IndexNames:
        built_from = self.manifest["snapshot"].get("digest")
        return IndexNames(self.genes, self.species, built_from, path=self.path, root=self._root)

    def _nearest(self, vector: NDArray[np.float32], k: int) -> pd.DataFrame:
        if k < 1:
            raise GeneIndexError(f"k is {k}: ask for one gene at least")
        if not len(self):
            raise GeneIndexError(f"{self.path} holds no vectors")
        scores, rows = self._searcher.search(np.ascontiguousarray(vector[None], np.float32), min(k, len(self)))
        hits = rows[0] >= 0
        if not hits.any() or not (np.abs(scores[0][hits]) < 1.01).all():
            worst = f"a cosine of {np.abs(scores[0][hits]).max():g}" if hits.any() else "no vector can be compared"
            raise GeneIndexError(f"{self.path} is damaged ({worst}): genetext verify says where; build it again")
        frame = self._answers.take(rows[0][hits]).assign(score=scores[0][hits])
        # Equal scores (genes that share a text) come in the order of their GeneIDs.
        frame = frame.sort_values(["score", "gene_id"], ascending=[False, True], kind="stable")
        ordered: pd.DataFrame = frame[["gene_id", "symbol", "name", "score", "source", "text"]]
        return ordered.reset_index(drop=True)

    def _refuse_other_encoder(self, encoder: str) -> None:
        from genetext import encoders

        asked = tuple(encoders.specs(encoder))
        recorded = self.embedding_spec.encoders
        if [spec.model for spec in asked] != [spec.model for spec in recorded]:
            raise IndexMismatch(
                f"index {self.path} was built with {self.embedding_spec} ({self.dim} dimensions), the query encoder "
                f"{encoder} is {EmbeddingSpec(asked)}: leave --encoder out, or build an index with {encoder}"
            )
