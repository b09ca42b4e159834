"""Whether a model does a task at all: without that, a causal claim about the task means nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_interp.assertions.demands import POSITIVE
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import judge
from pytest_interp.verdict.recording import in_trial

if TYPE_CHECKING:
    from pytest_interp.engine import Experiment


def require_capability(experiment: Experiment) -> None:
    """Refuses a causal claim where the model does not do the task; a damaged model in a trial passes.

    Args:
        experiment: checkpoint and data set.

    Raises:
        NotApplicable: the mean logit difference is not surely above 0.
    """
    if in_trial():
        return
    from pytest_interp.measure import logit_diff

    measurement = logit_diff(experiment)
    if not certainly(measurement, POSITIVE):
        hints = "".join(f"; {note}" for note in other_bos(experiment, logit_diff, POSITIVE))
        raise NotApplicable(
            f"{experiment.checkpoint.name} does not do the task on {experiment.data.name}: "
            f"its mean logit difference is {quote(measurement.value)}, not surely above 0{hints}"
        )


def capability_caveat(experiment: Experiment) -> tuple[str, ...]:
    """The caveat of a claim without an intervention where the model does not do the task.

    Args:
        experiment: checkpoint and data set.

    Returns:
        One caveat; none where the model does the task, or in a trial.
    """
    if in_trial():
        return ()
    try:
        require_capability(experiment)
    except NotApplicable as gate:
        return (str(gate),)
    return ()


def other_bos(experiment: Experiment, measure: Callable[[Experiment], Measurement], bound: Bound) -> tuple[str, ...]:
    """The hint that the other BOS choice meets a bound that this one does not.

    Args:
        experiment: on which the bound is not met.
        measure: what is bounded.
        bound: the accepted region.

    Returns:
        One hint, with the option to pass; none where the other choice does not meet the bound either, or there is none.
    """
    data, checkpoint = experiment.data, experiment.checkpoint
    bos = not data.clean.bos
    if data.redraw is None or (bos and checkpoint.tokenizer.bos_token_id is None):
        return ()
    try:
        measurement = measure(replace(experiment, data=data.redraw(bos=bos)))
        if not certainly(measurement, bound):
            return ()
    except (NotApplicable, UsageError):
        return ()
    word, choice = ("with", "yes") if bos else ("without", "no")
    return (f"{word} BOS it is {quote(measurement.value)}, {bound.text}: pass --interp-bos {choice}",)


def certainly(measurement: Measurement, bound: Bound) -> bool:
    """Whether a measurement surely meets a bound.

    Args:
        measurement: of a fixed or a sampled population.
        bound: the accepted region.

    Returns:
        True where the verdict is supported.

    Raises:
        NotApplicable: the measurement is undefined.
    """
    return judge(measurement, bound).outcome == "supported"
