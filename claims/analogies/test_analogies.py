"""What was said of two animals, asked about one."""

import pytest

from pytest_interp import assert_logit_diff

pytestmark = pytest.mark.claim(source="this project; the question is that of a notebook on analogies")


def test_the_kind_that_was_said_is_preferred(analogies):
    """The kind of the one that is asked about is preferred to the other's."""
    assert_logit_diff(analogies, at_least=0.1)


def test_exchanged_kinds_turn_the_preference(analogies):
    """With the two kinds exchanged the other one is preferred on average."""
    assert_logit_diff(analogies, run="kinds-exchanged", at_most=-0.1)
