"""Small worlds with a planted answer: genes, vectors that know which of them belong to a term, and files of terms."""

import gzip

import numpy as np
import pandas as pd

from genetext.bench.methods import Method, of_arrays
from genetext.bench.tasks import Task
from genetext.gene_sets import HOLDOUT


def task(n=240, *, positive=0.25, folds=3, seed=0, term="planted", given=True) -> Task:
    """Return a task over genes 1..n with random members, `folds` folds and a holdout."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < positive
    splits = np.tile([*range(folds), HOLDOUT], n)[:n].astype(np.int16)
    return Task(term, np.arange(1, n + 1), labels, splits if given else None)


def signal(labels, *, strength=2.0, dim=16, seed=1):
    """Return vectors in which members of the term are shifted along one direction."""
    vectors = np.random.default_rng(seed).standard_normal((len(labels), dim)).astype(np.float32)
    vectors[labels, 0] += strength
    return vectors


def method(vectors, *, name="planted", control=False) -> Method:
    return Method(name, of_arrays(name, np.arange(1, len(vectors) + 1), vectors, name * 4), name * 4, control)


def splits_file(path, table: pd.DataFrame):
    content = table.to_csv(sep="\t", index=False).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
