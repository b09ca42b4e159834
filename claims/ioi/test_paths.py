"""Paths of the circuit (Wang et al. 2022, section 3): who acts on the logits, who on the name movers' queries."""

import pytest

from pytest_interp import assert_component_attribution, assert_path_patch_effect


@pytest.mark.claim(source="Wang et al. 2022, section 3.1", role="name_mover")
def test_the_layer_of_the_movers_writes_the_answer(ioi, heads):
    """The attention of the first name mover's layer writes the answer."""
    assert_component_attribution(ioi, "attn_out", heads[0].layer, at_least=1)


@pytest.mark.claim(source="Wang et al. 2022, section 3.1 and figure 3b", role="name_mover")
def test_name_movers_act_on_the_logits_directly(ioi, heads):
    """Along direct paths into the logits alone, name movers without their names cost logit difference, each and all."""
    assert_path_patch_effect(ioi, heads, "logits", at_most=-0.5, members_at_most=0, controls_at_least=-0.5)


@pytest.mark.claim(source="Wang et al. 2022, section 3.2 and figure 4", role="s_inhibition")
def test_s_inhibition_acts_on_the_movers_queries(ioi, heads, circuit):
    """S-inhibition heads act on the queries of the name movers at END."""
    movers = circuit.role("name_mover").heads
    assert_path_patch_effect(
        ioi, heads, movers, into="q", metric="of_clean", at_most=-0.05, members_at_most=0, controls_at_least=-0.05
    )


@pytest.mark.claim(source="Wang et al. 2022, section 3.3", role="induction")
def test_induction_acts_on_the_inhibition_at_s2(ioi, heads, circuit):
    """Induction heads act on the keys of the S-inhibition heads at S2, each of them."""
    inhibition = circuit.role("s_inhibition").heads
    assert_path_patch_effect(
        ioi, heads, inhibition, into="k", at="S2", at_most=-0.3, members_at_most=0, controls_at_least=-0.3
    )


@pytest.mark.claim(
    source="found here, on the finding half; compare Wang et al. 2022, section 3.3",
    role="induction",
    checkpoints="smollm2-135m-instruct",
)
def test_induction_acts_on_the_values_of_the_inhibition(ioi, heads, circuit):
    """Induction heads act on what the S-inhibition heads read at S2, their values: each of them."""
    inhibition = circuit.role("s_inhibition").heads
    assert_path_patch_effect(
        ioi, heads, inhibition, into="v", at="S2", metric="of_clean", at_most=-0.05, members_at_most=0,
        controls_at_least=-0.05,
    )  # fmt: skip


@pytest.mark.claim(source="Merullo et al. 2024, section 3, of GPT-2 medium", role="subject_suppressor")
def test_a_subject_suppressor_acts_on_the_logits_directly(ioi, heads):
    """Along the direct path into the logits alone, a subject suppressor without its subject costs logit difference."""
    assert_path_patch_effect(ioi, heads, "logits", at_most=-0.5, members_at_most=0, controls_at_least=-0.5)


@pytest.mark.claim(source="Wang et al. 2022, section 3.1 and figure 3b", role="negative_name_mover")
def test_negative_movers_act_on_the_logits_directly(ioi, heads):
    """Along direct paths into the logits alone, negative name movers without their names raise the logit difference."""
    assert_path_patch_effect(ioi, heads, "logits", at_least=0.2, members_at_least=0, controls_at_most=0.2)


@pytest.mark.claim(source="Wang et al. 2022, section 3.3", role="previous_token")
def test_previous_token_heads_act_on_the_keys_of_induction(ioi, heads, circuit):
    """Previous-token heads act on what the induction heads look for, their keys at S1+1: each of them."""
    induction = circuit.role("induction").heads
    assert_path_patch_effect(
        ioi, heads, induction, into="k", at="S1+1", metric="of_clean", at_most=-0.05, members_at_most=0,
        controls_at_least=-0.05,
    )  # fmt: skip
