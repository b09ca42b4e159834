"""Intervals cover what they say, together if there are many; names are a factor of their own."""

import numpy as np
import pytest
from scipy import stats

from pytest_interp.measurement import Measurement
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.intervals import exact_interval, interval_of, quantile, standard_error, without_names
from pytest_interp.verdict.judge import judge, out_of_reach
from pytest_interp.verdict.robustness import judge_others, name_dependence

PER_TEMPLATE = 15


def measured(values, clusters=None, unit="logits", scale=(), names=(), population="sampled"):
    rows = [str(i) for i in range(len(values))]
    return Measurement(
        "q", unit, tuple(map(float, values)), tuple(rows), tuple(clusters or rows), population, tuple(scale), 0.0,
        names=tuple(names),
    )  # fmt: skip


def simulated(rng, templates, runs, mean=0.0):
    """Values of prompts by run and template: templates differ by 0.5, prompts of one by 1.6."""
    between = rng.normal(mean, 0.5, (runs, templates, 1))
    return between + rng.normal(0, 1.6, (runs, templates, PER_TEMPLATE))


def vectorised(values, level=0.95):
    """The ends of the intervals of many runs, as ``interval_of`` makes them one by one."""
    means = values.mean(-1)
    half = stats.t.ppf(0.5 + level / 2, means.shape[1] - 1) * means.std(1, ddof=1) / means.shape[1] ** 0.5
    return means.mean(1) - half, means.mean(1) + half


@pytest.mark.parametrize("templates", [15, 6])
def test_coverage_is_nominal_where_prompts_alone_cover_four_fifths(templates):
    """At the truth 0, of 20000 runs; the vectorised form is checked against the one that is used."""
    values = simulated(np.random.default_rng(0), templates, 20000)
    low, high = vectorised(values)
    clusters = [str(t) for t in range(templates) for _ in range(PER_TEMPLATE)]
    for run in range(20):
        interval = interval_of(measured(values[run].ravel(), clusters))
        assert (interval.low, interval.high) == pytest.approx((low[run], high[run]), abs=1e-9)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.95, abs=0.01)
    # A claim at its bound is supported by one side of that only.
    assert np.mean(low > 0) == pytest.approx(0.025, abs=0.01)
    flat = values.reshape(len(values), -1)
    half = stats.t.ppf(0.975, flat.shape[1] - 1) * flat.std(1, ddof=1) / flat.shape[1] ** 0.5
    assert np.mean(np.abs(flat.mean(1)) <= half) == pytest.approx(0.81, abs=0.015)


@pytest.mark.parametrize("templates", [15, 6])
def test_coverage_of_a_ratio(templates):
    """Numerator and denominator of a template vary together: 0.4 of about 4."""
    rng = np.random.default_rng(1)
    bottom = simulated(rng, templates, 4000, mean=4).mean(-1)
    top = 0.4 * bottom + simulated(rng, templates, 4000).mean(-1) * 0.5
    covered = 0
    for numerators, scale in zip(top, bottom, strict=True):
        interval = interval_of(measured(numerators, scale=scale))
        covered += interval.low <= 0.4 <= interval.high
    assert covered / len(top) == pytest.approx(0.95, abs=0.01)


def test_the_interval_of_a_ratio_agrees_with_a_jackknife():
    rng = np.random.default_rng(2)
    bottom = rng.normal(4, 0.5, 12)
    top = 0.4 * bottom + rng.normal(0, 0.3, 12)
    left_out = (top.sum() - top) / (bottom.sum() - bottom)
    jackknife = np.sqrt(11 / 12 * ((left_out - left_out.mean()) ** 2).sum())
    assert standard_error(measured(top, scale=bottom)) == pytest.approx(jackknife, rel=0.02)


def test_exact_shares_are_those_of_transformer_lens_and_scipy():
    from transformer_lens.utilities.statistics import success_rate_ci

    for successes, n in ((0, 6), (20, 20), (96, 104), (7, 30)):
        theirs = success_rate_ci([True] * successes + [False] * (n - successes))
        scipy = stats.binomtest(successes, n).proportion_ci(0.95, "exact")
        ours = exact_interval(successes, n, 0.95)
        assert ours == pytest.approx((theirs.ci_low, theirs.ci_high), abs=1e-9)
        assert ours == pytest.approx((scipy.low, scipy.high), abs=1e-9)


def test_quantiles_are_those_of_scipy():
    assert quantile(11, 0.95) == pytest.approx(stats.t.ppf(0.975, 11))
    assert quantile(0, 0.95) == float("inf")


