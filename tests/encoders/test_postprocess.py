"""Post-processing against NumPy written out, and what must hold whatever the vectors are."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save

from genetext.encoders.postprocess import Chain, parse
from genetext.errors import EncoderError


def vectors(n: int = 400, dim: int = 24, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    scales = 1.0 / np.arange(1, dim + 1)
    return (random.normal(size=(n, dim)) * scales @ random.normal(size=(dim, dim)) + 3).astype(np.float32)


def principal(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centred = x - x.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
    return singular**2 / len(x), (directions * signs[:, None]).T


def test_each_transform_is_what_numpy_gives() -> None:
    given_ = vectors()
    x = given_.astype(np.float64)
    centred = x - x.mean(axis=0)
    variances, directions = principal(x)
    top = directions[:, :3]
    expected = {
        "center": centred,
        "whiten": centred @ directions / np.sqrt(variances),
        "whiten:5": (centred @ directions / np.sqrt(variances))[:, :5],
        "abtt:3": centred - centred @ top @ top.T,
        "abtt": centred - centred @ top[:, :1] @ top[:, :1].T,
        "pca:6": centred @ directions[:, :6],
        "truncate:7": x[:, :7],
        "unit": x / np.linalg.norm(x, axis=1, keepdims=True),
        "": x,
    }
    for recipe, wanted in expected.items():
        chain = parse(recipe).fit(given_)
        found = chain.apply(given_)
        assert found.dtype == np.float32
        assert chain.dim_out == wanted.shape[1]
        np.testing.assert_allclose(found, wanted, atol=2e-4, rtol=1e-4, err_msg=recipe)


def test_invariants() -> None:
    x = vectors(5000, 30)
    whitened = parse("whiten").fit(x).apply(x).astype(np.float64)
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(whitened.T @ whitened / len(x), np.eye(30), atol=1e-4)
    projected = parse("pca:30").fit(x).apply(x)
    centred = parse("center").fit(x).apply(x)
    np.testing.assert_allclose(projected @ projected.T, centred @ centred.T, atol=2e-2, rtol=1e-4)
    once = parse("unit").fit(x).apply(x)
    np.testing.assert_allclose(np.linalg.norm(once, axis=1), 1, atol=1e-6)


def test_a_chain_fits_each_step_on_the_output_of_those_before() -> None:
    x = vectors()
    chain = parse("unit, center ,abtt:2,pca:10,unit").fit(x)
    step_by_step = x
    for one in ("unit", "center", "abtt:2", "pca:10", "unit"):
        step_by_step = parse(one).fit(step_by_step).apply(step_by_step)
    np.testing.assert_allclose(chain.apply(x), step_by_step, atol=1e-5)
    assert (chain.dim_in, chain.dim_out) == (24, 10)


def test_queries_get_what_was_fitted_on_genes_not_on_themselves() -> None:
    x = vectors()
    chain = parse("center").fit(x)
    query = np.ones((1, 24), np.float32)
    np.testing.assert_allclose(chain.apply(query)[0], 1 - x.astype(np.float64).mean(axis=0), atol=1e-5)


def test_rows_of_zeros_are_left_out_of_the_fit_and_stay_zero() -> None:
    x = vectors()
    with_gaps = np.insert(x, [0, 100, 400], 0, axis=0)
    chain = parse("center,whiten:5").fit(with_gaps)
    gaps = ~with_gaps.any(axis=1)
    assert gaps.sum() == 3
    assert not chain.apply(with_gaps)[gaps].any()
    np.testing.assert_array_equal(chain.apply(with_gaps)[~gaps], parse("center,whiten:5").fit(x).apply(x))


def test_fewer_vectors_than_dimensions() -> None:
    x = vectors(6, 24)
    whitened = parse("whiten").fit(x).apply(x).astype(np.float64)
    assert whitened.shape == (6, 5)
    np.testing.assert_allclose(whitened.T @ whitened / 6, np.eye(5), atol=1e-3)
    with pytest.raises(EncoderError, match=r"pca:6 asks for 6 dimensions; the directions .* 6 vectors vary are 5"):
        parse("pca:6").fit(x)
    with pytest.raises(EncoderError, match=r"abtt:9 asks for 9 .* 5"):
        parse("abtt:9").fit(x)


@pytest.mark.parametrize("n", [1, 5])
def test_vectors_that_do_not_vary(n: int) -> None:
    same = np.full((n, 4), 0.1, np.float32)
    assert not parse("center").fit(same).apply(same).any()
    assert not parse("abtt").fit(same).apply(same).any()
    np.testing.assert_allclose(parse("unit").fit(same).apply(same), 0.5, atol=1e-6)
    for recipe in ("whiten", "pca:2", "center,whiten"):
        with pytest.raises(EncoderError, match=r"nothing varies|every vector is zero"):
            parse(recipe).fit(same)


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(EncoderError, match="every vector is zero"):
        parse("center").fit(np.zeros((3, 4), np.float32))
    with pytest.raises(EncoderError, match="every vector is zero"):
        parse("center").fit(np.zeros((0, 4), np.float32))
    with pytest.raises(EncoderError, match="1 of 3 vectors are not finite"):
        parse("").fit(np.array([[1, 2], [np.nan, 1], [1, 1]], np.float32))
    with pytest.raises(EncoderError, match=r"truncate:512 asks for 512 dimensions; the vectors have 24"):
        parse("truncate:512").fit(vectors())
    with pytest.raises(EncoderError, match=r"fitted on vectors of 24 dimensions and got .*\(2, 23\)"):
        parse("center").fit(vectors()).apply(np.ones((2, 23), np.float32))


def test_no_rows_to_apply_to() -> None:
    assert parse("center,pca:3").fit(vectors()).apply(np.zeros((0, 24), np.float32)).shape == (0, 3)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("centre", "unknown post-processing 'centre'; known: center, whiten\\[:d\\], abtt"),
        ("center:3", "takes no number"),
        ("pca", "needs a number: pca:d"),
        ("truncate", "needs a number"),
        ("pca:0", "'0' is not a whole number"),
        ("abtt:-1", "'-1' is not"),
        ("whiten:", "'' is not"),
        ("abtt:2:3", "'2:3' is not"),
    ],
)
def test_a_misspelt_recipe_is_refused(recipe: str, said: str) -> None:
    with pytest.raises(EncoderError, match=said):
        parse(recipe)


def test_a_recipe_prints_as_it_is_read() -> None:
    assert str(parse(" center , abtt:3,whiten,")) == "center,abtt:3,whiten"
    assert parse(str(parse("pca:8,unit"))) == parse("pca:8,unit")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["center", "whiten:6", "abtt", "abtt:2", "pca:7", "truncate:8", "unit"]), max_size=3),
    st.integers(0, 5),
)
def test_taken_apart_and_put_together_gives_the_same_bits(steps: list[str], seed: int) -> None:
    x = vectors(60, 12, seed)
    try:
        chain = parse(",".join(steps)).fit(x)
    except EncoderError as error:
        assert "asks for" in str(error)
        return
    again = Chain.from_arrays(json.loads(json.dumps(chain.to_json())), load(save(chain.to_arrays())))
    assert again.apply(x).tobytes() == chain.apply(x).tobytes()
    assert np.isfinite(chain.apply(x)).all()
    assert again.to_json() == chain.to_json()


def test_damage_is_noticed() -> None:
    chain = parse("center,pca:3").fit(vectors())
    arrays = chain.to_arrays()
    with pytest.raises(EncoderError, match="damaged"):
        Chain.from_arrays(chain.to_json(), {name: arrays[name] for name in list(arrays)[:-1]})
    with pytest.raises(EncoderError, match="gives 3 dimensions and records 4"):
        Chain.from_arrays(chain.to_json() | {"dim_out": 4}, arrays)
    with pytest.raises(EncoderError, match="damaged"):
        Chain.from_arrays(chain.to_json() | {"dim_in": 5}, arrays)


def test_thread_count_changes_no_bit(tmp_path: Path) -> None:
    script = tmp_path / "fit.py"
    script.write_text(
        "import hashlib, numpy as np\n"
        "from genetext.encoders.postprocess import parse\n"
        "x = np.random.default_rng(0).normal(size=(5000, 300)).astype('f4')\n"
        "print(hashlib.sha256(parse('abtt,whiten:200').fit(x).apply(x).tobytes()).hexdigest())\n"
    )
    root = Path(__file__).parents[2]
    results = {
        subprocess.run(
            [sys.executable, str(script)],
            env={"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": threads},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(results) == 1
