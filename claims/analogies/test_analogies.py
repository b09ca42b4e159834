"""What was said of two animals, asked about one."""

import pytest

from pytest_interp import assert_every, assert_logit_diff
from pytest_interp.measure import by_part, logit_diff

pytestmark = pytest.mark.claim(source="this project; the question is that of a notebook on analogies")


def test_the_kind_that_was_said_is_preferred(analogies):
    """The kind of the one that is asked about is preferred to the other's."""
    assert_logit_diff(analogies, at_least=0.1)


def test_exchanged_kinds_turn_the_preference(analogies):
    """With the two kinds exchanged the other one is preferred on average."""
    assert_logit_diff(analogies, run="kinds-exchanged", at_most=-0.1)


def test_in_every_wording(analogies):
    """In each of the wordings the kind that was said is preferred on average."""
    assert_every(by_part(analogies, logit_diff(analogies), "template"), at_least=0)


def test_in_the_other_order_of_sentences(analogies):
    """With the two sentences in the other order the same kind is preferred."""
    assert_logit_diff(analogies, at_least=0)
    assert_logit_diff(analogies, run="sentences-exchanged", at_least=0)
