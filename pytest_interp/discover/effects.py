"""Stage 2: what each head does at each named position, by exact patching under each corruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_interp.circuit import EVERYWHERE
from pytest_interp.discover.budget import Budget
from pytest_interp.discover.significance import effect_of, significant
from pytest_interp.measure.places import MEAN, Place, circuit_slopes, named_places, place_effects
from pytest_interp.measurement import Measurement

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment

PROMPTS = 24
"""Prompts on which single places are patched, at most: their effects order candidates and are evidence among others."""
CHUNK = 64
"""Places that are patched between two looks at the clock, at first; twice as many each time that took no second."""


@dataclass(frozen=True)
class Effects:
    """The effects of heads at named positions.

    Attributes:
        by_corruption: for each corruption the effect of each place that was patched, patched minus clean.
        estimates: for each place its largest first-order effect, in logits, under any corruption or mean ablation.
        acting: the places whose effect under some corruption lies off 0, corrected for the number of places.
        untested: the places that the time did not suffice for.
    """

    by_corruption: Mapping[str, Mapping[Place, Measurement]]
    estimates: Mapping[Place, float]
    acting: frozenset[Place]
    untested: tuple[Place, ...]

    def largest(self, place: Place) -> float:
        """The size of the largest effect of a place, in logits; at every position, that of its best position."""
        measured = [
            abs(effect.value)
            for effects in self.by_corruption.values()
            for other, effect in effects.items()
            if other == place or (place.at == EVERYWHERE and other.head == place.head)
        ]
        return max(measured, default=0.0)


def effects_of(experiment: Experiment, corruptions: Sequence[str], budget: Budget, share: float) -> Effects:
    """Returns the effects of every head at every named position under each corruption.

    A gradient orders the places, the largest estimate first; it decides nothing. z is patched from the corrupted run
    into the clean one.

    Args:
        experiment: checkpoint and data set of the finding half.
        corruptions: names of corrupted runs.
        budget: of the whole discovery.
        share: of its time that may be used up at the end of this stage.
    """
    if len(experiment.data.clean) > PROMPTS:
        experiment = replace(experiment, data=experiment.data.rebuild(range(PROMPTS)))
    everything = [Place(head, EVERYWHERE) for head in experiment.checkpoint.shape.heads]
    slopes: dict[str, dict[Place, float]] = {}
    for run in (MEAN, *corruptions):
        by_prompt = circuit_slopes(experiment, everything, ablation=run)
        slopes[run] = {place: float(slope.mean()) for place, slope in by_prompt.items()}
    estimates = {place: max((by_place[place] for by_place in slopes.values()), key=abs) for place in slopes[MEAN]}
    cells = [
        (run, place) for run in corruptions for place in named_places(experiment) if place.at != EVERYWHERE
    ]  # fmt: skip
    cells.sort(key=lambda cell: -abs(slopes[cell[0]][cell[1]]))
    by_corruption: dict[str, dict[Place, Measurement]] = {run: {} for run in corruptions}
    tested, size = 0, CHUNK
    while tested < len(cells) and not budget.is_over(share):
        begin, chunk = budget.spent, cells[tested : tested + size]
        for run in corruptions:
            places = [place for name, place in chunk if name == run]
            for place, effect in zip(places, place_effects(experiment, places, run) if places else (), strict=True):
                if effect is not None:
                    by_corruption[run][place] = effect_of(experiment, effect)
        tested += len(chunk)
        size *= 2 if budget.spent - begin < 1 else 1
    family = len(cells)
    acting = frozenset().union(*(significant(effects, family) for effects in by_corruption.values()))
    return Effects(by_corruption, estimates, acting, tuple(sorted({place for _, place in cells[tested:]})))
