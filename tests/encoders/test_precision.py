"""What `auto` means follows from the hardware, never from the clock."""

import pytest

from genetext.encoders.transformer import precision
from genetext.errors import EncoderError


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2", "avx512f", "avx512_bf16"}, "bfloat16"),
        ({"avx512f", "amx_bf16"}, "bfloat16"),
        ({"avx2", "avx512f", "avx512_vnni"}, "float32"),
        (set(), "float32"),
    ],
)
def test_auto_is_bfloat16_only_where_the_processor_has_it(flags, expected, monkeypatch):
    monkeypatch.setattr(precision, "_flags", lambda: flags)
    assert precision.resolve("auto", device="cpu") == expected


def test_what_is_asked_for_is_taken():
    assert precision.resolve("float32", device="cpu") == "float32"
    assert precision.resolve("bfloat16", device="cpu") == "bfloat16"
    assert precision.resolve("float16", device="cuda:0") == "float16"


def test_what_cannot_run_is_refused():
    with pytest.raises(EncoderError, match="precision 'double' is unknown: give auto, float32"):
        precision.resolve("double", device="cpu")
    with pytest.raises(EncoderError, match="float16 is emulated"):
        precision.resolve("float16", device="cpu")


def test_devices():
    import torch

    assert precision.devices("cpu") == ["cpu"]
    assert precision.devices("cpu, cpu") == ["cpu", "cpu"]
    assert precision.devices("auto") == (["cuda:0"] if torch.cuda.is_available() else ["cpu"])
    with pytest.raises(EncoderError, match="device 'abacus' is unknown"):
        precision.devices("abacus")
    with pytest.raises(EncoderError, match="device 'cuda:99' is not there: torch sees"):
        precision.devices("cuda:99")


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_processor(tmp_path):
    import numpy as np
    import torch

    from genetext import encoders
    from tests import models

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    folder, texts = models.write_bert(tmp_path / "model"), models.texts(100)

    def encode(device, precision):
        encoder = encoders.load(encoders.spec(str(folder), precision=precision, device=device), device=device)
        vectors = np.empty((len(texts), encoder.dim), np.float32)
        for batch, encoded in encoder.stream(texts, encoder.plan(texts)):
            vectors[batch] = encoded.vectors
        return vectors

    exact = encode("cpu", "float32")
    np.testing.assert_allclose(encode("cuda", "float32"), exact, rtol=0, atol=1e-3)
    fast = encode("cuda", "auto")
    cosines = (fast * exact).sum(1) / np.linalg.norm(fast, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosines.min() > 0.99


def test_openvino_that_is_not_installed_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setattr(precision, "find_spec", lambda name: None)
    with pytest.raises(EncoderError, match=r'int8/openvino needs .* not here: pip install "genetext\[openvino\]"'):
        precision.resolve("int8/openvino", device="cpu")
    assert "/" not in precision.resolve("auto", device="cpu")


def test_openvino_is_for_processors():
    with pytest.raises(EncoderError, match="bfloat16/openvino runs on the processor, not on cuda:0"):
        precision.resolve("bfloat16/openvino", device="cuda:0")
