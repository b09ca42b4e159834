"""Records, outcomes and ledgers as runs leave them, made without a model."""

from dataclasses import replace

from pytest_interp import Bound, Measurement, Sample, judge
from pytest_interp.common.context import CheckpointIdentity, Context, DataIdentity
from pytest_interp.ledger.claim import RecordedClaim
from pytest_interp.ledger.ledger import Ledger, Run
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.ledger.record import Record
from pytest_interp.verdict.recording import record_of

GPT2 = CheckpointIdentity("gpt2", "607a30d783df", "float32", "cpu")
IOI = DataIdentity("ioi/confirm", "0123456789ab", bos=True, n=24, seed=1)


def record(**changes) -> Record:
    """A supported logit difference, with some fields changed."""
    labels = ("a", "b", "c")
    measurement = Measurement("logit_diff", "logits", (1.0, 2.0, 3.0), Sample(labels, labels, "fixed"))
    return replace(record_of(judge(measurement, Bound.of(at_least=1)), "the task"), **changes)


def sampled_record(shift=0.0, spread=0.0, *, bound=None, checkpoint=GPT2, data=IOI, **changes) -> Record:
    """The verdict on a logit difference of 24 sampled prompts of 12 templates.

    Args:
        shift: added to each value.
        spread: how far the shifts of prompts differ.
        bound: at least 1 by default.
        checkpoint: its identity.
        data: the identity of its prompts.
        **changes: fields of the record.
    """
    names = ["Mary", "John", "Tom", "Anna", "Paul", "Rose"]
    labels = tuple(f"prompt {i}" for i in range(24))
    sample = Sample(
        labels,
        tuple(f"template {i % 12}" for i in range(24)),
        "sampled",
        tuple((names[i % 6], names[(i + 1 + i // 6) % 6]) for i in range(24)),
    )
    values = tuple(3 + (i % 7) / 10 + shift + spread * (i % 5 - 2) for i in range(24))
    context = Context(checkpoint=checkpoint, data=data, heads=None, intervention=None, metric=None, run="clean")
    measurement = Measurement("logit_diff", "logits", values, sample, tolerance=1e-4, context=context)
    return replace(record_of(judge(measurement, bound or Bound.of(at_least=1)), "the task"), **changes)


def outcome_of(name="task", *records: Record, checkpoint="gpt2", **changes) -> ClaimOutcome:
    """The outcome of a claim that passed, or failed by its last record."""
    claim = RecordedClaim(
        id=f"claims/test_it.py::test_{name}[{checkpoint}]",
        name=f"test_{name}[{checkpoint}]",
        cite=f"it.{name}[{checkpoint}]",
        statement="The answer is preferred.",
        docstring="The answer is preferred.",
        code="def test_it(): ...\n",
        source="a paper",
        markers=("claim",),
    )
    failed = any(verdict.outcome != "supported" for verdict in records)
    outcome = ClaimOutcome(claim, checkpoint, records, outcome="failed" if failed else "passed", when="call")
    return replace(outcome, **changes)


def a_run(**changes) -> Run:
    """A run of one claim, with some fields changed."""
    run = Run("2026-11-28T12:00:00Z", 3.5, 1, 1, {"torch": "2.13.0", "python": "3.12.1"})
    return replace(run, **changes)


def ledger_of(*claims: ClaimOutcome, **changes) -> Ledger:
    """The ledger of a complete run."""
    return Ledger(a_run(ended=len(claims), collected=len(claims), **changes), claims)
