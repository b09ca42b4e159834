"""What a claim demands: of the number itself, of its controls, of each member of a set of heads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, HeadLike, as_heads, is_head
from pytest_interp.text import shown
from pytest_interp.verdict.bound import Bound

POSITIVE = Bound.positive()


class PlainBoundArgs(TypedDict, total=False):
    """The bound grammar: exactly one of these."""

    at_least: float
    at_most: float
    between: Sequence[float]
    near: Sequence[float]


class BoundArgs(PlainBoundArgs, total=False):
    """The bound grammar, and what is demanded of controls.

    Attributes:
        controls_at_least, controls_at_most: what every control must be, those on other tasks left out.
        other_task_at_least, other_task_at_most: the share of the logit difference that the same knock-out must lose on
            every other task that is a control.
    """

    controls_at_least: float
    controls_at_most: float
    other_task_at_least: float
    other_task_at_most: float


class SetBoundArgs(BoundArgs, total=False):
    """The same for claims about a set of heads, with what is demanded of each member.

    Attributes:
        members_at_least, members_at_most: what the effect of each member must be.
        members: ``alone`` (the default) or ``marginal``: the set's effect minus that of the set without the member.
    """

    members_at_least: float
    members_at_most: float
    members: Literal["alone", "marginal"]


@dataclass(frozen=True)
class Demands:
    """What a claim demands.

    Attributes:
        bound: of the number itself.
        controls: of every control; None where nothing is demanded.
        other_task: of the share lost on every other task; None where nothing is demanded.
        members: of every member of a set; None where nothing is demanded.
        marginal: whether a member is judged by what it adds to the rest of the set, not by its effect alone.
    """

    bound: Bound
    controls: Bound | None = None
    other_task: Bound | None = None
    members: Bound | None = None
    marginal: bool = False

    @classmethod
    def of(cls, arguments: Any, default: Bound | None = None, *, of_set: bool = False) -> Demands:
        """The demands that an assertion's keyword arguments state.

        Args:
            arguments: of :class:`BoundArgs` or :class:`SetBoundArgs`.
            default: the bound where none is stated.
            of_set: whether the claim is about a set of heads, whose members can be bounded too.

        Returns:
            The bound on the number, and those on controls and members where they are stated.

        Raises:
            UsageError: none or several bounds; an unknown argument; ``members=`` without a bound on members.
        """
        remaining = dict(arguments)
        controls, other_task = _side(remaining, "controls"), _side(remaining, "other_task")
        members, members_by = (_side(remaining, "members"), remaining.pop("members", None)) if of_set else (None, None)
        if members_by is not None and not (isinstance(members_by, str) and members_by in ("alone", "marginal")):
            raise UsageError(f"members is {shown(members_by)}; allowed: 'alone', 'marginal'")
        if members_by and members is None:
            raise UsageError(
                f"members={shown(members_by)} says how members are judged; add members_at_least= or members_at_most="
            )
        bound = default if default is not None and not remaining else Bound.of(**remaining)
        return cls(bound, controls, other_task, members, members_by == "marginal")


def named_heads(heads: HeadLike | Iterable[HeadLike], demands: Demands) -> tuple[Head, ...]:
    """The heads that a claim names.

    Args:
        heads: one head or several.
        demands: what the claim demands.

    Returns:
        The heads, in the order in which they are named.

    Raises:
        UsageError: a bound on the members of a set where one head was passed; no head, or one that is named twice.
    """
    if demands.members is not None and is_head(heads):
        raise UsageError(
            "members_at_least= and members_at_most= speak of the members of a set; one head was passed "
            f"({shown(heads)}): "
            "pass a list of heads, or leave them out"
        )
    return as_heads(heads)


def _side(arguments: dict[str, Any], what: str) -> Bound | None:
    """The one-sided bound on all controls or members; both sides together are a band."""
    low, high = arguments.pop(f"{what}_at_least", None), arguments.pop(f"{what}_at_most", None)
    if low is None and high is None:
        return None
    try:
        if low is not None and high is not None:
            return Bound.of(between=(low, high))
        return Bound.of(at_least=low) if high is None else Bound.of(at_most=high)
    except UsageError as error:
        raise UsageError(f"{what}_{error}") from None
