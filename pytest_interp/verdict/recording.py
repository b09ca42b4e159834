"""Records of verdicts, collected while a claim runs.

The plugin opens a *sink* around each claim. An assertion writes its record to the innermost open sink of its process,
whichever thread it runs in. A child process appends to the sink's file, which is read when the sink closes. Outside of
a claim no sink is open, and records are dropped.

A *trial* is a claim that is run again, on damaged weights or by another protocol. Its records are collected too, but no
assertion fails in it, and controls are not measured.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import isfinite, nan
from typing import Any
from weakref import WeakSet

from pytest_interp.errors import InterpError, UsageError
from pytest_interp.ledger.record import Record, RecordedMember, RecordedSweep, RecordedTable
from pytest_interp.measurement import Measurement
from pytest_interp.table import Table, name_of
from pytest_interp.verdict.evidence import Member
from pytest_interp.verdict.failure_message import controls_shown, specific_shown
from pytest_interp.verdict.intervals import ends_of
from pytest_interp.verdict.judge import RANK, Verdict
from pytest_interp.verdict.other_threads import RecordFile, in_pool, of_parent, wait_for_threads


class Refuted(BaseException):
    """Ends a trial at its first refuted verdict.

    It is not an Exception, so that Hypothesis neither repeats nor shrinks the example.
    """


@dataclass(frozen=True, eq=False)
class _Sink:
    """The records of one claim or trial.

    Attributes:
        trial: whether the claim is run again.
        until_refuted: whether the first refuted verdict ends the trial.
        records: the records of the thread that opened the sink, in order.
        others: the records of other threads.
        thread: the id of the thread that opened the sink.
        process: the id of the process that opened the sink.
        earlier: the threads that ran before the sink was opened.
    """

    trial: bool = False
    until_refuted: bool = False
    records: list[Record] = field(default_factory=list)
    others: list[Record] = field(default_factory=list)
    thread: int = field(default_factory=threading.get_ident)
    process: int = field(default_factory=os.getpid)
    earlier: frozenset[threading.Thread] = field(default_factory=lambda: frozenset(threading.enumerate()))


_sinks: list[_Sink] = []
"""The open sinks, innermost last. Appending and reading are atomic, so no lock can be held when a process forks."""
_outlived: WeakSet[threading.Thread] = WeakSet()
"""Threads that a claim has started and that were still running when it ended."""


@contextmanager
def collecting() -> Iterator[list[Record]]:
    """A context around a claim; yields the list of its records.

    Records of other threads and of child processes are appended when the context closes.
    """
    with _open(_Sink()) as records:
        yield records


@contextmanager
def trial(*, until_refuted: bool) -> Iterator[list[Record]]:
    """A context around a trial; yields the list of its records.

    Args:
        until_refuted: whether the first refuted verdict leaves the context, without an error.
    """
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
            _outlived.update(frozenset(threading.enumerate()) - sink.earlier)
            # Threads and processes write in no fixed order: sorting makes two runs give the same records.
            elsewhere = (*sink.others, *map(Record.from_json, file.read()))
            sink.records.extend(sorted(elsewhere, key=lambda record: json.dumps(record.to_json(), default=str)))


def _innermost() -> _Sink | None:
    """The innermost sink that this process opened; a forked child inherits its parent's, which do not count."""
    return next((sink for sink in _sinks[-1:] if sink.process == os.getpid()), None)


def in_trial() -> bool:
    """Whether a claim is being run again; then the capability gate, controls and failures are off."""
    sink = _innermost()
    if sink is not None:
        return sink.trial
    file = of_parent()
    return file is not None and file.trial


def write(record: Record) -> None:
    """Adds a record to the innermost sink of this process, else to that of the parent process, if one is open.

    Args:
        record: of a verdict; a refuted one may end the trial.

    Raises:
        UsageError: the claim that started this thread or process has ended.
    """
    sink = _innermost()
    thread = threading.current_thread()
    if thread in _outlived and not in_pool(thread):
        raise _too_late(record, f"the thread {thread.name}")
    if sink is None:
        file = of_parent()
        if file is not None and not file.append(record.to_json()):
            raise _too_late(record, f"the process {os.getpid()}")
        return
    own = threading.get_ident() == sink.thread
    (sink.records if own else sink.others).append(record)
    # An exception in another thread would not reach the claim, so a trial ends in its own thread only.
    if own and sink.until_refuted and record.outcome == "refuted":
        raise Refuted


def _too_late(record: Record, place: str) -> UsageError:
    return UsageError(
        f"the verdict on {record.subject} is {record.outcome}, but {place} was started by a claim that has "
        "ended: wait for it there (join), or start it in a fixture"
    )


def record_of(verdict: Verdict, subject: str, table: Table[Any] | None = None) -> Record:
    """A verdict as plain data, for the ledger, reports and snapshots.

    Args:
        verdict: with its controls, members and details.
        subject: what the claim is about, in a line.
        table: the sweep that the verdict is about; None of a single measurement.
    """
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
        context=measurement.context,
        values=measurement.values,
        scale=measurement.scale,
        sample=measurement.sample,
        table=None if table is None else _table(table),
        sweep=None if verdict.specific is None or verdict.specific.table is None else _sweep(verdict.specific.table),
    )


def _table(table: Table[Any]) -> RecordedTable:
    cells = tuple((name_of(cell), effect.value, _cell_ends(effect)) for cell, effect in table.items())
    return RecordedTable(table.quantity, next(iter(table.values())).unit, table.axes, cells)


def _sweep(table: Table[Any]) -> RecordedSweep:
    values = tuple(tuple(map(_four_digits, row)) for row in table.matrix(_value_of))
    return RecordedSweep(tuple(map(str, table.rows)), tuple(map(str, table.columns)), values)


def _value_of(effect: Measurement) -> float:
    """The value of a cell; NaN where it is a ratio whose denominators have mean 0."""
    try:
        return effect.value
    except InterpError:
        return nan


def _four_digits(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(f"{value:.4g}")


def _cell_ends(effect: Measurement) -> tuple[float, float] | None:
    """The interval of a cell; None where it has none, such as of a ratio whose denominator may be 0."""
    try:
        return _ends(effect)
    except InterpError:
        return None


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
    """The record that came nearest to failing, for each quantity of a claim under ``@given``.

    Args:
        records: of all examples that Hypothesis tried.

    Returns:
        A record for each quantity, in the order in which they first occur, with its number of examples.
    """
    by_quantity: dict[str, list[Record]] = {}
    for record in records:
        by_quantity.setdefault(record.quantity, []).append(record)
    return tuple(
        replace(min(examples, key=lambda record: (RANK[record.outcome], record.slack)), examples=len(examples))
        for examples in by_quantity.values()
    )
