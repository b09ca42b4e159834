"""The planted model is what its table says: by a second forward pass, and by taking heads out."""

import numpy as np
import pytest
import torch
from models import experiment_on, variant

from pytest_interp import Head
from pytest_interp.checkpoints.planted.build import build_planted
from pytest_interp.checkpoints.planted.rules import (
    D_HEAD,
    N_NAMES,
    RULES,
    Match,
    Rule,
    Write,
    codes,
    vocabulary,
    without,
)
from pytest_interp.errors import UsageError
from pytest_interp.measure import logit_diff


def test_codes_are_orthonormal_for_names_and_nearly_so_for_words():
    gram = np.array(codes()) @ np.array(codes()).T
    names = slice(2, 2 + N_NAMES)
    assert np.allclose(gram[names, names], np.eye(N_NAMES))
    assert np.allclose(np.diag(gram)[1:], 1)
    assert not gram[0].any()
    off = gram - np.diag(np.diag(gram))
    assert abs(off).max() <= 0.5 + 1e-9
    assert len(vocabulary()) == len(set(vocabulary())) >= 120


def test_a_naive_loop_gives_the_same_logits(planted, planted_ioi):
    """Numpy, a loop over heads and positions, from the raw weights: no bridge, no torch attention."""
    weights = {
        name.replace("._original_component", ""): value.double().cpu().numpy()
        for name, value in planted.bridge.original_model.state_dict().items()
    }
    group = planted_ioi.data.clean.groups[0]
    tokens = group.tokens[:2].numpy()
    got = planted.run(group.tokens[:2]).logits.double().cpu().numpy()
    for row, ids in enumerate(tokens):
        x = weights["tok_embed.weight"][ids] + weights["pos.weight"][: len(ids)]
        for layer in range(5):
            added = np.zeros_like(x)
            for head in range(4):
                rows = slice(head * D_HEAD, (head + 1) * D_HEAD)
                q, k, v = (x @ weights[f"layers.{layer}.attn.{name}.weight"][rows].T for name in "qkv")
                for i in range(len(ids)):
                    score = q[i] @ k[: i + 1].T / np.sqrt(D_HEAD)
                    p = np.exp(score - score.max())
                    z = (p / p.sum()) @ v[: i + 1]
                    added[i] += weights[f"layers.{layer}.attn.o.weight"][:, rows] @ z
            x = x + added
        expected = weights["head.weight"] @ x[-1]
        expected -= expected.mean()  # compatibility mode centres the unembedding
        assert np.abs(expected - (got[row] - got[row].mean())).max() < 1e-4


H = {str(head): head for head in RULES}


@pytest.mark.parametrize(
    ("removed", "expected"),
    [
        # With the full inhibition of 6, IO gets 1 / (1 + 2 exp(-6)); the movers' gains are 13, the negative's 4. The
        # resting backup leaves a little on S1 and S2: 5 * 2 exp(-6.4).
        ((), 13 * (1 - 2 * np.exp(-6)) / (1 + 2 * np.exp(-6)) - 4 - 10 * np.exp(-6.4)),
        # Half the inhibition: 13 * (1 - 2 exp(-3)) / (1 + 2 exp(-3)) - 4.
        (("0.0",), 13 * (1 - 2 * np.exp(-3)) / (1 + 2 * np.exp(-3)) - 4),
        (("0.1",), 13 * (1 - 2 * np.exp(-3)) / (1 + 2 * np.exp(-3)) - 4),
        (("1.0",), 13 * (1 - 2 * np.exp(-3)) / (1 + 2 * np.exp(-3)) - 4),
        (("2.0",), 13 * (1 - 2 * np.exp(-3)) / (1 + 2 * np.exp(-3)) - 4),
        (("2.1",), 13 * (1 - 2 * np.exp(-3)) / (1 + 2 * np.exp(-3)) - 4),
        # Without any, S gets twice the attention of IO, and the negative mover takes S off.
        (("2.0", "2.1"), -13 / 3 + 4),
        # The backup alone, gain 5, less what BOS and S keep.
        (("3.0", "3.1", "3.2"), 5 * (1 - 2 * np.exp(-12)) / (1 + np.exp(-6) + 2 * np.exp(-12))),
        (("3.0", "3.1", "3.2", "4.1"), 0),
        (("4.0",), 13 * (1 - 2 * np.exp(-6)) / (1 + 2 * np.exp(-6))),
        (("4.1",), 13 * (1 - 2 * np.exp(-6)) / (1 + 2 * np.exp(-6)) - 4),
    ],
)
def test_what_is_left_without_heads_follows_from_the_construction(tmp_path, removed, expected):
    model = variant(tmp_path, without(*(H[name] for name in removed)))
    values = logit_diff(experiment_on(model)).values
    assert max(values) - min(values) < 1e-3
    assert values[0] == pytest.approx(expected, abs=0.03)


def test_two_models_from_one_table_have_one_fingerprint(tmp_path, planted):
    assert variant(tmp_path, RULES).fingerprint == planted.fingerprint
    assert variant(tmp_path, without(Head(0, 0))).fingerprint != planted.fingerprint


def test_a_rule_between_parts_of_different_width_is_refused(tmp_path):
    rule = Rule(Head(0, 2), "odd", (Match("position", "token", 1),), 0, (Write("token", "output", 1),))
    with pytest.raises(UsageError, match="position and token have different widths"):
        build_planted({rule.head: rule}, tmp_path)
    missing = Rule(Head(0, 2), "odd", (), 0, (Write("token", "outputs", 1),))
    with pytest.raises((UsageError, KeyError), match="outputs"):
        build_planted({missing.head: missing}, tmp_path)


def test_the_model_is_in_eval_mode_and_frozen(planted):
    assert not planted.bridge.training
    assert not any(parameter.requires_grad for parameter in planted.bridge.parameters())
    assert torch.is_tensor(planted.weights.w_u())
