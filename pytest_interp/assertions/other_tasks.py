"""The control on another task: what the knock-out of a claim costs where the model does something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.evidence import Control
from pytest_interp.verdict.intervals import side_of_zero

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment
    from pytest_interp.tasks.dataset import DataSet
    from pytest_interp.tasks.positions import At

OTHER_TASK = "other_task"
"""The kind of these controls."""
OTHERS = ("sequences", "capitals", "copied_tokens", "ioi")
"""Tasks in the order in which they are tried: sequences, facts, repeated tokens; IOI for claims about another task."""
MOST_TASKS = len(OTHERS) - 1
PROMPTS = 48
"""Prompts of another task at most."""
AS_MUCH = 0.5
"""The part of the share lost on the claim's own task from which on another task loses as much."""


@dataclass(frozen=True)
class Knockout:
    """What a claim knocks out, so that it can be knocked out on other prompts.

    Attributes:
        cost: the share of the logit difference that is lost on an experiment without it, at these positions.
        at: the positions of the claim; None for all.
    """

    cost: Callable[[Experiment, At], Measurement]
    at: At = None


def other_task_controls(on: Any, knockout: Knockout | None, count: int) -> tuple[list[Control], list[str]]:
    """What the same knock-out costs on other tasks that the model does.

    Args:
        on: what the claim is about.
        knockout: of the claim; None where it knocks nothing out.
        count: how many other tasks.

    Returns:
        A control for each task, with the share of its logit difference that is lost; and what a reader must know: the
        share that is lost on the claim's own task, where positions differ, which tasks could not be measured.

    Raises:
        UsageError: the claim knocks nothing out.
    """
    if knockout is None:
        raise UsageError(
            f"a control of the kind {OTHER_TASK} knocks out the same heads on another task, and this claim knocks out "
            "none: it is for ablations, patches of heads, faithfulness, and logit differences with knocked_out="
        )
    own = knockout.cost(on, knockout.at)
    notes = [f"the same knock-out loses {quote(own.value)} of the logit difference on {on.data.name}"]
    controls: list[Control] = []
    reasons: list[str] = []
    for name, other in _others(on, reasons):
        if len(controls) == count:
            break
        at = _positions_on(other.data, knockout.at)
        if at != knockout.at:
            notes.append(f"on {name} it is at all positions: not all of {knockout.at} are there")
        cost = knockout.cost(other, at)
        label = f"share lost of {name}"
        controls.append(Control(label, cost.value, "", OTHER_TASK, _as_much(own, cost), cost))
    if len(controls) < count:
        notes.append(f"{len(controls)} of {count} other tasks could be measured: {'; '.join(reasons)}")
    return controls, notes


def _others(on: Any, reasons: list[str]) -> Iterator[tuple[str, Experiment]]:
    """Other tasks that the model does, each when it is asked for; why not goes to ``reasons``."""
    from pytest_interp.measure import logit_diff
    from pytest_interp.tasks.named import TASKS
    from pytest_interp.tasks.reference import with_reference

    data = on.data
    for name in OTHERS:
        try:
            drawn = TASKS[name](
                on.checkpoint.tokenizer,
                half="confirm",
                n=max(2, min(PROMPTS, len(data.clean))),
                seed=2 * on.seed + 1,
                bos=data.clean.bos,
            )
            if _family(drawn) == _family(data):
                continue
            other = replace(on, data=with_reference(drawn))
            does_it = side_of_zero(logit_diff(other)) == 1
        except (NotApplicable, UsageError) as error:  # words that the tokenizer lacks, prompts that are too long
            reasons.append(f"{name}: {error}")
            continue
        if does_it:
            yield name, other
        else:
            reasons.append(f"{name}: the model does not do it")


def _family(data: DataSet) -> str:
    """The task of a data set, whichever half and part of it."""
    return data.name.partition("/")[0]


def _positions_on(data: DataSet, at: At) -> At:
    """The positions of a claim on the prompts of another task; all of them where one has no such name there."""
    names: Mapping[str | int, None] = dict.fromkeys(data.clean.position_names)
    positions = [at] if isinstance(at, str | int) else list(at or ())
    return at if all(position in names for position in positions) else None


def _as_much(own: Measurement, cost: Measurement) -> bool:
    """Whether another task surely loses something, and at least half of the share that the claim's own task loses."""
    side = side_of_zero(own)
    return side != 0 and side_of_zero(cost) == side and abs(cost.value) >= AS_MUCH * abs(own.value)
