"""Findings about IOI hold whatever the names: Hypothesis looks for a pair that breaks them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_interp import assert_copy_score, assert_logit_diff
from pytest_interp.strategies import PROFILE, ioi_choices, name_pairs, name_sets

pytestmark = pytest.mark.claim(source="Wang et al. 2022, section 2", role="name_mover")


@given(data=st.data())
def test_any_pair_of_names(make_ioi_pairs, names, data):
    """For any two single-token names the answer beats the distractor on average over templates and orders."""
    pair = data.draw(name_pairs(names), label="IO, S")
    assert_logit_diff(make_ioi_pairs(pair), at_least=0)


@pytest.mark.claim(source="ronakrm/ioi-enumerate, of GPT-2 small: 1.3 % of all prompts fail, S = Lisa most")
@settings(PROFILE, max_examples=100)
@given(data=st.data())
def test_no_prompt_of_any_names_fails(make_ioi_prompt, names, single_prompt, data):
    """Whatever the names, wording, order, place and object, the answer wins; else the first that fails is shown."""
    choices = data.draw(ioi_choices(names), label="prompt")
    assert_logit_diff(make_ioi_prompt(**choices), **single_prompt)


@given(data=st.data())
def test_a_mover_copies_any_names(checkpoint, head, names, data):
    """The copy score of a name mover holds for any twenty names that it was not found on."""
    chosen = data.draw(name_sets(names, min_size=20), label="names")
    assert_copy_score(checkpoint, head, names=chosen, k=5, controls=0, at_least=0.7)
