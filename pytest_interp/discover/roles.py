"""Stage 4: what each place of the circuit reads, copies and writes on the task's prompts, and which role that is.

The rules are the table :data:`RULES`. A head that acts and fits none of them is ``unnamed``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_interp.circuit import EVERYWHERE
from pytest_interp.discover.relations import Relations, relations_of
from pytest_interp.discover.significance import effect_of, significant
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head
from pytest_interp.measure.attention import attention
from pytest_interp.measure.attribution import direct_logit_attribution
from pytest_interp.measure.backup import backup_effect
from pytest_interp.measure.copying import prompt_copy_score
from pytest_interp.measure.path_patching import path_patch_effect
from pytest_interp.measure.places import Place, breaking_corruption
from pytest_interp.measurement import Measurement
from pytest_interp.tasks.positions import END

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment

LEAST_ATTENTION = 0.1
"""The attention from which on a head reads a position."""
LEAST_COPY = 0.5
"""The copy score from which on a head copies what it reads, or suppresses it."""
LEAST_RISE = 0.05
"""The rise of a backup when the name movers are knocked out, as a share of the logit difference."""
AT_REST = 0.25
"""What a backup writes before, at most, as a share of what it writes after."""
UNNAMED = "unnamed"
MOVER, NEGATIVE, SUPPRESSOR = "name_mover", "negative_name_mover", "subject_suppressor"
INHIBITION, BACKUP = "s_inhibition", "backup_name_mover"


@dataclass(frozen=True)
class Reading:
    """What a head does at a position, on the task's prompts.

    Attributes:
        place: head and position.
        attention: from there to each other named position, mean over prompts.
        reads: the position that it attends to most; empty where no attention reaches the least.
        copies: its copy score on the names of the prompts; None for a head that writes nothing or is in layer 0.
        suppresses: its negative copy score.
        written: its direct logit attribution at END; None elsewhere.
        onto_queries: its effect along the paths into the name movers' queries; None where it was not measured.
        rise: what it writes more when the name movers are knocked out; None where it was not measured.
        role: which of the roles that is.
    """

    place: Place
    attention: Mapping[str, Measurement]
    reads: str
    copies: float | None = None
    suppresses: float | None = None
    written: Measurement | None = None
    onto_queries: Measurement | None = None
    rise: Measurement | None = None
    role: str = UNNAMED

    @property
    def sign(self) -> int:
        """1 if it raises the logit of what it reads, -1 if it lowers it."""
        return -1 if self.role in (NEGATIVE, SUPPRESSOR, INHIBITION) else 1


@dataclass(frozen=True)
class Roles:
    """The roles of a circuit.

    Attributes:
        readings: of its places.
        backups: heads outside of the circuit that stand in for the name movers.
    """

    readings: tuple[Reading, ...]
    backups: tuple[Reading, ...] = field(default=())

    @property
    def all(self) -> tuple[Reading, ...]:
        """Those of the circuit and the backups."""
        return (*self.readings, *self.backups)

    def with_role(self, *roles: str) -> tuple[Head, ...]:
        """The heads that have one of several roles, sorted."""
        return tuple(sorted({reading.place.head for reading in self.readings if reading.role in roles}))


def roles_of(experiment: Experiment, places: Sequence[Place], best_position: Mapping[Head, str]) -> Roles:
    """Returns the role of each place, and the backups of the name movers.

    Args:
        experiment: checkpoint and data set.
        places: of the circuit.
        best_position: for heads that are kept at every position, the named one at which they do most.
    """
    relations = relations_of(experiment.data)
    named = [
        replace(place, at=best_position.get(place.head, END)) if place.at == EVERYWHERE else place for place in places
    ]
    readings = [reading_of(experiment, place, relations) for place in named]
    written = significant({r.place: r.written for r in readings if r.written is not None})
    readings = [replace(r, role=_role(r, relations, writes=r.place in written)) for r in readings]
    readings = _with_inhibition(experiment, readings, relations)
    backups = {backup.place: backup for backup in _backups(experiment, readings, relations)}
    return Roles(
        tuple(backups.pop(reading.place, reading) for reading in readings),
        tuple(backups[place] for place in sorted(backups)),
    )


def reading_of(experiment: Experiment, place: Place, relations: Relations) -> Reading:
    """Returns what a head reads, copies and writes at a position.

    Args:
        experiment: checkpoint and data set.
        place: head and named position.
        relations: of the positions of the data set.
    """
    attended = {
        name: attention(experiment, place.head, at=place.at, to=name) for name in relations.names if name != place.at
    }
    most = max(attended, key=lambda name: attended[name].value, default="")
    reads = most if most and attended[most].value >= LEAST_ATTENTION else ""
    copied: list[float | None] = [None, None]
    if place.head.layer > 0 and (tokens := (*relations.answers, *relations.distractors)):
        for negative in (False, True):
            try:
                score = prompt_copy_score(experiment, place.head, at=tokens, negative=negative)
                copied[negative] = score.value
            except NotApplicable:
                pass
    written = direct_logit_attribution(experiment, place.head) if place.at == END else None
    return Reading(place, attended, reads, copied[0], copied[1], written)


def _role(reading: Reading, relations: Relations, *, writes: bool) -> str:
    """The role that follows from a reading alone."""
    at, reads = reading.place.at, reading.reads
    if at == END and writes and reading.written is not None:
        sign = 1 if reading.written.value > 0 else -1
        copies = (reading.copies or 0) >= LEAST_COPY
        suppresses = (reading.suppresses or 0) >= LEAST_COPY
        if reads in relations.answers and sign > 0 and copies:
            return MOVER
        if reads in relations.answers and sign < 0 and suppresses:
            return NEGATIVE
        if reads in relations.distractors and sign > 0 and suppresses:
            return SUPPRESSOR
    if (at, reads) in relations.earlier:
        return "duplicate_token"
    if reads in relations.after_earlier(at):
        return "induction"
    return "previous_token" if (at, reads) in relations.previous else UNNAMED


def _with_inhibition(experiment: Experiment, readings: Sequence[Reading], relations: Relations) -> list[Reading]:
    """The readings, where heads that read the distractor act on the name movers' queries with their role."""
    movers = [reading.place.head for reading in readings if reading.role == MOVER]
    tested = {
        reading.place: reading
        for reading in readings
        if movers
        and reading.role == UNNAMED
        and reading.place.at == END
        and reading.reads in relations.distractors
        and reading.place.head.layer < max(head.layer for head in movers)
    }
    onto: dict[Place, Measurement] = {}
    corruption = breaking_corruption(experiment)
    for place in tested:
        later = [head for head in movers if head.layer > place.head.layer]
        try:
            onto[place] = path_patch_effect(experiment, place.head, later, into="q", corruption=corruption)
        except NotApplicable:
            continue
    acting = {place for place in significant(onto) if onto[place].value < 0}
    return [
        replace(
            reading,
            onto_queries=onto.get(reading.place),
            role=INHIBITION if reading.place in acting else reading.role,
        )
        if reading.place in tested
        else reading
        for reading in readings
    ]


