"""The same vectors from another runtime, up to its arithmetic, whatever the pooling, the masks and the threads."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from genetext import encoders
from genetext.encoders.transformer import precision
from genetext.errors import EncoderError
from tests import models

pytest.importorskip("openvino", reason='openvino is not installed: pip install "genetext[openvino]"')


def encode(folder, arithmetic, *, texts, device="cpu", threads=1, **options):
    encoder = encoders.load(
        encoders.spec(str(folder), precision=arithmetic, device=device, **options), device=device, threads=threads
    )
    vectors = np.empty((len(texts), encoder.dim), np.float32)
    for batch, encoded in encoder.stream(texts, encoder.plan(texts)):
        vectors[batch] = encoded.vectors
    return vectors


def cosines(a, b):
    a, b = a - b.mean(0), b - b.mean(0)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture
def converted(tmp_path_factory, monkeypatch):
    """Share conversions between tests that are not about converting."""
    monkeypatch.setenv("GENETEXT_CACHE", str(tmp_path_factory.getbasetemp() / "converted"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return models.write_bert(tmp_path_factory.mktemp("bert") / "model", hidden=64)


@pytest.mark.filterwarnings("ignore:Importing from 'sentence_transformers:DeprecationWarning")
@pytest.mark.parametrize(("pooling", "dense"), [("mean", None), ("cls", None), ("max", None), ("cls", 8)])
def test_float32_gives_torchs_vectors_with_every_pooling(pooling, dense, tmp_path):
    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder, pooling=pooling, dense=dense)
    texts = models.texts(60)
    exact = encode(folder, "float32", texts=texts)
    np.testing.assert_allclose(encode(folder, "float32/openvino", texts=texts), exact, rtol=0, atol=1e-5)


def test_windows_of_long_texts_are_averaged(bert, converted):
    texts = models.texts(20, longest=200)
    exact = encode(bert, "float32", texts=texts, long_texts="window-mean")
    np.testing.assert_allclose(
        encode(bert, "float32/openvino", texts=texts, long_texts="window-mean"), exact, rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(("device", "threads"), [("cpu", 2), ("cpu,cpu", 1)])
def test_neither_threads_nor_processes_change_a_vector(bert, converted, device, threads):
    texts = models.texts(300)
    alone = encode(bert, "float32/openvino", texts=texts)
    shared = encode(bert, "float32/openvino", texts=texts, device=device, threads=threads)
    np.testing.assert_allclose(shared, alone, rtol=0, atol=1e-5)


def test_a_batch_spread_over_threads_is_the_batch_of_one(bert, converted):
    texts = models.texts(30)

    def vectors(threads):
        spec = encoders.spec(str(bert), precision="float32/openvino", device="cpu")
        return encoders.load(spec, device="cpu", threads=threads).encode(texts).vectors

    np.testing.assert_allclose(vectors(2), vectors(1), rtol=0, atol=1e-5)


def test_int8_is_another_encoder_and_near_the_exact_one(bert, converted):
    texts = models.texts(100)
    exact = encode(bert, "float32", texts=texts)
    rounded = encode(bert, "int8/openvino", texts=texts)
    agreement = cosines(rounded, exact)
    assert agreement.min() > 0.98
    assert np.abs(rounded - exact).max() > 1e-4, "nothing was rounded"
    specs = {encoders.spec(str(bert), precision=name).fingerprint for name in ("int8/openvino", "float32")}
    assert len(specs) == 2


@pytest.mark.skipif("avx512_bf16" not in precision._flags(), reason="no bfloat16 on this processor")
def test_bfloat16_is_near_the_exact_one(bert, converted):
    texts = models.texts(100)
    exact = encode(bert, "float32", texts=texts)
    assert cosines(encode(bert, "bfloat16/openvino", texts=texts), exact).min() > 0.99


def test_bfloat16_is_refused_where_openvino_would_use_float32(bert, converted, monkeypatch):
    from genetext.encoders.transformer import openvino

    compiled = openvino._compile
    monkeypatch.setattr(
        openvino,
        "_compile",
        lambda model, **properties: compiled(model, **properties | {"INFERENCE_PRECISION_HINT": "f32"}),
    )
    with pytest.raises(EncoderError, match="bfloat16/openvino cannot run on this processor: OpenVINO would use f32"):
        encode(bert, "bfloat16/openvino", texts=["a gene"])


def test_a_model_is_converted_once_and_kept_without_pickle(bert, own_cache, monkeypatch):
    from genetext.encoders.transformer import openvino

    texts = models.texts(5)
    first = encode(bert, "float32/openvino", texts=texts)
    kept = sorted(path.name for path in (own_cache / "runtimes").rglob("*") if path.is_file())
    assert kept == ["model.bin", "model.xml"]
    monkeypatch.setattr(openvino, "_convert", lambda model: pytest.fail("converted again"))
    np.testing.assert_array_equal(encode(bert, "bfloat16/openvino", texts=texts).shape, first.shape)
    np.testing.assert_array_equal(encode(bert, "float32/openvino", texts=texts), first)


def test_two_that_start_at_once_convert_once(bert, monkeypatch):
    from genetext.encoders.transformer import openvino

    count, convert = [], openvino._convert

    def counted(model):
        count.append(model)
        return convert(model)

    monkeypatch.setattr(openvino, "_convert", counted)
    with ThreadPoolExecutor(2) as pool:
        a, b = pool.map(lambda _: encode(bert, "float32/openvino", texts=["a gene"]), range(2))
    np.testing.assert_array_equal(a, b)
    assert len(count) == 1


def test_a_damaged_conversion_says_what_to_remove(bert, own_cache):
    encode(bert, "float32/openvino", texts=["a gene"])
    (path,) = (own_cache / "runtimes").rglob("model.xml")
    path.write_text("<net")
    with pytest.raises(EncoderError, match="cannot be read by OpenVINO: remove it, and it is made anew"):
        encode(bert, "float32/openvino", texts=["a gene"])


def test_a_model_that_does_not_survive_tracing_is_refused(bert, own_cache):
    import torch
    from transformers import BertModel

    from genetext.encoders.transformer.openvino import OpenVinoLayers

    class Fickle(BertModel):
        """Treats long texts otherwise: the tracer sees one of two ways."""

        def forward(self, input_ids, attention_mask):
            hidden = super().forward(input_ids=input_ids, attention_mask=attention_mask)[0]
            return (hidden if input_ids.shape[1] < 12 else 2 * hidden,)

    model = Fickle.from_pretrained(bert, local_files_only=True)
    with pytest.raises(EncoderError, match="Fickle gives other vectors in OpenVINO than in torch"):
        OpenVinoLayers(lambda: model, revision="fickle", arithmetic="float32")
    assert not any((own_cache / "runtimes").iterdir())
    with pytest.raises(EncoderError, match="OpenVINO cannot convert Broken"):
        broken = type("Broken", (torch.nn.Module,), {"config": model.config, "forward": lambda self, **_: 1 / 0})
        OpenVinoLayers(broken, revision="broken", arithmetic="float32")


def test_openvino_reports_nothing_to_its_makers(bert, converted, tmp_path):
    program = (
        "import sys\n"
        "from genetext import encoders\n"
        "assert 'openvino' not in sys.modules\n"
        f"spec = encoders.spec({str(bert)!r}, precision='float32/openvino', device='cpu')\n"
        "encoders.load(spec, device='cpu', threads=1).encode(['a gene'])\n"
        "assert 'openvino' in sys.modules\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
