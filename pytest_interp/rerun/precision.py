"""Whether a claim that fails in half precision fails because of it: it is measured again in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_interp.errors import InterpError
from pytest_interp.ledger.outcome import Float32Run
from pytest_interp.ledger.record import Record
from pytest_interp.measurement import quote
from pytest_interp.rerun.trial import Body, Trial
from pytest_interp.verdict.recording import worst_of

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

HALF = ("bfloat16", "float16")
"""The precisions in which a failing claim is measured again."""


def in_single_precision(body: Body, records: Sequence[Record], checkpoint: Checkpoint) -> Float32Run:
    """A claim that failed in half precision, measured again with the checkpoint's weights in float32.

    Args:
        body: the claim.
        records: of its verdicts in half precision.
        checkpoint: the model; a second one, in float32, is loaded beside it the first time.
    """
    dtype = checkpoint.dtype
    try:
        with checkpoint.in_float32():
            trial = body.run(until_refuted=False, controls=True)
    except (InterpError, RuntimeError) as error:  # out of memory is a RuntimeError
        return Float32Run(moved=False, said=f"not measured again in float32: {error}", records=())
    # Of a claim under @given the worst example of each quantity is kept, here as there.
    drawn = getattr(body.function, "is_hypothesis_test", False)
    exact = worst_of(trial.records) if drawn else tuple(trial.records)
    moved = trial.seen == "survived"
    numbers = "; ".join(
        f"{old.quantity} {_seen(old)} in {dtype}, {_seen(new)} in float32"
        for old, new in zip(records, exact, strict=False)
        if old.outcome != "supported"
    )
    said = "moved by precision" if moved else f"not moved by precision: {_unsupported(trial)} in float32 too"
    return Float32Run(moved=moved, said=f"{said}{f' ({numbers})' if numbers else ''}", records=exact)


def _seen(record: Record) -> str:
    """A number with its interval, and the verdict on it."""
    ends = f" [{', '.join(map(quote, record.interval))}]" if record.interval else ""
    return f"{quote(record.value)}{ends} {record.outcome}"


def _unsupported(trial: Trial) -> str:
    """What a claim that is not supported came to."""
    return {"killed": "refuted", "error": f"an error ({trial.reason})"}.get(trial.seen, trial.seen)
