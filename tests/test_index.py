"""The index on the disk: what it answers, and what it refuses."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genetext import manifest
from genetext.build import build
from genetext.errors import EncoderError, GeneIndexError, GenetextError, IndexMismatch
from genetext.index import GeneIndex
from genetext.indices import list_indices, locate
from tests.factory import write_ncbi

OPN4, OPN1LW, OPN1MW = 94233, 5956, 2652


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    build("human", encoder="lexical", source=str(write_ncbi(root / "ncbi")), root=root)
    return root


@pytest.fixture
def index(root):
    return GeneIndex.open("human/lexical", root=root)


def test_it_is_found_by_name_species_and_path(root, index):
    assert locate("human", root=root) == locate("human/lexical", root=root) == locate(index.path) == index.path
    assert list_indices(root=root) == [index.path]
    assert "human" in repr(index)
    assert index.species.tax_id == 9606


def test_an_unknown_index_names_those_there_are(root):
    with pytest.raises(GeneIndexError, match=r"there are human/lexical.*build-index --species mouse"):
        GeneIndex.open("mouse/minilm", root=root)
    with pytest.raises(GeneIndexError, match="none was built yet"):
        GeneIndex.open("human", root=root / "elsewhere")


def test_vectors_have_unit_length_and_stand_at_their_genes(index):
    assert index.matrix.shape == (len(index), index.dim)
    assert np.allclose(np.linalg.norm(index.matrix, axis=1), 1, atol=1e-6)
    assert not index.matrix.flags.writeable
    for gene_id, vector in zip(index.gene_ids, index.matrix, strict=True):
        assert np.array_equal(index.vectors([int(gene_id)])[0], vector)


def test_every_gene_is_in_the_table_with_or_without_a_vector(index):
    genes = index.genes
    assert genes["gene_id"].is_unique
    assert genes["gene_id"].is_monotonic_increasing
    silent = genes[genes["text"] == ""]
    assert (silent["row"] == -1).all()
    assert len(silent) > 0
    assert sorted(genes.loc[genes["row"] >= 0, "row"]) == list(range(len(index)))
    assert (genes.loc[genes["text"] != "", "n_tokens"] > 0).all()


def test_search_by_text(index):
    found = index.search("light sensor of retinal ganglion cells for the body clock", k=3)
    assert found["gene_id"].iloc[0] == OPN4
    assert list(found.columns) == ["gene_id", "symbol", "name", "score", "source", "text"]
    assert found["score"].is_monotonic_decreasing
    assert len(found) == 3


def test_search_by_vector_agrees_with_plain_numpy(index):
    query = np.random.default_rng(0).standard_normal(index.dim).astype(np.float32)
    found = index.search(query, k=len(index))
    scores = index.matrix @ (query / np.linalg.norm(query))
    expected = pd.Series(scores, index=index.gene_ids)
    assert np.allclose(found["score"], expected.loc[found["gene_id"]], atol=1e-6)
    assert set(found["gene_id"]) == set(index.gene_ids)


def test_k_beyond_the_number_of_genes_gives_all(index):
    assert len(index.search("light", k=10_000)) == len(index)


def test_neighbors_leave_the_gene_out(index):
    found = index.neighbors("OPN1LW", k=2)
    assert OPN1LW not in set(found["gene_id"])
    assert found["gene_id"].iloc[0] == OPN1MW
    assert len(found) == 2
    by_id, by_ensembl = index.neighbors(OPN1LW, k=2), index.neighbors("ENSG00000102076", k=2)
    pd.testing.assert_frame_equal(found, by_id)
    pd.testing.assert_frame_equal(found, by_ensembl)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda index: index.neighbors("Opn4"), r"a mouse symbol; .* \(written nearly so: OPN4\)"),
        (lambda index: index.neighbors("NOTAGENE"), "no gene of"),
        (lambda index: index.neighbors("LOC100130705"), "has no vector"),
        (lambda index: index.vectors(["OPN4", "LOC100130705"]), "nothing is written about: LOC100130705"),
        (lambda index: index.neighbors("AIM1"), r"ambiguous: AURKB \(9212\), SLC45A2 \(51151\)"),
        (lambda index: index.search("  "), "the query is empty"),
        (lambda index: index.search("light", k=0), "k is 0"),
        (lambda index: index.search(np.zeros(index.dim, np.float32)), "zero or not finite"),
        (lambda index: index.search(np.full(index.dim, np.nan, np.float32)), "zero or not finite"),
    ],
)
def test_bad_questions_get_one_clear_sentence(index, ask, message):
    with pytest.raises(GeneIndexError, match=message):
        ask(index)


def test_a_synonym_of_one_gene_is_understood(index):
    assert index.gene("P53")["symbol"] == "TP53"
    assert index.gene("TP53")["source"] == "RefSeq"


def test_a_query_without_a_known_word_says_so(index):
    with pytest.raises(EncoderError, match="qqqzzz"):
        index.search("qqqzzz")


def test_a_vector_of_another_dimension_is_refused_with_both_values(index):
    with pytest.raises(IndexMismatch, match=rf"\(3,\).*dimension {index.dim}"):
        index.search(np.ones(3, np.float32))


def test_another_encoder_is_refused_with_both_values(root):
    assert GeneIndex.open("human", encoder="lexical", root=root).dim > 0
    with pytest.raises(IndexMismatch, match=r"built with tfidf-svd.*text-embedding-ada-002"):
        GeneIndex.open("human", encoder="ada", root=root)


@pytest.fixture
def copy(index, tmp_path):
    import shutil

    return shutil.copytree(index.path, tmp_path / "copy")


def test_a_changed_byte_is_found_by_verify_and_a_cut_file_on_opening(copy):
    file = copy / "index.faiss"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    opened = GeneIndex.open(copy)
    file.write_bytes(content)
    (problem,) = opened.verify()
    assert "index.faiss" in problem
    file.write_bytes(content[:-4])
    with pytest.raises(GeneIndexError, match="index.faiss has .* bytes, the manifest says"):
        GeneIndex.open(copy)


def test_vectors_of_another_shape_than_the_manifest_says_are_refused(copy):
    path = copy / "manifest.json"
    recorded = json.loads(path.read_text())
    path.write_text(json.dumps(manifest.signed({**recorded, "dim": 3})))
    with pytest.raises(GeneIndexError, match=r"holds .* x \d+, the manifest says .* x 3"):
        GeneIndex.open(copy)


def test_there_is_no_pickle_in_it(index):
    names = {path.suffix for path in index.path.rglob("*") if path.is_file()}
    assert names <= {".parquet", ".faiss", ".json", ".safetensors", ".npy"}
    for path in index.path.rglob("*"):
        if path.is_file():
            assert not path.read_bytes().startswith(b"\x80")


def test_a_folder_that_is_something_else_is_not_replaced(tmp_path, root):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(GeneIndexError, match="is there already and is no genetext-index"):
        build("human", encoder="lexical", source=str(root / "ncbi"), root=root, output=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_beyond_the_exact_limit_it_is_a_graph_that_finds_nearly_the_same(tmp_path, monkeypatch, index):
    import genetext.vector_file

    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((3000, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    genes = pd.DataFrame(
        {
            "gene_id": np.arange(3000),
            "symbol": [f"G{number}" for number in range(3000)],
            "name": "",
            "source": "name",
            "text": "t",
            "row": np.arange(3000, dtype=np.int32),
        }
    )
    content = {key: index.manifest[key] for key in ("species", "snapshot")}
    found = {}
    for limit in (10_000, 100):
        monkeypatch.setattr(genetext.vector_file, "EXACT_LIMIT", limit)
        made = GeneIndex.write(
            tmp_path / str(limit), genes=genes, vectors=vectors, embedding=index.embedding, content=content
        )
        assert made.manifest["search"]["kind"] == ("exact" if limit > 3000 else "hnsw")
        assert np.allclose(made.matrix, vectors)
        found[limit] = [set(made.search(vector, 10)["gene_id"]) for vector in vectors[:50]]
    recall = np.mean([len(one & other) / 10 for one, other in zip(*found.values(), strict=True)])
    assert recall > 0.95
    again = GeneIndex.write(
        tmp_path / "again", genes=genes, vectors=vectors, embedding=index.embedding, content=content
    )
    assert again.fingerprint == made.fingerprint


def test_vectors_outlive_the_index_they_came_from(index):
    import gc

    expected = index.matrix.copy()
    rows = [GeneIndex.open(index.path).matrix for _ in range(3)]
    gc.collect()
    assert all(np.array_equal(matrix, expected) for matrix in rows)


def test_all_unknown_names_are_told_at_once(index):
    with pytest.raises(GeneIndexError, match="3 names; not among its genes: NO1, NO2; nothing is written about: LOC10"):
        index.vectors(["OPN4", "NO1", "LOC100130705", "NO2"])


def test_a_manifest_without_what_it_needs_is_refused(copy):
    path = copy / "manifest.json"
    recorded = json.loads(path.read_text())
    embedding = recorded.pop("embedding")
    path.write_text(json.dumps(manifest.signed(recorded)))
    with pytest.raises(GeneIndexError, match="lacks embedding"):
        GeneIndex.open(copy)
    recorded["embedding"] = embedding
    recorded["files"]["../../secret"] = {"sha256": "", "size": 0}
    path.write_text(json.dumps(manifest.signed(recorded)))
    with pytest.raises(GeneIndexError, match="never writes"):
        GeneIndex.open(copy)


def test_a_damaged_table_is_one_sentence(copy):
    file = copy / "genes.parquet"
    opened = GeneIndex.open(copy)
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(GeneIndexError, match="genes.parquet has sha256 .*the index is damaged, build it again"):
        opened.neighbors("OPN4")
    with pytest.raises(GeneIndexError, match="genes.parquet is not the file that the manifest was written for"):
        GeneIndex.open(copy)


def test_a_byte_changed_anywhere_never_answers(copy, index):
    """Samples find most changes when the index is opened; the first question compares every byte it needs."""
    rng = np.random.default_rng(0)
    questions = {
        "index.faiss": lambda: GeneIndex.open(copy).neighbors("OPN4"),
        "genes.parquet": lambda: GeneIndex.open(copy).gene("OPN4"),
        "embedding/block0/components.npy": lambda: GeneIndex.open(copy).search("light"),
        "embedding/block0/idf.npy": lambda: GeneIndex.open(copy).search("light"),
        "embedding/block0/vocabulary.json": lambda: GeneIndex.open(copy).search("light"),
    }
    for name, ask in questions.items():
        whole = (copy / name).read_bytes()
        for position in [0, len(whole) - 1, *rng.integers(0, len(whole), 6).tolist()]:
            content = bytearray(whole)
            content[position] ^= 1 << int(rng.integers(8))
            (copy / name).write_bytes(content)
            with pytest.raises(GeneIndexError, match=f"{name} (has sha256|is not the file that the manifest)"):
                ask()
        (copy / name).write_bytes(whole)
        ask()


def test_files_of_another_index_of_the_same_shape_are_found_on_opening(root, copy, index):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal(index.matrix.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    content = {key: index.manifest[key] for key in ("species", "snapshot")}
    other = GeneIndex.write(
        copy.with_name("other"), genes=index.genes, vectors=vectors, embedding=index.embedding, content=content
    )
    (copy / "index.faiss").write_bytes((other.path / "index.faiss").read_bytes())
    with pytest.raises(GeneIndexError, match="index.faiss is not the file that the manifest was written for"):
        GeneIndex.open(copy)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def paths_of(value, before=()):
    """Every place in a JSON object, as the keys that lead there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*before, key)
        yield from paths_of(inner, (*before, key))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=json_values, sign=st.booleans())
