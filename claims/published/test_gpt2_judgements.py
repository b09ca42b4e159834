"""Findings about GPT-2 small that join several measurements, on prompts of our own: bands.

Published means of the same quantity range from 2.81 to 3.79 by names, templates and BOS, so bands are wide.
"""

import pytest

from pytest_interp import (
    assert_ablation_effect,
    assert_accuracy,
    assert_cell,
    assert_direct_logit_attribution,
    assert_faithfulness,
    assert_logit_diff,
    assert_prompt_copy_score,
)
from pytest_interp.measure import knocked_out_attribution_sweep

WANG = "Wang et al. 2022 (arXiv 2211.00593)"
PTS = "redwoodresearch/Easy-Transformer at ea15315, the authors' own .pt files"
ARENA = "ARENA 3.0, chapter 1, IOI, 109 names, seed 1, no BOS"
S001 = "a replication notebook of Wang et al. 2022 on ARENA's data set (seed document 001)"
FAITHFUL = f"{WANG}, section 4: all but 0.46; {PTS}: 2.8381 of 3.3024; {S001}: 2.8226 of 3.1490"

pytestmark = pytest.mark.claim(source="see each claim", checkpoints="gpt2", evidence="C")


@pytest.mark.claim(source="TransformerLens's own tests of ioi_eval at 4cd36aae", finding="S-B23")
def test_the_library_test_holds(make_ioi):
    """Accuracy is 99 % or near it, and the mean logit difference above 2."""
    prompts = make_ioi(half="confirm", bos=True)
    assert_accuracy(prompts, at_least=0.85)
    assert_logit_diff(prompts, at_least=2)


@pytest.mark.claim(source=f"{ARENA}: -0.7699 of 25 prompts", finding="S-B18", evidence="B")
def test_three_other_names_leave_nothing(make_ioi):
    """With three other names in place of two, the answer's lead over the subject is gone, from about 3 to below 1.5."""
    prompts = make_ioi(half="confirm", bos=False)
    assert_logit_diff(prompts, at_least=1.8)
    assert_logit_diff(prompts, run="abc", at_most=1.5)


@pytest.mark.claim(source=f"{S001}, copy scores over prompts", finding="S-C7", evidence="B")
def test_other_heads_do_not_copy(seed_one):
    """9.10, 3.2 and 6.1 copy none of the names, where 9.9 copies all."""
    assert_prompt_copy_score(seed_one, "9.9", k=5, at_least=0.99)
    assert_prompt_copy_score(seed_one, "9.10", k=5, at_most=0.005)
    assert_prompt_copy_score(seed_one, "3.2", k=5, at_most=0.005)
    assert_prompt_copy_score(seed_one, "6.1", k=5, at_most=0.005)


@pytest.mark.claim(source=f"{ARENA}: 2.8052 to 2.6290, where 9.9 writes 1.7086", finding="S-K4", evidence="B")
def test_without_the_strongest_name_mover(make_ioi):
    """Mean-ablating 9.9 at END costs a tenth of what it writes: others make up for it."""
    prompts = make_ioi(half="confirm", bos=False)
    assert_direct_logit_attribution(prompts, "9.9", at_least=0.6)
    assert_ablation_effect(prompts, "9.9", between=(-0.8, 0.4))
    assert_logit_diff(prompts, knocked_out="9.9", at_least=1.5)


@pytest.mark.claim(source=f"{WANG}, section 3.4: -5 %; Murano et al.: 3.484 to 3.520", finding=("S-K5", "S-K6"))
def test_without_all_three_name_movers(make_ioi):
    """Mean-ablating 9.9, 9.6 and 10.0 changes the logit difference by a tenth or less, though they write most of it."""
    prompts, three = make_ioi(half="confirm", bos=True), ["9.9", "9.6", "10.0"]
    assert_direct_logit_attribution(prompts, three, at_least=2)
    assert_ablation_effect(prompts, three, between=(-0.9, 0.6))
    assert_logit_diff(prompts, knocked_out=three, at_least=2)


@pytest.mark.claim(source=f"{WANG}, section 3.4 and appendix F", finding="S-K5")
def test_a_negative_name_mover_turns_round(make_ioi):
    """Without the three name movers 10.7, which wrote against the answer, writes for it."""
    prompts = make_ioi(half="confirm", bos=True)
    assert_direct_logit_attribution(prompts, "10.7", at_most=-0.5)
    assert_cell(knocked_out_attribution_sweep(prompts, ["9.9", "9.6", "10.0"]), "10.7", at_least=0)


@pytest.mark.claim(source=FAITHFUL, finding=("S-F1", "S-F2", "S-F3"))
def test_the_circuit_alone(make_ioi):
    """The 26 heads at their positions keep about 0.9 of the logit difference, all other heads mean-ablated."""
    prompts = make_ioi(half="confirm", bos=True)
    assert_faithfulness(prompts, metric="logit_diff", between=(1.4, 4.4))
    assert_faithfulness(prompts, metric="of_model", between=(0.5, 1.4))


@pytest.mark.claim(source=f"{PTS}: 2.8619 against 2.8381 of the whole circuit", finding="S-F5")
def test_the_naive_circuit_alone(make_ioi, nodes_without, naive_circuit):
    """The authors' naive circuit, 13 heads without negative and backup name movers, keeps as much as the whole one."""
    prompts = make_ioi(half="confirm", bos=True)
    assert_faithfulness(prompts, metric="logit_diff", between=(1.4, 4.4))
    assert_faithfulness(prompts, nodes_without(naive_circuit, []), metric="logit_diff", between=(1.4, 4.4))