def _backups(experiment: Experiment, readings: Sequence[Reading], relations: Relations) -> tuple[Reading, ...]:
    """The heads without a role at END that copy names, and write the answer when the name movers are knocked out."""
    movers = {reading.place.head for reading in readings if reading.role == MOVER}
    acting = {reading.place.head for reading in readings if reading.place.at == END and reading.role != UNNAMED}
    if not movers:
        return ()
    watched = [
        head
        for head in experiment.checkpoint.shape.heads
        if head.layer > min(mover.layer for mover in movers) and head not in acting
    ]
    if not watched:
        return ()
    effect = backup_effect(experiment, watched, knocked_out=sorted(movers))
    rises = {head: effect_of(experiment, effect.rise([head]).values) for head in watched}
    least = LEAST_RISE * float(experiment.logit_diffs().mean())
    backups = []
    for head in sorted(significant(rises)):
        at_rest = effect.before[head].value <= AT_REST * effect.after[head].value
        if at_rest and rises[head].value >= least:
            reading = reading_of(experiment, Place(head, END), relations)
            if (reading.copies or 0) >= LEAST_COPY:
                answer = relations.answers[0] if relations.answers else ""
                backups.append(replace(reading, rise=rises[head], role=BACKUP, reads=answer))
    return tuple(backups)
