"""The message of a failing claim: value, interval and count; bound and shortfall; worst prompts; controls; siblings."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pytest_interp.measurement import quote
from pytest_interp.text import counted, cut, line, wrapped
from pytest_interp.verdict.evidence import Control
from pytest_interp.verdict.judge import Verdict
from pytest_interp.verdict.worst import worst

FEW = 4
"""Controls of one kind that are listed singly; more are shown as a distribution."""
WIDTH = 72
"""Columns of a message: pytest indents it by eight."""
_INDENT = 14


def explain(verdict: Verdict, subject: str, siblings: Sequence[Control] = ()) -> str:
    """The message of a failing claim, in lines of at most 72 columns.

    Args:
        verdict: on the claim.
        subject: what the claim is about, in a line.
        siblings: the same measurement on other heads of the claim's role.
    """
    measurement, interval = verdict.measurement, verdict.interval
    lines = [verdict.outcome, *wrapped(subject, WIDTH, "  ", "  ")]
    value = f"{quote(measurement.value)} {line(measurement.unit)}"
    count = counted(len(measurement.values), measurement.context.observation)
    if measurement.unit == "share" and set(measurement.values) <= {0.0, 1.0}:
        count = f"{round(sum(measurement.values))} of {count}"
    if interval is None:
        lines += _row("measured", f"{value} ({count}; a fixed population)")
    else:
        lines += _row("measured", f"{value} ({count} of {counted(interval.clusters, 'template')})")
        ends = f"{quote(interval.low)} to {quote(interval.high)}"
        lines += _row("interval", f"{ends} ({100 * interval.level:.4g} %, {interval.method})")
    lines += _row("required", f"{verdict.bound.text}; {_gap(verdict)}")
    for i, (label, number) in enumerate(worst(measurement, verdict.bound)):
        room = WIDTH - _INDENT - max(7, len(quote(number))) - 2
        lines += _row("worst" if i == 0 else "", f"{quote(number):>7}  {cut(line(label, len(label)), room)}")
    for i, text in enumerate(controls_shown(verdict)):
        lines += _row("controls" if i == 0 else "", text)
    if verdict.specific is not None:
        lines += _row("specific", specific_shown(verdict))
    if siblings:
        lines += _row("siblings", "; ".join(map(str, siblings)))
    for key, detail in verdict.details.items():
        lines += _row(key, str(detail))
    if verdict.members:
        lines += _row("members", "; ".join(map(str, verdict.members)))
    for caveat in verdict.caveats:
        lines += _row("caveat", caveat)
    for note in verdict.notes:
        lines += _row("note", note)
    return "\n".join(lines)


def specific_shown(verdict: Verdict) -> str:
    """How many other heads meet the bound; the text has "also" only if the claimed head meets it."""
    text = str(verdict.specific)
    return text if verdict.outcome == "supported" else text.removeprefix("also ")


def controls_shown(verdict: Verdict) -> list[str]:
    """The controls of a verdict, a line each: up to 4 of one kind singly, more as a distribution."""
    by_kind: dict[str, list[Control]] = {}
    for control in verdict.controls:
        by_kind.setdefault(control.kind, []).append(control)
    listed = [control for controls in by_kind.values() if len(controls) <= FEW for control in controls]
    texts = ["; ".join(map(str, listed))] if listed else []
    many = [controls for controls in by_kind.values() if len(controls) > FEW]
    return texts + [_distribution(controls, verdict.measurement.value) for controls in many]


def _distribution(controls: Sequence[Control], claimed: float) -> str:
    """The range and median of many controls, and how many lie above the claimed value."""
    values = sorted(control.value for control in controls if control.value is not None)
    count = f"{len(controls)} of {controls[0].kind.replace('_', ' ')}"
    if not values:
        return f"{count}: not applicable"
    above = sum(value > claimed for value in values)
    undefined = f", {len(controls) - len(values)} not applicable" if len(values) < len(controls) else ""
    return (
        f"{count}: {quote(values[0])} to {quote(values[-1])}, median {quote(median(values))}{undefined}; "
        f"{above} above the claimed"
    )


def _gap(verdict: Verdict) -> str:
    """By how much the value, or the interval, misses the bound."""
    measurement, interval, bound = verdict.measurement, verdict.interval, verdict.bound
    short = bound.shortfall(measurement.value)
    if verdict.outcome == "refuted" and short > 0:
        return f"off by {quote(short)}"
    if interval is not None and verdict.outcome == "inconclusive":
        over = max(bound.low - interval.low, interval.high - bound.high)
        if over > 0:
            return f"the interval reaches {quote(over)} beyond it"
        if -over < measurement.tolerance:
            return f"the interval clears it by {quote(-over)}, less than float noise ({quote(measurement.tolerance)})"
    return "met, but see the note" if short == 0 else "not met"


def _row(label: str, text: str) -> list[str]:
    return wrapped(text, WIDTH, f"  {label:<{_INDENT - 2}}", " " * _INDENT, limit=5_000)
