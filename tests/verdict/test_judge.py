import random
from dataclasses import replace
from math import inf, sqrt

import pytest

from pytest_interp import Head, Table, assert_matrix, assert_top
from pytest_interp.common.context import NO_CONTEXT
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.measurement import Measurement, Sample
from pytest_interp.verdict import recording
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.failure_message import explain
from pytest_interp.verdict.intervals import interval_of
from pytest_interp.verdict.judge import judge
from pytest_interp.verdict.recording import record_of
from pytest_interp.verdict.worst import worst


def measured(values, clusters=None, population="sampled", unit="logits", scale=(), tolerance=0.0):
    rows = [str(i) for i in range(len(values))]
    return Measurement(
        "q", unit, tuple(values), Sample(tuple(rows), tuple(clusters or rows), population), tuple(scale), tolerance
    )


# ---- the bound grammar


@pytest.mark.parametrize(
    ("words", "low", "high"),
    [
        ({"at_least": 1}, 1, inf),
        ({"at_most": 1}, -inf, 1),
        ({"between": (1, 2)}, 1, 2),
        ({"near": (3, 0.5)}, 2.5, 3.5),
    ],
)
def test_each_bound(words, low, high):
    bound = Bound.of(**words)
    assert (bound.low, bound.high) == (low, high)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "got none"),
        ({"at_least": 1, "at_most": 2}, "got at_least, at_most"),
        ({"between": (2, 1)}, "accepts nothing"),
        ({"near": (1, -0.1)}, "accepts nothing"),
        ({"near": 3}, r"pass a pair of numbers \(value, tolerance\)"),
        ({"atleast": 1}, "atleast= is no argument here and no bound .*nearest: at_least"),
        ({"between": (1, 2, 3)}, "pass a pair"),
        ({"at_least": float("nan")}, "not a finite number"),
        ({"at_least": True}, "at_least=True is not a finite number"),
        ({"at_least": "2"}, "pass one number|not a finite number"),
    ],
)
def test_what_is_not_a_bound(words, message):
    with pytest.raises(UsageError, match=message):
        Bound.of(**words)


# ---- fixed populations


def test_a_fixed_population_is_decided_by_its_value_within_tolerance():
    measurement = measured([1.0, 2.0], population="fixed", tolerance=0.01)
    assert judge(measurement, Bound.of(at_least=1.505)).outcome == "supported"
    assert judge(measurement, Bound.of(at_least=1.52)).outcome == "refuted"
    assert judge(measurement, Bound.of(at_least=1)).interval is None


@pytest.mark.parametrize(
    ("n", "observation", "note"),
    [
        (2, "prompt", "these 2 prompts only"),
        (1, "prompt", "this prompt only"),
        (3, "name", "these 3 names only"),
    ],
)
def test_a_fixed_population_says_what_its_verdict_is_about(n, observation, note):
    measurement = replace(measured([1.0] * n, population="fixed"), context=replace(NO_CONTEXT, observation=observation))
    for bound in (Bound.of(at_least=0), Bound.of(at_least=2)):
        verdict = judge(measurement, bound)
        assert verdict.notes == (note,)
        assert record_of(verdict, "it").notes == (note,)
        assert f"note        {note}" in explain(verdict, "it")


def test_a_population_is_fixed_or_sampled():
    with pytest.raises(UsageError, match="population is 'banana'; pass 'fixed' .* or 'sampled'"):
        measured([1.0, 2.0], population="banana")


# ---- sampled populations


def test_with_templates_of_one_size_it_is_the_t_interval_over_their_means():
    # Template means 1, 2, 3, 6; t quantile of 3 degrees of freedom at 97.5 % is 3.182446 (tables).
    measurement = measured([0, 2, 1, 3, 2, 4, 5, 7], clusters="aabbccdd")
    spread = sqrt(((1 - 3) ** 2 + (2 - 3) ** 2 + 0 + (6 - 3) ** 2) / 3 / 4)
    interval = interval_of(measurement)
    assert interval.low == pytest.approx(3 - 3.182446 * spread, abs=1e-5)
    assert interval.high == pytest.approx(3 + 3.182446 * spread, abs=1e-5)
    assert interval.clusters == 4
    assert interval.method == "t over templates"


def test_prompts_of_one_template_are_not_independent():
    # The same values, dealt to templates that differ and to templates that do not.
    values = [0, 0, 0, 0, 4, 4, 4, 4]
    apart, mixed = (interval_of(measured(values, clusters=c)) for c in ("aaaabbbb", "abababab"))
    assert apart.high - apart.low > 10 * (mixed.high - mixed.low)


