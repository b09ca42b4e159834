"""A failure about a corrupted run shows the prompts of that run: whoever tries one by hand gets its number."""

import re

import pytest
from models import experiment_on

from pytest_interp import ClaimFailed, assert_logit_diff, assert_next_token, measure
from pytest_interp.verdict.recording import collecting


@pytest.fixture(scope="module")
def on(planted):
    return experiment_on(planted, 24)


@pytest.mark.parametrize("run", ["clean", "s2-exchanged", "abc"])
def test_the_worst_prompt_is_the_one_that_has_the_number(on, run):
    with collecting() as records, pytest.raises(ClaimFailed) as failure:
        assert_logit_diff(on, run=run, at_least=99)
    (record,) = records
    text = record.details["to paste"].rpartition(" ->")[0]
    worst = float(re.search(r"worst +(-?[\d.]+)", str(failure.value))[1])
    row = [prompt.text for prompt in on.data.run(run).prompts].index(text)
    assert worst == pytest.approx(float(on.logit_diffs(run)[row]), abs=1e-3)
    assert worst == pytest.approx(float(on.logit_diffs(run).min()), abs=1e-3)


@pytest.mark.parametrize("claim", [assert_logit_diff, assert_next_token])
def test_the_subject_names_a_corrupted_run(on, claim):
    arguments = ("probability",) if claim is assert_next_token else ()
    subjects = {}
    for run in ("clean", "s2-exchanged"):
        with collecting() as records:
            claim(on, *arguments, run=run, at_least=-99 if claim is assert_logit_diff else 1e-9)
        subjects[run] = records[0].subject
    assert subjects["s2-exchanged"] == f"{subjects['clean']}, run s2-exchanged"


def test_the_runs_of_a_data_set_share_templates_and_names(on):
    clean = on.data.sample
    assert set(on.data.samples) == {"clean", *on.data.corrupted}
    for run, sample in on.data.samples.items():
        assert (sample.clusters, sample.names, sample.population) == (clean.clusters, clean.names, clean.population)
        assert measure.logit_diff(on, run=run).sample is sample
    assert measure.logit_diff(on).sample is clean


def test_the_closing_table_names_a_corrupted_run(claims_project):
    claims_project.makepyfile(
        """
        import pytest
        from pytest_interp import assert_logit_diff

        @pytest.mark.claim(source="mine")
        def test_it(ioi):
            assert_logit_diff(ioi, at_least=1)
            assert_logit_diff(ioi, run="abc", at_least=99)
        """
    )
    result = claims_project.runpytest("--interp-model", "planted-ioi", "--interp-prompts", "24")
    result.stdout.fnmatch_lines(["*logit_diff 8.*", "*logit_diff of run abc *"])
