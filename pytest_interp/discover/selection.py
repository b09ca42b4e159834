"""Stage 5: a smallest set of heads at positions that is faithful, by a greedy search over exact faithfulness.

Heads mask each other, and a true head can lower faithfulness: so the search does not add up single effects. It starts
from the set of all heads at every position, which is faithful because it has everything:

1. Heads are taken out, many at a time and then one by one, as long as what stays is faithful.
2. Heads that bring F(C) nearer to F(M) are added, by paired intervals corrected for the number of heads.
3. Each head is kept at one named position, or at a few, instead of every position, where that changes next to nothing.

Faithful means: F(C) / F(M) lies in [0.9, 1.1], and its interval over templates and names in [0.8, 1.2]. A ratio of
means alone is met by sets in which templates on which the circuit does too much make up for those on which it does too
little. For the same reason sets are compared by their distance from the model on single prompts.

Estimates order the candidates, and exact passes decide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_interp.discover.budget import Budget
from pytest_interp.discover.effects import Effects
from pytest_interp.discover.significance import effect_of, significant
from pytest_interp.heads import Head
from pytest_interp.measure.places import EVERYWHERE, Place, circuit_scores, circuit_slopes, named_places
from pytest_interp.measurement import Measurement, mean
from pytest_interp.verdict.intervals import interval_of

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment

BAND = (0.9, 1.1)
"""The faithfulness of a circuit that is proposed."""
SURE = (0.8, 1.2)
"""Where the 95 % interval of its faithfulness lies."""
SLACK = 0.05
"""How far faithfulness may be off 1 while many heads are taken out at once."""
LEAST_GAIN = 0.01
"""What a place must bring the circuit nearer to the model, as a share of the logit difference, to be added."""
AT_ONCE = 8
"""Circuits that are evaluated together."""
IDLE = 0.01
"""The growth of the distance up to which several heads are taken out at once, one of which would be."""
TESTED = 24
"""Heads outside of the circuit that are added, each alone, before the search ends."""
NEXT_TO_NOTHING = 0.05
"""The growth of the distance up to which a head is kept at fewer positions; all heads together twice as much."""


@dataclass(frozen=True)
class Step:
    """A change of the set during the search.

    Attributes:
        places: how many the set has.
        heads: how many heads.
        faithfulness: F(C) / F(M), a ratio of means.
        distance: from the model on single prompts, as :class:`Fit` has it.
    """

    places: int
    heads: int
    faithfulness: float
    distance: float


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
    """

    places: tuple[Place, ...]
    faithfulness: Measurement
    lost: Mapping[Place, Measurement]
    gained: Mapping[Place, Measurement]
    improving: frozenset[Place]
    steps: tuple[Step, ...]
    complete: bool
    ceiling: float

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads of the circuit, sorted."""
        return heads_of(self.places)


def heads_of(places: Collection[Place]) -> tuple[Head, ...]:
    """Returns the heads of places, sorted."""
    return tuple(sorted({place.head for place in places}))


@dataclass(frozen=True)
class Fit:
    """How well a circuit fits the model.

    Attributes:
        faithfulness: F(C) / F(M), a ratio of means.
        distance: the mean over prompts of ``|F(C) - F(M)|``, as a share of the mean of F(M).
    """

    faithfulness: Measurement
    distance: float

    @cached_property
    def is_faithful(self) -> bool:
        """Whether F(C) / F(M) and its interval lie where they have to."""
        if not BAND[0] <= self.faithfulness.value <= BAND[1]:
            return False
        interval = interval_of(self.faithfulness)
        return SURE[0] <= interval.low and interval.high <= SURE[1]


def fit_of(experiment: Experiment, alone: Tensor) -> Fit:
    """Returns how well a circuit fits the model.

    Args:
        experiment: checkpoint and data set.
        alone: F(C) of each prompt, ``(prompt,)``.
    """
    whole = experiment.logit_diffs()
    values, scale = tuple(map(float, alone)), tuple(map(float, whole))
    faithfulness = Measurement("faithfulness", "of model", values, experiment.data.sample, scale=scale)
    return Fit(faithfulness, float((alone - whole).abs().mean() / whole.mean()))


class Search:
    """The state of the search: a set of places, and what is known about it.

    Attributes:
        places: the set.
        fit: how well it fits the model.
        steps: those made.
    """

    def __init__(self, experiment: Experiment, effects: Effects, budget: Budget, share: float) -> None:
        """The set has all heads at every position.

        Args:
            experiment: checkpoint and data set of the finding half.
            effects: of single places, which order candidates.
            budget: of the whole discovery.
            share: of its time that may be used up by the end of the search.
        """
        self.experiment, self.effects = experiment, effects
        self.budget, self.share = budget, share
        self.steps: list[Step] = []
        everything = [Place(head, EVERYWHERE) for head in experiment.checkpoint.shape.heads]
        self.move(everything, fit_of(experiment, experiment.logit_diffs()))

    def is_over(self) -> bool:
        """Whether the time of the search is used up."""
        return self.budget.is_over(self.share)

    def fits(self, circuits: Sequence[Collection[Place]]) -> list[Fit]:
        """How well circuits fit the model, by exact passes."""
        return [fit_of(self.experiment, alone) for alone in circuit_scores(self.experiment, circuits)]

    def move(self, places: Collection[Place], fit: Fit) -> None:
        """Changes the set."""
        self.places, self.fit = frozenset(places), fit
        self.steps.append(Step(len(self.places), len(heads_of(self.places)), fit.faithfulness.value, fit.distance))

    def sizes(self) -> dict[Place, float]:
        """How much each place counts, by an estimate at the present set and by what it does alone, in logits."""
        slopes = circuit_slopes(self.experiment, self.places)
        return {place: max(abs(float(slope.mean())), self.effects.largest(place)) for place, slope in slopes.items()}

    # ---- 1. removal

    def remove_groups(self) -> None:
        """Takes out the heads that count least, many at a time, as long as the set stays near to the model."""
        while not self.is_over() and len(self.places) > 2:
            sizes = self.sizes()
            order = sorted(self.places, key=lambda place: (sizes[place], place))
            counts = sorted({max(1, len(order) >> shift) for shift in range(1, 6)}, reverse=True)
            smaller = [order[count:] for count in counts]
            fits = zip(smaller, self.fits(smaller), strict=True)
            near = [
                (places, fit) for places, fit in fits if fit.is_faithful and abs(fit.faithfulness.value - 1) <= SLACK
            ]
            if not near:
                return
            self.move(*near[0])

    def remove_singles(self) -> None:
        """Takes out heads one by one, the one that leaves the set nearest to the model first, until all are needed.

        A head is needed where the set without it is not faithful. That may change with the set: so all heads are tried
        once more after the last removal.
        """
        needed: set[Place] = set()
        count = len(self.places) + 1  # of places when all of them were last tried
        while not self.is_over():
            sizes = self.sizes()
            order = sorted(self.places - needed, key=lambda place: (sizes[place], place))[:AT_ONCE]
            if not order and len(self.places) == count:
                return
            if not order:
                needed, count = set(), len(self.places)
                continue
            fits = dict(zip(order, self.fits([self.places - {place} for place in order]), strict=True))
            needed |= {place for place in order if not fits[place].is_faithful}
            if fitting := sorted(set(order) - needed, key=lambda place: (fits[place].distance, place)):
                self._remove(fitting, fits[fitting[0]])

    def _remove(self, fitting: Sequence[Place], first: Fit) -> None:
        """Takes out the first of several places, and further ones where that changes next to nothing more."""
        counts = [count for count in (8, 4, 2) if count <= len(fitting)]
        together = self.fits([self.places - set(fitting[:count]) for count in counts]) if counts else []
        for count, fit in zip(counts, together, strict=True):
            if fit.is_faithful and fit.distance <= first.distance + IDLE:
                self.move(self.places - set(fitting[:count]), fit)
                return
        self.move(self.places - {fitting[0]}, first)

    # ---- 2. addition

    def change_by(self, places: Sequence[Place]) -> dict[Place, Measurement]:
        """How F(C) changes with each of several places: added where the set lacks it, taken out where it has it."""
        if not places:
            return {}
        alone, *changed = circuit_scores(self.experiment, [self.places, *(self.places ^ {place} for place in places)])
        return {
            place: effect_of(self.experiment, scores - alone) for place, scores in zip(places, changed, strict=True)
        }

    def outside(self) -> list[Place]:
        """The heads outside that count most, the largest first, at every position."""
        sizes, inside = self.sizes(), set(heads_of(self.places))
        others = [place for place in sizes if place.at == EVERYWHERE and place.head not in inside]
        return sorted(others, key=lambda place: (-sizes[place], place))[:TESTED]

    def improving(self, gained: Mapping[Place, Measurement]) -> dict[Place, Measurement]:
        """By how much places bring F(C) nearer to F(M), for those that surely do, corrected for the number of heads."""
        nearer = {place: nearer_by(self.fit.faithfulness, effect) for place, effect in gained.items()}
        least = LEAST_GAIN * mean(self.fit.faithfulness.scale)
        sure = significant(nearer, len(self.experiment.checkpoint.shape.heads))
        return {place: effect for place, effect in nearer.items() if place in sure and effect.value >= least}

    def add(self) -> None:
        """Adds heads, the one that helps most first, until none helps."""
        while not self.is_over():
            better = self.improving(self.change_by(self.outside()))
            if not better:
                return
            places = self.places | {max(better, key=lambda place: (better[place].value, place))}
            (fit,) = self.fits([places])
            self.move(places, fit)

    # ---- 3. positions

    def narrow(self) -> None:
        """Keeps each head at its best one, two or three named positions, where that changes next to nothing."""
        sizes, furthest = self.sizes(), self.fit.distance + 2 * NEXT_TO_NOTHING
        names = self.experiment.data.clean.position_names
        for count in (1, 2, 3):
            narrower: dict[Place, set[Place]] = {}
            for place in sorted(self.places):
                best = sorted(names, key=lambda name: -sizes[Place(place.head, name)])[:count]
                if place.at == EVERYWHERE:
                    narrower[place] = {Place(place.head, name) for name in best}
            alone = self.fits([self.places - {place} | at_names for place, at_names in narrower.items()])
            distances = {place: fit.distance for place, fit in zip(narrower, alone, strict=True)}
            for place in sorted(narrower, key=lambda place: distances[place]):
                if self.is_over():
                    return
                places = self.places - {place} | narrower[place]
                (fit,) = self.fits([places])
                if fit.is_faithful and fit.distance <= min(furthest, self.fit.distance + NEXT_TO_NOTHING):
                    self.move(places, fit)


def nearer_by(faithfulness: Measurement, change: Measurement) -> Measurement:
    """Returns how much nearer a change brings F(C) to F(M), prompt by prompt.

    Args:
        faithfulness: with F(C) and F(M) of each prompt.
        change: of F(C), prompt by prompt.
    """
    triples = zip(faithfulness.values, faithfulness.scale, change.values, strict=True)
    return replace(
        change, values=tuple(abs(alone - whole) - abs(alone + moved - whole) for alone, whole, moved in triples)
    )


def select(experiment: Experiment, effects: Effects, budget: Budget, share: float) -> Selection:
    """Returns a smallest faithful circuit that a greedy search finds on the finding half.

    Args:
        experiment: checkpoint and data set of the finding half, with a reference.
        effects: of single places, which order candidates.
        budget: of the whole discovery.
        share: of its time that may be used up by the end of this stage.

    Raises:
        UsageError: a data set without a reference.
    """
    search = Search(experiment, effects, budget, share)
    with budget.interruptible():
        search.remove_groups()
        search.remove_singles()
        search.add()
        search.narrow()
    complete = not search.is_over()
    measured = () if budget.interrupted else sorted(search.places)
    gained = {} if budget.interrupted else search.change_by(search.outside())
    named = [place for place in named_places(experiment) if place.at != EVERYWHERE]
    (ceiling,) = search.fits([named])
    return Selection(
        places=tuple(sorted(search.places)),
        faithfulness=search.fit.faithfulness,
        lost={place: _negative(effect) for place, effect in search.change_by(measured).items()},
        gained=gained,
        improving=frozenset(search.improving(gained)),
        steps=tuple(search.steps),
        complete=complete,
        ceiling=ceiling.faithfulness.value,
    )


def _negative(effect: Measurement) -> Measurement:
    """An effect with its sign turned."""
    return replace(effect, values=tuple(-value for value in effect.values))
