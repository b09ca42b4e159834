"""Where the answer is carried: the residual stream at S2 first, at END last (Wang et al. 2022, section 3)."""

import pytest

from pytest_interp import assert_flips, assert_patch_effect

pytestmark = pytest.mark.claim(source="Wang et al. 2022, section 3; TransformerLens demos on resid_pre patching")


def test_the_exchange_of_the_subject_flips_the_answer(ioi):
    """Exchanging S2 flips the answer, so that patching from it means something."""
    assert_flips(ioi, "s2-exchanged", at_least=0.6)


def test_in_the_end_all_of_it_stands_at_end(ioi):
    """Before the last layer what decides stands at END, and no longer at S2."""
    last = ioi.checkpoint.shape.n_layers - 1
    assert_patch_effect(ioi, "resid_pre", last, at="END", at_least=0.9)
    assert_patch_effect(ioi, "resid_pre", last, at="S2", between=(-0.1, 0.1))
