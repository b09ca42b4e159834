"""Circuits of heads at positions: F(C) of many at once, and how each head at a position would change it.

A *place* is a head at a named position, or at every position. ``F(C)`` is the logit difference with z of every head at
every position replaced, except at the places of ``C``; MLPs stay as they are (docs/circuit.md). What replaces z is its
mean over the reference prompts, or z of a corrupted run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.checkpoints.gradients import edited_gradients
from pytest_interp.checkpoints.rows import Rows
from pytest_interp.circuit import EVERYWHERE
from pytest_interp.engine.contrast import changed_prompts
from pytest_interp.engine.edits import edits_of
from pytest_interp.engine.passes import patched
from pytest_interp.engine.patch import Node, Patch, Source, ablated, from_run
from pytest_interp.heads import Head
from pytest_interp.measurement import Measurement

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from pytest_interp.engine import Experiment
    from pytest_interp.tasks.positions import At
    from pytest_interp.tasks.prompts import Group

MEAN = "mean"
"""The ablation that puts the mean over the reference prompts; any other name is that of a corrupted run."""


@dataclass(frozen=True, order=True)
class Place:
    """A head at a position.

    Attributes:
        head: a query head.
        at: a named position, or ``all``.

    Example:
        >>> str(Place(Head(9, 9), "END")), str(Place(Head(0, 1), EVERYWHERE))
        ('9.9 at END', '0.1 at every position')
    """

    head: Head
    at: str

    def __str__(self) -> str:
        return f"{self.head} at {'every position' if self.at == EVERYWHERE else self.at}"

    @property
    def node(self) -> Node:
        """Its output z."""
        return Node("z", self.head.layer, self.head.head, None if self.at == EVERYWHERE else self.at)


def places_of(nodes: Mapping[Head, At]) -> list[Place] | None:
    """The places of a circuit as measurements take it; None where a head is kept at an index, not at a name.

    Args:
        nodes: for each head the positions at which it is kept; None is every position.

    Example:
        >>> places_of({Head(3, 0): ("END", "S2"), Head(0, 0): None})
        [Place(head=Head(layer=0, head=0), at='all'), Place(head=Head(layer=3, head=0), at='END'), \
Place(head=Head(layer=3, head=0), at='S2')]
    """
    places = []
    for head, at in nodes.items():
        for name in (EVERYWHERE,) if at is None else (at,) if isinstance(at, str | int) else at:
            if not isinstance(name, str):
                return None
            places.append(Place(head, name))
    return sorted(places)


def heads_of(places: Collection[Place]) -> tuple[Head, ...]:
    """Returns the heads of places, sorted."""
    return tuple(sorted({place.head for place in places}))


def named_places(experiment: Experiment) -> list[Place]:
    """Every head at every named position of the task, and at every position."""
    names = (*experiment.data.clean.position_names, EVERYWHERE)
    return [Place(head, at) for head in experiment.checkpoint.shape.heads for at in names]


@in_one_state
def circuit_scores(
    experiment: Experiment, circuits: Sequence[Collection[Place]], *, ablation: str = MEAN
) -> Float[Tensor, "circuit prompt"]:
    """F(C) of each of several circuits, prompt by prompt.

    Args:
        experiment: checkpoint and data set.
        circuits: the places that each of them keeps; none at all is allowed.
        ablation: ``mean``, or the corrupted run whose z is put in (counterfactual or resample ablation).

    Returns:
        Logit differences, shape ``(circuit, prompt)``, prompts in data-set order.

    Raises:
        UsageError: a data set without a reference, or without this corruption.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> heads = checkpoint.shape.heads
        >>> scores = circuit_scores(experiment, [[Place(head, "all") for head in heads], []])
        >>> [round(float(score), 2) for score in scores.mean(1)]  # all heads, no head
        [8.85, -0.04]
    """
    layers, source = _all_layers(experiment), _stand_in(experiment, ablation)
    return patched(experiment, [[_sparing(layers, source, places)] for places in circuits]).values


def breaking_corruption(experiment: Experiment) -> str | None:
    """The corruption that takes the question away: ``abc`` where the data set has it, else its first; None without."""
    corrupted = experiment.data.corrupted
    return "abc" if "abc" in corrupted else next(iter(corrupted), None)


def resampled_faithfulness(experiment: Experiment, circuit: Collection[Place], corruption: str) -> Measurement:
    """What a circuit keeps where everything else is resampled: ``F(C) / F(M)``, z outside of C from a corrupted run.

    Args:
        experiment: checkpoint and data set.
        circuit: the places of C.
        corruption: a corrupted run.

    Returns:
        A ratio of means; any real number. :func:`faithfulness` puts the mean over the reference there instead.

    Raises:
        UsageError: a data set without this corruption.

    Mueller et al. 2025, "MIB: a mechanistic interpretability benchmark", section 3.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> circuit = [Place(head, "all") for head in checkpoint.shape.heads]
        >>> round(resampled_faithfulness(experiment, circuit, "abc").value, 3)  # nothing is left to resample
        1.0
    """
    (alone,) = circuit_scores(experiment, [circuit], ablation=corruption)
    values, scale = tuple(map(float, alone)), tuple(map(float, experiment.logit_diffs()))
    return Measurement("faithfulness", "of model", values, experiment.data.sample, scale=scale)


@in_one_state
def place_effects(
    experiment: Experiment, places: Sequence[Place], corruption: str
) -> Sequence[Float[Tensor, " prompt"] | None]:
    """The effect of each place alone: z of the corrupted run put into the clean one, patched minus clean.

    Args:
        experiment: checkpoint and data set.
        places: each is patched in a pass of its own.
        corruption: a corrupted run.

    Returns:
        For each place a tensor ``(prompt,)``, in logits, negative where the head helps; None where both runs are equal
        there on all prompts: the effect is undefined, not zero.

    Raises:
        UsageError: a data set without this corruption.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> previous, _ = place_effects(experiment, [Place(Head(0, 0), "S1+1"), Place(Head(3, 3), "END")], "abc")
        >>> round(float(previous.mean()), 2)
        -2.22
    """
    source = from_run(experiment, [place.node for place in places], corruption)
    patches = [Patch((place.node,), source) for place in places]
    changed = [bool(rows) for rows in changed_prompts(experiment, patches, "clean")]
    jobs = [[patch] for patch, changes in zip(patches, changed, strict=True) if changes]
    measured = iter(patched(experiment, jobs).values - experiment.logit_diffs()) if jobs else iter(())
    return [next(measured) if changes else None for changes in changed]


@in_one_state
def circuit_slopes(
    experiment: Experiment, circuit: Collection[Place], *, ablation: str = MEAN
) -> Mapping[Place, Float[Tensor, " prompt"]]:
    """How much F(C) would change with each place, to first order, prompt by prompt.

    ``(z - replacement) . d F(C) / d z`` at each place, with z as it is while the rest of C runs. For a place that C
    lacks it estimates what adding it does; for one that C has, what is lost without it. An estimate orders candidates
    and decides nothing.

    Args:
        experiment: checkpoint and data set.
        circuit: the places of C.
        ablation: as for :func:`circuit_scores`.

    Returns:
        For each place of :func:`named_places` a tensor ``(prompt,)``, in logits.

    Example:
        >>> from pytest_interp import Experiment, load
        >>> from pytest_interp.tasks import ioi
        >>> checkpoint = load("planted-ioi")
        >>> experiment = Experiment(checkpoint, ioi(checkpoint.tokenizer, half="confirm", n=24, seed=0, bos=True))
        >>> circuit = [Place(head, "all") for head in checkpoint.shape.heads]
        >>> slopes = circuit_slopes(experiment, circuit)
        >>> round(float(slopes[Place(Head(4, 0), "END")].mean()), 2)  # the negative name mover
        -4.0
    """
    layers, source = _all_layers(experiment), _stand_in(experiment, ablation)
    job = [_sparing(layers, source, circuit)]
    names = experiment.data.clean.position_names
    by_place: dict[Place, list[Tensor]] = {place: [] for place in named_places(experiment)}
    for index, group in enumerate(experiment.data.clean.groups):
        rows = Rows.of(range(len(group.rows)), len(group.rows), experiment.checkpoint.device)
        edits = edits_of(experiment, index, [job], rows)
        slopes = edited_gradients(experiment.checkpoint, group.tokens, _logit_diff_of(group), edits)
        positions = {name: experiment.position(group, name) for name in names}
        for layer, node in enumerate(layers):
            hook = experiment.checkpoint.sites.hook(node.site, node.layer)
            value, slope = slopes[hook]
            change = ((value - source.give(hook, index, rows, value)) * slope).sum(-1)  # (row, pos, head)
            at_name = {name: change[rows.numbers, position] for name, position in positions.items()}
            at_name[EVERYWHERE] = change.sum(1)
            for name, by_head in at_name.items():
                for number in range(experiment.checkpoint.shape.n_heads):
                    by_place[Place(Head(layer, number), name)].append(by_head[:, number])
    return {place: experiment.in_order(by_group) for place, by_group in by_place.items()}


def _all_layers(experiment: Experiment) -> tuple[Node, ...]:
    """Z of all heads at all positions, a node for each layer."""
    return tuple(Node("z", layer) for layer in range(experiment.checkpoint.shape.n_layers))


def _stand_in(experiment: Experiment, ablation: str) -> Source:
    """What replaces z."""
    layers = _all_layers(experiment)
    return ablated(experiment, layers, "mean") if ablation == MEAN else from_run(experiment, layers, ablation)


def _sparing(layers: tuple[Node, ...], source: Source, places: Collection[Place]) -> Patch:
    """The patch that replaces everything but these places."""
    return Patch(layers, source, tuple(place.node for place in sorted(places)))


def _logit_diff_of(group: Group) -> Callable[[Tensor], Tensor]:
    """The summed logit difference of a group, as a function of its logits at END."""

    def metric(logits: Tensor) -> Tensor:
        rows = torch.arange(len(group.rows), device=logits.device)
        return (logits[rows, group.answers.to(rows.device)] - logits[rows, group.distractors.to(rows.device)]).sum()

    return metric
