"""One dated, hashed copy of what is written about the genes of a species.

A snapshot is a directory of six Parquet tables and a manifest. It holds text as it was found beside what
`hygiene` made of it; what is composed out of it is the business of `compose`. Two snapshots of the same input have
the same bytes, and so the same digest.

The table `designations` came later than the others. A snapshot that was made without it (the facts that ship are
such) is read as one whose table has no rows, and keeps its digest.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genetext import disk, manifest
from genetext import species as known_species
from genetext.errors import SnapshotError
from genetext.manifest import Manifest
from genetext.species import Species
from genetext.text import folders

_log = logging.getLogger("genetext")

FORMAT = "genetext-snapshot"
FORMAT_VERSION = 1

_strings = pa.list_(pa.string())
SCHEMAS: Mapping[str, pa.Schema] = {
    # One row per gene of the species, ordered by gene_id, which is unique.
    "genes": pa.schema(
        [
            ("gene_id", pa.int64()),  # NCBI GeneID
            (
                "id_tax_id",
                pa.int32(),
            ),  # whose GeneID it is: the species' own, or (facts for mouse) the human ortholog's
            ("symbol", pa.string()),
            ("name", pa.string()),  # full name; empty where there is none
            ("synonyms", _strings),
            ("previous", _strings),  # symbols this gene had before, where the source tells them from synonyms
            ("ensembl_ids", _strings),  # without version
            ("gene_type", pa.string()),  # NCBI's type_of_gene: protein-coding, ncRNA, pseudo ...
            ("gene_groups", _strings),  # gene families (HGNC), where the source has them
        ]
    ),
    # Names that submitters of sequences and other databases gave the gene's product, as NCBI lists them.
    "designations": pa.schema(
        [
            ("gene_id", pa.int64()),
            ("place", pa.int16()),  # 0 = the first in NCBI's list, which has an order but no ranking
            ("designation", pa.string()),
        ]
    ),
    # One row per summary as served; a gene may have several, or none. Rows of tax_id 9606 in another
    # species' snapshot are the summaries of its one-to-one human orthologs.
    "summaries": pa.schema(
        [
            ("gene_id", pa.int64()),
            ("tax_id", pa.int32()),
            ("source", pa.string()),  # RefSeq, OMIM, Alliance ... as the file says
            ("summary", pa.string()),  # as served
            ("text", pa.string()),  # without provider tail, PMIDs and boilerplate sentences
            ("provider", pa.string()),  # of "[provided by X, Mon YYYY]"; empty where there was no tail
            ("text_date", pa.string()),  # "YYYY-MM" of the same tail, or empty
            ("pmids", _strings),
            ("boilerplate", _strings),  # the sentences that were taken out
        ]
    ),
    # One row per gene and Gene Ontology term and evidence; tax_id as in `summaries`.
    "go": pa.schema(
        [
            ("gene_id", pa.int64()),
            ("tax_id", pa.int32()),
            ("go_id", pa.string()),
            ("term", pa.string()),
            ("category", pa.string()),  # Process, Function, Component
            ("evidence", pa.string()),
            ("qualifier", pa.string()),
            ("rank", pa.int16()),  # 0 = the gene's most specific term within its category, 1 = the next ...
        ]
    ),
    # Human orthologs of the species' genes (empty for human).
    "orthologs": pa.schema(
        [
            ("gene_id", pa.int64()),
            ("human_gene_id", pa.int64()),
            ("human_symbol", pa.string()),
            ("human_name", pa.string()),
            ("human_gene_groups", _strings),
            ("one_to_one", pa.bool_()),
        ]
    ),
    # Retired GeneIDs and the symbols that went with them; gene_id 0 where nothing took their place.
    "history": pa.schema(
        [
            ("old_gene_id", pa.int64()),
            ("gene_id", pa.int64()),
            ("old_symbol", pa.string()),
            ("date", pa.string()),
        ]
    ),
}

# Tables that a snapshot may lack, since it was made before there were such.
_LATER = frozenset({"designations"})


@dataclass(frozen=True)
class Snapshot:
    """A snapshot directory, opened read-only; tables are read when first asked for.

    Attributes
    ----------
    path
        The directory.
    manifest
        Its manifest: `species` (tax_id, name, latin), `source` (`kind`: ncbi, eutils, facts; where from; per input file
        its sha256, size and date as the server told it), `counts`.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> "Snapshot":
        """Open a snapshot directory; raise `SnapshotError` where it is absent, damaged or of another version."""
        return cls(path, manifest.read(path, format=FORMAT, format_version=FORMAT_VERSION, error=SnapshotError))

    @classmethod
    def write(
        cls, path: Path, *, tables: Mapping[str, pd.DataFrame | pa.Table], content: Mapping[str, Any]
    ) -> "Snapshot":
        """Write all tables and the manifest as one directory, atomically, and open it.

        Parameters
        ----------
        path
            The directory to make; an existing one is replaced in one step.
        tables
            For each name of `SCHEMAS` a table with those columns; an absent name is written as an empty table.
        content
            What the manifest says of the species and the source.
        """
        with disk.atomic_directory(path) as temporary:
            counts = {}
            for name, schema in SCHEMAS.items():
                table = _as_table(tables.get(name), schema, name)
                counts[name] = table.num_rows
                pq.write_table(table, temporary / f"{name}.parquet", compression="zstd")
            manifest.write(
                temporary, format=FORMAT, format_version=FORMAT_VERSION, content={**content, "counts": counts}
            )
        return cls.open(path)

    @property
    def digest(self) -> str:
        """The sha256 over the tables' bytes: equal for equal content, whenever and wherever it was fetched."""
        return folders.digest(self.manifest)

    @property
    def species(self) -> Species:
        """The species whose genes these are."""
        recorded = self.manifest["species"]
        known = known_species.find(recorded["tax_id"])
        if known.name == recorded["name"]:
            return known
        return Species(recorded["tax_id"], recorded["name"], recorded["latin"])

    @property
    def is_whole(self) -> bool:
        """Whether it holds all genes that its source had."""
        return "genes" not in self.manifest["source"] and self.manifest["source"]["kind"] != "eutils"

    @cached_property
    def genes(self) -> pd.DataFrame:
        """One row per gene, indexed 0..n-1, ordered by `gene_id`; columns as in `SCHEMAS["genes"]`."""
        return self.frame("genes")

    @cached_property
    def summaries(self) -> pd.DataFrame:
        """All summaries as served and as cleaned."""
        return self.frame("summaries")

    @cached_property
    def orthologs(self) -> pd.DataFrame:
        """Human orthologs of the species' genes."""
        return self.frame("orthologs")

    def table(self, name: str, *, columns: list[str] | None = None, filters: Any = None) -> pa.Table:
        """Read one of the tables, or some columns and rows of it, as an Arrow table.

        Raises
        ------
        SnapshotError
            The table's file is damaged, or gone.
        """
        path = self.path / f"{name}.parquet"
        if name in _LATER and path.name not in self.manifest.files:
            empty = SCHEMAS[name].empty_table()
            return empty if columns is None else empty.select(columns)
        try:
            return pq.read_table(path, columns=columns, filters=filters, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error

    def frame(self, name: str, *, columns: list[str] | None = None, filters: Any = None) -> pd.DataFrame:
        """Read one of the tables, or some columns and rows of it, as a pandas frame."""
        table = self.table(name, columns=columns, filters=filters)
        try:
            frame: pd.DataFrame = table.to_pandas()
        except (pa.ArrowException, UnicodeDecodeError) as error:  # damaged text shows only when it is decoded
            raise _unreadable(self.path / f"{name}.parquet", error) from error
        return frame


def list_snapshots(
    species: str | int | Species | None = None, *, kind: str | None = None, root: Path | None = None
) -> list[Snapshot]:
    """List the snapshots in the cache, the one fetched last first.

    Parameters
    ----------
    species
        Only those of this species.
    kind
        Only those of this kind: `ncbi`, `eutils` or `facts`.
    root
        The cache root. Default: `disk.cache_dir()`.
    """
    name = known_species.find(species).name if species is not None else "*"
    paths = ((root or disk.cache_dir()) / "snapshots").glob(f"{name}/{kind or '*'}-*")
    return folders.newest_first(paths, Snapshot.open, say=_say_left_out)


@cache
def _say_left_out(reason: str) -> None:
    """Warn once of each snapshot that is not read."""
    _log.warning("a snapshot is left out, and names mean what the others say: %s", reason)


def latest(species: str | int | Species, *, kind: str | None = None, root: Path | None = None) -> Snapshot | None:
    """Return the snapshot of a whole species that was fetched last, or None; arguments as for `list_snapshots`."""
    return next((item for item in list_snapshots(species, kind=kind, root=root) if item.is_whole), None)


def _unreadable(path: Path, error: Exception) -> SnapshotError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return SnapshotError(f"{path} cannot be read ({reason}): the snapshot is damaged, fetch it again")


def _as_table(table: pd.DataFrame | pa.Table | None, schema: pa.Schema, name: str) -> pa.Table:
    if table is None:
        return schema.empty_table()
    if isinstance(table, pd.DataFrame):
        missing = [field for field in schema.names if field not in table.columns]
        if missing:
            raise SnapshotError(f"table {name} lacks the columns {', '.join(missing)}")
        return pa.Table.from_pandas(table, schema=schema, preserve_index=False).replace_schema_metadata(None)
    return table.select(schema.names).cast(schema).replace_schema_metadata(None)
