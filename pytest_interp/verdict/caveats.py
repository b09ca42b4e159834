"""Caveats and notes of a supported verdict: what the number leaves open although it meets its bound."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite

from pytest_interp.common.quantities import QUANTITIES
from pytest_interp.errors import UsageError
from pytest_interp.heads import names_of
from pytest_interp.measurement import Measurement, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.intervals import interval_of

SATURATED = ("rank", "probability", "top_k", "kl")
"""Metrics that can stay the same while logits change."""


def require_meaning(measurement: Measurement, bound: Bound) -> None:
    """Refuses a bound that every possible value of the quantity meets.

    Args:
        measurement: its quantity and unit say which values are possible; its own value does not count.
        bound: the values that the claim accepts.

    Raises:
        UsageError: no value could refute the claim.
    """
    declared = QUANTITIES.get(measurement.quantity)
    low, high = (declared.low, declared.high) if declared else (-inf, inf)
    if measurement.unit == "share":
        low, high = 0, 1
    if measurement.context.extra.get("minus"):  # a difference of attention weights is between -1 and 1
        return
    if isfinite(low) and bound.low <= low and bound.high >= high and not bound.strict:
        raise UsageError(
            f"{measurement.quantity}: every {measurement.unit} is {bound.text}; pass a bound that can be missed"
        )


def caveats_of(measurement: Measurement, bound: Bound) -> list[str]:
    """Why a supported verdict may mean less than it seems to, a sentence each, by the measured values themselves."""
    caveats = []
    what, n = measurement.context.observation, len(measurement.values)
    if (different := len(set(measurement.labels))) < n:
        caveats.append(f"{n} {what}s, of which {different} different: the others are repeated")
    values = measurement.linear_values
    above, below = sum(value > bound.high for value in values), sum(value < bound.low for value in values)
    opposite = 2 * (above + below) > n or 8 * min(above, below) >= n
    if isfinite(bound.low) and isfinite(bound.high) and measurement.unit != "share" and opposite:
        caveats.append(f"on average only: of {n} single {what}s {above} lie above and {below} below the band")
    if _gives_the_run_back(measurement):
        caveats.append(
            "the patch gives the other run back on every prompt: by construction, where all that differs is put in"
        )
    shared = {kv: heads for kv, heads in measurement.context.kv_heads.items() if len(heads) > 1}
    caveats += [f"keys and values are shared: {kv} is read by {names_of(heads)}" for kv, heads in shared.items()]
    return caveats


def notes_of(measurement: Measurement, bound: Bound) -> list[str]:
    """What a supported verdict on this quantity leaves open, a sentence each, whatever the values are."""
    quantity, context = measurement.quantity, measurement.context
    declared = QUANTITIES.get(quantity)
    notes = [declared.leaves_open] if declared and declared.leaves_open else []
    if quantity in ("completeness", "minimality") and not context.knocked_out:
        notes.append("K is empty: what the rest of the circuit stands in for does not show")
    metric = context.metric or ""
    if (
        declared
        and declared.hidden
        and isfinite(bound.low)
        and isfinite(bound.high)
        and bound.accepts(measurement.no_effect)
    ):
        notes.append("no effect of its own: others may stand in for it; knock them out too")
        if metric.startswith(SATURATED):
            notes.append(f"{metric} may stay where logits change: claim the logit difference too")
    return notes


AGREE = 0.1
"""The difference of faithfulness up to which two ablations agree."""


def disagreement(mean: Measurement, resampled: Measurement, corruption: str) -> str | None:
    """Says that two ablations give a circuit another faithfulness; None where they agree, or nothing is sure.

    Args:
        mean: F(C) / F(M) with the mean over the reference outside of the circuit.
        resampled: the same with z of a corrupted run, on the same prompts.
        corruption: that run.
    """
    values = tuple(first - second for first, second in zip(mean.values, resampled.values, strict=True))
    difference = replace(mean, values=values)
    interval = interval_of(difference)
    if abs(difference.value) <= AGREE or interval.low <= 0 <= interval.high:
        return None
    return (
        f"two ablations do not agree: with the mean outside of the circuit it keeps {quote(mean.value)}, with z of "
        f"{corruption} {quote(resampled.value)}; the difference is {quote(difference.value)} [{quote(interval.low)}, "
        f"{quote(interval.high)}]"
    )


def _gives_the_run_back(measurement: Measurement) -> bool:
    """Whether the patched run of every prompt equals the run that was put in, within float noise."""
    if measurement.unit != "recovered" or not measurement.quantity.endswith("patch_effect"):
        return False
    whole_effect = 1 - measurement.no_effect
    noise = measurement.tolerance * abs(sum(measurement.scale) / len(measurement.scale))
    pairs = zip(measurement.values, measurement.scale, strict=True)
    return all(abs(value - whole_effect * scale) <= noise for value, scale in pairs)


def chance_caveat(label: str, bound: Bound, chance: float) -> tuple[str, ...]:
    """The caveat that guessing meets a bound; empty where it does not.

    Args:
        label: what the chance value is, in words.
        bound: the values that the claim accepts.
        chance: the value that guessing gives, in the bound's unit.
    """
    return (f"chance meets the bound: {label} is {quote(chance)}",) if bound.accepts(chance) else ()
