"""Direct logit attribution on the planted model, where it follows from the construction."""

import pytest

from pytest_interp import Head
from pytest_interp.measure import (
    backup_effect,
    direct_logit_attribution,
    direct_logit_attribution_sweep,
    logit_diff,
)

MOVERS, BACKUP, NEGATIVE = ("3.0", "3.1", "3.2"), "4.1", "4.0"


def test_attributions_are_the_gains(planted_ioi):
    table = {str(head): attribution.value for head, attribution in direct_logit_attribution_sweep(planted_ioi).items()}
    share = 1 - 4 * 2.4787e-3  # IO minus S after the softmax, inhibition 6
    assert table["3.0"] == pytest.approx(6 * share, abs=0.02)
    assert table["3.1"] == pytest.approx(4 * share, abs=0.02)
    assert table["3.2"] == pytest.approx(3 * share, abs=0.02)
    assert table["4.0"] == pytest.approx(-4, abs=1e-3)
    silent = [head for head in table if head not in (*MOVERS, "4.0", "4.1")]
    assert max(abs(table[head]) for head in silent) < 1e-4
    # Without norm, embedding or MLP in the output subspace, the heads are all there is.
    assert sum(table.values()) == pytest.approx(logit_diff(planted_ioi).value, abs=1e-3)
    assert direct_logit_attribution(planted_ioi, MOVERS).value == pytest.approx(13 * share, abs=0.05)


def test_attributions_without_the_movers(planted_ioi):
    from pytest_interp.measure import knocked_out_attribution_sweep

    table = knocked_out_attribution_sweep(planted_ioi, MOVERS, ablation="zero")
    effect = backup_effect(planted_ioi, ["4.0", "4.1"], knocked_out=MOVERS, ablation="zero")
    assert {table[Head.parse(head)].value for head in MOVERS} == {0.0}
    for head in ("4.0", "4.1"):
        assert table[Head.parse(head)].value == pytest.approx(effect.after_live[Head.parse(head)].value, abs=1e-6)
