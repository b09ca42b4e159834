"""Stage 9: does another circuit do it too? The search once more, without the heads that the first one found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_interp.discover.budget import Budget
from pytest_interp.discover.search import Search
from pytest_interp.discover.selection import Selection
from pytest_interp.heads import Head
from pytest_interp.measure.places import heads_of
from pytest_interp.measurement import Measurement

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment


@dataclass(frozen=True)
class Alternative:
    """What the heads outside of a circuit do without it.

    Attributes:
        rest: F(R) / F(M) of all of them, R, on the finding half.
        nearest: the heads of the set nearest to the model that taking heads out of R leads to.
        faithfulness: of that set.
        is_faithful: whether it is a circuit too.
        complete: whether the search came to its end.
    """

    rest: Measurement
    nearest: tuple[Head, ...]
    faithfulness: Measurement
    is_faithful: bool
    complete: bool


def alternative_to(experiment: Experiment, selection: Selection, budget: Budget) -> Alternative:
    """Returns what a search without the heads of a circuit leads to.

    Not all heads are faithful without those: so heads are taken out as long as that brings the others nearer to the
    model, and once they are faithful, as in the first search. Nothing is narrowed to positions.

    Args:
        experiment: checkpoint and data set of the finding half.
        selection: the first circuit.
        budget: of the whole discovery.
    """
    search = Search(experiment, budget, 1.0, without=selection.heads)
    rest = search.fit.faithfulness
    with budget.interruptible():
        search.approach()
        if search.fit.is_faithful:
            search.remove()
    return Alternative(
        rest, heads_of(search.places), search.fit.faithfulness, search.fit.is_faithful, not search.is_over()
    )
