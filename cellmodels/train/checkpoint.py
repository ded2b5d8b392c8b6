"""The state of a run of training on disk, from which it goes on: safetensors and JSON, replaced in one step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genetext import disk, manifest
from genetext.errors import ModelError

FORMAT = "genetext-checkpoint"
FORMAT_VERSION = 2
Groups = dict[str, dict[str, Tensor]]


def check_place(folder: Path) -> None:
    """Raise `ModelError` where something else than a checkpoint stands in the way of one."""
    manifest.refuse_to_replace(folder, format=FORMAT, error=ModelError, names=("*.safetensors",))


def write(folder: Path, groups: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]) -> None:
    """Write groups of tensors, each to a file of its own, and facts (JSON values); what was there is replaced.

    Raises
    ------
    ModelError
        There is something else at `folder`.
    """
    from safetensors.torch import save_file

    check_place(folder)
    with disk.atomic_directory(folder) as new:
        for name, tensors in groups.items():
            alone = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
            save_file(alone, new / f"{name}.safetensors")
        manifest.write(new, format=FORMAT, format_version=FORMAT_VERSION, content=dict(facts))


def read(folder: Path, *, identity: str) -> tuple[Groups, dict[str, Any]] | None:
    """Read what `write` wrote, or None where there is no checkpoint yet.

    Raises
    ------
    ModelError
        It is damaged, or of a run with other data, genes or hyper-parameters.
    """
    from safetensors.torch import load_file

    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    stored = manifest.read(
        folder, format=FORMAT, format_version=FORMAT_VERSION, error=ModelError, content={"identity": str}
    )
    problems = manifest.verify(folder, stored)
    if problems:
        raise ModelError(f"the checkpoint {folder} is damaged: {'; '.join(problems)}. Remove it to start anew")
    if stored.get("identity") != identity:
        raise ModelError(
            f"the checkpoint {folder} is of another run (other data, genes, priors, hyper-parameters or code): remove "
            f"it, or choose another folder for checkpoints"
        )
    groups = {Path(name).stem: load_file(folder / name) for name in stored.files}
    return groups, dict(stored.content)


def flat(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as named tensors: `3.exp_avg` is that of the fourth parameter."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer the state that `flat` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
