"""A record as a verdict on three listed prompts leaves it."""

from dataclasses import replace

from pytest_interp import Bound, Measurement, Sample, judge
from pytest_interp.ledger.record import Record
from pytest_interp.verdict.recording import record_of


def record(**changes) -> Record:
    """A supported logit difference, with some fields changed."""
    labels = ("a", "b", "c")
    measurement = Measurement("logit_diff", "logits", (1.0, 2.0, 3.0), Sample(labels, labels, "fixed"))
    return replace(record_of(judge(measurement, Bound.of(at_least=1)), "the task"), **changes)
