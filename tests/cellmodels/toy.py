"""The smallest real model: a linear autoencoder of log values, for tests of what all models share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import anndata
import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import nn

from cellmodels.base import Array, CellModel
from cellmodels.data.batches import fixed, shuffled, split
from cellmodels.data.inputs import CellMatrix, Rows
from cellmodels.groups.variable_genes import choose_genes
from cellmodels.nn.apply import in_blocks, on_device, seeded
from cellmodels.state import NoState
from cellmodels.train.config import Count, ShareBelowOne, TrainConfig


def cells(n: int = 60, n_genes: int = 30, *, seed: int = 0, groups: int = 3) -> anndata.AnnData:
    """Counts of a few groups of cells, each with genes of its own."""
    rng = np.random.default_rng(seed)
    which = np.arange(n) % groups
    rate = np.full((groups, n_genes), 0.3)
    for group in range(groups):
        rate[group, group::groups] = 4.0
    counts = rng.poisson(rate[which] * rng.uniform(0.5, 2, (n, 1))).astype(np.float32)
    obs = pd.DataFrame({"group": pd.Categorical([f"g{one}" for one in which])}, index=[f"c{i}" for i in range(n)])
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)])
    return anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)


@dataclass(frozen=True, kw_only=True)
class ToyConfig(TrainConfig):
    n_latent: Count = 4
    dropout: ShareBelowOne = 0.1
    epochs: Count = 5
    batch_size: Count = 16


class _Net(nn.Module):
    def __init__(self, n_genes: int, n_latent: int, dropout: float) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(n_genes, n_latent), nn.BatchNorm1d(n_latent))
        self.decode = nn.Linear(n_latent, n_genes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        error = (self.decode(self.encode(self.dropout(x))) - x).square().mean()
        return {"loss": error, "error": error}


class _Task:
    def __init__(self, module: nn.Module, data: CellMatrix, config: ToyConfig) -> None:
        self.module, self._data, self._config = module, data, config
        self._train, self._held = split(data.n_cells, config.held_out, config.seed)

    def batches(self, rng: np.random.Generator) -> Sequence[Rows]:
        return shuffled(self._train, self._config.batch_size, rng)

    def held_out(self) -> Sequence[Rows]:
        return fixed(self._held, self._config.batch_size, self._config.seed)

    def batch(self, rows: Rows, rng: np.random.Generator) -> dict[str, Any]:
        return {"x": torch.from_numpy(self._data.dense(rows))}


class ToyModel(CellModel[ToyConfig, NoState]):
    name = "toy"
    needs = "log"
    Config = ToyConfig
    presets: ClassVar = {"small": {"n_latent": 2}}

    def fit(self, adata, priors=None, *, layer=None, trainer=None, checkpoints=None, oracle=None, progress=None):
        found = self._read(adata, layer)
        columns = choose_genes(found, None)
        data = self._start(adata, found, columns, self._priors(adata, priors))
        self._train(
            lambda module: _Task(module, data, self.config),
            NoState(),
            adata=adata,
            data=data,
            trainer=trainer,
            checkpoints=checkpoints,
            oracle=oracle,
            progress=progress,
        )
        return self

    def _build(self) -> nn.Module:
        config, n = self.config, len(self.genes)
        return seeded(config.seed, lambda: _Net(n, config.n_latent, config.dropout))

    def _embed(self, cells: CellMatrix, device: torch.device) -> Array:
        encode = self.module.encode
        with on_device(self.module, device):
            return in_blocks(cells.n_cells, lambda rows: encode(torch.from_numpy(cells.dense(rows)).to(device)))
