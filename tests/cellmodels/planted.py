"""Cells whose types show in programs of many faint genes, and priors that know the programs, or nothing."""

from dataclasses import dataclass

import anndata
import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import nn

from cellmodels.nn.apply import seeded
from genetext.priors import GenePriors
from tests.cellmodels.toy import ToyConfig, ToyModel, _Net


def faint_cells(n=240, n_genes=600, types=4, *, fold=2.2, depth=60, seed=0, donors=4):
    """Return cells of few counts: a type's program is a twelfth of the genes, each a little higher."""
    rng = np.random.default_rng(seed)
    which = rng.integers(types, size=n)
    program = np.arange(n_genes) % (types * 3)  # two thirds of the genes tell nothing
    base = rng.gamma(0.8, 1, n_genes)
    rate = base * np.where(program[None, :] == which[:, None], fold, 1.0)
    rate *= depth * rng.uniform(0.5, 1.5, (n, 1)) / rate.sum(axis=1, keepdims=True)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical([f"type {one}" for one in which]),
            "donor": pd.Categorical([f"d{one % donors}" for one in range(n)]),
        },
        index=[f"c{i}" for i in range(n)],
    )
    counts = sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]))


def knowing(adata, types=4, dim=16, *, noise=0.3, seed=0):
    """Return a prior whose vectors say of each gene which program it is in."""
    rng = np.random.default_rng([seed, 1])
    program = np.arange(adata.n_vars) % (types * 3)
    centres = rng.normal(size=(types * 3, dim))
    return _priors(adata, centres[program] + noise * rng.normal(size=(adata.n_vars, dim)), "planted")


def ignorant(adata, dim=16, *, seed=0):
    """Return a prior of pure noise."""
    return _priors(adata, np.random.default_rng([seed, 2]).normal(size=(adata.n_vars, dim)), "noise")


def _priors(adata, vectors, source):
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return GenePriors.from_arrays(adata.var_names.tolist(), vectors, source=source).align(adata)


@dataclass(frozen=True, kw_only=True)
class GuidedConfig(ToyConfig):
    n_latent: int = 8
    epochs: int = 3
    batch_size: int = 64
    dropout: float = 0.0


class GuidedModel(ToyModel):
    """The toy autoencoder, its first layer through the gene vectors where there are any."""

    name = "guided"
    Config = GuidedConfig

    def _priors(self, adata, priors):
        found = super()._priors(adata, priors)
        self._vectors = None if found is None or not found.dim else np.where(found.mask[:, None], found.vectors, 0)
        return found

    def _build(self):
        if self._vectors is None:
            return super()._build()
        columns = [int(name[1:]) for name in self.genes.names]
        base = torch.from_numpy(self._vectors[columns].astype(np.float32))

        def make():
            net = _Net(len(self.genes), self.config.n_latent, self.config.dropout)
            project = nn.Linear(len(self.genes), base.shape[1], bias=False)
            project.weight = nn.Parameter(base.T.contiguous(), requires_grad=False)
            net.encode = nn.Sequential(project, nn.BatchNorm1d(base.shape[1]))
            net.decode = nn.Linear(base.shape[1], len(self.genes))
            return net

        return seeded(self.config.seed, make)
