"""What one source of text says about the genes of a species: a directory of one Parquet table and a manifest.

A layer lies over a snapshot, which says which genes there are. The same files, read by the same names of genes, give a
layer of the same bytes, and so the same digest.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genetext import disk, manifest
from genetext.errors import SnapshotError
from genetext.manifest import Manifest
from genetext.text import folders

_log = logging.getLogger("genetext")

FORMAT = "genetext-text"
FORMAT_VERSION = 1
FOLDER = "texts"
SCHEMA = pa.schema(
    [
        ("gene_id", pa.int64()),  # NCBI GeneID
        ("section", pa.string()),  # without the source's name
        ("place", pa.int32()),  # 0 = the first that the source says in this section of the gene
        ("text", pa.string()),
        ("references", pa.list_(pa.string())),  # PubMed ids and the like
        ("date", pa.string()),  # YYYY-MM-DD, YYYY-MM, YYYY, or empty
    ]
)


class Passage(NamedTuple):
    """A piece of text on a gene, as it goes into a composed text.

    Attributes
    ----------
    text
        What it says.
    date
        `YYYY-MM-DD`, `YYYY-MM`, `YYYY`, or empty.
    label
        Who says it, where a section has several voices (`RefSeq`, `Alliance`).
    provider
        Of a summary's tail.
    """

    text: str
    date: str = ""
    label: str = ""
    provider: str = ""


@dataclass(frozen=True)
class TextLayer:
    """A layer, opened read-only.

    Attributes
    ----------
    path
        The directory.
    manifest
        `source` (its name, title, licence, citation, sections; where from; per file its sha256, size and date),
        `species`, `names` (digest of the snapshot that names were resolved by), `counts`, `unmatched`.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> "TextLayer":
        """Open a layer; raise `SnapshotError` where it is absent, damaged or of another version."""
        return cls(path, manifest.read(path, format=FORMAT, format_version=FORMAT_VERSION, error=SnapshotError))

    @classmethod
    def write(cls, path: Path, *, rows: pa.Table, content: Mapping[str, Any]) -> "TextLayer":
        """Write a layer as one directory, atomically, and open it; rows are sorted by gene, section and place."""
        keys = [("gene_id", "ascending"), ("section", "ascending"), ("place", "ascending")]
        with disk.atomic_directory(path) as temporary:
            table = rows.select(SCHEMA.names).cast(SCHEMA).sort_by(keys).replace_schema_metadata(None)
            pq.write_table(table, temporary / "rows.parquet", compression="zstd")
            manifest.write(temporary, format=FORMAT, format_version=FORMAT_VERSION, content=content)
        return cls.open(path)

    @property
    def name(self) -> str:
        """What the source is called in a template."""
        return str(self.manifest["source"]["name"])

    @property
    def tax_id(self) -> int:
        """Whose genes these are."""
        return int(self.manifest["species"]["tax_id"])

    @property
    def sections(self) -> tuple[str, ...]:
        """The source's sections, in its order."""
        return tuple(self.manifest["source"]["sections"])

    @cached_property
    def digest(self) -> str:
        """The sha256 over the table's bytes."""
        return folders.digest(self.manifest)

    @property
    def provenance(self) -> dict[str, Any]:
        """What an index records of a layer that is in its texts."""
        return {"digest": self.digest, "source": dict(self.manifest["source"]), "tax_id": self.tax_id}

    def passages(self, sections: Collection[str], gene_ids: Iterable[int]) -> dict[tuple[int, str], list[Passage]]:
        """Return what the layer says of some genes, by gene and section, in the source's order."""
        wanted = pc.field("section").isin(sorted(sections)) & pc.field("gene_id").isin(sorted(set(gene_ids)))
        columns = ["gene_id", "section", "text", "date"]
        try:
            table = pq.read_table(self.path / "rows.parquet", columns=columns, filters=wanted, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            raise SnapshotError(f"{self.path} cannot be read ({error}): it is damaged, fetch it again") from error
        of_gene: dict[tuple[int, str], list[Passage]] = {}
        for batch in table.to_batches(max_chunksize=8192):
            for gene_id, section, text, date in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                of_gene.setdefault((gene_id, section), []).append(Passage(text, date))
        return of_gene


def list_layers(name: str = "*", *, species: str = "*", root: Path | None = None) -> list[TextLayer]:
    """List the layers in the cache, the one made last first; what is damaged is left out, with a warning."""
    paths = ((root or disk.cache_dir()) / FOLDER).glob(f"{species}/{name}-*")
    return folders.newest_first(paths, TextLayer.open, say=lambda reason: _log.warning("left out: %s", reason))