def test_a_forged_manifest_is_one_sentence(index, copy, data, value, sign):
    forged = json.loads((index.path / "manifest.json").read_text())
    *parents, last = data.draw(st.sampled_from(list(paths_of(forged))))
    inner = forged
    for key in parents:
        inner = inner[key]
    if value == inner[last]:
        return
    inner[last] = value
    (copy / "manifest.json").write_text(json.dumps(manifest.signed(forged) if sign else forged))
    try:
        opened = GeneIndex.open(copy)
        repr(opened), opened.fingerprint, opened.verify()
    except GenetextError as error:
        assert len(str(error).splitlines()) == 1 or "\\n" not in repr(value)
    else:
        assert sign or last == "digest"


def test_an_encoder_that_fails_is_not_passed_over_in_a_joined_index(root, monkeypatch):
    from genetext.vectors import EmbeddingSpec, TextEmbedding

    index = build("human", encoder="lexical", source=str(root / "ncbi"), root=root, name="again").index
    one = index.embedding
    joined = TextEmbedding(EmbeddingSpec(one.spec.encoders * 2), one.encoders * 2, one.chains * 2)
    assert joined.queries(["light"]).shape == (1, 2 * index.dim)
    with pytest.raises(EncoderError, match="qqqzzz"):
        joined.queries(["qqqzzz"])

    def fail(texts):
        raise EncoderError("the server is down")

    monkeypatch.setattr(one.encoders[0], "encode_queries", fail)
    with pytest.raises(EncoderError, match="the server is down"):
        joined.queries(["light"])


