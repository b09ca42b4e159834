"""Paths of the circuit (Wang et al. 2022, section 3): who acts on the logits, who on the name movers' queries."""

import pytest

from pytest_interp import assert_component_attribution, assert_path_patch_effect


@pytest.mark.claim(source="Wang et al. 2022, section 3.1", role="name_mover")
def test_the_layer_of_the_movers_writes_the_answer(ioi, heads):
    """The attention of the first name mover's layer writes the answer."""
    assert_component_attribution(ioi, heads[0].layer, "attn_out", at_least=1)


@pytest.mark.claim(source="Wang et al. 2022, section 3.1 and figure 3b", role="name_mover")
def test_name_movers_act_on_the_logits_directly(ioi, heads):
    """Along direct paths into the logits alone, name movers without their names cost logit difference."""
    assert_path_patch_effect(ioi, heads, "logits", at_most=-0.5)


@pytest.mark.claim(source="Wang et al. 2022, section 3.2 and figure 4", role="s_inhibition")
def test_s_inhibition_acts_on_the_movers_queries(ioi, heads, circuit):
    """S-inhibition heads act on the queries of the name movers at END."""
    assert_path_patch_effect(ioi, heads, circuit.role("name_mover").heads, into="q", metric="of_clean", at_most=-0.05)


@pytest.mark.claim(source="Wang et al. 2022, section 3.3", role="induction", checkpoints=("planted-ioi", "gpt2"))
def test_induction_acts_on_the_inhibition_at_s2(ioi, heads, circuit):
    """Induction heads act on the keys of the S-inhibition heads at S2."""
    assert_path_patch_effect(ioi, heads, circuit.role("s_inhibition").heads, into="k", at="S2", at_most=-0.3)


@pytest.mark.claim(
    source="found here, on the finding half; compare Wang et al. 2022, section 3.3",
    role="induction",
    checkpoints="smollm2-135m-instruct",
)
def test_induction_acts_on_the_values_of_the_inhibition(ioi, heads, circuit):
    """Induction heads act on what the S-inhibition heads read at S2: their values."""
    inhibition = circuit.role("s_inhibition").heads
    assert_path_patch_effect(ioi, heads, inhibition, into="v", at="S2", metric="of_clean", at_most=-0.05)
