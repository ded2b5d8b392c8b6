"""GenePriors: one vector per gene of somebody's data, a mask of those that have none, and what was done so far."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.errors import PriorsError, first_ten

if TYPE_CHECKING:
    import torch

    from genetext.index import GeneIndex
    from genetext.priors.align import AlignmentReport
    from genetext.species import Species
    from genetext.text.snapshot import Snapshot

Missing = Literal["mask", "error", "mean", "zero"]
NO_GENE = 0
"""In `gene_ids`: the name was not resolved, or nobody tried."""


class TorchPriors(NamedTuple):
    """Vectors `(n, dim) float32` and mask `(n,) bool` as torch tensors."""

    vectors: "torch.Tensor"
    mask: "torch.Tensor"


@dataclass(frozen=True, eq=False)
class GenePriors:
    """Vectors of genes, in the order of somebody's `var`.

    As opened, the genes are those of the index; `align` puts them into the order of a data set. Every method that
    changes something returns new priors and notes in `steps` what it did. Nothing is ever filled in silently: a gene
    without a vector is False in `mask`, whatever stands in its row.

    Attributes
    ----------
    names
        `(n,) object`: the genes as their owner calls them.
    vectors
        `(n, dim) float32`; `dim` is 0 for `without()`.
    mask
        `(n,) bool`: which genes have a vector.
    gene_ids
        `(n,) int64`: NCBI GeneIDs as the index has them, 0 where a name was not resolved.
    status
        `(n,) object`: how a name found its vector (`gene_id`, `symbol`, `ensembl`, `previous`, `synonym`, `ortholog`;
        `name` for an exact match with somebody's own vectors), or why it has none (`ambiguous`, `unknown`, `no text`;
        `second name` for a name of somebody's own vectors whose gene another one names more surely).
    source
        What the vectors are, in a word: the name of the index.
    fingerprint
        The sha256 of the index, or of the names and vectors given.
    manifest
        The manifest of the index, JSON values.
    steps
        What was done since, in order.
    control
        Empty for a prior; else which control this is: `permuted(seed=0)`, `random(seed=0)`, `without`.
    missing
        What stands in the rows of genes without a vector: zeros (`mask`, `zero`) or the mean of the others (`mean`).
    report
        What `align` found; None before.
    var_names
        The `var_names` of the AnnData aligned to, where they are not the `names` used.

    Examples
    --------
    >>> priors = GenePriors.open("human/minilm").align(adata)  # doctest: +SKIP
    >>> priors.center().pca(64).unit().to_anndata(adata)  # doctest: +SKIP
    """

    names: NDArray[np.object_]
    vectors: NDArray[np.float32]
    mask: NDArray[np.bool_]
    gene_ids: NDArray[np.int64]
    status: NDArray[np.object_]
    source: str
    fingerprint: str
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    steps: tuple[str, ...] = ()
    control: str = ""
    missing: str = "mask"
    report: "AlignmentReport | None" = field(default=None, repr=False)
    var_names: NDArray[np.object_] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        n = len(self.names)
        shapes = {"mask": self.mask.shape, "gene_ids": self.gene_ids.shape, "status": self.status.shape}
        if self.vectors.ndim != 2 or self.vectors.shape[0] != n or any(shape != (n,) for shape in shapes.values()):
            raise PriorsError(f"{n:,} names need as many rows: vectors are {self.vectors.shape}, {shapes}")

    # -- where they come from ---------------------------------------------------------------------------------------

    @classmethod
    def open(cls, index: "str | Path | GeneIndex", *, root: Path | None = None) -> "GenePriors":
        """Take all vectors of an index.

        Parameters
        ----------
        index
            `human/minilm`, `human` where it has one index only, a folder, or an opened `GeneIndex`.
        root
            The cache root.
        """
        from genetext.index import GeneIndex

        opened = index if isinstance(index, GeneIndex) else GeneIndex.open(index, root=root)
        ids = opened.gene_ids
        genes = opened.genes[opened.genes["row"] >= 0].sort_values("row")
        return cls(
            names=genes["symbol"].to_numpy(dtype=object),
            vectors=opened.matrix,
            mask=np.ones(len(ids), bool),
            gene_ids=ids,
            status=np.full(len(ids), "gene_id", object),
            source=f"{opened.path.parent.name}/{opened.path.name}",
            fingerprint=opened.fingerprint,
            manifest=opened.manifest.to_json(),
        )

    @classmethod
    def from_arrays(
        cls,
        names: Sequence[str],
        vectors: NDArray[Any],
        *,
        species: "str | int | Species | None" = None,
        source: str = "arrays",
        snapshot: "Snapshot | None" = None,
    ) -> "GenePriors":
        """Take anybody's own vectors (of a protein model, a graph, another index).

        Parameters
        ----------
        names
            Gene names, each once.
        vectors
            `(len(names), dim)`, finite.
        species
            Whose genes they are. Then names are resolved to GeneIDs, and data with other names for the same genes,
            or of another species, can be aligned; of two names of one gene the surer one counts, and the other is
            masked with status `second name`. Default: names are matched letter by letter.
        source
            What to call the vectors in reports.
        snapshot
            Resolve by this snapshot. Default: the newest one of the species.

        Raises
        ------
        PriorsError
            The shapes do not fit, a name stands twice, or a value is not finite.
        """
        from genetext.priors import align

        return align.from_arrays(names, vectors, species=species, source=source, snapshot=snapshot)

    def align(
        self,
        data: Any,
        *,
        missing: Missing = "mask",
        orthologs: bool = True,
        made_unique: bool = False,
        r_names: bool = False,
        species: "str | int | Species | None" = None,
        column: str | None = None,
        min_match: float | None = None,
        snapshot: "Snapshot | None" = None,
        root: Path | None = None,
    ) -> "GenePriors":
        """Put the vectors into the order of somebody's genes.

        Parameters
        ----------
        data
            An AnnData, its `var` frame, or a sequence of names.
        missing
            What stands in the row of a gene without a vector: `mask` and `zero` zeros, `mean` the mean of the genes
            found, `error` raises. The mask is False for such genes in every case.
        orthologs
            Whether genes of another species take the vectors of their one-to-one orthologs (`ortholog` in `status`).
        made_unique
            Whether `GENE-1`, as AnnData writes a name that stands twice, counts as `GENE`. Default: it is unknown.
        r_names
            Whether `HLA.A`, as R's `make.names` leaves it, counts as `HLA-A`. Default: it is unknown.
        species
            Species of `data`. Default: guessed from the names, and said in the report.
        column
            Look for names only here: a column of `var`, or `"var_names"`. Default: where most genes are found.
        min_match
            Smallest share of genes that must get a vector, 0 to 1.
        snapshot
            Resolve names by this snapshot of the data's species. Default: the snapshot that the index was built from
            if it is still there, else the newest one.
        root
            The cache root.

        Returns
        -------
        GenePriors
            `vectors (n_vars, dim) float32` in the order of `data`, with `mask` and `report`.

        Raises
        ------
        PriorsError
            `missing="error"` and a gene has no vector, or no gene at all was found.
        TooFewMatched
            Fewer genes than `min_match` got a vector; the message holds the report.
        ResolveError
            `data` has no names of genes.
        """
        from genetext.priors import align

        return align.align(
            self,
            data,
            missing=missing,
            orthologs=orthologs,
            made_unique=made_unique,
            r_names=r_names,
            species=species,
            column=column,
            min_match=min_match,
            snapshot=snapshot,
            root=root,
        )

    # -- what they are ----------------------------------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """Length of a vector; 0 for `without()`."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_matched(self) -> int:
        """How many genes have a vector."""
        return int(self.mask.sum())

    @property
    def species(self) -> str:
        """Name of the species whose GeneIDs `gene_ids` are; empty where nobody said."""
        recorded = self.manifest.get("species")
        return str(recorded["name"]) if recorded else ""

    @property
    def owner_names(self) -> NDArray[np.object_]:
        """`(n,) object`: what the AnnData aligned to calls its genes, by which it is known again."""
        return self.names if self.var_names is None else self.var_names

    @property
    def description(self) -> str:
        """What these vectors are, for tables of results: the source, every step, and which control."""
        return " | ".join((self.source, *self.steps))

    def __repr__(self) -> str:
        return f"GenePriors({self.n_matched:,} of {len(self):,} genes x {self.dim}, {self.description})"

    def take(self, which: Any) -> "GenePriors":
        """Return the priors of some genes: positions, a slice, or a mask over the genes (`adata.var.highly_variable`).

        The report stays that of the whole alignment.
        """
        rows = np.arange(len(self))[np.asarray(which) if not isinstance(which, slice) else which]
        return replace(
            self,
            names=self.names[rows],
            vectors=self.vectors[rows],
            mask=self.mask[rows],
            gene_ids=self.gene_ids[rows],
            status=self.status[rows],
            var_names=None if self.var_names is None else self.var_names[rows],
        )

    @cached_property
    def keys(self) -> NDArray[np.str_]:
        """`(n,) str`: what makes two rows the same gene, the GeneID, or the name where there is none."""
        return np.array([f"#{i}" if i else name for i, name in zip(self.gene_ids, self.names, strict=True)], dtype=str)

    @cached_property
    def distinct(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Genes with a vector, each once, in the order of their keys.

        What is fitted or drawn over these does not depend on the order of `var`, nor on names that stand twice.

        Returns
        -------
        rows
            `(n_distinct,)`: a row of each gene.
        back
            `(n_matched,)`: for each row of the mask, which of the distinct genes it is.
        """
        known = np.flatnonzero(self.mask)
        _, first, back = np.unique(self.keys[known], return_index=True, return_inverse=True)
        return known[first], back.reshape(-1)

    # -- transforms -------------------------------------------------------------------------------------------------

    def transform(self, chain: str) -> "GenePriors":
        """Fit a chain of post-processing to the genes that have a vector, and apply it to them.

        Parameters
        ----------
        chain
            As in `genetext.encoders.postprocess`: `"center,abtt:3,whiten,pca:64,unit"`, or some of these.
        """
        from genetext.priors import transforms

        return transforms.apply(self, chain)

    def center(self) -> "GenePriors":
        """Take the mean of the genes away, which text encoders give to every text alike."""
        return self.transform("center")

    def whiten(self) -> "GenePriors":
        """Centre, and give every direction the same variance."""
        return self.transform("whiten")

    def pca(self, dim: int) -> "GenePriors":
        """Centre, and keep the `dim` directions of greatest variance."""
        return self.transform(f"pca:{dim}")

    def unit(self) -> "GenePriors":
        """Scale every vector to unit length."""
        return self.transform("unit")

    # -- controls ---------------------------------------------------------------------------------------------------

    def permuted(self, seed: int = 0) -> "GenePriors":
        """Control: the same vectors, dealt out anew among the genes that have one.

        It keeps everything about the vectors but whose they are. The permutation is over the genes here: to give two
        data sets the same one, permute before aligning.
        """
        from genetext.priors import transforms

        return transforms.permuted(self, seed)

    def random(self, seed: int = 0) -> "GenePriors":
        """Control: Gaussian directions, each gene keeping the norm of its vector.

        A gene's direction depends on the seed and the gene alone, and is the same in every data set.
        """
        from genetext.priors import transforms

        return transforms.random(self, seed)

    def without(self) -> "GenePriors":
        """Control: no prior. Vectors of dimension 0, and no gene has one; models take it as "learn from data alone"."""
        return replace(
            self,
            vectors=np.zeros((len(self), 0), np.float32),
            mask=np.zeros(len(self), bool),
            steps=(*self.steps, "without"),
            control="without",
        )

    # -- geometry ---------------------------------------------------------------------------------------------------

    def gene_graph(self, k: int = 10, *, mode: Literal["union", "mutual", "directed"] = "union") -> Any:
        """Link each gene to its `k` nearest by cosine; genes without a vector have no links.

        Parameters
        ----------
        k
            Neighbours per gene. A gene in several rows is one gene: all its rows have the same links, to all rows of
            a neighbour, and none to each other.
        mode
            `directed`: row i holds the neighbours of gene i. `union`: linked if either is a neighbour of the other.
            `mutual`: if both are.

        Returns
        -------
        scipy.sparse.csr_matrix
            `(n, n) float32`, the cosines; links with a cosine of 0 or less are left out.
        """
        from genetext.priors import graph

        return graph.gene_graph(self, k, mode=mode)

    def kernel(self, kind: Literal["cosine", "linear", "rbf"] = "cosine", *, scale: float | None = None) -> Any:
        """Return the similarity of all genes to each other.

        Parameters
        ----------
        kind
            `cosine`, `linear` (inner products), or `rbf`: `exp(-d^2 / (2 scale^2))`.
        scale
            Length scale of `rbf`. Default: the median distance between genes.

        Returns
        -------
        `(n, n) float32`, symmetric and positive semi-definite. A gene without a vector is similar to itself alone (1).
        """
        from genetext.priors import graph

        return graph.kernel(self, kind, scale=scale)

    def participation_ratio(self) -> float:
        """Return the effective number of dimensions that the genes fill, `(sum l)^2 / sum l^2` of the variances `l`.

        Between 1 (all genes on a line) and `dim`. A few of hundreds of dimensions is the sign of an encoder whose
        vectors want centring or whitening.
        """
        from genetext.priors import graph

        return graph.participation_ratio(self)

    # -- out of here ------------------------------------------------------------------------------------------------

    def to_torch(self, *, device: Any = None) -> TorchPriors:
        """Return copies of vectors and mask as torch tensors."""
        import torch

        return TorchPriors(
            torch.tensor(self.vectors, dtype=torch.float32, device=device),
            torch.tensor(self.mask, dtype=torch.bool, device=device),
        )

    def to_dict(self) -> dict[str, NDArray[np.float32]]:
        """Return `{name: vector}` of the genes that have one, which scGPT-, GEARS- and scLAMBDA-like code takes."""
        return {str(self.names[row]): self.vectors[row] for row in np.flatnonzero(self.mask)}

    def to_anndata(self, adata: Any, *, key_added: str = "genetext", copy: bool = False) -> Any:
        """Write the priors into an AnnData.

        Parameters
        ----------
        adata
            The AnnData aligned to, in the same order.
        key_added
            Base of the keys: `varm[key_added]`, `var[f"{key_added}_id"]`, `var[f"{key_added}_status"]`,
            `uns[key_added]["priors"]`; `var[f"{key_added}_aligned_by"]` too if they were aligned by names that are not
            the `var_names`.
        copy
            Write into a copy and return it.

        Returns
        -------
        The copy, or None.

        Raises
        ------
        PriorsError
            The genes of `adata` are others, or in another order.
        """
        from genetext.priors import anndata

        return anndata.write(self, adata, key_added=key_added, copy=copy)

    @classmethod
    def from_anndata(cls, adata: Any, *, key: str = "genetext") -> "GenePriors":
        """Read what `to_anndata` wrote, from memory or after a file."""
        from genetext.priors import anndata

        return anndata.read(adata, key=key)

    def save(self, path: str | Path) -> list[Path]:
        """Write the priors to a file: `.safetensors` (with a `.json` beside it) or `.parquet`, by its name."""
        from genetext.priors import files

        return files.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> "GenePriors":
        """Read what `save` wrote."""
        from genetext.priors import files

        return files.load(Path(path))

    # -- inside -----------------------------------------------------------------------------------------------------

    def with_vectors(self, known: NDArray[np.float32], step: str, **changes: Any) -> "GenePriors":
        """Return priors whose genes with a vector have these, `(n_matched, dim)`; the others follow the policy."""
        vectors = np.zeros((len(self), known.shape[1]), np.float32)
        vectors[self.mask] = known
        new = replace(self, vectors=vectors, steps=(*self.steps, step), **changes)
        return new.filled()

    def filled(self) -> "GenePriors":
        """Put into the rows of genes without a vector what the policy `missing` says, in place; return self."""
        if self.missing == "mean" and self.dim and not self.mask.all() and self.mask.any():
            self.vectors[~self.mask] = self.vectors[self.distinct[0]].mean(axis=0, dtype=np.float64)
        return self


def fingerprint_of(names: Sequence[str], vectors: NDArray[np.float32]) -> str:
    """Return the sha256 that stands for names and vectors."""
    return disk.sha256_json([list(names), hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()])


def refuse_missing(priors: GenePriors, *, why: str) -> None:
    """Raise `PriorsError` where a gene has no vector; name the first ten and say how each failed."""
    lacking = np.flatnonzero(~priors.mask)
    if len(lacking):
        told = [f"{priors.names[row] or '(empty)'} ({priors.status[row]})" for row in lacking]
        raise PriorsError(
            f"{len(lacking):,} of {len(priors):,} genes have no vector in {priors.source}: {first_ten(told)}. {why}"
        )
