"""The stages that make no pass, by hand: Holm's method, the bootstrap, the area of the curve, roles of relations."""

from itertools import pairwise

import pytest

from pytest_interp import Head
from pytest_interp.circuit import EVERYWHERE
from pytest_interp.discover.curve import GRID, area_from_1
from pytest_interp.discover.selection import Selection
from pytest_interp.discover.significance import significant
from pytest_interp.discover.stability import stability_of
from pytest_interp.measure.places import Place
from pytest_interp.measurement import Measurement, Sample

N = 24
SAMPLE = Sample(tuple(f"prompt {i}" for i in range(N)), tuple(f"template {i % 12}" for i in range(N)), "sampled")
NOISE = [(-1) ** i * (1 + i % 5) / 5 for i in range(N)]


def effect(mean, spread=1.0, quantity="effect", scale=()):
    return Measurement(quantity, "logits", tuple(mean + spread * x for x in NOISE), SAMPLE, scale=scale)


def test_holm_stops_at_the_first_that_is_not_sure():
    effects = {"large": effect(5), "middle": effect(0.55), "none": effect(0.0)}
    assert significant({"middle": effects["middle"]}) == {"middle"}
    assert significant(effects) == {"large", "middle"}
    assert significant(effects, family=10_000) == {"large"}
    assert significant({"noise": effect(0.0, 0.0)}) == frozenset()


def place(name, at="END"):
    return Place(Head.parse(name), at)


def chosen(lost, gained, ratio=1.0):
    whole = (10.0,) * N
    return Selection(
        places=tuple(lost),
        faithfulness=Measurement("faithfulness", "of model", tuple(10 * ratio for _ in whole), SAMPLE, scale=whole),
        lost=lost,
        gained=gained,
        improving=frozenset(),
        steps=(),
        complete=True,
        ceiling=1.0,
    )


def test_a_head_that_half_of_the_templates_need_is_interchangeable():
    sometimes = Measurement(
        "effect", "logits", tuple(0.8 if i % 12 < 2 else -0.06 for i in range(N)), SAMPLE
    )  # two templates need it; a place must make 0.1 of 10
    stability = stability_of(chosen({place("1.0"): effect(3, 0.1), place("1.1"): sometimes}, {}), seed=0)
    assert stability.frequency[Head(1, 0)] == 1.0
    assert 0.1 < stability.frequency[Head(1, 1)] < 1.0
    assert stability.by_template[Head(1, 1)]["template 0"] == 1.0
    assert stability.by_template[Head(1, 1)]["template 11"] < 0.5


def test_a_head_that_does_nothing_is_not_included_where_the_circuit_is_not_faithful():
    """Without it the circuit is outside of the band, as it was with it."""
    nothing, much = place("1.0"), place("1.1")
    selection = chosen({nothing: effect(0.0, 0.0), much: effect(3, 0.1)}, {}, ratio=0.7)
    stability = stability_of(selection, seed=0)
    assert stability.frequency == {Head(1, 0): 0.0, Head(1, 1): 1.0}


def test_the_heads_that_replace_an_interchangeable_one_are_named():
    lost = {place("1.0"): effect(0.3, 0.3)}
    gained = {place("2.0", EVERYWHERE): effect(0.4, 0.02), place("2.1", EVERYWHERE): effect(-0.4, 0.02)}
    stability = stability_of(chosen(lost, gained, ratio=0.95), seed=0)
    assert stability.is_interchangeable(Head(1, 0)) == (Head(1, 0) in stability.replacements)
    if stability.replacements:
        assert stability.replacements[Head(1, 0)] == (Head(2, 0),)


def test_the_area_of_a_curve():
    steps = [right - left for left, right in pairwise(GRID)]
    curve = [0.0] * 9 + [1.0]
    assert area_from_1(curve) == pytest.approx(sum(steps[:-1]) + steps[-1] / 2)
    assert area_from_1([2.0] * 10) == pytest.approx(sum(steps))
