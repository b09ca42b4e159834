"""Sequences of digits, words, days, months, letters and ordinals go on."""

import pytest

from pytest_interp import (
    assert_accuracy,
    assert_every,
    assert_flips,
    assert_logit_diff,
    assert_patch_effect,
    assert_top_k,
)
from pytest_interp.measure import by_part, logit_diff

pytestmark = pytest.mark.claim(source="this project; the question is that of a notebook on number sequences")


def test_the_next_element_is_preferred(sequences):
    """The element that follows is preferred to one that would follow elsewhere in the sequence."""
    assert_accuracy(sequences, at_least=0.9)


def test_it_is_the_likeliest_token(sequences):
    """Most of the time the next element is the likeliest of all tokens."""
    assert_top_k(sequences, 1, at_least=0.7)


def test_another_stretch_flips_the_answer(sequences):
    """From another stretch of the same sequence the other element follows."""
    assert_flips(sequences, "sequence-exchanged", at_least=0.9)


def test_the_last_element_decides(sequences):
    """With the last element alone exchanged, the answer follows it more than the others."""
    assert_logit_diff(sequences, at_least=2)
    assert_logit_diff(sequences, run="last-changed", at_most=-1)


def test_the_order_of_the_others_matters_less(sequences):
    """With the first three elements in another order the right one is still preferred, by less."""
    assert_logit_diff(sequences, run="shuffled", at_least=1)


def test_what_decides_stands_at_the_last_element(sequences):
    """The residual stream at the last element, before the first layer, carries most of the difference between runs."""
    assert_patch_effect(sequences, "resid_pre", 0, at="LAST", corruption="sequence-exchanged", at_least=0.5)


def test_in_every_wording(sequences):
    """Whatever words stand around a sequence, the next element is preferred by a logit on average over kinds."""
    assert_every(by_part(sequences, logit_diff(sequences), "wording"), at_least=1)
