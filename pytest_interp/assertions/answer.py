"""From a question to its verdict: measure, judge, record; raise where the verdict is not support."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_interp.assertions.capability import other_bos
from pytest_interp.assertions.controls import CONTROLS, Controls, control, counts_of
from pytest_interp.assertions.demands import Demands
from pytest_interp.assertions.evidence import with_evidence
from pytest_interp.assertions.question import Measure, Question
from pytest_interp.errors import ClaimFailed
from pytest_interp.table import name_of
from pytest_interp.text import line
from pytest_interp.verdict.caveats import notes_of
from pytest_interp.verdict.evidence import Control
from pytest_interp.verdict.failure_message import explain
from pytest_interp.verdict.judge import Verdict, judge
from pytest_interp.verdict.recording import in_trial, record_of, write
from pytest_interp.verdict.robustness import name_dependence
from pytest_interp.verdict.worst import worst

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.table import Table

_OF_PROMPTS = ("logit_diff", "accuracy")
"""Quantities for which a failure gives the worst prompt in full: a reader may want to try it by hand."""


def answer(question: Question[Any], controls: Controls = CONTROLS) -> Verdict:
    """The verdict on a question: measured, judged, with its controls and members, and recorded.

    The other heads of a claimed head's role are no controls. They are measured too, and shown beside a failure, or in
    a note where controls were asked for.

    Args:
        question: what the assertion asks.
        controls: how many of each kind.

    Raises:
        ClaimFailed: the verdict is refuted or inconclusive.
        NotApplicable: the measurement is undefined.
    """
    __tracebackhide__ = True
    counts = counts_of(controls, question.checkpoint)
    verdict = judge(question.of(question.heads), question.bound)
    supported = verdict.outcome == "supported"
    skipped = in_trial() or (supported and not counts.get("same_layer"))
    siblings = () if skipped else _siblings(question)
    if not supported and verdict.measurement.quantity in _OF_PROMPTS and not in_trial():
        model_and_prompts: Any = question.on
        hints = other_bos(model_and_prompts, lambda turned: question.of(question.heads, turned), question.bound)
        verdict = replace(verdict, notes=(*verdict.notes, *hints))
    if siblings and supported:
        note = f"heads of the same role are no controls: {'; '.join(map(str, siblings))}"
        verdict = replace(verdict, notes=(*verdict.notes, note))
    return conclude(with_evidence(verdict, question, controls), question.subject, siblings)


def conclude(
    verdict: Verdict, subject: str, siblings: Sequence[Control] = (), table: Table[Any] | None = None
) -> Verdict:
    """The verdict, recorded, with what a reader must know of its prompts.

    Raises from a frame that holds no tensors: pytest keeps the frames of a failed test.

    Args:
        verdict: with its controls and members.
        subject: for the record and the failure.
        siblings: other heads of the same role, shown in a failure.
        table: the sweep that the verdict is about, for the record; None of a single measurement.

    Raises:
        ClaimFailed: the verdict is refuted or inconclusive.
    """
    __tracebackhide__ = True
    subject = line(subject, 1_000)
    if in_trial():
        write(record_of(verdict, subject))
        return verdict
    if verdict.outcome != "supported" and verdict.measurement.quantity in _OF_PROMPTS:
        label, _ = worst(verdict.measurement, verdict.bound)[0]
        verdict = replace(verdict, details={"to paste": label, **verdict.details})
    names, note = name_dependence(verdict)
    if names:
        verdict = replace(verdict, details={**verdict.details, "names": names})
    if note:
        verdict = replace(verdict, caveats=(*verdict.caveats, note))
    if verdict.outcome == "supported":
        verdict = replace(verdict, notes=(*verdict.notes, *notes_of(verdict.measurement, verdict.bound)))
    write(record_of(verdict, subject, table))
    if verdict.outcome != "supported":
        raise ClaimFailed(explain(verdict, subject, siblings))
    return verdict


def layer_claim(
    experiment: Experiment,
    sweep: Callable[[Experiment], Table[Any]],
    cell: tuple[int | str, str],
    demands: Demands,
    subject: str,
    controls: Controls,
) -> Verdict:
    """The verdict on a cell of a sweep by layer, with the cells of the layers before and after as controls.

    Args:
        experiment: checkpoint and data set.
        sweep: the measurement of all layers.
        cell: the claimed layer and site.
        demands: the accepted region, and what is demanded of controls.
        subject: for the record and the failure.
        controls: further controls, by kind.

    Raises:
        ClaimFailed: the verdict is refuted or inconclusive.
        NotApplicable: the cell is undefined.
    """
    __tracebackhide__ = True
    table = sweep(experiment)
    key = table.key(cell)
    rows = [other for other in table if other[1] == cell[1]]
    row = rows.index(key)
    neighbours = [rows[other_row] for other_row in (row - 1, row + 1) if 0 <= other_row < len(rows) and not in_trial()]
    verdict = judge(table[key], demands.bound)
    checks = tuple(
        control(name_of(other), partial(table.__getitem__, other), "neighbour", table[key], demands.bound)
        for other in neighbours
    )
    verdict = replace(verdict, controls=checks)
    question = Question(experiment, Measure.of_model(lambda on: sweep(on)[key]), demands, subject)
    return conclude(with_evidence(verdict, question, controls), subject)


def _siblings(question: Question[Any]) -> tuple[Control, ...]:
    """The other heads of the first claimed head's role, one by one."""
    circuit, heads = question.checkpoint.circuit, question.heads
    role = circuit.role_of(heads[0]) if circuit and heads else None
    siblings = [head for head in role.heads if head not in {*heads, *question.excluded}] if role else []
    return tuple(control(str(head), partial(question.of, (head,))) for head in siblings)
