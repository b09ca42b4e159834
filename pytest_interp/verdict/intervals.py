"""Intervals of a measurement: how far its mean may be off, where prompts of one template, or with one name, are alike.

Templates and names are crossed factors of a prompt. A variance over the clusters of one factor is the bias-reduced one
(CR2) with the degrees of freedom of Bell and McCaffrey (2002, Survey Methodology 28), which are the number of clusters
less one where all are of one size. Several factors are put together by inclusion and exclusion (Cameron, Gelbach and
Miller 2011, Journal of Business & Economic Statistics 29). The interval of a share is an exact binomial one for the
effective number of prompts (Korn and Graubard 1998, Survey Methodology 24).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import inf, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pytest_interp.errors import UsageError
from pytest_interp.measurement import Measurement, mean

Codes: TypeAlias = tuple[int, ...]
"""The cluster of each prompt, clusters numbered in the order in which they first occur."""


@dataclass(frozen=True)
class Interval:
    """A two-sided interval of a mean or ratio.

    Attributes:
        low, high: its ends.
        method: how it was made, for a reader.
        clusters: the number of templates it rests on.
        level: confidence.
        widening: how many times as wide it is as the interval over templates alone; 1 where names do not widen it.
    """

    low: float
    high: float
    method: str
    clusters: int
    level: float = 0.95
    widening: float = 1.0


@dataclass(frozen=True)
class SamplingError:
    """How far a mean over other prompts may differ.

    Attributes:
        standard_error: of the mean, in its unit.
        degrees_of_freedom: of that estimate.
        factors: what was sampled: ``templates``, or ``templates and names``.
    """

    standard_error: float
    degrees_of_freedom: float
    factors: str


def interval_of(measurement: Measurement, level: float = 0.95) -> Interval:
    """The interval over templates, and over names where they widen it.

    Of a mean, or a ratio of means, it is a t interval. Of a share it is the exact binomial interval for the effective
    number of prompts, and so never narrower than that of independent prompts.

    Args:
        measurement: of a sampled population.
        level: confidence, between 0 and 1.

    Raises:
        UsageError: one template only.
    """
    alone, *widened = sampling_errors(measurement)
    error = widened[0] if widened else alone
    low, high = _ends(measurement, error, level)
    widening = 1.0
    if widened:
        narrow = _ends(measurement, alone, level)
        width = narrow[1] - narrow[0]
        widening = (high - low) / width if width > 0 else inf
    what = "exact binomial, design effect of" if measurement.unit == "share" else "t over"
    count = len(set(measurement.clusters))
    return Interval(low, high, f"{what} {error.factors}", count, level, widening)


def _ends(measurement: Measurement, error: SamplingError, level: float) -> tuple[float, float]:
    """The ends of the interval that follows from a standard error."""
    center, reach = measurement.value, quantile(error.degrees_of_freedom, level)
    if measurement.unit != "share":
        return center - reach * error.standard_error, center + reach * error.standard_error
    effective = float(n := len(measurement.values))
    if error.standard_error > 0:
        independent = center * (1 - center) / error.standard_error**2
        effective = min(effective, independent * (quantile(n - 1, level) / reach) ** 2)
    return exact_interval(center * effective, effective, level)


def standard_error(measurement: Measurement) -> float:
    """The standard error of the mean (or ratio of means) over templates, and over names where they widen it.

    Raises:
        UsageError: one template only.
    """
    return sampling_errors(measurement)[-1].standard_error


def sampling_errors(measurement: Measurement) -> tuple[SamplingError, ...]:
    """The sampling error over templates alone and, where names widen it, the one over templates and names.

    A ratio ``r`` of means has the residuals ``(numerator - r * denominator) / mean denominator``, so that numerator and
    denominator of a prompt vary together. Where the sum over several factors is above that over templates, the variance
    is at least that over any one factor, and has the degrees of freedom of the factor that has the fewest.

    Raises:
        UsageError: one template only.
    """
    design = _design(tuple(measurement.clusters), tuple(map(tuple, measurement.names)))
    templates = design.factors[0]
    if templates.count < 2:
        raise UsageError(
            f"{measurement.quantity}: a sampled population needs prompts of at least 2 templates for an interval, "
            f"got {templates.count}; draw more prompts, or call the population fixed"
        )
    center, residuals = measurement.value, np.asarray(measurement.values)
    if measurement.scale:
        residuals = (residuals - center * np.asarray(measurement.scale)) / mean(measurement.scale)
    else:
        residuals = residuals - center
    variance = templates.variance(residuals)
    alone = SamplingError(sqrt(variance), templates.degrees_of_freedom, "templates")
    total = sum(sign * clusters.variance(residuals) for sign, clusters in design.terms)
    # The same clusters under two names give the same variance but for rounding.
    if total <= variance * (1 + 1e-9):
        return (alone,)
    total = max(total, *(factor.variance(residuals) for factor in design.factors))
    fewest = min(factor.degrees_of_freedom for factor in design.factors)
    return alone, SamplingError(sqrt(total), fewest, "templates and names")


def degrees_of_freedom(sizes: Collection[int]) -> float:
    """The Bell-McCaffrey degrees of freedom of a mean over clusters; where all are of one size, their number less one.

    Under the working model of independent prompts: ``trace(M)^2 / sum(M^2)`` with ``M[g, h] = a_g a_h (n_g [g = h] -
    n_g n_h / n)`` and ``a_g = (1 - n_g / n)^(-1/2)``, for clusters of ``n_g`` of the ``n`` prompts.

    Args:
        sizes: how many prompts each cluster has; of one cluster alone there are 0 degrees of freedom.
    """
    if len(sizes) < 2:
        return 0.0
    n = sum(sizes)
    crossed = [size**2 / (1 - size / n) for size in sizes]
    off_diagonal = sum(crossed) ** 2 - sum(term**2 for term in crossed)
    return n**2 / (sum(size**2 for size in sizes) + off_diagonal / n**2)


@dataclass(frozen=True)
class _Clusters:
    """Prompts in clusters.

    Attributes:
        codes: the cluster of each prompt, shape ``(prompt,)``.
        weights: what the square of a cluster's sum of residuals adds to the variance of the mean, shape ``(cluster,)``.
        degrees_of_freedom: of that variance; 0 for one cluster.
    """

    codes: NDArray[np.intp]
    weights: NDArray[np.float64]
    degrees_of_freedom: float

    @classmethod
    def of(cls, codes: Codes) -> _Clusters:
        """The clusters with these codes."""
        sizes, n = list(Counter(codes).values()), len(codes)
        weights = [1 / (n * (n - size)) if size < n else inf for size in sizes]
        return cls(np.array(codes), np.array(weights), degrees_of_freedom(sizes))

    @property
    def count(self) -> int:
        """The number of clusters."""
        return len(self.weights)

    def variance(self, residuals: NDArray[np.float64]) -> float:
        """The CR2 variance of the mean."""
        sums = np.bincount(self.codes, residuals)
        return float(self.weights @ (sums * sums))


@dataclass(frozen=True)
class _Design:
    """Which prompts share what.

    Attributes:
        factors: templates first, then the kinds of names that vary.
        terms: what the variance over all factors is a sum of: how often each counts, and its clusters.
    """

    factors: tuple[_Clusters, ...]
    terms: tuple[tuple[int, _Clusters], ...]


@lru_cache(maxsize=64)
def _design(templates: tuple[str, ...], names: tuple[tuple[str, ...], ...]) -> _Design:
    """The design of a population: a sweep has one for all of its cells."""
    kinds = [kind for kind in zip(*names, strict=True) if len(set(kind)) > 1]
    factors = [templates, *kinds]
    counts: Counter[Codes] = Counter()
    for size in range(1, len(factors) + 1):
        for chosen in combinations(factors, size):
            counts[_codes(tuple(zip(*chosen, strict=True)))] += (-1) ** (size + 1)
    clusters = {codes: _Clusters.of(codes) for codes in {*counts, *map(_codes, factors)}}
    terms = tuple((count, clusters[codes]) for codes, count in counts.items() if count)
    return _Design(tuple(clusters[_codes(factor)] for factor in factors), terms)


def _codes(labels: Sequence[Hashable]) -> Codes:
    """The cluster of each prompt, by its label."""
    numbers: dict[Hashable, int] = {}
    return tuple(numbers.setdefault(label, len(numbers)) for label in labels)


def without_names(measurement: Measurement) -> dict[str, list[int]]:
    """For each name the rows of the prompts that do not have it; names in every prompt are left out."""
    kept: dict[str, list[int]] = {}
    for name in sorted({name for names in measurement.names for name in names}):
        rows = [i for i, names in enumerate(measurement.names) if name not in names]
        if rows and not (measurement.scale and not any(measurement.scale[i] for i in rows)):
            kept[name] = rows
    return kept


def quantile(df: float, level: float) -> float:
    """How many standard errors a two-sided t interval reaches to either side."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + level / 2)) if df > 0 else inf


def exact_interval(successes: float, n: float, level: float) -> tuple[float, float]:
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
