"""The second part of stage 6, where it is asked for: the whole search again on new draws of prompts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from pytest_interp.compare.likeness import jaccard
from pytest_interp.discover.budget import Budget
from pytest_interp.discover.effects import effects_of
from pytest_interp.discover.selection import select
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head
from pytest_interp.measure.profile import OTHER_SEED
from pytest_interp.measurement import mean
from pytest_interp.text import counted

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment


@dataclass(frozen=True)
class Redraws:
    """The search on new draws of prompts.

    Attributes:
        circuits: the heads that each draw gives.
        frequency: for each head of any of them, the share of draws that have it.
        jaccard: the mean over pairs of draws; a floor for the drift of a circuit.
        seconds: how long all of them took.
    """

    circuits: tuple[tuple[Head, ...], ...]
    frequency: Mapping[Head, float]
    jaccard: float | None
    seconds: float


def redraw(experiment: Experiment, count: int, corruptions: Sequence[str], budget: Budget) -> Redraws:
    """Returns the heads that the search gives on new draws of prompts.

    Args:
        experiment: checkpoint and data set of the finding half.
        count: how many draws.
        corruptions: names of corrupted runs.
        budget: of the whole discovery.

    Raises:
        UsageError: prompts that are listed, not drawn.
    """
    draw = experiment.data.redraw
    if draw is None:
        raise UsageError(f"--redraws: the prompts of {experiment.data.name} are listed, not drawn; leave --redraws out")
    begin, circuits = time.monotonic(), []
    for number in range(1, count + 1):
        if budget.is_over():
            break
        data = draw(seed=(experiment.data.seed or 0) + number * OTHER_SEED)
        other = replace(experiment, data=data)
        effects = effects_of(other, corruptions, budget, 1.0)
        circuits.append(select(other, effects, budget, 1.0).heads)
        budget.say(f"redraw {number} of {count}: {counted(len(circuits[-1]), 'head')}")
    counts = Counter(head for heads in circuits for head in heads)
    alike = [jaccard(set(map(str, first)), set(map(str, second))) for first, second in combinations(circuits, 2)]
    defined = [value for value in alike if value is not None]
    return Redraws(
        tuple(circuits),
        {head: counts[head] / len(circuits) for head in sorted(counts)},
        mean(defined) if defined else None,
        time.monotonic() - begin,
    )
