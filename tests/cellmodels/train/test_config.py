"""Hyper-parameters: any value is taken or refused in one sentence, and text says what the value says."""

from dataclasses import asdict, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellmodels import registry
from cellmodels.train.config import TrainConfig, listing, parse
from genetext.errors import ModelError
from tests.cellmodels.toy import ToyModel

MODELS = [ToyModel, *(entry.load() for entry in registry.BUILT_IN)]
WEIGHTING = ("weighting", "top_n", "view_weighting", "view_top_n")  # checked together
ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
)


@given(model=st.sampled_from(MODELS), value=ANY, data=st.data())
def test_any_value_is_taken_or_refused_in_one_sentence(model, value, data):
    name = data.draw(st.sampled_from([field.name for field in fields(model.Config)]))
    try:
        config = model.Config(**{name: value})
    except ModelError as error:
        text = str(error)
        assert "\n" not in text
        assert text.startswith(f"{name}={value!r}: it has to be ") or name in WEIGHTING
    else:
        taken = getattr(config, name)
        assert taken == value or list(taken) == value
        assert isinstance(taken, bool) == isinstance(value, bool)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_text_says_what_the_value_says(model):
    table = listing(model.Config, model.presets).set_index("name")
    for preset in ({}, *model.presets.values()):
        config = model(**preset).config
        shown = {name: str(table.at[name, "default"]) for name in table.index}
        for name, value in asdict(config).items():
            text = "none" if value is None else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            assert parse(model.Config, [f"{name}={text}"]) == {name: value}
            assert preset.get(name, value) == value
            assert shown[name]
    assert set(table.index) == {field.name for field in fields(model.Config)}


@given(text=st.text(max_size=12), data=st.data())
def test_any_text_is_read_or_refused(text, data):
    model = data.draw(st.sampled_from(MODELS))
    name = data.draw(st.sampled_from([field.name for field in fields(model.Config)]))
    try:
        values = parse(model.Config, [f"{name}={text}"])
    except ModelError as error:
        assert ": it has to be " in str(error)
    else:
        try:
            assert getattr(model.Config(**values), name) == values[name]
        except ModelError as error:
            assert name in ("weighting", "top_n", "view_weighting"), error


def test_values_of_numpy_and_lists_are_taken_for_what_they_hold():
    config = TrainConfig(epochs=np.int64(3), lr=np.float32(0.5), held_out=np.float64(0.25))
    assert (type(config.epochs), type(config.lr), config.held_out) == (int, float, 0.25)
    refinement = registry.find("refinement").load()
    assert refinement(hops=[3, 1]).config.hops == (3, 1)
    for wrong in ([1], [1, 2, 3], [-1, 0], (1.5, 2), "2,1"):
        with pytest.raises(ModelError, match="2 values with a comma between, each a whole number of at least 0"):
            refinement(hops=wrong)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("batch_size=0", "batch_size=0: it has to be a whole number of at least 4"),
        ("held_out=1", "held_out=1: it has to be a number of at least 0 and below 1"),
        ("lr=nan", "lr=nan: it has to be a number above 0"),
        ("n_genes=few", "n_genes=few: it has to be a whole number of at least 1 or none"),
        ("selection=best", "selection=best: it has to be last, loss or oracle"),
        ("unit_vectors=maybe", "unit_vectors=maybe: it has to be true or false"),
        ("seed=5000000000", "seed=5000000000: it has to be a whole number of at least 0 and below 4,294,967,296"),
    ],
)
def test_the_sentence_has_the_allowed_range(pair, message):
    with pytest.raises(ModelError) as caught:
        parse(registry.find("contrastive").load().Config, [pair])
    assert str(caught.value) == message
