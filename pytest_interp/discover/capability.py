"""Stage 1: whether the checkpoint does the task at all. No task, no circuit."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from pytest_interp.measure.logit_diff import accuracy, logit_diff
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import judge

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment

BETTER_THAN_CHANCE = Bound(0.5, inf, "more than 0.5", strict=True)


@dataclass(frozen=True)
class Capability:
    """How well a checkpoint does a task.

    Attributes:
        accuracy: the share of prompts on which the answer is preferred.
        logit_diff: by how much, in logits.
        reason: why there is nothing to look for; empty where the checkpoint does the task.
    """

    accuracy: Measurement
    logit_diff: Measurement
    reason: str


def capability_of(experiment: Experiment) -> Capability:
    """Returns how well a checkpoint does the task of an experiment.

    Args:
        experiment: checkpoint and data set.
    """
    share, difference = accuracy(experiment), logit_diff(experiment)
    reason = ""
    if (
        judge(difference, Bound.positive()).outcome != "supported"
        or judge(share, BETTER_THAN_CHANCE).outcome != "supported"
    ):
        reason = (
            f"{experiment.checkpoint.name} does not do the task on {experiment.data.name}: "
            f"{100 * share.value:.1f} % right where 50 % is chance, logit difference {quote(difference.value)}, "
            "not surely above 0; without the task there is no circuit to look for"
        )
    return Capability(share, difference, reason)
