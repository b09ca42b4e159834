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
    """A causal claim means something only where the model does the task at all; no gate for a damaged model."""
    if in_trial():
        return
    from pytest_interp.measure import logit_diff

    measurement = logit_diff(experiment)
    if not certainly(measurement, POSITIVE):
        told = "".join(f"; {note}" for note in other_bos(experiment, logit_diff, POSITIVE))
        raise NotApplicable(
            f"{experiment.checkpoint.name} does not do the task on {experiment.data.name}: "
            f"its mean logit difference is {quote(measurement.value)}, not surely above 0{told}"
        )


def capability_caveat(experiment: Experiment) -> tuple[str, ...]:
    """The caveat where nothing is intervened on and the model does not do the task; none where it does."""
    if in_trial():
        return ()
    try:
        require_capability(experiment)
    except NotApplicable as gate:
        return (str(gate),)
    return ()


def other_bos(experiment: Experiment, measure: Callable[[Experiment], Measurement], bound: Bound) -> tuple[str, ...]:
    """What to say where the other BOS choice meets a bound that this one does not; nothing where it does not either.

    Args:
        experiment: on which the bound is not met.
        measure: what is bounded.
        bound: the accepted region.
    """
    data, checkpoint = experiment.data, experiment.checkpoint
    bos = not data.clean.bos
    if data.redraw is None or (bos and checkpoint.tokenizer.bos_token_id is None):
        return ()
    try:
        turned = measure(replace(experiment, data=data.redraw(bos=bos)))
        if not certainly(turned, bound):
            return ()
    except (NotApplicable, UsageError):
        return ()
    word, choice = ("with", "yes") if bos else ("without", "no")
    return (f"{word} BOS it is {quote(turned.value)}, {bound.text}: pass --interp-bos {choice}",)


def certainly(measurement: Measurement, bound: Bound) -> bool:
    """Whether a measurement surely meets a bound."""
    return judge(measurement, bound).outcome == "supported"
