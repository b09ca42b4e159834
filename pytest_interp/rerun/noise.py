"""How far the numbers of a claim move when it is run again under other conditions.

Under the first three conditions (batch size, threads, order) the numbers should be equal; the movement that is seen is
float noise, the *floor*. The other two draw other prompts, or turn BOS on or off. A verdict that a movement within the
floor could change is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_interp.errors import NotApplicable
from pytest_interp.ledger.record import Record
from pytest_interp.ledger.reruns import Movement
from pytest_interp.rerun.trial import Body
from pytest_interp.tasks.protocols import Protocol, drawn_with, in_another_order, in_batches
from pytest_interp.verdict.recording import worst_of

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

BATCH = 5
"""Prompts of a forward pass, under the condition of small batches."""


@dataclass(frozen=True)
class Condition:
    """A condition under which a claim is run again.

    Attributes:
        name: as reports show it.
        protocol: the change to the data sets; None where they stay.
        around: the context in which the claim runs.
    """

    name: str
    protocol: Protocol | None = None
    around: Callable[[], Any] = nullcontext


@contextmanager
def _other_threads() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_CHOICE_BY_ROW = ("resample", "permute")
"""Ablations that draw for each row: in another order or batch they are another draw, not float noise."""

FLOOR = (
    Condition(f"batches of {BATCH}", in_batches(BATCH)),
    Condition("other threads", around=_other_threads),
    Condition("other order", in_another_order),
)
DRAWS = (
    Condition("other seed", drawn_with(seed=lambda data: (data.seed or 0) + 1000)),
    Condition("BOS turned", drawn_with(bos=lambda data: not data.clean.bos)),
)
CONDITIONS = (*FLOOR, *DRAWS)


def movements(body: Body, records: Sequence[Record], checkpoint: Checkpoint) -> tuple[Movement, ...]:
    """Runs a claim under each condition, and compares its numbers.

    Args:
        body: the claim, which was supported.
        records: of its verdicts.
        checkpoint: the model.

    Returns:
        A movement for each condition that applies and each verdict.
    """
    moved: list[Movement] = []
    for condition in CONDITIONS:
        if condition.protocol is not None and not body.has_prompts:
            continue
        try:
            changed = body if condition.protocol is None else body.by(condition.protocol)
        except NotApplicable:
            continue
        with condition.around(), checkpoint.guard.isolated_memory():
            trial = changed.run(until_refuted=False)
        # ``records`` of a claim under @given hold the worst example of each quantity only; so do these, to match.
        repeated = trial.records if len(trial.records) == len(records) else worst_of(trial.records)
        matching: Sequence[Record | None] = repeated if len(repeated) == len(records) else [None] * len(records)
        for before, after in zip(records, matching, strict=True):
            moved.append(
                Movement(
                    condition.name,
                    before.quantity,
                    before.unit,
                    None if after is None else after.value - before.value,
                    before.margin,
                    before.tolerance,
                    trial.seen if after is None else after.outcome,
                    condition in FLOOR and before.context.ablation not in _CHOICE_BY_ROW,
                )
            )
    return tuple(moved)
