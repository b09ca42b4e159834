"""Judges a measurement by a bound.

The value of a fixed population decides, within numeric tolerance. For a sampled population the two-sided interval over
templates and names decides: the verdict is *supported* if the interval lies inside the bound by more than float noise,
*refuted* if it lies wholly outside, else *inconclusive*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, isfinite
from typing import Any, Literal, TypeAlias

from pytest_interp.common.arguments import checked
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measurement import Measurement, mean, quote
from pytest_interp.text import counted, line
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.caveats import caveats_of, require_meaning
from pytest_interp.verdict.evidence import Control, Member, Specificity
from pytest_interp.verdict.intervals import Interval, degrees_of_freedom, exact_interval, interval_of, quantile

Outcome: TypeAlias = Literal["supported", "refuted", "inconclusive"]
RANK: dict[Outcome, int] = {"refuted": 0, "inconclusive": 1, "supported": 2}
"""Outcomes from worst to best."""
MIN_CLUSTERS = 8
"""Templates below which an interval is called rough."""
MIN_CLUSTERS_OF_A_SHARE = 12
"""The same for a share, whose distribution over templates is further from normal."""
NOTICEABLE_WIDENING = 1.1
"""The widening by names from which on a note says so."""
KINDS_OF_NAMES = ("answer", "distractor")
"""What the names of a prompt are, in their order."""
HOPELESS = 1000
"""The largest multiple of the prompts that a verdict proposes."""
MAX_RATIO_NOISE = 0.25
"""The largest float noise of a ratio, and of a bound in half-widths, with which a verdict still means something."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of judging a measurement by a bound, with the evidence beside it.

    Attributes:
        outcome: supported, refuted or inconclusive.
        measurement: what was measured.
        bound: the values that the claim accepts.
        interval: the interval of a sampled population; None for a fixed one.
        notes: what a reader must know, a sentence each.
        caveats: why a supported verdict may mean less than it seems to, a sentence each.
        controls: the same measurement on other heads, other names, a random model.
        members: what each head of a claimed set adds; empty for single heads.
        specific: how many other heads meet the bound too; None where this was not measured.
        details: further numbers of the same assertion, by name.
    """

    outcome: Outcome
    measurement: Measurement
    bound: Bound
    interval: Interval | None
    notes: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    members: tuple[Member, ...] = ()
    specific: Specificity | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: the outcome, the measurement, its interval, and the bound."""
        measurement, ends = self.measurement, self.interval
        between = f" [{quote(ends.low)}, {quote(ends.high)}]" if ends else ""
        caveats = f"; caveats: {len(self.caveats)}" if self.caveats else ""
        value = f"{measurement.quantity} = {quote(measurement.value)}{between} {measurement.unit}"
        return (
            f"<Verdict {self.outcome}: {line(value)}, bound: {self.bound.text}, n = {len(measurement.values)}{caveats}>"
        )

    @property
    def margin(self) -> float:
        """The distance from the interval (or a fixed population's value) to the end of the bound; negative outside."""
        ends = (self.measurement.value,) if self.interval is None else (self.interval.low, self.interval.high)
        return min(self.bound.slack(end) for end in ends)


