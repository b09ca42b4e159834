"""Drift of a circuit: capability, heads and effects of a checkpoint beside those of its baseline, without a model.

Each number stands beside its floor: how far the same number moves between two disjoint draws of prompts on the
baseline. A difference below its floor says nothing about the checkpoint.

Tigges et al. 2024, "LLM circuit analyses are consistent across training and scale"; Prakash et al. 2024, "Fine-tuning
enhances existing mechanisms".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_interp.compare.likeness import jaccard, spearman, weighted_jaccard
from pytest_interp.errors import InterpError
from pytest_interp.heads import Head
from pytest_interp.ledger.profile import Profile, PromptDraw, RoleScores
from pytest_interp.measurement import Measurement, paired_difference

RoleWord: TypeAlias = Literal[
    "held", "moved heads, same mechanism", "fewer heads", "lost", "undecided", "not held before"
]
"""What became of a role.

``held``: each head that had it on the baseline is still at or above the bound. ``moved heads, same mechanism``: a head
lost it, its interval wholly below the bound; another head has it that no draw on the baseline shows, its interval at or
above the bound; and the checkpoint does the task. ``fewer heads``: a head lost it, none took its place, and others keep
it. ``lost``: all lost it. ``undecided``: a head is below the bound, but not by its interval. ``not held before``: no
head of the circuit file has it on the baseline's prompts.
"""


@dataclass(frozen=True)
class Shift:
    """A number on the baseline and on the checkpoint.

    Attributes:
        name: of the number.
        before: on the baseline.
        after: on the checkpoint.
        interval: the 95 % interval of the difference prompt by prompt; None on other prompts.
        floor: how far it moves between two draws of prompts on the baseline; None without a second draw.
    """

    name: str
    before: float
    after: float
    interval: tuple[float, float] | None
    floor: float | None


@dataclass(frozen=True)
class HeadShift:
    """A head of the baseline's circuit.

    Attributes:
        score: its role score.
        ranks: its place among all heads by this score, on the baseline, on the checkpoint, and on other prompts on the
            baseline (None without a second draw); 1 is the highest.
    """

    score: Shift
    ranks: tuple[int, int, int | None]


@dataclass(frozen=True)
class Likeness:
    """How alike baseline and checkpoint are.

    Attributes:
        name: what is compared, and how.
        value: 1 where both are the same; None where it is not defined.
        floor: the same between two draws of prompts on the baseline; None without a second one.
    """

    name: str
    value: float | None
    floor: float | None


@dataclass(frozen=True)
class RoleDrift:
    """What became of a role.

    Attributes:
        role: its name in the circuit file.
        reads: the rule for a reader.
        bound: the least score of a head that has the role, on the baseline and on the checkpoint.
        heads: the baseline's heads; empty where heads have no counterpart.
        found: all heads at or above the bound, on the baseline and on the checkpoint.
        likeness: the Jaccard index of these two sets.
        word: what became of the role.
        lost: the heads that lost it.
        others: the heads that have it instead.
    """

    role: str
    reads: str
    bound: float
    heads: tuple[HeadShift, ...]
    found: tuple[tuple[str, ...], tuple[str, ...]]
    likeness: Likeness
    word: RoleWord
    lost: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class CircuitDrift:
    """A circuit on a checkpoint against its baseline.

    Attributes:
        capability: logit difference and accuracy.
        capable: whether the baseline and the checkpoint do the task: the interval of the logit difference is above 0.
        transfer: the faithfulness of the baseline's circuit on both; None where it is not defined on either.
        likeness: of the vectors of patching effects.
        roles: in the order of the circuit file.
        remarks: what is left out and why, a sentence each.
    """

    capability: tuple[Shift, ...]
    capable: tuple[bool, bool]
    transfer: Shift | None
    likeness: tuple[Likeness, ...]
    roles: tuple[RoleDrift, ...]
    remarks: tuple[str, ...]


def circuit_drift(baseline: Profile, checkpoint: Profile, *, related: bool) -> CircuitDrift:
    """Returns a circuit on a checkpoint against its baseline.

    Args:
        baseline: its profile, with one draw of prompts or two.
        checkpoint: its profile.
        related: whether heads are carried over by their index.
    """
    before, after = baseline.draws[0], checkpoint.draws[0]
    related = related and before.effects.keys() == after.effects.keys()
    other = baseline.draws[1] if len(baseline.draws) > 1 else None
    remarks = list(dict.fromkeys((*before.left_out, *after.left_out)))
    if other is None:
        remarks.append("floors: the baseline was measured on one draw of prompts; run it with --interp-profile")
    if before.digest != after.digest:
        remarks.append("intervals of differences: the checkpoint was asked on other prompts than its baseline")
    if not related:
        remarks.append("heads by index: they have no counterpart, and roles are compared as a whole")
    capable = (_does_the_task(before), _does_the_task(after))
    transfer = None
    if before.faithfulness and after.faithfulness:
        transfer = _shift("transfer faithfulness", before, after, other, "faithfulness")
    return CircuitDrift(
        tuple(_shift(name, before, after, other, name) for name in ("logit_diff", "accuracy")),
        capable,
        transfer,
        _effects(before, after, other) if related else (),
        tuple(_roles(before, after, other, related=related, capable=all(capable))),
        tuple(remarks),
    )


# ---- numbers


def _measured(draw: PromptDraw, quantity: str, values: Sequence[float]) -> Measurement:
    """The numbers of a draw as a measurement; faithfulness is a ratio of means."""
    scale = draw.logit_diff if quantity == "faithfulness" else ()
    return Measurement(quantity, "of model" if scale else "", tuple(values), draw.sample, scale)


def _shift(name: str, before: PromptDraw, after: PromptDraw, other: PromptDraw | None, quantity: str) -> Shift:
    """A number of the whole model on both, with the interval of its difference and its floor."""
    first, second = (_measured(draw, quantity, getattr(draw, quantity)) for draw in (before, after))
    floor = None
    if other is not None and (values := getattr(other, quantity)):
        floor = abs(_measured(other, quantity, values).value - first.value)
    paired = _interval(first, second) if before.digest == after.digest else None
    return Shift(name, first.value, second.value, paired, floor)


def _interval(first: Measurement, second: Measurement) -> tuple[float, float] | None:
    """The 95 % interval of the second minus the first, prompt by prompt; None where it has none."""
    from pytest_interp.verdict.intervals import interval_of  # numpy takes longer than the rest of a comparison

    difference = paired_difference(second, first)
    if difference is None or difference.population == "fixed":
        return None
    try:
        interval = interval_of(difference)
    except InterpError:
        return None
    return interval.low, interval.high


def _outcome(draw: PromptDraw, quantity: str, values: Sequence[float], bound: float, level: float = 0.95) -> str:
    """Whether the interval of numbers lies at or above a bound: supported, refuted or inconclusive."""
    from pytest_interp.verdict.bound import Bound
    from pytest_interp.verdict.judge import judge

    try:
        return judge(_measured(draw, quantity, values), Bound.of(at_least=bound), level=level).outcome
    except InterpError:
        return "inconclusive"


def _does_the_task(draw: PromptDraw) -> bool:
    """Whether the interval of the logit difference lies above 0."""
    return _outcome(draw, "logit_diff", draw.logit_diff, 0.0) == "supported"


# ---- roles


@dataclass(frozen=True)
class _Scores:
    """The scores of a role: on the baseline, on the checkpoint, and on other prompts on the baseline."""

    before: RoleScores
    after: RoleScores
    other: RoleScores | None


def _roles(
    before: PromptDraw, after: PromptDraw, other: PromptDraw | None, *, related: bool, capable: bool
) -> list[RoleDrift]:
    """What became of each role that both profiles have."""
    now, elsewhere = ({role.role: role for role in draw.roles} if draw else {} for draw in (after, other))
    return [
        _role(before, after, _Scores(scores, now[scores.role], elsewhere.get(scores.role)), related, capable)
        for scores in before.roles
        if scores.role in now
    ]


def _role(before: PromptDraw, after: PromptDraw, scores: _Scores, related: bool, capable: bool) -> RoleDrift:
    """What became of a role: its heads, the heads that are found by its rule, and its word."""
    rule = scores.before
    heads_before, heads_now = (side.found(rule.bound) for side in (rule, scores.after))
    elsewhere = scores.other.found(rule.bound) if scores.other is not None else None
    holders = [head for head in rule.heads if head in heads_before]

    def surely(head: str, outcome: str, level: float = 0.95) -> bool:
        return _outcome_of_head(after, scores.after, head, rule.bound, level) == outcome

    lost = [head for head in holders if head not in heads_now and surely(head, "refuted")]
    candidates = heads_now - heads_before - (elsewhere or frozenset()) if related else heads_now
    level = 1 - 0.05 / max(1, len(candidates))
    others = [head for head in _sorted(candidates) if surely(head, "supported", level)]
    word = _word(holders, lost, heads_now, others, related=related, capable=capable)
    likeness = jaccard(heads_before, heads_now) if related else None
    return RoleDrift(
        rule.role,
        rule.reads,
        rule.bound,
        tuple(_head(before, after, scores, head) for head in rule.heads) if related else (),
        (_sorted(heads_before), _sorted(heads_now)),
        Likeness(
            f"heads of {rule.role}, Jaccard", likeness, None if elsewhere is None else jaccard(heads_before, elsewhere)
        ),
        word,
        tuple(lost),
        tuple(others) if word == "moved heads, same mechanism" else (),
    )


def _word(
    holders: Sequence[str],
    lost: Sequence[str],
    found: Collection[str],
    others: Sequence[str],
    *,
    related: bool,
    capable: bool,
) -> RoleWord:
    """What became of a role: see `RoleWord`."""
    if not holders:
        return "not held before"
    if not related:  # other heads are no news: what counts is whether any has the role
        return "held" if others and capable else "undecided" if found else "lost"
    if all(head in found for head in holders):
        return "held"
    if lost and others and capable:
        return "moved heads, same mechanism"
    if len(lost) == len(holders):
        return "lost"
    return "fewer heads" if lost else "undecided"


def _outcome_of_head(draw: PromptDraw, scores: RoleScores, head: str, bound: float, level: float) -> str:
    """Whether the interval of a head's role score lies at or above a bound; by its mean without scores by prompt."""
    if head not in scores.values:
        return "supported" if scores.means.get(head, 0.0) >= bound else "refuted"
    return _outcome(draw, "role_score", scores.values[head], bound, level)


def _head(before: PromptDraw, after: PromptDraw, scores: _Scores, head: str) -> HeadShift:
    """The role score of a head on both, and its ranks."""
    first, now, other = scores.before, scores.after, scores.other
    paired = None
    if before.digest == after.digest and head in first.values and head in now.values:
        pairs = ((before, first), (after, now))
        paired = _interval(*(_measured(draw, "role_score", side.values[head]) for draw, side in pairs))
    floor = None if other is None else abs(other.means[head] - first.means[head])
    shift = Shift(head, first.means[head], now.means[head], paired, floor)
    return HeadShift(shift, (first.rank(head), now.rank(head), None if other is None else other.rank(head)))


def _sorted(heads: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(heads, key=Head.parse))


# ---- likeness


def _effects(before: PromptDraw, after: PromptDraw, other: PromptDraw | None) -> tuple[Likeness, ...]:
    """How alike the two vectors of patching effects are, head by head."""
    pairs = {
        "patching effects, weighted Jaccard": weighted_jaccard,
        "patching effects, Spearman": spearman,
    }
    return tuple(
        Likeness(
            name,
            statistic(before.effects, after.effects),
            None if other is None else statistic(before.effects, other.effects),
        )
        for name, statistic in pairs.items()
    )
