"""Every planted model against the truth that is written beside it."""

from dataclasses import replace

import pytest
import torch
from models import experiment_on, values_by_prompt

from pytest_interp import Checkpoint, Head, KVHead
from pytest_interp.checkpoints import known_specs
from pytest_interp.checkpoints.planted.build import Plan, build_planted
from pytest_interp.checkpoints.planted.family import MOVERS, PLANS, TRUTH
from pytest_interp.checkpoints.planted.rules import RULES
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    ablation_effect,
    accuracy,
    attention,
    component_attribution_sweep,
    copy_score,
    direct_logit_attribution_sweep,
    faithfulness,
    head_patch_effect,
    logit_diff,
    ov_eigenvalue_score,
    path_patch_effect,
)
from pytest_interp.tasks import single_token_names


@pytest.fixture(scope="module", params=TRUTH)
def model(request):
    return experiment_on(Checkpoint(known_specs()[request.param])), TRUTH[request.param]


def test_it_does_the_task(model):
    experiment, truth = model
    assert logit_diff(experiment).value == pytest.approx(truth.clean, abs=truth.tolerance)
    assert accuracy(experiment).value == 1
    assert logit_diff(experiment, run="s2-exchanged").value == pytest.approx(-truth.clean, abs=truth.tolerance)


def test_what_is_left_without_heads(model):
    experiment, truth = model
    whole = logit_diff(experiment).value
    for heads, expected in truth.without.items():
        effects = values_by_prompt(
            experiment, lambda heads=heads: ablation_effect(experiment, heads, ablation="zero", at=None)
        )
        left = whole + sum(effects) / len(effects)
        assert left == pytest.approx(expected, abs=truth.tolerance), heads
    for head in truth.redundant:
        effects = values_by_prompt(
            experiment, lambda head=head: ablation_effect(experiment, head, ablation="zero", at=None)
        )
        assert abs(sum(effects) / len(effects)) < truth.tolerance


def test_what_heads_and_components_write(model):
    experiment, truth = model
    for head, attribution in direct_logit_attribution_sweep(experiment).items():
        assert attribution.value == pytest.approx(truth.writes.get(str(head), 0), abs=truth.tolerance), head
    total = sum(attribution.value for attribution in component_attribution_sweep(experiment).values())
    assert total == pytest.approx(logit_diff(experiment).value, abs=1e-3)


def test_who_copies(model):
    experiment, truth = model
    names = single_token_names(experiment.checkpoint.tokenizer, "confirm")
    for sign, heads in ((1, truth.copies), (-1, truth.suppresses)):
        for head in heads:
            assert copy_score(experiment.checkpoint, head, names=names, negative=sign < 0).value == 1
            assert copy_score(experiment.checkpoint, head, names=names, negative=sign > 0).value == 0


def test_where_heads_look_and_act(model):
    experiment, _ = model
    for head in MOVERS:
        assert attention(experiment, head, at="END", to="IO").value > 0.95
    for head in ("2.0", "2.1"):
        assert attention(experiment, head, at="END", to="S2").value > 0.95
    assert attention(experiment, "0.0", at="S1+1", to="S1").value > 0.95
    assert head_patch_effect(experiment, MOVERS, at="END").value > 0.4
    both = path_patch_effect(experiment, ["2.0", "2.1"], MOVERS, into="q", metric="of_clean")
    assert both.value == pytest.approx(-1.04, abs=0.05)
    assert abs(path_patch_effect(experiment, ["2.0", "2.1"], "logits", metric="of_clean").value) < 0.05
    try:
        assert faithfulness(experiment, [*RULES]).value == pytest.approx(1, abs=0.08)
    except NotApplicable:  # no other head writes anything
        assert not experiment.checkpoint.name.startswith("planted-noisy")


def test_a_chain_has_no_second_way():
    chain = experiment_on(Checkpoint(known_specs()["planted-chain"]))
    effect = path_patch_effect(chain, "0.0", "1.0", into="k", at="S1+1", metric="of_clean").value
    assert effect == pytest.approx(-1.04, abs=0.02)


def test_copies_through_the_first_mlp_alone():
    checkpoint = Checkpoint(known_specs()["planted-mlp0"])
    bare = (
        checkpoint.weights.w_e()[2:4]
        @ checkpoint.weights.w_v(3)[0]
        @ checkpoint.weights.w_o(3)[0]
        @ checkpoint.weights.w_u()
    )
    assert float(bare.abs().max()) < 1e-6
    through = checkpoint.forward.embed_through_mlp0(torch.tensor([2, 3]))
    assert (
        float((through @ checkpoint.weights.w_v(3)[0] @ checkpoint.weights.w_o(3)[0] @ checkpoint.weights.w_u()).max())
        > 5
    )
    # The eigenvalues of tokens to tokens do not go through the MLP: they say nothing about such a head.
    with pytest.raises(Exception, match=r"the OV circuit of 3\.0 .* is zero"):
        ov_eigenvalue_score(checkpoint, "3.0")


def test_spare_heads_of_the_noisy_model_are_alive():
    noisy = experiment_on(Checkpoint(known_specs()["planted-noisy"]))
    spare = [Head(layer, head) for layer in range(5) for head in range(4) if Head(layer, head) not in RULES]
    assert all(max(map(abs, ablation_effect(noisy, head, ablation="zero", at=None).values)) > 1e-3 for head in spare)


def test_key_value_heads_are_shared():
    checkpoint = Checkpoint(known_specs()["planted-gqa"])
    assert (checkpoint.shape.n_heads, checkpoint.shape.n_kv_heads) == (4, 2)
    assert checkpoint.kv_head(Head(3, 1)) == KVHead(3, 0)
    experiment = experiment_on(checkpoint)
    # 3.0's values are 3.1's too: exchanged for one, they are exchanged for both, and not for 3.2.
    single = head_patch_effect(experiment, "3.0", site="k", metric="logit_diff")
    assert single.context.to_json()["kv_heads"] == {"kv 3.0": ["3.0", "3.1"]}
    group = head_patch_effect(experiment, KVHead(3, 0), site="k", metric="logit_diff")
    assert single.values == group.values


def test_rules_that_do_not_fit_are_refused(tmp_path):
    doubled = {head: replace(rule, scores=rule.scores * 4) for head, rule in RULES.items()}
    with pytest.raises(UsageError, match="its rules need .* keys, a head has 144"):
        build_planted(Plan(doubled), tmp_path)


def test_plans_and_truths_are_of_the_same_models():
    planted = {name for name, spec in known_specs().items() if spec.kind == "planted"}
    assert set(PLANS) == set(TRUTH) == planted
