"""All stages in their order, within the time that they may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_interp.circuit import EVERYWHERE
from pytest_interp.discover.alternative import alternative_to
from pytest_interp.discover.budget import Budget
from pytest_interp.discover.capability import capability_of
from pytest_interp.discover.circuit_text import described, measured
from pytest_interp.discover.confirmation import confirm
from pytest_interp.discover.curve import curve_of
from pytest_interp.discover.effects import Effects, effects_of
from pytest_interp.discover.paths import edges_of
from pytest_interp.discover.proposal import Proposal
from pytest_interp.discover.redraws import redraw
from pytest_interp.discover.roles import roles_of
from pytest_interp.discover.selection import Selection, measured_circuit, select
from pytest_interp.discover.stability import stability_of
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, names_of
from pytest_interp.measure.places import Place, breaking_corruption
from pytest_interp.text import counted

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment

SHARES: Mapping[str, float] = {"effects": 0.15, "selection": 0.75, "paths": 0.87}
"""The share of the time that is used up, at most, at the end of a stage that can stop early."""


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        finding: checkpoint and prompts of the finding half.
        confirming: checkpoint and prompts of the confirming half.
        task: the name of the task, for the file.
        seed: of all draws.
        redraws: how often the search is repeated on new draws; 0 for not at all.
        heads: of a circuit that is given and measured as it is; empty to search for one.
    """

    finding: Experiment
    confirming: Experiment
    task: str
    seed: int = 0
    redraws: int = 0
    heads: tuple[Head, ...] = ()

    def __post_init__(self) -> None:
        for experiment in (self.finding, self.confirming):
            check_prompts(experiment)
        if self.heads and self.redraws:
            raise UsageError("redraws repeat a search, and none is made for a circuit that is given; pass one of both")
        for head in self.heads:
            self.finding.checkpoint.check_head(head)
        if len(self.heads) == len(self.finding.checkpoint.shape.heads):
            raise UsageError("the circuit has every head of the model, so nothing is outside of it; leave heads out")


def check_prompts(experiment: Experiment) -> None:
    """Refuses prompts on which no circuit can be looked for.

    Args:
        experiment: checkpoint and data set.

    Raises:
        UsageError: no corruption, no reference prompts, fewer than two templates, or a fixed population.
    """
    data = experiment.data
    if not data.corrupted:
        raise UsageError(
            f"{data.name} has no corruption: heads are found by patching from corrupted prompts; give the task one, "
            "such as the same prompts with the decisive word exchanged"
        )
    if data.reference is None:
        raise UsageError(
            f"{data.name} has no reference prompts: faithfulness replaces z by its mean over them; give the task "
            "prompts of the same templates without the answer (the argument reference of from_strings)"
        )
    if data.population == "fixed":
        raise UsageError(
            f"{data.name} is a fixed set of prompts; a circuit is a statement about more prompts of its kind: "
            "give the task population='sampled' and templates"
        )
    if len(templates := set(data.sample.clusters)) < 2:
        raise UsageError(
            f"{data.name} has {len(templates)} template; intervals over templates need at least 2, and 6 or more to "
            "decide anything: write the task in further wordings"
        )


def discover(question: Question, budget: Budget, keep: Callable[[Proposal], object] = lambda _: None) -> Proposal:
    """Returns a proposed circuit, as far as the time suffices.

    Args:
        question: what is asked.
        budget: the time, and who hears of progress.
        keep: is called with the proposal after each stage from the first circuit on, so that an interruption loses
            nothing.

    Raises:
        UsageError: redraws of prompts that are listed.
    """
    finding = question.finding
    proposal = Proposal(finding, question.confirming, question.task, question.seed, seconds=budget.stages)
    if question.redraws and finding.data.redraw is None:
        raise UsageError(f"--redraws: the prompts of {finding.data.name} are listed, not drawn; leave --redraws out")
    with budget.stage("capability") as say:
        capability = capability_of(finding)
        say(f"{100 * capability.accuracy.value:.1f} % right, logit difference {measured(capability.logit_diff)}")
    proposal = replace(proposal, capability=capability)
    if capability.reason:
        return proposal
    stages = [_effects, _selection, _roles, _paths, _stability, _confirmation, _curve, _alternative]
    for stage in [*stages, _redraws] if question.redraws else stages:
        name = stage.__name__.removeprefix("_")
        if budget.is_over():
            ended = "interrupted" if budget.interrupted else "the time was over, which --minutes sets,"
            return replace(proposal, interrupted=f"{ended} before the stage {name}")
        try:
            proposal = stage(question, proposal, budget)
        except KeyboardInterrupt:
            return replace(proposal, interrupted=f"interrupted in the stage {name}")
        if proposal.reason and proposal.selection is not None:
            return proposal
        if proposal.selection is not None:
            keep(replace(proposal, interrupted=f"the stages after {name} are not done yet"))
    return proposal


