"""What a failing claim says: value, interval and count; bound and shortfall; worst cases; controls; siblings."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pytest_interp.measurement import quote
from pytest_interp.text import cut, line, wrapped
from pytest_interp.verdict.evidence import Control
from pytest_interp.verdict.judge import Verdict, worst

FEW = 4  # controls of a kind up to which each is named
WIDTH = 72  # pytest puts eight columns before it
_INDENT = 14


def explain(verdict: Verdict, subject: str, siblings: Sequence[Control] = ()) -> str:
    """The text of a failing claim, in lines of at most 72 columns."""
    measurement, interval = verdict.measurement, verdict.interval
    lines = [verdict.outcome, *wrapped(subject, WIDTH, "  ", "  ")]
    value = f"{quote(measurement.value)} {line(measurement.unit)}"
    what = measurement.context.each
    count = f"{len(measurement.values)} {what}{'s' if len(measurement.values) != 1 else ''}"
    if measurement.unit == "share" and set(measurement.values) <= {0.0, 1.0}:
        count = f"{round(sum(measurement.values))} of {count}"
    if interval is None:
        lines += _row("measured", f"{value} ({count}; a fixed population)")
    else:
        lines += _row("measured", f"{value} ({count} of {interval.clusters} templates)")
        ends = f"{quote(interval.low)} to {quote(interval.high)}"
        lines += _row("interval", f"{ends} ({100 * interval.level:.4g} %, {interval.method})")
    lines += _row("required", f"{verdict.bound.text}; {_gap(verdict)}")
    for i, (label, number) in enumerate(worst(verdict)):
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
    """Of how many other heads it is true; "also", where it is true of the claimed one."""
    text = str(verdict.specific)
    return text if verdict.outcome == "supported" else text.removeprefix("also ")


def controls_shown(verdict: Verdict) -> list[str]:
    """The controls, those of a kind that has many as a distribution."""
    kinds: dict[str, list[Control]] = {}
    for one in verdict.controls:
        kinds.setdefault(one.kind, []).append(one)
    few = [one for some in kinds.values() if len(some) <= FEW for one in some]
    texts = ["; ".join(map(str, few))] if few else []
    return texts + [_spread(some, verdict.measurement.value) for some in kinds.values() if len(some) > FEW]


def _spread(controls: Sequence[Control], claimed: float) -> str:
    values = sorted(one.value for one in controls if one.value is not None)
    what = f"{len(controls)} of {controls[0].kind.replace('_', ' ')}"
    if not values:
        return f"{what}: not applicable"
    above = sum(value > claimed for value in values)
    silent = f", {len(controls) - len(values)} not applicable" if len(values) < len(controls) else ""
    return (
        f"{what}: {quote(values[0])} to {quote(values[-1])}, median {quote(median(values))}{silent}; "
        f"{above} above the claimed"
    )


def _gap(verdict: Verdict) -> str:
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
