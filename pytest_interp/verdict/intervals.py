"""Confidence intervals of a mean over prompts, where prompts that share a template or a name are correlated.

The interval is made in four steps.

1. Residuals. Each prompt has its value minus the mean; a ratio of means is linearised first (``sampling_errors``).
2. A variance for each factor. A factor puts prompts into clusters: templates, and each kind of name. Residuals are
   summed within each cluster, and the variance of the mean follows from the squares of these sums. It is the
   bias-reduced estimate CR2, with the degrees of freedom of Bell and McCaffrey (2002, Survey Methodology 28). Where all
   prompts ask between the same two words, these are no factor: the claim is about them.
3. One variance for all factors, by inclusion and exclusion (Cameron, Gelbach and Miller 2011, Journal of Business &
   Economic Statistics 29): with two factors it is V(template) + V(name) - V(template and name). It is used only where
   it exceeds the variance over templates alone.
4. The interval. A mean has a t interval. A share has the exact binomial interval for the effective number of prompts
   (Korn and Graubard 1998, Survey Methodology 24).
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
"""The number of each prompt's cluster; clusters are numbered in the order in which they first occur."""


@dataclass(frozen=True)
class Interval:
    """A two-sided interval of a mean, a share or a ratio of means.

    Attributes:
        low: the lower end, in the unit of the measurement.
        high: the upper end.
        method: how it was computed, as messages show it.
        clusters: the number of templates.
        level: confidence, between 0 and 1.
        widening: its width divided by that of the interval over templates alone; 1 where names do not widen it.
    """

    low: float
    high: float
    method: str
    clusters: int
    level: float = 0.95
    widening: float = 1.0


@dataclass(frozen=True)
class SamplingError:
    """The standard error of a mean over prompts.

    Attributes:
        standard_error: in the unit of the measurement.
        degrees_of_freedom: of that estimate.
        factors: whose clusters it counts: ``templates``, or ``templates and names``.
    """

    standard_error: float
    degrees_of_freedom: float
    factors: str


def interval_of(measurement: Measurement, level: float = 0.95) -> Interval:
    """The confidence interval of a measurement over templates, and over names where they widen it.

    A mean, and a ratio of means, has a t interval. A share has the exact binomial interval for the effective number of
    prompts, which is never narrower than the interval of independent prompts.

    Args:
        measurement: of a sampled population.
        level: confidence, between 0 and 1.

    Raises:
        UsageError: the prompts have one template only.
    """
    over_templates, *over_names = sampling_errors(measurement)
    error = over_names[0] if over_names else over_templates
    low, high = _ends(measurement, error, level)
    widening = 1.0
    if over_names:
        narrow_low, narrow_high = _ends(measurement, over_templates, level)
        widening = (high - low) / (narrow_high - narrow_low) if narrow_high > narrow_low else inf
    method = "exact binomial, design effect of" if measurement.unit == "share" else "t over"
    templates = len(set(measurement.clusters))
    return Interval(low, high, f"{method} {error.factors}", templates, level, widening)


def _ends(measurement: Measurement, error: SamplingError, level: float) -> tuple[float, float]:
    """The two ends of the interval that follows from a standard error."""
    center, t = measurement.value, quantile(error.degrees_of_freedom, level)
    if measurement.unit != "share":
        return center - t * error.standard_error, center + t * error.standard_error
    # The effective number of prompts: as many independent prompts as would have this standard error. The factor of
    # two t quantiles makes it smaller where there are few clusters.
    effective = float(n := len(measurement.values))
    if error.standard_error > 0:
        equally_uncertain = center * (1 - center) / error.standard_error**2
        effective = min(effective, equally_uncertain * (quantile(n - 1, level) / t) ** 2)
    return exact_interval(center * effective, effective, level)


def standard_error(measurement: Measurement) -> float:
    """The standard error of a measurement over templates, and over names where they widen it.

    Args:
        measurement: of a sampled population.

    Returns:
        The standard error of the mean, or of the ratio of means, in the unit of the measurement.

    Raises:
        UsageError: the prompts have one template only.
    """
    return sampling_errors(measurement)[-1].standard_error