@checked
def judge(measurement: Measurement, bound: Bound, *, level: float = 0.95) -> Verdict:
    """The verdict on a measurement by a bound.

    Args:
        measurement: what was measured.
        bound: the values that the claim accepts, in the unit of the measurement.
        level: confidence of the interval, between 0 and 1; higher where a claim is one of a family.

    Returns:
        The verdict, with its notes and caveats; controls, members and details are added by assertions.

    Raises:
        NotApplicable: the interval of a ratio's denominator contains 0, or float noise is wide against the bound.
        UsageError: a sampled population of one template; a bound that every value of the unit meets.

    Example:
        >>> from pytest_interp import Measurement, Sample
        >>> prompts = Sample(("a", "b", "c"), ("1", "2", "3"), "fixed")
        >>> judge(Measurement("probe accuracy", "share", (1, 1, 0), prompts), Bound.of(at_least=0.5)).outcome
        'supported'
    """
    if not 0 < level < 1:
        raise UsageError(f"level is {level:g}; pass a number between 0 and 1, such as 0.95")
    noise = _noise(measurement)
    require_defined(measurement)
    require_resolution(measurement, bound)
    require_meaning(measurement, bound)
    caveats = tuple(caveats_of(measurement, bound))
    notes = []
    if left_out := measurement.context.left_out:
        total = left_out + len(measurement.values)
        notes.append(f"{left_out} of {counted(total, 'prompt')} left out: the intervention can change nothing there")
    if unchanged := measurement.context.extra.get("unchanged"):
        total = len(measurement.values)
        notes.append(
            f"the intervention can change nothing on {unchanged} of {counted(total, 'prompt')}, which count as 0"
        )
    if measurement.context.data is not None:
        notes += measurement.context.data.remarks
    if measurement.population == "fixed":
        accepted = bound.accepts(measurement.value, -noise if bound.strict else noise)
        notes.append(these_only(measurement))
        return Verdict("supported" if accepted else "refuted", measurement, bound, None, tuple(notes), caveats)
    interval = interval_of(measurement, level)
    notes += _about_the_interval(measurement, interval, noise)
    if hopeless := out_of_reach(measurement, bound, level):
        notes.append(hopeless)
    if bound.accepts(interval.low, -noise) and bound.accepts(interval.high, -noise):
        return Verdict("supported", measurement, bound, interval, tuple(notes), caveats)
    if interval.high < bound.low or interval.low > bound.high:
        return Verdict("refuted", measurement, bound, interval, tuple(notes), caveats)
    if not hopeless:
        notes.append(_what_would_settle(measurement, bound, interval))
    return Verdict("inconclusive", measurement, bound, interval, tuple(notes), caveats)


def _noise(measurement: Measurement) -> float:
    """By how much an interval must clear a bound, in the unit of the measurement.

    The tolerance of a share is the share of prompts that float noise could flip. Ties count against the claim already,
    so no further slack is asked for.
    """
    return 0.0 if measurement.unit == "share" else measurement.tolerance


def these_only(measurement: Measurement) -> str:
    """The population of a fixed verdict in words, such as ``these 8 prompts only``."""
    what, count = measurement.context.observation, len(measurement.values)
    return f"this {what} only" if count == 1 else f"these {count} {what}s only"


ABOVE_ZERO: Mapping[str, str] = {"self_repair": "what the heads write for the answer"}
"""Ratios whose denominator must be positive, with its name: a share of a loss needs a loss."""


def require_defined(measurement: Measurement) -> None:
    """Refuses a ratio whose denominator may be 0, and a share of a loss whose denominator may be negative.

    The denominator must differ from 0 by 4 times float noise. For a sampled population its interval must not contain 0.

    Args:
        measurement: passed unchanged if it is no ratio.

    Raises:
        NotApplicable: the ratio is undefined; the message shows the denominator.
    """
    above = measurement.quantity in ABOVE_ZERO
    if not measurement.scale:
        return
    if measurement.tolerance >= MAX_RATIO_NOISE or mean(measurement.scale) == 0:
        raise NotApplicable(
            f"{measurement.quantity} is undefined: its denominator, {quote(mean(measurement.scale))}, is within "
            f"{1 / MAX_RATIO_NOISE:g} times float noise of 0"
        )
    if measurement.population == "fixed":
        if above and mean(measurement.scale) < 0:
            raise NotApplicable(
                f"{measurement.quantity} is undefined: {ABOVE_ZERO[measurement.quantity]}, "
                f"{quote(mean(measurement.scale))} logits, is not above 0"
            )
        return
    bottom = Measurement("clean - corrupted", "logits", measurement.scale, measurement.sample)
    interval = interval_of(bottom)
    if above and interval.low <= 0:
        raise NotApplicable(
            f"{measurement.quantity} is undefined: {ABOVE_ZERO[measurement.quantity]}, "
            f"{quote(mean(measurement.scale))} logits ({quote(interval.low)} to {quote(interval.high)}), "
            "is not surely above 0"
        )
    if interval.low <= 0 <= interval.high:
        raise NotApplicable(
            f"{measurement.quantity} is undefined: the interval of clean - corrupted contains 0 "
            f"({quote(interval.low)} to {quote(interval.high)} logits); the model does not tell the two runs apart"
        )


