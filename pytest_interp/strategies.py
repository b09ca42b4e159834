"""Hypothesis strategies for names, pairs and sets of names, and the choices of one IOI prompt.

Draw from the checkpoint's own names (the fixture ``names``) through ``st.data()``: names that are several tokens
are then never drawn, and nothing has to be assumed away. Everything shrinks towards the first of its list.
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
"""The one profile: the same examples on a laptop and in CI, no database, no deadline."""


@checked
def names(pool: Sequence[str]) -> st.SearchStrategy[str]:
    """One name of a pool.

    Args:
        pool: names, at least one; what fails shrinks towards the first.

    Example:
        >>> from hypothesis import find
        >>> find(names(["Mary", "John"]), lambda name: True)
        'Mary'
    """
    return st.sampled_from(_at_least(pool, 1))


@checked
def name_pairs(pool: Sequence[str]) -> st.SearchStrategy[tuple[str, str]]:
    """Two different names of a pool: (IO, S)."""
    return st.lists(names(_at_least(pool, 2)), min_size=2, max_size=2, unique=True).map(lambda pair: (pair[0], pair[1]))


@checked
def name_sets(pool: Sequence[str], *, min_size: int = 20) -> st.SearchStrategy[tuple[str, ...]]:
    """Several different names of a pool."""
    return st.lists(names(_at_least(pool, min_size)), min_size=min_size, unique=True).map(tuple)


@checked
def ioi_choices(pool: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    """All choices of one IOI prompt, for the fixture ``make_ioi_prompt``: names, wording, order, place and object."""
    few = st.integers(0, 9)
    pair, wordings, orders = name_pairs(pool), st.integers(0, 11), st.sampled_from(("ABBA", "BABA"))
    return st.builds(
        lambda pair, wording, order, place, thing: {
            "io": pair[0], "s": pair[1], "wording": wording, "order": order, "place": place, "thing": thing,
        },
        pair, wordings, orders, few, few,
    )  # fmt: skip


def _at_least(pool: Sequence[Any], least: int) -> Sequence[Any]:
    """The pool, refused where it is too short to draw from."""
    if len(pool) < least:
        raise UsageError(f"{len(pool)} to draw from, but {least} are needed; pass a longer list")
    return pool
