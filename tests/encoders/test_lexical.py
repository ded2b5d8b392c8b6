"""The lexical encoder: words, corpus, bits."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genetext.encoders.base import EncoderSpec
from genetext.encoders.lexical import SPEC, LexicalEncoder, words
from genetext.errors import EncoderError

CORPUS = [
    "OPN4 melanopsin. A photopigment of retinal ganglion cells that sense light.",
    "RHO rhodopsin. The photopigment of rods, cells of the retina that sense dim light.",
    "TP53 tumor protein p53. A tumor suppressor that arrests the cell cycle after DNA damage.",
    "MDM2 proto-oncogene. A ubiquitin ligase that degrades the tumor suppressor p53.",
    "IL2 interleukin 2. A cytokine of T cells; IL-2 signals through JAK and STAT.",
    "NFKB1 nuclear factor kappa B. NF-kappaB is a transcription factor of inflammation.",
    "HTR2A receptor of 5-HT, that is of serotonin.",
]


def fitted(texts: list[str] = CORPUS, **options: int) -> LexicalEncoder:
    spec = SPEC.to_json() | {"options": options}
    encoder = LexicalEncoder(EncoderSpec.from_json(spec))
    encoder.fit(texts)
    return encoder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IL-2 and IL2", ["il2", "il", "il2"]),
        ("NF-kappaB, p53; 5-HT", ["nfkappab", "nf", "kappab", "p53", "5ht", "ht"]),
        ("calcium-dependent kinases", ["calciumdependent", "calcium", "dependent", "kinase"]),
        ("TNF-\u03b1 TGF\u03b21", ["tnfalpha", "tnf", "alpha", "tgfbeta1"]),
        ("glycolysis of the virus", ["glycolysis", "virus"]),
        ("Ca²⁺ non\u2011coding", ["ca2", "noncoding", "non", "coding"]),
        ("Alzheimer's disease, Alzheimer\u2019s", ["alzheimer", "disease", "alzheimer"]),
        ("", []),
    ],
)
def test_words_keep_what_names_a_gene(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_full_rank_inner_products_are_those_of_tfidf_written_out() -> None:
    encoder = fitted()
    document_frequency: dict[str, int] = {}
    for text in CORPUS:
        for word in set(words(text)):
            document_frequency[word] = document_frequency.get(word, 0) + 1
    rows = []
    for text in CORPUS:
        found = words(text)
        row = np.array(
            [
                (1 + math.log(found.count(word))) * (math.log((1 + len(CORPUS)) / (1 + df)) + 1)
                if word in found
                else 0.0
                for word, df in document_frequency.items()
            ]
        )
        rows.append(row / np.linalg.norm(row))
    expected = np.array(rows) @ np.array(rows).T
    vectors = encoder.encode(CORPUS).vectors
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=2e-6)


def test_truncated_components_are_numpys_singular_vectors() -> None:
    random = np.random.default_rng(1)
    names = [f"gene{number}" for number in range(300)]
    texts = [" ".join(random.choice(names[: 40 + 5 * topic], size=30)) for topic in range(50) for _ in range(4)]
    encoder = fitted(texts, dims=8, iterations=100)
    full = fitted(texts, dims=300)
    exact = full.encode(texts).vectors.astype(np.float64) @ full._fitted.components.T
    right = np.linalg.svd(exact, full_matrices=False)[2][:8]
    assert encoder.dim == 8
    cosines = np.abs(np.sum(right * encoder._fitted.components.T, axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-3)


def test_a_query_finds_its_gene() -> None:
    encoder = fitted()
    vectors = encoder.encode(CORPUS).vectors
    queries = ["photopigment of ganglion cells", "OPN4", "tumor suppressor, cell cycle arrest", "serotonin receptors"]
    assert (vectors @ encoder.encode_queries(queries).T).argmax(axis=0).tolist() == [0, 0, 2, 6]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_text_without_known_words_is_a_row_of_zeros_and_such_a_query_an_error() -> None:
    encoder = fitted()
    vectors = encoder.encode(["zzz qqq", "", "melanopsin"]).vectors
    assert not vectors[:2].any()
    assert vectors[2].any()
    with pytest.raises(EncoderError, match="zzz, qqq"):
        encoder.encode_queries(["melanopsin", "zzz qqq"])
    with pytest.raises(EncoderError, match="no word that counts"):
        encoder.encode_queries(["of the"])


def test_a_query_of_words_without_a_direction_says_so() -> None:
    # Two directions are kept, those of the many texts; what stands in one odd text has none.
    encoder = fitted(["red opsin"] * 50 + ["green cone"] * 50 + ["zebra"], dims=2)
    with pytest.raises(EncoderError, match=r"its words \(zebra\) are too rare"):
        encoder.encode_queries(["zebra"])
    assert not encoder.encode(["zebra"]).vectors.any()


@pytest.mark.parametrize("texts", [["one lonely text"], ["same text", "same text"], ["alpha beta", "gamma"]])
def test_tiny_corpora_work(texts: list[str]) -> None:
    encoder = fitted(texts)
    vectors = encoder.encode(texts).vectors
    assert vectors.shape == (len(texts), encoder.dim)
    assert encoder.dim == len(set(texts))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("texts", [[], [""], ["of the", "."]])
def test_a_corpus_without_words_is_refused(texts: list[str]) -> None:
    with pytest.raises(EncoderError, match="no word"):
        fitted(texts)


def test_options_are_checked() -> None:
    with pytest.raises(EncoderError, match="unknown lexical options: dim; known: dims"):
        fitted(dim=3)
    with pytest.raises(EncoderError, match="dims is 0"):
        fitted(dims=0)
    with pytest.raises(EncoderError, match="'openai'"):
        LexicalEncoder(EncoderSpec(kind="openai", model="x"))
    with pytest.raises(EncoderError, match="fitted"):
        LexicalEncoder().encode(["x"])


def test_options_choose_the_features() -> None:
    assert set(fitted(max_features=1)._fitted.vocabulary) == {"cell"}
    assert set(fitted(min_df=3)._fitted.vocabulary) == {"cell"}
    pairs = fitted(["red opsin"] * 5 + ["green opsin"], ngrams=2)._fitted.vocabulary
    assert set(pairs) == {"red", "green", "opsin", "red opsin"}


def test_saved_and_restored_gives_the_same_bits(tmp_path: Path) -> None:
    encoder = fitted()
    encoder.save(tmp_path)
    again = LexicalEncoder(encoder.spec)
    again.restore(tmp_path)
    assert again.dim == encoder.dim
    queries = [*CORPUS, "light", "p53 damage"]
    assert again.encode_queries(queries).tobytes() == encoder.encode_queries(queries).tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["components.npy", "idf.npy", "vocabulary.json"]


@pytest.mark.parametrize("damage", ["absent", "cut", "other"])
def test_a_damaged_copy_is_refused(tmp_path: Path, damage: str) -> None:
    encoder = fitted()
    encoder.save(tmp_path)
    if damage == "absent":
        (tmp_path / "vocabulary.json").unlink()
    elif damage == "cut":
        path = tmp_path / "components.npy"
        path.write_bytes(path.read_bytes()[:-40])
    else:
        (tmp_path / "vocabulary.json").write_text(json.dumps(["a", "b"]))
    with pytest.raises(EncoderError, match="build the index again"):
        LexicalEncoder(encoder.spec).restore(tmp_path)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(alphabet="abc \u03b1IL-2. é\n", max_size=30), max_size=6), st.integers(0, 5))
def test_a_row_depends_on_its_text_alone(extra: list[str], at: int) -> None:
    encoder = fitted()
    mixed = [*extra[:at], CORPUS[0], *extra[at:]]
    alone = encoder.encode([CORPUS[0]]).vectors[0]
    assert encoder.encode(mixed).vectors[mixed.index(CORPUS[0])].tobytes() == alone.tobytes()
    plan = encoder.plan(mixed * 600)
    assert np.concatenate(plan).tolist() == list(range(600 * len(mixed)))


def test_thread_count_and_hash_seed_change_no_bit(tmp_path: Path) -> None:
    script = tmp_path / "fit.py"
    script.write_text(
        "import hashlib, numpy as np\n"
        "from genetext.encoders.lexical import LexicalEncoder\n"
        "r = np.random.default_rng(0)\n"
        "texts = [' '.join(f'w{i}' for i in r.zipf(1.3, 40) % 3000) for _ in range(1500)]\n"
        "e = LexicalEncoder(); e.fit(texts)\n"
        "print(hashlib.sha256(e.encode(texts).vectors.tobytes()).hexdigest(), e.dim)\n"
    )
    root = Path(__file__).parents[2]
    results = {
        subprocess.run(
            [sys.executable, str(script)],
            env={"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads, seed in (("1", "1"), ("2", "2"))
    }
    assert len(results) == 1
    assert results.pop().endswith(" 512\n")


@pytest.mark.real
def test_the_whole_human_corpus_is_small_and_quick(real_data: Path, tmp_path: Path) -> None:
    script = tmp_path / "whole.py"
    script.write_text(
        "import gzip, json, re, sys, time\n"
        "from genetext.encoders.lexical import LexicalEncoder\n"
        "folder = sys.argv[1]\n"
        "def rows(name):\n"
        "    with gzip.open(f'{folder}/{name}', 'rt', encoding='utf-8') as lines:\n"
        "        for line in lines:\n"
        "            yield line.rstrip('\\n').split('\\t')\n"
        "summary = {row[1]: row[3] for row in rows('gene_summary.gz') if row[0] == '9606'}\n"
        "info = rows('GENE_INFO/Mammalia/Homo_sapiens.gene_info.gz')\n"
        "texts = [f'{r[2]} {r[8]}. {summary.get(r[1], str())}' for r in info if r[9] == 'protein-coding']\n"
        "start = time.process_time()\n"
        "encoder = LexicalEncoder(); encoder.fit(texts)\n"
        "vectors = [encoded.vectors for _, encoded in encoder.stream(texts, encoder.plan(texts))]\n"
        "print(json.dumps({'n': len(texts), 'dim': encoder.dim, 'seconds': time.process_time() - start,\n"
        # Not getrusage: that keeps the peak of the process this one was forked from.
        "    'rss_mb': int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024,\n"
        "    'empty': sum(int((~block.any(axis=1)).sum()) for block in vectors)}))\n"
    )
    said = subprocess.run(
        [sys.executable, str(script), str(real_data / "ncbi" / "gene" / "DATA")],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    print(said)
    found = json.loads(said)
    assert found["n"] > 20_000
    assert found["dim"] == 512
    assert found["empty"] < 10
    assert found["seconds"] < 60
    assert found["rss_mb"] < 550
