"""Genes of one species as genes of another."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from genetext.errors import ResolveError
from genetext.names import snapshots
from genetext.species import HUMAN, Species
from genetext.text.snapshot import Snapshot

Gene = tuple[int, str]


@dataclass(frozen=True)
class Orthologs:
    """Orthologs of the genes of a species.

    Attributes
    ----------
    single
        For each gene with a one-to-one ortholog: GeneID and symbol of that.
    several
        For each other gene with orthologs: all of them.
    """

    single: Mapping[int, Gene]
    several: Mapping[int, tuple[Gene, ...]]

    @classmethod
    def of(
        cls, snapshot: Snapshot, to: Species, *, target: Snapshot | None = None, root: Path | None = None
    ) -> "Orthologs":
        """Read the orthologs from the species of a snapshot to another species.

        Parameters
        ----------
        snapshot
            Of the species that the genes are of.
        to
            Human; or any species with a snapshot, where `snapshot` is human.
        target
            The snapshot of `to`. Default: the newest one, else the facts.
        root
            The cache root. Default: `disk.cache_dir()`.

        Raises
        ------
        ResolveError
            There are none from the one to the other.
        """
        columns = ["gene_id", "human_gene_id", "human_symbol", "one_to_one"]
        if to.tax_id == HUMAN.tax_id:
            pairs = snapshot.frame("orthologs", columns=columns)
            genes, others, symbols = pairs["gene_id"], pairs["human_gene_id"], pairs["human_symbol"]
        elif snapshot.species.tax_id == HUMAN.tax_id:
            target = target or snapshots.default(to, root=root)
            pairs = target.frame("orthologs", columns=columns)
            genes, others = pairs["human_gene_id"], pairs["gene_id"]
            symbols = others.map(target.genes.set_index("gene_id")["symbol"])
        else:
            raise ResolveError(
                f"there are no orthologs from {snapshot.species.name} to {to.name}: NCBI relates each species to human "
                f"only"
            )
        if not len(pairs):
            raise ResolveError(
                f"the snapshot holds no orthologs between {snapshot.species.name} and {to.name}: fetch the species "
                f"from NCBI with gene_orthologs.gz"
            )
        single: dict[int, Gene] = {}
        several: dict[int, tuple[Gene, ...]] = {}
        columns_of_pairs = (column.tolist() for column in (genes, others, symbols, pairs["one_to_one"]))
        for gene, other, symbol, is_single in zip(*columns_of_pairs, strict=True):
            if is_single:
                single[gene] = (other, symbol)
            else:
                several[gene] = (*several.get(gene, ()), (other, symbol))
        return cls(single, several)
