"""How far a claim's numbers move where nothing should move them, and where another draw might.

The first three conditions leave the question as it is: what moves is float noise, the *floor*. The others ask the
same of other prompts. A claim whose verdict hangs on less than the floor is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_interp.errors import NotApplicable
from pytest_interp.ledger.outcome import Movement
from pytest_interp.ledger.record import Record
from pytest_interp.rerun.trial import Body
from pytest_interp.tasks.protocols import Protocol, drawn_with, in_another_order, in_batches
from pytest_interp.verdict.recording import worst_of

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

BATCH = 5


@dataclass(frozen=True)
class Condition:
    """What is changed: a protocol, or how the machine computes."""

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
    """How far each number of a claim moves under each condition."""
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
        # Of a claim under @given the worst example of each quantity is kept, here as there.
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
                    # A draw that follows the rows is another draw in another order or batch.
                    condition in FLOOR and before.about.get("ablation") not in ("resample", "permute"),
                )
            )
    return tuple(moved)
