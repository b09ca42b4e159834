"""Attribution patching: estimates are the slope of the exact effect, nothing is left behind, no claim rests on it."""

import pytest
import torch
from models import random_gpt2, random_llama

from pytest_interp import Checkpoint, CheckpointSpec, Experiment, Head, UsageError, assert_cell
from pytest_interp.measure import attribution_screen, patch_effect_sweep
from pytest_interp.tasks import ioi

STEP = 1e-2


@pytest.fixture(scope="module", params=[random_gpt2, random_llama])
def experiment(request, tokenizer):
    loader = lambda: (request.param(tokenizer), tokenizer)  # noqa: E731
    checkpoint = Checkpoint(CheckpointSpec("small", loader=loader), dtype="float64")
    return Experiment(checkpoint, ioi(tokenizer, half="find", n=6, seed=3, bos=True))


def slope(experiment, hook, cut):
    """How fast the logit difference moves as an activation goes from corrupted to clean: by central differences."""
    moved = []
    for group, other in zip(experiment.data.clean.groups, experiment.data.run("s2-exchanged").groups, strict=True):
        clean = experiment.checkpoint.run(group.tokens, keep=[hook]).activations[hook]

        def at(share, clean=clean, group=group, other=other):
            def edit(value):
                value = value.clone()
                value[cut] += share * (clean[cut] - value[cut])
                return value

            logits = experiment.checkpoint.run(other.tokens, edits={hook: edit}).logits
            rows = torch.arange(len(logits))
            return logits[rows, group.answers] - logits[rows, group.distractors]

        moved += ((at(STEP) - at(-STEP)) / (2 * STEP)).tolist()
    return sum(moved) / len(moved)


@pytest.mark.parametrize("head", [Head(0, 1), Head(1, 2)], ids=str)
def test_an_estimate_is_the_slope_of_the_exact_effect(experiment, head):
    estimate = attribution_screen(experiment)[head]
    by_hand = slope(
        experiment, experiment.checkpoint.sites.hook("z", head.layer), (slice(None), slice(None), head.head)
    )
    assert estimate == pytest.approx(by_hand, rel=1e-2, abs=1e-4)
    assert abs(by_hand) > 1e-4


def test_positions_add_up_to_all(experiment):
    screen = attribution_screen(experiment)
    length = experiment.data.clean.groups[0].tokens.shape[1]
    same = Experiment(experiment.checkpoint, experiment.data.rebuild(experiment.data.clean.groups[0].rows))
    parts = attribution_screen(same, positions=range(length))
    for head in list(screen)[:4]:
        assert sum(parts[head, index] for index in range(length)) == pytest.approx(
            attribution_screen(same)[head], abs=1e-6
        )


def test_an_mlp_by_position(experiment):
    screen = attribution_screen(experiment, "mlp_out", positions=["S2", "END"])
    assert set(screen) == {(layer, at) for layer in range(experiment.checkpoint.shape.n_layers) for at in ("S2", "END")}
    last = experiment.checkpoint.shape.n_layers - 1
    hook = experiment.checkpoint.sites.hook("mlp_out", last)
    assert screen[last, "END"] == pytest.approx(slope(experiment, hook, (slice(None), -1)), rel=1e-2, abs=1e-4)
    assert screen[last, "S2"] == pytest.approx(0, abs=1e-12)


def test_it_finds_the_planted_heads(planted):
    experiment = Experiment(planted, ioi(planted.tokenizer, half="find", n=24, seed=0, bos=True))
    exact = patch_effect_sweep(experiment, "z", metric="logit_diff")
    strong = {head for head, effect in exact.items() if abs(effect.value) > 0.5}
    screen = attribution_screen(experiment)
    assert set(screen) == set(exact.layout)
    top = {head for head, _ in screen.top(len(strong) + 3)}
    assert len(strong & top) >= len(strong) - 1, (strong, top)


def test_nothing_is_left_behind(experiment):
    bridge = experiment.checkpoint.bridge
    wanted = [parameter.requires_grad for parameter in bridge.parameters()]
    attribution_screen(experiment)
    assert experiment.checkpoint.changes_since_load() == []
    assert [parameter.requires_grad for parameter in bridge.parameters()] == wanted
    assert all(parameter.grad is None for parameter in bridge.parameters())


def test_no_claim_rests_on_it(experiment):
    screen = attribution_screen(experiment)
    with pytest.raises(UsageError, match=r"a Screen was passed; pass the Table that a sweep returned.*no evidence"):
        assert_cell(screen, Head(0, 0), at_least=0)


def test_bad_input_gets_a_sentence(experiment):
    with pytest.raises(UsageError, match="site is 'q'; allowed: 'z', 'mlp_out'"):
        attribution_screen(experiment, "q")
    with pytest.raises(UsageError, match="changes no prompt"):
        attribution_screen(experiment, corruption="clean")
    with pytest.raises(UsageError, match="position 99 is outside prompts"):
        attribution_screen(experiment, positions=[99])
    with pytest.raises(UsageError, match="no position 'S9'"):
        attribution_screen(experiment, positions=["S9"])
