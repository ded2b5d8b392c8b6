"""GenePriors: one vector per gene of somebody's data, and all that can be done with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from genetext.index import GeneIndex
from genetext.names.options import NameKeywords, NameOptions
from genetext.priors import align as alignment
from genetext.priors import anndata, files, geometry, transforms
from genetext.priors.base import Missing, Priors
from genetext.species import Species
from genetext.text.snapshot import Snapshot

if TYPE_CHECKING:
    import torch


class TorchPriors(NamedTuple):
    """Vectors `(n, dim) float32` and mask `(n,) bool` as torch tensors."""

    vectors: "torch.Tensor"
    mask: "torch.Tensor"


class GenePriors(Priors):
    """Vectors of genes, in the order of somebody's `var`.

    As opened, the genes are those of the index; `align` puts them into the order of a data set. Every method that
    changes something returns new priors and notes in `steps` what it did. Nothing is ever filled in silently: a gene
    without a vector is False in `mask`, whatever stands in its row. No array is shared with what the priors were made
    of, but for the vectors of an index, which are read-only.

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
        `(n,) object`: how a name was matched to its vector (`gene_id`, `symbol`, `ensembl`, `previous`, `synonym`,
        `ortholog`; `name` for the same letters as in somebody's own vectors), or why it has none (`ambiguous`,
        `unknown`, `no text`; `second name` for a name of somebody's own vectors whose gene another one names more
        surely).
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
        What became of each name in `align`; None before.
    var_names
        The `var_names` of the AnnData aligned to, where they are not the `names` used.

    Examples
    --------
    >>> priors = GenePriors.open("human/minilm").align(adata)  # doctest: +SKIP
    >>> priors.center().pca(64).unit().to_anndata(adata)  # doctest: +SKIP
    """

    # -- where they come from ---------------------------------------------------------------------------------------

    @classmethod
    def open(cls, index: str | Path | GeneIndex, *, root: Path | None = None) -> Self:
        """Take all vectors of an index.

        Parameters
        ----------
        index
            `human/minilm`, `human` where it has one index only, a folder, or an opened `GeneIndex`.
        root
            The cache root.
        """
        opened = index if isinstance(index, GeneIndex) else GeneIndex.open(index, root=root)
        ids = opened.gene_ids
        genes = opened.genes[opened.genes["row"] >= 0].sort_values("row")
        return cls(
            names=genes["symbol"].to_numpy(dtype=object).copy(),
            vectors=opened.matrix,
            mask=np.ones(len(ids), bool),
            gene_ids=ids.copy(),
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
        species: str | int | Species | None = None,
        source: str = "arrays",
        snapshot: Snapshot | None = None,
    ) -> Self:
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
        return cls(**alignment.own_vectors(names, vectors, species=species, source=source, snapshot=snapshot))

    def align(
        self,
        data: Any,
        *,
        missing: Missing = "mask",
        orthologs: bool = True,
        species: str | int | Species | None = None,
        **options: Unpack[NameKeywords],
    ) -> Self:
        """Put the vectors into the order of somebody's genes.

        Parameters
        ----------
        data
            An AnnData, its `var` frame, or a sequence of names.
        missing
            What stands in the row of a gene without a vector: `mask` and `zero` zeros, `mean` the mean of the genes
            that have one, `error` raises. The mask is False for such genes in every case.
        orthologs
            Whether genes of another species take the vectors of their one-to-one orthologs (`ortholog` in `status`).
        species, options
            `column`, `made_unique`, `r_names`, `min_match`, `snapshot` and `root`: as in `NameOptions`, but what counts
            is that a name has a vector. Names of the index's species are resolved by the snapshot that the index was
            built from, if it is still there.

        Returns
        -------
        GenePriors
            `vectors (n_vars, dim) float32` in the order of `data`, with `mask` and `report`.

        Raises
        ------
        PriorsError
            `missing="error"` and a gene has no vector, or no gene at all has one.
        TooFewMatched
            Fewer genes than `min_match` have a vector; the message holds the report.
        ResolveError
            `data` has no names of genes.
        """
        return alignment.align(
            self, data, NameOptions(species=species, **options), missing=missing, orthologs=orthologs
        )

    # -- transforms -------------------------------------------------------------------------------------------------

    def transform(self, chain: str) -> Self:
        """Fit a chain of post-processing to the genes that have a vector, and apply it to them.

        Parameters
        ----------
        chain
            As in `genetext.encoders.postprocess`: `"center,abtt:3,whiten,pca:64,unit"`, or some of these.
        """
        return transforms.apply(self, chain)

    def center(self) -> Self:
        """Take the mean of the genes away, which text encoders give to every text alike."""
        return self.transform("center")

    def whiten(self) -> Self:
        """Centre, and give every direction the same variance."""
        return self.transform("whiten")

    def pca(self, dim: int) -> Self:
        """Centre, and keep the `dim` directions of greatest variance."""
        return self.transform(f"pca:{dim}")

    def unit(self) -> Self:
        """Scale every vector to unit length."""
        return self.transform("unit")

    # -- controls ---------------------------------------------------------------------------------------------------

    def permuted(self, seed: int = 0) -> Self:
        """Control: the same vectors, dealt out anew among the genes that have one.

        It keeps everything about the vectors but whose they are. The permutation is over the genes here: to give two
        data sets the same one, permute before aligning.
        """
        return transforms.permuted(self, seed)

    def random(self, seed: int = 0) -> Self:
        """Control: Gaussian directions, each gene keeping the norm of its vector.

        A gene's direction depends on the seed and the gene alone, and is the same in every data set.
        """
        return transforms.random(self, seed)

    def without(self) -> Self:
        """Control: no prior. Vectors of dimension 0, and no gene has one; models take it as "learn from data alone"."""
        return self.changed(
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
        return geometry.gene_graph(self, k, mode=mode)

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
        return geometry.kernel(self, kind, scale=scale)

    def participation_ratio(self) -> float:
        """Return the effective number of dimensions that the genes fill, `(sum l)^2 / sum l^2` of the variances `l`.

        Between 1 (all genes on a line) and `dim`. A few of hundreds of dimensions is the sign of an encoder whose
        vectors want centring or whitening.
        """
        return geometry.participation_ratio(self)

    # -- out of here ------------------------------------------------------------------------------------------------

    def to_torch(self, *, device: Any = None) -> TorchPriors:
        """Return copies of vectors and mask as torch tensors."""
        import torch

        return TorchPriors(
            torch.tensor(self.vectors, dtype=torch.float32, device=device),
            torch.tensor(self.mask, dtype=torch.bool, device=device),
        )

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
        return anndata.write(self, adata, key_added=key_added, copy=copy)

    @classmethod
    def from_anndata(cls, adata: Any, *, key: str = "genetext") -> Self:
        """Read what `to_anndata` wrote, from memory or after a file."""
        return cls(**anndata.read(adata, key=key))

    def save(self, path: str | Path) -> list[Path]:
        """Write the priors to a file: `.safetensors` (with a `.json` beside it) or `.parquet`, by its name."""
        return files.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote."""
        return cls(**files.load(Path(path)))
