"""What stands beside a number before it supports a claim: its controls, its members, how specific it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_interp.assertions.controls import Controls, controls_of, counts_of, specificity_of
from pytest_interp.assertions.members import caveats_of, members_of
from pytest_interp.assertions.other_tasks import OTHER_TASK
from pytest_interp.assertions.question import Question
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import names_of
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.evidence import Control
from pytest_interp.verdict.judge import RANK, Outcome, Verdict, judge
from pytest_interp.verdict.recording import in_trial


def with_evidence(verdict: Verdict, question: Question[Any], controls: Controls) -> Verdict:
    """The verdict with its controls, of how many heads it is true, and what each member of its sets adds.

    In a trial only what decides is measured: members where something is demanded of them, and no controls.

    Args:
        verdict: on the claim's own number.
        question: what the assertion asks.
        controls: how many of each kind.

    Raises:
        UsageError: a bound on controls or members that were not asked for.
    """
    verdict = _with_members(verdict, question)
    if in_trial():
        return verdict
    counts = counts_of(controls, question.checkpoint)
    demanded, requested = question.demands.controls, any(counts.values())
    if demanded is not None and not verdict.controls and not any(counts[kind] for kind in counts if kind != OTHER_TASK):
        raise UsageError("controls_at_least= and controls_at_most= speak of controls, but none were asked for")
    if question.demands.other_task is not None and not counts.get(OTHER_TASK):
        raise UsageError(
            "other_task_at_least= and other_task_at_most= speak of other tasks, but none was asked for: pass "
            'controls={"other_task": 1}'
        )
    checks, notes = controls_of(question, controls, verdict.measurement)
    specific = specificity_of(question) if controls else None
    caveats = verdict.caveats
    if specific is not None and specific.unspecific and verdict.outcome == "supported":
        caveats = (*caveats, f"unspecific: {specific}")
    if not requested and not verdict.controls:
        notes = (*notes, "no control was asked for")
    elif checks and all(check.value is None for check in checks):
        notes = (*notes, f"no control has a number: {len(checks)} of {len(checks)} are not applicable")
    notes = (*notes, *question.notes)
    caveats = (*caveats, *question.caveats)
    verdict = replace(verdict, notes=(*verdict.notes, *notes), caveats=caveats, specific=specific)
    verdict = beside_controls(verdict, (*verdict.controls, *checks), demanded)
    return _on_other_tasks(verdict, question.demands.other_task)


def beside_controls(verdict: Verdict, controls: Sequence[Control], demanded: Bound | None = None) -> Verdict:
    """The verdict with its controls: it names those that do the same, and judges them where something is demanded.

    Args:
        verdict: on the claim's own number.
        controls: measured controls.
        demanded: what every control must be; None where nothing is demanded.
    """
    equal_controls = [control for control in controls if control.same and verdict.outcome != "refuted"]
    subject = "a control does" if len(equal_controls) == 1 else "controls do"
    caveat = f"{subject} the same: {'; '.join(map(str, equal_controls))}"
    verdict = replace(
        verdict, controls=tuple(controls), caveats=(*verdict.caveats, *([caveat] if equal_controls else []))
    )
    return _demanded(verdict, "control", demanded, _numbers(controls, of_other_tasks=False))


def _numbers(controls: Sequence[Control], *, of_other_tasks: bool) -> list[tuple[str, Measurement]]:
    """The controls that have a number, by label: those on other tasks, or the rest."""
    return [
        (control.label, control.measurement)
        for control in controls
        if control.measurement is not None and (control.kind == OTHER_TASK) == of_other_tasks
    ]


def _on_other_tasks(verdict: Verdict, demanded: Bound | None) -> Verdict:
    """The verdict where the share that is lost on other tasks must meet a bound too."""
    numbers = _numbers(verdict.controls, of_other_tasks=True)
    if demanded is not None and not numbers:
        note = f"the share lost on another task must be {demanded.text}, and none could be measured"
        return _no_better_than(verdict, "inconclusive", note)
    return _demanded(verdict, "share lost on another task", demanded, numbers)


def _with_members(verdict: Verdict, question: Question[Any]) -> Verdict:
    """The verdict with what each member adds to its set; no better than that of the members where they are bounded."""
    demands = question.demands
    if in_trial() and demands.members is None:
        return verdict
    members = tuple(member for heads in question.head_sets for member in members_of(heads))
    verdict = replace(verdict, members=members, caveats=(*verdict.caveats, *caveats_of(members)))
    if demands.members is None:
        return verdict
    judged = question.head_sets[0]  # the claim's number is the effect of this set
    if not judged.heads:
        raise UsageError("members_at_least= and members_at_most= speak of the members of a set; no heads were passed")
    if len(judged.heads) == 1:
        return _demanded(verdict, "member", demands.members, [(str(judged.heads[0]), judged.effect(judged.heads))])
    if not members:
        note = f"the effect of {names_of(judged.heads)} together is undefined, so that of each cannot be judged"
        return _no_better_than(verdict, "inconclusive", note)
    numbers = [(m.label, m.marginal if demands.marginal else m.alone) for m in members[: len(judged.heads)]]
    silent = [label for label, number in numbers if number is None]
    if silent:
        note = f"{', '.join(silent)} can have no effect alone, but each member must be {demands.members.text}"
        return _no_better_than(verdict, "refuted", note)
    return _demanded(verdict, "member", demands.members, [(label, n) for label, n in numbers if n is not None])


def _demanded(verdict: Verdict, what: str, bound: Bound | None, numbers: Sequence[tuple[str, Measurement]]) -> Verdict:
    """The verdict where every control or member must meet a bound too.

    All of them must hold, so no level is corrected for support; one that surely does not (corrected for their number,
    Bonferroni) refutes the claim.
    """
    if bound is None or not numbers:
        return verdict
    level = 1 - 0.05 / len(numbers)
    doubtful = [(label, number) for label, number in numbers if _outcome(number, bound) != "supported"]
    if not doubtful:
        return verdict
    refuted = any(_outcome(number, bound, level) == "refuted" for _, number in doubtful)
    outcome: Outcome = "refuted" if refuted else "inconclusive"
    shown = "; ".join(f"{label} {quote(number.value)}" for label, number in doubtful)
    note = f"each {what} must be {bound.text}: {shown} {'is not' if refuted else 'is not surely so'}"
    return _no_better_than(verdict, outcome, note)


def _outcome(number: Measurement, bound: Bound, level: float = 0.95) -> Outcome:
    """The outcome of a control or member; one that cannot be judged decides nothing."""
    try:
        return judge(number, bound, level=level).outcome
    except NotApplicable:
        return "inconclusive"


def _no_better_than(verdict: Verdict, outcome: Outcome, note: str) -> Verdict:
    """The verdict with a note, and with this outcome unless its own is worse."""
    return replace(verdict, outcome=min(verdict.outcome, outcome, key=RANK.__getitem__), notes=(*verdict.notes, note))