def _effects(question: Question, proposal: Proposal, budget: Budget) -> Proposal:
    with budget.stage("effects") as say:
        corruptions = list(question.finding.data.corrupted)
        effects = effects_of(question.finding, corruptions, budget, SHARES["effects"])
        tested = sum(map(len, effects.by_corruption.values()))
        say(f"{tested} patched, {len(effects.acting)} places act, {len(effects.untested)} untested")
    return replace(proposal, effects=effects)


def _selection(question: Question, proposal: Proposal, budget: Budget) -> Proposal:
    assert proposal.effects is not None
    with budget.stage("selection") as say:
        if question.heads:
            selection = measured_circuit(question.finding, question.heads, budget)
        else:
            selection = select(question.finding, proposal.effects, budget, SHARES["selection"])
        size = f"{counted(len(selection.heads), 'head')} at {counted(len(selection.places), 'place')}"
        say(f"{size}, {measured(selection.faithfulness)}")
    return replace(proposal, selection=selection)


def _roles(question: Question, proposal: Proposal, budget: Budget) -> Proposal:
    selection, effects = _parts(proposal)
    with budget.stage("roles") as say:
        roles = roles_of(question.finding, selection.places, best_positions(selection, effects))
        names = dict.fromkeys(reading.role for reading in roles.all)
        say("; ".join(f"{name} {names_of(roles.with_role(name))}" for name in names if roles.with_role(name)))
    return replace(proposal, roles=roles)


def _paths(question: Question, proposal: Proposal, budget: Budget) -> Proposal:
    selection, _ = _parts(proposal)
    assert proposal.roles is not None
    with budget.stage("paths") as say:
        edges = edges_of(question.finding, selection.places, proposal.roles, budget, SHARES["paths"])
        say(f"{sum(edge.acts for edge in edges)} of {len(edges)} paths act")
    return replace(proposal, edges=edges)


def _stability(question: Question, proposal: Proposal, budget: Budget) -> Proposal:
    selection, _ = _parts(proposal)
    with budget.stage("stability") as say:
        stability = stability_of(selection, question.seed)
        interchangeable = [head for head in selection.heads if stability.is_interchangeable(head)]
        say(f"interchangeable: {names_of(interchangeable) or 'none'}")
    return replace(proposal, stability=stability)


def _confirmation(question: Question, proposal: Proposal, budget: Budget) -> Proposal:
    selection, effects = _parts(proposal)
    assert proposal.roles is not None
    with budget.stage("confirmation") as say:
        best = best_positions(selection, effects)
        confirmation = confirm(question.confirming, selection.places, proposal.roles, best)
        say(f"faithfulness {measured(confirmation.faithfulness)}")
    return replace(proposal, confirmation=confirmation)


def _curve(question: Question, proposal: Proposal, budget: Budget) -> Proposal:
    selection, effects = _parts(proposal)
    corruption = breaking_corruption(question.confirming)
    assert corruption is not None
    with budget.stage("curve") as say:
        curve = curve_of(question.confirming, ranking(selection, effects), corruption, question.seed)
        say(", ".join(f"CMD {value:.3f} ({run})" for run, value in curve.cmd.items()))
    return replace(proposal, curve=curve)


def _alternative(question: Question, proposal: Proposal, budget: Budget) -> Proposal:
    selection, _ = _parts(proposal)
    with budget.stage("alternative") as say:
        alternative = alternative_to(question.finding, selection, budget)
        say(described(alternative))
    return replace(proposal, alternative=alternative)


def _redraws(question: Question, proposal: Proposal, budget: Budget) -> Proposal:
    with budget.stage("redraws") as say:
        redraws = redraw(question.finding, question.redraws, list(question.finding.data.corrupted), budget)
        say(f"{counted(len(redraws.circuits), 'draw')}")
    return replace(proposal, redraws=redraws)


def _parts(proposal: Proposal) -> tuple[Selection, Effects]:
    """The circuit and the effects of a proposal that has both."""
    assert proposal.selection is not None
    assert proposal.effects is not None
    return proposal.selection, proposal.effects


def best_positions(selection: Selection, effects: Effects) -> dict[Head, str]:
    """Returns for each head of a circuit the named position at which it has the largest effect.

    Args:
        selection: the circuit.
        effects: of single places.
    """
    names = sorted({place.at for place in effects.estimates if place.at != EVERYWHERE})

    def size(head: Head, at: str) -> tuple[float, float]:
        place = Place(head, at)
        return effects.largest(place), abs(effects.estimates[place])

    return {head: max(names, key=partial(size, head)) for head in selection.heads}


def ranking(selection: Selection, effects: Effects) -> list[Head]:
    """Returns all heads, those of the circuit first, each part by the size of its effects.

    Args:
        selection: the circuit.
        effects: of single places.
    """
    lost: dict[Head, float] = {}
    for place, effect in selection.lost.items():
        lost[place.head] = max(lost.get(place.head, 0.0), abs(effect.value))
    heads = sorted({place.head for place in effects.estimates})
    return sorted(
        heads,
        key=lambda head: (
            head not in lost,
            -lost.get(head, 0.0),
            -max(effects.largest(Place(head, EVERYWHERE)), abs(effects.estimates[Place(head, EVERYWHERE)])),
        ),
    )
