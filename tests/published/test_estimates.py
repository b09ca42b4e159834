"""Attribution patching of every site, against central differences of a GPT-2 in numpy."""

import numpy as np
import pytest
from gpt2_reference import Prompts, Reference

from claims.published.estimates import estimates
from pytest_interp import Experiment
from pytest_interp.tasks import p8


@pytest.fixture(scope="module")
def folder(tokenizer, saved_gpt2):
    return saved_gpt2(tokenizer)


@pytest.fixture(scope="module")
def experiment(checkpoint):
    return Experiment(checkpoint, p8(checkpoint.tokenizer))


@pytest.fixture(scope="module")
def runs(experiment):
    (clean,), (other,) = experiment.data.clean.groups, experiment.data.run("s2-exchanged").groups
    pairs = clean.answers.tolist(), clean.distractors.tolist()
    return [Prompts.of(group.tokens.tolist(), *pairs) for group in (clean, other)]


@pytest.mark.parametrize("site", ["z", "q", "k", "v", "pattern", "resid_pre", "attn_out", "mlp_out"])
def test_an_estimate_is_the_slope_of_the_patching_effect(folder, experiment, runs, site):
    reference, table = Reference(folder), estimates(experiment, site)
    values = []
    for cell, estimate in table.items():
        if isinstance(cell, tuple):
            by_hand = reference.estimated(*runs, site, cell[0], at=cell[1], head=None)
        else:
            by_hand = reference.estimated(*runs, site, cell.layer, at=None, head=cell.head)
        assert estimate.value == pytest.approx(by_hand, abs=1e-4)
        values.append(by_hand)
    assert np.abs(values).max() > 0.05


def test_the_model_is_frozen_afterwards(experiment):
    estimates(experiment, "v")
    bridge = experiment.checkpoint.bridge
    assert not any(parameter.requires_grad for parameter in bridge.parameters())
    assert experiment.checkpoint.changes_since_load() == []
    assert not any(point.fwd_hooks for point in experiment.checkpoint.forward.blocks.points.values())
