"""What is said beside a number that meets its bound."""

from pytest_interp.measurement import Measurement, Sample
from pytest_interp.verdict.caveats import disagreement

SAMPLE = Sample(tuple(map(str, range(16))), tuple(f"template {i % 8}" for i in range(16)), "sampled")


def share(*values):
    """F(C) of 16 prompts, two in each of 8 templates, of which the model has 4 logits."""
    return Measurement("faithfulness", "of model", values, SAMPLE, scale=(4.0,) * 16)


def test_two_ablations_that_differ_surely_do_not_agree():
    mean = share(*(3.6 + 0.1 * (i % 3) for i in range(16)))
    resampled = share(*(2.0 - 0.1 * (i % 2) for i in range(16)))
    sentence = disagreement(mean, resampled, "abc")
    assert sentence.startswith("two ablations do not agree: with the mean outside of the circuit it keeps 0.92")
    assert "with z of abc 0.48" in sentence


def test_a_difference_that_is_small_or_not_sure_is_not_said():
    mean = share(*[3.6] * 16)
    assert disagreement(mean, share(*[3.4] * 16), "abc") is None, "0.05"
    unsure = share(*(3.6 - 6 * (i % 8 == 0) + 2 * (i % 8 == 1) for i in range(16)))
    assert abs(mean.value - unsure.value) > 0.1
    assert disagreement(mean, unsure, "abc") is None
