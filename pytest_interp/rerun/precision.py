"""Measures a claim that failed in half precision again in float32, to see whether the precision made it fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_interp.errors import InterpError
from pytest_interp.ledger.record import Record
from pytest_interp.ledger.reruns import Float32Run
from pytest_interp.measurement import quote
from pytest_interp.rerun.trial import Body, Trial
from pytest_interp.verdict.recording import worst_of

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

HALF = ("bfloat16", "float16")
"""The precisions in which a failing claim is measured again."""


def in_single_precision(body: Body, records: Sequence[Record], checkpoint: Checkpoint) -> Float32Run:
    """Measures a claim again with the checkpoint's weights in float32.

    Args:
        body: the claim, which failed in half precision.
        records: of its verdicts in half precision.
        checkpoint: the model; a second one in float32 is loaded beside it the first time.

    Returns:
        The records in float32, with a sentence; ``moved`` is True where the claim holds in float32.
    """
    dtype = checkpoint.dtype
    try:
        with checkpoint.in_float32():
            trial = body.run(until_refuted=False, controls=True)
    except (InterpError, RuntimeError) as error:  # out of memory is a RuntimeError
        return Float32Run(moved=False, summary=f"not measured again in float32: {error}", records=())
    # ``records`` of a claim under @given hold the worst example of each quantity only; so do these, to match.
    is_property = getattr(body.function, "is_hypothesis_test", False)
    exact = worst_of(trial.records) if is_property else tuple(trial.records)
    moved = trial.seen == "survived"
    numbers = "; ".join(
        f"{old.quantity} {_value_and_outcome(old)} in {dtype}, {_value_and_outcome(new)} in float32"
        for old, new in zip(records, exact, strict=False)
        if old.outcome != "supported"
    )
    verdict = "moved by precision" if moved else f"not moved by precision: {_outcome_of(trial)} in float32 too"
    return Float32Run(moved=moved, summary=f"{verdict}{f' ({numbers})' if numbers else ''}", records=exact)


def _value_and_outcome(record: Record) -> str:
    """The value of a record with its interval, and its outcome."""
    ends = f" [{', '.join(map(quote, record.interval))}]" if record.interval else ""
    return f"{quote(record.value)}{ends} {record.outcome}"


def _outcome_of(trial: Trial) -> str:
    """The outcome of a trial that is not supported, in words."""
    return {"killed": "refuted", "error": f"an error ({trial.reason})"}.get(trial.seen, trial.seen)