def sampling_errors(measurement: Measurement) -> tuple[SamplingError, ...]:
    """The sampling error over templates and, where names widen it, a second one over templates and names.

    The residual of prompt i is ``value[i] - mean``. For a ratio of means ``r`` with the denominators ``scale`` it is
    ``(value[i] - r * scale[i]) / mean(scale)``, the first-order (delta) term, which lets numerator and denominator of a
    prompt vary together.

    The second error is given only where the variance over all factors exceeds that over templates. Inclusion and
    exclusion can give less than one factor alone, so its variance is at least that of each factor. Its degrees of
    freedom are those of the factor that has the fewest.

    Args:
        measurement: of a sampled population.

    Raises:
        UsageError: the prompts have one template only.
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
    over_templates = SamplingError(sqrt(variance), templates.degrees_of_freedom, "templates")
    combined = sum(sign * clusters.variance(residuals) for sign, clusters in design.terms)
    # Where names make the same clusters as templates, the two variances differ by rounding only.
    if combined <= variance * (1 + 1e-9):
        return (over_templates,)
    combined = max(combined, *(factor.variance(residuals) for factor in design.factors))
    fewest = min(factor.degrees_of_freedom for factor in design.factors)
    return over_templates, SamplingError(sqrt(combined), fewest, "templates and names")


def degrees_of_freedom(sizes: Collection[int]) -> float:
    """The Bell-McCaffrey degrees of freedom of a mean over clusters of these sizes.

    They are the number of clusters minus 1 where all clusters have one size, and fewer where sizes differ. The estimate
    matches the CR2 variance to a chi-square distribution (Satterthwaite) for prompts that are in truth independent with
    equal variance.

    Derivation: with n prompts, ``n_g`` of them in cluster g, the summand of g is ``a_g * (sum of its residuals)`` with
    ``a_g = (1 - n_g / n)^(-1/2)``. The summands have the covariance ``M[g, h] = a_g a_h (n_g [g = h] - n_g n_h / n)``.
    The degrees of freedom are ``trace(M)^2 / sum(M[g, h]^2)``. Here ``M[g, g] = n_g``, so the trace is n; and off the
    diagonal ``M[g, h]^2 = c_g c_h / n^2`` with ``c_g = n_g^2 / (1 - n_g / n)``.

    Args:
        sizes: the number of prompts in each cluster, at least 1 each.

    Returns:
        The degrees of freedom; 0 for a single cluster.

    Example:
        >>> degrees_of_freedom([4, 4, 4, 4])
        3.0
        >>> round(degrees_of_freedom([13, 1, 1, 1]), 2)
        1.32
    """
    if len(sizes) < 2:
        return 0.0
    n = sum(sizes)
    c = [size**2 / (1 - size / n) for size in sizes]
    diagonal = sum(size**2 for size in sizes)
    off_diagonal = (sum(c) ** 2 - sum(term**2 for term in c)) / n**2
    return n**2 / (diagonal + off_diagonal)


@dataclass(frozen=True)
class _Clusters:
    """The clusters of one factor, and what the variance over them needs.

    Attributes:
        codes: the number of each prompt's cluster, shape ``(prompt,)``.
        weights: the factor ``1 / (n (n - n_g))`` of each cluster's squared sum of residuals, shape ``(cluster,)``: CR2
            for a mean.
        degrees_of_freedom: of that variance; 0 for one cluster.
    """

    codes: NDArray[np.intp]
    weights: NDArray[np.float64]
    degrees_of_freedom: float

    @classmethod
    def of(cls, codes: Codes) -> _Clusters:
        """The clusters that these codes describe."""
        sizes, n = list(Counter(codes).values()), len(codes)
        weights = [1 / (n * (n - size)) if size < n else inf for size in sizes]
        return cls(np.array(codes), np.array(weights), degrees_of_freedom(sizes))

    @property
    def count(self) -> int:
        """The number of clusters."""
        return len(self.weights)

    def variance(self, residuals: NDArray[np.float64]) -> float:
        """The CR2 variance of the mean of these residuals, shape ``(prompt,)``."""
        sums = np.bincount(self.codes, residuals)
        return float(self.weights @ (sums * sums))


@dataclass(frozen=True)
class _Design:
    """The clusters of a population.

    Attributes:
        factors: the clusters of each factor: templates first, then each kind of name that varies.
        terms: the variance over all factors as a sum: a signed count and the clusters whose variance it multiplies.
    """

    factors: tuple[_Clusters, ...]
    terms: tuple[tuple[int, _Clusters], ...]


@lru_cache(maxsize=64)
def _design(templates: tuple[str, ...], names: tuple[tuple[str, ...], ...]) -> _Design:
    """The design of a population; cached, since all cells of a sweep have the same one.

    Inclusion and exclusion: each set of factors adds the variance over the clusters of prompts that agree in all of its
    factors, with the sign + for sets of odd size and - for sets of even size. Sets that give equal clusters are merged.
    """
    # Two words that every prompt asks between, such as "is" and "are", are the question, not a sample of words.
    of_question = len(set(map(frozenset, names))) == 1
    kinds = [] if of_question else [kind for kind in zip(*names, strict=True) if len(set(kind)) > 1]
    factors = [templates, *kinds]
    counts: Counter[Codes] = Counter()
    for size in range(1, len(factors) + 1):
        for subset in combinations(factors, size):
            counts[_codes(tuple(zip(*subset, strict=True)))] += (-1) ** (size + 1)
    clusters = {codes: _Clusters.of(codes) for codes in {*counts, *map(_codes, factors)}}
    terms = tuple((count, clusters[codes]) for codes, count in counts.items() if count)
    return _Design(tuple(clusters[_codes(factor)] for factor in factors), terms)


def _codes(labels: Sequence[Hashable]) -> Codes:
    """The number of each prompt's cluster: prompts with equal labels share one."""
    numbers: dict[Hashable, int] = {}
    return tuple(numbers.setdefault(label, len(numbers)) for label in labels)


