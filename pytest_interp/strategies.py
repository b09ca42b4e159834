"""Hypothesis strategies for names, name pairs, prompts and subsets of a circuit.

Draw from the checkpoint's own names (the fixture ``names``) through ``st.data()``: names that are several tokens
are then never drawn, and nothing has to be assumed away. Everything shrinks towards the first of its list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st

from pytest_interp.circuit import Circuit
from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head

# The phase `explain` traces every line of Python that a pass runs, which takes as long as the pass.
_PHASES = [phase for phase in Phase if phase is not Phase.explain]
PROFILE = settings(deadline=None, derandomize=True, database=None, max_examples=10, print_blob=False, phases=_PHASES)
"""The one profile: the same examples on a laptop and in CI, no database, no deadline."""


@checked
def names(pool: Sequence[str]) -> st.SearchStrategy[str]:
    """One name of a pool."""
    return st.sampled_from(_some(pool, 1))


@checked
def name_pairs(pool: Sequence[str]) -> st.SearchStrategy[tuple[str, str]]:
    """Two different names of a pool: (IO, S)."""
    return st.lists(names(_some(pool, 2)), min_size=2, max_size=2, unique=True).map(lambda pair: (pair[0], pair[1]))


@checked
def name_sets(pool: Sequence[str], *, min_size: int = 20) -> st.SearchStrategy[tuple[str, ...]]:
    """Several different names of a pool."""
    return st.lists(names(_some(pool, min_size)), min_size=min_size, unique=True).map(tuple)


@checked
def ioi_choices(pool: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    """All choices of one IOI prompt, for the fixture ``ioi_prompt``: names, wording, order, place and object."""
    few = st.integers(0, 9)
    pair, wordings, orders = name_pairs(pool), st.integers(0, 11), st.sampled_from(("ABBA", "BABA"))
    return st.builds(
        lambda pair, wording, order, place, thing: {
            "io": pair[0], "s": pair[1], "wording": wording, "order": order, "place": place, "thing": thing,
        },
        pair, wordings, orders, few, few,
    )  # fmt: skip


@checked
def circuit_subsets(
    circuit: Circuit, *, role: str | None = None, min_size: int = 1
) -> st.SearchStrategy[tuple[Head, ...]]:
    """A subset of a circuit's heads, or of one role's."""
    pool = sorted(circuit.role(role).heads if role else circuit.heads)
    chosen = st.lists(st.sampled_from(_some(pool, min_size)), min_size=min_size, unique=True)
    return chosen.map(lambda heads: tuple(sorted(heads)))


@checked
def prompts(tokenizer: Any, pool: Sequence[str], *, bos: bool) -> st.SearchStrategy[Any]:
    """An IOI data set: one pair of names over every template of the confirming half, in both orders."""
    from pytest_interp.tasks import ioi_grid

    return name_pairs(pool).map(lambda pair: ioi_grid(tokenizer, [pair], half="confirm", bos=bos))


def _some(pool: Sequence[Any], least: int) -> Sequence[Any]:
    if len(pool) < least:
        raise UsageError(f"{len(pool)} to draw from, but {least} are needed; pass a longer list")
    return pool
