"""The moves of the greedy search over sets of places, by exact faithfulness: removal, addition, positions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_interp.circuit import EVERYWHERE
from pytest_interp.discover.budget import Budget
from pytest_interp.discover.effects import Effects
from pytest_interp.discover.fit import Fit, fit_of, nearer_by
from pytest_interp.discover.significance import effect_of, significant
from pytest_interp.heads import Head
from pytest_interp.measure.places import Place, circuit_scores, circuit_slopes, heads_of
from pytest_interp.measurement import Measurement, mean

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment

LEAST_GAIN = 0.01
"""What a place must bring the circuit nearer to the model, as a share of the logit difference, to be added."""
AT_ONCE = 8
"""Circuits that are evaluated together."""
NEAR = 0.1
"""The distance up to which several places are taken out at once, whatever it was before."""
IDLE = 0.02
"""The growth of a larger distance up to which they are."""
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


class Search:
    """The state of the search: a set of places, and what is known about it.

    Attributes:
        places: the set.
        fit: how well it fits the model.
        steps: those made.
    """

    def __init__(self, experiment: Experiment, budget: Budget, share: float, without: Collection[Head] = ()) -> None:
        """The set has all heads at every position.

        Args:
            experiment: checkpoint and data set of the finding half.
            budget: of the whole discovery.
            share: of its time that may be used up by the end of the search.
            without: heads that the set lacks.
        """
        self.experiment = experiment
        self.budget, self.share = budget, share
        self.steps: list[Step] = []
        everything = [Place(head, EVERYWHERE) for head in experiment.checkpoint.shape.heads if head not in without]
        (fit,) = self.fits([everything])
        self.move(everything, fit)

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

    def slopes(self) -> Mapping[Place, Tensor]:
        """How much F(C) would change with each place, to first order, prompt by prompt."""
        return circuit_slopes(self.experiment, self.places)

    # ---- 0. a set that is not faithful yet

    def approach(self) -> None:
        """Takes places out while that brings the set nearer to the model, until it is faithful."""
        while not self.fit.is_faithful and not self.is_over() and len(self.places) > 1:
            order = self.order()
            smaller = [order[count:] for count in sorted({max(1, len(order) >> shift) for shift in range(2, 6)})]
            places, fit = min(zip(smaller, self.fits(smaller), strict=True), key=lambda circuit: circuit[1].distance)
            if fit.distance >= self.fit.distance:
                return
            self.move(places, fit)

    # ---- 1. removal

    def order(self) -> list[Place]:
        """The set, in the order in which to take it out: next is what leaves the estimate of F(C) nearest to F(M).

        What several places do together is estimated as the sum of what each does. It is compared on single prompts: so
        places whose effects cancel stand beside each other.
        """
        slopes, (alone, whole) = self.slopes(), self._on_prompts()
        left, order = sorted(self.places), []
        rest, effects = alone - whole, torch.stack([slopes[place] for place in left])
        while left:
            index = int((rest - effects).abs().mean(1).argmin())
            rest = rest - effects[index]
            order.append(left.pop(index))
            effects = torch.cat([effects[:index], effects[index + 1 :]])
        return order

    def remove(self) -> None:
        """Takes places out, many at a time where the set stays near to the model, else one, until all are needed.

        All are needed where the set without any of them is not faithful.
        """
        last = len(self.places)  # how many places were taken out last
        while not self.is_over():
            order = self.order()
            most = min(2 * last, len(order) // 2)
            counts = sorted({max(1, most >> shift) for shift in range(4)}, reverse=True)
            smaller = [order[count:] for count in counts]
            furthest = max(self.fit.distance + IDLE, NEAR)
            fits = zip(smaller, self.fits(smaller), strict=True)
            near = [(places, fit) for places, fit in fits if fit.is_faithful and fit.distance <= furthest]
            if near:
                last = len(self.places) - len(near[0][0])
                self.move(*near[0])
            elif self.remove_single(order):
                last = 1
            else:
                return

    def remove_single(self, order: Sequence[Place]) -> bool:
        """Takes out one place, of the first that can go the one that leaves the set nearest to the model.

        Args:
            order: in which places are tried.

        Returns:
            Whether a place can go.
        """
        for begin in range(0, len(order), AT_ONCE):
            if self.is_over():
                return False
            smaller = [self.places - {place} for place in order[begin : begin + AT_ONCE]]
            fits = zip(smaller, self.fits(smaller), strict=True)
            faithful = [(places, fit) for places, fit in fits if fit.is_faithful]
            if faithful:
                self.move(*min(faithful, key=lambda circuit: circuit[1].distance))
                return True
        return False

    def _on_prompts(self) -> tuple[Tensor, Tensor]:
        """F(C) and F(M) of each prompt."""
        faithfulness = self.fit.faithfulness
        return torch.tensor(faithfulness.values), torch.tensor(faithfulness.scale)

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
        """The heads outside, at every position, of which an estimate says that they bring F(C) nearest to F(M)."""
        slopes, (alone, whole), inside = self.slopes(), self._on_prompts(), set(heads_of(self.places))
        distance = {
            place: float((alone + slope - whole).abs().mean())
            for place, slope in slopes.items()
            if place.at == EVERYWHERE and place.head not in inside
        }
        return sorted(distance, key=lambda place: (distance[place], place))[:TESTED]

    def improving(self, gained: Mapping[Place, Measurement]) -> dict[Place, Measurement]:
        """By how much places bring F(C) nearer to F(M), for those that surely do, corrected for the number of heads."""
        nearer = {place: nearer_by(self.fit.faithfulness, effect) for place, effect in gained.items()}
        least = LEAST_GAIN * mean(self.fit.faithfulness.scale)
        sure = significant(nearer, len(self.experiment.checkpoint.shape.heads))
        return {place: effect for place, effect in nearer.items() if place in sure and effect.value >= least}

    def add(self) -> None:
        """Adds heads, of the first that help the one that helps most, until none helps."""
        while not self.is_over():
            outside = self.outside()
            for begin in range(0, len(outside), AT_ONCE):
                better = self.improving(self.change_by(outside[begin : begin + AT_ONCE]))
                if better or self.is_over():
                    break
            if not better:
                return
            places = self.places | {max(better, key=lambda place: (better[place].value, place))}
            (fit,) = self.fits([places])
            self.move(places, fit)

    # ---- 3. positions

    def narrow(self, effects: Effects) -> None:
        """Keeps each head at its best one, two or three named positions, where that changes next to nothing.

        Args:
            effects: of single places, which order positions.
        """
        slopes, furthest = self.slopes(), self.fit.distance + 2 * NEXT_TO_NOTHING
        sizes = {place: max(abs(float(slope.mean())), effects.largest(place)) for place, slope in slopes.items()}
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
