"""Measurements as they come out if the published value is true: drawn, not measured.

The value of a prompt is the published mean, plus how far this set of prompts differs from the source's, plus what the
prompt's template, answer and distractor and the prompt itself add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import beta

from pytest_interp.measurement import Measurement

SETS_VARY = 0.1
"""Seven published means of the logit difference lie between 2.81 and 3.79: their sd is a tenth of their mean."""


@dataclass(frozen=True)
class Truth:
    """The published mean of a quantity, and how far prompts and sets of prompts differ.

    Attributes:
        value: the mean over prompts, or a share of them, between 0 and 1.
        sd: standard deviation between prompts, in the unit of the quantity.
        template, answer, distractor: shares of the variance between prompts.
        sets_vary: standard deviation of the mean between sets of prompts, as a share of the mean.
        sets_sd: the same in the unit of the quantity, where the mean is near 0.
    """

    value: float
    sd: float = 0.0
    template: float = 0.0
    answer: float = 0.0
    distractor: float = 0.0
    sets_vary: float = SETS_VARY
    sets_sd: float = 0.0


def drawn(design: Measurement, truth: Truth, seed: int, scale: Truth | None = None) -> Measurement:
    """The measurement with drawn values.

    Args:
        design: the same measurement on any weights. Its prompts and unit count; its values tell it from others, so that
            the same measurement has the same draws.
        truth: the published mean and spread.
        seed: of the set of prompts. What differs between sets is the same for all quantities of one seed.
        scale: for a ratio, the truth of its denominator.
    """
    rng = np.random.default_rng([seed, crc32(repr((design.quantity, design.unit, design.values[:9])).encode())])
    shift = float(np.random.default_rng(seed).standard_normal())
    z = _standard_values(design, truth, rng)
    mean = truth.value * (1 + truth.sets_vary * shift) + truth.sets_sd * shift
    values = mean + truth.sd * z
    if design.unit == "share":
        threshold = float(ndtri(np.clip(truth.value, 1e-6, 1 - 1e-6)))
        values = (z + threshold + 2 * truth.sets_vary * shift > 0).astype(float)
    elif design.unit == "probability":
        low = -1.0 if min(design.values) < 0 else 0.0  # a difference of two probabilities
        values = low + (1 - low) * _bounded((mean - low) / (1 - low), truth.sd / (1 - low), z)
    if not scale:
        return replace(design, values=tuple(values.tolist()), scale=())
    denominators = scale.value * (1 + scale.sets_vary * shift) + scale.sd * _standard_values(design, scale, rng)
    numerators = mean * denominators + truth.sd * z * denominators.mean()
    return replace(design, values=tuple(numerators.tolist()), scale=tuple(denominators.tolist()), tolerance=1e-4)


def _standard_values(design: Measurement, truth: Truth, rng: np.random.Generator) -> NDArray[np.float64]:
    """Standard normal values of the prompts; those with a template or a name in common are correlated.

    A fixed population has all templates and names of the source alike, and the source's mean has what they add.
    """
    kinds: list[Sequence[Any]] = [design.clusters]
    shares = [truth.template]
    if design.names and len(design.names[0]) == 2:
        kinds += zip(*design.names, strict=True)
        shares += [truth.answer, truth.distractor]
    own = sqrt(max(1 - sum(shares), 0.0))
    z = own * rng.standard_normal(len(design.values))
    if design.population == "fixed":
        # A mean of bounded values depends on all of their variance.
        return z / own if design.unit in ("share", "probability") else z
    for kind, share in zip(kinds, shares, strict=True):
        codes = np.unique(np.asarray(kind), return_inverse=True)[1]
        z += sqrt(share) * rng.standard_normal(codes.max() + 1)[codes]
    return z


def _bounded(mean: float, sd: float, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values between 0 and 1 with this mean and standard deviation, of a beta distribution, in the order of z."""
    mean = float(np.clip(mean, 0.01, 0.99))
    size = max(mean * (1 - mean) / sd**2 - 1, 0.05)
    values: NDArray[np.float64] = beta.ppf(ndtr(z), mean * size, (1 - mean) * size)
    return values


def best(design: Measurement, low: float, high: float) -> Measurement:
    """The measurement if every prompt had the best value within a bound; its ends may be infinite."""
    middle = (low + high) / 2 if inf not in (-low, high) else (low + 1000 if high == inf else high - 1000)
    if design.unit in ("share", "probability"):
        middle = min(max(middle, 0.0), 1.0)
    n = len(design.values)
    return replace(design, values=(middle,) * n, scale=(1.0,) * n if design.scale else (), tolerance=1e-9)
