"""The one training loop: precision and processes by Lightning Fabric, early stop without labels, checkpoints.

Whatever is random in an epoch is drawn from the seed and the number of the epoch, so that a run taken up from a
checkpoint goes on as if it had never stopped.
"""

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cellmodels.data.inputs import Rows
from cellmodels.train import checkpoint
from cellmodels.train.config import TrainConfig
from genetext.errors import ModelError
from genetext.progress import Progress

log = logging.getLogger("genetext")
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""The variable that lets cuBLAS give one result."""
_OPTIMIZERS: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How training runs. None of it is a hyper-parameter; device and precision may change the last digits.

    Attributes
    ----------
    device
        `auto`, `cpu`, `cuda` or `mps`: Fabric's accelerator.
    devices, strategy
        How many processes, and how they work together (`auto`, `ddp`), as Fabric has them. Each takes its share of
        the mini-batches of an epoch, and gradients are averaged.
    precision
        `32-true`, `bf16-mixed`, `16-mixed` ...: Fabric's precision.
    checkpoint_every
        Epochs between checkpoints, where a folder for them is given.
    """

    device: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    precision: Any = "32-true"
    checkpoint_every: int = 10

    def __post_init__(self) -> None:
        """Refuse numbers below one."""
        if self.devices < 1 or self.checkpoint_every < 1:
            raise ModelError(f"devices={self.devices} and checkpoint_every={self.checkpoint_every}: one at least")

    def check(self) -> None:
        """Refuse what cannot train here, without beginning to; see `fabric`."""
        self.fabric(launched=False)

    def fabric(self, *, launched: bool = True) -> Any:
        """Return a `lightning_fabric.Fabric`, launched.

        Raises
        ------
        ModelError
            Fabric does not know the device, or this machine has none.
        """
        import lightning_fabric

        fabrics = logging.getLogger("lightning_fabric")
        level = fabrics.level
        fabrics.setLevel(logging.WARNING)  # "Initializing distributed"
        try:
            fabric = lightning_fabric.Fabric(
                accelerator=self.device, devices=self.devices, strategy=self.strategy, precision=self.precision
            )
            if launched:
                fabric.launch()
        except (ValueError, RuntimeError, lightning_fabric.utilities.exceptions.MisconfigurationException) as cause:
            raise ModelError(
                f"cannot train on device={self.device!r} with devices={self.devices}, strategy={self.strategy!r}, "
                f"precision={self.precision!r}: {cause}"
            ) from cause
        finally:
            fabrics.setLevel(level)
        return fabric


class Task(Protocol):
    """What a model gives to the loop.

    Attributes
    ----------
    module
        Called with what `batch` returns, by keyword; gives a dict of scalar losses, the one to be made small under
        `loss`.
    """

    module: nn.Module

    def batches(self, rng: np.random.Generator) -> Sequence[Rows]:
        """Return the cells of each mini-batch of one epoch."""

    def held_out(self) -> Sequence[Rows]:
        """Return the mini-batches of cells that are kept from training, the same each time, of mixed cells."""

    def batch(self, rows: Rows, rng: np.random.Generator) -> dict[str, Any]:
        """Return what the module takes for these cells; tensors on the CPU."""


@dataclass
class Trained:
    """What came of training; the module of the task holds the weights kept.

    Attributes
    ----------
    history
        One row per epoch: `epoch` from 1, the mean of each loss over the cells, and `held_out` where cells were held
        out, `oracle` where labels chose.
    epoch
        The epoch whose weights were kept.
    stopped
        Why there were no more epochs: `epochs` or `patience`.
    is_main
        Whether this is the process that should write results.
    """

    history: pd.DataFrame
    epoch: int
    stopped: str
    is_main: bool


@dataclass
class _State:
    """Where a run stands after an epoch."""

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


