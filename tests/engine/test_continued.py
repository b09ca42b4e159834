"""A corrupted run continues the clean one where its prompts begin to differ: the same numbers, for fewer positions."""

from dataclasses import replace

import pytest
import torch
from models import experiment_on

from pytest_interp import Experiment
from pytest_interp.checkpoints import continued
from pytest_interp.checkpoints.blocks import Blocks
from pytest_interp.checkpoints.continued import activation_at, continued_pass
from pytest_interp.checkpoints.forward import Forward
from pytest_interp.engine import activations as runs
from pytest_interp.measure import patch_effect_sweep

MODELS = ("planted", "gpt2_like", "llama_like", "neox_like")
TOLERANCE = 1e-4


@pytest.fixture
def starts(monkeypatch):
    """The positions at which passes were continued."""
    positions = []

    def noted(forward, other, tokens, start, activations):
        positions.append(start)
        return continued_pass(forward, other, tokens, start, activations)

    monkeypatch.setattr(runs, "continued_pass", noted)
    return positions


def both_ways(experiment, corruption, hooks, monkeypatch):
    """What a corrupted run leaves, continued and whole: activations, streams, keys and values, logit differences."""

    def left():
        activations = experiment.activations(hooks, experiment.data.run(corruption))
        passes = experiment.clean_passes(corruption)
        parts = [tensor for hook in hooks for tensor in activations[hook]]
        parts += [tensor for clean_pass in passes for tensor in clean_pass.residual]
        parts += [tensor for clean_pass in passes for pair in clean_pass.keys_values.values() for tensor in pair]
        return [*parts, *(clean_pass.logits for clean_pass in passes), experiment.logit_diffs(corruption)]

    experiment.checkpoint.guard.memo.clear()
    experiment.clean_passes()
    continues = left()
    experiment.checkpoint.guard.memo.clear()
    monkeypatch.setattr(runs.UneditedRuns, "_continued", lambda *_: None)
    return continues, left()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("corruption", ["s2-exchanged", "names-exchanged", "abc"])
def test_a_continued_run_is_the_whole_run(model, corruption, request, starts, monkeypatch):
    checkpoint = request.getfixturevalue(model)
    experiment = experiment_on(checkpoint)
    hooks = [checkpoint.sites.hook("z", layer) for layer in range(checkpoint.shape.n_layers)]
    continues, whole = both_ways(experiment, corruption, hooks, monkeypatch)
    assert len(continues) == len(whole)
    for left, right in zip(continues, whole, strict=True):
        assert left.shape == right.shape
        torch.testing.assert_close(left, right, atol=TOLERANCE, rtol=TOLERANCE)
    if experiment.clean_passes()[0].start_from != "position" or corruption != "s2-exchanged":
        assert starts == []
        return
    # The positions of a small group are worth less than the call of a block.
    groups, call_cost = experiment.data.clean.groups, checkpoint.forward.blocks.call_cost
    first = [(int(group.positions["S2"].min()), len(group.rows)) for group in groups]
    assert starts == [position for position, rows in first if position * rows > call_cost]
    assert starts


@pytest.mark.parametrize(("site", "continues"), [("pattern", False), ("q", False), ("resid_pre", True), ("z", True)])
def test_what_the_clean_run_left_is_continued(gpt2_like, site, continues, starts):
    hooks = [gpt2_like.sites.hook(site, 1)]
    experiment = experiment_on(gpt2_like)
    with gpt2_like.guard.isolated_memory():
        experiment.clean_passes()
        value = experiment.activations(hooks, experiment.data.run("s2-exchanged"))[hooks[0]]
    assert bool(starts) == continues
    for group, left in zip(experiment.data.run("s2-exchanged").groups, value, strict=True):
        right = gpt2_like.run(group.tokens, keep=hooks).activations[hooks[0]]
        torch.testing.assert_close(left, right, atol=TOLERANCE, rtol=TOLERANCE)


