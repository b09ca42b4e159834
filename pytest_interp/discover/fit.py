"""How well a circuit fits the model: its faithfulness, and its distance on single prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_interp.measurement import Measurement
from pytest_interp.verdict.intervals import interval_of

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment

BAND = (0.9, 1.1)
"""Where the 95 % interval of the faithfulness of a circuit lies."""


@dataclass(frozen=True)
class Fit:
    """How well a circuit fits the model.

    Attributes:
        faithfulness: F(C) / F(M), a ratio of means.
        distance: the mean over prompts of ``|F(C) - F(M)|``, as a share of the mean of F(M).
    """

    faithfulness: Measurement
    distance: float

    @cached_property
    def is_faithful(self) -> bool:
        """Whether the interval of F(C) / F(M) lies where it has to."""
        interval = interval_of(self.faithfulness)
        return BAND[0] <= interval.low and interval.high <= BAND[1]


def fit_of(experiment: Experiment, alone: Tensor) -> Fit:
    """Returns how well a circuit fits the model.

    Args:
        experiment: checkpoint and data set.
        alone: F(C) of each prompt, ``(prompt,)``.
    """
    whole = experiment.logit_diffs()
    values, scale = tuple(map(float, alone)), tuple(map(float, whole))
    faithfulness = Measurement("faithfulness", "of model", values, experiment.data.sample, scale=scale)
    return Fit(faithfulness, float((alone - whole).abs().mean() / whole.mean()))


def nearer_by(faithfulness: Measurement, change: Measurement) -> Measurement:
    """Returns how much nearer a change brings F(C) to F(M), prompt by prompt.

    Args:
        faithfulness: with F(C) and F(M) of each prompt.
        change: of F(C), prompt by prompt.
    """
    triples = zip(faithfulness.values, faithfulness.scale, change.values, strict=True)
    return replace(
        change, values=tuple(abs(alone - whole) - abs(alone + moved - whole) for alone, whole, moved in triples)
    )
