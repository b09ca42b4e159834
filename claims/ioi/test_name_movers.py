"""Name movers read the IO name at END and write it to the logits (Wang et al. 2022, section 3.1)."""

import pytest

from pytest_interp import (
    assert_attention,
    assert_attention_write_correlation,
    assert_copy_score,
    assert_direct_logit_attribution,
    assert_head_patch_effect,
    assert_prompt_copy_score,
    assert_some_head,
)

pytestmark = pytest.mark.claim(source="Wang et al. 2022, section 3.1", role="name_mover")


def test_copies_the_name_it_reads(checkpoint, head, names):
    """The OV circuit of a name mover puts the name it reads among its own top 5 logits."""
    assert_copy_score(checkpoint, head, names=names, k=5, at_least=0.8, controls_at_most=0.8)


def test_copies_the_names_of_the_prompts(ioi, head, bound):
    """The same over prompts: of the names as the first block leaves them at IO, S1 and S2."""
    assert_prompt_copy_score(ioi, head, k=5, **bound("prompt_copy_score", at_least=0.8))


def test_writes_what_it_attends_to(ioi, head):
    """The more a name mover attends to a name at END, the more it writes towards it."""
    assert_attention_write_correlation(ioi, head, at_least=0.4)


@pytest.mark.claim(quick=True)
def test_reads_the_answer(ioi, head):
    """At END a name mover attends to IO more than to S1 and S2 together."""
    controls = {"same_layer": 5, "other_layers": 10}
    assert_attention(ioi, head, at="END", to="IO", minus=("S1", "S2"), controls=controls)


def test_writes_the_answer(ioi, head, bound):
    """A name mover writes the answer's direction at END."""
    controls = {"same_layer": 5, "other_names": 1}
    assert_direct_logit_attribution(
        ioi, head, controls=controls, **bound("direct_logit_attribution", at_least=0.1), controls_at_most=0.3
    )


def test_together_they_move_the_answer(ioi, heads, bound):
    """Patching z of the name movers at END from clean into corrupted recovers logit difference: each, and all."""
    assert_head_patch_effect(
        ioi, heads, site="z", at="END", direction="denoise", **bound("head_patch_effect", at_least=0.1),
        members_at_least=0, controls_at_most=0.1,
    )  # fmt: skip


def test_together_they_are_needed_for_it(ioi, heads):
    """Patching z of the name movers at END from corrupted into clean costs logit difference: each, and all at once."""
    assert_head_patch_effect(
        ioi, heads, site="z", at="END", direction="noise", metric="logit_diff", at_most=-0.5,
        members_at_most=0, controls_at_least=-0.5,
    )  # fmt: skip


def test_some_head_is_a_name_mover(ioi, ioi_find, names):
    """Whichever it is: some head copies names, attends at END to IO over S1 and S2, and raises the answer."""
    assert_some_head(ioi, found_on=ioi_find, to="IO", minus=("S1", "S2"), names=names, copy_at_least=0.8)
