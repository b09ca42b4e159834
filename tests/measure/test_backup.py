"""Backups and self-repair: the planted truth, models without a backup, and bad input."""

import pytest
from models import experiment_on, variant

from pytest_interp import Head
from pytest_interp.checkpoints.planted.rules import without
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    backup_effect,
)
from pytest_interp.measure.backup import self_repair

MOVERS, BACKUP, NEGATIVE = ("3.0", "3.1", "3.2"), "4.1", "4.0"


def test_the_backup_wakes_when_the_movers_are_knocked_out(planted_ioi):
    effect = backup_effect(planted_ioi, [BACKUP, NEGATIVE], knocked_out=MOVERS, ablation="zero")
    backup, negative = Head.parse(BACKUP), Head.parse(NEGATIVE)
    assert effect.before[backup].value == pytest.approx(0, abs=0.02)
    assert effect.after[backup].value == pytest.approx(4.99, abs=0.02)
    assert effect.before[negative].value == pytest.approx(-4, abs=1e-3)
    assert effect.after[negative].value == pytest.approx(0, abs=1e-3)
    assert effect.total_after.value == pytest.approx(4.99, abs=0.02)
    assert effect.naive.value == pytest.approx(8.854 - 12.87, abs=0.02)
    assert effect.rise([backup], "live").value == pytest.approx(effect.rise([backup]).value, abs=1e-5)
    # Everything that moved is in the two heads.
    rise = effect.rise([backup, negative]).value
    assert effect.total_after.value - effect.naive.value == pytest.approx(rise, abs=1e-2)


def test_without_a_backup_only_the_negative_head_reacts(tmp_path):
    experiment = experiment_on(variant(tmp_path, without(Head(4, 1))))
    effect = backup_effect(experiment, [NEGATIVE], knocked_out=MOVERS, ablation="zero")
    assert effect.rise([Head.parse(NEGATIVE)]).value == pytest.approx(4, abs=1e-3)
    assert effect.total_after.value == pytest.approx(0, abs=1e-3)


def test_self_repair_is_the_share_that_is_made_up(planted_ioi):
    # Taken away 12.87, made up 4.99 by the backup and 4 by the released negative head.
    assert self_repair(planted_ioi, MOVERS, ablation="zero").value == pytest.approx(8.99 / 12.87, abs=0.01)


@pytest.mark.parametrize(
    ("out", "backups", "ablation", "error", "message"),
    [
        (["3.0"], ["3.0", "4.1"], "mean", UsageError, "3.0 would be knocked out and watched"),
        (["4.0"], ["3.0"], "mean", NotApplicable, "none of 3.0 comes after 4.0"),
        (["3.0"], ["4.1"], "resampled", UsageError, "ablation is 'resampled'"),
    ],
)
def test_bad_knock_outs_get_a_sentence(planted_ioi, out, backups, ablation, error, message):
    with pytest.raises(error, match=message):
        backup_effect(planted_ioi, backups, knocked_out=out, ablation=ablation)
