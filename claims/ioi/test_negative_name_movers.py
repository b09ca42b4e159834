"""Negative name movers read the IO name at END and write against it (Wang et al. 2022, section 3.1)."""

import pytest

from pytest_interp import (
    assert_attention,
    assert_copy_score,
    assert_direct_logit_attribution,
    assert_head_patch_effect,
    assert_some_head,
)

pytestmark = pytest.mark.claim(source="Wang et al. 2022, section 3.1", role="negative_name_mover")


def test_suppresses_the_name_it_reads(checkpoint, head, names):
    """With its sign turned, the OV circuit of a negative name mover puts the name it reads among its top 5 logits."""
    assert_copy_score(checkpoint, head, names=names, k=5, negative=True, at_least=0.8, controls_at_most=0.8)


@pytest.mark.claim(quick=True)
def test_reads_the_answer(ioi, head):
    """At END a negative name mover attends to IO more than to S1 and S2 together."""
    controls = {"same_layer": 5, "other_layers": 10}
    assert_attention(ioi, head, at="END", to="IO", minus=("S1", "S2"), controls=controls)


def test_writes_against_the_answer(ioi, head, bound):
    """A negative name mover writes against the answer's direction at END."""
    controls = {"same_layer": 5, "other_names": 1}
    assert_direct_logit_attribution(
        ioi, head, controls=controls, **bound("direct_logit_attribution", at_most=-0.1), controls_at_least=-0.3
    )


def test_lowers_the_answer(ioi, heads):
    """Patching z of the negative name movers at END from clean into corrupted lowers the recovered share: each, all."""
    assert_head_patch_effect(
        ioi, heads, site="z", at="END", direction="denoise", at_most=-0.05, members_at_most=0,
        controls_at_least=-0.05,
    )  # fmt: skip


def test_some_head_is_a_negative_name_mover(ioi, ioi_find, names):
    """Whichever it is: some head suppresses names, attends at END to IO over S1 and S2, and lowers the answer."""
    assert_some_head(ioi, found_on=ioi_find, to="IO", minus=("S1", "S2"), names=names, negative=True, copy_at_least=0.8)
