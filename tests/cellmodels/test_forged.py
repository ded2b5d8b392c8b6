"""A model's folder whose manifest was forged: one error, never a traceback, and never code that it names."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellmodels import ContrastiveModel, RefinementModel, TopicModel, load_model
from genetext import manifest
from genetext.errors import GenetextError
from tests.cellmodels.toy import cells

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats(allow_nan=True) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
MODELS = {
    "contrastive": lambda data: ContrastiveModel(epochs=1, n_hidden=4, n_latent=3).fit(data, labels="group"),
    "topic": lambda data: TopicModel(epochs=1, n_topics=3, n_hidden=4, n_embedding=4).fit(data),
    "refinement": lambda data: RefinementModel(epochs=1, n_hidden=4, n_latent=3, n_gene_features=4).fit(data),
}


@pytest.fixture(scope="module", params=MODELS)
def folder(request, tmp_path_factory):
    return MODELS[request.param](cells()).save(tmp_path_factory.mktemp("forged") / "m")


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_place_of_any_other_is_one_error_or_no_matter(folder, data):
    file = folder / manifest.FILE
    original = file.read_text()
    content = json.loads(original)
    path = data.draw(st.sampled_from([path for path in places(content) if path]))
    forged = copy.deepcopy(content)
    holder = forged
    for key in path[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[path[-1]] = data.draw(JSON)
    else:
        del holder[path[-1]]
    # As somebody would who forges it: with every sum right.
    if isinstance(forged.get("format"), str) and isinstance(forged.get("format_version"), int) and "files" in forged:
        inner = {key: value for key, value in forged.items() if key not in ("format", "format_version", "files")}
        manifest.write(folder, format=forged["format"], format_version=forged["format_version"], content=inner)
    else:
        file.write_text(json.dumps(forged))
    try:
        load_model(folder)
    except GenetextError as error:
        assert str(error)
    finally:
        file.write_text(original)
    load_model(folder)
