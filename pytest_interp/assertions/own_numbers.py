"""The assertion about a user's own numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from pytest_interp.assertions.answer import conclude
from pytest_interp.assertions.controls import control as control_of
from pytest_interp.assertions.demands import BoundArgs, Demands
from pytest_interp.assertions.evidence import beside_controls
from pytest_interp.common.arguments import checked
from pytest_interp.common.context import NO_CONTEXT
from pytest_interp.errors import UsageError
from pytest_interp.measurement import Measurement, Population, Sample
from pytest_interp.text import shown
from pytest_interp.verdict.judge import Verdict, judge

if TYPE_CHECKING:
    pass

_HUGE = 1e300
"""Whole numbers beyond it are no float."""


@checked
def assert_measurement(
    values: Measurement | Iterable[float],
    *,
    unit: str = "",
    name: str = "measurement",
    clusters: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    population: Population = "sampled",
    control: Iterable[float] | None = None,
    tolerance: float = 1e-6,
    **bound: Unpack[BoundArgs],
) -> Verdict:
    """Asserts a bound on a user's own numbers (a probe, an SAE latent, a steering direction), or on a measurement.

    Args:
        values: one number for each prompt (a list, an array or a one-dimensional tensor), or a ``Measurement``, such
            as a cell of a sweep, which brings unit, clusters, labels and population of its own.
        unit: what the numbers are measured in.
        name: what they measure; part of the snapshot's key.
        clusters: the template or source of each; values of one cluster are not independent. By default each
            value is its own cluster.
        labels: what each value belongs to.
        population: ``sampled`` (the mean with its interval decides) or ``fixed`` (the mean decides).
        control: the same quantity where the claim should not hold; shown by its mean.
        tolerance: how far float noise alone may move the mean.
        **bound: in ``unit``.

    Example:
        >>> from pytest_interp import assert_measurement
        >>> areas = [0.91, 0.87, 0.94, 0.9]  # under the ROC curve of a probe, on four sets of prompts
        >>> assert_measurement(areas, unit="AUC", name="probe", at_least=0.8).outcome
        'supported'
    """
    __tracebackhide__ = True
    demands = Demands.of(bound)
    if isinstance(values, Measurement):
        place = values.context.place
        return _own(values, control, demands, f"{values.quantity} on {place}" if place else values.quantity)
    if not unit.strip() or not name.strip():
        raise UsageError(
            "numbers of your own need a unit and a name: pass unit='logits', unit='share' ..., name='probe'"
        )
    numbers = _floats(values, "values")
    default_labels = [f"value {i}" for i in range(len(numbers))]
    measurement = Measurement(
        quantity=name,
        unit=unit,
        values=numbers,
        sample=Sample(
            labels=tuple(labels) if labels is not None else tuple(default_labels),
            clusters=tuple(clusters) if clusters is not None else tuple(default_labels),
            population=population,
        ),
        tolerance=tolerance,
        context=NO_CONTEXT.noting(n=len(numbers)),
    )
    return _own(measurement, control, demands, name)


def _own(measurement: Measurement, control: Iterable[float] | None, demands: Demands, subject: str) -> Verdict:
    """The verdict on a user's own numbers, beside the same quantity where the claim should not hold."""
    __tracebackhide__ = True
    verdict = judge(measurement, demands.bound)
    if control is None and demands.controls is not None:
        raise UsageError("controls_at_least= and controls_at_most= speak of a control; pass control=[...]")
    if control is not None:
        control_values = _floats(control, "control")
        paired = len(control_values) == len(measurement.values)
        labels = measurement.labels if paired else tuple(f"control {i}" for i in range(len(control_values)))
        clusters = measurement.clusters if paired else labels
        population = measurement.population if len(set(clusters)) > 1 else "fixed"
        control_measurement = replace(
            measurement, values=control_values, sample=Sample(labels, clusters, population), scale=()
        )
        check = control_of("control", lambda: control_measurement, "own", measurement, demands.bound)
        verdict = beside_controls(verdict, [check], demands.controls)
    return conclude(verdict, subject)


def _floats(values: Iterable[float], what: str) -> tuple[float, ...]:
    """The numbers of a list, an array or a one-dimensional tensor.

    Raises:
        UsageError: no numbers, another dimension, or a value that is no number.
    """
    numbers: Any = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(numbers, Iterable) and not isinstance(numbers, str | bytes | Mapping):
        numbers = list(numbers)
    if isinstance(numbers, list):
        numbers = [
            number.item() if hasattr(number, "item") and getattr(number, "ndim", 0) == 0 else number
            for number in numbers
        ]
    if not isinstance(numbers, list):
        raise UsageError(f"{what} must be one-dimensional: one number for each prompt; got {type(values).__name__}")
    if invalid := [number for number in numbers if not isinstance(number, int | float) or abs(number) > _HUGE]:
        raise UsageError(
            f"{what} must be one-dimensional: one number for each prompt; got {type(values).__name__} with "
            f"{shown(invalid[0])}"
        )
    if not numbers:
        raise UsageError(f"{what} is empty; pass one number for each prompt")
    return tuple(float(number) for number in numbers)
