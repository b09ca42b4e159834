"""Surnames that were said before, and capitals that are known."""

import pytest

from pytest_interp import assert_accuracy, assert_every, assert_flips, assert_logit_diff, assert_patch_effect
from pytest_interp.measure import by_part, logit_diff

pytestmark = pytest.mark.claim(source="this project; the questions are those of a notebook on patching in fifty lines")


def test_the_surname_that_was_said_comes_again(surnames):
    """After a first name the surname that was said with it is preferred to another."""
    assert_accuracy(surnames, at_least=0.9)


def test_another_surname_flips_it(surnames):
    """With another surname said, that one is preferred."""
    assert_flips(surnames, "surname", at_least=0.9)


def test_without_the_same_first_name_it_is_weaker(surnames):
    """With another first name asked about, or said before, the surname is still preferred, but by much less."""
    assert_logit_diff(surnames, at_least=6)
    assert_logit_diff(surnames, run="first-name", at_most=5)
    assert_logit_diff(surnames, run="last-name", at_most=5)


def test_the_surname_is_read_where_it_stood(surnames):
    """Before the first layer all that differs from the corrupted run stands at the surname."""
    assert_patch_effect(surnames, "resid_pre", 0, at="SURNAME", corruption="surname", near=(1, 0.01))


def test_capitals_are_known(capitals):
    """The capital of a country is preferred to another's."""
    assert_accuracy(capitals, at_least=0.9)


def test_another_country_flips_it(capitals):
    """With the other country asked about, the other capital is preferred."""
    assert_flips(capitals, "country-exchanged", at_least=0.9)


def test_surnames_in_every_wording(surnames):
    """In each of the wordings the surname that was said wins by five logits on average over names."""
    assert_every(by_part(surnames, logit_diff(surnames), "template"), at_least=5)


def test_capitals_in_every_wording(capitals):
    """In each of the wordings the capital that is asked for wins by three logits on average over countries."""
    assert_every(by_part(capitals, logit_diff(capitals), "template"), at_least=3)
