"""When the name movers are knocked out, other heads take their place (Wang et al. 2022, section 3.4)."""

import pytest

from pytest_interp import assert_backup_heads, assert_self_repair

pytestmark = pytest.mark.claim(source="Wang et al. 2022, section 3.4", role="backup_name_mover")


def test_backups_rise_together(ioi, circuit, heads, bound):
    """With the name movers mean-ablated at END, the backups write more of the answer: each, and together."""
    movers = circuit.role("name_mover").heads
    assert_backup_heads(
        ioi, heads, knocked_out=movers, ablation="mean", **bound("backup_rise", at_least=0.05), members_at_least=0
    )


def test_the_rest_makes_up_for_the_strongest_writers(ioi, top_heads):
    """Whichever they are: with the three strongest writers mean-ablated at END, a tenth of it is made up for."""
    assert_self_repair(ioi, top_heads, ablation="mean", at_least=0.1)