@pytest.mark.parametrize(
    ("bound", "outcome"),
    [({"at_least": 1}, "supported"), ({"at_least": 3.9}, "inconclusive"), ({"at_least": 9}, "refuted")],
)
def test_three_outcomes(bound, outcome):
    measurement = measured([3.0, 4.0, 5.0, 4.0, 4.0, 3.5, 4.5, 4.0])
    assert judge(measurement, Bound.of(**bound)).outcome == outcome


def test_inconclusive_says_how_many_templates_would_settle_it():
    measurement = measured([3.0, 4.0, 5.0, 4.0, 4.0, 3.5, 4.5, 4.0])
    (note,) = judge(measurement, Bound.of(at_least=3.9)).notes
    assert note.startswith("about ")
    assert "templates" in note
    many = measured([3.0, 4.0, 5.0, 4.0, 4.0, 3.5, 4.5, 4.0] * 40)
    assert judge(many, Bound.of(at_least=3.9)).outcome == "supported"


def test_few_templates_are_said():
    (note,) = judge(measured([3.0, 4.0, 5.0]), Bound.of(at_least=-9)).notes
    assert "only 3 templates" in note
    share = measured([1.0] * 30, clusters=[str(i % 9) for i in range(30)], unit="share")
    (note,) = judge(share, Bound.of(at_least=0.5)).notes
    assert note.startswith("few templates: with 9, fewer than 12, the interval of a share is rough")
    enough = measured([1.0, 0.0] + [1.0] * 22, clusters=[str(i % 12) for i in range(24)], unit="share")
    assert judge(enough, Bound.of(at_least=0.5)).notes == ()


def test_one_template_has_no_interval():
    with pytest.raises(UsageError, match="at least 2 templates"):
        judge(measured([1.0, 2.0], clusters="aa"), Bound.of(at_least=0))


def test_equal_values_have_an_interval_without_width_and_say_so():
    verdict = judge(measured([2.0] * 9), Bound.of(at_least=1))
    assert verdict.outcome == "supported"
    assert "no width" in verdict.notes[0]


def test_a_share_that_is_all_right_still_has_an_interval():
    # Clopper-Pearson for 20 of 20: lower end 0.025 ** (1 / 20).
    interval = interval_of(measured([1.0] * 20, unit="share"))
    assert interval.low == pytest.approx(0.025 ** (1 / 20), abs=1e-9)
    assert interval.high == 1.0


# ---- ratios


def test_a_ratio_is_a_ratio_of_means_not_a_mean_of_ratios():
    measurement = measured([1.0, 1.0, 4.0], scale=[1.0, 2.0, 3.0])
    assert measurement.value == pytest.approx(1.0)
    assert interval_of(measurement).low < 1 < interval_of(measurement).high


def test_a_constant_ratio_has_no_spread_whatever_the_scale():
    measurement = measured([0.5, 1.0, 2.0, 4.0], scale=[1.0, 2.0, 4.0, 8.0])
    interval = interval_of(measurement)
    assert interval.low == pytest.approx(0.5)
    assert interval.high == pytest.approx(0.5)


def test_a_ratio_whose_denominator_may_be_zero_is_undefined():
    measurement = measured([1.0, 1.0, 1.0, 1.0], scale=[1.0, -1.0, 2.0, -1.5])
    with pytest.raises(NotApplicable, match="contains 0"):
        judge(measurement, Bound.of(at_least=0))
    with pytest.raises(NotApplicable, match="undefined"):
        judge(measured([1.0] * 4, population="fixed", scale=(1.0, -1.0, 1.0, -1.0)), Bound.of(at_least=0))


# ---- the measurement itself


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(UsageError, match=r"1 of 2 values are not finite \(first: '1'\)"):
        measured([1.0, float("nan")])


def test_an_empty_measurement_is_refused():
    with pytest.raises(UsageError, match="no values"):
        measured([])


def test_the_worst_prompts_come_first():
    verdict = judge(measured([3.0, -1.0, 2.0, 0.5], population="fixed"), Bound.of(at_least=2))
    assert worst(verdict.measurement, verdict.bound, 2) == [("1", -1.0), ("3", 0.5)]
    upper = judge(measured([3.0, -1.0, 2.0, 0.5], population="fixed"), Bound.of(at_most=0))
    assert worst(upper.measurement, upper.bound, 1) == [("0", 3.0)]


