"""Claims that cannot run here: deselected with a count, listed at the end, shown where someone asks for them."""

import json
import re

import pytest

CLAIM = """
import pytest
from pytest_interp import assert_copy_score, assert_logit_diff

pytestmark = pytest.mark.claim(source="a paper", role="name_mover")

def test_copies(checkpoint, head, names):
    assert_copy_score(checkpoint, head, names=names, at_least=0.8)

@pytest.mark.claim(quick=True)
def test_task(ioi):
    assert_logit_diff(ioi, at_least=2)
"""
LISTED = ["gpt2: 4 not checked: its weights are not in the Hugging Face cache; `pytest", "  --interp-model gpt2` *"]


@pytest.fixture
def project(claims_project, monkeypatch, tmp_path):
    """Four cases on planted-ioi, and four on gpt2, which is not here and comes first."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    text = (claims_project.path / "circuits" / "planted-ioi.toml").read_text()
    (claims_project.path / "circuits" / "gpt2.toml").write_text(text.replace('"planted-ioi"', '"gpt2"'))
    claims_project.makepyfile(test_it=CLAIM)
    return claims_project


def snapshot_file(project):
    return project.path / "__snapshots__" / "test_it.json"


@pytest.fixture
def accepted(project):
    """The snapshots of both checkpoints, as if someone who has gpt2 had accepted its numbers."""
    project.runpytest("--snapshot-update").assert_outcomes(passed=4, deselected=4)
    entries = json.loads(snapshot_file(project).read_text())
    entries |= {name.replace("planted-ioi", "gpt2"): entry for name, entry in entries.items()}
    assert len(entries) == 8
    snapshot_file(project).write_text(json.dumps(entries))
    return project


def test_they_are_counted_and_listed_and_progress_means_something(project):
    result = project.runpytest()
    result.assert_outcomes(passed=4, deselected=4)
    result.stdout.fnmatch_lines(
        [
            "collected 8 items / 4 deselected / 4 selected",
            "interp: planted-ioi (4 claims)",
            "interp: deselected: 4 not checked (-rs shows each)",
            "interp: 4 claims, about *",
            "test_it.py .... *100%*",
            *LISTED,
        ]
    )


def test_who_asks_to_see_skips_sees_them_last_and_why(project):
    for option in ("-rs", "-ra", "-rA"):
        result = project.runpytest(option)
        result.assert_outcomes(passed=4, skipped=4)
        result.stdout.fnmatch_lines(["test_it.py ....ssss *", *LISTED])
        result.stdout.fnmatch_lines(["SKIPPED*not checked: gpt2: its weights are not in the Hugging Face cache*"])


@pytest.mark.parametrize("name", ["test_it.py::test_task[gpt2]", "test_it.py::test_task", "./test_it.py::test_task"])
def test_a_claim_that_is_named_says_why_it_did_not_run(project, name):
    result = project.runpytest(name, "test_it.py::test_copies[planted-ioi-3.0]", "-v")
    passed = 1 if "[" in name else 2
    result.assert_outcomes(passed=passed, skipped=1)
    result.stdout.fnmatch_lines(["*test_task?gpt2? SKIPPED (not checked: gpt2: *", "gpt2: 1 not checked: *"])


def test_a_folder_or_another_file_s_claim_names_none(project):
    project.makepyfile(test_other=CLAIM)
    result = project.runpytest(".", "test_other.py::test_task")
    result.assert_outcomes(passed=8, deselected=7, skipped=1)


def test_nothing_but_what_cannot_run_is_skipped_and_no_error(project):
    result = project.runpytest("-k", "gpt2")
    result.assert_outcomes(skipped=4, deselected=4)
    assert result.ret == 0
    result.stdout.fnmatch_lines(LISTED)


def test_beside_ordinary_tests_the_table_still_lists_them(project):
    (project.path / "circuits" / "planted-ioi.toml").unlink()
    project.makepyfile(test_plain="def test_plain(): pass")
    result = project.runpytest()
    result.assert_outcomes(passed=1, deselected=4)
    result.stdout.fnmatch_lines(LISTED)


def test_a_selection_counts_only_what_it_selects(project):
    result = project.runpytest("-k", "task")
    result.assert_outcomes(passed=1, deselected=7)
    result.stdout.fnmatch_lines(["interp: deselected: 1 not checked *", "gpt2: 1 not checked: *"])


def test_after_last_failed(project):
    project.makepyfile(test_it=CLAIM.replace("at_least=2", "at_least=99"))
    project.runpytest().assert_outcomes(passed=3, failed=1, deselected=4)
    result = project.runpytest("--lf")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["run-last-failure: rerun previous 1 failure"])
    assert "gpt2" not in result.stdout.str(), "what did not fail last time was not asked for"
    first = project.runpytest("--ff", "-v")
    first.assert_outcomes(passed=3, failed=1, deselected=4)
    first.stdout.fnmatch_lines(["*test_task?planted-ioi? FAILED*", "*PASSED*", *LISTED])


def test_other_models_and_claims_that_are_not_quick(project):
    result = project.runpytest("--interp-model", "planted-ioi", "--interp-quick")
    result.assert_outcomes(passed=1, deselected=7)
    result.stdout.fnmatch_lines(
        [
            "interp: deselected: 6 not one of the quick claims (--interp-quick), 1 not",
            "        selected by --interp-model (-rs shows each)",
        ]
    )
    assert "gpt2" not in result.stdout.str(), "the user knows what the user left out"
    shown = project.runpytest("--interp-model", "planted-ioi", "-rs")
    shown.assert_outcomes(passed=4, skipped=4)
    shown.stdout.fnmatch_lines(["SKIPPED*not selected by --interp-model"])


def test_a_skip_of_the_claim_s_own_is_shown_as_ever(project):
    project.makepyfile(test_it=CLAIM.replace("@pytest.mark.claim(quick=True)", "@pytest.mark.skip(reason='later')"))
    project.runpytest().assert_outcomes(passed=3, skipped=1, deselected=4)


def test_workers_deselect_alike_and_the_controller_lists(project):
    result = project.runpytest_subprocess("-n", "2", "--interp-ledger", "records.json")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["2 workers ?4 items?", "interp: 4 claims, about *", *LISTED])
    assert sum(line.startswith("interp: 4 claims") for line in result.outlines) == 1
    assert len(json.loads((project.path / "records.json").read_text())["claims"]) == 4


def test_records_are_those_of_claims_that_ran(project):
    project.runpytest("--interp-ledger", "records.json")
    claims = json.loads((project.path / "records.json").read_text())["claims"]
    assert [claim["checkpoint"] for claim in claims] == ["planted-ioi"] * 4


def test_collecting_lists_every_claim_there_is(accepted):
    result = accepted.runpytest("--collect-only", "-q")
    assert result.ret == 0, "no snapshot is unused because nothing ran"
    assert len([line for line in result.outlines if re.match(r"test_it\.py::", line)]) == 8
    result.stdout.fnmatch_lines(["8 tests collected in *"])
    assert "snapshots unused" not in result.stdout.str()


def test_their_snapshots_are_not_unused_and_those_of_no_claim_are(accepted):
    before = json.loads(snapshot_file(accepted).read_text())
    whole = accepted.runpytest()
    whole.assert_outcomes(passed=4, deselected=4)
    assert whole.ret == 0
    assert "snapshots unused" not in whole.stdout.str()
    accepted.makepyfile(test_it=CLAIM.replace("def test_task", "def task"))
    gone = accepted.runpytest()
    gone.stdout.fnmatch_lines(["*2 snapshots unused."])
    accepted.runpytest("--snapshot-update").assert_outcomes(passed=3, deselected=3)
    after = json.loads(snapshot_file(accepted).read_text())
    assert set(after) == {name for name in before if "test_copies" in name}


def test_where_none_can_run_their_snapshots_stay(accepted):
    before = snapshot_file(accepted).read_text()
    (accepted.path / "circuits" / "planted-ioi.toml").unlink()
    snapshot_file(accepted).write_text(
        json.dumps({name: entry for name, entry in json.loads(before).items() if "gpt2" in name})
    )
    for arguments in ([], ["--snapshot-update"], ["--snapshot-update", "--collect-only"]):
        result = accepted.runpytest(*arguments)
        assert result.ret == 0
        assert "snapshots unused" not in result.stdout.str()
        assert len(json.loads(snapshot_file(accepted).read_text())) == 4
