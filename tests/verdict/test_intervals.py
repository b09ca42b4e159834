"""Intervals have their nominal coverage, also for families of claims; templates and names are factors of a prompt."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy import stats

from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measurement import Measurement, Sample
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.intervals import (
    degrees_of_freedom,
    exact_interval,
    interval_of,
    quantile,
    sampling_errors,
    standard_error,
    without_names,
)
from pytest_interp.verdict.judge import judge, out_of_reach
from pytest_interp.verdict.robustness import judge_others, name_dependence

PER_TEMPLATE = 15


def measured(values, clusters=None, unit="logits", scale=(), names=(), population="sampled"):
    rows = [str(i) for i in range(len(values))]
    return Measurement(
        "q", unit, tuple(map(float, values)), Sample(tuple(rows), tuple(clusters or rows), population, tuple(names)),
        tuple(scale), 0.0,
    )  # fmt: skip


def with_names(measurement, names):
    """The measurement on prompts with other names."""
    return replace(measurement, sample=replace(measurement.sample, names=names))


def simulated(rng, templates, runs, mean=0.0):
    """Values of prompts by run and template; standard deviations are 0.5 for templates and 1.6 for prompts."""
    between = rng.normal(mean, 0.5, (runs, templates, 1))
    return between + rng.normal(0, 1.6, (runs, templates, PER_TEMPLATE))


def vectorised(values, level=0.95):
    """The ends of the intervals of many runs, by a vectorised form of ``interval_of``."""
    means = values.mean(-1)
    half = stats.t.ppf(0.5 + level / 2, means.shape[1] - 1) * means.std(1, ddof=1) / means.shape[1] ** 0.5
    return means.mean(1) - half, means.mean(1) + half


@pytest.mark.parametrize("templates", [15, 6])
def test_coverage_is_nominal_where_prompts_alone_cover_four_fifths(templates):
    """The true value is 0, in 20000 runs; the vectorised form is compared with ``interval_of``."""
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


# ---- how often verdicts are wrong, with the true value on the bound

DRAWS = 800
# Four percent, and three standard errors of as many draws.
WRONG = 4 + 3 * 100 * (0.04 * 0.96 / DRAWS) ** 0.5


@pytest.mark.parametrize(
    "words",
    [
        "mean | 10 of 2 and 2 of 48 |  | templates 1, prompts 1",
        "share 0.8 | 10 of 2 and 2 of 48 |  | templates 1",
        "share 0.8 | 6 of 16 |  | templates 1",
        "mean | 12 of 8 | 10 | templates 0.5, answers 1, distractors 1, prompts 1",
        "mean | 12 of 20 | 10, grid | templates 0.5, answers 1, distractors 1, prompts 1",
        "ratio 0.4 | 12 of 8 | 10 | templates 0.5, answers 1, distractors 1, prompts 1",
    ],
)
def test_verdicts_are_wrong_as_rarely_as_they_say(interval_error, words):
    """In each of these cases an interval over template means is wrong more often (docs/verdicts.md)."""
    population = next(sample for sample in interval_error.cases() if str(sample) == words)
    assert population.bounded
    errors = interval_error.errors_of(population, DRAWS)
    assert max(errors.at_least, errors.at_most) < WRONG < max(errors.at_least_before, errors.at_most_before)


def test_wrong_verdicts_are_those_that_judge_gives(interval_error):
    population = next(sample for sample in interval_error.cases() if sample.names == 10)
    runs = [sample for batch in interval_error.runs_of(population, 200) for sample in batch.measurements("logits")]
    wrong = [judge(sample, Bound.of(at_least=0)).outcome == "supported" for sample in runs]
    refuted = [judge(sample, Bound.of(at_least=0)).outcome == "refuted" for sample in runs]
    errors = interval_error.errors_of(population, 200)
    assert (100 * np.mean(wrong), 100 * np.mean(refuted)) == pytest.approx((errors.at_least, errors.at_most))


# ---- against computations by hand and by brute force


def brute_force(labels, residuals):
    """The CR2 variance of the mean and its degrees of freedom, from the matrices in Bell and McCaffrey (2002)."""
    n, ones = len(labels), np.ones(len(labels))
    hat = np.outer(ones, ones) / n
    columns, variance = [], 0.0
    for label in dict.fromkeys(labels):
        rows = np.array([other == label for other in labels])
        values, vectors = np.linalg.eigh((np.eye(n) - hat)[np.ix_(rows, rows)])
        root = vectors @ np.diag(values**-0.5) @ vectors.T
        weights = root @ ones[rows] / n
        variance += float(weights @ np.asarray(residuals)[rows]) ** 2
        columns.append((np.eye(n) - hat)[:, rows] @ weights)
    gram = np.array(columns) @ np.array(columns).T
    return variance, np.trace(gram) ** 2 / (gram**2).sum()


def test_templates_of_one_size_have_the_standard_error_of_their_means():
    rng = np.random.default_rng(4)
    values = rng.normal(0, 1, (12, 8))
    (error,) = sampling_errors(measured(values.ravel(), [str(t) for t in range(12) for _ in range(8)]))
    assert error.standard_error == pytest.approx(values.mean(1).std(ddof=1) / 12**0.5)
    assert error.degrees_of_freedom == pytest.approx(11)
    assert error.factors == "templates"


@pytest.mark.parametrize("sizes", [(3, 3), (8,) * 12, (1,) * 9])
def test_clusters_of_one_size_have_one_degree_of_freedom_less_than_clusters(sizes):
    assert degrees_of_freedom(sizes) == pytest.approx(len(sizes) - 1)


@pytest.mark.parametrize("sizes", [(1, 2), (4, 4, 4), (1, 5, 2, 9), (2,) * 10 + (48,) * 2])
def test_variance_and_degrees_of_freedom_agree_with_the_matrices(sizes):
    labels = [str(t) for t, size in enumerate(sizes) for _ in range(size)]
    values = np.random.default_rng(5).normal(1, 1, len(labels))
    variance, freedom = brute_force(labels, values - values.mean())
    (error,) = sampling_errors(measured(values, labels))
    assert error.standard_error == pytest.approx(variance**0.5)
    assert error.degrees_of_freedom == pytest.approx(freedom) == pytest.approx(degrees_of_freedom(sizes))


def test_one_cluster_has_no_degrees_of_freedom():
    assert degrees_of_freedom([7]) == 0


@pytest.mark.parametrize("seed", range(4))
def test_factors_are_put_together_by_inclusion_and_exclusion(seed):
    rng = np.random.default_rng(seed)
    names = [(f"a{rng.integers(4)}", f"b{rng.integers(5)}") for _ in range(40)]
    clusters = [str(rng.integers(6)) for _ in range(40)]
    values = rng.normal(0, 1, 40) + [2.0 * (pair[0] == "a0") + 2.0 * (pair[1] == "b0") for pair in names]
    factors = [clusters, *zip(*names, strict=True)]
    residuals = values - values.mean()
    total = sum(
        (-1) ** (size + 1) * brute_force(list(zip(*chosen, strict=True)), residuals)[0]
        for size in (1, 2, 3)
        for chosen in combinations(factors, size)
    )
    by_factor = [brute_force(list(factor), residuals) for factor in factors]
    over_templates, combined = sampling_errors(measured(values, clusters, names=names))
    assert over_templates.standard_error**2 == pytest.approx(by_factor[0][0])
    assert combined.standard_error**2 == pytest.approx(max(total, *(variance for variance, _ in by_factor)))
    assert combined.degrees_of_freedom == pytest.approx(min(freedom for _, freedom in by_factor))
    assert combined.factors == "templates and names"


def test_where_no_two_names_meet_twice_prompts_are_taken_off_twice():
    names = [(f"a{i % 5}", f"b{i // 5}") for i in range(25)]
    clusters = [str((i + i // 5) % 5) for i in range(25)]  # a Latin square: each pair of levels once
    firsts = [3.0 * ((a == "a0") + (b == "b0") + (t == "0")) for (a, b), t in zip(names, clusters, strict=True)]
    values = np.random.default_rng(6).normal(0, 1, 25) + firsts
    factors = [clusters, *zip(*names, strict=True), list(range(25))]
    templates, answers, distractors, prompts = (brute_force(list(f), values - values.mean())[0] for f in factors)
    _, both = sampling_errors(measured(values, clusters, names=names))
    assert both.standard_error**2 == pytest.approx(templates + answers + distractors - 2 * prompts)


def test_a_share_is_as_sure_as_that_many_independent_prompts():
    """The variance over templates and its t quantile give the effective number of prompts (Korn and Graubard)."""
    right = [8, 8, 7, 8, 5, 8, 8, 6, 8, 8, 7, 8]
    sample = measured(
        [float(i < k) for k in right for i in range(8)], [str(t) for t in range(12) for _ in range(8)], unit="share"
    )
    share = sum(right) / 96
    variance = np.var([k / 8 for k in right], ddof=1) / 12
    effective = share * (1 - share) / variance * (stats.t.ppf(0.975, 95) / stats.t.ppf(0.975, 11)) ** 2
    assert effective < 96
    interval = interval_of(sample)
    assert (interval.low, interval.high) == pytest.approx(exact_interval(share * effective, effective, 0.95))
    assert interval.method == "exact binomial, design effect of templates"
    assert interval.low < exact_interval(sum(right), 96, 0.95)[0]


# ---- many at once


def test_others_are_refuted_together_at_a_corrected_level():
    """Among 40 heads without effect, Holm's correction hardly ever refutes the true value of any."""
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


