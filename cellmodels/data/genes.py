"""The genes that a model was fitted on, and where they are in other data."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.errors import GenesMissing, ModelError, ResolveError, first_ten
from genetext.features import not_genes

log = logging.getLogger("genetext")
_PLAUSIBLE = 0.8

if TYPE_CHECKING:
    from genetext.names import MatchReport
    from genetext.priors import GenePriors


@dataclass(frozen=True, eq=False)
class Coverage:
    """Where the genes of a model are in some data.

    Attributes
    ----------
    columns
        `(n_genes,) int64`: position in `var`, -1 where a gene is absent.
    names
        `(n_genes,) object`: the genes as the model calls them.
    by
        What they were compared by: `var_names`, or `NCBI GeneID` of the names of another column or species.
    report
        What became of the names of the data, where they were resolved; None where `var_names` sufficed.
    """

    columns: NDArray[np.int64]
    names: NDArray[np.object_]
    by: str
    report: "MatchReport | None" = None

    @property
    def share(self) -> float:
        """Share of the model's genes that the data have."""
        return float((self.columns >= 0).mean()) if len(self.columns) else 1.0

    @property
    def missing(self) -> list[str]:
        """Genes of the model that the data lack."""
        return [str(name) for name in self.names[self.columns < 0]]

    def __str__(self) -> str:
        n_present = int((self.columns >= 0).sum())
        message = f"{n_present:,} of the model's {len(self.columns):,} genes found by {self.by}"
        if self.missing:
            message += f"; absent: {first_ten(self.missing)}"
        return message if self.report is None else f"{message}\n{self.report}"


@dataclass(frozen=True, eq=False)
class Genes:
    """The genes of a model, in its order.

    Attributes
    ----------
    names
        `(n_genes,) object`: as the data that it was fitted on call them (`var_names`).
    gene_ids
        `(n_genes,) int64`: NCBI GeneIDs, 0 where a name was not resolved or nobody tried.
    species
        Whose GeneIDs they are; empty where there are none.
    """

    names: NDArray[np.object_]
    gene_ids: NDArray[np.int64]
    species: str = ""

    @classmethod
    def of(cls, adata: Any, columns: NDArray[np.int64], priors: "GenePriors | None" = None) -> "Genes":
        """Note the genes in some columns of `var`; with aligned priors, their GeneIDs too.

        Raises
        ------
        ModelError
            A name stands twice among them: the model could not find them again.
        """
        names = np.asarray(adata.var_names, dtype=object)[columns]
        twice = pd.Index(names)[pd.Index(names).duplicated()].unique()
        if len(twice):
            raise ModelError(
                f"{len(twice):,} names stand more than once in var_names ({first_ten([str(n) for n in twice])}): call "
                f"adata.var_names_make_unique() first"
            )
        ids = np.zeros(len(columns), np.int64) if priors is None else priors.gene_ids[columns]
        return cls(names, ids.astype(np.int64), priors.species if priors is not None and ids.any() else "")

    def __len__(self) -> int:
        return len(self.names)

    def find(self, adata: Any, *, min_covered: float = 1.0, root: Path | None = None) -> Coverage:
        """Find these genes in other data: by `var_names`, else by GeneID, also through one-to-one orthologs.

        Parameters
        ----------
        adata
            The data.
        min_covered
            Smallest share of the model's genes that the data must have.
        root
            The cache root, whose snapshots resolve names.

        Raises
        ------
        GenesMissing
            Fewer genes are there than `min_covered`; the message holds the report, `report` the `Coverage`.
        """
        if not 0 < min_covered <= 1:
            raise ModelError(f"min_covered is {min_covered}: give a share of the model's genes, above 0 and at most 1")
        usable = np.flatnonzero(~not_genes(adata.var))  # an antibody of the same name is not the gene
        index = pd.Index(adata.var_names)[usable]
        place = pd.Series(usable, index=index)[~index.duplicated(keep=False)]
        columns = place.reindex(self.names).fillna(-1).to_numpy(np.int64)
        coverage = Coverage(columns, self.names, "var_names")
        if coverage.share < 1 and self.gene_ids.any():
            other = self._by_id(adata, columns, root)
            coverage = coverage if other is None or other.share <= coverage.share else other
        if coverage.share < min_covered:
            floor = np.floor(coverage.share * 100) / 100
            # With fewer, the cells would be embedded by what they lack.
            zeros = f", or accept zeros in their place (--min-covered {floor:g})" if floor >= _PLAUSIBLE else ""
            raise GenesMissing(
                f"{coverage}\nthe data lack {len(coverage.missing):,} of the {len(self):,} genes that the model was "
                f"fitted on: give data that have them{zeros}",
                report=coverage,
            )
        if coverage.share < _PLAUSIBLE:
            log.warning(
                "%d of the model's %d genes are not in the data and count as not expressed: cells lie where that puts "
                "them, and labels may mean nothing",
                len(coverage.missing),
                len(self),
            )
        return coverage

    def _by_id(self, adata: Any, columns: NDArray[np.int64], root: Path | None) -> Coverage | None:
        from genetext.names.matching import match

        try:
            report = match(adata, to=self.species or None, root=root)
        except ResolveError:
            return None
        # Of several names of one gene the surest counts, as everywhere.
        surest = {gene: rows[0] for gene, rows in report.shared_rows.items()}
        by_id = np.array([surest.get(gene, -1) for gene in self.gene_ids.tolist()], np.int64)
        return Coverage(np.where(columns >= 0, columns, by_id), self.names, "NCBI GeneID", report)
