"""Ablation: the planted truth, seeds, and the mean by template."""

from dataclasses import replace

import pytest
import torch

from pytest_interp.checkpoints.rows import Rows
from pytest_interp.engine.patch import Node, ablated
from pytest_interp.errors import UsageError
from pytest_interp.measure import (
    ablation_effect,
    ablation_effect_sweep,
    backup_effect,
)


def test_the_mean_is_over_prompts_of_the_same_template(planted_ioi):
    node = Node("z", 3, 0, "END")
    source = ablated(planted_ioi, [node], "mean")
    reference, clean = planted_ioi.data.reference, planted_ioi.data.clean
    hook = planted_ioi.checkpoint.sites.hook("z", 3)
    for index, group in enumerate(clean.groups[:2]):
        size = len(group.rows)
        means = source.give(hook, index, Rows.of(range(size), size, planted_ioi.checkpoint.device), torch.empty(0))
        for i, row in enumerate(group.rows):
            rows = []
            for other in reference.groups:
                z = planted_ioi.checkpoint.run(other.tokens, keep=[hook]).activations[hook]
                same = [reference.prompts[r].template == clean.prompts[row].template for r in other.rows]
                rows += [z[j] for j, chosen in enumerate(same) if chosen]
            assert len(rows) == 16
            assert torch.allclose(torch.stack(rows).mean(0), means[i], atol=1e-6)


def test_mean_ablation_needs_a_reference(gpt2_like):
    from pytest_interp import Experiment
    from pytest_interp.tasks import p8

    experiment = Experiment(gpt2_like, p8(gpt2_like.tokenizer))
    with pytest.raises(UsageError, match="no reference prompts to take means over"):
        backup_effect(experiment, "1.0", knocked_out="0.0", ablation="mean")
    assert backup_effect(experiment, "1.0", knocked_out="0.0", ablation="zero").total_after.value is not None


MOVERS, INHIBITION = ["3.0", "3.1", "3.2"], ["2.0", "2.1"]


CLEAN, HALF, NONE = 8.854, 6.644, -1 / 3


def near(value, tolerance=0.01):
    return pytest.approx(value, abs=tolerance)


@pytest.mark.parametrize(
    ("heads", "expected"), [(MOVERS, 4.988), (["4.0"], 12.854), (INHIBITION, NONE), (["2.0"], HALF)]
)
def test_zero_ablation(planted_ioi, heads, expected):
    assert ablation_effect(planted_ioi, heads, ablation="zero").value == near(expected - CLEAN, 0.02)


def test_an_ablation_where_the_head_does_nothing_does_nothing(planted_ioi):
    for ablation in ("mean", "zero", "resample"):
        assert ablation_effect(planted_ioi, MOVERS, ablation=ablation, at="IO").value == near(0, 1e-4)
    assert ablation_effect(planted_ioi, "0.0", ablation="zero", at="S1+1").value == near(HALF - CLEAN)
    assert ablation_effect(planted_ioi, "0.0", ablation="zero", at="END").value == near(0, 1e-4)


def test_random_ablations_follow_the_seed(planted_ioi):
    for ablation in ("resample", "permute"):
        first, same, other = (
            ablation_effect(replace(planted_ioi, seed=seed), "3.0", ablation=ablation, at=None).values
            for seed in (0, 0, 1)
        )
        assert first == same != other


def test_the_sweep_finds_who_matters(planted_ioi):
    table = ablation_effect_sweep(planted_ioi, ablation="zero")
    assert [str(head) for head, _ in table.top(2, most="negative")] == ["3.0", "3.1"]
    assert table["4.0"].value == near(4)
