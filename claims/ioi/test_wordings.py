"""What holds on average holds in every wording and in both orders of the names."""

import pytest

from pytest_interp import assert_every
from pytest_interp.measure import by_part, logit_diff

pytestmark = pytest.mark.claim(source="Wang et al. 2022, section 2 and appendix E, who use 15 wordings")


def test_in_every_wording(ioi):
    """In each of the wordings the answer wins on average over names."""
    assert_every(by_part(ioi, logit_diff(ioi), "template"), at_least=0)


def test_in_every_order(ioi):
    """The answer wins by a logit whether IO or S is named first; the weaker order is named."""
    assert_every(by_part(ioi, logit_diff(ioi), "order"), at_least=1)
