"""The loaded model of a transformer encoder. Needs torch: import it inside functions only."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genetext.encoders.base import EncoderSpec
from genetext.encoders.transformer import configuration
from genetext.encoders.transformer.packed import can_pack, pack
from genetext.errors import EncoderError, first_ten

_UNUSED = re.compile(r"(^|\.)(pooler\.|decoder\.|position_ids$)")  # by any pooling here
_LAYER = re.compile(r"(^|\.)(encoder|transformer|layers?|h|block)\.(layers?\.)?\d+\.")
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchRuntime:
    """A model on one device: ids and mask in, pooled vectors out.

    Pooling is torch's; so are the layers before it, unless the precision names another runtime.

    Parameters
    ----------
    folder
        The weights.
    spec
        Decides pooling and precision.
    device
        One torch device.
    """

    def __init__(self, folder: Path, spec: EncoderSpec, *, device: str) -> None:
        self.device = torch.device(device)
        self.head: Any = None
        load: Callable[[], Any] = partial(_transformer, folder)
        if spec.pooling == "none":
            model, self.head = _sentence_transformer(folder)
            self.head.to(device=self.device)
            load = lambda: model  # noqa: E731
        else:
            self.pool = configuration.pool(spec.pooling)
        arithmetic, _, library = spec.precision.partition("/")
        self.layers: Callable[[NDArray[np.int64], NDArray[np.int64]], torch.Tensor]
        if library:
            from genetext.encoders.transformer.openvino import OpenVinoLayers

            self.layers = OpenVinoLayers(load, revision=spec.revision, arithmetic=arithmetic)
        else:
            self.layers = _TorchLayers(load(), device=self.device, dtype=_TYPES[arithmetic])

    def timed(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> tuple[NDArray[np.float32], float]:
        """Return the vectors and the seconds that they took."""
        started = time.perf_counter()
        return self(ids, mask), time.perf_counter() - started

    @torch.inference_mode()
    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return `(n, dim) float32` for ids and mask `(n, length)`."""
        hidden = self.layers(ids, mask)
        present = torch.from_numpy(mask).to(self.device)
        if self.head is None:
            pooled = self.pool(hidden, present)
        else:
            pooled = self.head({"token_embeddings": hidden, "attention_mask": present})["sentence_embedding"]
        vectors: NDArray[np.float32] = pooled.float().cpu().numpy()
        return vectors


class _TorchLayers:
    """The last layer of a transformer, `(n, length, dim) float32`, computed by torch."""

    def __init__(self, model: Any, *, device: torch.device, dtype: torch.dtype) -> None:
        self.model, self.device, self.dtype = model.eval(), device, dtype
        # With packed layers, autocast is for models that multiply matrices of two types outside of them (MPNet).
        self.autocast = device.type == "cpu" and dtype != torch.float32
        if device.type != "cpu":
            model.to(device=device, dtype=dtype)
        elif can_pack(dtype):
            pack(model, dtype)

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> torch.Tensor:
        tokens = torch.from_numpy(ids).to(self.device)
        present = None if mask.all() else torch.from_numpy(mask).to(self.device)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.autocast):
            hidden: torch.Tensor = self.model(input_ids=tokens, attention_mask=present)[0]
        return hidden.float()


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers' own progress bars off the screen: genetext shows one of its own."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _transformer(folder: Path) -> Any:
    from transformers import AutoModel

    if (folder / "adapter_config.json").is_file():
        raise EncoderError(f"{folder} holds an adapter: merge it into its model (merge_and_unload) and save that")
    try:
        with _quietly():
            model, report = AutoModel.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, output_loading_info=True
            )
    except Exception as error:  # whatever damaged files make any of the libraries below raise
        reason = f"{type(error).__name__}: {str(error).strip()}"
        raise EncoderError(f"{folder} cannot be loaded as a transformer ({reason})") from error
    # transformers fills what is missing with random numbers, and leaves out layers that the configuration lacks.
    missing = sorted(name for name in report["missing_keys"] if not _UNUSED.search(name))
    if unread := missing or sorted(name for name in report["unexpected_keys"] if _LAYER.search(name)):
        raise EncoderError(
            f"the weights in {folder} do not fit its config.json: {len(unread):,} "
            f"{'are missing' if missing else 'have no place'} ({first_ten(unread)}); save the whole model again"
        )
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # its output is not used by any pooling here
    model.config.output_hidden_states = model.config.output_attentions = False  # whatever config.json says: not used
    return model.float()


def _sentence_transformer(folder: Path) -> tuple[Any, Any]:
    """Return the transformer and the modules after it, without the last scaling to unit length."""
    from sentence_transformers import SentenceTransformer

    transformer = _transformer(folder)
    with _quietly():
        whole = SentenceTransformer(str(folder), device="cpu", local_files_only=True, trust_remote_code=False)
    modules = list(whole)
    if type(modules[-1]).__name__ == "Normalize":
        modules.pop()
    return transformer, torch.nn.Sequential(*modules[1:]).float().eval()
