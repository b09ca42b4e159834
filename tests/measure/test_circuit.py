"""Circuits as a whole: faithful, complete, minimal on the planted model, and where a head is missing."""

import pytest
from models import ROOT

from pytest_interp import load_circuit
from pytest_interp.errors import UsageError
from pytest_interp.measure import (
    completeness,
    faithfulness,
    minimality,
)

MOVERS, INHIBITION = ["3.0", "3.1", "3.2"], ["2.0", "2.1"]


CIRCUIT = load_circuit(ROOT / "claims" / "circuits" / "planted-ioi.toml")


def near(value, tolerance=0.01):
    return pytest.approx(value, abs=tolerance)


def test_the_planted_circuit_is_the_model(planted_ioi):
    assert faithfulness(planted_ioi, CIRCUIT).value == near(1, 1e-4)
    assert completeness(planted_ioi, CIRCUIT, knocked_out=[]).value == near(0, 1e-3)
    for lost in (MOVERS, INHIBITION, ["0.1", "4.0"]):
        assert completeness(planted_ioi, CIRCUIT, knocked_out=lost).value == near(0, 0.05)


def test_a_circuit_that_lacks_a_head_shows_it(planted_ioi):
    lacking = {head: None for role in CIRCUIT.roles.values() for head in role.heads if str(head) != "1.0"}
    assert faithfulness(planted_ioi, lacking).value < 0.8
    # Where nothing else carries the repetition, the gap is the whole of what the head does.
    assert completeness(planted_ioi, lacking, knocked_out=["0.1"]).value < -5


def test_heads_kept_at_the_wrong_position_are_lost(planted_ioi):
    wrong = {head: "IO" for role in CIRCUIT.roles.values() for head in role.heads}
    assert abs(faithfulness(planted_ioi, wrong).value) < 0.1


def test_a_head_under_two_spellings_is_refused(planted_ioi):
    with pytest.raises(UsageError, match=r"the circuit names head 3\.0 twice, 'L3H0' is the second; name it once"):
        faithfulness(planted_ioi, {"3.0": "END", "L3H0": "IO"})


def test_what_each_head_adds(planted_ioi):
    assert minimality(planted_ioi, "3.0", CIRCUIT).value > 5
    # The backup adds nothing while the movers are there, and a lot when they are not.
    assert abs(minimality(planted_ioi, "4.1", CIRCUIT).value) < 0.05
    assert minimality(planted_ioi, "4.1", CIRCUIT, knocked_out=MOVERS).value > 3
    assert minimality(planted_ioi, "3.0", CIRCUIT, metric="of_model").value > 0.5
