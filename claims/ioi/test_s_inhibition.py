"""S-inhibition heads read S2 at END and tell name movers which name to leave out (Wang et al. 2022, section 3.2)."""

import pytest

from pytest_interp import assert_attention, assert_head_patch_effect, assert_minimality

pytestmark = pytest.mark.claim(source="Wang et al. 2022, section 3.2", role="s_inhibition")


@pytest.mark.claim(quick=True)
def test_reads_the_second_subject(ioi, head):
    """At END an S-inhibition head attends to S2 more than to IO, by a tenth of its attention at least."""
    controls = {"same_layer": 5, "other_layers": 10}
    assert_attention(ioi, head, at="END", to="S2", minus=("IO",), controls=controls, at_least=0.1)


def test_together_they_move_the_answer(ioi, heads):
    """Patching z of the S-inhibition heads at END from clean into corrupted recovers most of it: each some of it."""
    assert_head_patch_effect(
        ioi, heads, site="z", at="END", direction="denoise", at_least=0.4, members_at_least=0,
        controls_at_most=0.2,
    )  # fmt: skip


def test_the_circuit_needs_it(ioi, head):
    """Without an S-inhibition head the circuit alone has less of the logit difference."""
    assert_minimality(ioi, head, at_least=0.05)
