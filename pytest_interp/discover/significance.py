"""Which of many paired effects lie off 0, corrected for how many there are (Holm 1979)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from pytest_interp.measurement import Measurement
from pytest_interp.verdict.intervals import interval_of, sampling_errors

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_interp.engine import Experiment

ERROR_RATE = 0.05
"""The chance that any of the effects that are called significant is 0 in truth."""

K = TypeVar("K", bound=Hashable)


def effect_of(experiment: Experiment, values: Tensor | Sequence[float], rows: Sequence[int] = ()) -> Measurement:
    """Returns an effect on the logit difference, prompt by prompt.

    Args:
        experiment: on whose prompts it was measured.
        values: logits, shape ``(prompt,)``.
        rows: the prompts that count; all of them where there are none.
    """
    numbers = tuple(float(value) for value in values)
    effect = Measurement("effect", "logits", numbers, experiment.data.sample, tolerance=experiment.noise)
    return effect.of_rows(rows) if rows else effect


def significant(effects: Mapping[K, Measurement], family: int = 0) -> frozenset[K]:
    """Returns the effects whose intervals lie off 0, by Holm's method.

    The effects are sorted by their size over their standard error. The interval of the first has the level
    ``1 - 0.05 / m``, that of the second ``1 - 0.05 / (m - 1)``, and so on; the first that contains 0 ends the row.

    Args:
        effects: paired differences over prompts; an effect of float noise is none.
        family: m, how many there are in all, where estimates chose those that were measured.
    """
    ratios = {key: _ratio(effect) for key, effect in effects.items() if abs(effect.value) > effect.tolerance}
    passed: set[K] = set()
    count = max(family, len(effects))
    for number, key in enumerate(sorted(ratios, key=lambda key: -ratios[key])):
        interval = interval_of(effects[key], 1 - ERROR_RATE / max(1, count - number))
        if interval.low <= 0 <= interval.high:
            break
        passed.add(key)
    return frozenset(passed)


def _ratio(effect: Measurement) -> float:
    """The size of an effect over its standard error."""
    error = sampling_errors(effect)[-1].standard_error
    return abs(effect.value) / error if error else float("inf")
