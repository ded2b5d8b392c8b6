"""Several batches at once: one per core of a processor, or one process per device.

A batch per core beats all cores on one batch: threads that share a batch wait for each other at every layer, and when
anything else runs on the machine the slowest of them sets the pace of all (measured in docs/encoders.md).
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genetext.encoders.base import EncoderSpec

Result = tuple[NDArray[np.float32], float]
_ON_GPU = 64
"""Batches of a plan that a GPU runs together: about 65,000 tokens."""


@dataclass(frozen=True)
class Team:
    """Where batches are sent to.

    Attributes
    ----------
    size
        Batches that run at the same time.
    batches_at_once
        Batches of a plan to send as one.
    submit
        Sends ids and mask; its future gives vectors and seconds.
    """

    size: int
    batches_at_once: int
    submit: Callable[[NDArray[np.int64], NDArray[np.int64]], "Future[Result]"]


@contextmanager
def team(runtime: Any, *, threads: int | None) -> Iterator[Team]:
    """Run batches of one loaded model: one per core of a processor, one after another on a GPU."""
    import torch

    on_cpu = runtime.device.type == "cpu"
    size = (threads or torch.get_num_threads()) if on_cpu else 1
    before = torch.get_num_threads()
    executor: Executor = ThreadPoolExecutor(size, "genetext", initializer=_one_thread if on_cpu else None)
    try:
        yield Team(size, 1 if on_cpu else _ON_GPU, lambda ids, mask: executor.submit(runtime.timed, ids, mask))
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


@contextmanager
def processes(folder: Path, spec: EncoderSpec, *, devices: Sequence[str], threads: int | None) -> Iterator[Team]:
    """Run one process with its own copy of the model per device (`cuda:0,cuda:1`; `cpu,cpu`)."""
    import torch

    context = multiprocessing.get_context("spawn")
    turns = context.Queue()
    for device in devices:
        turns.put(device)
    share = threads or max(1, torch.get_num_threads() // len(devices))
    executor = ProcessPoolExecutor(
        len(devices), mp_context=context, initializer=_start, initargs=(folder, spec, turns, share)
    )
    on_gpu = any(device != "cpu" for device in devices)
    try:
        yield Team(len(devices), _ON_GPU if on_gpu else 1, lambda ids, mask: executor.submit(_work, ids, mask))
    finally:
        executor.shutdown(cancel_futures=True)
        turns.close()


@contextmanager
def use_threads(count: int | None) -> Iterator[None]:
    """Set torch's threads for a while; None leaves them."""
    import torch

    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


_IN_PROCESS: dict[str, Any] = {}
"""The model of a worker process; always empty in the process of the caller."""


def _start(folder: Path, spec: EncoderSpec, turns: Any, threads: int) -> None:
    import torch

    from genetext.encoders.transformer.runtime import TorchRuntime

    torch.set_num_threads(threads)
    _IN_PROCESS["runtime"] = TorchRuntime(folder, spec, device=turns.get())


def _work(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Result:
    result: Result = _IN_PROCESS["runtime"].timed(ids, mask)
    return result
