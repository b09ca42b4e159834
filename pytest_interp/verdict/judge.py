"""From a measurement and a bound to a verdict: the bound grammar, intervals, outcomes.

A fixed population is decided by its value within numeric tolerance. A sampled one is decided by a two-sided
t interval over template means: supported if the interval lies inside the accepted region by more than float
noise, refuted if wholly outside, else inconclusive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf, isfinite
from typing import Any, Literal, TypeAlias

from pytest_interp.errors import NotApplicable
from pytest_interp.measurement import Measurement, mean, quote
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.intervals import Interval, exact_interval, interval_of, quantile

Outcome: TypeAlias = Literal["supported", "refuted", "inconclusive"]
MIN_CLUSTERS = 8


@dataclass(frozen=True)
class Control:
    """The same measurement where the claim should not hold: its label, its value or why there is none, its kind."""

    label: str
    value: float | None
    reason: str = ""
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.label} {self.reason or 'none' if self.value is None else quote(self.value)}"


@dataclass(frozen=True)
class Specificity:
    """Of which other heads the same is true, of how many."""

    true: tuple[str, ...]
    others: int

    def __str__(self) -> str:
        return f"also true of {len(self.true)} of {self.others} other heads"

    @property
    def unspecific(self) -> bool:
        """Whether it is true of most heads."""
        return 2 * len(self.true) > self.others


@dataclass(frozen=True)
class Verdict:
    """What was claimed, what was seen, and what follows.

    Attributes:
        outcome: supported, refuted or inconclusive.
        measurement: what was measured.
        bound: the accepted region.
        interval: for a sampled population.
        notes: what a reader must know, a sentence each.
        controls: the same measurement on other heads, other names, a random model.
        specific: of how many other heads the same is true; None where it was not looked at.
        details: further numbers of the same assertion, by name.
    """

    outcome: Outcome
    measurement: Measurement
    bound: Bound
    interval: Interval | None
    notes: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    specific: Specificity | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def margin(self) -> float:
        """How far the interval, or the value of a fixed population, lies inside the accepted region."""
        ends = (self.measurement.value,) if self.interval is None else (self.interval.low, self.interval.high)
        return min(self.bound.slack(end) for end in ends)


def judge(measurement: Measurement, bound: Bound, *, level: float = 0.95) -> Verdict:
    """The verdict of a bound on a measurement.

    Args:
        measurement: what was measured.
        bound: the accepted region.
        level: confidence of the interval; higher where a claim is one of a family.

    Raises:
        NotApplicable: a ratio whose denominator's interval contains 0.
        UsageError: a sampled population of one template.
    """
    # Of a share the tolerance says how much noise could flip; what counts against a claim counts against it.
    noise = 0.0 if measurement.unit == "share" else measurement.tolerance
    require_defined(measurement)
    if measurement.population == "fixed":
        accepted = bound.accepts(measurement.value, -noise if bound.strict else noise)
        return Verdict("supported" if accepted else "refuted", measurement, bound, None, (these_only(measurement),))
    interval = interval_of(measurement, level)
    notes = []
    if interval.clusters < MIN_CLUSTERS:
        notes.append(f"only {interval.clusters} templates: with fewer than {MIN_CLUSTERS} the interval is rough")
    if interval.low == interval.high:
        notes.append("all templates have the same mean: the interval has no width")
    if hopeless := out_of_reach(measurement, bound, level):
        notes.append(hopeless)
    if bound.accepts(interval.low, -noise) and bound.accepts(interval.high, -noise):
        return Verdict("supported", measurement, bound, interval, tuple(notes))
    if interval.high < bound.low or interval.low > bound.high:
        return Verdict("refuted", measurement, bound, interval, tuple(notes))
    if not hopeless:
        notes.append(_what_would_settle(measurement, bound, interval))
    return Verdict("inconclusive", measurement, bound, interval, tuple(notes))


def these_only(measurement: Measurement) -> str:
    """Of what the verdict of a fixed population is, and of nothing else: ``these 8 prompts only``."""
    what, cells = measurement.about.get("each", "prompt"), measurement.about.get("cells")
    count = cells if isinstance(cells, int) else len(measurement.values)
    return f"this {what} only" if count == 1 else f"these {count} {what}s only"


def require_defined(measurement: Measurement) -> None:
    """A ratio has a value only where its denominator is surely not 0.

    Raises:
        NotApplicable: it may be.
    """
    if not measurement.scale:
        return
    if measurement.tolerance >= 1 or mean(measurement.scale) == 0:
        raise NotApplicable(f"{measurement.quantity} is undefined: its denominator is within float noise of 0")
    if measurement.population == "fixed":
        return
    bottom = Measurement(
        "clean - corrupted", "logits", measurement.scale, measurement.labels, measurement.clusters, "sampled"
    )
    interval = interval_of(bottom)
    if interval.low <= 0 <= interval.high:
        raise NotApplicable(
            f"{measurement.quantity} is undefined: the interval of clean - corrupted contains 0 "
            f"({quote(interval.low)} to {quote(interval.high)} logits); the model does not tell the two runs apart"
        )


def _what_would_settle(measurement: Measurement, bound: Bound, interval: Interval) -> str:
    edges = [edge for edge in (bound.low, bound.high) if isfinite(edge)]
    margin = min(abs(measurement.value - edge) for edge in edges)
    half = (interval.high - interval.low) / 2
    if margin <= measurement.tolerance:
        return "the value lies on the bound: no number of prompts would settle it"
    needed = ceil(interval.clusters * (half / margin) ** 2) + 1
    per_template = max(1, round(len(measurement.values) / interval.clusters))
    return f"about {needed} templates ({needed * per_template} prompts) would settle it, if the value stays"


def out_of_reach(measurement: Measurement, bound: Bound, level: float) -> str:
    """Why no outcome of so few prompts could support the bound at this level; empty where one could."""
    n, clusters = len(measurement.values), len(set(measurement.clusters))
    percent = f"{100 * level:.4g} %"
    if measurement.unit == "share":
        low, high = exact_interval(n, n, level)[0], exact_interval(0, n, level)[1]
        if bound.low > low or bound.high < high:
            end = f"begins at {quote(low)}" if bound.low > low else f"ends at {quote(high)}"
            whole = "all" if bound.low > low else "none"
            return f"out of reach: with {n} prompts, {whole} of them right, the {percent} interval {end}; take more"
    elif (factor := quantile(clusters - 1, level)) > 20:
        return f"hardly in reach: with {clusters} templates the {percent} interval is {factor:.0f} standard errors wide"
    return ""


def worst(verdict: Verdict, count: int = 3) -> list[tuple[str, float]]:
    """The labels whose values speak most against the claim, with their values; a ratio's by its numerator's share."""
    measurement, bound = verdict.measurement, verdict.bound
    values: Sequence[float] = measurement.values
    if measurement.scale:
        bottom = mean(measurement.scale)
        values = [value / bottom for value in values]
    ranked = sorted(
        zip(measurement.labels, values, strict=True),
        key=lambda pair: (-bound.shortfall(pair[1]), pair[1] if bound.high == inf else -pair[1]),
    )
    return ranked[:count]