@contextlib.contextmanager
def _caller_state() -> Iterator[None]:
    """Leave what a training changes of the whole process as the caller had it."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    threads, workspace = torch.get_num_threads(), os.environ.get(_WORKSPACE)
    device = torch.cuda.current_device() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_num_threads(threads)
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
        if device is not None:
            torch.cuda.set_device(device)


@_caller_state()
def train(
    task: Task,
    config: TrainConfig,
    *,
    trainer: Trainer | None = None,
    checkpoints: Path | None = None,
    identity: str = "",
    oracle: Callable[[], float] | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train the module of a task, in place.

    Parameters
    ----------
    task
        Module, cells and mini-batches.
    config
        The hyper-parameters of training.
    trainer
        Device, precision and processes.
    checkpoints
        A folder for the state of the run, written every `trainer.checkpoint_every` epochs. If it holds that of the
        same run, the run goes on from there; the result is the same as without the interruption.
    identity
        What makes two runs the same, beside the config: a digest of configuration, genes and data.
    oracle
        Called after each epoch for `selection="oracle"`: how well the clusters fit the true labels.
    progress
        Told `("epochs", done, total)`.

    Raises
    ------
    ModelError
        The loss became NaN or infinite, or the checkpoints are those of another run.
    """
    if (config.selection == "oracle") != (oracle is not None):
        raise ModelError(
            "selection='oracle' and oracle labels go together: it chooses the epoch by true labels, and serves only to "
            "compare with papers that do so"
        )
    trainer = trainer or Trainer()
    fabric = trainer.fabric()
    optimizer = _optimizer(task.module, config, trainer.precision)
    state = _State()
    if checkpoints is not None:
        state = _resume(checkpoints, task.module, optimizer, fabric.strategy.precision, identity)
    # After loading: Fabric moves weights and optimizer state to the device.
    wrapped, stepper = fabric.setup(task.module, optimizer)
    _to_device(optimizer, fabric.device)
    stopped = "epochs"
    with _repeatable(fabric.device), _back_to_cpu(task.module):
        while state.epoch < config.epochs:
            if config.patience is not None and state.epoch - state.best_epoch >= config.patience:
                stopped = "patience"
                break
            row = _epoch(fabric, wrapped, stepper, task, config, state.epoch)
            state.epoch += 1
            if oracle is not None:
                row["oracle"] = oracle()
            state.history.append({"epoch": float(state.epoch), **row})
            _note_best(state, task.module, config)
            shown = ", ".join(f"{name} {row[name]:.4g}" for name in ("loss", "held_out") if name in row)
            log.debug(shown, extra={"stage": "epochs"})
            done = state.epoch == config.epochs
            if (
                checkpoints is not None
                and fabric.is_global_zero
                and (done or state.epoch % trainer.checkpoint_every == 0)
            ):
                _store(checkpoints, task.module, optimizer, fabric.strategy.precision, identity, state)
            if progress is not None:
                progress("epochs", state.epoch, config.epochs)
    kept = state.epoch
    if config.selection != "last" and state.best_weights:
        task.module.load_state_dict(state.best_weights)
        kept = state.best_epoch
    losses = sorted(set(state.history[-1]) - {"epoch", "loss"})
    history = pd.DataFrame(state.history, columns=["epoch", "loss", *losses]).astype({"epoch": "int64"})
    return Trained(history, kept, stopped, bool(fabric.is_global_zero))


def _optimizer(module: nn.Module, config: TrainConfig, precision: Any) -> torch.optim.Optimizer:
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not learned:
        raise ModelError("the model has nothing to learn: every part of it is frozen")
    # Fused: one pass over the weights in place of ten. Not where gradients are scaled: such a step would undo the
    # scaling itself, after they were clipped.
    plain = config.optimizer == "rmsprop" or str(precision).startswith("16")
    fused = {} if plain else {"fused": True}
    optimizer: torch.optim.Optimizer = _OPTIMIZERS[config.optimizer](
        learned, lr=config.lr, weight_decay=config.weight_decay, **fused
    )
    return optimizer


