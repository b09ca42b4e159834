"""What every assertion shares: the bound grammar's arguments, controls, siblings, the record, the failure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from pytest_interp.errors import ClaimFailed, NotApplicable
from pytest_interp.explain import explain
from pytest_interp.heads import Head, KVHead, names_of
from pytest_interp.judge import Bound, Control, Outcome, Verdict, judge
from pytest_interp.ledger import record_of, write
from pytest_interp.measurement import Measurement, quote

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.engine import Experiment


CONTROLS = 3


class BoundArgs(TypedDict, total=False):
    """The bound grammar: exactly one of these."""

    at_least: float
    at_most: float
    between: Sequence[float]
    near: Sequence[float]


POSITIVE = Bound.positive()


RANK: dict[Outcome, int] = {"refuted": 0, "inconclusive": 1, "supported": 2}


def head_claim(
    checkpoint: Checkpoint,
    heads: tuple[Head, ...],
    measure: Callable[[Sequence[Head]], Measurement],
    bound: Bound,
    subject: str,
    controls: int,
    seed: int,
    *,
    shared: bool = False,
) -> Verdict:
    """Measures the claimed heads and their controls; where the claim fails, the heads of the same role too.

    ``shared``: what is measured belongs to key-value heads, so that query heads of one group are one head.
    """
    __tracebackhide__ = True
    verdict = judge(measure(heads), bound)
    drawn = draw_controls(checkpoint, heads, controls, seed, shared=shared)
    checks = tuple(control(names_of(some), some, measure) for some in drawn)
    notes = verdict.notes
    if controls and not drawn:
        notes = (*notes, f"no control: too few heads outside the circuit in the layers of {names_of(heads)}")
    verdict = replace(verdict, controls=checks, notes=notes)
    siblings = () if verdict.outcome == "supported" else _siblings(checkpoint, heads, measure)
    return conclude(verdict, subject, siblings)


def conclude(verdict: Verdict, subject: str, siblings: Sequence[Control] = ()) -> Verdict:
    """Records the verdict; raises from a frame that holds no tensors where it is not support."""
    __tracebackhide__ = True
    write(record_of(verdict, subject))
    if verdict.outcome != "supported":
        raise ClaimFailed(explain(verdict, subject, siblings))
    return verdict


def draw_controls(
    checkpoint: Checkpoint,
    heads: Sequence[Head],
    count: int,
    seed: int,
    excluded: frozenset[Head] = frozenset(),
    *,
    shared: bool = False,
) -> list[tuple[Head, ...]]:
    """Different random sets of as many heads of the same layers, outside the circuit and the claim; fewer if few."""
    taken = {*heads, *excluded, *(checkpoint.circuit.heads if checkpoint.circuit else ())}

    def key(head: Head) -> Head | KVHead:
        return checkpoint.kv_head(head) if shared else head

    rng = random.Random(f"{seed} {names_of(heads)}")
    drawn: list[tuple[Head, ...]] = []
    for _ in range(10 * count):
        picked: set[Head] = set()
        for head in heads:
            barred = {key(other) for other in (*taken, *picked)}
            everyone = (Head(head.layer, index) for index in range(checkpoint.shape.n_heads))
            pool = [other for other in everyone if key(other) not in barred]
            if not pool:
                return []
            picked.add(rng.choice(pool))
        if len(drawn) < count and tuple(sorted(picked)) not in drawn:
            drawn.append(tuple(sorted(picked)))
    return drawn


def control(label: str, heads: Sequence[Head], measure: Callable[[Sequence[Head]], Measurement]) -> Control:
    try:
        return Control(label, measure(heads).value)
    except NotApplicable:
        return Control(label, None, "no score")


def _siblings(
    checkpoint: Checkpoint, heads: Sequence[Head], measure: Callable[[Sequence[Head]], Measurement]
) -> tuple[Control, ...]:
    """The other heads of the first claimed head's role, one by one."""
    role = checkpoint.circuit.role_of(heads[0]) if checkpoint.circuit else None
    others = [head for head in role.heads if head not in heads] if role else []
    return tuple(control(str(head), (head,), measure) for head in others)


def require_capability(experiment: Experiment) -> None:
    """A causal claim means something only where the model does the task at all."""
    from pytest_interp.measure import logit_diff

    measurement = logit_diff(experiment)
    if not certainly(measurement, POSITIVE):
        raise NotApplicable(
            f"{experiment.checkpoint.name} does not do the task on {experiment.data.name}: "
            f"its mean logit difference is {quote(measurement.value)}, not surely above 0"
        )


def certainly(measurement: Measurement, bound: Bound) -> bool:
    return judge(measurement, bound).outcome == "supported"


def where(experiment: Experiment) -> str:
    return f"{experiment.checkpoint.name}, {experiment.data.name}"
