"""What is compared: vectors of genes, by the name of an index, a file of priors, or several of these joined.

human/minilm                              the vectors of an index
human/minilm@center,abtt:3                post-processed, then scaled to unit length
human/minilm++human/lexical*0.5           joined blocks, the second with half the weight in a distance
esm2.parquet                              vectors that `GenePriors.save` wrote
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genetext import disk
from genetext.errors import BenchError
from genetext.priors import GenePriors
from genetext.priors.base import fingerprint_of
from genetext.vectors import unit_rows

JOIN, POST, WEIGHT = "++", "@", "*"
_FILES = (".parquet", ".safetensors")


@dataclass(frozen=True, eq=False)
class Method:
    """One row of a table.

    Attributes
    ----------
    name
        As the table shows it. Methods of one name are draws of one control, which are averaged.
    priors
        The vectors; genes without one are False in `priors.mask`.
    fingerprint
        The sha256 that stands for the vectors, and how they were drawn.
    control
        Whether it is a control.
    note
        What a reader of the table should know.
    """

    name: str
    priors: GenePriors
    fingerprint: str
    control: bool = False
    note: str = ""

    @property
    def gene_ids(self) -> NDArray[np.int64]:
        """Genes that have a vector: `(n,) int64`."""
        return self.priors.gene_ids[self.priors.mask]

    def rows(self) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
        """Return a function from GeneIDs of any shape to vectors `(*shape, dim)`; a gene without one gets their mean.

        Where genes without a vector are left out of every method, nobody asks it for one.
        """
        known = self.priors.vectors[self.priors.mask]
        place = {gene: row for row, gene in enumerate(self.gene_ids.tolist())}
        mean = known.mean(axis=0, dtype=np.float64).astype(np.float32)

        def of(gene_ids: NDArray[np.int64]) -> NDArray[np.float32]:
            at = np.array([place.get(gene, -1) for gene in gene_ids.ravel().tolist()], np.int64).reshape(gene_ids.shape)
            vectors: NDArray[np.float32] = known[at]
            vectors[at < 0] = mean
            return vectors

        return of


@dataclass(frozen=True)
class Block:
    """A part of a method's name: an index or file, post-processing, and a weight."""

    source: str
    post: str = ""
    weight: float = 1.0


def parse(name: str) -> list[Block]:
    """Read a method's name.

    Raises
    ------
    BenchError
        A part is empty, or a weight is no positive number.
    EncoderError
        The post-processing is not known.
    """
    from genetext.encoders import postprocess

    blocks = []
    for part in name.split(JOIN):
        body, star, weight = part.rpartition(WEIGHT) if WEIGHT in part else (part, "", "1")
        source, _, post = body.partition(POST)
        try:
            number = float(weight)
        except ValueError:
            number = math.nan
        if not source.strip() or (star and not (math.isfinite(number) and number > 0)):
            raise BenchError(
                f"cannot read the method {name!r}: it is INDEX[@POST][*WEIGHT], several joined with {JOIN}: "
                f"human/minilm@abtt:3{JOIN}human/lexical*0.5"
            )
        postprocess.parse(post)
        blocks.append(Block(source.strip(), post.strip(), number))
    return blocks


def open_method(name: str, *, root: Path) -> Method:
    """Load the vectors that a name stands for.

    Raises
    ------
    GeneIndexError, PriorsError
        An index or file is absent or damaged.
    BenchError
        The blocks are of different species, or a file says of no gene which one it is.
    """
    blocks = parse(name)
    opened = [_source(block.source, root=root) for block in blocks]
    if len(species := {priors.species for priors in opened}) > 1:
        raise BenchError(
            f"{name}: the blocks are of {' and '.join(sorted(map(repr, species)))}, which cannot be joined"
        )
    if len(blocks) == 1 and not blocks[0].post:
        return Method(name, opened[0], opened[0].fingerprint)
    shaped = [
        (priors.transform(block.post) if block.post else priors, block.weight)
        for priors, block in zip(opened, blocks, strict=True)
    ]
    fingerprint = disk.sha256_json(
        [[priors.fingerprint, block.post, block.weight] for priors, block in zip(opened, blocks, strict=True)]
    )
    return Method(name, _joined(name, shaped, fingerprint), fingerprint)


def _source(source: str, *, root: Path) -> GenePriors:
    if not source.endswith(_FILES):
        return GenePriors.open(source, root=root)
    priors = GenePriors.load(source)
    named = priors.mask & (priors.gene_ids != 0)
    if not named.any():
        raise BenchError(f"{source} does not say which gene is which: make it with GenePriors.from_arrays(species=...)")
    rows = priors.distinct[0]
    taken = priors.take(rows[priors.gene_ids[rows] != 0])
    # A file may hold some genes of an index, or vectors that were changed since: what is in it counts.
    return replace(taken, fingerprint=fingerprint_of(taken.gene_ids.astype(str).tolist(), taken.vectors))


def _joined(name: str, parts: Sequence[tuple[GenePriors, float]], fingerprint: str) -> GenePriors:
    """Join blocks of unit length, scaled by the root of their weights; a gene that one lacks has zeros there."""
    first = parts[0][0]
    gene_ids = np.unique(np.concatenate([priors.gene_ids[priors.mask] for priors, _ in parts]))
    blocks = []
    for priors, weight in parts:
        block = np.zeros((len(gene_ids), priors.dim), np.float32)
        block[np.searchsorted(gene_ids, priors.gene_ids[priors.mask])] = unit_rows(priors.vectors[priors.mask])
        blocks.append(block * np.float32(math.sqrt(weight)))
    return replace(
        of_arrays(name, gene_ids, unit_rows(np.concatenate(blocks, axis=1)), fingerprint), manifest=first.manifest
    )


def of_arrays(
    name: str, gene_ids: NDArray[np.int64], vectors: NDArray[np.float32], fingerprint: str, *, zeros: bool = False
) -> GenePriors:
    """Make priors of vectors whose genes are known; rows of zeros have none, unless `zeros` are vectors too."""
    known: NDArray[np.bool_] = np.logical_or(np.any(vectors != 0, axis=1), zeros)
    return GenePriors(
        names=gene_ids.astype(str).astype(object),
        vectors=vectors,
        mask=known,
        gene_ids=gene_ids,
        status=np.where(known, "gene_id", "no text").astype(object),
        source=name,
        fingerprint=fingerprint,
    )
