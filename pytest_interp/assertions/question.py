"""What every assertion shares: the bound grammar's arguments, the question and its answer, the record, the failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_interp.assertions.controls import (
    CONTROLS,
    Controls,
    Question,
    control,
    controls_of,
    counts_of,
    specificity_of,
)
from pytest_interp.assertions.demands import BoundArgs, Demands, SetBoundArgs, named_heads
from pytest_interp.assertions.members import NEGLIGIBLE, HeadSet, caveats_of, members_of
from pytest_interp.errors import ClaimFailed, NotApplicable, UsageError
from pytest_interp.heads import names_of
from pytest_interp.measurement import Measurement, quote
from pytest_interp.table import name_of
from pytest_interp.text import line
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.caveats import notes_of
from pytest_interp.verdict.evidence import Control
from pytest_interp.verdict.failure_message import explain
from pytest_interp.verdict.judge import RANK, Outcome, Verdict, judge, worst
from pytest_interp.verdict.recording import in_trial, record_of, write
from pytest_interp.verdict.robustness import name_dependence

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.table import Table
    from pytest_interp.tasks.positions import At

__all__ = [
    "CONTROLS",
    "NEGLIGIBLE",
    "POSITIVE",
    "BoundArgs",
    "Controls",
    "Demands",
    "HeadSet",
    "Question",
    "SetBoundArgs",
    "answer",
    "beside_controls",
    "capability_caveat",
    "certainly",
    "conclude",
    "control",
    "counts_of",
    "in_trial",
    "layer_claim",
    "named_heads",
    "position_text",
    "require_capability",
    "where",
    "with_evidence",
]

POSITIVE = Bound.positive()
_OF_PROMPTS = ("logit_diff", "accuracy")
"""What a person would try by hand: the worst prompt is given in full."""


def answer(question: Question[Any], controls: Controls = CONTROLS) -> Verdict:
    """Measures, judges, looks at controls and members, records; raises where it is not support.

    The other heads of a claimed head's role are no controls. They are measured too, and shown beside a failure, or in
    a note where controls were asked for.
    """
    __tracebackhide__ = True
    counts = counts_of(controls, question.checkpoint)
    verdict = judge(question.of(question.heads), question.bound)
    supported = verdict.outcome == "supported"
    skipped = in_trial() or (supported and not counts.get("same_layer"))
    siblings = () if skipped else _siblings(question)
    if not supported and verdict.measurement.quantity in _OF_PROMPTS and not in_trial():
        on: Any = question.on
        told = other_bos(on, lambda turned: question.measure(turned, question.heads), question.bound)
        verdict = replace(verdict, notes=(*verdict.notes, *told))
    if siblings and supported:
        note = f"heads of the same role are no controls: {'; '.join(map(str, siblings))}"
        verdict = replace(verdict, notes=(*verdict.notes, note))
    return conclude(with_evidence(verdict, question, controls), question.subject, siblings)


def with_evidence(verdict: Verdict, question: Question[Any], controls: Controls) -> Verdict:
    """The verdict with its controls, of how many heads it is true, and what each member of its sets adds.

    In a trial only what decides is measured: members where something is demanded of them, and no controls.
    """
    verdict = _with_members(verdict, question)
    if in_trial():
        return verdict
    demanded, asked = question.demands.controls, any(counts_of(controls, question.checkpoint).values())
    if demanded is not None and not verdict.controls and not asked:
        raise UsageError("controls_at_least= and controls_at_most= speak of controls, but none were asked for")
    checks, notes = controls_of(question, controls, verdict.measurement)
    specific = specificity_of(question) if controls else None
    caveats = verdict.caveats
    if specific is not None and specific.unspecific and verdict.outcome == "supported":
        caveats = (*caveats, f"unspecific: {specific}")
    if not asked and not verdict.controls:
        notes = (*notes, "no control was asked for")
    elif checks and all(check.value is None for check in checks):
        notes = (*notes, f"no control has a number: {len(checks)} of {len(checks)} are not applicable")
    notes = (*notes, *question.notes)
    caveats = (*caveats, *question.caveats)
    verdict = replace(verdict, notes=(*verdict.notes, *notes), caveats=caveats, specific=specific)
    return beside_controls(verdict, (*verdict.controls, *checks), demanded)


def beside_controls(verdict: Verdict, controls: Sequence[Control], demanded: Bound | None = None) -> Verdict:
    """The verdict with its controls: it names those that do the same, and judges them where something is demanded."""
    same = [control for control in controls if control.same and verdict.outcome != "refuted"]
    caveat = f"{'a control does' if len(same) == 1 else 'controls do'} the same: {'; '.join(map(str, same))}"
    verdict = replace(verdict, controls=tuple(controls), caveats=(*verdict.caveats, *([caveat] if same else [])))
    numbers = [(control.label, control.measurement) for control in controls if control.measurement is not None]
    return _demanded(verdict, "control", demanded, numbers)


def _with_members(verdict: Verdict, question: Question[Any]) -> Verdict:
    demands = question.demands
    if in_trial() and demands.members is None:
        return verdict
    members = tuple(member for heads in question.head_sets for member in members_of(heads))
    verdict = replace(verdict, members=members, caveats=(*verdict.caveats, *caveats_of(members)))
    if demands.members is None:
        return verdict
    judged = question.head_sets[0]  # the set whose effect the claim is about
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


def conclude(verdict: Verdict, subject: str, siblings: Sequence[Control] = ()) -> Verdict:
    """Records the verdict; raises from a frame that holds no tensors where it is not support."""
    __tracebackhide__ = True
    subject = line(subject, 1_000)
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
        verdict = replace(verdict, caveats=(*verdict.caveats, note))
    if verdict.outcome == "supported":
        verdict = replace(verdict, notes=(*verdict.notes, *notes_of(verdict.measurement, verdict.bound)))
    write(record_of(verdict, subject))
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
    """A verdict on one row, with its neighbours as controls."""
    __tracebackhide__ = True
    table = sweep(experiment)
    key = table.key(cell)
    rows = [other for other in table if other[1] == cell[1]]
    i = rows.index(key)
    beside = [rows[j] for j in (i - 1, i + 1) if 0 <= j < len(rows) and not in_trial()]
    verdict = judge(table[key], demands.bound)
    checks = tuple(
        control(name_of(other), partial(table.__getitem__, other), "neighbour", table[key], demands.bound)
        for other in beside
    )
    verdict = replace(verdict, controls=checks)
    question = Question(experiment, lambda on, _: sweep(on)[key], demands, subject)
    return conclude(with_evidence(verdict, question, controls), subject)


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
        told = "".join(f"; {note}" for note in other_bos(experiment, logit_diff, POSITIVE))
        raise NotApplicable(
            f"{experiment.checkpoint.name} does not do the task on {experiment.data.name}: "
            f"its mean logit difference is {quote(measurement.value)}, not surely above 0{told}"
        )


def other_bos(experiment: Experiment, measure: Callable[[Experiment], Measurement], bound: Bound) -> tuple[str, ...]:
    """What to say where the other BOS choice meets a bound that this one does not; nothing where it does not either.

    Args:
        experiment: on which the bound is not met.
        measure: what is bounded.
        bound: the accepted region.
    """
    data, checkpoint = experiment.data, experiment.checkpoint
    bos = not data.clean.bos
    if data.redraw is None or (bos and checkpoint.tokenizer.bos_token_id is None):
        return ()
    try:
        turned = measure(replace(experiment, data=data.redraw(bos=bos)))
        if not certainly(turned, bound):
            return ()
    except (NotApplicable, UsageError):
        return ()
    word, choice = ("with", "yes") if bos else ("without", "no")
    return (f"{word} BOS it is {quote(turned.value)}, {bound.text}: pass --interp-bos {choice}",)


def capability_caveat(experiment: Experiment) -> tuple[str, ...]:
    """The caveat where nothing is intervened on and the model does not do the task; none where it does."""
    if in_trial():
        return ()
    try:
        require_capability(experiment)
    except NotApplicable as gate:
        return (str(gate),)
    return ()


def certainly(measurement: Measurement, bound: Bound) -> bool:
    """Whether a measurement surely meets a bound."""
    return judge(measurement, bound).outcome == "supported"


def bias_text(value_bias: str, default: str) -> str:
    """What a subject says of the value bias where it is not as by default."""
    return "" if value_bias == default else f", value bias {value_bias}"


def where(experiment: Experiment) -> str:
    """The names of the checkpoint and the data set."""
    return f"{experiment.checkpoint.name}, {experiment.data.name}"


def position_text(at: At) -> str:
    """The name of a position, or of several."""
    return "all positions" if at is None else str(at) if isinstance(at, str | int) else ", ".join(map(str, at))
