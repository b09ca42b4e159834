"""The model completes indirect object identification (Wang et al. 2022, section 2)."""

import pytest

from pytest_interp import assert_accuracy, assert_logit_diff

pytestmark = pytest.mark.claim(source="Wang et al. 2022, section 2")


def test_prefers_the_indirect_object(ioi):
    """At END the IO name's logit is above the S name's by at least 2 on average."""
    assert_logit_diff(ioi, controls={"other_names": 1, "random_model": 1}, at_least=2)


@pytest.mark.claim(quick=True)
def test_is_right_on_most_prompts(ioi):
    """The IO name's logit is above the S name's on at least 80 % of prompts."""
    assert_accuracy(ioi, at_least=0.8)


@pytest.mark.parametrize("order", ["ABBA", "BABA"])
def test_in_both_orders_of_names(ioi, order):
    """The answer wins whether IO or S is named first."""
    assert_logit_diff(ioi.select(order=order), at_least=1)


def test_exchanging_the_second_subject_flips_the_answer(ioi):
    """With the second S replaced by IO, the other name is preferred: it is the repetition that decides."""
    assert_logit_diff(ioi, at_least=1)
    assert_logit_diff(ioi, run="s2-exchanged", at_most=-1)


def test_without_a_repeated_name_neither_is_preferred(ioi):
    """With three different names in the prompt the preference for IO over S is gone, which is there with two."""
    assert_logit_diff(ioi, at_least=2)
    assert_logit_diff(ioi, run="abc", between=(-1, 1))
