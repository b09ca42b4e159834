"""A corrupted run continues the clean one where its prompts begin to differ: the same numbers, for fewer positions."""

import pytest
import torch
from models import experiment_on

from pytest_interp.checkpoints import continued
from pytest_interp.checkpoints.blocks import Blocks
from pytest_interp.checkpoints.continued import activation_at, continued_pass
from pytest_interp.checkpoints.forward import Forward
from pytest_interp.engine import activations as runs

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


def both_ways(experiment, corruption, hooks):
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
    return continues, left()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("corruption", ["s2-exchanged", "names-exchanged", "abc"])
def test_a_continued_run_is_the_whole_run(model, corruption, request, starts):
    checkpoint = request.getfixturevalue(model)
    experiment = experiment_on(checkpoint)
    hooks = [checkpoint.sites.hook("z", layer) for layer in range(checkpoint.shape.n_layers)]
    continues, whole = both_ways(experiment, corruption, hooks)
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


@pytest.mark.parametrize("site", ["pattern", "q"])
def test_an_activation_that_the_clean_run_did_not_leave_is_of_a_whole_run(gpt2_like, site, starts):
    hooks = [gpt2_like.sites.hook(site, 1)]
    experiment = experiment_on(gpt2_like)
    with gpt2_like.guard.isolated_memory():
        experiment.clean_passes()
        value = experiment.activations(hooks, experiment.data.run("s2-exchanged"))[hooks[0]]
    assert starts == []
    for group, left in zip(experiment.data.run("s2-exchanged").groups, value, strict=True):
        torch.testing.assert_close(left, gpt2_like.run(group.tokens, keep=hooks).activations[hooks[0]])


def test_a_group_that_is_equal_in_both_runs_is_continued_at_end(gpt2_like, starts):
    experiment = experiment_on(gpt2_like)
    clean = experiment.clean_passes()[0]
    tokens = experiment.data.clean.groups[0].tokens
    same = continued_pass(gpt2_like.forward, clean, tokens, tokens.shape[1] - 1, {})
    torch.testing.assert_close(same.residual[-1], clean.residual[-1], atol=TOLERANCE, rtol=TOLERANCE)


def test_nothing_is_continued_in_changed_weights(gpt2_like, starts):
    experiment = experiment_on(gpt2_like)
    before = experiment.logit_diffs("s2-exchanged")
    experiment.clean_passes()
    starts.clear()
    with gpt2_like.edited_weight(0, "o") as weight:
        weight.mul_(0.5)
        changed = experiment.logit_diffs("s2-exchanged")
        assert starts == []
    assert not torch.allclose(before, changed)


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
        (Forward, "resume", out_of_memory),
        (Blocks, "most_tokens", 20),
    ],
)
def test_what_cannot_be_continued_is_run_whole(gpt2_like, monkeypatch, owner, name, value):
    target = gpt2_like.forward.blocks if owner is Blocks else owner
    monkeypatch.setattr(target, name, value)
    experiment = experiment_on(gpt2_like)
    with gpt2_like.guard.isolated_memory():
        experiment.clean_passes()
        values = experiment.logit_diffs("s2-exchanged")
    monkeypatch.undo()
    torch.testing.assert_close(values, experiment.logit_diffs("s2-exchanged"), atol=TOLERANCE, rtol=TOLERANCE)
