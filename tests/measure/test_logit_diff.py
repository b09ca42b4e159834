"""Logit difference and accuracy: the planted truth, and by hand."""

import pytest
from models import experiment_on

from pytest_interp.measure import (
    accuracy,
    logit_diff,
)


def test_logit_diff_and_accuracy(planted_ioi):
    assert logit_diff(planted_ioi).value == pytest.approx(8.854, abs=1e-3)
    assert accuracy(planted_ioi).value == 1.0
    # Exchanging S2 makes the same model prefer the other name by as much.
    assert logit_diff(planted_ioi, run="s2-exchanged").value == pytest.approx(-8.854, abs=1e-3)
    assert accuracy(planted_ioi, run="s2-exchanged").value == 0.0
    assert logit_diff(planted_ioi, run="abc").value == pytest.approx(0, abs=1e-4)


def test_a_tie_is_not_right(planted_ioi):
    assert accuracy(planted_ioi, run="random-names").tolerance >= 0.5
    assert accuracy(planted_ioi).tolerance < 1e-6


def test_logit_diff_by_hand(gpt2_like):
    experiment = experiment_on(gpt2_like, n=6)
    values = logit_diff(experiment).values
    for group in experiment.data.clean.groups:
        for i, row in enumerate(group.rows):
            logits = gpt2_like.bridge(group.tokens[i : i + 1].to(gpt2_like.device))[0, -1]
            by_hand = float(logits[group.answers[i]] - logits[group.distractors[i]])
            assert values[row] == pytest.approx(by_hand, abs=1e-4)
