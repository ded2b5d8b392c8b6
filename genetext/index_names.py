"""Which gene of an index a name means: by the one door for names, among the genes that the index has."""

from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from genetext.errors import GeneIndexError, ResolveError
from genetext.names import snapshots
from genetext.names.columns import strings
from genetext.names.lookup import Lookup
from genetext.names.tables import Tables
from genetext.species import Species
from genetext.text.snapshot import SCHEMAS


class IndexNames:
    """The names of an index's genes.

    Parameters
    ----------
    genes
        One row per gene of the index.
    species
        Whose genes these are.
    built_from
        Digest of the snapshot that the index was built from.
    path
        Of the index, for messages.
    root
        The cache root.
    """

    def __init__(
        self, genes: pd.DataFrame, species: Species, built_from: str | None, *, path: Path, root: Path | None
    ) -> None:
        self._genes, self._species, self._built_from, self._path, self._root = genes, species, built_from, path, root

    def find(self, gene: str | int) -> tuple[int | None, str]:
        """Return the position of a gene in the table, or None and why there is none."""
        refusal = ""
        if isinstance(gene, int | np.integer) and not isinstance(gene, bool):
            gene_id = int(gene)
        else:
            name = gene.strip() if isinstance(gene, str) else strings([gene])[0]
            gene_ids, refusals = self._lookup.find([name])
            gene_id, refusal = gene_ids.get(name, -1), refusals.get(name, "")
        position = self._position_of_id.get(gene_id)
        if position is None and not refusal:
            refusal = f"GeneID {gene_id} was left out when the index was built, or is of another species"
        return position, refusal

    def position(self, gene: str | int) -> int:
        """Return the position of a gene in the table.

        Raises
        ------
        GeneIndexError
            The name is that of no gene or of several, or the index was built without the gene.
        """
        position, refusal = self.find(gene)
        if position is None:
            near = self._lookup.nearest(str(gene))
            hint = f" (written nearly so: {', '.join(near)})" if near else ""
            raise GeneIndexError(f"{gene} names no gene of {self._path}: {refusal}{hint}")
        return position

    def ids_of(self, name: str) -> NDArray[np.int64]:
        """Return the GeneIDs that a name may mean, `(n,) int64`: of one gene, of several that share it, or of none."""
        return self._lookup.tables.gene_ids[list(self._lookup.read(name).places)]

    @cached_property
    def _lookup(self) -> Lookup:
        """What names mean: by the snapshot that the index was built from, else the newest one, else its own genes."""
        species = self._species
        try:
            built_from = snapshots.with_digest(self._built_from, species, root=self._root)
            tables = Tables.of(built_from or snapshots.default(species, root=self._root))
        except ResolveError:
            n, genes = len(self._genes), self._genes
            columns: dict[str, Any] = {
                "gene_id": genes["gene_id"],
                "id_tax_id": genes.get("id_tax_id", [species.tax_id] * n),
                "symbol": genes["symbol"],
                "synonyms": list(map(list, genes.get("synonyms", [[]] * n))),
                "previous": [[]] * n,
                "ensembl_ids": [[name] if name else [] for name in genes.get("ensembl_id", [""] * n)],
                "gene_type": genes.get("gene_type", [""] * n),
            }
            schema = pa.schema([SCHEMAS["genes"].field(name) for name in columns])
            tables = Tables.build(species, "", pa.table(columns, schema=schema), SCHEMAS["history"].empty_table())
        return Lookup(tables, partial(snapshots.glances, root=self._root))

    @cached_property
    def _position_of_id(self) -> dict[int, int]:
        return {int(gene_id): position for position, gene_id in enumerate(self._genes["gene_id"])}
