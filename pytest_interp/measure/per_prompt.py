"""A measurement from one float for each prompt of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_interp.common.context import Context
from pytest_interp.errors import NotApplicable
from pytest_interp.measurement import Measurement, mean

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
    context: Context,
    *,
    unit: str = "logits",
    scale: Tensor | None = None,
    tolerance: float | None = None,
) -> Measurement:
    """Labels, templates and population come from the data set, the tolerance from the dtype."""
    return Measurement(
        quantity=quantity,
        unit=unit,
        values=tuple(values.tolist()),
        sample=experiment.data.sample,
        scale=() if scale is None else tuple(scale.tolist()),
        tolerance=experiment.noise if tolerance is None else tolerance,
        context=context,
    )


def on_prompts(measurement: Measurement, rows: Sequence[int]) -> Measurement:
    """The measurement on the prompts that an intervention can change; how many it cannot stands in ``left_out``.

    Raises:
        NotApplicable: of a sample it can change prompts of one template only.
    """
    left_out = len(measurement.values) - len(rows)
    if not left_out:
        return measurement
    rest = measurement.of_rows(rows)
    if measurement.population == "sampled" and len(set(rest.clusters)) < 2 <= len(set(measurement.clusters)):
        raise NotApplicable(
            f"{measurement.quantity}: the intervention can change prompts of one template only ({len(rows)} of "
            f"{len(measurement.values)} prompts), which says nothing of others"
        )
    # The noise of a ratio is that of a logit over its denominator, which is another one now.
    noise = rest.tolerance
    if rest.scale:
        noise *= abs(mean(measurement.scale)) / max(abs(mean(rest.scale)), 1e-30)
    return replace(rest, tolerance=noise, context=replace(measurement.context, left_out=left_out))


def effect_or_reason(measurement: Measurement, rows: Sequence[int]) -> Measurement | str:
    """The measurement on the prompts that an intervention can change, or why it is undefined."""
    try:
        return on_prompts(measurement, rows)
    except NotApplicable as reason:
        return str(reason)


def defined(effect: Measurement | str) -> Measurement:
    """The measured effect.

    Raises:
        NotApplicable: it is undefined, for the reason that stands in its place.
    """
    if isinstance(effect, str):
        raise NotApplicable(effect)
    return effect
