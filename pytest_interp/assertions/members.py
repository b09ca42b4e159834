"""What each member adds to a set of heads that a claim names together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head
from pytest_interp.measurement import Measurement
from pytest_interp.verdict.evidence import Contribution, Member
from pytest_interp.verdict.intervals import side_of_zero

NEGLIGIBLE = 0.02
"""The share of a set's effect up to which a member adds nothing."""


@dataclass(frozen=True)
class HeadSet:
    """Heads that a claim names together.

    Attributes:
        heads: the members.
        effect: the effect of any of them together.
        kind: what they are where a claim has several sets, such as ``receiver``.
    """

    heads: tuple[Head, ...]
    effect: Callable[[tuple[Head, ...]], Measurement]
    kind: str = ""


def members_of(heads: HeadSet) -> tuple[Member, ...]:
    """What each member of a set adds to it.

    Args:
        heads: the set and its effect.

    Returns:
        Of each member, its effect alone, and the set's effect minus that of the set without it; nothing for a single
        head, or for a set whose effect is undefined.
    """
    if len(heads.heads) < 2:
        return ()
    effects: dict[tuple[Head, ...], Measurement | None] = {}

    def effect(subset: tuple[Head, ...]) -> Measurement | None:
        """The effect of some of the heads; None where they can have none."""
        if subset not in effects:
            try:
                effects[subset] = heads.effect(subset)
            except NotApplicable:  # these heads alone can have no effect
                effects[subset] = None
        return effects[subset]

    set_effect = effect(heads.heads)
    if set_effect is None:
        return ()
    members = []
    for head in heads.heads:
        alone, without_head = effect((head,)), effect(tuple(other for other in heads.heads if other != head))
        marginal = _minus(set_effect, without_head)
        changes = [marginal] if alone is None else [_minus(alone, None), marginal]
        contribution = _contribution(_minus(set_effect, None), changes)
        members.append(Member(f"{heads.kind} {head}".strip(), alone, marginal, contribution))
    return tuple(members)


def _minus(effect: Measurement, other: Measurement | None) -> Measurement:
    """An effect minus another, prompt by prompt; where the other is undefined, minus the effect of doing nothing."""
    scales = effect.scale or (1.0,) * len(effect.values)
    subtrahends = {} if other is None else dict(zip(other.labels, other.values, strict=True))
    pairs = zip(effect.labels, effect.values, scales, strict=True)
    values = tuple(value - subtrahends.get(label, effect.no_effect * scale) for label, value, scale in pairs)
    return replace(effect, quantity=f"{effect.quantity}_difference", values=values)


def _contribution(set_effect: Measurement, effects: Sequence[Measurement]) -> Contribution:
    """What a member does to its set, by the sizes and the intervals of its effect alone and of its marginal effect."""
    negligible = NEGLIGIBLE * abs(set_effect.value)
    if all(abs(effect.value) <= max(effect.tolerance, negligible) for effect in effects):
        return "adds nothing"
    if all(side_of_zero(effect) == 0 for effect in effects):
        return "is not shown to add"
    if all(side_of_zero(effect) * set_effect.value < 0 for effect in effects):
        return "works against the set"
    return "adds"


def caveats_of(members: Sequence[Member]) -> tuple[str, ...]:
    """What must be said of members that do not add to their set.

    Args:
        members: of one set or several.

    Returns:
        A caveat for each kind of contribution that is not support.
    """
    kinds: tuple[Contribution, ...] = ("adds nothing", "is not shown to add", "works against the set")
    groups = {kind: [member for member in members if member.contribution == kind] for kind in kinds}
    return tuple(
        f"{'; '.join(map(str, group))}: {_plural(kind, len(group))}" for kind, group in groups.items() if group
    )


def _plural(kind: Contribution, count: int) -> str:
    """A contribution of one member or of several, as a predicate."""
    many = {"adds nothing": "add nothing", "is not shown to add": "are not shown to add",
            "works against the set": "work against the set"}  # fmt: skip
    return kind if count == 1 else many[kind]
