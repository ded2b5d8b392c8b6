"""The registry: every preset as its authors document it, and names that mean something."""

import numpy as np
import pytest

from genetext import encoders
from genetext.encoders import EncoderSpec, weights
from genetext.encoders.presets import MINILM_SHA256, PRESETS
from genetext.encoders.transformer import configuration
from genetext.errors import EncoderError
from tests import models

#: model, pooling, unit length, window, dimension
DOCUMENTED = {
    "biobert": ("dmis-lab/biobert-base-cased-v1.2", "mean", False, 512, 768),
    "scibert": ("allenai/scibert_scivocab_uncased", "mean", False, 512, 768),
    "biomedbert": ("microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext", "mean", False, 512, 768),
    "pubmedbert": ("NeuML/pubmedbert-base-embeddings", "mean", False, 512, 768),
    "medcpt": ("ncbi/MedCPT-Article-Encoder", "cls", False, 512, 768),
    "sapbert": ("cambridgeltl/SapBERT-from-PubMedBERT-fulltext", "cls", False, 512, 768),
    "biolord": ("FremyCompany/BioLORD-2023", "mean", False, 512, 768),
    "minilm": ("sentence-transformers/all-MiniLM-L6-v2", "mean", True, 256, 384),
    "mpnet": ("sentence-transformers/all-mpnet-base-v2", "mean", True, 384, 768),
    "bge-small": ("BAAI/bge-small-en-v1.5", "cls", True, 512, 384),
    "bge-base": ("BAAI/bge-base-en-v1.5", "cls", True, 512, 768),
}


def test_every_preset_is_as_documented():
    found = {
        name: (preset.spec.model, preset.spec.pooling, preset.spec.normalize, preset.spec.max_tokens, preset.dim)
        for name, preset in PRESETS.items()
    }
    assert found == DOCUMENTED
    assert PRESETS["medcpt"].spec.query_model == "ncbi/MedCPT-Query-Encoder"
    assert PRESETS["medcpt"].spec.options == {"query_max_tokens": 64}
    asked = {name: preset.spec.query_prefix for name, preset in PRESETS.items() if preset.spec.query_prefix}
    assert set(asked) == {"bge-small", "bge-base"}
    assert all(preset.spec.prefix == "" for preset in PRESETS.values())
    assert len({preset.spec.fingerprint for preset in PRESETS.values()}) == len(PRESETS)


def test_minilm_agrees_with_its_own_configuration():
    spec = PRESETS["minilm"].spec
    recipe = configuration.recipe(weights.find(spec.model, spec.revision).folder)
    assert (recipe.pooling, recipe.normalize, recipe.max_tokens) == (spec.pooling, spec.normalize, spec.max_tokens)
    assert (recipe.prefix, recipe.query_prefix) == (spec.prefix, spec.query_prefix)


