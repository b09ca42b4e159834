"""Assertions about a task as a whole, and about a user's own numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from pytest_interp.assertions.question import (
    BoundArgs,
    Controls,
    Demands,
    HeadSet,
    Question,
    SetBoundArgs,
    answer,
    beside_controls,
    bias_text,
    conclude,
    named_heads,
    where,
)
from pytest_interp.assertions.question import (
    control as control_of,
)
from pytest_interp.checkpoints.access import in_one_state
from pytest_interp.common.arguments import checked
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head, HeadLike, names_of, optional_heads
from pytest_interp.measurement import Measurement, Population
from pytest_interp.text import shown
from pytest_interp.verdict.caveats import chance_caveat
from pytest_interp.verdict.judge import Verdict, judge

if TYPE_CHECKING:
    from pytest_interp.checkpoints.value_bias import ValueBias
    from pytest_interp.engine import Experiment
    from pytest_interp.engine.patch import Ablation


@checked
@in_one_state
def assert_logit_diff(
    experiment: Experiment,
    *,
    run: str = "clean",
    without: HeadLike | Iterable[HeadLike] = (),
    ablation: Ablation = "mean",
    value_bias: ValueBias = "kept",
    controls: Controls = 0,
    **bound: Unpack[SetBoundArgs],
) -> Verdict:
    """Asserts the mean logit difference, logit(answer) - logit(distractor) at END.

    Where several heads are knocked out the verdict says what each of them changes.

    Args:
        experiment: checkpoint and data set; ``ioi.where(order="ABBA")`` for one order of names.
        run: ``clean`` or a corruption.
        without: heads that are knocked out at END; none by default.
        ablation: ``mean`` over ABC prompts of the same template, or ``zero``.
        value_bias: what ``zero`` leaves: with ``kept`` the heads' value biases stay, with ``removed`` they go too.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: in logits; ``members_at_least=`` and ``members_at_most=`` bound what each of several knocked-out heads
            changes.
    """
    __tracebackhide__ = True
    from pytest_interp.measure import ablation_effect, logit_diff

    demands = Demands.of(bound, of_set=True)
    without = named_heads(without, demands) if optional_heads(without) else ()

    def measure(on: Experiment, _: tuple[Head, ...]) -> Measurement:
        return logit_diff(on, run=run, without=without, ablation=ablation, value_bias=value_bias)

    less = f" without {names_of(without)} ({ablation}{bias_text(value_bias, 'kept')})" if without else ""
    subject = f"logit difference{less} on {where(experiment)}"

    def change(heads: tuple[Head, ...]) -> Measurement:
        return ablation_effect(experiment, heads, ablation=ablation, value_bias=value_bias)

    question = Question(experiment, measure, demands, subject, sets=(HeadSet(without, change, "knocked-out"),))
    return answer(question, controls)


@checked
@in_one_state
def assert_accuracy(
    experiment: Experiment, *, run: str = "clean", controls: Controls = 0, **bound: Unpack[BoundArgs]
) -> Verdict:
    """Asserts the share of prompts on which the answer's logit is above the distractor's.

    Args:
        experiment: checkpoint and data set.
        run: ``clean`` or a corruption.
        controls: by kind: ``{"other_names": 1, "random_model": 1}``; none by default.
        **bound: a share in [0, 1].
    """
    __tracebackhide__ = True
    from pytest_interp.measure import accuracy

    demands = Demands.of(bound)
    subject = f"share right on {where(experiment)}"
    caveats = chance_caveat("the share of right guesses between two", demands.bound, 0.5)
    question = Question(experiment, lambda on, _: accuracy(on, run=run), demands, subject, caveats=caveats)
    return answer(question, controls)


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
    """
    __tracebackhide__ = True
    demands = Demands.of(bound)
    if isinstance(values, Measurement):
        on = ", ".join(str(values.about[key]) for key in ("checkpoint", "data") if key in values.about)
        return _own(values, control, demands, f"{values.quantity} on {on}" if on else values.quantity)
    if not unit.strip() or not name.strip():
        raise UsageError(
            "numbers of your own need a unit and a name: pass unit='logits', unit='share' ..., name='probe'"
        )
    numbers = _floats(values, "values")
    rows = [f"value {i}" for i in range(len(numbers))]
    measurement = Measurement(
        quantity=name,
        unit=unit,
        values=numbers,
        labels=tuple(labels) if labels is not None else tuple(rows),
        clusters=tuple(clusters) if clusters is not None else tuple(rows),
        population=population,
        tolerance=tolerance,
        about={"n": len(numbers)},
    )
    return _own(measurement, control, demands, name)


def _own(measurement: Measurement, control: Iterable[float] | None, demands: Demands, subject: str) -> Verdict:
    """The verdict on a user's own numbers, beside the same quantity where the claim should not hold."""
    __tracebackhide__ = True
    verdict = judge(measurement, demands.bound)
    if control is None and demands.controls is not None:
        raise UsageError("controls_at_least= and controls_at_most= speak of a control; pass control=[...]")
    if control is not None:
        other = _floats(control, "control")
        paired = len(other) == len(measurement.values)
        labels = measurement.labels if paired else tuple(f"control {i}" for i in range(len(other)))
        clusters = measurement.clusters if paired else labels
        population = measurement.population if len(set(clusters)) > 1 else "fixed"
        beside = replace(
            measurement, values=other, labels=labels, clusters=clusters, names=(), scale=(), population=population
        )
        check = control_of("control", lambda: beside, "own", measurement, demands.bound)
        verdict = beside_controls(verdict, [check], demands.controls)
    return conclude(verdict, subject)


_HUGE = 1e300
"""Whole numbers beyond it are no float."""


def _floats(values: Iterable[float], what: str) -> tuple[float, ...]:
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
    if strange := [number for number in numbers if not isinstance(number, int | float) or abs(number) > _HUGE]:
        raise UsageError(
            f"{what} must be one-dimensional: one number for each prompt; got {type(values).__name__} with "
            f"{shown(strange[0])}"
        )
    if not numbers:
        raise UsageError(f"{what} is empty; pass one number for each prompt")
    return tuple(float(number) for number in numbers)