def test_a_sweep_continues_the_clean_run(gpt2_like, starts):
    experiment = experiment_on(gpt2_like)
    with gpt2_like.guard.isolated_memory():
        patch_effect_sweep(experiment, "z", at="END", metric="logit_diff")
    assert starts


def test_a_group_that_is_equal_in_both_runs_is_continued_at_end(gpt2_like, starts):
    data = experiment_on(gpt2_like).data
    largest = max(range(len(data.clean.groups)), key=lambda index: len(data.clean.groups[index].rows))
    groups = list(data.run("s2-exchanged").groups)
    groups[largest] = data.clean.groups[largest]
    mixed = replace(data.run("s2-exchanged"), groups=tuple(groups), digest="mixed")
    experiment = Experiment(gpt2_like, replace(data, corrupted={"mixed": mixed}))
    with gpt2_like.guard.isolated_memory():
        passes = experiment.clean_passes("mixed")
        clean = experiment.clean_passes()
    assert groups[largest].tokens.shape[1] - 1 in starts
    for left, right in zip(passes[largest].residual, clean[largest].residual, strict=True):
        torch.testing.assert_close(left, right, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("clean", ["clean", "s2-exchanged"])
def test_a_corrupted_run_that_is_the_clean_run_continues_nothing(gpt2_like, starts, clean):
    data = experiment_on(gpt2_like).data
    same = Experiment(gpt2_like, replace(data, clean=data.run(clean), corrupted={"same": data.run(clean)}))
    with gpt2_like.guard.isolated_memory():
        assert torch.equal(same.logit_diffs("same"), same.logit_diffs())
    assert starts == []


def test_changed_weights_continue_a_clean_run_of_their_own(gpt2_like, starts):
    experiment = experiment_on(gpt2_like)
    experiment.clean_passes()
    before = experiment.logit_diffs("s2-exchanged")
    with gpt2_like.edited_weight(0, "o") as weight, gpt2_like.guard.isolated_memory():
        weight.mul_(0.5)
        changed = experiment.logit_diffs("s2-exchanged")
        groups = experiment.data.run("s2-exchanged").groups
        whole = [gpt2_like.run(group.tokens).logits.gather(1, group.pairs) for group in groups]
    whole = experiment.in_order([pairs[:, 0] - pairs[:, 1] for pairs in whole])
    assert not torch.allclose(before, changed)
    torch.testing.assert_close(changed, whole, atol=TOLERANCE, rtol=TOLERANCE)


def test_a_pass_that_is_ended_leaves_no_hook(gpt2_like):
    tokens = torch.arange(12).view(2, 6)
    hook = gpt2_like.forward.blocks.stream_hooks[0]
    entry = activation_at(gpt2_like.forward, tokens, hook)
    torch.testing.assert_close(entry, gpt2_like.run(tokens, keep=[hook]).activations[hook])
    assert gpt2_like.guard.foreign_hooks == []
    assert gpt2_like.changes_since_load() == []


def out_of_memory(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (continued, "activation_at", lambda *_: None),
        (continued, "activation_at", out_of_memory),
        (continued, "_is_whole", lambda *_: False),
        (Forward, "resume", out_of_memory),
        (Forward, "read", out_of_memory),
        (Blocks, "most_tokens", 20),
    ],
)
def test_what_cannot_be_continued_is_run_whole(gpt2_like, monkeypatch, starts, owner, name, value):
    blocks = gpt2_like.forward.blocks
    monkeypatch.setattr(blocks if owner is Blocks else owner, name, value)
    monkeypatch.setattr(blocks, "can_continue", {})
    experiment = experiment_on(gpt2_like)
    with gpt2_like.guard.isolated_memory():
        values = experiment.logit_diffs("s2-exchanged")
    assert starts
    monkeypatch.undo()
    torch.testing.assert_close(values, experiment.logit_diffs("s2-exchanged"), atol=TOLERANCE, rtol=TOLERANCE)
