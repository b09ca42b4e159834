"""What was claimed and what was seen: one record for each verdict.

An assertion writes to the innermost open sink of its process, whichever thread it runs in; the plugin opens one around
each claim. A child process appends to the sink's file, which is read as the sink closes. Outside of a claim there is
none, and nothing is kept. In a trial (a claim that is run again, on damaged weights or by another protocol) verdicts
are kept as well, but nothing fails, and only what decides is measured: no controls.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from weakref import WeakSet

from pytest_interp.errors import UsageError
from pytest_interp.ledger.record import Record, RecordedMember
from pytest_interp.measurement import Measurement
from pytest_interp.verdict.evidence import Member
from pytest_interp.verdict.failure_message import controls_shown, specific_shown
from pytest_interp.verdict.intervals import ends_of
from pytest_interp.verdict.judge import Verdict
from pytest_interp.verdict.other_threads import RecordFile, in_pool, of_parent, wait_for_threads


class Refuted(BaseException):
    """Ends a trial at its first refuted verdict; no Exception, so that Hypothesis neither repeats nor shrinks it."""


@dataclass(frozen=True, eq=False)
class _Sink:
    """Where records go.

    Attributes:
        trial: whether the claim is run again.
        until_refuted: whether the first refuted verdict ends it.
        records: of the thread that opened it, in order.
        others: of other threads.
        thread: that opened it.
        process: that opened it.
        earlier: threads that were there before.
    """

    trial: bool = False
    until_refuted: bool = False
    records: list[Record] = field(default_factory=list)
    others: list[Record] = field(default_factory=list)
    thread: int = field(default_factory=threading.get_ident)
    process: int = field(default_factory=os.getpid)
    earlier: frozenset[threading.Thread] = field(default_factory=lambda: frozenset(threading.enumerate()))


# The innermost is the last. Appending to a list and reading it are atomic, so no lock can be held at a fork.
_sinks: list[_Sink] = []
_left: WeakSet[threading.Thread] = WeakSet()


@contextmanager
def collecting() -> Iterator[list[Record]]:
    """The list that records of a claim go to; those of other threads and of child processes come as it closes."""
    with _open(_Sink()) as records:
        yield records


@contextmanager
def trial(*, until_refuted: bool) -> Iterator[list[Record]]:
    """The records of a trial; ends at the first refuted verdict, quietly, if asked."""
    with _open(_Sink(trial=True, until_refuted=until_refuted)) as records, suppress(Refuted):
        yield records


@contextmanager
def _open(sink: _Sink) -> Iterator[list[Record]]:
    with RecordFile(trial=sink.trial) as file:
        _sinks.append(sink)
        try:
            yield sink.records
        finally:
            wait_for_threads(sink.earlier)
            _sinks.remove(sink)
            _left.update(frozenset(threading.enumerate()) - sink.earlier)
            # Which of them came first is chance.
            elsewhere = (*sink.others, *map(Record.from_json, file.read()))
            sink.records.extend(sorted(elsewhere, key=lambda record: json.dumps(record.to_json(), default=str)))


def _innermost() -> _Sink | None:
    """The innermost sink of this process; in a forked child the parent's do not count."""
    return next((sink for sink in _sinks[-1:] if sink.process == os.getpid()), None)


def in_trial() -> bool:
    """Whether a claim is being run again: capability gate, controls and failures are off."""
    sink = _innermost()
    if sink is not None:
        return sink.trial
    file = of_parent()
    return file is not None and file.trial


def write(record: Record) -> None:
    """Adds a record to the open sink, or to the parent process's, if there is one; may end a trial.

    Raises:
        UsageError: the claim that started this thread or process has ended.
    """
    sink = _innermost()
    thread = threading.current_thread()
    if thread in _left and not in_pool(thread):
        raise _too_late(record, f"the thread {thread.name}")
    if sink is None:
        file = of_parent()
        if file is not None and not file.append(record.to_json()):
            raise _too_late(record, f"the process {os.getpid()}")
        return
    own = threading.get_ident() == sink.thread
    (sink.records if own else sink.others).append(record)
    # Another thread goes on: nobody waits there for what ends a trial.
    if own and sink.until_refuted and record.outcome == "refuted":
        raise Refuted


def _too_late(record: Record, place: str) -> UsageError:
    return UsageError(
        f"the verdict on {record.subject} is {record.outcome}, but {place} was started by a claim that has "
        "ended: wait for it there (join), or start it in a fixture"
    )


def record_of(verdict: Verdict, subject: str) -> Record:
    """A verdict as plain data: what goes to reports and, in part, to snapshots."""
    measurement, interval = verdict.measurement, verdict.interval
    return Record(
        subject=subject,
        quantity=measurement.quantity,
        outcome=verdict.outcome,
        value=measurement.value,
        unit=measurement.unit,
        tolerance=measurement.tolerance,
        population=measurement.population,
        n=len(measurement.values),
        bound=verdict.bound.text,
        slack=verdict.bound.slack(measurement.value),
        margin=verdict.margin,
        interval=None if interval is None else (interval.low, interval.high),
        method="value" if interval is None else f"{interval.level:.6g} {interval.method}",
        templates=None if interval is None else interval.clusters,
        controls=tuple((control.label, control.value) for control in verdict.controls),
        controls_shown=tuple(controls_shown(verdict)),
        same=tuple(control.label for control in verdict.controls if control.same),
        members=tuple(map(_member, verdict.members)),
        specific=None if verdict.specific is None else specific_shown(verdict),
        version=measurement.version,
        notes=tuple(verdict.notes),
        caveats=tuple(verdict.caveats),
        details=dict(verdict.details),
        about=measurement.context.to_json(),
    )


def _member(member: Member) -> RecordedMember:
    return RecordedMember(
        member.label,
        member.contribution,
        None if member.alone is None else member.alone.value,
        member.marginal.value,
        _ends(member.alone),
        _ends(member.marginal),
    )


def _ends(effect: Measurement | None) -> tuple[float, float] | None:
    if effect is None or effect.population == "fixed":
        return None
    low, high = ends_of(effect)
    return low, high


def worst_of(records: Sequence[Record]) -> tuple[Record, ...]:
    """Of the many records of a claim under ``@given``, for each quantity the one that came nearest to failing."""
    rank = {"refuted": 0, "inconclusive": 1, "supported": 2}
    by_quantity: dict[str, list[Record]] = {}
    for record in records:
        by_quantity.setdefault(record.quantity, []).append(record)
    return tuple(
        replace(min(same, key=lambda record: (rank[record.outcome], record.slack)), examples=len(same))
        for same in by_quantity.values()
    )
