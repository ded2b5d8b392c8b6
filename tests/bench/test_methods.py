"""What a method's name stands for."""

import numpy as np
import pytest

from genetext.bench.methods import Block, Method, of_arrays, open_method, parse
from genetext.errors import BenchError, EncoderError
from genetext.priors import GenePriors


def test_names():
    assert parse("human/minilm") == [Block("human/minilm")]
    assert parse("human/minilm@center,abtt:3*0.5++human/biobert+lexical") == [
        Block("human/minilm", "center,abtt:3", 0.5),
        Block("human/biobert+lexical"),
    ]


@pytest.mark.parametrize("name", ["", "a++", "@center", "a*", "a*-1", "a*nan", "a*x", "a*0"])
def test_names_that_cannot_be_read(name):
    with pytest.raises(BenchError, match="cannot read the method"):
        parse(name)


def test_post_processing_that_is_unknown():
    with pytest.raises(EncoderError, match="unknown post-processing 'shrink'"):
        parse("human/minilm@shrink")


def test_an_index_as_it_is(cache):
    method = open_method("human/lexical", root=cache)
    priors = GenePriors.open("human/lexical", root=cache)
    assert np.array_equal(method.priors.vectors, priors.vectors)
    assert method.fingerprint == priors.fingerprint
    assert not method.control


def test_post_processed_and_joined(cache):
    plain = GenePriors.open("human/lexical", root=cache)
    name = "human/lexical@center++human/lexical*0.25"
    method = open_method(name, root=cache)
    assert method.name == name
    assert method.priors.dim == 2 * plain.dim
    assert np.linalg.norm(method.priors.vectors, axis=1) == pytest.approx(np.ones(len(method.priors)))
    order = np.argsort(plain.gene_ids)
    centred = plain.center().unit().vectors[order]
    left, right = np.split(method.priors.vectors, 2, axis=1)
    assert left / np.linalg.norm(left, axis=1, keepdims=True) == pytest.approx(centred, abs=1e-5)
    # A quarter of the weight in squared distances.
    assert (right**2).sum(axis=1) == pytest.approx(0.25 * (left**2).sum(axis=1), rel=1e-5)
    assert method.priors.species == "human"
    assert len({open_method(one, root=cache).fingerprint for one in (name, name + "5", "human/lexical@center")}) == 3


def test_a_file_of_priors(cache, tmp_path):
    GenePriors.open("human/lexical", root=cache).take(slice(0, 9)).save(tmp_path / "some.parquet")
    method = open_method(str(tmp_path / "some.parquet"), root=cache)
    assert len(method.gene_ids) == 9
    GenePriors.from_arrays(["A", "B"], np.eye(2)).save(tmp_path / "nameless.parquet")
    with pytest.raises(BenchError, match="which gene is which"):
        open_method(str(tmp_path / "nameless.parquet"), root=cache)


def test_rows_of_genes_without_a_vector_are_the_mean_of_the_others():
    vectors = np.array([[1, 0], [0, 0], [3, 4]], np.float32)
    method = Method("m", of_arrays("m", np.array([7, 8, 9]), vectors, "f"), "f")
    assert method.gene_ids.tolist() == [7, 9]
    assert method.rows()(np.array([9, 8, 7])).tolist() == [[3, 4], [2, 2], [1, 0]]
    # The mean is of all rows that have one, and nothing was written into the vectors.
    assert method.priors.vectors.tolist() == vectors.tolist()
