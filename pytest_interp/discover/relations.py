"""How the named positions of a task relate: which hold the answer, which repeat a token, which follow another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_interp.tasks.positions import END

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pytest_interp.tasks import DataSet, Group


@dataclass(frozen=True)
class Relations:
    """The relations that hold between named positions in every clean prompt.

    Attributes:
        names: the positions, END included.
        answers: those that hold the answer's token.
        distractors: those that hold the distractor's token.
        earlier: pairs of a position and an earlier one with the same token.
        previous: pairs of a position and the one just before it.

    Example:
        >>> from pytest_interp import load
        >>> from pytest_interp.tasks import ioi
        >>> relations = relations_of(ioi(load("planted-ioi").tokenizer, half="find", n=24, seed=0, bos=True))
        >>> relations.answers, relations.distractors, sorted(relations.earlier), sorted(relations.previous)
        (('IO',), ('S1', 'S2'), [('S2', 'S1')], [('S1+1', 'S1')])
    """

    names: tuple[str, ...]
    answers: tuple[str, ...]
    distractors: tuple[str, ...]
    earlier: frozenset[tuple[str, str]]
    previous: frozenset[tuple[str, str]]

    def after_earlier(self, at: str) -> frozenset[str]:
        """The positions just after an earlier one with the token of this one."""
        twins = {first for name, first in self.earlier if name == at}
        return frozenset(after for after, before in self.previous if before in twins)


def relations_of(data: DataSet) -> Relations:
    """Returns the relations between the named positions of a data set.

    Args:
        data: whose clean prompts are looked at.
    """
    names, groups = data.clean.position_names, data.clean.groups

    def everywhere(holds: Callable[[Group], bool]) -> bool:
        return all(holds(group) for group in groups)

    pairs = [(name, other) for name in names for other in names if name != other]
    return Relations(
        names=(*(name for name in names if name != END), END),
        answers=tuple(name for name in names if everywhere(lambda group: holds_token(group, name, group.answers))),  # noqa: B023
        distractors=tuple(
            name
            for name in names
            if everywhere(lambda group: holds_token(group, name, group.distractors))  # noqa: B023
        ),
        earlier=frozenset(pair for pair in pairs if everywhere(lambda group: _is_repeated(group, *pair))),  # noqa: B023
        previous=frozenset(pair for pair in pairs if everywhere(lambda group: _follows(group, *pair))),  # noqa: B023
    )


def holds_token(group: Group, name: str, tokens: Tensor) -> bool:
    """Returns whether each prompt of a group has its token at a named position."""
    return bool((group.tokens[range(len(group.rows)), group.positions[name]] == tokens).all())


def _is_repeated(group: Group, name: str, other: str) -> bool:
    """Whether a position holds the token of another, earlier one."""
    rows, positions = range(len(group.rows)), group.positions
    same = group.tokens[rows, positions[name]] == group.tokens[rows, positions[other]]
    return bool((same & (positions[other] < positions[name])).all())


def _follows(group: Group, name: str, other: str) -> bool:
    """Whether a position is just after another."""
    return bool((group.positions[name] == group.positions[other] + 1).all())
