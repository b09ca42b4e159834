"""A small form of the calibration table in docs/verdicts.md: verdicts on planted models agree with what was planted."""

import pytest
from models import benchmark

calibration = benchmark("calibration")
CLAIMS, TRUE, VARIANTS = calibration.CLAIMS, calibration.TRUE, calibration.VARIANTS
Variant, calibrate, counts = calibration.Variant, calibration.calibrate, calibration.counts

CHEAP = [claim for claim in CLAIMS if claim not in ("is needed", "moves the answer", "acts on the movers' queries")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_noise_there_is_no_mistake(variant):
    results = counts(calibrate(0, 24, [variant], CHEAP))
    assert results["false support"] == results["false refutation"] == 0
    assert results["right"] > 100


def test_what_takes_longer_on_one_that_differs():
    results = calibrate(0, 24, ["one inhibitor alone"], set(CLAIMS) - set(CHEAP))
    assert counts(results)["false support"] == counts(results)["false refutation"] == 0


def test_much_noise_makes_mistakes_or_doubts():
    results = counts(calibrate(0.05, 24, ["as planted"], CHEAP))
    assert results["false support"] + results["false refutation"] + results["inconclusive"] > 5


def test_a_wrong_truth_shows(monkeypatch):
    rules = VARIANTS["as planted"].rules
    wrong = Variant(rules, {"copies": frozenset({"3.3"})}, {"copies": TRUE["copies"]})
    monkeypatch.setitem(VARIANTS, "wrong", wrong)
    results = calibrate(0, 24, ["wrong"], ["copies"])["wrong", "copies"]
    assert [head for head, result in results.items() if result == "false support"] == sorted(TRUE["copies"])


def test_there_are_enough_variants_and_each_differs():
    assert len(VARIANTS) >= 11
    for name, variant in VARIANTS.items():
        assert name == "as planted" or variant.gains or variant.loses
        for claim, heads in variant.loses.items():
            assert heads <= TRUE[claim]
