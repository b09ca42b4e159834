"""Circuits as a whole: faithful, complete, minimal on the planted model, and where a head is missing."""

from dataclasses import replace

import pytest
from models import ROOT

from pytest_interp import Checkpoint, Head, load_circuit
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measure import (
    completeness,
    faithfulness,
    minimality,
)
from pytest_interp.measure.circuit import nodes_of, random_circuits

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


def test_heads_outside_are_left_out(planted_ioi):
    """They have a role, and the circuit is measured without them."""
    outside = replace(CIRCUIT, outside=(Head(1, 0), Head(4, 1)))
    inside = {head: at for head, at in CIRCUIT.positions.items() if head not in outside.outside}
    assert outside.positions == inside
    assert faithfulness(planted_ioi, outside).values == faithfulness(planted_ioi, inside).values
    with pytest.raises(NotApplicable, match=r"1\.0 has a role, and the circuit file of planted-ioi puts it outside"):
        minimality(planted_ioi, "1.0", outside)
    with pytest.raises(UsageError, match=r"K has 1\.0, not in the circuit"):
        completeness(planted_ioi, outside, knocked_out=["1.0"])


def test_random_circuits_have_no_head_of_the_circuit_file(planted_ioi):
    heads = planted_ioi.checkpoint.shape.heads
    outside = tuple(head for head in sorted(CIRCUIT.acting) if head.layer > 0)
    checkpoint = Checkpoint(planted_ioi.checkpoint.spec, replace(CIRCUIT, outside=outside))
    experiment = replace(planted_ioi, checkpoint=checkpoint)
    others = [head for head in heads if head not in CIRCUIT.acting]
    drawn = random_circuits(experiment, nodes_of(experiment, checkpoint.circuit), 20)
    assert {head for circuit in drawn for head in circuit} == set(others)


def test_random_heads_of_a_smaller_circuit_are_none_of_the_file_either(planted_ioi):
    smaller = dict.fromkeys(sorted(CIRCUIT.acting)[:3])
    checkpoint = Checkpoint(planted_ioi.checkpoint.spec, CIRCUIT)
    drawn = random_circuits(replace(planted_ioi, checkpoint=checkpoint), smaller, 20)
    assert not CIRCUIT.acting.intersection(head for circuit in drawn for head in circuit)


def test_the_record_says_once_that_all_heads_are_at_every_position(planted_ioi):
    places = dict.fromkeys(CIRCUIT.acting)
    assert faithfulness(planted_ioi, dict(list(places.items())[:9])).context.at == ["all positions"]
    first, *others = sorted(places)[:9]
    mixed = faithfulness(planted_ioi, {first: "END", **dict.fromkeys(others)}).context.at
    assert mixed == ["END", *["all positions"] * 8]


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