def without_names(measurement: Measurement) -> dict[str, list[int]]:
    """The rows of the prompts without a name, for each name.

    Names that stand in all prompts are left out, and names without which a ratio has no denominator.
    """
    rows_without: dict[str, list[int]] = {}
    for name in sorted({name for names in measurement.names for name in names}):
        rows = [i for i, names in enumerate(measurement.names) if name not in names]
        no_denominator = measurement.scale and not any(measurement.scale[i] for i in rows)
        if rows and not no_denominator:
            rows_without[name] = rows
    return rows_without


def quantile(df: float, level: float) -> float:
    """The half-width of a two-sided t interval, in standard errors.

    Args:
        df: degrees of freedom; with 0 the interval is unbounded.
        level: confidence, between 0 and 1.

    Example:
        >>> round(quantile(11, 0.95), 3)
        2.201
    """
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + level / 2)) if df > 0 else inf


def exact_interval(successes: float, n: float, level: float) -> tuple[float, float]:
    """The exact binomial interval of a share (Clopper and Pearson 1934, Biometrika 26).

    Args:
        successes: the number of prompts that are right, 0 to ``n``; fractions are allowed.
        n: the number of prompts, or the effective number.
        level: confidence, between 0 and 1.

    Example:
        >>> low, high = exact_interval(12, 12, 0.95)
        >>> round(low, 3), high
        (0.735, 1.0)
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if successes <= 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes >= n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


def ends_of(measurement: Measurement) -> tuple[float, float]:
    """The ends of the 95 % interval; the value twice for a fixed population, and for a sample of one template."""
    if measurement.population == "fixed" or len(set(measurement.clusters)) < 2:
        return measurement.value, measurement.value
    interval = interval_of(measurement)
    return interval.low, interval.high


def side_of_zero(measurement: Measurement) -> int:
    """1 where the interval lies above 0 by more than float noise, -1 where it lies below, else 0."""
    low, high = ends_of(measurement)
    return 1 if low > measurement.tolerance else -1 if high < -measurement.tolerance else 0
