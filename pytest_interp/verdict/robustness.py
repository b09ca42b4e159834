"""Robustness of verdicts: many measurements under one bound, and one name left out at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from pytest_interp.errors import NotApplicable
from pytest_interp.measurement import Measurement, quote
from pytest_interp.text import counted
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.intervals import standard_error, without_names
from pytest_interp.verdict.judge import RANK, Outcome, Verdict, judge, require_defined

Cell = TypeVar("Cell")
_ALPHA = 0.05
"""The largest chance of a false refutation among many."""


def judge_all(cells: Mapping[Cell, Measurement], bound: Bound) -> dict[Cell, Verdict]:
    """The verdicts of a claim that every cell meets a bound, the worst cell first.

    All cells must hold, so no level is corrected for support. One that surely does not hold refutes the claim; that
    one is the worst of several, so the level for it is corrected for their number (Bonferroni).

    Args:
        cells: at least one measurement.
        bound: the bound that each is judged by.

    Returns:
        A verdict for each cell, by outcome and then by distance from the bound. The first one decides the claim.
    """
    corrected = 1 - _ALPHA / len(cells)
    verdicts: dict[Cell, Verdict] = {}
    for cell, measurement in cells.items():
        verdict = judge(measurement, bound)
        outcome: Outcome = "supported" if verdict.outcome == "supported" else "inconclusive"
        if judge(measurement, bound, level=corrected).outcome == "refuted":
            outcome = "refuted"
        verdicts[cell] = replace(verdict, outcome=outcome)
    worst_first = sorted(
        verdicts, key=lambda cell: (RANK[verdicts[cell].outcome], bound.slack(verdicts[cell].measurement.value))
    )
    return {cell: verdicts[cell] for cell in worst_first}


def judge_others(measurements: Sequence[Measurement], bound: Bound) -> list[Verdict]:
    """The verdicts of one bound on several measurements, corrected for their number (Holm 1979).

    The chance that any of the refutations is false is at most ``alpha = 0.05``. Of ``m`` measurements, the one that
    lies most clearly outside the bound is judged at the level ``1 - alpha / m``. If it is refuted, the next is judged
    at ``1 - alpha / (m - 1)``, and so on. The first that is not refuted ends the correction: the rest are judged at its
    level.

    Args:
        measurements: the family, such as one for each other head of the model.
        bound: the bound that each is judged by.

    Returns:
        A verdict for each measurement, in their order.

    Source: Holm 1979, Scandinavian Journal of Statistics 6.
    """
    tests_left, correcting = len(measurements), True
    clearest_first = sorted(
        range(len(measurements)), key=lambda index: -_standard_errors_outside(measurements[index], bound)
    )
    verdicts: dict[int, Verdict] = {}
    for index in clearest_first:
        verdicts[index] = judge(measurements[index], bound, level=1 - _ALPHA / tests_left)
        correcting = correcting and verdicts[index].outcome == "refuted"
        if correcting:
            tests_left -= 1
    return [verdicts[index] for index in range(len(measurements))]


def _standard_errors_outside(measurement: Measurement, bound: Bound) -> float:
    """How many standard errors outside the bound a value lies; negative inside."""
    error = standard_error(measurement) if measurement.population == "sampled" else 0.0
    return -bound.slack(measurement.value) / max(error, 1e-12)


_MIN_NAMES = 3
"""With fewer names, leaving one out says little."""
_EXTREMES = 3
"""How many names at either end of the range are judged again: those in between move the value less."""


def name_dependence(verdict: Verdict) -> tuple[str, str]:
    """How far a sampled verdict depends on any single name, by leaving out one name at a time.

    The interval treats names as a sample. This check asks instead whether any one of the names at hand decides the
    outcome. For each name the value is computed on the prompts without it. Where that moves the value by more than
    float noise, the prompts that remain are judged again, for the names that move it most.

    Args:
        verdict: of a population with names.

    Returns:
        The range of values over the names left out, and a note where the outcome changes without one of them. Both are
        empty where there is nothing to say: a fixed population, fewer than 3 names, or a range within float noise.
    """
    measurement = verdict.measurement
    rows_without = {
        name: rows
        for name, rows in (without_names(measurement) if measurement.population == "sampled" else {}).items()
        if len({measurement.clusters[row] for row in rows}) > 1  # an interval needs two templates
    }
    if verdict.interval is None or len(rows_without) < _MIN_NAMES:
        return "", ""
    rests = f"the verdict rests on one of {counted(len(rows_without), 'name')}"
    undefined = [name for name, rows in rows_without.items() if not _is_defined(measurement, rows)]
    if undefined:
        return "", f"{rests}: without {undefined[0]} it is undefined"
    ranked = sorted((measurement.value_of(rows), name) for name, rows in rows_without.items())
    (lowest, without_lowest), (highest, without_highest) = ranked[0], ranked[-1]
    if highest - lowest <= measurement.tolerance:
        return "", ""
    value_range = (
        f"{quote(lowest)} (without {without_lowest}) to {quote(highest)} (without {without_highest}), "
        f"leaving out any one of {counted(len(rows_without), 'name')}"
    )
    level = verdict.interval.level
    if judge(measurement, verdict.bound, level=level).outcome != verdict.outcome:
        return value_range, ""  # the assertion asked for more than this bound, so its outcome cannot be compared
    for _, name in (*ranked[:_EXTREMES], *ranked[-_EXTREMES:]):
        outcome = judge(measurement.of_rows(rows_without[name]), verdict.bound, level=level).outcome
        if outcome != verdict.outcome:
            return value_range, f"{rests}: without {name} it is {outcome}"
    return value_range, ""


def _is_defined(measurement: Measurement, rows: Sequence[int]) -> bool:
    """Whether a ratio has a value on these rows."""
    try:
        if measurement.scale:
            require_defined(measurement.of_rows(rows))
    except NotApplicable:
        return False
    return True
