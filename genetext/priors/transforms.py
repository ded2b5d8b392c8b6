"""What can be done to priors: post-processing of the vectors, and the controls that stand in for them."""

import hashlib
from typing import TypeVar

import numpy as np

from genetext.encoders import postprocess
from genetext.errors import PriorsError
from genetext.names.report import NO_GENE
from genetext.priors.base import Priors

P = TypeVar("P", bound=Priors)


def apply(priors: P, chain: str) -> P:
    """Fit `chain` to the distinct genes that have a vector, and apply it to them; see `GenePriors.transform`."""
    if not priors.dim:
        # A model that runs with a prior and without must be able to say `priors.center()` in both cases.
        return priors.changed(steps=(*priors.steps, chain))
    rows, back = priors.distinct
    if not len(rows):
        raise PriorsError(f"{chain}: none of {len(priors):,} genes has a vector in {priors.source}: nothing to fit")
    known = np.ascontiguousarray(priors.vectors[rows])
    done = postprocess.parse(chain).fit(known).apply(known)
    return priors.with_vectors(done[back], chain)


def permuted(priors: P, seed: int) -> P:
    """Deal the vectors out anew among the distinct genes; see `GenePriors.permuted`."""
    rows, back = priors.distinct
    order = np.random.Generator(np.random.PCG64(_seed(seed))).permutation(len(rows))
    name = f"permuted(seed={seed})"
    return priors.with_vectors(priors.vectors[rows[order]][back], name, control=name)


def random(priors: P, seed: int) -> P:
    """Give every gene a Gaussian direction and the norm of its vector; see `GenePriors.random`."""
    _seed(seed)
    rows, back = priors.distinct
    drawn = np.empty((len(rows), priors.dim), np.float32)
    for position, row in enumerate(rows):
        direction = _generator(seed, int(priors.gene_ids[row]), str(priors.names[row])).standard_normal(priors.dim)
        norm = np.linalg.norm(priors.vectors[row].astype(np.float64))
        drawn[position] = direction * (norm / max(float(np.linalg.norm(direction)), np.finfo(float).tiny))
    name = f"random(seed={seed})"
    return priors.with_vectors(drawn[back], name, control=name)


def _seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise PriorsError(f"seed={seed!r}: a seed is a whole number, 0 or greater")
    return int(seed)


def _generator(seed: int, gene_id: int, name: str) -> np.random.Generator:
    """Return the generator of one gene: the same for a seed and a gene, on any platform."""
    named = gene_id if gene_id != NO_GENE else int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, named])))