def resigned(path, **changes):
    """Change an index's manifest and sign it again, as somebody would who forges one."""
    recorded = json.loads((path / "manifest.json").read_text()) | changes
    (path / "manifest.json").write_text(json.dumps(manifest.signed(recorded)))


def rewritten(path, name, content):
    """Put another file in the place of one, and sign the manifest again."""
    (path / name).write_bytes(content)
    entries = manifest.write(path, format="x", format_version=2, content={}).files
    return {"files": {key: dict(entry) for key, entry in entries.items()}}


def parquet(frame):
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def with_ids(path):
    import faiss

    flat = faiss.read_index(str(path))
    numbered = faiss.IndexIDMap(faiss.IndexFlatIP(flat.d))
    numbered.add_with_ids(flat.reconstruct_n(0, flat.ntotal), np.arange(flat.ntotal) + 10**6)
    return faiss.serialize_index(numbered).tobytes()


def with_nan(path):
    import faiss

    flat = faiss.IndexFlatIP(faiss.read_index(str(path)).d)
    flat.add(np.full((faiss.read_index(str(path)).ntotal, flat.d), np.nan, np.float32))
    return faiss.serialize_index(flat).tobytes()


FORGED = {
    "no files": lambda path: {"files": {}},
    "no encoders": lambda path: {"embedding": {"encoders": [], "post": ""}},
    "another post": lambda path: {
        "embedding": json.loads((path / "manifest.json").read_text())["embedding"] | {"post": "abtt:3"}
    },
    "another fingerprint": lambda path: {"embedding_fingerprint": "x"},
    "rows twice": lambda path: rewritten(
        path, "genes.parquet", parquet(pd.read_parquet(path / "genes.parquet").assign(row=0))
    ),
    "rows as text": lambda path: rewritten(
        path, "genes.parquet", parquet(pd.read_parquet(path / "genes.parquet").assign(row="a"))
    ),
    "no symbols": lambda path: rewritten(
        path, "genes.parquet", parquet(pd.read_parquet(path / "genes.parquet").drop(columns="symbol"))
    ),
    "ids of their own": lambda path: rewritten(path, "index.faiss", with_ids(path / "index.faiss")),
    "not a number": lambda path: rewritten(path, "index.faiss", with_nan(path / "index.faiss")),
    "empty components": lambda path: rewritten(path, "embedding/block0/components.npy", b""),
    "no vocabulary": lambda path: rewritten(path, "embedding/block0/vocabulary.json", b"null"),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_index_is_one_sentence(how, index, tmp_path):
    path = shutil.copytree(index.path, tmp_path / "forged")
    recorded = json.loads((path / "manifest.json").read_text())
    resigned(path, **{**recorded, **FORGED[how](path)})
    with pytest.raises((GeneIndexError, EncoderError)):
        GeneIndex.open(path).search("visual cycle")


def test_a_folder_without_a_manifest_is_called_so(tmp_path):
    (tmp_path / "x" / "manifest.json").mkdir(parents=True)
    with pytest.raises(GeneIndexError, match="is no index: it has no file manifest.json"):
        GeneIndex.open(tmp_path / "x")
