"""Which arithmetic a transformer runs in, decided from the hardware and never from the clock."""

from importlib.util import find_spec
from pathlib import Path

from genetext.errors import EncoderError

KNOWN = ("float32", "bfloat16", "float16", "float32/openvino", "bfloat16/openvino", "int8/openvino")
"""Arithmetic, and after a slash the runtime where it is not torch. `auto` never chooses another runtime."""


def resolve(asked: str, *, device: str) -> str:
    """Turn `auto` into a precision; check any other.

    Parameters
    ----------
    asked
        `auto`, or one of `KNOWN`. `auto` is the fastest whose vectors keep a centred cosine of 0.99 and a kNN@10
        overlap of 0.98 with float32 on real weights (measured in docs/encoders.md): `bfloat16` on processors with
        AVX512-BF16 or AMX and on GPUs with native bfloat16, `float32` elsewhere.
    device
        `cpu`, `cuda`, `cuda:0`, `mps` ... as `devices` gives it.

    Raises
    ------
    EncoderError
        The precision is unknown, or cannot run on the device, or its package is not installed.
    """
    if asked == "auto":
        return "bfloat16" if _native_bfloat16(device) else "float32"
    if asked not in KNOWN:
        raise EncoderError(f"precision {asked!r} is unknown: give auto, {', '.join(KNOWN)}")
    if asked == "float16" and device == "cpu":
        raise EncoderError("float16 is emulated on this processor and slower than float32: give auto or float32")
    if asked.endswith("/openvino"):
        if device != "cpu":
            raise EncoderError(f"{asked} runs on the processor, not on {device}: give --device cpu, or bfloat16")
        if find_spec("openvino") is None:
            raise EncoderError(f'{asked} needs a package that is not here: pip install "genetext[openvino]"')
    return asked


def devices(asked: str) -> list[str]:
    """Turn `auto`, `cpu`, `cuda`, or a list such as `cuda:0,cuda:1` or `cpu,cpu` into device names.

    Raises
    ------
    EncoderError
        A device is asked for that is not there.
    """
    import torch

    names = [name.strip() for name in asked.split(",") if name.strip()]
    if names in ([], ["auto"]):
        if torch.cuda.is_available():
            return ["cuda:0"]
        return ["cpu"]
    for name in names:
        try:
            kind, index = torch.device(name).type, torch.device(name).index or 0
        except RuntimeError as error:
            raise EncoderError(f"device {name!r} is unknown: give auto, cpu, cuda or cuda:0,cuda:1") from error
        if kind == "cuda" and index >= torch.cuda.device_count():
            raise EncoderError(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices")
        if kind == "mps" and not torch.backends.mps.is_available():
            raise EncoderError(f"device {name!r} is not there")
    return names


def _native_bfloat16(device: str) -> bool:
    import torch

    if device == "cpu":
        onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return onednn and bool(_flags() & {"avx512_bf16", "amx_bf16"})
    if device.startswith("cuda"):
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    return False


def _flags() -> set[str]:
    """Return the processor's instruction sets as Linux lists them; empty elsewhere, which means float32."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.partition(":")[2].split())
