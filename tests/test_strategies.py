"""The strategies draw what they say, and shrink to the first of their lists."""

import pytest
from hypothesis import find, given

from pytest_interp import UsageError
from pytest_interp.strategies import PROFILE, name_pairs, name_sets, names

POOL = ("Mary", "John", "Alice", "Robert")


@PROFILE
@given(pair=name_pairs(POOL), chosen=name_sets(POOL, min_size=3))
def test_what_is_drawn(pair, chosen):
    assert len(set(pair)) == 2
    assert set(pair) <= set(POOL)
    assert len(chosen) == len(set(chosen)) >= 3


def test_they_shrink_to_the_first():
    assert find(names(POOL), lambda _: True) == "Mary"
    assert find(name_pairs(POOL), lambda _: True) == ("Mary", "John")


def test_too_short_a_list_is_said():
    with pytest.raises(UsageError, match="1 to draw from, but 2 are needed"):
        name_pairs(("Mary",))
