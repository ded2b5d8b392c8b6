"""A small world for priors: snapshots of human and mouse, and an index of each, in one cache."""

import numpy as np
import pytest

from genetext.encoders.base import EncoderSpec
from genetext.encoders.lexical import LexicalEncoder
from genetext.index import GeneIndex
from genetext.text.snapshot import Snapshot
from genetext.vectors import EmbeddingSpec, TextEmbedding
from tests.factory import write_ncbi, write_snapshot

DIM = 12
NO_TEXT = {"LOC100130705", "C9orf152", "Gm5493"}
"""Genes that the indices know and have no vector of."""


def write_index(path, snapshot: Snapshot, *, seed: int) -> GeneIndex:
    genes = snapshot.genes[["gene_id", "symbol", "name", "synonyms"]].assign(ensembl_id="", source="test", text="text")
    has = ~genes["symbol"].isin(NO_TEXT).to_numpy()
    genes["row"] = np.where(has, has.cumsum() - 1, -1).astype(np.int32)
    vectors = np.random.default_rng(seed).normal(1, 1, size=(has.sum(), DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    encoder = LexicalEncoder(EncoderSpec(kind="lexical", model="test", options={"min_df": 1}))
    encoder.fit(["text of genes", "text of others", "genes and others"])
    embedding = TextEmbedding(EmbeddingSpec((encoder.spec,)), [encoder])
    embedding.join([vectors])
    known = snapshot.species
    return GeneIndex.write(
        path,
        genes=genes,
        vectors=vectors,
        embedding=embedding,
        content={
            "species": {"tax_id": known.tax_id, "name": known.name, "latin": known.latin},
            "snapshot": {"digest": snapshot.digest, "source": dict(snapshot.manifest["source"])},
            "text": {"gene_types": ["protein-coding"]},
        },
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    source = write_ncbi(root / "ncbi", n_extra=60)
    for seed, species in enumerate(("human", "mouse")):
        snapshot = write_snapshot(root / "snapshots" / species / "ncbi-test", source=source, of=species)
        write_index(root / "indices" / species / "test", snapshot, seed=seed)
    return root


@pytest.fixture(autouse=True)
def in_this_world(world, own_cache, monkeypatch):
    monkeypatch.setenv("GENETEXT_CACHE", str(world))


@pytest.fixture
def human():
    from genetext.priors import GenePriors

    return GenePriors.open("human/test")


@pytest.fixture
def mouse():
    from genetext.priors import GenePriors

    return GenePriors.open("mouse/test")
