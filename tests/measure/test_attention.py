"""Attention on the planted model: where each rule says that a head looks, how widely, and what it moves."""

from math import exp, log

import numpy as np
import pytest
import torch
from models import experiment_on, variant

from pytest_interp import Head
from pytest_interp.checkpoints.planted.rules import Match, Rule, Write, with_rule
from pytest_interp.errors import UsageError
from pytest_interp.measure import (
    attention,
    attention_entropy,
    attention_entropy_sweep,
    direct_logit_attribution,
    direct_logit_attribution_sweep,
)
from pytest_interp.measure.attention import entropy_noise


@pytest.mark.parametrize(
    ("head", "at", "to", "expected"),
    [
        ("0.0", "S1+1", "S1", 1), ("0.1", "S2", "S1", 1), ("1.0", "S2", "S1+1", 1), ("2.0", "END", "S2", 1),
        ("2.1", "END", "S2", 1), ("3.0", "END", "IO", 1), ("3.2", "END", "IO", 1), ("4.0", "END", "IO", 1),
        ("4.1", "END", "IO", 0), ("0.0", "END", "IO", 0), ("2.0", "END", "IO", 0), ("3.0", "END", "S2", 0),
    ],
)  # fmt: skip
def test_each_head_looks_where_its_rule_says(planted_ioi, head, at, to, expected):
    assert attention(planted_ioi, head, at=at, to=to).value == pytest.approx(expected, abs=0.02)


def test_attention_minus_others(planted_ioi):
    difference = attention(planted_ioi, "2.0", at="END", to="S2", minus=("IO", "S1"))
    assert difference.value == pytest.approx(1, abs=0.02)
    assert attention(planted_ioi, "3.0", at="END", to="S1", minus=("IO",)).value == pytest.approx(-1, abs=0.02)


# ---- entropy


def row_lengths(experiment, at):
    """How many positions each prompt has up to and including ``at``, in data-set order."""
    positions = [group.positions[at] for group in experiment.data.clean.groups]
    return (experiment.in_order(positions) + 1).tolist()


def test_entropy_by_hand(planted_ioi):
    """The previous-token head 0.0 reads one position: 0. The keys of 3.3 are 0, so that it reads all n alike: log n.

    For the name mover 3.0 inhibition takes 6 from the scores of S1 and S2: each has exp(-6) of the weight of IO.
    """
    assert attention_entropy(planted_ioi, "0.0", at="S2").value == pytest.approx(0, abs=1e-6)
    weights = np.array([1, exp(-6), exp(-6)])
    share = weights / weights.sum()
    by_hand = -(share * np.log(share)).sum()
    assert attention_entropy(planted_ioi, "3.0", at="END").value == pytest.approx(by_hand, abs=1e-3)
    for at in ("END", "S2"):
        uniform = attention_entropy(planted_ioi, "3.3", at=at)
        assert uniform.unit == "nats"
        assert uniform.values == pytest.approx([log(n) for n in row_lengths(planted_ioi, at)], abs=1e-4)


def test_entropy_against_numpy(gpt2_like):
    """From the scores before the softmax, masked and normalised in numpy."""
    experiment, head = experiment_on(gpt2_like), Head(1, 2)
    hook = f"blocks.{head.layer}.attn.hook_attn_scores"
    expected = {}
    for group in experiment.data.clean.groups:
        scores = experiment.checkpoint.run(group.tokens, keep=[hook]).activations[hook][:, head.head].double().numpy()
        for row, at, table in zip(group.rows, group.positions["S2"].tolist(), scores, strict=True):
            weights = np.exp(table[at, : at + 1] - table[at, : at + 1].max())
            share = weights / weights.sum()
            expected[row] = -(share * np.log(share)).sum()
    entropy = attention_entropy(experiment, head, at="S2")
    assert entropy.values == pytest.approx([expected[row] for row in sorted(expected)], abs=1e-4)
    assert attention_entropy_sweep(experiment, at="S2")[head] == entropy


