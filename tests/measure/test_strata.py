"""Measurements part by part."""

import pytest

from pytest_interp.errors import UsageError
from pytest_interp.measure import (
    logit_diff,
)


def test_parts_of_a_measurement(planted_ioi):
    from pytest_interp.measure import by_part

    whole = logit_diff(planted_ioi)
    orders = by_part(planted_ioi, whole, "order")
    assert {key[0]: part.value for key, part in orders.items()} == {
        order: pytest.approx(logit_diff(planted_ioi.select(order=order)).value) for order in ("ABBA", "BABA")
    }
    wordings = by_part(planted_ioi, whole, "template")
    assert sum(len(part.values) for part in wordings.values()) == len(whole.values)
    assert all(set(part.clusters) == {" ".join(pair) for pair in part.names} for part in wordings.values())
    with pytest.raises(UsageError, match="not every prompt of ioi/confirm has 'colour'; allowed: IO, S, object, order"):
        by_part(planted_ioi, whole, "colour")
    with pytest.raises(UsageError, match="pass a measurement of this experiment"):
        by_part(planted_ioi, logit_diff(planted_ioi.select(order="ABBA")), "order")
