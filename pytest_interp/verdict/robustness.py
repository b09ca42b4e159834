"""What else a verdict has to stand: being one of many, and the loss of any one name."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_interp.errors import NotApplicable
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.intervals import standard_error, without_names
from pytest_interp.verdict.judge import Verdict, judge, require_defined


def judge_others(measurements: Sequence[Measurement], bound: Bound, *, level: float = 0.95) -> list[Verdict]:
    """Verdicts of which all refuted ones are wrong together with probability ``1 - level`` at most (Holm).

    For "no other head ...": the clearest is judged at the level corrected for all of them, the next for one less,
    and so on until one is not refuted; that one and the rest are judged at the level reached.
    """
    alpha, corrected = 1 - level, True
    order = sorted(range(len(measurements)), key=lambda i: -_outside_by(measurements[i], bound))
    verdicts: dict[int, Verdict] = {}
    share = alpha / max(1, len(order))
    for step, index in enumerate(order):
        if corrected:
            share = alpha / (len(order) - step)
        verdicts[index] = judge(measurements[index], bound, level=1 - share)
        corrected = corrected and verdicts[index].outcome == "refuted"
    return [verdicts[i] for i in range(len(measurements))]


def _outside_by(measurement: Measurement, bound: Bound) -> float:
    """How many standard errors outside the region a value lies; negative inside."""
    error = standard_error(measurement) if measurement.population == "sampled" else 0.0
    return -bound.slack(measurement.value) / max(error, 1e-12)


def name_dependence(verdict: Verdict) -> tuple[str, str]:
    """How far a verdict depends on any one name: the range of values without one, and a note where the outcome turns.

    The interval counts names as a sample. This says whether any one of the names at hand decides the outcome.
    """
    measurement = verdict.measurement
    sampled = measurement.population == "sampled" and verdict.interval is not None
    rest = without_names(measurement) if sampled else {}
    rest = {name: rows for name, rows in rest.items() if len({measurement.clusters[row] for row in rows}) > 1}
    if verdict.interval is None or len(rest) < 3:
        return "", ""
    undefined = [name for name, rows in rest.items() if not _defined(measurement, rows)]
    if undefined:
        return "", f"the verdict rests on one name: without {undefined[0]} it is undefined"
    values = sorted((measurement.value_of(rows), name) for name, rows in rest.items())
    if values[-1][0] - values[0][0] <= measurement.tolerance:
        return "", ""
    text = (
        f"{quote(values[0][0])} (without {values[0][1]}) to {quote(values[-1][0])} (without {values[-1][1]}), "
        f"leaving out any one of {len(rest)} names"
    )
    level, turned = verdict.interval.level, {}
    if judge(measurement, verdict.bound, level=level).outcome != verdict.outcome:
        return text, ""  # decided by more than this measurement
    for _, name in (*values[:3], *values[-3:]):
        if (outcome := judge(measurement.of_rows(rest[name]), verdict.bound, level=level).outcome) != verdict.outcome:
            turned[name] = outcome
    if not turned:
        return text, ""
    name, outcome = next(iter(turned.items()))
    return text, f"the verdict rests on one name: without {name} it is {outcome}"


def _defined(measurement: Measurement, rows: Sequence[int]) -> bool:
    try:
        if measurement.scale:
            require_defined(measurement.of_rows(rows))
    except NotApplicable:
        return False
    return True
