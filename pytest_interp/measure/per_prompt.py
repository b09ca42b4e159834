"""A measurement from one float for each prompt of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_interp.common.context import Context
from pytest_interp.errors import NotApplicable
from pytest_interp.measurement import Measurement, mean
from pytest_interp.text import counted

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment


def ratio_noise(experiment: Experiment, scale: Tensor) -> float:
    """How far float noise may move a ratio of logit differences.

    Args:
        experiment: checkpoint and data set.
        scale: the denominator of each prompt, in logits.

    Returns:
        A bound on the error, above 0; 1 or more where the mean denominator itself is no more than noise.
    """
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
    """A measurement from one value for each prompt; labels, templates and population come from the data set.

    A label is the prompt of the run that was measured: a reader who tries it gets its value.

    Args:
        experiment: checkpoint and data set.
        quantity: its name, such as ``logit_diff``.
        values: one value for each prompt, in data-set order.
        context: what was measured on what.
        unit: of the values.
        scale: for a ratio of means, the denominator of each prompt.
        tolerance: how far float noise may move the mean; by default as far as it may move a logit on this checkpoint.

    Returns:
        The measurement.

    Raises:
        UsageError: values that are not finite, or of another number than the prompts.
    """
    return Measurement(
        quantity=quantity,
        unit=unit,
        values=tuple(values.tolist()),
        sample=experiment.data.samples[context.run or "clean"],
        scale=() if scale is None else tuple(scale.tolist()),
        tolerance=experiment.noise if tolerance is None else tolerance,
        context=context,
    )


def on_prompts(measurement: Measurement, rows: Sequence[int]) -> Measurement:
    """The measurement on the prompts that an intervention can change; how many it cannot stands in ``left_out``.

    Of a fixed population every prompt counts, with the effect 0 where nothing changes: its mean is over exactly these
    prompts, as that of a published figure. Which activations are equal depends on the precision.

    Args:
        measurement: of all prompts.
        rows: the prompts that the intervention can change, by row.

    Returns:
        The measurement of these prompts; its tolerance is that of the new denominator where it is a ratio.

    Raises:
        NotApplicable: the prompts are a sample, and the intervention can change those of one template only.
    """
    left_out = len(measurement.values) - len(rows)
    if not left_out:
        return measurement
    if measurement.population == "fixed":
        return replace(measurement, context=measurement.context.noting(unchanged=left_out))
    changed = measurement.of_rows(rows)
    if measurement.population == "sampled" and len(set(changed.clusters)) < 2 <= len(set(measurement.clusters)):
        raise NotApplicable(
            f"{measurement.quantity}: the intervention can change prompts of one template only ({len(rows)} of "
            f"{counted(len(measurement.values), 'prompt')}), which says nothing of others"
        )
    # The noise of a ratio is that of a logit over the mean denominator, which has changed.
    noise = changed.tolerance
    if changed.scale:
        noise *= abs(mean(measurement.scale)) / max(abs(mean(changed.scale)), 1e-30)
    return replace(changed, tolerance=noise, context=replace(measurement.context, left_out=left_out))


def effect_or_reason(measurement: Measurement, rows: Sequence[int]) -> Measurement | str:
    """The measurement on the prompts that an intervention can change, or why it is undefined.

    Args:
        measurement: of all prompts.
        rows: the prompts that the intervention can change, by row.

    Returns:
        As :func:`on_prompts`; the reason, for a reader, where that raises.
    """
    try:
        return on_prompts(measurement, rows)
    except NotApplicable as reason:
        return str(reason)


def defined(effect: Measurement | str) -> Measurement:
    """The measured effect.

    Args:
        effect: a measurement, or the reason why it is undefined.

    Returns:
        The measurement.

    Raises:
        NotApplicable: it is undefined, for the reason that stands in its place.
    """
    if isinstance(effect, str):
        raise NotApplicable(effect)
    return effect