@pytest.mark.parametrize("length", [2, 20, 64])
@pytest.mark.parametrize("noise", [1e-5, 1e-3])
def test_noise_of_an_entropy_bounds_what_noise_does(noise, length):
    """Each probability of a row moves by ``noise``, half of them up; the most changes where half of them are 0."""
    up = torch.arange(length) % 2 == 0
    step = noise * torch.where(up, 1, -1).double()
    half = torch.where(up, 0, 1).double() * 2 / length
    uniform = torch.ones(length).double() / length
    changes = []
    for row in (half, uniform):
        moved = row + step
        assert moved.sum() == pytest.approx(1)
        changes.append(abs(float(torch.special.entr(moved).sum() - torch.special.entr(row).sum())))
    assert 0 < changes[1] < changes[0] <= entropy_noise(noise, length) * (1 + 1e-9) < 2.5 * changes[0]


def test_no_noise_moves_an_entropy_further_than_it_can_go():
    assert entropy_noise(0.05, 100) == pytest.approx(log(100))
    assert entropy_noise(0.05, 1) > 0


def test_an_entropy_needs_a_position_that_is_there(planted_ioi):
    with pytest.raises(UsageError, match="no position 'END2'"):
        attention_entropy(planted_ioi, "3.0", at="END2")


def test_a_mover_that_copies_the_subject(tmp_path):
    # Inhibition that attracts: it reads S1 and S2.
    scores = (Match("is_end", "is_name", 20), Match("inhibition", "token", 6))
    model = variant(tmp_path, with_rule(Rule(Head(3, 0), "name_mover", scores, 10, (Write("token", "output", 6),))))
    experiment = experiment_on(model)
    assert attention(experiment, "3.0", at="END", to="IO", minus=("S1", "S2")).value < -0.9
    assert direct_logit_attribution(experiment, "3.0").value < -5


def test_what_a_head_writes_from_each_source_adds_up(gpt2_like):
    """Over every position of P8 the parts of a head's attribution are its attribution."""
    from pytest_interp import Experiment
    from pytest_interp.measure import source_attribution_sweep
    from pytest_interp.tasks import from_strings

    words = ["When", "Mary", "and", "John", "went", "to", "the", "shops", ",", "John", "gave", "the", "bag", "to"]
    data = from_strings(
        gpt2_like.tokenizer, clean=[" ".join(words)], answers=["Mary"], distractors=["John"], bos=False,
        population="fixed",
        positions={f"w{i}": [word] for i, word in enumerate(words) if words.count(word) == 1} | {"BEFORE": ["John"]},
    )  # fmt: skip
    experiment = Experiment(gpt2_like, data)
    parts = [source_attribution_sweep(experiment, name, of="logit_diff") for name in data.clean.position_names]
    whole = direct_logit_attribution_sweep(experiment)
    for head in (Head(0, 1), Head(2, 3)):
        # "John" and "to" stand twice: what their first mentions write is the rest, found by hand.
        pattern = gpt2_like.run(data.clean.groups[0].tokens, keep=[gpt2_like.sites.hook("pattern", head.layer)])
        read = pattern.activations[gpt2_like.sites.hook("pattern", head.layer)][0, head.head, -1]
        v = gpt2_like.run(data.clean.groups[0].tokens, keep=[gpt2_like.sites.hook("v", head.layer)])
        value = v.activations[gpt2_like.sites.hook("v", head.layer)][0, :, head.head]
        w_u = gpt2_like.weights.w_u()
        direction = w_u[:, data.clean.groups[0].answers[0]] - w_u[:, data.clean.groups[0].distractors[0]]
        scale = experiment.activation(gpt2_like.sites.scale_hook)[0][0, -1, 0]
        by_hand = read * ((value @ gpt2_like.weights.w_o(head.layer)[head.head]) @ direction) / scale
        covered = {int(data.clean.groups[0].positions[name][0]) for name in data.clean.position_names}
        rest = float(sum(by_hand[i] for i in range(len(words)) if i not in covered))
        assert sum(part[head].value for part in parts) + rest == pytest.approx(whole[head].value, abs=1e-4)
