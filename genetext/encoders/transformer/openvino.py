"""A transformer's layers in OpenVINO, on processors. Needs torch and openvino: import it inside functions only.

The model is traced once, compared with torch, and kept as OpenVINO's own files (XML and raw weights, no pickle) under
`<cache>/runtimes`, by a fingerprint of weights and versions. What is kept there can be removed at any time.
"""

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genetext import disk, locks
from genetext.errors import EncoderError

GROUP = 64
"""Inputs of an int8 layer that share one scale. Fewer are more exact and slower (measured in docs/encoders.md)."""
_KERNELS = 64
"""Compiled kernels that a model may keep: by default one for every shape it ever met, up to 5,000 of them."""
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
_TOLERANCE = 1e-3


class OpenVinoLayers:
    """The last layer of a transformer, computed by OpenVINO.

    Parameters
    ----------
    load
        Gives the torch model, in float32; called only where it has not been converted before.
    revision
        Commit or sha256 that names the weights.
    arithmetic
        `float32`, `bfloat16` (all of the model in it), or `int8`: weights of linear layers with one scale per output,
        their inputs with one per `GROUP` values at the time they are met, all else in float32.

    Raises
    ------
    EncoderError
        OpenVINO cannot run the model, or this processor not the arithmetic.
    """

    def __init__(self, load: Callable[[], Any], *, revision: str | None, arithmetic: str) -> None:
        self.arithmetic = arithmetic
        self._streams = torch.get_num_threads()
        self._model = _converted(load, revision=revision, int8=arithmetic == "int8")
        self._compiled: dict[int, Any] = {}
        self._compiling = threading.Lock()
        self._of_thread = threading.local()

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> torch.Tensor:
        """Return `(n, length, dim) float32` for ids and mask `(n, length)`.

        Threads that torch gives one core each run beside each other; one that has several spreads a batch over them.
        """
        threads = torch.get_num_threads()
        requests: dict[int, Any] = self._of_thread.__dict__.setdefault("requests", {})
        if threads not in requests:
            with self._compiling:
                if threads not in self._compiled:
                    self._compiled[threads] = self._compile(threads)
            requests[threads] = self._compiled[threads].create_infer_request()
        return torch.from_numpy(requests[threads].infer([ids, mask], share_inputs=True)[0])

    def _compile(self, threads: int) -> Any:
        hint = _HINTS[self.arithmetic]
        compiled = _compile(
            self._model,
            INFERENCE_PRECISION_HINT=hint,
            INFERENCE_NUM_THREADS=max(threads, self._streams if threads == 1 else 1),
            NUM_STREAMS=self._streams if threads == 1 else 1,
            DYNAMIC_QUANTIZATION_GROUP_SIZE=GROUP if self.arithmetic == "int8" else 0,
        )
        given = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if given != hint:
            raise EncoderError(f"{self.arithmetic}/openvino cannot run on this processor: OpenVINO would use {given}")
        return compiled


def _converted(load: Callable[[], Any], *, revision: str | None, int8: bool) -> Any:
    """Read the model from the cache, or convert it and put it there."""
    ov = _library()
    versions = {name: version(name) for name in ("openvino", "torch", "transformers")}
    key = disk.sha256_json({"revision": revision, "int8": int8, "layout": 1, **versions})[:32]
    folder = disk.cache_dir() / "runtimes" / key
    with locks.lock(f"runtime-{key}"):
        if not folder.is_dir():
            with disk.atomic_directory(folder) as scratch:
                model = _convert(load())
                ov.save_model(_compress(model) if int8 else model, scratch / "model.xml", compress_to_fp16=False)
    try:
        return ov.Core().read_model(folder / "model.xml")
    except RuntimeError as error:
        raise EncoderError(f"{folder} cannot be read by OpenVINO: remove it, and it is made anew") from error


def _convert(model: Any) -> Any:
    """Trace a torch model for any number and length of texts, and compare the two on texts of another shape."""
    ov, name = _library(), type(model).__name__
    ids, mask = _example(model, [9, 5])
    try:
        with _silent():  # what the tracer warns of is compared below
            traced = ov.convert_model(
                _LastLayer(model.eval()), example_input={"input_ids": ids, "attention_mask": mask}
            )
    except Exception as error:  # it raises whatever the model's own code does
        reason = (str(error).strip().splitlines() or [""])[0]
        raise EncoderError(f"OpenVINO cannot convert {name} ({reason}): leave /openvino away") from error
    ids, mask = _example(model, [17, 3, 12])
    with torch.inference_mode():
        wanted = model(input_ids=ids, attention_mask=mask)[0][mask.bool()].numpy()
    compiled = _compile(traced, INFERENCE_PRECISION_HINT="f32")
    vectors = compiled([ids.numpy(), mask.numpy()])[0][mask.bool().numpy()]
    if not np.allclose(vectors, wanted, rtol=0, atol=_TOLERANCE * np.abs(wanted).max()):
        worst = np.abs(vectors - wanted).max()
        raise EncoderError(
            f"{name} gives other vectors in OpenVINO than in torch (by {worst:.2g}): leave /openvino away"
        )
    return traced


@contextmanager
def _silent() -> Iterator[None]:
    """Keep warnings of the tracer, and what transformers says of attributes that it looks at, off the screen."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)


class _LastLayer(torch.nn.Module):
    """A transformer with two inputs and one output."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return self.model(input_ids=input_ids, attention_mask=attention_mask)[0]


def _example(model: Any, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts of these lengths, of different tokens, padded: a mask without zeros would be traced away."""
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.arange(mask.numel()).reshape(mask.shape) % model.config.vocab_size
    padding = model.config.pad_token_id or 0
    return torch.where(mask.bool(), ids, padding), mask


def _compress(model: Any) -> Any:
    """Store the weights of linear layers as int8 in place, each output with a scale of its own."""
    from openvino import opset13

    for node in model.get_ops():
        if node.get_type_name() != "MatMul":
            continue
        source = node.input_value(1).get_node()
        if source.get_type_name() != "Constant" or len(source.shape) != 2:
            continue
        weight = source.get_data().astype(np.float32)
        inputs = 1 if node.get_attributes()["transpose_b"] else 0
        scale = np.maximum(np.abs(weight).max(axis=inputs, keepdims=True), np.finfo(np.float32).tiny) / 127
        rounded = opset13.constant(np.rint(weight / scale).astype(np.int8))
        restored = opset13.multiply(opset13.convert(rounded, "f32"), opset13.constant(scale))
        node.input(1).replace_source_output(restored.output(0))
    return model


def _compile(model: Any, **properties: Any) -> Any:
    return _library().Core().compile_model(model, "CPU", {"CPU_RUNTIME_CACHE_CAPACITY": _KERNELS, **properties})


def _library() -> Any:
    with _no_telemetry():
        import openvino
    return openvino


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Import openvino as if its telemetry were not installed: it reports imports and conversions without asking."""
    name = "openvino_telemetry"
    if "openvino" in sys.modules or name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