def test_a_share_with_a_prompt_that_is_partly_wrong_is_no_surer():
    clusters = [str(i % 15) for i in range(96)]
    right, less = (interval_of(measured([1.0] * 95 + [last], clusters, unit="share")) for last in (1.0, 2 / 3))
    assert less.low < right.low
    assert less.high <= right.high == 1


# ---- many at once


def test_others_are_refuted_together_at_a_corrected_level():
    """Of 40 heads without effect, by chance alone: with Holm hardly ever one is called outside of its true value."""
    rng = np.random.default_rng(3)
    wrong, uncorrected = 0, 0
    for _ in range(200):
        cells = [measured(rng.normal(0, 1, 12)) for _ in range(20)]
        bound = Bound.of(at_least=0)  # the truth itself: refuting any of them is a mistake
        wrong += any(v.outcome == "refuted" for v in judge_others(cells, bound))
        uncorrected += any(judge(cell, bound).outcome == "refuted" for cell in cells)
    assert wrong / 200 <= 0.06
    assert uncorrected / 200 > 0.2


def test_holm_steps_down_until_one_is_not_refuted():
    clear, less, not_at_all = (measured(np.linspace(m - 0.2, m + 0.2, 12)) for m in (-9, -0.1, 0.05))
    verdicts = judge_others([not_at_all, clear, less], Bound.of(at_least=0))
    assert [v.outcome for v in verdicts] == ["inconclusive", "refuted", "refuted"]
    levels = [v.interval.level for v in verdicts]
    assert levels == pytest.approx([0.95, 1 - 0.05 / 3, 1 - 0.05 / 2])


def test_out_of_reach_is_said():
    twenty = measured([1.0] * 20, unit="share")
    note = judge(twenty, Bound.of(at_least=0.9)).notes[-1]
    assert note == "out of reach: with 20 prompts, all of them right, the 95 % interval begins at 0.832; take more"
    assert not out_of_reach(measured([1.0] * 96, unit="share"), Bound.of(at_least=0.9), 0.95)
    assert "none of them right" in out_of_reach(twenty, Bound.of(at_most=0.1), 0.95)
    assert "standard errors wide" in out_of_reach(measured([1.0, 2.0]), Bound.of(at_least=0), 1 - 0.05 / 270)
    assert not out_of_reach(measured([1.0] * 12), Bound.of(at_least=0), 1 - 0.05 / 270)


def test_no_effect_is_an_interval_inside_a_band_not_a_failure_to_reject():
    unsure, sure = measured([-3.0, 3.0] * 6), measured([-0.1, 0.1] * 6)
    assert judge(unsure, Bound.of(between=(-1, 1))).outcome == "inconclusive"
    assert judge(sure, Bound.of(between=(-1, 1))).outcome == "supported"


# ---- names


def test_a_verdict_that_rests_on_one_name_says_so():
    names = [("Mary", "John"), ("Paul", "Mary"), ("Anna", "Paul"), ("John", "Anna")] * 3
    values = [9.0 if "Mary" in pair else 0.1 * (i % 3 - 1) for i, pair in enumerate(names)]
    one = measured(values, clusters=[str(i // 4) for i in range(12)], names=names)
    verdict = judge(one, Bound.of(at_least=1))
    text, note = name_dependence(verdict)
    assert verdict.outcome == "supported"
    assert note == "the verdict rests on one name: without Mary it is refuted"
    assert text.endswith("leaving out any one of 4 names")
    left = one.of_rows(without_names(one)["Mary"])
    assert left.value == pytest.approx(sum(v for v, p in zip(values, names, strict=True) if "Mary" not in p) / 6)


def test_a_ratio_that_one_name_makes_is_said_to_be_undefined_without_it():
    names = [("Mary", "John"), ("Paul", "Mary"), ("Anna", "Paul"), ("John", "Anna")] * 3
    scale = [9.0 if "Mary" in pair else (-1) ** i * 0.01 for i, pair in enumerate(names)]
    values = [0.5 * x for x in scale]
    one = measured(values, clusters=[str(i // 4) for i in range(12)], names=names, scale=scale)
    verdict = judge(one, Bound.of(at_least=0.1))
    assert verdict.outcome == "supported"
    noisy = measured([v + 0.02 * (i % 3) for i, v in enumerate(values)], one.clusters, names=names, scale=scale)
    assert name_dependence(judge(noisy, Bound.of(at_least=0.1)))[1].endswith("without Mary it is undefined")


def test_without_names_or_where_it_is_fixed_nothing_is_said():
    assert name_dependence(judge(measured([1.0] * 9), Bound.of(at_least=0))) == ("", "")
    fixed = measured([1.0] * 3, names=[("a", "b"), ("b", "c"), ("c", "a")], population="fixed")
    assert name_dependence(judge(fixed, Bound.of(at_least=0))) == ("", "")
