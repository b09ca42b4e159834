"""What each member adds to a set of heads that a claim names together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head
from pytest_interp.measurement import Measurement, paired_difference
from pytest_interp.verdict.evidence import Contribution, Member
from pytest_interp.verdict.intervals import side_of_zero

NEGLIGIBLE = 0.02
"""The share of a set's effect up to which a member adds nothing."""


@dataclass(frozen=True)
class HeadSet:
    """Heads that a claim names together.

    Attributes:
        heads: the members.
        effect: the effect of any of them together; 0 is no effect.
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
    return tuple(
        _member(
            f"{heads.kind} {head}".strip(),
            whole,
            effect((head,)),
            effect(tuple(other for other in heads.heads if other != head)),
        )
        for head in heads.heads
    )


def _member(label: str, whole: Measurement, alone: Measurement | None, rest: Measurement | None) -> Member:
    marginal = whole if rest is None else paired_difference(whole, rest) or whole
    return Member(label, alone, marginal, _contribution(whole, [e for e in (alone, marginal) if e is not None]))


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
    named = {kind: [m for m in members if m.contribution == kind] for kind in kinds}
    return tuple(f"{'; '.join(map(str, some))}: {_plural(kind, len(some))}" for kind, some in named.items() if some)


def _plural(kind: Contribution, count: int) -> str:
    many = {"adds nothing": "add nothing", "is not shown to add": "are not shown to add",
            "works against the set": "work against the set"}  # fmt: skip
    return kind if count == 1 else many[kind]