@pytest.mark.parametrize(
    "bound",
    [Bound.of(at_least=0.8), Bound.of(at_most=-2e-7), Bound.of(between=(-0.5, 1e9)), Bound.of(near=(-4, 0.01)),
     Bound.positive(), Bound.positive(-1)],
    ids=lambda bound: bound.text,
)  # fmt: skip
def test_a_bound_is_read_from_its_text(bound):
    assert Bound.read(bound.text) == bound


def test_a_text_without_fixed_values_is_no_bound():
    assert Bound.read("within 0.1 of the expected number") is None
    assert Bound.read("at least") is None


# ---- float noise is on nobody's side


def test_zero_is_not_more_than_zero():
    for population in ("fixed", "sampled"):
        measurement = measured([0.0] * 9, population=population, tolerance=1e-4)
        assert judge(measurement, Bound.positive()).outcome != "supported"
        assert judge(measurement, Bound.positive(-1)).outcome != "supported"
    assert judge(measured([1e-3] * 9, tolerance=1e-4), Bound.positive()).outcome == "supported"


def test_an_interval_within_noise_of_the_bound_is_inconclusive():
    assert judge(measured([2.0] * 9, tolerance=1e-3), Bound.of(at_least=2)).outcome == "inconclusive"
    assert judge(measured([2.0] * 9, tolerance=0.2), Bound.of(at_least=2.1)).outcome == "refuted"


def test_an_interval_that_clears_the_bound_by_less_than_noise_says_so():
    measurement = measured([0.9, 1.0, 1.1, 1.0], list("abcd"), tolerance=0.5)
    verdict = judge(measurement, Bound.of(at_least=0.7))
    assert verdict.outcome == "inconclusive"
    assert verdict.interval.low == pytest.approx(0.870, abs=0.001)
    assert "at least 0.7; the interval clears it by 0.170, less than float noise (0.500)" in " ".join(
        explain(verdict, "x").split()
    )
    assert verdict.notes[-1] == "the value lies within float noise of the bound: no number of prompts would settle it"


def test_what_would_settle_it_clears_the_bound_by_float_noise():
    values = [0.6, 1.0, 1.4, 1.0]
    exact = judge(measured(values, list("abcd")), Bound.of(at_least=0.6))
    noisy = judge(measured(values, list("abcd"), tolerance=0.2), Bound.of(at_least=0.6))
    # The half-width 0.52 must shrink to the margin: 0.4, and 0.4 less 0.2.
    assert exact.notes[-1] == "about 8 templates (8 prompts) would settle it, if the value stays"
    assert noisy.notes[-1] == "about 29 templates (29 prompts) would settle it, if the value stays"


def test_what_nobody_could_draw_is_not_counted():
    verdict = judge(measured([0.6, 1.0, 1.4, 1.0], list("abcd")), Bound.of(at_least=0.9999))
    assert verdict.notes[-1] == "more than 1000 times the prompts would not settle it, if the value stays"


def test_ties_that_noise_could_flip_do_not_make_a_share_right():
    measurement = measured([0.0] * 9, population="fixed", unit="share", tolerance=1.0)
    assert judge(measurement, Bound.of(at_least=0.8)).outcome == "refuted"


@pytest.mark.parametrize("population", ["sampled", "fixed"])
def test_self_repair_of_what_was_no_loss_is_undefined(population):
    """What heads write against the answer, or may write against it, leaves nothing to make good."""

    def repair(bottoms, quantity="self_repair"):
        names = [f"t{i}" for i in range(len(bottoms))]
        return Measurement(
            quantity, "recovered", (0.5,) * len(bottoms), Sample(tuple(names), tuple(names), population), tuple(bottoms)
        )

    bound = Bound.of(between=(-9, 9))
    assert judge(repair([1.0, 1.1, 1.2, 1.3]), bound).outcome == "supported"
    with pytest.raises(NotApplicable, match="what the heads write for the answer, -1.150 logits.* above 0"):
        judge(repair([-1.0, -1.1, -1.2, -1.3]), bound)
    # A share of an effect is the same whatever its sign.
    assert judge(repair([-1.0, -1.1, -1.2, -1.3], "head_patch_effect"), bound).outcome == "supported"
    if population == "sampled":
        with pytest.raises(NotApplicable, match="0.425 logits .* is not surely above 0"):
            judge(repair([-1.0, 1.5, -0.5, 1.7]), bound)


