"""Transformers: the right pooling, the same vector whatever stands beside a text, every cut counted."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from genetext import encoders
from genetext.encoders import EncoderSpec, weights
from genetext.encoders.base import TRUNCATED, WHOLE, WINDOWED
from genetext.encoders.presets import PRESETS
from genetext.encoders.transformer import configuration
from genetext.encoders.transformer import encoder as transformer
from genetext.errors import EncoderError, MissingWeights
from tests import models


@pytest.fixture
def folder(tmp_path):
    return models.write_bert(tmp_path / "model")


@pytest.fixture(scope="session")
def vocabularies(request):
    return request.config.cache.mkdir("vocabularies")


def load(folder, *, device="cpu", threads=None, **options):
    options = {"precision": "float32", **options}
    return encoders.load(encoders.spec(str(folder), **options), device=device, threads=threads)


def encode_all(encoder, texts):
    vectors = np.full((len(texts), encoder.dim), np.nan, dtype=np.float32)
    n_tokens, cut = np.zeros(len(texts), int), np.zeros(len(texts), int)
    for batch, encoded in encoder.stream(texts, encoder.plan(texts)):
        assert np.isnan(vectors[batch]).all()
        vectors[batch], n_tokens[batch], cut[batch] = encoded.vectors, encoded.n_tokens, encoded.cut
    return vectors, n_tokens, cut


def centred(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def neighbours_kept(a, b, k=10):
    def nearest(x):
        x = x.astype(np.float64)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        similarity = x @ x.T
        np.fill_diagonal(similarity, -np.inf)
        return np.argsort(-similarity, axis=1)[:, :k]

    return np.mean([len(set(p) & set(q)) / k for p, q in zip(nearest(a), nearest(b), strict=True)])


SENTENCES = [
    "OPN4 encodes melanopsin, a photopigment of intrinsically photosensitive retinal ganglion cells.",
    "TP53",
    "This gene encodes an E3 ubiquitin ligase that targets p53 for degradation by the proteasome.",
    "May act upstream of or within visual perception.",
]
PIECES = {
    "biobert": {"melanopsin": ["me", "##lan", "##ops", "##in"], "ubiquitin": ["u", "##bi", "##qui", "##tin"]},
    "scibert": {"melanopsin": ["melan", "##opsin"], "ubiquitin": ["ubiquitin"]},
}


@pytest.mark.parametrize("name", ["biobert", "scibert"])
def test_a_raw_masked_lm_gets_the_masked_mean_of_its_last_layer(name, tmp_path, vocabularies):
    """Real vocabularies, cased and uncased; the whole forward pass once more in NumPy float64, without padding."""
    words = models.real_vocabulary(name, vocabularies)
    folder = models.write_bert(tmp_path / name, vocabulary=words, hidden=48, heads=4, window=512)
    encoder = load(folder)
    for word, pieces in PIECES[name].items():
        assert encoder._tokens.table.tokenize(word) == pieces
    assert (encoder.spec.pooling, encoder.spec.normalize, encoder.spec.max_tokens) == ("mean", False, 512)

    place = {word: position for position, word in enumerate(words)}
    vectors = encoder.encode(SENTENCES).vectors
    for text, vector in zip(SENTENCES, vectors, strict=True):
        ids = [place[piece] for piece in ["[CLS]", *encoder._tokens.table.tokenize(text), "[SEP]"]]
        expected = models.bert_float64(folder, ids).mean(0)
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["biobert", "scibert"])
def test_a_bare_vocabulary_keeps_its_case(name, tmp_path, vocabularies):
    folder = models.write_bert(tmp_path / name, vocabulary=models.real_vocabulary(name, vocabularies), window=512)
    assert not (folder / "tokenizer_config.json").exists()
    upper, lower = load(folder).encode(["The RAS protein", "the ras protein"]).vectors
    assert np.allclose(upper, lower) == (name == "scibert")


@pytest.mark.slow
def test_twelve_layers_of_the_real_size_agree_with_float64(tmp_path, vocabularies):
    words = models.real_vocabulary("biobert", vocabularies)
    folder = models.write_bert(
        tmp_path / "base", vocabulary=words, layers=12, hidden=768, heads=12, window=512, spread=0.02
    )
    encoder = load(folder)
    ids = encoder._tokens.table(SENTENCES[0])["input_ids"]
    expected = models.bert_float64(folder, ids).mean(0)
    np.testing.assert_allclose(encoder.encode(SENTENCES[:2]).vectors[0], expected, rtol=0, atol=2e-5)
    fast = load(folder, precision="bfloat16").encode(SENTENCES).vectors
    exact = encoder.encode(SENTENCES).vectors
    cosines = (fast * exact).sum(1) / np.linalg.norm(fast, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosines.min() > 0.999


def test_a_vector_does_not_depend_on_what_stands_beside_its_text(folder):
    encoder, texts = load(folder), models.texts(80)
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    together = encoder.encode(texts).vectors
    planned, _, _ = encode_all(encoder, texts)
    order = np.random.default_rng(1).permutation(len(texts))
    shuffled, _, _ = encode_all(encoder, [texts[place] for place in order])
    for other in (together, planned):
        np.testing.assert_allclose(other, alone, rtol=0, atol=1e-5)
    np.testing.assert_allclose(shuffled, alone[order], rtol=0, atol=1e-5)


def test_a_vector_does_not_depend_on_the_number_of_threads(folder, monkeypatch):
    import torch

    monkeypatch.setattr(transformer, "BATCH_TOKENS", 128)
    before, texts = torch.get_num_threads(), models.texts(60)
    results = [encode_all(load(folder, threads=threads), texts)[0] for threads in (1, 2, 3)]
    assert torch.get_num_threads() == before
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=0, atol=1e-5)
    load(folder, threads=before + 1).encode(texts[:2])
    assert torch.get_num_threads() == before


def test_a_stream_left_early_restores_the_threads(folder):
    import torch

    before, texts = torch.get_num_threads(), models.texts(40)
    encoder = load(folder, threads=2)
    stream = encoder.stream(texts, [np.array([place]) for place in range(40)])
    next(stream)
    stream.close()
    assert torch.get_num_threads() == before


def test_encoding_twice_gives_the_same_bits(folder):
    texts = models.texts(40)
    first, second = (encode_all(load(folder), texts)[0] for _ in range(2))
    assert (first == second).all()


@pytest.mark.slow
def test_two_processes_give_every_row_to_its_text(folder, monkeypatch):
    monkeypatch.setattr(transformer, "BATCH_TOKENS", 64)
    texts = models.texts(30)
    one, n_tokens, _ = encode_all(load(folder), texts)
    two, n_tokens_of_two, _ = encode_all(load(folder, device="cpu,cpu", threads=1), texts)
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)
    assert (n_tokens == n_tokens_of_two).all()


def test_a_plan_holds_every_position_once_and_depends_on_the_texts_alone(folder):
    texts = models.texts(200)
    plan = load(folder).plan(texts)
    assert sorted(np.concatenate(plan)) == list(range(200))
    again = load(folder, threads=1).plan(texts)
    assert [batch.tolist() for batch in plan] == [batch.tolist() for batch in again]
    assert load(folder).plan([]) == []


def test_texts_are_tokenised_once_and_their_ids_are_given_back(folder, monkeypatch):
    encoder, seen = load(folder), []
    tokenize = encoder._tokens.ids
    counting = lambda texts, prefix: (seen.extend(texts), tokenize(texts, prefix))[1]  # noqa: E731
    monkeypatch.setattr(encoder._tokens, "ids", counting)
    texts = sorted(set(models.texts(50)))
    encode_all(encoder, texts)
    assert sorted(seen) == texts
    assert not encoder._ready


def test_padding_is_counted(folder):
    encoder = load(folder)
    encoder.encode(["gene", "the gene encodes a protein"])  # 3 and 7 tokens with the special ones
    assert (encoder.statistics.texts, encoder.statistics.tokens, encoder.statistics.padding) == (2, 10, 4)
    assert encoder.statistics.padding_share == 4 / 14
    assert encoder.statistics.seconds > 0


def test_planned_batches_have_little_padding(folder):
    encoder = load(folder)
    encode_all(encoder, models.texts(500, longest=60))
    assert encoder.statistics.padding_share < 0.05


LONG = " ".join((models.WORDS * 8)[:150])


def test_a_long_text_is_truncated_and_counted(folder):
    encoder = load(folder)  # a window of 64, 62 for the text
    encoded = encoder.encode([LONG, "the gene"])
    assert encoded.n_tokens.tolist() == [150, 2]
    assert encoded.cut.tolist() == [TRUNCATED, WHOLE]
    start = encoder.encode([" ".join(LONG.split()[:62])])
    np.testing.assert_allclose(encoded.vectors[0], start.vectors[0], rtol=0, atol=1e-5)


def test_a_long_text_is_the_mean_of_its_windows(folder):
    encoder = load(folder, long_texts="window-mean")
    encoded = encoder.encode(["the gene", LONG])
    assert encoded.cut.tolist() == [WHOLE, WINDOWED]
    words = LONG.split()
    windows = [" ".join(words[start : start + 62]) for start in (0, 44, 88)]
    assert words[88 + 62 :] == []
    expected = encoder.encode(windows).vectors.mean(0)
    np.testing.assert_allclose(encoded.vectors[1], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(encode_all(encoder, ["the gene", LONG])[0], encoded.vectors, rtol=0, atol=1e-5)


def test_every_window_has_the_prefix_before_it(tmp_path):
    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder, normalize=False, prompts={"document": "gene and "})
    encoder = load(folder, long_texts="window-mean")
    encoded = encoder.encode([LONG, "kinase"])
    assert encoded.cut.tolist() == [WINDOWED, WHOLE]
    assert encoded.n_tokens.tolist() == [152, 3]
    words = LONG.split()
    starts = (0, 45, 90)  # 60 words beside the prefix's two, a quarter shared
    assert words[starts[-1] + 60 :] == []
    expected = encoder.encode([" ".join(words[start : start + 60]) for start in starts])
    assert expected.n_tokens.tolist() == [62] * 3
    np.testing.assert_allclose(encoded.vectors[0], expected.vectors.mean(0), rtol=0, atol=1e-5)
    narrow = load(folder, long_texts="window-mean", max_tokens=4)
    with pytest.raises(EncoderError, match="has 2 tokens and leaves no room for text in a window of 4"):
        narrow.encode([LONG])


def test_windowed_vectors_have_unit_length_where_the_model_says_so(tmp_path):
    folder = models.write_sentence_config(models.write_bert(tmp_path / "model"), pooling="mean", normalize=True)
    vectors = load(folder, long_texts="window-mean").encode([LONG, "gene"]).vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_long_text_is_refused_where_asked(folder):
    encoder = load(folder, long_texts="error")
    for encode in (encoder.plan, encoder.encode):
        with pytest.raises(EncoderError, match=r"1 of 2 texts are longer than the 62 tokens .* \(150 tokens\)"):
            encode(["the gene", LONG])
    assert encoder.encode(["the gene"]).cut.tolist() == [WHOLE]


def test_a_smaller_window_can_be_asked_for(folder):
    encoder = load(folder, max_tokens=12)
    assert encoder.encode([LONG]).cut.tolist() == [TRUNCATED]
    assert encoder.statistics.tokens == 12
    with pytest.raises(EncoderError, match="is 64 tokens, 65 were asked for"):
        encoders.spec(str(folder), max_tokens=65)


def test_empty_texts_are_refused(folder):
    with pytest.raises(EncoderError, match="1 of 2 texts are empty: positions 1"):
        load(folder).encode(["gene", " "])


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
@pytest.mark.parametrize("dense", [None, 12])
def test_a_sentence_transformers_configuration_wins(tmp_path, pooling, dense):
    from sentence_transformers import SentenceTransformer

    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder, pooling=pooling, normalize=True, max_seq_length=24, dense=dense)
    encoder, texts = load(folder), models.texts(30)
    simple = pooling != "max" and dense is None
    assert encoder.spec.pooling == (pooling if simple else "none")
    assert (encoder.spec.normalize, encoder.spec.max_tokens) == (True, 24)
    expected = SentenceTransformer(str(folder), device="cpu").encode(texts)
    assert encoder.dim == expected.shape[1] == (dense or 32)
    np.testing.assert_allclose(encode_all(encoder, texts)[0], expected, rtol=0, atol=1e-5)


def test_prompts_of_the_configuration_are_put_before_texts_and_queries(tmp_path):
    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder, normalize=False, prompts={"query": "is in the ", "document": "gene and "})
    encoder, plain = load(folder), load(models.write_bert(tmp_path / "plain"))
    assert (encoder.spec.prefix, encoder.spec.query_prefix) == ("gene and ", "is in the ")
    cls = EncoderSpec(kind="transformer", model=plain.spec.model, pooling="cls", max_tokens=64)
    plain = encoders.load(cls, device="cpu")
    expected = plain.encode(["gene and kinase", "is in the kinase"]).vectors
    np.testing.assert_allclose(encoder.encode(["kinase"]).vectors[0], expected[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_queries(["kinase"])[0], expected[1], rtol=0, atol=1e-5)


def test_queries_go_through_the_query_model(tmp_path):
    articles, queries = (models.write_bert(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    spec = EncoderSpec(
        kind="transformer",
        model=str(articles),
        query_model=str(queries),
        pooling="cls",
        max_tokens=64,
        options={"query_max_tokens": 8},
    )
    encoder = encoders.load(spec, device="cpu")
    assert encoder.spec.revision != encoder.spec.query_revision
    asked = ["visual cycle", LONG]
    expected = [
        models.bert_float64(queries, [*encoder._tokens.table(text)["input_ids"][:7], 3])[0] for text in asked[1:]
    ]
    found = encoder.encode_queries(asked)
    np.testing.assert_allclose(found[1], expected[0], rtol=0, atol=1e-5)
    assert not np.allclose(found[0], encoder.encode(asked[:1]).vectors[0], atol=1e-2)


@pytest.mark.parametrize("activation", ["os.getcwd", "torch.hub.load", "torch.nn.functional.relu", "own.Tanh"])
def test_an_activation_that_is_none_of_torch_is_refused(activation, tmp_path):
    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder, dense=12)
    path = folder / "2_Dense" / "config.json"
    config = json.loads(path.read_text())
    for good in ("torch.nn.modules.linear.Identity", "torch.nn.Tanh", "torch.nn.modules.activation.GELU"):
        path.write_text(json.dumps({**config, "activation_function": good}))
        assert encoders.spec(str(folder)).pooling == "none"
    path.write_text(json.dumps({**config, "activation_function": activation}))
    with pytest.raises(EncoderError, match=f"2_Dense wants the activation {activation}, which is code of its own"):
        encoders.spec(str(folder))


@pytest.mark.parametrize("path", ["", "."])
def test_code_is_refused_wherever_a_module_lies(path, tmp_path):
    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder)
    marker = tmp_path / "ran"
    (tmp_path / "planted.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\nTanh = object\n")
    config = json.loads((folder / "config.json").read_text())
    dense = {"in_features": 32, "out_features": 8, "bias": True, "activation_function": "planted.Tanh"}
    (folder / "config.json").write_text(json.dumps({**config, **dense}))
    listed = json.loads((folder / "modules.json").read_text())
    listed.insert(2, {"idx": 2, "name": "2", "path": path, "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(listed))
    code = (
        "import sys; from genetext import encoders; sys.path.insert(0, sys.argv[2])\n"
        "encoders.load(encoders.spec(sys.argv[1], precision='float32'), device='cpu').encode(['a gene'])"
    )
    ran = subprocess.run([sys.executable, "-c", code, folder, tmp_path], capture_output=True, text=True)
    assert "wants the activation planted.Tanh, which is code of its own" in ran.stderr
    assert not marker.exists()


@pytest.mark.parametrize("path", ["../elsewhere", "/tmp", "a/../../b", "..", "..\\b"])
def test_a_module_outside_of_the_folder_is_refused(path, tmp_path):
    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder)
    listed = json.loads((folder / "modules.json").read_text())
    listed[1]["path"] = path
    (folder / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(EncoderError, match="module outside of it"):
        encoders.spec(str(folder))


@pytest.mark.parametrize("kind", ["SentenceTransformer", "models.WeightedLayerPooling", "util.import_from_string"])
def test_other_parts_of_the_library_are_not_run(kind, tmp_path):
    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder, module=f"sentence_transformers.{kind}")
    with pytest.raises(EncoderError, match="after a transformer, Pooling, Dense, Normalize"):
        encoders.spec(str(folder))


@pytest.mark.parametrize("content", ["{", "7", "[7]", '[{"path": ""}]', '[{"type": null, "path": 3}]', "[" * 100_000])
def test_a_configuration_that_makes_no_sense_is_one_sentence(content, tmp_path):
    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder)
    (folder / "modules.json").write_text(content)
    with pytest.raises(EncoderError):
        encoders.spec(str(folder))


def test_a_choice_of_routes_is_refused(tmp_path):
    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder, module="sentence_transformers.models.Router")
    with pytest.raises(EncoderError, match="the module Router, of several routes"):
        encoders.spec(str(folder))


def test_code_of_a_repository_is_not_run(tmp_path):
    folder = models.write_bert(tmp_path / "model")
    models.write_sentence_config(folder, module="custom_st.Transformer")
    with pytest.raises(EncoderError, match=r"custom_st.Transformer, which is code of its own"):
        encoders.spec(str(folder))


def test_bfloat16_stays_close_to_float32(folder):
    texts = models.texts(60)
    exact, fast = (encode_all(load(folder, precision=name), texts)[0] for name in ("float32", "bfloat16"))
    assert not (exact == fast).all()
    assert centred(fast, exact).min() > 0.99


def test_results_are_the_same_without_packed_layers(folder, monkeypatch):
    from genetext.encoders.transformer import runtime

    texts = models.texts(30)
    packed = load(folder).encode(texts).vectors
    monkeypatch.setattr(runtime, "can_pack", lambda dtype: False)
    np.testing.assert_allclose(load(folder).encode(texts).vectors, packed, rtol=0, atol=1e-5)
    fast = load(folder, precision="bfloat16").encode(texts).vectors
    assert centred(fast, packed).min() > 0.99


def test_where_layers_cannot_be_packed_in_a_type_they_are_not(monkeypatch):
    """As on processors for which torch refuses to lay out bfloat16, which differ by its release."""
    import torch

    from genetext.encoders.transformer import packed

    def refuse(*_):
        raise RuntimeError("bf16 path needs the cpu support avx512bw")

    packed.can_pack.cache_clear()
    monkeypatch.setattr(packed.PackedLinear, "__init__", refuse)
    assert not packed.can_pack(torch.bfloat16)
    packed.can_pack.cache_clear()


def test_memory_does_not_grow_with_the_number_of_different_batches():
    """A kernel is compiled, and kept, for every number of rows that oneDNN meets; it meets few."""
    code = """
