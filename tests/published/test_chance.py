"""The stored chances that published claims are supported are of today's claims, and how they are computed."""

import importlib
import inspect
import json
from collections import Counter
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from models import benchmark
from scipy.stats import t as student

from claims.published.tables import HERE, all_figures
from pytest_interp.measurement import Measurement, Sample
from pytest_interp.tasks import ioi
from pytest_interp.verdict.bound import Bound
from pytest_interp.verdict.judge import judge

chance, page = benchmark("chance"), benchmark("chance_page")
drawn, Truth = chance.drawn, chance.Truth
ROWS = {row["claim"]: row for row in json.loads(chance.STORED.read_text(encoding="utf-8"))}
PUBLISHED = Truth(3.56, 1.49, 0.21, 0.18, 0.055)


@pytest.fixture(scope="module")
def sample(tokenizer):
    """A measurement of 96 prompts whose values do not matter."""
    prompts = ioi(tokenizer, half="confirm", n=96, seed=1, bos=True).clean.prompts
    names = [(prompt.answer, prompt.distractor) for prompt in prompts]
    texts, templates = zip(*((prompt.text, prompt.template) for prompt in prompts), strict=True)
    return Measurement("logit_diff", "logits", (0.0,) * 96, Sample(texts, templates, "sampled", tuple(names)))


def function_of(name):
    """The claim of a name such as ``ioi/circuit.the_circuit_is_faithful[gpt2]``."""
    path, _, claim = name.partition("[")[0].partition(".")
    folder, _, file = path.rpartition("/")
    return getattr(importlib.import_module(f"claims.{folder}.test_{file}"), f"test_{claim}")


def cases():
    """Each case that has a chance, or a reason why it has none, by name without its file: a figure, or a function."""
    figures = [figure for figure in all_figures(HERE / "figures") if chance.is_sample(figure)]
    named = {f"{f.measurement}[{f.checkpoint}-{f.label}]": f for f in figures}
    written = {
        f"{name.removeprefix('test_')}[gpt2]": function
        for name, function in vars(importlib.import_module("claims.published.test_gpt2_judgements")).items()
        if name.startswith("test_") and "make_ioi" in inspect.signature(function).parameters
    }
    listed = {name.partition(".")[2]: name for name in chance.FACTS["claims"]}
    return named | written | {key: function_of(name) for key, name in listed.items() if key not in named}


def test_the_stored_chances_are_of_todays_claims():
    stored = {name.partition(".")[2]: row["of"] for name, row in ROWS.items()}
    old = [name for name, case in cases().items() if stored.get(name) != chance.decides(case)]
    assert not old, f"no chance, or that of another bound: {old}; run `python benchmarks/chance.py --write -k NAME`"


def test_a_claim_whose_chance_is_small_or_unknown_has_a_reason():
    small = {name for name, row in ROWS.items() if row.get("chance", 0) < page.LEAST}
    assert small == set(chance.FACTS["exceptions"]), "mend the claim, or give a reason in benchmarks/chance.toml"


def test_no_bound_is_out_of_reach():
    assert [name for name, row in ROWS.items() if row["out of reach"]] == []


def test_the_page_is_of_the_stored_chances():
    assert chance.PAGE.read_text(encoding="utf-8") == page.page_of([*ROWS.values()], chance.FACTS["exceptions"])


def test_a_bound_that_so_few_prompts_cannot_meet_is_out_of_reach(sample):
    share = replace(sample, quantity="accuracy", unit="share")
    assert chance.out_of_reach(share, Bound.of(at_least=0.97))
    assert not chance.out_of_reach(share, Bound.of(at_least=0.95))
    assert not chance.out_of_reach(sample, Bound.of(between=(2, 3)))


def test_draws_have_the_published_mean_and_spread(sample):
    values = np.array([drawn(sample, PUBLISHED, seed).values for seed in range(1000)])
    # Sets of prompts differ by a tenth.
    error = sqrt((0.1 * 3.56) ** 2 + 1.49**2 * (0.21 / 12 + 0.235 / 20)) / sqrt(1000)
    assert values.mean() == pytest.approx(3.56, abs=4 * error)
    assert values.std() == pytest.approx(sqrt(1.49**2 + 0.356**2), rel=0.03)


def test_what_is_asked_twice_is_drawn_once(sample):
    assert drawn(sample, PUBLISHED, 3) == drawn(sample, PUBLISHED, 3)
    assert drawn(sample, PUBLISHED, 3) != drawn(sample, PUBLISHED, 4)
    other = replace(sample, quantity="another")
    assert drawn(sample, PUBLISHED, 3).values != drawn(other, PUBLISHED, 3).values


@pytest.mark.parametrize(("mean", "sd"), [(0.5, 0.2), (0.81, 0.2), (0.95, 0.1), (0.03, 0.02)])
def test_a_probability_has_the_published_mean_and_spread(sample, mean, sd):
    design = replace(sample, unit="probability")
    values = np.array([drawn(design, Truth(mean, sd, sets_vary=0), seed).values for seed in range(300)])
    assert 0 <= values.min() <= values.max() <= 1
    assert values.mean() == pytest.approx(mean, abs=0.005)
    assert values.std() == pytest.approx(sd, abs=0.005)


def test_a_share_has_the_published_mean(sample):
    share = replace(sample, unit="share", quantity="accuracy")
    truth = Truth(0.9, 0.0, 0.2, 0.2, 0.05, sets_vary=0.0)
    values = np.array([drawn(share, truth, seed).values for seed in range(1000)])
    assert set(np.unique(values)) == {0.0, 1.0}
    assert values.mean() == pytest.approx(0.9, abs=0.015)


def test_a_ratio_has_the_published_value(sample):
    ratio = replace(sample, scale=(1.0,) * 96)
    values = [drawn(ratio, Truth(0.86, 0.47, sets_vary=0), seed, PUBLISHED).value for seed in range(500)]
    assert np.mean(values) == pytest.approx(0.86, abs=0.01)


def test_the_verdict_on_a_draw_is_that_of_an_interval_written_apart(sample):
    """Cameron, Gelbach and Miller's variance over templates and names, from dense matrices, and a t interval."""
    factors = [sample.clusters, *zip(*sample.names, strict=True)]
    same = [np.array([[a == b for b in factor] for a in factor]) for factor in factors]
    n = len(sample.values)

    def weights(together):
        return 1 / (n * (n - together.sum(1)))[:, None] * together

    variances = [
        (-1) ** (mask.bit_count() + 1) * weights(np.logical_and.reduce([same[i] for i in range(3) if mask >> i & 1]))
        for mask in range(1, 8)
    ]
    agreed = Counter()
    for seed in range(200):
        values = drawn(sample, PUBLISHED, seed)
        rest = np.array(values.values) - np.mean(values.values)
        alone, total = rest @ weights(same[0]) @ rest, rest @ sum(variances) @ rest
        if total > alone * (1 + 1e-9):
            total = max(total, *(rest @ weights(factor) @ rest for factor in same))
        half = student.ppf(0.975, len(set(factors[0])) - 1) * sqrt(max(total, alone))
        expected = 2.6 <= np.mean(values.values) - half <= np.mean(values.values) + half <= 4.5
        agreed[(judge(values, Bound.of(between=(2.6, 4.5))).outcome == "supported") == expected] += 1
    assert agreed[True] == 200
