"""Paths: the planted truth, receivers in several layers, private copies."""

import pytest
from models import experiment_on

from pytest_interp import Head
from pytest_interp.errors import NotApplicable
from pytest_interp.measure import (
    path_patch_effect,
    path_patch_effect_sweep,
)

MOVERS, INHIBITION = ["3.0", "3.1", "3.2"], ["2.0", "2.1"]


CLEAN, HALF, NONE = 8.854, 6.644, -1 / 3


def near(value, tolerance=0.01):
    return pytest.approx(value, abs=tolerance)


def test_a_receiver_that_is_not_after_its_sender_is_undefined(planted_ioi):
    for sender in ("3.0", "4.0"):
        with pytest.raises(NotApplicable, match="comes after a sender of .*: the effect is undefined, not zero"):
            path_patch_effect(planted_ioi, sender, MOVERS, into="q")
    assert max(head.layer for head in path_patch_effect_sweep(planted_ioi, MOVERS, into="q")) == 2


def test_paths_into_the_logits_are_what_heads_write(planted_ioi):
    table = path_patch_effect_sweep(planted_ioi, "logits")
    gains = {"3.0": -6, "3.1": -4, "3.2": -3, "4.0": 4}
    for head, effect in table.items():
        assert effect.value == near(gains.get(str(head), 0), 0.07)


def test_the_inhibition_acts_on_the_movers_queries_alone(planted_ioi):
    both = path_patch_effect(planted_ioi, INHIBITION, MOVERS, into="q")
    assert both.value == near(NONE - CLEAN, 0.02)
    # Each alone takes away half of the inhibition.
    assert path_patch_effect(planted_ioi, "2.0", MOVERS, into="q").value == near(HALF - CLEAN)
    for other in ({"into": "k", "at": None}, {"into": "v", "at": None}, {"into": "q", "at": "S2"}):
        assert path_patch_effect(planted_ioi, INHIBITION, MOVERS, **other).value == near(0, 1e-4)
    share = path_patch_effect(planted_ioi, INHIBITION, MOVERS, into="q", metric="of_clean")
    assert share.value == near((NONE - CLEAN) / CLEAN)


def test_the_induction_head_reads_the_previous_token_head_at_s1_next(planted_ioi):
    assert path_patch_effect(planted_ioi, "0.0", "1.0", into="k", at="S1+1").value == near(HALF - CLEAN)
    for at in ("S1", "S2", "END"):  # the words before these are the template's
        with pytest.raises(NotApplicable, match=f"what 0.0 sends at {at} is equal in the clean run and under 'abc'"):
            path_patch_effect(planted_ioi, "0.0", "1.0", into="k", at=at)
    assert path_patch_effect(planted_ioi, "0.1", "1.0", into="k", at=None).value == near(0, 1e-4)


def test_flags_reach_the_inhibition_through_its_keys_at_s2(planted_ioi):
    assert path_patch_effect(planted_ioi, "0.1", "2.0", into="k", at="S2").value == near(HALF - CLEAN)
    assert path_patch_effect(planted_ioi, "0.1", "2.1", into="k", at="S2").value == near(0, 1e-4)
    assert path_patch_effect(planted_ioi, ["0.1", "1.0"], INHIBITION, into="k", at="S2").value == near(
        NONE - CLEAN, 0.02
    )


def test_receivers_in_several_layers(planted_ioi):
    # The backup's query has no inhibition either, while the movers, frozen in pass 1, still put IO into the output:
    # it goes to S and writes it with gain 5.
    effect = path_patch_effect(planted_ioi, INHIBITION, [*MOVERS, "4.1"], into="q")
    assert effect.value == near(NONE - 5 - CLEAN, 0.05)


def test_a_private_copy_changes_no_other_head(llama_like):
    """Three query heads share a key-value head; the path into one of them is the sum of nothing else."""
    experiment = experiment_on(llama_like)
    group = [Head(2, 0), Head(2, 1), Head(2, 2)]
    for into in ("k", "v"):
        alone = path_patch_effect(experiment, "0.3", group[0], into=into, at=None)
        others = path_patch_effect(experiment, "0.3", group[1:], into=into, at=None)
        together = path_patch_effect(experiment, "0.3", group, into=into, at=None)
        assert max(map(abs, alone.values)) > 1e-4
        assert max(abs(a - b) for a, b in zip(alone.values, together.values, strict=True)) > 1e-4
        assert max(abs(a - b) for a, b in zip(alone.values, others.values, strict=True)) > 1e-4
