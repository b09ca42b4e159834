"""What every assertion shares: the bound grammar's arguments, the question and its answer, the record, the failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from pytest_interp.assertions._controls import (
    CONTROLS,
    Controls,
    Question,
    control,
    controls_of,
    counts_of,
    specificity_of,
)
from pytest_interp.errors import ClaimFailed, NotApplicable
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.failure_message import explain
from pytest_interp.verdict.judge import Control, Outcome, Verdict, judge, worst
from pytest_interp.verdict.recording import in_trial, record_of, write
from pytest_interp.verdict.robustness import name_dependence

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment

__all__ = [
    "CONTROLS",
    "POSITIVE",
    "RANK",
    "BoundArgs",
    "Controls",
    "Question",
    "answer",
    "certainly",
    "conclude",
    "counts_of",
    "in_trial",
    "require_capability",
    "where",
    "with_controls",
]


class BoundArgs(TypedDict, total=False):
    """The bound grammar: exactly one of these."""

    at_least: float
    at_most: float
    between: Sequence[float]
    near: Sequence[float]


POSITIVE = Bound.positive()
_OF_PROMPTS = ("logit_diff", "accuracy")
"""What a person would try by hand: the worst prompt is given in full."""


RANK: dict[Outcome, int] = {"refuted": 0, "inconclusive": 1, "supported": 2}


def answer(question: Question[Any], controls: Controls = CONTROLS) -> Verdict:
    """Measures, judges, looks at the controls, records; raises where it is not support.

    Where a claim about heads fails, the other heads of the same role are measured too.
    """
    __tracebackhide__ = True
    counts_of(controls)
    verdict = judge(question.of(question.heads), question.bound)
    siblings = () if verdict.outcome == "supported" or in_trial() else _siblings(question)
    return conclude(with_controls(verdict, question, controls), question.subject, siblings)


def with_controls(verdict: Verdict, question: Question[Any], controls: Controls) -> Verdict:
    """The verdict with the same measurement where the claim should not hold, and of how many heads it is true."""
    if in_trial():
        return verdict
    checks, notes = controls_of(question, controls)
    specific = specificity_of(question) if controls else None
    if specific is not None and specific.unspecific and verdict.outcome == "supported":
        notes = (*notes, f"unspecific: {specific}")
    return replace(verdict, controls=(*verdict.controls, *checks), notes=(*verdict.notes, *notes), specific=specific)


def conclude(verdict: Verdict, subject: str, siblings: Sequence[Control] = ()) -> Verdict:
    """Records the verdict; raises from a frame that holds no tensors where it is not support."""
    __tracebackhide__ = True
    if in_trial():
        write(record_of(verdict, subject))
        return verdict
    if verdict.outcome != "supported" and verdict.measurement.quantity in _OF_PROMPTS:
        label, _ = worst(verdict)[0]
        verdict = replace(verdict, details={"to paste": label, **verdict.details})
    names, note = name_dependence(verdict)
    if names:
        verdict = replace(verdict, details={**verdict.details, "names": names})
    if note:
        verdict = replace(verdict, notes=(*verdict.notes, note))
    write(record_of(verdict, subject))
    if verdict.outcome != "supported":
        raise ClaimFailed(explain(verdict, subject, siblings))
    return verdict


def _siblings(question: Question[Any]) -> tuple[Control, ...]:
    """The other heads of the first claimed head's role, one by one."""
    circuit, heads = question.checkpoint.circuit, question.heads
    role = circuit.role_of(heads[0]) if circuit and heads else None
    others = [head for head in role.heads if head not in heads] if role else []
    return tuple(control(str(head), partial(question.of, (head,))) for head in others)


def require_capability(experiment: Experiment) -> None:
    """A causal claim means something only where the model does the task at all; no gate for a damaged model."""
    if in_trial():
        return
    from pytest_interp.measure import logit_diff

    measurement = logit_diff(experiment)
    if not certainly(measurement, POSITIVE):
        raise NotApplicable(
            f"{experiment.checkpoint.name} does not do the task on {experiment.data.name}: "
            f"its mean logit difference is {quote(measurement.value)}, not surely above 0"
        )


def certainly(measurement: Measurement, bound: Bound) -> bool:
    return judge(measurement, bound).outcome == "supported"


def bias_text(value_bias: str, default: str) -> str:
    """What a subject says of the value bias where it is not as by default."""
    return "" if value_bias == default else f", value bias {value_bias}"


def where(experiment: Experiment) -> str:
    return f"{experiment.checkpoint.name}, {experiment.data.name}"
