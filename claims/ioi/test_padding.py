"""A number that a notebook published was read at the padding, not at END; here is what that does."""

import pytest

from pytest_interp import assert_logit_diff, assert_measurement


@pytest.mark.claim(
    source="a replication notebook of Wang et al. 2022, whose ablation section reads index -1 of right-padded prompts"
)
def test_index_minus_one_of_padded_prompts_is_another_question(ioi, at_index_minus_one):
    """At index -1 of right-padded prompts little is left of the logit difference that the same prompts have at END."""
    templates = [prompt.template for prompt in ioi.data.clean.prompts]
    assert_logit_diff(ioi, at_least=2)
    assert_measurement(
        at_index_minus_one(ioi), unit="logits", name="logit difference at the padding", clusters=templates, at_most=1.5
    )
