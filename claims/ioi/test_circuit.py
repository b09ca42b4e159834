"""The circuit as a whole, and what ablation of its parts does (Wang et al. 2022, section 4).

A bound around 0, or one that a knock-out of any heads may meet, stands beside the task: the logit difference.
"""

import pytest

from pytest_interp import (
    NotApplicable,
    assert_ablation_effect,
    assert_completeness,
    assert_faithfulness,
    assert_logit_diff,
    assert_minimality,
)


@pytest.mark.claim(source="Wang et al. 2022, section 4", role="name_mover")
def test_the_circuit_is_faithful(ioi_wordings, bound):
    """With every head outside mean-ablated, the circuit keeps most of the logit difference, over 40 wordings."""
    assert_faithfulness(ioi_wordings, **bound("faithfulness", between=(0.75, 1.25)))


@pytest.mark.claim(source="Wang et al. 2022, section 4.1", role="name_mover")
def test_the_circuit_is_complete_for_the_movers(ioi, circuit, heads, bound):
    """Without its name movers circuit and model lose about as much of a logit difference of at least 1."""
    movers = sorted(circuit.heads.intersection(heads))
    if not movers:
        raise NotApplicable("all name movers stand outside of the circuit")
    assert_completeness(ioi, knocked_out=movers, **bound("completeness", between=(-1, 1)))
    assert_logit_diff(ioi, at_least=1)


@pytest.mark.claim(source="Wang et al. 2022, section 3.1", role="name_mover")
def test_without_the_movers_the_answer_is_less_sure(ioi, heads, bound):
    """Knocking out the name movers at END costs logit difference, of at least 1, where no backup makes up for it."""
    assert_ablation_effect(ioi, heads, **bound("ablation_effect", at_most=-0.2))
    assert_logit_diff(ioi, at_least=1)


@pytest.mark.claim(source="Wang et al. 2022, section 3.1", role="name_mover")
def test_without_the_movers_the_model_says_something_else(ioi, heads):
    """Knocking out the name movers at END changes what the model says next."""
    assert_ablation_effect(ioi, heads, metric="kl", at_least=0.05)


@pytest.mark.claim(source="Wang et al. 2022, section 4.2", role="name_mover")
def test_the_circuit_needs_each_mover(ioi, head, bound):
    """Without a name mover the circuit alone has less of the logit difference, which is at least 1."""
    assert_minimality(ioi, head, **bound("minimality", at_least=0.05))
    assert_logit_diff(ioi, at_least=1)


@pytest.mark.claim(source="Wang et al. 2022, section 4.2", role="induction")
def test_the_circuit_needs_each_induction_head(ioi, head):
    """Without an induction head the circuit alone has less of the logit difference."""
    assert_minimality(ioi, head, at_least=0.05)
