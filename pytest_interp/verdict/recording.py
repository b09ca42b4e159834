"""What was claimed and what was seen: one record for each verdict, in builtin types.

An assertion writes to the sink of its own context, which the plugin opens around each claim; outside of a
claim there is none, and nothing is kept. In a trial (a claim that is run again, on damaged weights or by another
protocol) verdicts are kept as well, but nothing fails, and only what decides is measured: no controls.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pytest_interp.verdict.evidence import Member
from pytest_interp.verdict.failure_message import controls_shown, specific_shown
from pytest_interp.verdict.intervals import ends_of
from pytest_interp.verdict.judge import Verdict

Record: TypeAlias = dict[str, Any]


class Refuted(BaseException):
    """Ends a trial at its first refuted verdict; no Exception, so that Hypothesis neither repeats nor shrinks it."""


@dataclass(frozen=True)
class _Sink:
    records: list[Record] = field(default_factory=list)
    trial: bool = False
    until_refuted: bool = False


_sink: ContextVar[_Sink | None] = ContextVar("pytest_interp_sink", default=None)


@contextmanager
def collecting() -> Iterator[list[Record]]:
    """The list that records of this context go to."""
    with _open(_Sink()) as records:
        yield records


@contextmanager
def trial(*, until_refuted: bool) -> Iterator[list[Record]]:
    """The records of a trial; ends at the first refuted verdict, quietly, if asked."""
    with _open(_Sink(trial=True, until_refuted=until_refuted)) as records, suppress(Refuted):
        yield records


@contextmanager
def _open(sink: _Sink) -> Iterator[list[Record]]:
    token = _sink.set(sink)
    try:
        yield sink.records
    finally:
        _sink.reset(token)


def in_trial() -> bool:
    """Whether a claim is being run again: capability gate, controls and failures are off."""
    sink = _sink.get()
    return sink is not None and sink.trial


def write(record: Record) -> None:
    """Adds a record to the sink of this context, if there is one; may end a trial."""
    sink = _sink.get()
    if sink is not None:
        sink.records.append(record)
        if sink.until_refuted and record["outcome"] == "refuted":
            raise Refuted


def record_of(verdict: Verdict, subject: str) -> Record:
    """A verdict in builtin types: what goes to reports and, in part, to snapshots."""
    measurement, interval = verdict.measurement, verdict.interval
    return {
        "subject": subject,
        "quantity": measurement.quantity,
        "outcome": verdict.outcome,
        "value": measurement.value,
        "unit": measurement.unit,
        "tolerance": measurement.tolerance,
        "population": measurement.population,
        "n": len(measurement.values),
        "bound": verdict.bound.text,
        "slack": verdict.bound.slack(measurement.value),
        "margin": verdict.margin,
        "interval": None if interval is None else [interval.low, interval.high],
        "method": "value" if interval is None else f"{interval.level:.6g} {interval.method}",
        "templates": None if interval is None else interval.clusters,
        "controls": [[control.label, control.value] for control in verdict.controls],
        "controls_shown": controls_shown(verdict),
        "same": [control.label for control in verdict.controls if control.same],
        "members": [_member(member) for member in verdict.members],
        "specific": None if verdict.specific is None else specific_shown(verdict),
        "version": measurement.version,
        "notes": list(verdict.notes),
        "caveats": list(verdict.caveats),
        "details": dict(verdict.details),
        "about": dict(measurement.about),
    }


def _member(member: Member) -> Record:
    effects = {"alone": member.alone, "marginal": member.marginal}
    values = {name: None if effect is None else effect.value for name, effect in effects.items()}
    ends = {
        f"{name}_interval": None if effect is None or effect.population == "fixed" else list(ends_of(effect))
        for name, effect in effects.items()
    }
    return {"member": member.label, "contribution": member.contribution, **values, **ends}


def worst_of(records: list[Record]) -> list[Record]:
    """Of the many records of a claim under ``@given``, for each quantity the one that came nearest to failing."""
    worst: dict[str, Record] = {}
    rank = {"refuted": 0, "inconclusive": 1, "supported": 2}
    for record in records:
        key = record["quantity"]
        kept = worst.get(key)
        if kept is None or (rank[record["outcome"]], record["slack"]) < (rank[kept["outcome"]], kept["slack"]):
            worst[key] = record
    counts = {key: sum(record["quantity"] == key for record in records) for key in worst}
    return [{**record, "examples": counts[key]} for key, record in worst.items()]