def _epoch(fabric: Any, module: Any, optimizer: Any, task: Task, config: TrainConfig, epoch: int) -> dict[str, float]:
    """Train one epoch and measure the held-out loss; return the means of the losses."""
    for group in optimizer.param_groups:
        steps = 0 if config.lr_step is None else epoch // config.lr_step
        group["lr"] = config.lr * config.lr_gamma**steps
    order = task.batches(np.random.default_rng([config.seed, 2, epoch]))
    # Every process takes as many batches as the others: gradients are averaged at each step.
    n_ranks = fabric.world_size
    batches = order[fabric.global_rank : len(order) // n_ranks * n_ranks : n_ranks] if n_ranks > 1 else order
    if not batches:
        raise ModelError(
            f"an epoch has {len(order)} mini-batches for {n_ranks} processes: lower batch_size or use fewer devices"
        )
    seed = [config.seed, 3, epoch, fabric.global_rank]
    rng = np.random.default_rng(seed)
    torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    module.train()
    means = _Means()
    for rows in batches:
        losses = module(**fabric.to_device(task.batch(rows, rng)))
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(losses["loss"])
        if config.max_grad_norm is not None:
            fabric.clip_gradients(module, optimizer, max_norm=config.max_grad_norm, error_if_nonfinite=False)
        optimizer.step()
        means.add(losses, len(rows))
    row = means.result(fabric)
    if held_out := task.held_out():
        row["held_out"] = _held_out_loss(fabric, module, task, held_out, config.seed)
    wrong = [name for name, value in row.items() if not math.isfinite(value)]
    if wrong:
        raise ModelError(
            f"the loss became NaN or infinite in epoch {epoch + 1} ({', '.join(wrong)}): lower lr (now "
            f"{config.lr:g}), set max_grad_norm=, or use precision='32-true'"
        )
    return row


@torch.no_grad()
def _held_out_loss(fabric: Any, module: Any, task: Task, batches: Sequence[Rows], seed: int) -> float:
    """Return the loss of held-out cells; what is random in it is drawn alike after every epoch."""
    rng = np.random.default_rng([seed, 4])
    torch.manual_seed(seed)
    module.eval()
    means = _Means()
    for rows in batches:
        means.add({"loss": module(**fabric.to_device(task.batch(rows, rng)))["loss"]}, len(rows))
    module.train()
    return means.result(fabric)["loss"]


class _Means:
    """Means of losses over cells, summed on the device so that no step waits for a number."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._n = 0

    def add(self, losses: dict[str, Tensor], n: int) -> None:
        for name, value in losses.items():
            # In float64: a sum over many batches must not depend on how large it grew.
            term = value.detach().to(torch.float64 if value.device.type != "mps" else torch.float32) * n
            self._sums[name] = self._sums[name] + term if name in self._sums else term
        self._n += n

    def result(self, fabric: Any) -> dict[str, float]:
        return {name: float(fabric.all_reduce(total / self._n, reduce_op="mean")) for name, total in self._sums.items()}


def _note_best(state: _State, module: nn.Module, config: TrainConfig) -> None:
    row = state.history[-1]
    by_labels = config.selection == "oracle"
    value = -row["oracle"] if by_labels else row.get("held_out", row["loss"])
    if value < state.best:
        state.best, state.best_epoch = value, state.epoch
        if config.selection != "last":
            state.best_weights = {name: each.detach().cpu().clone() for name, each in module.state_dict().items()}


@contextlib.contextmanager
def _back_to_cpu(module: nn.Module) -> Iterator[None]:
    try:
        yield
    finally:
        module.to("cpu").eval()


@contextlib.contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Keep the caller's random state, and ask CUDA for kernels that give one result."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if device.type == "cuda":
            os.environ.setdefault(_WORKSPACE, ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
        yield


def _store(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, precision: Any, identity: str, state: _State
) -> None:
    checkpoint.write(
        folder,
        {"module": module.state_dict(), "best": state.best_weights, "optimizer": checkpoint.flat(optimizer)},
        {
            "identity": identity,
            "epoch": state.epoch,
            "history": state.history,
            "best": state.best,
            "best_epoch": state.best_epoch,
            "precision": precision.state_dict(),  # how gradients are scaled in half precision
        },
    )


def _resume(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, precision: Any, identity: str) -> _State:
    stored = checkpoint.read(folder, identity=identity)
    if stored is None:
        return _State()
    tensors, facts = stored
    try:
        module.load_state_dict(tensors["module"])
        checkpoint.restore(optimizer, tensors["optimizer"])
        if facts.get("precision"):
            precision.load_state_dict(facts["precision"])
        history = [{str(name): float(value) for name, value in row.items()} for row in facts["history"]]
        state = _State(
            int(facts["epoch"]), history, float(facts["best"]), int(facts["best_epoch"]), tensors.get("best", {})
        )
        if len(history) != state.epoch or not 0 <= state.best_epoch <= state.epoch:
            raise ValueError(f"{len(history)} rows of history after epoch {state.epoch}")
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as cause:
        raise ModelError(f"the checkpoint {folder} is damaged: {cause!r}. Remove it to start anew") from cause
    log.info("going on after epoch %d, from %s", state.epoch, folder)
    return state


def _to_device(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    # A fused step counts where it computes, any other on the CPU.
    fused = any(group.get("fused") for group in optimizer.param_groups)
    for values in optimizer.state.values():
        for name, value in values.items():
            if isinstance(value, Tensor) and (fused or name != "step"):
                values[name] = value.to(device)
