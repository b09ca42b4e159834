"""Controls and specificity: the same measurement where the claim should not hold, and on all other heads."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pytest_interp.assertions.other_tasks import MOST_TASKS, OTHER_TASK, other_task_controls
from pytest_interp.assertions.question import Question
from pytest_interp.common.arguments import is_whole
from pytest_interp.errors import NotApplicable, UsageError, nearest
from pytest_interp.heads import Head, KVHead, names_of
from pytest_interp.measurement import Measurement, paired_difference
from pytest_interp.text import shown
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.evidence import Control, Specificity
from pytest_interp.verdict.intervals import ends_of, side_of_zero
from pytest_interp.verdict.judge import judge, require_defined

if TYPE_CHECKING:
    from pytest_interp.checkpoints.checkpoint import Checkpoint

ControlKind: TypeAlias = Literal["same_layer", "other_layers", "other_names", "random_model", "other_task"]
Controls: TypeAlias = int | Mapping[str, int]
"""How many controls of each kind: a number of heads of the same layers, or ``{"same_layer": 5, "other_layers": 10,
"other_names": 1, "random_model": 1, "other_task": 1}``."""

CONTROLS = 3


def counts_of(controls: Controls, checkpoint: Checkpoint) -> dict[str, int]:
    """How many controls of each kind; at most as many as the model has heads.

    Args:
        controls: a number of heads of the same layers, or numbers by kind.
        checkpoint: the model.

    Returns:
        The number of each kind that was named.

    Raises:
        UsageError: an unknown kind, or a number that cannot be meant.
    """
    if not is_whole(controls) and not isinstance(controls, Mapping):
        raise UsageError(f'controls is {shown(controls)}; pass a number of heads, or {{"same_layer": 3}} by kind')
    counts = dict(controls) if isinstance(controls, Mapping) else {"same_layer": controls}
    known, heads = get_args(ControlKind), checkpoint.shape.n_layers * checkpoint.shape.n_heads
    for kind, count in counts.items():
        if kind not in known:
            raise UsageError(f"{shown(kind)} is no kind of control; allowed: {', '.join(known)}{nearest(kind, known)}")
        most = {"other_names": 1, OTHER_TASK: MOST_TASKS}.get(kind, heads)
        if not is_whole(count) or not 0 <= count <= most:
            of_heads = f"0 to {heads}, the heads of {checkpoint.name}"
            allowed = {"other_names": "0 or 1", OTHER_TASK: f"0 to {MOST_TASKS}"}.get(kind, of_heads)
            raise UsageError(f"{shown(count)} controls of the kind {kind} were asked for; allowed: {allowed}")
    return counts


def controls_of(
    question: Question[Any], controls: Controls, claimed: Measurement
) -> tuple[tuple[Control, ...], tuple[str, ...]]:
    """The controls of a question, measured, and what a reader must know about them.

    Args:
        question: what the assertion asks.
        controls: how many of each kind.
        claimed: what was measured of the claim.

    Returns:
        The controls, in the order of kinds; notes on those that could not be drawn.

    Raises:
        UsageError: an unknown kind or number; other names for a measurement of weights.
    """
    counts = counts_of(controls, question.checkpoint)
    measured: list[Control] = []
    notes: list[str] = []
    for kind in ("same_layer", "other_layers"):
        count = counts.get(kind, 0) if question.heads else 0
        draw = draw_controls if kind == "same_layer" else draw_elsewhere
        arguments = (question.checkpoint, question.heads, count, question.seed, question.excluded)
        head_sets = draw(*arguments, shared=question.shared) if count else []
        measured += [control(names_of(heads), partial(question.of, heads), kind, claimed, question.bound)
                     for heads in head_sets]  # fmt: skip
        if count and not head_sets:
            layers = "in the layers" if kind == "same_layer" else "in other layers than those"
            notes.append(f"no control: too few heads outside the circuit {layers} of {names_of(question.heads)}")
    other_kinds: list[tuple[str, Callable[[], Measurement], str]] = []
    if counts.get("other_names"):
        other_kinds.append(("other names", lambda: question.of(question.heads, _renamed(question.on)), "other_names"))
    other_kinds += [(f"random model {i + 1}", partial(_on_random_weights, question, i), "random_model")
                for i in range(counts.get("random_model", 0))]  # fmt: skip
    measured += [control(label, measure, kind, claimed, question.bound) for label, measure, kind in other_kinds]
    if counts.get(OTHER_TASK):
        others, remarks = other_task_controls(question.on, question.knockout, counts[OTHER_TASK])
        measured += others
        notes += remarks
    return tuple(measured), tuple(notes)


def control(
    label: str,
    measure: Callable[[], Measurement],
    kind: str = "",
    claimed: Measurement | None = None,
    bound: Bound | None = None,
) -> Control:
    """What a control measurement gives, or that it gives nothing.

    Args:
        label: for a reader.
        measure: makes the measurement.
        kind: of control; empty for what is only shown.
        claimed: what the claim measured, to compare with.
        bound: of the claim.

    Returns:
        The control, with whether it does the same as the claim; without a value where it is not applicable.
    """
    try:
        measurement = measure()
        require_defined(measurement)
    except NotApplicable:
        return Control(label, None, "not applicable", kind=kind)
    same = claimed is not None and bound is not None and _does_the_same(claimed, measurement, bound)
    return Control(label, measurement.value, "", kind, same, measurement)


def _does_the_same(claimed: Measurement, other: Measurement, bound: Bound) -> bool:
    """Whether a control meets the bound, or is not told apart from the claim prompt by prompt."""
    try:
        if judge(other, bound).outcome == "supported":
            return True
    except NotApplicable:  # it has a value, but float noise is too wide for this bound
        return True
    difference = paired_difference(claimed, other)
    if difference is None:  # other prompts: their intervals may overlap
        (low, high), (other_low, other_high) = ends_of(claimed), ends_of(other)
        return low <= other_high and other_low <= high
    return side_of_zero(difference) == 0


def _renamed(on: Any) -> Any:
    """The experiment with each prompt scored on the names of another."""
    from pytest_interp.tasks.protocols import names_permuted

    if not hasattr(on, "data"):
        raise UsageError("a control with other names needs prompts; this measurement is of the weights alone")
    return replace(on, data=names_permuted(on.data))


def _on_random_weights(question: Question[Any], seed: int) -> Measurement:
    """The same measurement on the model with random weights."""
    from pytest_interp.checkpoints.damage import Damage, damaged

    with damaged(question.checkpoint, Damage("random", seed=seed), on_disk=True):
        try:
            return question.of(question.heads)
        except UsageError as error:  # numbers that are not finite
            raise NotApplicable(str(error)) from None


def specificity_of(question: Question[Any]) -> Specificity | None:
    """Of how many other heads the claim is true, where that is cheap to know.

    Args:
        question: what the assertion asks.

    Returns:
        The other heads of which the claim is supported, and the number of other heads; None for a claim about several
        heads or about none, and where no sweep is cheap or defined.
    """
    if question.measure.sweep is None or len(question.heads) != 1:
        return None
    try:
        table = question.measure.sweep(question.on)
    except NotApplicable:
        return None
    other_heads = [head for head in table if head not in question.heads]
    supported = [head for head in other_heads if judge(table[head], question.bound).outcome == "supported"]
    return Specificity(tuple(map(str, supported)), len(question.checkpoint.shape.heads) - len(question.heads), table)


def draw_controls(
    checkpoint: Checkpoint,
    heads: Sequence[Head],
    count: int,
    seed: int,
    excluded: frozenset[Head] = frozenset(),
    *,
    shared: bool = False,
) -> list[tuple[Head, ...]]:
    """Random sets of as many heads of the same layers, outside the circuit and the claim.

    Args:
        checkpoint: the model.
        heads: the claimed heads.
        count: how many sets.
        seed: of the draw; the names of the heads are part of it.
        excluded: heads that are no controls, beside those of the claim and of the circuit.
        shared: whether query heads of one key-value head count as one head.

    Returns:
        Sets in the order of heads, no two of them equal; fewer than ``count``, or none, where too few heads are left.
    """
    n = checkpoint.shape.n_heads
    return _draw(checkpoint, heads, count, seed, excluded, shared, lambda layer: [Head(layer, i) for i in range(n)])


def draw_elsewhere(
    checkpoint: Checkpoint,
    heads: Sequence[Head],
    count: int,
    seed: int,
    excluded: frozenset[Head] = frozenset(),
    *,
    shared: bool = False,
) -> list[tuple[Head, ...]]:
    """Random sets of as many heads of layers that the claim does not name, outside the circuit.

    Args:
        checkpoint: the model.
        heads: the claimed heads.
        count: how many sets.
        seed: of the draw; the names of the heads are part of it.
        excluded: heads that are no controls, beside those of the claim and of the circuit.
        shared: whether query heads of one key-value head count as one head.

    Returns:
        Sets in the order of heads, no two of them equal; fewer than ``count``, or none, where too few heads are left.
    """
    claimed_layers = {head.layer for head in heads}
    pool = [head for head in checkpoint.shape.heads if head.layer not in claimed_layers]
    return _draw(checkpoint, heads, count, seed, excluded, shared, lambda _: pool)


def _draw(
    checkpoint: Checkpoint,
    heads: Sequence[Head],
    count: int,
    seed: int,
    excluded: frozenset[Head],
    shared: bool,
    choose_from: Callable[[int], list[Head]],
) -> list[tuple[Head, ...]]:
    """Random sets of heads, each drawn from the pool that its claimed head's layer gives.

    A draw that was made before is made again; after ten times ``count`` draws there are no more sets to be found.
    """
    taken = {*heads, *excluded, *(checkpoint.circuit.listed if checkpoint.circuit else ())}

    def key(head: Head) -> Head | KVHead:
        return checkpoint.kv_head(head) if shared else head

    rng = random.Random(f"{seed} {names_of(heads)}")
    head_sets: list[tuple[Head, ...]] = []
    for _ in range(10 * count):
        picked: set[Head] = set()
        for head in heads:
            barred = {key(other) for other in (*taken, *picked)}
            pool = [other for other in choose_from(head.layer) if key(other) not in barred]
            if not pool:
                return []
            picked.add(rng.choice(pool))
        if tuple(sorted(picked)) not in head_sets:
            head_sets.append(tuple(sorted(picked)))
        if len(head_sets) == count:
            break
    return head_sets
