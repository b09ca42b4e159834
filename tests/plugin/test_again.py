"""Claims that are run again: on mutants, for noise; and what a run writes down."""

import json

import pytest

CLAIMS = """
import pytest
from pytest_interp import assert_attention, assert_copy_score, assert_direct_logit_attribution, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper, 3.1", role="name_mover")

def test_task(ioi):
    \"\"\"The answer is preferred.

    More of it.
    \"\"\"
    assert_logit_diff(ioi, at_least=2)

def test_reads(ioi, head):
    \"\"\"It reads IO.\"\"\"
    assert_attention(ioi, head, at="END", to="IO", minus=("S1", "S2"))
"""

TOOTHLESS = """
def test_absence(ioi):
    \"\"\"Without a repeated name neither is preferred.\"\"\"
    assert_logit_diff(ioi, run="abc", between=(-9, 9))
"""


@pytest.fixture
def project(claims_project):
    claims_project.makepyfile(test_it=CLAIMS)
    return claims_project


def run(project, *arguments):
    return project.runpytest("--interp-prompts", "24", *arguments)


def test_claims_with_teeth_pass_and_say_on_what_they_died(project):
    result = run(project, "--interp-falsify", "-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            "planted-ioi: 4 supported, 4 new number",
            "*test_task*",
            "                   died on 1 of 1",
            "*test_reads 3.0*",
            "                   died on 1 of 1, also true of 3 of 19 other heads",
            "*= mutants =*",
            "planted-ioi: 4 claims on * mutants, 0 without teeth",
            "  must die               killed survived   unsure      n/a    error    equal",
            "  answer exchanged            1        .        .        .        .        .",
            "  must live              killed survived   unsure      n/a    error    equal",
            "  zeroed                      .        3        .        .        .        .",
        ]
    )
    assert max(map(len, result.stdout.str().partition("= mutants =")[2].splitlines())) <= 80


def test_a_claim_without_teeth_fails_the_run_and_is_named(project):
    project.makepyfile(test_it=CLAIMS + TOOTHLESS)
    result = run(project, "--interp-falsify")
    result.assert_outcomes(passed=4, failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "test_absence?planted-ioi?: it would have passed if it were false: not refuted by any mutant *",
            "planted-ioi: 4 supported, 1 no teeth, *",
            "  no teeth         test_absence*",
            "planted-ioi: 5 claims on * mutants, 1 without teeth",
        ]
    )


def test_weights_that_a_fixture_changed_are_the_fixtures(project):
    text = """
import pytest
from pytest_interp import assert_logit_diff

@pytest.fixture
def knocked_out(checkpoint):
    with checkpoint.edited_weight(3, "o") as weight:
        weight.zero_()
        yield

@pytest.mark.claim(source="a paper")
def test_under_it(ioi, knocked_out):
    assert_logit_diff(ioi, between=(3, 6))
"""
    project.makepyfile(test_it=text)
    run(project, "--interp-falsify").assert_outcomes(passed=1)


def test_the_whole_matrix_is_an_option(project):
    result = run(project, "--interp-falsify=all", "-v", "-k", "test_task")
    result.stdout.fnmatch_lines(["*died on 4 of 4", "*1 claim on 5 mutants, 0 without teeth"])


def test_mutants_touch_no_snapshot_and_no_record(project):
    run(project, "--snapshot-update")
    stored = (project.path / "__snapshots__" / "test_it.json").read_text()
    result = run(project, "--interp-falsify", "--interp-ledger", "out/run.json")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["4 snapshots passed.", "planted-ioi: 4 supported"])
    assert (project.path / "__snapshots__" / "test_it.json").read_text() == stored
    saved = json.loads((project.path / "out" / "run.json").read_text())
    assert [len(claim["records"]) for claim in saved["claims"]] == [1] * 4


def test_workers_give_the_same_table_of_mutants(project):
    pytest.importorskip("xdist")
    single, several = (
        [
            line
            for line in run(project, "--interp-falsify", *more).stdout.str().partition("= mutants =")[2].splitlines()
            if line.startswith(("planted", "  "))
        ]
        for more in ((), ("-n2",))
    )
    assert sorted(single) == sorted(several)
    assert len(single) > 4


def test_noise_lists_what_moved_and_what_hangs_on_it(project):
    project.makepyfile(
        test_it=CLAIMS + "\ndef test_on_the_edge(ioi):\n    assert_logit_diff(ioi, between=(8.85, 8.856))\n"
    )
    result = run(project, "--interp-noise", "-k", "task or edge or 3.0")
    result.assert_outcomes(passed=3, deselected=2)
    result.stdout.fnmatch_lines(
        [
            "*= noise =*",
            "planted-ioi: 3 claims; the furthest that any number moved",
            "*logits*probability*",
            "  batches of 5 *",
            "  other threads *",
            "  other order *",
            "  other seed *",
            "  BOS turned *",
            "  margin within the floor: none",
            "  moved beyond their snapshot's tolerance: none",
            "  not supported with BOS turned:",
            "    test_*",
        ]
    )
    assert "margin 8" not in result.stdout.str()
    result = run(project, "--interp-noise", "-k", "task", "-v")
    result.stdout.fnmatch_lines(
        [
            "  test_task*",
            "    logit_diff, margin *e+00 logits: batches of 5 *e*, other threads",
            "      *BOS turned *e+00",
        ]
    )
    assert max(map(len, result.stdout.str().partition("= noise =")[2].splitlines()[1:-1])) <= 79


def test_a_record_carries_all_that_a_number_rests_on(project):
    run(project, "--interp-ledger", "run.json", "-k", "test_task or 3.0")
    saved = json.loads((project.path / "run.json").read_text())
    assert {"transformer-lens", "transformers", "torch", "pytest", "python"} <= set(saved["run"]["versions"])
    (record,) = saved["claims"][0]["records"]
    claim = saved["claims"][0]["claim"]
    assert claim.pop("code").startswith("def test_task(")
    assert claim == {
        "id": "test_it.py::test_task[planted-ioi]",
        "name": "test_task[planted-ioi]",
        "cite": "it.task[planted-ioi]",
        "statement": "The answer is preferred.",
        "docstring": "The answer is preferred.\n\nMore of it.",
        "source": "a paper, 3.1",
        "role": "name_mover",
        "markers": ["claim"],
        "command": "pytest 'test_it.py::test_task[planted-ioi]' --interp-prompts 24",
    }
    about = record["about"]
    for key in ("checkpoint", "fingerprint", "data_hash", "bos", "n", "run", "dtype", "device", "data_seed"):
        assert key in about, key
    for key in ("quantity", "version", "value", "interval", "method", "bound", "margin", "controls", "values"):
        assert key in record, key
    (record,) = saved["claims"][1]["records"]
    assert record["specific"] == "also true of 3 of 19 other heads"
    assert record["controls"] == [["3.3", pytest.approx(-0.07, abs=0.1)]]
