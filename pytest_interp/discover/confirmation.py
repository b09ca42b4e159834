"""Stage 7: the circuit on the confirming half: faithfulness, completeness, minimality, roles."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_interp.circuit import EVERYWHERE
from pytest_interp.discover.roles import Reading, Roles, roles_of
from pytest_interp.discover.significance import effect_of, significant
from pytest_interp.heads import Head
from pytest_interp.measure.circuit import completeness, faithfulness
from pytest_interp.measure.places import Place, breaking_corruption, circuit_scores, resampled_faithfulness
from pytest_interp.measurement import Measurement
from pytest_interp.tasks.positions import At

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment


@dataclass(frozen=True)
class Confirmation:
    """A circuit on prompts on which it was not found.

    Attributes:
        faithfulness: F(C) / F(M).
        resampled: the same with z of a corrupted run outside of C, and the name of that run.
        completeness: ``F(C without K) - F(M without K)`` in logits, for the heads K of each role, by role; and for no
            heads, under ``nothing``. Backups are in C here: they rest until K is the name movers.
        adds: what each place adds, ``F(C) - F(C without the place)``.
        needed: the places that add or take something, corrected for their number.
        roles: by the same rules on these prompts.
    """

    faithfulness: Measurement
    resampled: tuple[Measurement, str]
    completeness: Mapping[str, Measurement]
    adds: Mapping[Place, Measurement]
    needed: frozenset[Place]
    roles: Roles

    def confirms(self, reading: Reading) -> bool:
        """Whether a place has the same role on these prompts."""
        same = {(other.place, other.role) for other in self.roles.all}
        return (reading.place, reading.role) in same


def positions_of(places: Collection[Place]) -> dict[Head, At]:
    """Returns for each head the positions at which it is kept, as measurements of circuits take them.

    Args:
        places: heads at positions.

    Example:
        >>> positions_of([Place(Head(3, 0), "END"), Place(Head(3, 0), "S2"), Place(Head(0, 0), EVERYWHERE)])
        {Head(layer=0, head=0): None, Head(layer=3, head=0): ('END', 'S2')}
    """
    positions: dict[Head, At] = {}
    for head in sorted({place.head for place in places}):
        names = tuple(sorted(place.at for place in places if place.head == head))
        positions[head] = None if EVERYWHERE in names else names
    return positions


def confirm(
    experiment: Experiment, places: Sequence[Place], roles: Roles, best_position: Mapping[Head, str]
) -> Confirmation:
    """Returns a circuit on the prompts of the confirming half.

    Args:
        experiment: checkpoint and data set of the confirming half.
        places: of the circuit.
        roles: as found on the finding half.
        best_position: as for :func:`roles_of`.
    """
    with_backups = positions_of([*places, *(backup.place for backup in roles.backups)])
    groups: dict[str, set[Head]] = {"nothing": set()}
    for reading in roles.all:
        groups.setdefault(reading.role, set()).add(reading.place.head)
    corruption = breaking_corruption(experiment)
    assert corruption is not None
    incomplete = {
        role: completeness(experiment, with_backups, knocked_out=sorted(heads))
        for role, heads in groups.items()
        if heads < set(with_backups)
    }
    smaller = [[other for other in places if other != place] for place in places]
    alone, *without = circuit_scores(experiment, [places, *smaller])
    adds = {place: effect_of(experiment, alone - scores) for place, scores in zip(places, without, strict=True)}
    return Confirmation(
        faithfulness(experiment, positions_of(places)),
        (resampled_faithfulness(experiment, places, corruption), corruption),
        incomplete,
        adds,
        significant(adds),
        roles_of(experiment, places, best_position),
    )
