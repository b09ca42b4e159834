"""A measurement from one float for each prompt of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_interp.measurement import Json, Measurement

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment


def ratio_noise(experiment: Experiment, scale: Tensor) -> float:
    """How far float noise may move a ratio of logit differences; 1 or more where the denominator itself is noise."""
    return experiment.noise / max(abs(float(scale.mean())), 1e-30)


def per_prompt(
    experiment: Experiment,
    quantity: str,
    values: Tensor,
    *,
    unit: str = "logits",
    scale: Tensor | None = None,
    tolerance: float | None = None,
    about: Mapping[str, Json] | None = None,
) -> Measurement:
    """Labels, templates and population come from the data set, the tolerance from the dtype."""
    data = experiment.data
    return Measurement(
        quantity=quantity,
        unit=unit,
        values=tuple(values.tolist()),
        labels=tuple(f"{prompt.text} ->{prompt.answer}" for prompt in data.clean.prompts),
        clusters=tuple(prompt.template for prompt in data.clean.prompts),
        population=data.population,
        names=tuple((prompt.answer.strip(), prompt.distractor.strip()) for prompt in data.clean.prompts),
        scale=() if scale is None else tuple(scale.tolist()),
        tolerance=experiment.noise if tolerance is None else tolerance,
        about=experiment.about(**(about or {})),
    )
