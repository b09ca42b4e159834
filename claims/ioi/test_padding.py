"""A number that a notebook published was read at the padding, not at END; here is what that does."""

import pytest

from pytest_interp import assert_logit_diff


@pytest.mark.claim(
    source="a replication notebook of Wang et al. 2022, whose ablation section reads index -1 of right-padded prompts"
)
def test_index_minus_one_of_padded_prompts_is_another_question(ioi, padded):
    """At index -1 of right-padded prompts little is left of the logit difference that the same prompts have at END."""
    assert_logit_diff(ioi, at_least=2)
    assert_logit_diff(padded, at_most=1.5)
