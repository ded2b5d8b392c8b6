"""Models and checkpoints on disk: safetensors for numbers, JSON for the rest, one manifest, no pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellmodels.data.genes import Genes
from genetext import disk, manifest
from genetext.errors import ModelError

FORMAT = "genetext-cellmodel"
FORMAT_VERSION = 2
_CONTENT = {"name": str, "model": str, "config": dict, "state": dict, "facts": dict, "species": str}
_NAMES = ("*.safetensors", "genes.parquet", "history.json")


@dataclass(frozen=True, eq=False)
class Stored:
    """What a model's folder holds.

    Attributes
    ----------
    name, model
        Of the model, and of its class, `module:class`.
    config
        Its hyper-parameters.
    weights
        The parameters and buffers of its module.
    arrays, state
        Whatever else it needs to embed cells, as `cellmodels.state.take_apart` has it.
    genes
        The genes that it was fitted on.
    facts
        What it was fitted with, JSON values.
    history
        Losses per epoch.
    """

    name: str
    model: str
    config: Mapping[str, Any]
    weights: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    state: Mapping[str, Any]
    genes: Genes
    facts: Mapping[str, Any]
    history: pd.DataFrame


def check_place(folder: Path) -> None:
    """Raise `ModelError` where something else than a model stands in the way of one."""
    manifest.refuse_to_replace(folder, format=FORMAT, error=ModelError, names=_NAMES)


def write(folder: Path, stored: Stored) -> None:
    """Write a model, in one step: a reader sees the old folder or the new one.

    Raises
    ------
    ModelError
        There is something else at `folder`.
    DiskError
        It cannot be written.
    """
    from importlib.metadata import version

    from safetensors.numpy import save_file as save_arrays
    from safetensors.torch import save_file as save_tensors

    check_place(folder)
    with disk.atomic_directory(folder) as new:
        save_tensors(
            {name: tensor.contiguous() for name, tensor in stored.weights.items()}, new / "weights.safetensors"
        )
        save_arrays({name: np.ascontiguousarray(a) for name, a in stored.arrays.items()}, new / "arrays.safetensors")
        genes = {"name": stored.genes.names.astype(str), "gene_id": stored.genes.gene_ids}
        pd.DataFrame(genes).to_parquet(new / "genes.parquet", index=False)
        history = {"columns": list(stored.history.columns), "data": stored.history.to_numpy(float).tolist()}
        disk.write_json(new / "history.json", history)
        manifest.write(
            new,
            format=FORMAT,
            format_version=FORMAT_VERSION,
            content={
                "name": stored.name,
                "model": stored.model,
                "config": dict(stored.config),
                "state": dict(stored.state),
                "facts": dict(stored.facts),
                "species": stored.genes.species,
                "versions": {name: version(name) for name in ("genetext", "torch", "numpy")},
            },
        )


def read(folder: Path) -> Stored:
    """Read a model's folder; every file is checked against its sha256.

    Of a folder that is replaced meanwhile, the new one is read.

    Raises
    ------
    ModelError
        It is no such folder, of another version, or damaged.
    """
    return manifest.of_one_version(folder, lambda: _read(folder))


def _read(folder: Path) -> Stored:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file as load_arrays
    from safetensors.torch import load_file as load_tensors

    recorded = manifest.read(
        folder, format=FORMAT, format_version=FORMAT_VERSION, error=ModelError, content=_CONTENT, sampled=False
    )
    problems = manifest.verify(folder, recorded)
    if problems:
        raise ModelError(f"{folder} is damaged: {'; '.join(problems)}. Fit and save the model again")
    try:
        genes = pd.read_parquet(folder / "genes.parquet")
        history = pd.DataFrame(**json.loads((folder / "history.json").read_text())).astype({"epoch": "int64"})
        return Stored(
            name=recorded["name"],
            model=recorded["model"],
            config=recorded["config"],
            state=recorded["state"],
            weights=load_tensors(folder / "weights.safetensors"),
            arrays=load_arrays(folder / "arrays.safetensors"),
            genes=Genes(genes["name"].to_numpy(object), genes["gene_id"].to_numpy(np.int64), recorded["species"]),
            facts=recorded["facts"],
            history=history,
        )
    except (OSError, ValueError, TypeError, AttributeError, KeyError, SafetensorError) as cause:
        raise ModelError(f"{folder} cannot be read: {cause}") from cause