def test_a_denominator_within_noise_is_undefined():
    measurement = measured([1.0] * 8, population="fixed", scale=[1e-9] * 8, tolerance=2e5)
    with pytest.raises(NotApplicable, match="within 4 times float noise of 0"):
        judge(measurement, Bound.of(at_least=0.5))


def test_templates_of_different_size_have_one_estimand():
    # One template of 60 prompts and nine of one: the mean over prompts is near the large one's, and so is the interval.
    measurement = measured([0.0] * 60 + [3.0] * 9, clusters=["a"] * 60 + list("bcdefghij"))
    interval = interval_of(measurement)
    assert (interval.low + interval.high) / 2 == pytest.approx(measurement.value)
    assert interval.low < 0 < interval.high


def test_shares_are_shares():
    with pytest.raises(UsageError, match="a share has values between 0 and 1"):
        measured([55.0, 56.0], unit="share")


def test_numbers_of_numpy_become_floats():
    np = pytest.importorskip("numpy")
    bound = Bound.of(at_least=np.float32(0.5))
    assert type(bound.low) is float
    assert type(bound.slack(1.0)) is float


def test_a_cell_tied_for_the_place_after_the_last_is_rarely_among_the_top():
    """Five cells are as good as the claimed one: it has no place among five; one run in forty may say that it has."""
    rng = random.Random(5)
    templates = tuple(f"template {i % 12}" for i in range(48))
    labels = tuple(f"prompt {i}" for i in range(48))

    def cell(mean):
        shifts = [rng.gauss(0, 0.3) for _ in range(12)]
        values = tuple(mean + shifts[i % 12] + rng.gauss(0, 1) for i in range(48))
        return Measurement("effect", "logits", values, Sample(labels, templates, "sampled"))

    supported = 0
    for _ in range(200):
        table = Table({Head(0, i): cell(0.0 if i < 6 else -3.0) for i in range(12)}, ("layer", "head"))
        with recording.trial(until_refuted=False) as records:
            assert_top(table, "0.0", among=5)
        supported += records[0].outcome == "supported"
    assert supported <= 200 * 0.04 + 3 * (200 * 0.04 * 0.96) ** 0.5


def test_a_corruption_with_the_same_prompts_under_another_name(gpt2_like):
    from pytest_interp import Experiment, from_strings
    from pytest_interp.measure import flips, head_patch_effect

    texts = ["Then Tom and Dan went to the park . Dan gave a bag to"]
    data = from_strings(
        gpt2_like.tokenizer, clean=texts, answers=[" Tom"], distractors=[" Dan"], corrupted={"same": texts}, bos=True,
        population="fixed",
    )  # fmt: skip
    for measure in (lambda e: head_patch_effect(e, "1.0", corruption="same"), lambda e: flips(e, "same")):
        with pytest.raises(UsageError, match="the corruption 'same' of task changes no prompt"):
            measure(Experiment(gpt2_like, data))


@pytest.mark.parametrize(
    ("unit", "bound"), [("share", {"at_least": 0}), ("share", {"between": (0, 1)}), ("rank", {"at_least": 1})]
)
def test_a_bound_that_every_value_meets_is_refused(unit, bound):
    measurement = Measurement(unit, unit, (1.0,), Sample(("a",), ("a",), "fixed"))
    with pytest.raises(UsageError, match=f"every {unit} is .*; pass a bound that can be missed"):
        judge(measurement, Bound.of(**bound))


def test_a_bound_that_float_noise_would_widen_decides_nothing():
    ratio = Measurement("recovered", "recovered", (0.0,), Sample(("a",), ("a",), "fixed"), (1e-3,), tolerance=0.2)
    with pytest.raises(NotApplicable, match="more than a quarter of what the bound allows"):
        judge(ratio, Bound.of(near=(0.5, 0.5)))
    logits = Measurement("logit_diff", "logits", (3.2,), Sample(("a",), ("a",), "fixed"), tolerance=0.5)
    with pytest.raises(NotApplicable, match="a higher precision"):
        judge(logits, Bound.of(near=(3.149, 0.01)))


def test_a_matrix_of_ratios_without_a_denominator_is_not_judged():
    """Zeros against 0.5, with a denominator of 1e-4: float noise would accept any number."""
    cell = Measurement("patch_effect", "recovered", (0.0,), Sample(("a",), ("a",), "fixed"), (1e-4,), tolerance=2.0)
    with pytest.raises(NotApplicable, match="its denominator, .*, is within 4 times float noise of 0"):
        assert_matrix(Table({(0, "S2"): cell}, ("layer", "position")), [[0.5]], within=0.05)
