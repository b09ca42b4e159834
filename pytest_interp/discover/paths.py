"""Stage 3: backwards from the logits by path patching, to whose q, k and v the heads act."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_interp.circuit import EVERYWHERE
from pytest_interp.discover.budget import Budget
from pytest_interp.discover.roles import Reading, Roles
from pytest_interp.discover.significance import effect_of, significant
from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head, names_of
from pytest_interp.measure.path_patching import Into, path_patch_effect_sweep
from pytest_interp.measure.places import Place, breaking_corruption
from pytest_interp.measurement import Measurement
from pytest_interp.tasks.positions import END

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment


class Target(NamedTuple):
    """What heads may act on.

    Attributes:
        name: the role of the receivers, or ``logits``.
        heads: the receivers; none for the logits.
        into: their queries, keys or values; None for the logits.
        at: the position at which their input is exchanged.
    """

    name: str
    heads: tuple[Head, ...]
    into: Into | None
    at: str

    def __str__(self) -> str:
        if self.into is None:
            return "the logits"
        word = {"q": "queries", "k": "keys", "v": "values"}[self.into]
        return f"the {word} of {self.name} ({names_of(self.heads)}) at {self.at}"


@dataclass(frozen=True)
class Edge:
    """A path that was tested.

    Attributes:
        sender: the head whose z is exchanged.
        target: what it acts on.
        effect: patched minus clean, in logits, along these paths alone.
        acts: whether it lies off 0, corrected for the number of paths.
    """

    sender: Head
    target: Target
    effect: Measurement
    acts: bool = False


def edges_of(
    experiment: Experiment, places: Sequence[Place], roles: Roles, budget: Budget, share: float
) -> tuple[Edge, ...]:
    """Returns the paths between the heads of a circuit, and into the logits, with the effect of each.

    Receivers with one role at one position are exchanged together. Their queries are tested at their own position,
    keys and values at the one that they read; the senders are the earlier heads of the circuit that are kept there.

    Args:
        experiment: checkpoint and data set of the finding half.
        places: of the circuit.
        roles: of its heads.
        budget: of the whole discovery.
        share: of its time that may be used up by the end of this stage.
    """
    corruption = breaking_corruption(experiment)
    edges: list[Edge] = []
    for target in _targets(roles):
        if budget.is_over(share):
            break
        last = max((head.layer for head in target.heads), default=experiment.checkpoint.shape.n_layers)
        senders = sorted({
            place.head for place in places if place.at in (target.at, EVERYWHERE) and place.head.layer < last
        })  # fmt: skip
        if not senders:
            continue
        receivers: Sequence[Head] | Literal["logits"] = target.heads or "logits"
        at = END if target.into is None else target.at
        try:
            table = path_patch_effect_sweep(
                experiment, receivers, into=target.into, at=at, corruption=corruption, senders=senders
            )
        except NotApplicable:
            continue
        edges += [Edge(head, target, _all_prompts(experiment, effect)) for head, effect in table.items()]
    family = max(len(edges), len(experiment.checkpoint.shape.heads))
    acting = significant(dict(enumerate(edge.effect for edge in edges)), family)
    return tuple(replace(edge, acts=number in acting) for number, edge in enumerate(edges))


def _targets(roles: Roles) -> Iterator[Target]:
    """The logits, then the inputs of the heads of each role, the latest layers first."""
    yield Target("logits", (), None, END)
    groups: dict[tuple[str, str, str], list[Reading]] = {}
    for reading in roles.readings:
        groups.setdefault((reading.role, reading.place.at, reading.reads), []).append(reading)
    order: Mapping[tuple[str, str, str], list[Reading]] = dict(
        sorted(groups.items(), key=lambda group: -max(reading.place.head.layer for reading in group[1]))
    )
    for (role, at, reads), readings in order.items():
        heads = tuple(sorted({reading.place.head for reading in readings}))
        yield Target(role, heads, "q", at)
        if reads:
            yield Target(role, heads, "k", reads)
            yield Target(role, heads, "v", reads)


def _all_prompts(experiment: Experiment, effect: Measurement) -> Measurement:
    """An effect without its context; prompts that the exchange leaves as they are were left out."""
    if len(effect.values) == len(experiment.data.clean):
        return effect_of(experiment, effect.values)
    return effect
