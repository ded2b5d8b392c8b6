"""What a model keeps: taken apart and put together again it is the same, and what cannot be is refused at once."""

import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from cellmodels.state import put_together, take_apart
from genetext.errors import ModelError


@dataclass(frozen=True, eq=False, kw_only=True)
class Inner:
    cut: float | None = None
    codes: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    names: list[str]
    hops: tuple[tuple[int, ...], ...] = ()
    key: int | str | None = None
    rate: float = 0.5
    table: dict[str, list[float]] | None = None
    always: Inner
    at_times: Inner | None = None
    graph: sparse.csr_matrix | None = None


INNER = st.builds(Inner, cut=st.none() | st.floats(0, 1), codes=st.none() | st.just(np.arange(3)))


@given(
    st.builds(
        State,
        names=st.lists(st.text()),
        hops=st.lists(st.lists(st.integers(), max_size=3).map(tuple), max_size=3).map(tuple),
        key=st.none() | st.integers() | st.text(),
        table=st.none() | st.dictionaries(st.text(), st.lists(st.floats(0, 1))),
        always=INNER,
        at_times=st.none() | INNER,
        graph=st.none() | st.just(sparse.csr_matrix(np.eye(3))),
    )
)
def test_a_state_comes_back_from_json_and_arrays(state):
    arrays, values = take_apart(state)
    assert same(put_together(State, arrays, json.loads(json.dumps(values))), state)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, State | Inner):
        return all(same(getattr(left, field.name), getattr(right, field.name)) for field in fields(left))
    if sparse.issparse(left):
        return (left != right).nnz == 0
    return np.array_equal(left, right) if isinstance(left, np.ndarray) else (type(left), left) == (type(right), right)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"names": "abc"}, "names"),
        ({"names": [np.float32(1)]}, "names"),
        ({"hops": ((1.5,),)}, "hops"),
        ({"table": {"a": {1, 2}}}, "table"),
        ({"always": Inner(codes=np.arange(3.0))}, "always.codes"),
    ],
)
def test_what_could_not_be_read_again_is_refused_when_it_is_taken_apart(changes, field):
    with pytest.raises(ModelError, match=field):
        take_apart(State(**{"names": [], "always": Inner(), **changes}))
