"""Hypothesis strategies: names, pairs and sets of names, and all choices of an IOI prompt.

Draw from the checkpoint's own names (the fixture ``names``) through ``st.data()``. Names of several tokens are then
never drawn, so that ``assume`` is not needed. Examples shrink towards the first entries of the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st

from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError

# The phase `explain` traces every line of Python that a pass runs, which takes as long as the pass.
_PHASES = [phase for phase in Phase if phase is not Phase.explain]
PROFILE = settings(deadline=None, derandomize=True, database=None, max_examples=10, print_blob=False, phases=_PHASES)
"""The settings of claims under ``@given``: the same examples on each machine, no database, no deadline."""


@checked
def names(pool: Sequence[str]) -> st.SearchStrategy[str]:
    """A strategy for a name of a pool.

    Args:
        pool: at least one name; a failing example shrinks towards the first.

    Example:
        >>> from hypothesis import find
        >>> find(names(["Mary", "John"]), lambda name: True)
        'Mary'
    """
    return st.sampled_from(_at_least(pool, 1))


@checked
def name_pairs(pool: Sequence[str]) -> st.SearchStrategy[tuple[str, str]]:
    """A strategy for two different names of a pool: (IO, S).

    Args:
        pool: at least two names.

    Example:
        >>> from hypothesis import find
        >>> find(name_pairs(["Mary", "John", "Alice"]), lambda pair: pair[0] != "Mary")
        ('John', 'Mary')
    """
    return st.lists(names(_at_least(pool, 2)), min_size=2, max_size=2, unique=True).map(lambda pair: (pair[0], pair[1]))


@checked
def name_sets(pool: Sequence[str], *, min_size: int = 20) -> st.SearchStrategy[tuple[str, ...]]:
    """A strategy for several different names of a pool.

    Args:
        pool: at least ``min_size`` names.
        min_size: the smallest number of names.

    Example:
        >>> from hypothesis import find
        >>> find(name_sets(["Mary", "John", "Alice"], min_size=2), lambda names: True)
        ('Mary', 'John')
    """
    return st.lists(names(_at_least(pool, min_size)), min_size=min_size, unique=True).map(tuple)


@checked
def ioi_choices(pool: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    """A strategy for all choices of an IOI prompt, as keywords of the fixture ``make_ioi_prompt``.

    Args:
        pool: at least two names.

    Example:
        >>> from hypothesis import find
        >>> find(ioi_choices(["Mary", "John"]), lambda choices: True)
        {'io': 'Mary', 's': 'John', 'wording': 0, 'order': 'ABBA', 'place': 0, 'thing': 0}
    """
    indices = st.integers(0, 9)
    pair, wordings, orders = name_pairs(pool), st.integers(0, 11), st.sampled_from(("ABBA", "BABA"))
    return st.builds(
        lambda pair, wording, order, place, thing: {
            "io": pair[0], "s": pair[1], "wording": wording, "order": order, "place": place, "thing": thing,
        },
        pair, wordings, orders, indices, indices,
    )  # fmt: skip


def _at_least(pool: Sequence[Any], least: int) -> Sequence[Any]:
    """The pool, if it has enough entries to draw from.

    Raises:
        UsageError: it has fewer.
    """
    if len(pool) < least:
        raise UsageError(f"{len(pool)} to draw from, but {least} are needed; pass a longer list")
    return pool