import resource, torch
from genetext.encoders.transformer.packed import PackedLinear, can_pack
if not can_pack(torch.float32):
    raise SystemExit(print(0))
layer = PackedLinear(torch.nn.Linear(384, 1536), torch.float32)
with torch.inference_mode():
    layer(torch.ones(700, 384))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for rows in range(1, 700):
        layer(torch.ones(rows, 384))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3)  # MB on Linux
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(ran.stdout) < 200  # 1,500 where every number of rows has its own


def test_the_command_line_of_a_stack_is_quiet(folder):
    """Loading draws no progress bar of its own: genetext shows one."""
    code = f"from genetext import encoders; encoders.load(encoders.spec({str(folder)!r})).encode(['gene'])"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert (ran.stdout, ran.stderr) == ("", "")


@pytest.mark.real
@pytest.mark.slow
def test_minilm_on_real_summaries_agrees_with_sentence_transformers(real_data):
    import gzip

    from sentence_transformers import SentenceTransformer

    from genetext.encoders import weights

    with gzip.open(real_data / "ncbi" / "gene" / "DATA" / "gene_summary.gz", "rt", encoding="utf-8") as lines:
        summaries = {line.rstrip("\n").split("\t")[3] for line in lines if line.startswith("9606\t")}
    texts = [str(text) for text in np.random.default_rng(0).choice(sorted(summaries), 500, replace=False)]
    spec = encoders.spec("minilm", precision="float32", device="cpu")
    found = weights.find(spec.model, spec.revision)
    expected = SentenceTransformer(str(found.folder), device="cpu").encode(texts)

    exact, _, cut = encode_all(encoders.load(spec, device="cpu"), texts)
    assert (exact * expected).sum(1).min() >= 0.99999
    assert centred(exact, expected).min() >= 0.99999
    assert neighbours_kept(exact, expected) >= 0.999
    assert 0 < (cut == TRUNCATED).sum() < 100  # MiniLM reads 256 tokens, and some summaries are longer

    fast, _, _ = encode_all(encoders.load(encoders.spec("minilm", precision="bfloat16"), device="cpu"), texts)
    assert centred(fast, expected).min() >= 0.99
    assert neighbours_kept(fast, expected) >= 0.98


