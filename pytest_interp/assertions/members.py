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
    """What each member of a set adds to it; nothing for a single head, or for a set whose effect is undefined."""
    if len(heads.heads) < 2:
        return ()
    effects: dict[tuple[Head, ...], Measurement | None] = {}

    def effect(chosen: tuple[Head, ...]) -> Measurement | None:
        if chosen not in effects:
            try:
                effects[chosen] = heads.effect(chosen)
            except NotApplicable:  # these heads alone can have no effect
                effects[chosen] = None
        return effects[chosen]

    whole = effect(heads.heads)
    if whole is None:
        return ()
    members = []
    for head in heads.heads:
        alone, rest = effect((head,)), effect(tuple(other for other in heads.heads if other != head))
        marginal = _minus(whole, rest)
        changes = [marginal] if alone is None else [_minus(alone, None), marginal]
        contribution = _contribution(_minus(whole, None), changes)
        members.append(Member(f"{heads.kind} {head}".strip(), alone, marginal, contribution))
    return tuple(members)


def _minus(whole: Measurement, rest: Measurement | None) -> Measurement:
    """An effect minus another, prompt by prompt; where the other can have none, minus that of doing nothing."""
    scales = whole.scale or (1.0,) * len(whole.values)
    others = {} if rest is None else dict(zip(rest.labels, rest.values, strict=True))
    pairs = zip(whole.labels, whole.values, scales, strict=True)
    values = tuple(value - others.get(label, whole.no_effect * scale) for label, value, scale in pairs)
    return replace(whole, quantity=f"{whole.quantity}_difference", values=values)


def _contribution(whole: Measurement, effects: Sequence[Measurement]) -> Contribution:
    negligible = NEGLIGIBLE * abs(whole.value)
    if all(abs(effect.value) <= max(effect.tolerance, negligible) for effect in effects):
        return "adds nothing"
    if all(side_of_zero(effect) == 0 for effect in effects):
        return "is not shown to add"
    if all(side_of_zero(effect) * whole.value < 0 for effect in effects):
        return "works against the set"
    return "adds"


def caveats_of(members: Sequence[Member]) -> tuple[str, ...]:
    """What must be said of members that do not add to their set."""
    kinds: tuple[Contribution, ...] = ("adds nothing", "is not shown to add", "works against the set")
    groups = {kind: [member for member in members if member.contribution == kind] for kind in kinds}
    return tuple(
        f"{'; '.join(map(str, group))}: {_plural(kind, len(group))}" for kind, group in groups.items() if group
    )


def _plural(kind: Contribution, count: int) -> str:
    many = {"adds nothing": "add nothing", "is not shown to add": "are not shown to add",
            "works against the set": "work against the set"}  # fmt: skip
    return kind if count == 1 else many[kind]
