"""Modules made from a seed, moved to a device, and applied to cells in blocks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellmodels.data.batches import in_order
from cellmodels.data.inputs import Rows


def seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    """Make a module with initial weights drawn from `seed`; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


@contextmanager
def on_device(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Have a module on a device, in evaluation mode, and then where it was, whatever happens."""
    home = next(iter(module.state_dict().values())).device
    try:
        module.to(device).eval()
        yield
    finally:
        module.to(home)


def in_blocks(n_cells: int, work: Callable[[Rows], Tensor], *, size: int = 2048) -> NDArray[np.float32]:
    """Apply `work` to cells in blocks of at most `size`, without gradients; its rows come back in their order."""
    with torch.inference_mode():
        parts = [work(rows).float().cpu().numpy() for rows in in_order(np.arange(n_cells), size)]
    return cast(NDArray[np.float32], np.concatenate(parts))
