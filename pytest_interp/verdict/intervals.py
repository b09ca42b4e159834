"""Intervals of a measurement: how far its mean may be off, given that prompts of one template are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from pytest_interp.errors import UsageError
from pytest_interp.measurement import Measurement, mean


@dataclass(frozen=True)
class Interval:
    """A two-sided interval of a mean or ratio.

    Attributes:
        low, high: its ends.
        method: how it was made, for a reader.
        clusters: the number of templates it rests on.
        level: confidence.
    """

    low: float
    high: float
    method: str
    clusters: int
    level: float = 0.95


def interval_of(measurement: Measurement, level: float = 0.95) -> Interval:
    """The t interval over template means; for a ratio of means, over linearised template means.

    A ratio ``r`` of means has the template values ``r + (numerator - r * denominator) / mean denominator``, so that
    numerator and denominator of a template vary together. A share's interval is widened to the exact binomial one
    (Clopper-Pearson), since templates that are all right have no spread.

    Raises:
        UsageError: one template only.
    """
    count = len(set(measurement.clusters))
    center, half = measurement.value, quantile(count - 1, level) * standard_error(measurement)
    low, high, method = center - half, center + half, "t over template means"
    if measurement.unit == "share":
        exact = exact_interval(sum(measurement.values), len(measurement.values), level)
        low, high = max(0.0, min(low, exact[0])), min(1.0, max(high, exact[1]))
        method += ", at least the exact binomial interval"
    return Interval(low, high, method, count, level)


def standard_error(measurement: Measurement) -> float:
    """The standard error of the mean (or ratio of means) over templates.

    Raises:
        UsageError: one template only.
    """
    by_cluster: dict[str, list[int]] = {}
    for row, cluster in enumerate(measurement.clusters):
        by_cluster.setdefault(cluster, []).append(row)
    count = len(by_cluster)
    if count < 2:
        raise UsageError(
            f"{measurement.quantity}: a sampled population needs prompts of at least 2 templates for an interval, "
            f"got {count}; draw more prompts, or call the population fixed"
        )
    values: Sequence[float] = measurement.values
    center = measurement.value
    if measurement.scale:
        bottom = mean(measurement.scale)
        pairs = zip(values, measurement.scale, strict=True)
        values = [center + (top - center * scale) / bottom for top, scale in pairs]
    # The mean over prompts is a ratio too, of template sums to template sizes: with equal sizes these are the means.
    size = len(values) / count
    means = [center + sum(values[row] - center for row in rows) / size for rows in by_cluster.values()]
    middle = mean(means)
    return sqrt(sum((m - middle) ** 2 for m in means) / (count - 1) / count)


def without_names(measurement: Measurement) -> dict[str, list[int]]:
    """For each name the rows of the prompts that do not have it; names in every prompt are left out."""
    kept: dict[str, list[int]] = {}
    for name in sorted({name for names in measurement.names for name in names}):
        rows = [i for i, names in enumerate(measurement.names) if name not in names]
        if rows and not (measurement.scale and not any(measurement.scale[i] for i in rows)):
            kept[name] = rows
    return kept


def quantile(df: int, level: float) -> float:
    """How many standard errors a two-sided t interval reaches to either side."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + level / 2)) if df > 0 else inf


def exact_interval(successes: float, n: int, level: float) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share; a prompt that is partly right counts for its part."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if successes <= 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes >= n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


def ends_of(measurement: Measurement) -> tuple[float, float]:
    """The ends of a sampled population's interval; of a fixed one, or of one template, the value itself."""
    if measurement.population == "fixed" or len(set(measurement.clusters)) < 2:
        return measurement.value, measurement.value
    interval = interval_of(measurement)
    return interval.low, interval.high


def side_of_zero(measurement: Measurement) -> int:
    """1 or -1 where a value is surely above or below 0 by more than float noise, else 0."""
    low, high = ends_of(measurement)
    return 1 if low > measurement.tolerance else -1 if high < -measurement.tolerance else 0
