"""Stage 5: a smallest set of heads at positions that is faithful, by a greedy search over exact faithfulness.

Heads mask each other, and a true head can lower faithfulness: so the search does not add up single effects. It starts
from the set of all heads at every position, which is faithful because it has everything:

1. Heads are taken out, many at a time and then one by one, as long as what stays is faithful. Next is what leaves an
   estimate of F(C) nearest to F(M) on single prompts.
2. Heads that bring F(C) nearer to F(M) are added, by paired intervals corrected for the number of heads.
3. Each head is kept at one named position, or at a few, instead of every position, where that changes next to nothing.
4. Places are taken out again as in 1, since a head may be needed at one of its positions only.

Faithful means: the interval of F(C) / F(M) over templates and names lies in [0.9, 1.1]. So more prompts give smaller
circuits, and few prompts none that only seems faithful on them. A ratio of means alone is met by sets in which
templates on which the circuit does too much make up for those on which it does too little. For the same reason sets are
compared by their distance from the model on single prompts.

Estimates order the candidates, and exact passes decide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_interp.circuit import EVERYWHERE
from pytest_interp.discover.budget import Budget
from pytest_interp.discover.effects import Effects
from pytest_interp.discover.search import Search, Step
from pytest_interp.heads import Head
from pytest_interp.measure.places import Place, heads_of, named_places
from pytest_interp.measurement import Measurement

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment


@dataclass(frozen=True)
class Selection:
    """The circuit that the search found.

    Attributes:
        places: its heads at positions; empty where no set is faithful.
        faithfulness: F(C) / F(M) on the finding half.
        lost: what F(C) loses without each place of the circuit, prompt by prompt.
        gained: what F(C) gains with each of the other places that were tested.
        improving: places outside whose addition brings the circuit nearer to the model, and was not made.
        steps: of the search.
        complete: whether the search came to its end.
        ceiling: the faithfulness of all heads at all named positions and nowhere else.
        given: whether the heads were given, so that nothing was searched.
    """

    places: tuple[Place, ...]
    faithfulness: Measurement
    lost: Mapping[Place, Measurement]
    gained: Mapping[Place, Measurement]
    improving: frozenset[Place]
    steps: tuple[Step, ...]
    complete: bool
    ceiling: float
    given: bool = False

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads of the circuit, sorted."""
        return heads_of(self.places)


def select(experiment: Experiment, effects: Effects, budget: Budget, share: float) -> Selection:
    """Returns a smallest faithful circuit that a greedy search finds on the finding half.

    Args:
        experiment: checkpoint and data set of the finding half, with a reference.
        effects: of single places, which order positions.
        budget: of the whole discovery.
        share: of its time that may be used up by the end of this stage.

    Raises:
        UsageError: a data set without a reference.
    """
    search = Search(experiment, budget, share)
    with budget.interruptible():
        search.remove()
        search.add()
        search.narrow(effects)
        search.remove()
    return _result(search)


def measured_circuit(experiment: Experiment, heads: Collection[Head], budget: Budget) -> Selection:
    """Returns heads as a circuit, each at every position: what it keeps, and what it loses and gains by single heads.

    Nothing is searched.

    Args:
        experiment: checkpoint and data set of the finding half, with a reference.
        heads: of the circuit.
        budget: of the whole discovery.

    Raises:
        UsageError: a data set without a reference.
    """
    others = [head for head in experiment.checkpoint.shape.heads if head not in heads]
    return replace(_result(Search(experiment, budget, 1.0, without=others)), complete=True, given=True)


def _result(search: Search) -> Selection:
    """The set of a search, with what single places do for it."""
    complete, interrupted = not search.is_over(), search.budget.interrupted
    gained = {} if interrupted else search.change_by(search.outside())
    lost = search.change_by([] if interrupted else sorted(search.places))
    (ceiling,) = search.fits([[place for place in named_places(search.experiment) if place.at != EVERYWHERE]])
    return Selection(
        places=tuple(sorted(search.places)),
        faithfulness=search.fit.faithfulness,
        lost={place: _negative(effect) for place, effect in lost.items()},
        gained=gained,
        improving=frozenset(search.improving(gained)),
        steps=tuple(search.steps),
        complete=complete,
        ceiling=ceiling.faithfulness.value,
    )


def _negative(effect: Measurement) -> Measurement:
    """An effect with its sign turned."""
    return replace(effect, values=tuple(-value for value in effect.values))