def require_resolution(measurement: Measurement, bound: Bound) -> None:
    """Refuses a bound with two ends that float noise widens too much.

    A fixed value is accepted within its numeric tolerance of the bound. Where the tolerance is wide, as for a ratio
    with a small denominator or in half precision, ``near`` would accept almost any value.

    Args:
        measurement: what was measured.
        bound: the values that the claim accepts.

    Raises:
        NotApplicable: the tolerance is more than a quarter of the bound's half-width.
    """
    half_width = (bound.high - bound.low) / 2
    widened = measurement.population == "fixed" and measurement.unit != "share"
    if isfinite(half_width) and (widened or measurement.scale) and measurement.tolerance > MAX_RATIO_NOISE * half_width:
        raise NotApplicable(
            f"{measurement.quantity}: float noise may move it by {measurement.tolerance:.2g} here, which is more than "
            f"a quarter of what the bound allows to either side ({half_width:.2g}): any answer would be chance. Take a "
            "wider bound, a higher precision, or prompts with a larger denominator"
        )


def _about_the_interval(measurement: Measurement, interval: Interval, noise: float) -> list[str]:
    """What a reader must know about an interval, a sentence each."""
    notes = []
    if measurement.unit == "share" and interval.clusters < MIN_CLUSTERS_OF_A_SHARE:
        notes.append(
            f"few templates: with {interval.clusters}, fewer than {MIN_CLUSTERS_OF_A_SHARE}, the interval of a share "
            "is rough where templates differ much"
        )
    elif interval.clusters < MIN_CLUSTERS:
        notes.append(
            f"only {counted(interval.clusters, 'template')}: with fewer than {MIN_CLUSTERS} the interval is rough"
        )
    if interval.low == interval.high:
        notes.append("all templates have the same mean: the interval has no width")
    if interval.widening > NOTICEABLE_WIDENING and interval.high - interval.low > noise:
        times = f"{interval.widening:.1f} times" if isfinite(interval.widening) else "from no width"
        notes.append(f"names widen the interval {times}: prompts that share a name are alike")
    for kind, names in zip(KINDS_OF_NAMES, zip(*measurement.names, strict=True), strict=False):
        if names[0] and len(set(names)) == 1 < len(names):
            notes.append(f"all prompts have the same {kind}: nothing is said of others")
    return notes


def _what_would_settle(measurement: Measurement, bound: Bound, interval: Interval) -> str:
    """How many prompts would make the interval clear the bound, if the value stays: it shrinks with their root."""
    value = measurement.value
    edge = min((edge for edge in (bound.low, bound.high) if isfinite(edge)), key=lambda edge: abs(value - edge))
    margin = abs(value - edge) - _noise(measurement)  # the interval must clear the bound by float noise
    # An interval of a share is not symmetric: what counts is how far it reaches to the side of the bound.
    reach = value - interval.low if edge < value else interval.high - value
    if abs(value - edge) <= measurement.tolerance:
        return "the value lies within float noise of the bound: no number of prompts would settle it"
    times = (reach / margin) ** 2
    if times > HOPELESS:
        return f"more than {HOPELESS} times the prompts would not settle it, if the value stays"
    needed = ceil(interval.clusters * times) + 1
    per_template = max(1, round(len(measurement.values) / interval.clusters))
    names = f" and {times:.1f} times the names" if interval.widening > NOTICEABLE_WIDENING else ""
    size = f"{counted(needed, 'template')}{names} ({counted(needed * per_template, 'prompt')})"
    return f"about {size} would settle it, if the value stays"


def out_of_reach(measurement: Measurement, bound: Bound, level: float) -> str:
    """The reason why no result of so few prompts could support the bound; empty where some result could.

    Args:
        measurement: of a sampled population; only its design counts, not its values.
        bound: the values that the claim accepts.
        level: confidence of the interval, between 0 and 1.
    """
    n, clusters = len(measurement.values), Counter(measurement.clusters)
    percent = f"{100 * level:.4g} %"
    if measurement.unit == "share":
        low, high = exact_interval(n, n, level)[0], exact_interval(0, n, level)[1]
        if bound.low > low or bound.high < high:
            end = f"begins at {quote(low)}" if bound.low > low else f"ends at {quote(high)}"
            whole = "all" if bound.low > low else "none"
            size = f"{counted(n, 'prompt')}, {whole} of them right"
            return f"out of reach: with {size}, the {percent} interval {end}; take more"
    elif (factor := quantile(degrees_of_freedom(clusters.values()), level)) > 20:
        wide = f"the {percent} interval is {factor:.0f} standard errors wide"
        return f"hardly in reach: with {counted(len(clusters), 'template')} {wide}"
    return ""
