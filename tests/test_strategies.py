"""The strategies draw what they say, and shrink to the first of their lists."""

from pathlib import Path

import pytest
from hypothesis import find, given

from pytest_interp import Head, UsageError, load_circuit
from pytest_interp.strategies import PROFILE, circuit_subsets, name_pairs, name_sets, names

POOL = ("Mary", "John", "Alice", "Robert")
CIRCUIT = load_circuit(Path(__file__).parents[1] / "claims" / "circuits" / "planted-ioi.toml")


@PROFILE
@given(pair=name_pairs(POOL), chosen=name_sets(POOL, min_size=3), heads=circuit_subsets(CIRCUIT, role="name_mover"))
def test_what_is_drawn(pair, chosen, heads):
    assert len(set(pair)) == 2
    assert set(pair) <= set(POOL)
    assert len(chosen) == len(set(chosen)) >= 3
    assert heads == tuple(sorted(set(heads)))
    assert set(heads) <= set(CIRCUIT.role("name_mover").heads)


def test_they_shrink_to_the_first():
    assert find(names(POOL), lambda _: True) == "Mary"
    assert find(name_pairs(POOL), lambda _: True) == ("Mary", "John")
    assert find(circuit_subsets(CIRCUIT), lambda _: True) == (Head(0, 0),)


def test_too_short_a_list_is_said():
    with pytest.raises(UsageError, match="1 to draw from, but 2 are needed"):
        name_pairs(("Mary",))