def test_two_words_that_all_prompts_ask_between_are_no_sample():
    """The two would be a factor of one degree of freedom, and no claim about is and are could be decided."""
    names = [("is", "are"), ("are", "is")] * 12
    values = [(3.0 if answer == "is" else 4.0) + 0.1 * (i % 5) for i, (answer, _) in enumerate(names)]
    measurement = measured(values, clusters=[str(i // 4) for i in range(24)])
    assert interval_of(with_names(measurement, tuple(names))) == interval_of(measurement)
    # A third word makes them words of a kind.
    others = with_names(measurement, (*names[:-1], ("was", "is")))
    assert interval_of(others).high - interval_of(others).low > 5


RING = list(pairwise(["Mary", "John", "Paul", "Anna", "Tom", "Lucy", "Mark", "Jane", "Mary"]))


def test_a_verdict_that_rests_on_one_name_says_so():
    values = [-2.0 if "Mary" in pair else 1 + 0.1 * (i % 3 - 1) for i, pair in enumerate(RING * 3)]
    measurement = measured(values, clusters=[str(i // 2) for i in range(24)], names=RING * 3)
    verdict = judge(measurement, Bound.of(at_least=0.5))
    text, note = name_dependence(verdict)
    assert verdict.outcome == "inconclusive"
    assert note == "the verdict rests on one of 8 names: without Mary it is supported"
    assert text.endswith("leaving out any one of 8 names")
    rest = measurement.of_rows(without_names(measurement)["Mary"])
    assert rest.value == pytest.approx(sum(v for v, p in zip(values, RING * 3, strict=True) if "Mary" not in p) / 18)


def test_a_ratio_that_is_undefined_without_one_name_says_so():
    scale = [1.5 if "Mary" in pair else 1 + 3 * (-1) ** (i // 8 + i) for i, pair in enumerate(RING * 3)]
    values = [0.5 * x + 0.02 * (i % 3) for i, x in enumerate(scale)]
    sample = measured(values, clusters=[str(i // 2) for i in range(24)], names=RING * 3, scale=scale)
    verdict = judge(sample, Bound.of(at_least=0.1))
    assert verdict.outcome == "supported"
    assert name_dependence(verdict)[1] == "the verdict rests on one of 8 names: without Tom it is undefined"


def test_without_names_or_where_it_is_fixed_nothing_is_said():
    assert name_dependence(judge(measured([1.0] * 9), Bound.of(at_least=0))) == ("", "")
    fixed = measured([1.0] * 3, names=[("a", "b"), ("b", "c"), ("c", "a")], population="fixed")
    assert name_dependence(judge(fixed, Bound.of(at_least=0))) == ("", "")


def test_names_that_widen_the_interval_are_said():
    """Of prompts in which one answer in four is worth 2 more, 8 of each of 12 templates."""
    rng = np.random.default_rng(7)
    names = [(f"answer {i % 4}", f"distractor {i}") for i in range(96)]
    values = rng.normal(3, 0.5, 96) + [2.0 * (i % 4 == 0) for i in range(96)]
    sample = measured(values, [str(i // 8) for i in range(96)], names=names)
    verdict = judge(sample, Bound.of(at_least=0))
    alone = interval_of(with_names(sample, ()))
    width = (verdict.interval.high - verdict.interval.low) / (alone.high - alone.low)
    assert verdict.interval.widening == pytest.approx(width)
    assert f"names widen the interval {width:.1f} times: prompts that share a name are alike" in verdict.notes
    assert verdict.interval.method == "t over templates and names"
    near = judge(sample, Bound.of(at_least=sample.value - 0.1))
    assert "times the names" in near.notes[-1]


def test_names_that_do_not_widen_the_interval_leave_it_to_templates():
    names = [(f"answer {i}", f"distractor {i % 8}") for i in range(24)]
    values = [float(i // 4) + 0.1 * (i % 4) for i in range(24)]
    sample = measured(values, [str(i // 4) for i in range(24)], names=names)
    assert interval_of(sample) == interval_of(with_names(sample, ()))
    distinct = with_names(sample, tuple((f"answer {i}", f"distractor {i}") for i in range(24)))
    assert interval_of(distinct) == interval_of(with_names(sample, ()))


def test_names_that_are_all_the_same_are_left_out_and_said():
    values = np.random.default_rng(8).normal(3, 1, 24)
    clusters = [str(i // 2) for i in range(24)]
    same = measured(values, clusters, names=[("Mary", f"name {i % 12}") for i in range(24)])
    distractors = with_names(same, tuple((f"{i}", distractor) for i, (_, distractor) in enumerate(same.names)))
    assert interval_of(same) == interval_of(distractors)
    assert "all prompts have the same answer: nothing is said of others" in judge(same, Bound.of(at_least=0)).notes
    pair = measured(values, clusters, names=[("Mary", "John")] * 24)
    assert interval_of(pair) == interval_of(measured(values, clusters))
    notes = judge(pair, Bound.of(at_least=0)).notes
    assert [note.split(":")[0] for note in notes] == [
        "all prompts have the same answer",
        "all prompts have the same distractor",
    ]
    unnamed = measured(values, clusters, names=[("Mary", "")] * 12 + [("John", "")] * 12)
    assert not any("distractor" in note for note in judge(unnamed, Bound.of(at_least=0)).notes)


def test_templates_of_one_prompt_each_and_names():
    values = [3.0, 4.0, 5.0, 4.0, 4.0, 3.5, 4.5, 4.0]
    names = [("a" if i < 4 else "b", str(i)) for i in range(8)]
    interval = interval_of(measured(values, names=names))
    plain = interval_of(measured(values))
    half = stats.t.ppf(0.975, 7) * np.std(values, ddof=1) / 8**0.5
    assert (plain.high - plain.low) / 2 == pytest.approx(half)
    assert interval.low <= plain.low < plain.high <= interval.high


def test_names_of_one_template_have_no_interval():
    sample = measured([1.0, 2.0, 3.0], clusters="aaa", names=[("a", "b"), ("b", "c"), ("c", "a")])
    with pytest.raises(UsageError, match="needs prompts of at least 2 templates for an interval, got 1"):
        judge(sample, Bound.of(at_least=0))


def test_names_of_some_prompts_only_are_refused():
    with pytest.raises(UsageError, match="some prompts have 1 name and others 2; pass as many for each"):
        measured([1.0, 2.0], names=[("a", "b"), ("a",)])


def test_names_of_a_fixed_population_change_nothing():
    fixed = measured([1.0, 2.0, 3.0], names=[("a", "b"), ("b", "c"), ("a", "a")], population="fixed")
    verdict = judge(fixed, Bound.of(at_least=2))
    assert (verdict.outcome, verdict.interval, verdict.notes) == ("supported", None, ("these 3 prompts only",))


def test_a_design_is_made_once_for_all_cells_of_a_sweep():
    names = [(f"{i % 7}", f"{i % 5}") for i in range(35)]
    first, second = (measured(np.arange(35.0) * k, [str(i % 3) for i in range(35)], names=names) for k in (1, 2))
    assert standard_error(second) == pytest.approx(2 * standard_error(first))


def test_a_denominator_is_judged_over_names_too():
    """Two of eight names have all of it: over templates alone it is surely not 0."""
    names = [(f"name {i % 8}", "") for i in range(96)]
    scale = [8.0 if i % 8 < 2 else 0.0 for i in range(96)]
    clusters = [str(i // 8) for i in range(96)]
    sample = measured([0.5 * x + 0.1 * (i % 3) for i, x in enumerate(scale)], clusters, scale=scale, names=names)
    assert judge(with_names(sample, ()), Bound.of(at_least=0.1)).outcome == "supported"
    with pytest.raises(NotApplicable, match="contains 0"):
        judge(sample, Bound.of(at_least=0.1))