def test_minilm_works_without_a_hub(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = encoders.load(encoders.spec("minilm", precision="float32"), device="cpu")
    assert encoder.spec.revision == f"sha256:{MINILM_SHA256}"
    texts = ["tumour suppressor p53", "TP53 guards the genome against mutations", "melanopsin drives the pupil reflex"]
    vectors = encoder.encode(texts).vectors
    assert vectors.shape == (3, encoder.dim) == (3, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    np.testing.assert_allclose(encoder.encode_queries(texts), vectors, atol=1e-5)


def test_precision_and_long_texts_are_part_of_the_fingerprint():
    specs = [
        encoders.spec("minilm", precision=precision, long_texts=long_texts)
        for precision in ("float32", "bfloat16")
        for long_texts in ("truncate", "window-mean")
    ]
    assert len({spec.fingerprint for spec in specs}) == 4
    again = EncoderSpec.from_json(specs[0].to_json())
    assert again == specs[0]
    assert again.fingerprint == specs[0].fingerprint


def test_encoders_are_joined_by_a_plus():
    both = encoders.specs("minilm+lexical", precision="float32", long_texts="window-mean")
    assert [spec.kind for spec in both] == ["transformer", "lexical"]
    assert both[0].long_texts == "window-mean"
    assert both[1] == encoders.spec("lexical")
    shortened = encoders.specs("openai-3-small+lexical", dimensions=256)
    assert [spec.dimensions for spec in shortened] == [256, None]


@pytest.mark.parametrize("names", ["minilm+", "minilm+minilm", ""])
def test_lists_that_are_none_are_refused(names):
    with pytest.raises(EncoderError, match="is not a list of different encoders"):
        encoders.specs(names)


def test_unknown_names_precisions_and_options_are_refused(tmp_path):
    with pytest.raises(EncoderError, match=r"encoder 'biobart' is unknown: give a preset \(minilm, biobert, "):
        encoders.spec("biobart")
    with pytest.raises(EncoderError, match="precision 'int3' is unknown"):
        encoders.spec("minilm", precision="int3")
    with pytest.raises(EncoderError, match="no shortened dimensions"):
        encoders.spec("minilm", dimensions=128)
    with pytest.raises(EncoderError, match="no shortened dimensions"):
        encoders.specs("minilm+lexical", dimensions=128)
    with pytest.raises(EncoderError, match="no encoder has the options colour"):
        encoders.load(encoders.spec("minilm"), colour="red")
    with pytest.raises(EncoderError, match="can be treated by truncate, window-mean, error, not 'cut'"):
        encoders.load(encoders.spec("minilm", long_texts="cut"))
    with pytest.raises(EncoderError, match="kind 'table' are unknown"):
        encoders.load(EncoderSpec(kind="table", model="x"))
    with pytest.raises(EncoderError, match="no weights on the hub"):
        encoders.pull("lexical")


def test_options_that_would_do_nothing_are_refused():
    with pytest.raises(EncoderError, match="minilm does not have the options foo; known: none"):
        encoders.spec("minilm", options={"foo": 1})
    with pytest.raises(EncoderError, match="medcpt does not have the options foo; known: query_max_tokens"):
        encoders.spec("medcpt", options={"foo": 1})
    with pytest.raises(EncoderError, match="ada does not have the options dim; known: none"):
        encoders.spec("ada", options={"dim": 7})
    with pytest.raises(EncoderError, match="lexical does not have the options foo; known: dims, ngrams"):
        encoders.spec("lexical", options={"foo": 1})
    with pytest.raises(EncoderError, match="lexical has no window"):
        encoders.spec("lexical", max_tokens=7)
    with pytest.raises(EncoderError, match="lexical has no window"):
        encoders.specs("lexical", max_tokens=7)
    with pytest.raises(EncoderError, match=r"minilm\+lexical does not have the options foo; known: dims"):
        encoders.specs("minilm+lexical", options={"foo": 1})


def test_joined_encoders_take_the_options_that_they_have():
    minilm, lexical = encoders.specs("minilm+lexical", precision="float32", max_tokens=64, options={"dims": 7})
    assert (minilm.max_tokens, minilm.options) == (64, {})
    assert (lexical.max_tokens, lexical.options["dims"]) == (None, 7)
    _, other = encoders.specs("lexical+openai:x", max_tokens=64, dimensions=5, options={"dim": 5, "dims": 7})
    assert (other.max_tokens, other.dimensions, other.options) == (64, 5, {"dim": 5})


def test_options_of_other_kinds_do_no_harm():
    encoder = encoders.load(encoders.spec("lexical"), device="cpu", threads=1, concurrency=2)
    assert encoder.spec.kind == "lexical"


def test_every_encoder_is_listed(monkeypatch):
    rows = {row.name: row for row in encoders.available()}
    assert set(rows) == {*DOCUMENTED, "lexical", "ada", "openai-3-small", "openai-3-large"}
    assert rows["minilm"].present is True
    assert rows["ada"].present is None
    dims = {name: rows[name].dim for name in ("ada", "openai-3-small", "openai-3-large", "lexical", "biobert")}
    assert dims == {"ada": 1536, "openai-3-small": 1536, "openai-3-large": 3072, "lexical": 512, "biobert": 768}
    assert "shortened" in rows["openai-3-small"].note
    assert "shortened" not in rows["ada"].note
    assert "fitted" in rows["lexical"].note
    assert all(row.licence and row.source and row.size_mb for row in rows.values() if row.spec.kind == "transformer")
    assert rows["biobert"].to_json()["pooling"] == "mean"


def test_a_folder_without_a_configuration_gets_the_masked_mean(tmp_path):
    spec = encoders.spec(str(models.write_bert(tmp_path / "model")), precision="float32")
    assert (spec.pooling, spec.normalize, spec.max_tokens, spec.prefix) == ("mean", False, 64, "")
    assert spec.revision.startswith("sha256:")