@pytest.mark.network
@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_agrees_with_its_repository(name):
    """Pooling, unit length, window and dimension as the hub has them now; small files only."""
    preset = PRESETS[name]
    try:
        folder = weights.configuration(preset.spec.model, None).folder
    except MissingWeights as error:
        pytest.skip(str(error))
    configuration.compare_with_repository(preset.spec, folder)
    assert configuration.dimension(folder, pooling=preset.spec.pooling) == preset.dim
    if not (folder / "modules.json").is_file():
        assert "sentence-transformers configuration" not in preset.source


@pytest.mark.network
@pytest.mark.parametrize("name", ["biobert", "scibert"])
def test_the_true_weights_give_the_masked_mean(name, tmp_path):
    """Only where the hub can be reached: nothing else in the project is called BioBERT's or SciBERT's."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        encoder = encoders.load(encoders.spec(name, precision="float32", device="cpu"), device="cpu")
    except MissingWeights as error:
        pytest.skip(str(error))
    assert len(encoder.spec.revision) == 40
    for word, pieces in PIECES[name].items():
        assert encoder._tokens.table.tokenize(word) == pieces
    folder = str(encoder._weights.folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, do_lower_case=name == "scibert")
    model = AutoModel.from_pretrained(folder).eval()
    for text, vector in zip(SENTENCES, encoder.encode(SENTENCES).vectors, strict=True):
        with torch.inference_mode():
            expected = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-4)


def test_a_folder_moved_elsewhere_keeps_its_revision(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert encoders.spec(str(moved)).revision == encoders.spec(str(folder)).revision
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-6}))
    assert encoders.spec(str(moved)).revision != encoders.spec(str(folder)).revision


@pytest.mark.parametrize("kind", ["Roberta", "MPNet", "DistilBert", "Electra", "ModernBert", "T5"])
def test_other_architectures_give_what_transformers_gives(kind, tmp_path):
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {
        "DistilBert": {"dim": 32, "hidden_dim": 128, "n_layers": 2, "n_heads": 4},
        "T5": {"d_model": 32, "d_kv": 8, "d_ff": 128, "num_layers": 2, "num_heads": 4},
    }
    usual = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    vocabulary = [*models.SPECIAL, *models.WORDS]
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(vocabulary), pad_token_id=0, bos_token_id=2, eos_token_id=3, **sizes.get(kind, usual)
    )
    model = getattr(transformers, f"{kind}Model")(config).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    transformers.BertTokenizer(str(tmp_path / "vocab.txt"), model_max_length=64).save_pretrained(tmp_path)

    encoder, texts = load(tmp_path), models.texts(20)
    found = encoder.encode(texts).vectors
    bare = model.get_encoder() if kind == "T5" else model
    for text, vector in zip(texts, found, strict=True):
        ids = torch.tensor([encoder._tokens.table(text)["input_ids"]])
        with torch.inference_mode():
            expected = bare(input_ids=ids, attention_mask=torch.ones_like(ids))[0][0].mean(0).numpy()
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-5)
    assert centred(load(tmp_path, precision="bfloat16").encode(texts).vectors, found).min() > 0.98


def _weights(change):
    def damage(folder):
        from safetensors.numpy import load_file, save_file

        arrays = load_file(folder / "model.safetensors")
        save_file(change(arrays), folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def _config(**changes):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return damage


DAMAGE = {
    "a layer is missing": (
        _weights(lambda arrays: {name: array for name, array in arrays.items() if "layer.1." not in name}),
        "weights in .* do not fit its config.json: 16 are missing",
    ),
    "another prefix": (
        _weights(lambda arrays: {f"x.{name}": array for name, array in arrays.items()}),
        "do not fit its config.json: .* are missing",
    ),
    "more layers asked for": (_config(num_hidden_layers=3), "do not fit its config.json: 16 are missing"),
    "fewer layers asked for": (_config(num_hidden_layers=1), "do not fit its config.json: 16 have no place"),
    "cut short": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:500]),
        "cannot be loaded as a transformer",
    ),
    "a hidden size of letters": (_config(hidden_size="32"), "cannot be (loaded|read)|does not say"),
    "negative layers": (_config(num_hidden_layers=-1), "cannot be loaded|have no place"),
    "another kind of model": (_config(model_type="t5"), "cannot be loaded|are missing|tokenizer"),
    "an adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter: merge it"),
    "a token too many": (_config(vocab_size=20), "do not fit|cannot be loaded|tokens, the model 20"),
    "no tokenizer": (lambda folder: (folder / "vocab.txt").unlink(), "tokenizer in .* (has 5 tok|cannot be loaded)"),
}


@pytest.mark.parametrize("dense", [None, 6])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_model_of_parts_that_do_not_fit_is_refused(damage, dense, tmp_path):
    folder = models.write_bert(tmp_path / "model", layers=2)
    if dense:
        models.write_sentence_config(folder, pooling="mean", dense=dense)
    change, message = DAMAGE[damage]
    change(folder)
    with pytest.raises(EncoderError, match=message):
        load(folder).encode(SENTENCES)


ODD_SHARDS = ["garbage", "{}", '{"weight_map": [1]}', '{"weight_map": {"a": "../shard.safetensors"}}']


@pytest.mark.parametrize("content", ODD_SHARDS)
def test_a_damaged_index_of_shards_is_one_sentence(content, tmp_path):
    folder = models.write_bert(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "shard.safetensors")
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(EncoderError, match=r"model.safetensors.index.json is damaged"):
        encoders.spec(str(folder))


def test_outputs_that_nobody_reads_are_not_asked_of_the_model(tmp_path):
    folder = models.write_bert(tmp_path / "model")
    plain = load(folder).encode(SENTENCES).vectors
    _config(output_hidden_states="yes", output_attentions=True)(folder)
    assert (load(folder).encode(SENTENCES).vectors == plain).all()
