"""The line about published figures to paste into an issue: versions, counts, what was off and by how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pytest_interp.cache.provenance import versions
from pytest_interp.ledger.outcome import ClaimOutcome
from pytest_interp.ledger.record import Record
from pytest_interp.measurement import quote
from pytest_interp.text import line

_SHOWN = 10
"""Figures that are off and named; the others are counted."""


def to_paste(outcomes: Iterable[ClaimOutcome]) -> list[str]:
    """A line for each checkpoint on which published figures were measured.

    Args:
        outcomes: of all claims of a run. Those whose marker has ``evidence=`` are about published figures.

    Returns:
        One line each, however long: a terminal wraps it, and a copy has no breaks.
    """
    by_checkpoint: dict[str, list[ClaimOutcome]] = {}
    for outcome in outcomes:
        if outcome.claim.evidence and outcome.records:
            by_checkpoint.setdefault(str(outcome.checkpoint), []).append(outcome)
    return [_line(checkpoint, claims) for checkpoint, claims in by_checkpoint.items()]


def _line(checkpoint: str, claims: Sequence[ClaimOutcome]) -> str:
    counts = Counter(str(claim.finding) for claim in claims)
    model = claims[0].records[0].context.checkpoint
    place = [model.fingerprint[:12], model.device, model.dtype] if model else []
    libraries = [f"{name} {number}" for name, number in versions().items()]
    text = f"{line(checkpoint, 40)} ({'; '.join([*place, *libraries])}): "
    text += ", ".join(f"{count} {finding}" for finding, count in counts.most_common())
    off = [
        (claim, record)
        for claim in claims
        if claim.finding != "expected failure"
        for record in claim.records
        if record.outcome != "supported"
    ]
    if not off:
        return text
    text += f"; off: {'; '.join(_figure(claim, record) for claim, record in off[:_SHOWN])}"
    return text + (f"; and {len(off) - _SHOWN} more" if len(off) > _SHOWN else "")


def _figure(claim: ClaimOutcome, record: Record) -> str:
    """A figure that is off, in the words of a failing claim: what was measured, what is required, how far it is off."""
    rows = " ".join(claim.claim.finding)
    off = f"; off by {quote(-record.slack)}" if record.slack < 0 else ""
    name = rows or line(str(claim.claim.name), 60)
    return f"{name} {record.quantity} {quote(record.value)} (required {record.bound}{off})"
